//! How long an identity has lain in the cluster. Pure.
//!
//! The operator reads no Secret, so it asks nobody but the pods that need one: a pod that has chosen its copy has read the identity before, and one
//! that misses it says so. What is written is the beginning and never the age, so that nothing is written while time passes.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{MissingSecret, SecretRole};
use dataembassy_crds::IdentityStay;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::condition::{Finding, rfc3339};

/// What a pod tells of the identity that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is there.
    Found,
    /// It is not.
    Lacked,
}

/// What a pod tells that misses these Secrets, and has or has not chosen its copy; nothing while it may not have looked.
#[must_use]
pub fn sight(missing: &[MissingSecret], has_chosen: bool) -> Option<Sight> {
    if missing.iter().any(|one| one.secret == SecretRole::Identity) {
        Some(Sight::Lacked)
    } else {
        has_chosen.then_some(Sight::Found)
    }
}

/// What is known after a pod has told something.
#[must_use]
pub fn after(
    before: Option<&IdentityStay>,
    secret: &str,
    pod: Option<&Pod>,
    sight: Option<Sight>,
    now: Timestamp,
) -> Option<IdentityStay> {
    let before = before.filter(|before| before.secret == secret);
    let Some((looked_at, sight)) = pod.and_then(began_at).zip(sight) else {
        return before.cloned();
    };
    let looked_at = rfc3339(looked_at);
    let present_since = match (sight, before) {
        (Sight::Lacked, _) => None,
        (Sight::Found, Some(before)) if before.present_since.is_some() => before.present_since.clone(),
        // It came while this very pod waited for it.
        (Sight::Found, Some(before)) if before.looked_at == looked_at => Some(rfc3339(now)),
        (Sight::Found, _) => Some(looked_at.clone()),
    };
    Some(IdentityStay {
        secret: secret.to_owned(),
        present_since,
        looked_at,
    })
}

/// What is known of one Secret from two resources: whose pod looked later knows better whether it is there, and it has lain there as long as
/// the other one knows, if it never lacked since.
#[must_use]
pub fn together(known: Option<&IdentityStay>, told: Option<&IdentityStay>) -> Option<IdentityStay> {
    let (known, told) = match (known, told) {
        (Some(known), Some(told)) => (known, told),
        (known, told) => return told.or(known).cloned(),
    };
    if known.secret != told.secret {
        return Some(told.clone());
    }
    let time = |stay: &IdentityStay| stay.looked_at.parse::<Timestamp>().ok();
    if time(told) < time(known) {
        return Some(known.clone());
    }
    let since = |stay: &IdentityStay| {
        stay.present_since
            .clone()
            .filter(|_| told.present_since.is_some())
    };
    Some(IdentityStay {
        present_since: since(known).or_else(|| since(told)),
        ..told.clone()
    })
}

fn began_at(pod: &Pod) -> Option<Timestamp> {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let began = started.or(pod.metadata.creation_timestamp.as_ref())?;
    Some(began.0)
}

/// Since when at least the first of these has lain there.
pub fn first<'a>(stays: impl IntoIterator<Item = &'a IdentityStay>) -> Option<&'a str> {
    let since = stays.into_iter().filter_map(|stay| stay.present_since.as_deref());
    since.min_by_key(|since| since.parse::<Timestamp>().ok())
}

