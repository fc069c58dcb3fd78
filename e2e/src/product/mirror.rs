//! Mirrors, as their resources show them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::conditions;
use crate::{cluster::Cluster, command::wait_for};

/// Replaces what is a reader's own in the sample of a `DataEmbassy`: the authority, the recipient, the custodian's key, and the approvers'.
pub fn filled_in(
    sample: &str,
    authority: &str,
    recipient: &str,
    custodian: &str,
    approvers: &[&str],
) -> Result<String> {
    let mut lines = Vec::new();
    let (mut in_bundle, mut authorities, mut recipients, mut custodians) = (false, 0, 0, 0);
    let mut approvers = approvers.iter();
    for line in sample.lines() {
        let words = line.trim_start().trim_start_matches("- ");
        let indent = &line[..line.len() - words.len()];
        if words == "-----BEGIN CERTIFICATE-----" {
            in_bundle = true;
            authorities += 1;
            lines.extend(authority.lines().map(|line| format!("{indent}{line}")));
        } else if words.starts_with("publicKey: age1") {
            recipients += 1;
            lines.push(format!("{indent}publicKey: {recipient}"));
        } else if words.starts_with("publicKey: ssh-ed25519") && indent.ends_with("- ") {
            custodians += 1;
            lines.push(format!("{indent}publicKey: {custodian}"));
        } else if words.starts_with("publicKey: ssh-ed25519") {
            let approver = approvers.next().context("the sample names more approvers")?;
            lines.push(format!("{indent}publicKey: {approver}"));
        } else if !in_bundle {
            lines.push(line.to_owned());
        }
        in_bundle &= words != "-----END CERTIFICATE-----";
    }
    ensure!(
        authorities == 1 && recipients == 1 && custodians == 1 && approvers.next().is_none(),
        "the sample must have one certificate, one recipient, one custodian key and each approver's"
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
        conditions::wait(&self.api, &self.name, kind, status, reason, deadline).await
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
            Err(error) => Err(error.context(conditions::told(&self.api, &self.name).await)),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_embassy_is_filled_in_where_it_says_so_and_nowhere_else() {
        let sample = std::fs::read_to_string(super::super::sample(super::super::EMBASSY)).unwrap();
        let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
        let filled = filled_in(
            &sample,
            bundle,
            "age1other",
            "ssh-ed25519 other",
            &["ssh-ed25519 one", "ssh-ed25519 two", "ssh-ed25519 three"],
        )
        .unwrap();
        assert!(filled.contains("      AAAA\n      BBBB\n"), "{filled}");
        assert!(filled.contains("publicKey: age1other"), "{filled}");
        assert!(filled.contains("- publicKey: ssh-ed25519 other"), "{filled}");
        assert!(
            filled.contains("        publicKey: ssh-ed25519 two\n"),
            "{filled}"
        );
        let kept = |text: &str| {
            text.lines()
                .filter(|line| line.contains("Name") || line.contains("endpoint"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&filled), kept(&sample));
    }
}
