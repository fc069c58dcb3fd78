//! What the operator judges: no sidecar is started for it.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use dataembassy_e2e::{command::wait_for, product::mirror::Mirror};
use futures::FutureExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{MENDED, Told, end, side_by_side, told};
use crate::{
    embassy::Embassy,
    world::{MINUTE, Ministry, Subject, World, together},
};

#[test]
fn what_the_operator_can_judge_is_told_before_a_sidecar_runs() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-spec").await?;
    let subject = ministry.small_registry("wrong-embassy").await?;
    let theme = Theme {
        world,
        ministry: &ministry,
        subject: &subject,
    };
    side_by_side(
        world,
        &ministry,
        vec![
            ("schedules", theme.schedules().boxed_local()),
            ("embassies", theme.embassies().boxed_local()),
            ("a registry taken", theme.taken().boxed_local()),
        ],
    )
    .await?;
    let arguments = ["get", "pods", "--namespace", &ministry.namespace, "-o", "name"];
    let pods = world.home().kubectl(arguments).await?;
    ensure!(pods.is_empty(), "sidecars were started: {pods}");
    // Last, for it ends with a copy.
    theme.unknown_embassy().await?;
    end(world, &ministry, &[]).await
}

struct Theme<'a> {
    world: &'static World,
    ministry: &'a Ministry,
    subject: &'a Subject,
}

impl Theme<'_> {
    /// Applies another mirror, of a registry of its own.
    async fn other(&self, stem: &str, change: impl FnOnce(&mut Value)) -> Result<Mirror> {
        let name = self.world.unique(stem);
        let mut manifest = self.subject.manifest();
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["registry"]["id"] = json!(name);
        change(&mut manifest["spec"]);
        self.world.home().apply(&manifest.to_string()).await?;
        Ok(Mirror::of(self.world.home(), &self.ministry.namespace, &name))
    }

    async fn schedules(&self) -> Result<()> {
        let six = "0 */15 * * * *";
        for (stem, cron, zone, reason, words) in [
            (
                "six-fields",
                six,
                "UTC",
                Reason::InvalidSchedule,
                &[six, "has 6 fields", "must have five"][..],
            ),
            (
                "never",
                "0 0 30 2 *",
                "UTC",
                Reason::ImpossibleDate,
                &["0 0 30 2 *", "no year has such a day"],
            ),
            (
                "nowhere",
                "0 0 1 1 *",
                "Europe/Talinn",
                Reason::UnknownTimeZone,
                &["Europe/Talinn", "IANA", "such as Europe/Tallinn"],
            ),
        ] {
            let mirror = self
                .other(stem, |spec| {
                    spec["schedule"] = json!({"cron": cron, "timeZone": zone, "deadline": "1h"});
                })
                .await?;
            stands_still(&mirror, told("Ready", reason, words))
                .await
                .context(stem)?;
        }
        Ok(())
    }

    async fn embassies(&self) -> Result<()> {
        let mistyped = mistyped(&self.world.product.keys.recipient);
        let cloud = "https://s3.eu-central-1.amazonaws.com";
        for (stem, field, value, reason, words) in [
            (
                "cloud",
                "/store/endpoint",
                cloud,
                Reason::NotSovereign,
                &[
                    "s3.eu-central-1.amazonaws.com",
                    "commercial cloud",
                    "under the state's own control",
                ][..],
            ),
            (
                "metadata",
                "/store/endpoint",
                "https://169.254.169.254",
                Reason::NotSovereign,
                &[
                    "169.254.169.254",
                    "link-local",
                    "give the address of the store or database",
                ],
            ),
            (
                "metadata-6",
                "/store/endpoint",
                "https://[64:ff9b::a9fe:a9fe]",
                Reason::NotSovereign,
                &["64:ff9b::a9fe:a9fe", "link-local"],
            ),
            (
                "mistyped",
                "/recipients/0/publicKey",
                &mistyped,
                Reason::InvalidRecipient,
                &[
                    "spec.recipients[ministry].publicKey",
                    "not an age public key",
                    "age-keygen -y",
                ],
            ),
        ] {
            let embassy = Embassy::new(self.world, stem).await?;
            embassy
                .apply(|spec| {
                    if let Some(place) = spec.pointer_mut(field) {
                        *place = json!(value);
                    }
                })
                .await?;
            told("Ready", reason, words)
                .by_embassy(self.world, &embassy.name)
                .await
                .context(stem)?;
            told("Stalled", reason, words)
                .by_embassy(self.world, &embassy.name)
                .await
                .context(stem)?;
            // And who mirrors there is told the same, and of whom.
            let mirror = self
                .other(stem, |spec| spec["embassyRef"]["name"] = json!(embassy.name))
                .await?;
            let words: Vec<&str> = words.iter().copied().chain([embassy.name.as_str()]).collect();
            stands_still(&mirror, told("Ready", reason, &words))
                .await
                .context(stem)?;
            embassy.delete().await?;
        }
        Ok(())
    }

    async fn unknown_embassy(&self) -> Result<()> {
        let embassy = Embassy::new(self.world, "wrong-embassy").await?;
        self.subject
            .apply(|spec| spec["embassyRef"]["name"] = json!(embassy.name))
            .await?;
        let words = [embassy.name.as_str(), "create it", "spec.embassyRef.name"];
        stands_still(
            &self.subject.mirror,
            told("Ready", Reason::UnknownEmbassy, &words),
        )
        .await?;
        embassy.apply(|_| ()).await?;
        self.subject.mirror.copied(1, MENDED).await?;
        embassy.delete().await
    }

    /// Of two mirrors of one registry the older goes on.
    async fn taken(&self) -> Result<()> {
        let older = self.other("older", |spec| spec["suspend"] = json!(true)).await?;
        told("Ready", Reason::Suspended, &[]).by_mirror(&older).await?;
        let (older, registry) = (older.get().await?, self.world.unique("older"));
        let made = older.metadata.creation_timestamp.context("it has no age")?.0;
        // Ages are told in whole seconds.
        wait_for("the next second", MINUTE, || async {
            Ok((Timestamp::now().as_second() > made.as_second()).then_some(()))
        })
        .await?;
        let younger = self
            .other("younger", |spec| {
                spec["registry"]["id"] = json!(registry);
                spec["suspend"] = json!(true);
            })
            .await?;
        let rival = format!("{}/{registry}", self.ministry.namespace);
        let words = [registry.as_str(), &rival, "delete one of the two", "another id"];
        stands_still(&younger, told("Ready", Reason::RegistryTaken, &words)).await?;
        let arguments = [
            "delete",
            "registrymirror",
            &registry,
            "--namespace",
            &self.ministry.namespace,
        ];
        self.world.home().kubectl(arguments).await?;
        told("Ready", Reason::Suspended, &[]).by_mirror(&younger).await
    }
}

/// A mirror says why it is not ready, and that nothing will mend itself.
async fn stands_still(mirror: &Mirror, why: Told<'_>) -> Result<()> {
    why.by_mirror(mirror).await?;
    told("Stalled", why.reason, why.words).by_mirror(mirror).await
}

/// A recipient with two letters swapped, as a tired person types it.
fn mistyped(recipient: &str) -> String {
    let mut letters: Vec<char> = recipient.chars().collect();
    let place = (10..letters.len() - 1).find(|place| letters[*place] != letters[place + 1]);
    if let Some(place) = place {
        letters.swap(place, place + 1);
    }
    letters.into_iter().collect()
}