/// `IdentityPresent`; nothing where no pod has looked.
#[must_use]
pub fn finding(stays: &[&IdentityStay]) -> Option<Finding> {
    let told = |stay: &IdentityStay| {
        Some(format!(
            "the identity in the Secret {} has lain in this namespace since {} at least",
            stay.secret,
            stay.present_since.as_deref()?
        ))
    };
    let mut there: Vec<String> = stays.iter().filter_map(|stay| told(stay)).collect();
    there.dedup();
    if !there.is_empty() {
        let message = format!(
            "{}: delete the Secret when nothing needs it any more; that it is gone is noticed by the next pod that looks for it",
            there.join("; ")
        );
        return Some(Finding::yes(Reason::IdentityPresent, message));
    }
    let last = stays
        .iter()
        .max_by_key(|stay| stay.looked_at.parse::<Timestamp>().ok())?;
    let message = format!(
        "the pod that began {} did not find the identity in the Secret {}",
        last.looked_at, last.secret
    );
    Some(Finding::no(Reason::IdentityAbsent, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(started: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "status": {"startTime": started}})).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    fn looks(before: Option<&IdentityStay>, started: &str, sight: Sight) -> IdentityStay {
        after(before, "identity", Some(&pod(started)), Some(sight), now()).unwrap()
    }

    #[test]
    fn it_counts_from_the_first_pod_that_found_it_with_none_since_that_did_not() {
        let first = looks(None, "2026-11-26T03:00:00Z", Sight::Found);
        assert_eq!(first.present_since.as_deref(), Some("2026-11-26T03:00:00Z"));
        let second = looks(Some(&first), "2026-11-27T03:00:00Z", Sight::Found);
        assert_eq!(second.present_since, first.present_since);
        assert_eq!(second.looked_at, "2026-11-27T03:00:00Z");
        // A look that tells nothing new changes nothing.
        assert_eq!(looks(Some(&second), "2026-11-27T03:00:00Z", Sight::Found), second);
        let gone = looks(Some(&second), "2026-11-28T03:00:00Z", Sight::Lacked);
        assert_eq!(gone.present_since, None);
        assert_eq!(finding(&[&gone]).unwrap().reason, Reason::IdentityAbsent);
        let again = looks(Some(&gone), "2026-11-28T11:00:00Z", Sight::Found);
        assert_eq!(again.present_since.as_deref(), Some("2026-11-28T11:00:00Z"));
    }

    #[test]
    fn one_that_comes_while_a_pod_waits_for_it_was_not_there_when_the_pod_began() {
        let waits = looks(None, "2026-11-28T11:00:00Z", Sight::Lacked);
        let came = looks(Some(&waits), "2026-11-28T11:00:00Z", Sight::Found);
        assert_eq!(came.present_since.as_deref(), Some("2026-11-28T12:00:00Z"));
        assert_eq!(looks(Some(&came), "2026-11-28T11:00:00Z", Sight::Found), came);
    }

    #[test]
    fn another_secret_is_another_identity_and_silence_changes_nothing() {
        let known = looks(None, "2026-11-26T03:00:00Z", Sight::Found);
        assert_eq!(
            after(Some(&known), "identity", None, None, now()),
            Some(known.clone())
        );
        assert_eq!(after(Some(&known), "another", None, None, now()), None);
        assert_eq!(sight(&[], false), None);
        let other = MissingSecret {
            secret: SecretRole::Database,
            key: "password".to_owned(),
        };
        assert_eq!(sight(&[other], false), None);
    }

    #[test]
    fn of_two_that_tell_of_one_secret_the_later_look_counts() {
        let early = looks(None, "2026-11-26T03:00:00Z", Sight::Found);
        let late = looks(None, "2026-11-28T03:00:00Z", Sight::Found);
        let both = together(Some(&early), Some(&late)).unwrap();
        assert_eq!(both.present_since, early.present_since);
        assert_eq!(both.looked_at, late.looked_at);
        assert_eq!(together(Some(&late), Some(&early)), Some(late.clone()));
        let gone = looks(None, "2026-11-28T04:00:00Z", Sight::Lacked);
        assert_eq!(together(Some(&both), Some(&gone)), Some(gone));
        assert_eq!(first([&late, &early]), early.present_since.as_deref());
    }

    #[test]
    fn of_two_looks_of_one_pod_the_one_that_is_told_counts() {
        let waits = looks(None, "2026-11-28T11:00:00Z", Sight::Lacked);
        let came = looks(Some(&waits), "2026-11-28T11:00:00Z", Sight::Found);
        assert_eq!(together(Some(&waits), Some(&came)), Some(came.clone()));
        assert_eq!(together(Some(&came), Some(&waits)), Some(waits));
        let another = IdentityStay {
            secret: "another".to_owned(),
            ..looks(None, "2026-11-26T03:00:00Z", Sight::Found)
        };
        assert_eq!(together(Some(&came), Some(&another)), Some(another));
        assert_eq!(sight(&[], true), Some(Sight::Found));
    }
}
