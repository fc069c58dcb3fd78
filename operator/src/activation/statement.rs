//! The statement that approvers sign: made once for each spec without its approvals, from what the cluster knows then. Pure.

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_crds::{
    self as crds, ActivatedRegistry, ActivatedState, ActivationMode, ActivationState, EmbassyActivation,
    EmbassyActivationSpec, UnfencedChoice,
};
use dataembassy_ledger::activation::{Mode, State, StatedFloor, StatedRegistry, Statement, Unfenced, Words};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::{Sequence, Sha256Digest, Term, Timestamp};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::activation::course::judge_choice;
use crate::activation::dereference::Found;
use crate::activation::validate::{Checked, CheckedRegistry};
use crate::activation::{last_copy, names};
use crate::condition::rfc3339;
use crate::embassy::validate::Refusal;

/// The SHA-256 of a spec without its approvals, as canonical JSON: names in order, no blanks.
#[must_use]
pub fn spec_digest(spec: &EmbassyActivationSpec) -> Sha256Digest {
    let spec = EmbassyActivationSpec {
        approvals: Vec::new(),
        ..spec.clone()
    };
    digest_of(&spec)
}

fn digest_of(value: &impl Serialize) -> Sha256Digest {
    // Plain structs of texts and numbers: there is nothing in them that JSON cannot hold.
    let value = serde_json::to_value(value).unwrap_or_default();
    Sha256Digest::of(canonical(&value).as_bytes())
}

/// JSON with the names of each object in order, whatever order its map keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> = fields
                .iter()
                .map(|(name, value)| (name, canonical(value)))
                .collect();
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

/// Whether a statement that was frozen was made for this spec.
#[must_use]
pub fn is_of(frozen: &crds::Statement, spec: &EmbassyActivationSpec) -> bool {
    frozen.spec_sha256 == spec_digest(spec).to_string()
}

/// Whether a statement that was frozen is about this spec, and is what its resource's status says. Before enough have signed, it must also
/// name those who may: a set that was changed since would find none of them.
#[must_use]
pub fn is_about(
    frozen: &crds::Statement,
    activation: &EmbassyActivation,
    checked: &Checked,
    is_approved: bool,
) -> bool {
    let spec = spec_digest(&activation.spec);
    let Ok(statement) = Statement::read(&frozen.text) else {
        return false;
    };
    frozen.spec_sha256 == spec.to_string()
        && statement.spec == spec
        && statement.order.as_str() == frozen.order
        && Some(statement.uid.as_str()) == activation.uid().as_deref()
        && Sha256Digest::of(frozen.text.as_bytes()).to_string() == frozen.sha256
        && (is_approved || statement.approvers == checked.approvers.digest())
}

/// Composes the statement. A refusal says what is not known yet, or what has no place in a statement.
pub fn compose(
    activation: &EmbassyActivation,
    checked: &Checked,
    states: &[ActivatedState],
    found: &Found,
    now: jiff::Timestamp,
) -> Result<crds::Statement, Refusal> {
    let spec = &activation.spec;
    let digest = spec_digest(spec);
    let uid = activation.uid().unwrap_or_default();
    let order = names::order(&activation.name_any(), &uid, &digest);
    let registries = spec.registries.iter().zip(&checked.registries);
    let statement = Statement {
        store: store(found)?,
        embassy: spec
            .embassy_ref
            .name
            .parse()
            .map_err(invalid("spec.embassyRef.name"))?,
        resource: words("metadata", &names::full(activation))?,
        uid: words("metadata.uid", &uid)?,
        order: order.parse().map_err(invalid("metadata.name"))?,
        mode: match spec.mode {
            ActivationMode::Rehearse => Mode::Rehearse,
            ActivationMode::Activate => Mode::Activate,
        },
        state: match spec.state {
            ActivationState::Active => State::Active,
            ActivationState::StoodDown => State::StoodDown,
        },
        valid_until: checked.valid_until,
        unfenced: match spec.unfenced {
            UnfencedChoice::Refused => Unfenced::Refused,
            UnfencedChoice::Accepted => Unfenced::Accepted,
        },
        required: checked.approvers.required(),
        approvers: checked.approvers.digest(),
        spec: digest,
        registries: registries
            .map(|(registry, checked)| stated(activation, registry, checked, states, found))
            .collect::<Result<_, _>>()?,
    };
    let text = statement
        .render()
        .map_err(|error| Refusal::new(Reason::InvalidName, error.to_string()))?;
    Ok(crds::Statement {
        sha256: Sha256Digest::of(text.as_bytes()).to_string(),
        text,
        order,
        spec_sha256: digest.to_string(),
        made_at: rfc3339(now),
    })
}

