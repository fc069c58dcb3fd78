//! Somebody has root on the store's machine. What they do to copies is named within a minute, with what is lost and what stands.

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{bed::disk::Disk, command::wait_for, patience::Patience, product::custody::Custody};

use super::{PROVEN, proven};
use crate::world::{MINUTE, PATIENCE, Subject, World, together};

#[test]
fn a_flipped_bit_on_the_stores_disk_is_named() {
    together(async |world| {
        let case = Case::new(world, "flipped").await?;
        let segment = case.segment(1).await?;
        let deed = || case.disk.flip(&segment);
        case.named(deed, "Intact", &["ObjectUnreadable", "ObjectChanged"], 1)
            .await
    });
}

#[test]
fn an_object_that_is_gone_from_the_stores_disk_is_named() {
    together(async |world| {
        let case = Case::new(world, "removed").await?;
        let segment = case.segment(1).await?;
        let deed = || case.disk.remove(&segment);
        case.named(deed, "Intact", &["ObjectMissing"], 1).await
    });
}

#[test]
fn an_older_state_of_the_stores_disk_is_named_a_rollback() {
    together(async |world| {
        let case = Case::new(world, "set-back").await?;
        let prefix = format!("registries/{}/source", case.subject.id);
        let older = case.disk.keep(&prefix)?;
        case.subject.mirror.trigger("newer").await?;
        case.subject.mirror.copied(3, PATIENCE).await?;
        wait_for("the third recovery point", PROVEN, || async {
            Ok((case.custody.points().await?.len() == 3).then_some(()))
        })
        .await?;
        let deed = || case.disk.put_back(&older);
        case.named(deed, "LedgerSound", &["RolledBack"], 3).await
    });
}

/// A registry with two copies, proven.
struct Case {
    world: &'static World,
    subject: Subject,
    custody: Custody,
    disk: Disk,
}

impl Case {
    async fn new(world: &'static World, stem: &str) -> Result<Self> {
        let ministry = world.ministry(stem).await?;
        let subject = ministry.small_registry(stem).await?;
        let custody = proven(world, &subject).await?;
        subject.mirror.trigger("a second").await?;
        subject.mirror.copied(2, PATIENCE).await?;
        wait_for("two intact recovery points", PROVEN, || async {
            let points = custody.points().await?;
            Ok((points.len() == 2 && points.iter().all(|point| point.intact)).then_some(()))
        })
        .await?;
        Ok(Self {
            disk: Disk::of(&world.product.bed).await?,
            world,
            subject,
            custody,
        })
    }

    /// A segment of a copy.
    async fn segment(&self, sequence: i64) -> Result<String> {
        let points = self.custody.points().await?;
        let point = points.iter().find(|point| point.sequence == sequence);
        let copy = &point.context("the copy has no recovery point")?.copy_id;
        let store = self.world.product.bed.store().await?;
        store.first_segment(&self.subject.id, copy).await
    }

    /// Does the deed. Within one minute of it the condition is False for one of these reasons; condition, alarm and event name registry and copy,
    /// what is lost and what stands; and a metric counts it. A machine that is short of processors is [allowed for](Patience).
    async fn named(
        &self,
        deed: impl FnOnce() -> Result<()>,
        condition: &str,
        reasons: &[&str],
        sequence: i64,
    ) -> Result<()> {
        let mut patience = Patience::of(MINUTE);
        deed()?;
        let told = self
            .custody
            .condition(condition, ConditionStatus::False, None, patience.left())
            .await?;
        let reason = self.custody.reason(condition).await?;
        let status = self.custody.get().await?.status.context("there is no status")?;
        ensure!(reasons.contains(&reason.as_str()), "{reason}");
        let alarm = status.alarms.iter().find(|alarm| alarm.reason == reason);
        let alarmed = &alarm.context("no alarm tells of it")?.message;
        let words = self.words(sequence);
        for said in [&told, alarmed] {
            for word in &words {
                ensure!(said.contains(word), "'{word}' is not in: {said}");
            }
        }
        let (custody, product) = (&self.custody, &self.world.product);
        custody.event(product, &reason, &words, patience.left()).await?;
        custody.counted(product, &reason, patience.left()).await?;
        self.subject.delete().await
    }

    /// What everybody says who tells of a copy's fault.
    fn words(&self, sequence: i64) -> [String; 3] {
        let whose = format!("registry {}, copy {sequence}", self.subject.id);
        [whose, "Lost: ".to_owned(), "Stands: ".to_owned()]
    }
}
