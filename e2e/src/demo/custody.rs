//! What the embassy does by itself: it proves what it holds, lets nobody of home spoil it, finds what was spoiled behind its back, and
//! notices when home falls silent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use futures::future::try_join_all;

use crate::{
    bed::disk::{Disk, Older},
    patience::Patience,
    product::{Product, custody::Custody, red_team::RedTeam, registry::ministry, sidecar::Sidecar},
    progress::Progress,
    registries::Registry,
};

/// Within this time of a fault its reason is to be read in the resource. A machine that is short of processors is [allowed for](Patience).
const MINUTE: Duration = Duration::from_mins(1);
/// Within this time everything that came is to be proven, on a machine that is busy with other things.
const PROVEN: Duration = Duration::from_mins(3);
/// Whoever comes to look when that is over has this time left for the question.
const ASKED: Duration = Duration::from_secs(5);

/// Every registry intact in its custody, and at home by the ledger alone; then what the embassy shows.
pub(super) async fn proven(product: &Product, progress: &Progress) -> Result<()> {
    let step = progress.step("every byte of each copy read back, and proofs signed");
    try_join_all(Registry::ALL.map(|registry| async move {
        let custody = Custody::of(product, registry.id());
        for condition in ["Ready", "LedgerSound", "WithinRPO", "HomeHeard", "Intact"] {
            custody
                .condition(condition, ConditionStatus::True, None, PROVEN)
                .await?;
        }
        custody.proven(PROVEN).await?;
        let mirror =
            crate::product::mirror::Mirror::of(product.bed.home(), ministry(registry), registry.id());
        mirror
            .condition("Intact", ConditionStatus::True, None, PROVEN)
            .await
    }))
    .await?;
    step.done();
    for what in ["recoverypoints", "registrycustodies"] {
        let shown = product.bed.embassy().kubectl(["get", what]).await?;
        progress.line(&format!("  embassy $ kubectl get {what}\n{shown}"));
    }
    let shown = product
        .bed
        .home()
        .kubectl(["get", "registrymirrors", "--all-namespaces", "--output=wide"])
        .await?;
    progress.line(&format!(
        "  home $ kubectl get registrymirrors -A -o wide\n{shown}"
    ));
    Ok(())
}

/// Everything that home's credentials can be tried for.
pub(super) async fn red_team(product: &Product, registry: Registry, progress: &Progress) -> Result<()> {
    let team = RedTeam::of(product, ministry(registry), registry.id()).await?;
    let before = team.holdings().await?;
    let step = progress.step("a red team with all of home's credentials, at the gate");
    let round = team.attack().await?;
    step.done();
    let slips: Vec<_> = round.slips.iter().map(ToString::to_string).collect();
    ensure!(slips.is_empty(), "these were not refused: {}", slips.join("; "));
    team.still_holds(&before).await?;
    let custody = Custody::of(product, registry.id());
    let alarm = custody
        .condition(
            "Suspicious",
            ConditionStatus::True,
            Some("RequestsRefused"),
            MINUTE,
        )
        .await?;
    progress.line(&format!(
        "  {} attempts, all refused; {} objects are what they were. The alarm:\n  {alarm}",
        round.tried,
        before.len()
    ));
    Ok(())
}

/// What was spoiled on the store's disk, as it was before.
pub(super) struct Spoiled {
    disk: Disk,
    before: Vec<Older>,
    /// The ids of copies in which a byte is flipped.
    flipped: Vec<String>,
}

impl Spoiled {
    /// Whether a byte of the copy is flipped.
    pub(super) fn is_flipped(&self, copy_id: &str) -> bool {
        self.flipped.iter().any(|flipped| flipped == copy_id)
    }

    /// Flips a byte of another copy, and waits for nobody to notice.
    pub(super) async fn flip(&mut self, product: &Product, registry: &str, copy_id: &str) -> Result<()> {
        let segment = self.segment(product, registry, copy_id).await?;
        self.flipped.push(copy_id.to_owned());
        self.disk.flip(&segment)
    }

    /// The key of a copy's segment, which is kept as it is now.
    async fn segment(&mut self, product: &Product, registry: &str, copy_id: &str) -> Result<String> {
        let store = product.bed.store().await?;
        let segment = store.first_segment(registry, copy_id).await?;
        self.before.push(self.disk.keep(&segment)?);
        Ok(segment)
    }
}

