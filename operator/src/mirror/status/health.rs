//! How source, store and copies are: conditions that are false on a bad night and hold up no deployment.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{Check, CheckState, Report, SecretRole};
use dataembassy_crds::{LastCopy, RegistryMirror};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::clock::lies_ahead;
use crate::condition::Finding;
use crate::mirror::dereference::Found;
use crate::mirror::names;
use crate::secrets;

const SOURCE_SECRETS: [SecretRole; 2] = [SecretRole::Database, SecretRole::DatabaseCa];
const STORE_SECRETS: [SecretRole; 2] = [SecretRole::Deposit, SecretRole::Signing];

/// `SourceReachable`.
pub(super) fn source(mirror: &RegistryMirror, report: Option<&Report>, found: &Found) -> Finding {
    reachable(mirror, report, found, |report| &report.source, &SOURCE_SECRETS)
}

/// `StoreReachable`.
pub(super) fn store(mirror: &RegistryMirror, report: Option<&Report>, found: &Found) -> Finding {
    reachable(mirror, report, found, |report| &report.store, &STORE_SECRETS)
}

/// `Intact`: what the embassy's custodian has signed, as the sidecar reads it in the ledger.
pub(super) fn intact(report: Option<&Report>, found: &Found) -> Finding {
    signed(report, found, |report| &report.intact)
}

/// `Drilled`: the same of the embassy's newest drill.
pub(super) fn drilled(report: Option<&Report>, found: &Found) -> Finding {
    signed(report, found, |report| &report.drilled)
}