fn store<T: std::str::FromStr>(found: &Found) -> Result<T, Refusal> {
    let known = found.store_id.as_deref().and_then(|id| id.parse().ok());
    known.ok_or_else(|| {
        let message = "the custodian has not said yet which store it keeps, and the statement names it: look at the DataEmbassy's \
                       CustodianReady";
        Refusal::new(Reason::NotYetKnown, message)
    })
}

fn invalid<E: std::fmt::Display>(field: &str) -> impl Fn(E) -> Refusal {
    move |error| Refusal::new(Reason::InvalidName, format!("{field}: {error}"))
}

fn words(field: &str, text: &str) -> Result<Words, Refusal> {
    text.parse().map_err(|error| {
        let message =
            format!("{field} has no place in the statement that approvers sign: {error}; shorten it");
        Refusal::new(Reason::InvalidName, message)
    })
}

fn stated(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    checked: &CheckedRegistry,
    states: &[ActivatedState],
    found: &Found,
) -> Result<StatedRegistry, Refusal> {
    let spec = &activation.spec;
    let field = |name: &str| format!("spec.registries[{}].{name}", registry.id);
    let signer = match (spec.mode, spec.state) {
        (ActivationMode::Rehearse, _) => None,
        (ActivationMode::Activate, ActivationState::StoodDown) => checked.home_signer,
        (ActivationMode::Activate, ActivationState::Active) => {
            let state = states.iter().find(|state| state.id == registry.id);
            let signer = state.and_then(|state| state.signer.as_ref()?.public_key.parse().ok());
            Some(signer.ok_or_else(|| {
                let message = format!(
                    "the key that writes the next term of '{}' is being made",
                    registry.id
                );
                Refusal::new(Reason::NotYetKnown, message)
            })?)
        }
    };
    if spec.state == ActivationState::Active
        && let Some(report) = found.report(&registry.id)
    {
        judge_choice(&registry.copy, checked, report).map_err(|(reason, why)| Refusal::new(reason, why))?;
    }
    Ok(StatedRegistry {
        registry: checked.id.clone(),
        after: checked.after.clone(),
        floor: floor(registry, found)?,
        copy: words(&field("copy"), &copy(activation, registry, checked, states))?,
        target: words(&field("target"), &target(registry, spec.mode))?,
        signer,
        questions: u32::try_from(registry.assertions.len()).unwrap_or(u32::MAX),
        questions_digest: digest_of(&registry.assertions),
        exposed: words(&field("target"), &exposed(activation, registry))?,
    })
}

/// The head of the source chain that the cluster knows of. Where it knows of one and not when its copy was taken, the custodian will say.
fn floor(registry: &ActivatedRegistry, found: &Found) -> Result<Option<StatedFloor>, Refusal> {
    let unknown = || {
        let message = format!(
            "the custodian has not said yet where the ledger of '{}' ends, and the statement names that: look at its RegistryCustody",
            registry.id
        );
        Refusal::new(Reason::NotYetKnown, message)
    };
    let custody = found.custody(&registry.id).ok_or_else(unknown)?;
    let status = custody.status.clone().unwrap_or_default();
    let report = found.report(&registry.id);
    let Some(head) = &status.source_head else {
        let is_empty = report.is_some_and(|report| {
            report.ledger.state == dataembassy_contract::report::CheckState::True
                && report.source_head.is_none()
        });
        return if is_empty { Ok(None) } else { Err(unknown()) };
    };
    let taken = report.and_then(|report| {
        let copies = report.copies.iter().map(|copy| (copy.sequence, copy.taken_at));
        let arrival = report.last_arrival.iter().map(|one| (one.sequence, one.taken_at));
        let sequence = u64::try_from(head.sequence).ok()?;
        copies.chain(arrival).find(|(number, _)| *number == sequence)
    });
    let taken = taken.map(|(_, taken_at)| taken_at).or_else(|| {
        let last = status
            .last_copy
            .as_ref()
            .filter(|copy| copy.sequence == head.sequence)?;
        last.taken_at.parse().ok()
    });
    let entry = || {
        Some(StatedFloor {
            term: Term::new(written_in(status.term, head.sequence, found, registry)).ok()?,
            entry: EntryRef {
                sequence: Sequence::new(u64::try_from(head.sequence).ok()?).ok()?,
                digest: head.digest.parse().ok()?,
            },
            taken_at: Timestamp::from_jiff(taken?).ok()?,
        })
    };
    entry().map(Some).ok_or_else(unknown)
}

/// The term of a head, as the custodian says it; else the one that is open, unless the head closed the one before.
fn written_in(term: Option<i32>, head: i64, found: &Found, registry: &ActivatedRegistry) -> u64 {
    let report = found.report(&registry.id);
    let told = report.filter(|report| {
        let sequence = report.source_head.as_ref().map(|head| head.sequence);
        sequence.is_some_and(|sequence| i64::try_from(sequence) == Ok(head))
    });
    if let Some(term) = told.and_then(|report| report.source_term) {
        return u64::from(term);
    }
    let open = report.map_or(0, |report| u64::from(report.term));
    let open = open
        .max(term.and_then(|term| u64::try_from(term).ok()).unwrap_or(1))
        .max(1);
    let closed = report.and_then(|report| report.opening.as_ref()?.source_head.as_ref());
    if closed.is_some_and(|closed| i64::try_from(closed.sequence).is_ok_and(|closed| closed >= head)) {
        open.saturating_sub(1).max(1)
    } else {
        open
    }
}

