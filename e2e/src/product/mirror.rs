//! Mirrors, as their resources show them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{cluster::Cluster, command::wait_for};

/// Replaces the two values of the sample `DataEmbassy` that are a reader's own: the store's authority and the recipient.
pub fn filled_in(sample: &str, authority: &str, recipient: &str) -> Result<String> {
    let mut lines = Vec::new();
    let (mut in_bundle, mut authorities, mut recipients) = (false, 0, 0);
    for line in sample.lines() {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        if words == "-----BEGIN CERTIFICATE-----" {
            in_bundle = true;
            authorities += 1;
            lines.extend(authority.lines().map(|line| format!("{indent}{line}")));
        } else if words.starts_with("publicKey: age1") {
            recipients += 1;
            lines.push(format!("{indent}publicKey: {recipient}"));
        } else if !in_bundle {
            lines.push(line.to_owned());
        }
        in_bundle &= words != "-----END CERTIFICATE-----";
    }
    ensure!(
        authorities == 1 && recipients == 1,
        "the sample must have one certificate and one recipient"
    );
    Ok(lines.join("\n") + "\n")
}

/// Within this time of its pod's start a mirror names its signer.
const SIGNER: Duration = Duration::from_mins(2);

/// One mirror in a cluster.
#[derive(Clone)]
pub struct Mirror {
    api: Api<RegistryMirror>,
    name: String,
}

impl Mirror {
    /// A handle on a mirror, whether it is there yet or not.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(cluster.client().clone(), namespace),
            name: name.to_owned(),
        }
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<RegistryMirror> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Asks for one copy now.
    pub async fn trigger(&self, word: &str) -> Result<()> {
        let patch = json!({"spec": {"trigger": word}});
        self.api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Waits until a condition of the newest generation has a status (and a reason, if one is given); returns its message.
    pub async fn condition(
        &self,
        kind: &str,
        status: ConditionStatus,
        reason: Option<&str>,
        deadline: Duration,
    ) -> Result<String> {
        let what = format!(
            "{kind} of mirror {} to be {status:?} {}",
            self.name,
            reason.unwrap_or_default()
        );
        let found = wait_for(&what, deadline, || async {
            let mirror = self.get().await?;
            let generation = mirror.metadata.generation;
            let conditions = mirror.status.map(|status| status.conditions).unwrap_or_default();
            Ok(conditions.into_iter().find(|condition| {
                condition.type_ == kind
                    && condition.status == status
                    && Some(condition.observed_generation) == generation
                    && reason.is_none_or(|reason| condition.reason == reason)
            }))
        })
        .await;
        match found {
            Ok(condition) => Ok(condition.message),
            Err(error) => Err(error.context(self.told().await)),
        }
    }

    /// Waits until the ledger has a copy with at least this number; returns the mirror.
    pub async fn copied(&self, sequence: i64, deadline: Duration) -> Result<RegistryMirror> {
        let what = format!("copy {sequence} of mirror {}", self.name);
        let found = wait_for(&what, deadline, || async {
            let mirror = self.get().await?;
            let last = mirror
                .status
                .as_ref()
                .and_then(|status| status.last_copy.as_ref());
            Ok(last
                .is_some_and(|copy| copy.sequence >= sequence)
                .then_some(mirror))
        })
        .await;
        match found {
            Ok(mirror) => Ok(mirror),
            Err(error) => Err(error.context(self.told().await)),
        }
    }

    /// The public key its entries are signed with, once the operator has heard it.
    pub async fn signer(&self) -> Result<String> {
        let what = format!("the signer of mirror {}", self.name);
        wait_for(&what, SIGNER, || async {
            Ok(self.get().await?.status.and_then(|status| status.signer))
        })
        .await
    }

    /// Its whole status, for somebody who wonders why it is not as it should be.
    async fn told(&self) -> String {
        match self.get().await {
            Ok(mirror) => serde_json::to_string_pretty(&mirror.status).unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_embassy_is_filled_in_where_it_says_so_and_nowhere_else() {
        let sample = std::fs::read_to_string(super::super::sample(super::super::EMBASSY)).unwrap();
        let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
        let filled = filled_in(&sample, bundle, "age1other").unwrap();
        assert!(filled.contains("      AAAA\n      BBBB\n"), "{filled}");
        assert!(filled.contains("publicKey: age1other"), "{filled}");
        let kept = |text: &str| {
            text.lines()
                .filter(|line| line.contains("Name") || line.contains("endpoint"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&filled), kept(&sample));
    }
}