/// Puts back what was spoiled, as the administrator of the store's machine would from a backup of their own, and waits until the embassy has
/// seen that everything is whole again.
pub(super) async fn put_right(product: &Product, spoiled: Spoiled, progress: &Progress) -> Result<()> {
    let step = progress.step("what was spoiled is put back, and the embassy reads it back once more");
    for older in &spoiled.before {
        spoiled.disk.put_back(older)?;
    }
    try_join_all(Registry::ALL.map(|registry| async move {
        let custody = Custody::of(product, registry.id());
        for condition in ["LedgerSound", "Intact"] {
            custody
                .condition(condition, ConditionStatus::True, None, PROVEN)
                .await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    step.done();
    Ok(())
}

/// Somebody with root on the store's machine spoils three registries' copies, each in another way.
pub(super) async fn damage(product: &Product, progress: &Progress) -> Result<Spoiled> {
    let mut spoiled = Spoiled {
        disk: Disk::of(&product.bed).await?,
        before: Vec::new(),
        flipped: Vec::new(),
    };
    let health = Custody::of(product, "health");
    let copy = health.newest().await?;
    let segment = spoiled.segment(product, "health", &copy.copy_id).await?;
    spoiled.flipped.push(copy.copy_id);
    found(
        product,
        progress,
        "a byte is flipped on the store's disk",
        &health,
        "Intact",
        || spoiled.disk.flip(&segment),
    )
    .await?;

    let business = Custody::of(product, "business");
    let copy = business.newest().await?;
    let segment = spoiled.segment(product, "business", &copy.copy_id).await?;
    found(
        product,
        progress,
        "an object is removed from the store's disk",
        &business,
        "Intact",
        || spoiled.disk.remove(&segment),
    )
    .await?;

    let population = Custody::of(product, "population");
    let head = population.newest().await?.sequence;
    let entry = format!("registries/population/source/0001-{head:012}");
    spoiled.before.push(spoiled.disk.keep(&entry)?);
    found(
        product,
        progress,
        "an older state of the store's disk is put back: the latest entry is gone",
        &population,
        "LedgerSound",
        || spoiled.disk.remove(&entry),
    )
    .await?;
    Ok(spoiled)
}

/// Does the damage, waits for the condition that names it, within the minute that is promised, and tells it; the same is in an event, and a metric
/// counts it.
async fn found(
    product: &Product,
    progress: &Progress,
    what: &str,
    custody: &Custody,
    condition: &str,
    spoil: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let step = progress.step(what.to_owned());
    let mut patience = Patience::of(MINUTE);
    spoil()?;
    let began = Instant::now();
    let said = custody
        .condition(condition, ConditionStatus::False, None, MINUTE)
        .await?;
    let took = began.elapsed().as_secs();
    let words = [
        format!("registry {}", custody.name()),
        "Lost: ".to_owned(),
        "Stands: ".to_owned(),
    ];
    for word in &words {
        ensure!(said.contains(word), "'{word}' is not in: {said}");
    }
    let reason = custody.reason(condition).await?;
    let left = patience.left().max(ASKED);
    custody.event(product, &reason, &words, left).await?;
    let left = patience.left().max(ASKED);
    let counted = custody.counted(product, &reason, left).await?;
    step.done();
    progress.line(&format!(
        "  after {took} s, {condition} of {} is False: {said}",
        custody.name()
    ));
    progress.line(&format!(
        "  an event {reason} says so too, and a metric: {counted}"
    ));
    Ok(())
}

/// A registry's sidecar at home that somebody has frozen; it goes on when this is let go.
pub(super) struct Frozen {
    sidecar: Sidecar,
    since: Instant,
    /// By when home is to be called silent: its last word was spoken before it was frozen.
    silent: Patience,
}

/// Freezes a sidecar at home: it holds its connections, and says nothing more.
pub(super) async fn freeze(product: &Product, registry: Registry) -> Result<Frozen> {
    let sidecar = Sidecar::of(product.bed.home(), ministry(registry), registry.id()).await?;
    sidecar.container().await?.freeze()?;
    Ok(Frozen {
        sidecar,
        since: Instant::now(),
        silent: Patience::of(MINUTE),
    })
}

/// Waits until the embassy calls home silent, lets the sidecar go on, and waits until home is heard again.
pub(super) async fn silence(
    product: &Product,
    registry: Registry,
    mut frozen: Frozen,
    progress: &Progress,
) -> Result<()> {
    let custody = Custody::of(product, registry.id());
    let step = progress.step(format!("the sidecar of {} at home is frozen", registry.id()));
    let left = frozen.silent.left().max(ASKED);
    let said = custody
        .condition("HomeHeard", ConditionStatus::False, Some("HomeSilent"), left)
        .await?;
    step.done();
    progress.line(&format!("  after {} s: {said}", frozen.since.elapsed().as_secs()));
    frozen
        .sidecar
        .container()
        .await
        .context("the frozen sidecar")?
        .thaw()?;
    custody
        .condition("HomeHeard", ConditionStatus::True, None, PROVEN)
        .await
        .map(drop)
}