fn copy(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    checked: &CheckedRegistry,
    states: &[ActivatedState],
) -> String {
    if activation.spec.state == ActivationState::StoodDown {
        let state = states.iter().find(|state| state.id == registry.id);
        return last(registry, state).to_owned();
    }
    let choice = &registry.copy;
    if let Some(number) = choice.sequence {
        return format!("number {number}");
    }
    match checked.at_or_before {
        Some(moment) => format!("the newest that was taken at {moment} or before"),
        None if choice.latest => "the newest, read back or not".to_owned(),
        None if choice.latest_drilled => "the newest that passed a drill".to_owned(),
        None => "the newest that is intact".to_owned(),
    }
}

/// With which copy a registry goes home.
fn last(registry: &ActivatedRegistry, state: Option<&ActivatedState>) -> &'static str {
    if !state.is_some_and(last_copy::was_served) {
        "the latest that there is; it was never served from the embassy"
    } else if registry.forgo_last_copy {
        "the latest that there is; what was written at the embassy since then is given up"
    } else if registry.target.managed.is_some() {
        "the last one from the embassy, taken when applications are shut out"
    } else {
        "the last one from the embassy; who keeps its database shuts applications out before this is signed"
    }
}

/// What a registry is restored into, in words.
#[must_use]
pub fn target(registry: &ActivatedRegistry, mode: ActivationMode) -> String {
    let target = &registry.target;
    if let Some(managed) = &target.managed {
        let database = managed.database.as_ref().unwrap_or(&registry.id);
        let class = managed.storage_class.as_deref().unwrap_or("default");
        return format!(
            "managed, image {}, storage {} of class {class}, database {database}",
            managed.image, managed.storage
        );
    }
    let external = target.external.as_ref();
    external.map_or_else(String::new, |external| {
        format!(
            "external, {} port {}, database {}{}",
            external.host,
            external.port,
            external.database,
            if mode == ActivationMode::Rehearse {
                ", scratch: emptied afterwards"
            } else {
                ""
            }
        )
    })
}

/// Where applications find it.
fn exposed(activation: &EmbassyActivation, registry: &ActivatedRegistry) -> String {
    if activation.spec.mode == ActivationMode::Rehearse {
        return "nowhere: this is a rehearsal".to_owned();
    }
    let target = &registry.target;
    match (&target.managed, &target.external) {
        (Some(managed), _) => {
            let service = managed.service.as_ref().unwrap_or(&registry.id);
            let namespace = activation.namespace().unwrap_or_default();
            format!("Service {service} in namespace {namespace}, port 5432")
        }
        (None, Some(external)) => format!("{} port {}", external.host, external.port),
        (None, None) => "nowhere".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_json_has_one_spelling() {
        let value = json!({"b": [1, {"z": null, "a": "\"\n"}], "a": true});
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"a":"\"\n","z":null}]}"#);
    }

    #[test]
    fn a_head_is_stated_in_the_term_in_which_it_was_written() {
        let registry: ActivatedRegistry = serde_json::from_value(json!({
            "id": "population", "retrievalCredentialsRef": {"name": "r"}, "identityRef": {"name": "i"}, "target": {},
        }))
        .unwrap();
        let said = |report: Value| Found {
            reports: BTreeMap::from([(
                "population".to_owned(),
                std::sync::Arc::new(serde_json::from_value(report).unwrap()),
            )]),
            ..Found::default()
        };
        // The third term was opened when the source chain had come so far.
        let opened = |head: u64| {
            said(json!({
                "registry": "population", "term": 3,
                "opening": {"holder": "Home", "sequence": 12, "digest": "d", "signer": "s", "sourceHead": {"sequence": head, "digest": "d"}},
            }))
        };
        let told = |head: u64| {
            said(json!({
                "registry": "population", "term": 3, "sourceTerm": 1, "sourceHead": {"sequence": head, "digest": "d"},
            }))
        };
        for (known, found, expected) in [
            (None, Found::default(), 1),
            (Some(2), Found::default(), 2),
            (None, opened(4), 3),
            (None, opened(5), 2),
            (None, opened(6), 2),
            (Some(4), opened(4), 4),
            (None, told(5), 1),
            // It tells of another head.
            (None, told(6), 3),
        ] {
            assert_eq!(written_in(known, 5, &found, &registry), expected, "{known:?}");
        }
    }
}