/// What stands in the custody chain, in the sidecar's words.
fn signed(report: Option<&Report>, found: &Found, check: impl Fn(&Report) -> &Check) -> Finding {
    let Some(report) = report else {
        return silent(found);
    };
    let check = check(report);
    match check.state {
        CheckState::True => Finding::yes(check.reason, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown if check.message.is_empty() => {
            Finding::unknown(Reason::NotYetKnown, "the sidecar has not read the ledger yet")
        }
        CheckState::Unknown => Finding::unknown(check.reason, check.message.clone()),
    }
}

/// What can be said while there is no report.
fn silent(found: &Found) -> Finding {
    match &found.report {
        Some(_) => Finding::unknown(Reason::SidecarSilent, "the sidecar does not answer the operator"),
        None => Finding::unknown(Reason::NotYetKnown, "there is no running sidecar that could say"),
    }
}

fn reachable(
    mirror: &RegistryMirror,
    report: Option<&Report>,
    found: &Found,
    check: impl Fn(&Report) -> &Check,
    secrets: &[SecretRole],
) -> Finding {
    let Some(report) = report else {
        return silent(found);
    };
    if let Some(finding) = missing_secrets(mirror, report, secrets) {
        return finding;
    }
    let check = check(report);
    match check.state {
        CheckState::True if check.message.is_empty() => {
            Finding::yes(check.reason, "the sidecar's latest look found nothing wrong")
        }
        CheckState::True => Finding::yes(check.reason, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown => Finding::unknown(Reason::NotYetKnown, "the sidecar has not looked yet"),
    }
}

/// Names the Secrets and the keys that the sidecar misses, of those with these roles.
pub(super) fn missing_secrets(
    mirror: &RegistryMirror,
    report: &Report,
    roles: &[SecretRole],
) -> Option<Finding> {
    let named = roles.iter().map(|role| {
        let name = secret_name(mirror, *role);
        (*role, name.unwrap_or_else(|| "that the mirror names".to_owned()))
    });
    secrets::missing(&report.missing_secrets, named)
}

fn secret_name(mirror: &RegistryMirror, role: SecretRole) -> Option<String> {
    let spec = &mirror.spec;
    let postgresql = spec.source.postgresql.as_ref();
    let signer = spec
        .signing
        .as_ref()
        .and_then(|signing| signing.signer_ref.as_ref());
    match role {
        SecretRole::Deposit => Some(spec.deposit_credentials_ref.name.clone()),
        SecretRole::Database => postgresql.map(|source| source.credentials_ref.name.clone()),
        SecretRole::DatabaseCa => postgresql.map(|source| source.tls.ca_ref.name.clone()),
        SecretRole::Signing => Some(signer.map_or_else(
            || names::signing_key(&mirror.name_any()),
            |secret| secret.name.clone(),
        )),
        SecretRole::Custody
        | SecretRole::GateTls
        | SecretRole::Retrieval
        | SecretRole::Identity
        | SecretRole::Other => None,
    }
}

/// `WithinRPO`. Of the two times of a copy the older one counts, as at the embassy: the database's clock may be wrong.
pub(super) fn within_rpo(mirror: &RegistryMirror, copy: Option<&LastCopy>, now: Timestamp) -> Finding {
    let objective = &mirror.spec.objectives.rpo;
    let Ok(rpo) = objective.parse::<dataembassy_contract::Duration>() else {
        return Finding::unknown(Reason::InvalidDuration, "spec.objectives.rpo is not a duration");
    };
    let older = |since: Timestamp| {
        SignedDuration::try_from(rpo.as_std()).is_ok_and(|rpo| now.duration_since(since) > rpo)
    };
    let Some(copy) = copy else {
        let message = "the ledger holds no copy of this registry yet";
        let created = mirror.metadata.creation_timestamp.as_ref().map(|time| time.0);
        return if created.is_some_and(older) {
            Finding::no(
                Reason::NoCopyYet,
                format!("{message}, although the mirror is older than {objective}"),
            )
        } else {
            Finding::unknown(Reason::NoCopyYet, message)
        };
    };
    let times = [&copy.taken_at, &copy.committed_at];
    let taken = times
        .into_iter()
        .filter_map(|time| time.parse::<Timestamp>().ok());
    let Some(taken) = taken.min() else {
        return Finding::unknown(Reason::Other, "the latest copy has no time that can be read");
    };
    if lies_ahead(taken, now) {
        let message = format!(
            "the latest copy was taken at {taken}, which is still to come: a clock was wrong, so nobody knows how old it is"
        );
        Finding::unknown(Reason::ClockSkewed, message)
    } else if older(taken) {
        Finding::no(
            Reason::RpoMissed,
            format!(
                "the latest copy was taken at {taken}, more than {objective} ago: look at recentRuns and the other conditions"
            ),
        )
    } else {
        Finding::yes(
            Reason::WithinObjective,
            format!("the latest copy is at most {objective} old"),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_that_a_clock_dates_ahead_is_no_younger_than_its_entry_and_of_unknown_age_where_that_lies_ahead_too()
     {
        let mirror: RegistryMirror = serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryMirror",
            "metadata": {"name": "population", "namespace": "interior"},
            "spec": {
                "registry": {"id": "population"}, "embassyRef": {"name": "luxembourg"}, "depositCredentialsRef": {"name": "d"},
                "source": {}, "schedule": {"cron": "0 3 * * *"}, "objectives": {"rpo": "30m"},
            },
        }))
        .unwrap();
        let now: Timestamp = "2026-11-23T10:30:00Z".parse().unwrap();
        for (taken_at, committed_at, reason) in [
            (
                "2026-11-23T10:00:00Z",
                "2026-11-23T10:01:00Z",
                Reason::WithinObjective,
            ),
            ("2026-11-23T09:59:59Z", "2026-11-23T10:01:00Z", Reason::RpoMissed),
            (
                "2036-11-23T10:00:00Z",
                "2026-11-23T10:00:00Z",
                Reason::WithinObjective,
            ),
            ("2036-11-23T10:00:00Z", "2026-11-23T09:59:59Z", Reason::RpoMissed),
            // All clocks were wrong, and one of them is right again.
            (
                "2026-11-23T10:35:01Z",
                "2026-11-23T10:36:00Z",
                Reason::ClockSkewed,
            ),
            (
                "2026-11-23T10:34:59Z",
                "2026-11-23T10:34:59Z",
                Reason::WithinObjective,
            ),
        ] {
            let copy: LastCopy = serde_json::from_value(json!({
                "sequence": 1, "digest": "a".repeat(64), "takenAt": taken_at, "committedAt": committed_at, "bytes": 1, "size": "1 B",
            }))
            .unwrap();
            assert_eq!(
                within_rpo(&mirror, Some(&copy), now).reason,
                reason,
                "{taken_at} {committed_at}"
            );
        }
    }
}
