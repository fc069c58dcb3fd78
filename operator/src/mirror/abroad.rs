//! Judges what a mirror at the embassy needs beside its own resource: that the registry is served from here, by whose key it goes on, and whose
//! entries came before. The custodian would call the entries of any other mirror foreign.

use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::{RegistryReport, SignerConfig, TermHolder, TermOpening};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{
    ActivatedState, ActivationMode, EmbassyActivation, RegistryCustody, RegistryMirror, RegistryPhase,
};
use kube::ResourceExt;

use crate::activation::database::Managed;
use crate::activation::last_copy;
use crate::custody::validate::judge_signers;
use crate::embassy::validate::{CheckedEmbassy, Refusal};

/// What the embassy's half knows of a mirror's registry.
#[derive(Clone, Debug, Default)]
pub struct Abroad {
    /// The registry, as it was accepted.
    pub custody: Option<Arc<RegistryCustody>>,
    /// What the custodian says of it now, or said last if it is silent.
    pub report: Option<Arc<RegistryReport>>,
    /// Activations of the mirror's own namespace and embassy that are meant.
    pub activations: Vec<Arc<EmbassyActivation>>,
}

/// What a mirror at the embassy is told beside what its resource says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who wrote term 1.
    pub signers: Vec<SignerConfig>,
    /// The last head that the embassy knows.
    pub floor: Option<Floor>,
    /// The Secret with the key that writes this term.
    pub signing: String,
    /// Which pods of ours it may call.
    pub reach: Reach,
    /// The trigger of the registry's last copy, once applications were shut out.
    pub trigger: Option<String>,
}

/// What the pod of a mirror at the embassy reaches beside what one at home does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The managed database that its activation made.
    pub database: Option<String>,
}

impl Abroad {
    /// The activation that mirrors of this namespace are beside, and how far the registry is in it: the one whose key writes the open term, or
    /// where the custodian is silent the one that has fenced home and not given the registry back.
    #[must_use]
    pub fn activated(&self, registry: &str) -> Option<(&EmbassyActivation, &ActivatedState)> {
        let opening = self.opening();
        self.activations.iter().find_map(|activation| {
            let states = activation.status.iter().flat_map(|status| &status.registries);
            let mut states = states.filter(|state| state.id == registry);
            let state = states.find(|state| match (opening, &state.signer) {
                // The ledger has the fence, whatever the activation has heard of it: one that is told to go home waits for its mirror.
                (Some(opening), Some(signer)) => opening.signer == signer.public_key,
                (None, Some(_)) => state.fence.is_some() && state.phase != RegistryPhase::StoodDown,
                (_, None) => false,
            })?;
            Some((&**activation, state))
        })
    }

    /// What opened the term, as far as the custodian has read it.
    fn opening(&self) -> Option<&TermOpening> {
        self.report.as_ref()?.opening.as_ref()
    }
}

/// Judges a mirror at the embassy.
pub fn judge(mirror: &RegistryMirror, abroad: &Abroad, embassy: &CheckedEmbassy) -> Result<Held, Refusal> {
    let registry = &mirror.spec.registry.id;
    let Some(custody) = &abroad.custody else {
        let message = format!(
            "no RegistryCustody of the embassy {} is about the registry '{registry}', so nobody here says whose entries count: make it, or \
             correct spec.registry.id",
            mirror.spec.embassy_ref.name
        );
        return Err(Refusal::new(Reason::UnknownRegistry, message));
    };
    let (signers, floor) = judge_signers(custody, embassy)?;
    let activated = abroad.activated(registry);
    is_held(registry, abroad, activated.is_some())?;
    let named = mirror
        .spec
        .signing
        .as_ref()
        .and_then(|signing| signing.signer_ref.as_ref());
    let made = activated.and_then(|(_, state)| state.signer.as_ref());
    let signing = match (named, made) {
        (Some(secret), _) => secret.name.clone(),
        (None, Some(signer)) => signer.secret.clone(),
        (None, None) => return Err(keyless(registry, abroad)),
    };
    let managed = activated.and_then(|(activation, _)| {
        let mut registries = activation.spec.registries.iter();
        Managed::of(activation, registries.find(|one| one.id == *registry)?)
    });
    Ok(Held {
        signers,
        floor,
        signing,
        trigger: activated.and_then(|(activation, state)| last_copy::trigger(activation, state)),
        reach: Reach {
            database: managed.map(|managed| managed.names().instance),
        },
    })
}

/// Whether the embassy writes the open term. What the custodian cannot say, because it is silent or has not read the ledger yet, an activation
/// of this namespace does that has fenced home.
fn is_held(registry: &str, abroad: &Abroad, is_activated: bool) -> Result<(), Refusal> {
    let report = abroad.report.as_deref();
    let home = |why: String| {
        let message = format!(
            "the registry '{registry}' {why}, and what a mirror at the embassy wrote would count for nobody: mirror it at home, or activate it \
             first"
        );
        Err(Refusal::new(Reason::NotActivated, message))
    };
    match report.and_then(|report| report.opening.as_ref()) {
        Some(opening) if opening.holder == TermHolder::Embassy => Ok(()),
        Some(opening) => home(format!(
            "was released to home, by the custody entry {}",
            opening.sequence
        )),
        None if is_activated => Ok(()),
        None if report.is_some_and(|report| report.ledger.state != CheckState::Unknown) => {
            home("is home's: no activation has fenced it".to_owned())
        }
        None => {
            let message = format!(
                "the custodian has not said yet who holds the registry '{registry}': look at its RegistryCustody, and at CustodianReady of the \
                 DataEmbassy"
            );
            Err(Refusal::new(Reason::NotYetKnown, message))
        }
    }
}

fn keyless(registry: &str, abroad: &Abroad) -> Refusal {
    let key = abroad.opening().map_or_else(
        || "that writes the open term".to_owned(),
        |opening| opening.signer.clone(),
    );
    let message = format!(
        "no EmbassyActivation of this namespace has the key of the registry '{registry}': make the mirror in the activation's namespace, or \
         name the Secret with the key {key} in spec.signing.signerRef"
    );
    Refusal::new(Reason::InvalidName, message)
}

/// Whether an activation is one that a mirror of `namespace` may be beside.
#[must_use]
pub fn is_beside(activation: &EmbassyActivation, mirror: &RegistryMirror) -> bool {
    activation.namespace() == mirror.namespace()
        && activation.spec.embassy_ref == mirror.spec.embassy_ref
        && activation.spec.mode == ActivationMode::Activate
        && activation.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{EmbassyActivationStatus, TermSigner};
    use serde_json::{Value, json};

    use super::*;

    fn activation(metadata: &Value, spec: &Value) -> EmbassyActivation {
        let mut activation = json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "EmbassyActivation",
            "metadata": {"name": "home-lost", "namespace": "interior"},
            "spec": {
                "embassyRef": {"name": "luxembourg"}, "mode": "Activate", "validUntil": "2036-01-01T00:00:00Z", "registries": [],
            },
        });
        for (part, change) in [("metadata", metadata), ("spec", spec)] {
            for (field, value) in change.as_object().unwrap() {
                activation[part][field] = value.clone();
            }
        }
        serde_json::from_value(activation).unwrap()
    }

    #[test]
    fn only_an_activation_of_the_mirrors_namespace_and_embassy_that_is_meant_and_stays_is_beside_it() {
        let mirror: RegistryMirror = serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryMirror",
            "metadata": {"name": "population", "namespace": "interior"},
            "spec": {
                "registry": {"id": "population"}, "embassyRef": {"name": "luxembourg"}, "depositCredentialsRef": {"name": "d"},
                "source": {}, "schedule": {"cron": "0 3 * * *"}, "objectives": {"rpo": "30m"},
            },
        }))
        .unwrap();
        let nothing = json!({});
        assert!(is_beside(&activation(&nothing, &nothing), &mirror));
        for (metadata, spec) in [
            (json!({"namespace": "justice"}), json!({})),
            (json!({"deletionTimestamp": "2026-11-28T12:00:00Z"}), json!({})),
            (json!({}), json!({"mode": "Rehearse"})),
            (json!({}), json!({"embassyRef": {"name": "tallinn"}})),
        ] {
            assert!(
                !is_beside(&activation(&metadata, &spec), &mirror),
                "{metadata} {spec}"
            );
        }
    }

    #[test]
    fn a_registry_is_activated_by_the_one_whose_key_writes_the_open_term() {
        let one = |name: &str, key: &str, fence: Option<i64>| {
            let mut activation = activation(&json!({"name": name}), &json!({}));
            activation.status = Some(EmbassyActivationStatus {
                registries: vec![ActivatedState {
                    id: "population".to_owned(),
                    phase: RegistryPhase::Serving,
                    signer: Some(TermSigner {
                        public_key: key.to_owned(),
                        secret: "s".to_owned(),
                    }),
                    fence,
                    ..ActivatedState::default()
                }],
                ..EmbassyActivationStatus::default()
            });
            Arc::new(activation)
        };
        let opened = json!({
            "registry": "population", "term": 2,
            "opening": {"holder": "Embassy", "sequence": 9, "digest": "d", "signer": "ours"},
        });
        let abroad = |activations: &[Arc<EmbassyActivation>]| Abroad {
            report: Some(Arc::new(serde_json::from_value(opened.clone()).unwrap())),
            activations: activations.to_vec(),
            ..Abroad::default()
        };
        let found = |activations: &[Arc<EmbassyActivation>], registry: &str| {
            let abroad = abroad(activations);
            let found = abroad.activated(registry);
            found.and_then(|(activation, _)| activation.metadata.name.clone())
        };
        let both = [
            one("earlier", "theirs", Some(4)),
            one("home-lost", "ours", Some(9)),
        ];
        assert_eq!(found(&both, "population").as_deref(), Some("home-lost"));
        assert_eq!(found(&both, "health"), None);
        assert_eq!(found(&both[..1], "population"), None);
        let unheard = [one("home-lost", "ours", None)];
        assert_eq!(found(&unheard, "population").as_deref(), Some("home-lost"));
        let silent = Abroad {
            activations: unheard.to_vec(),
            ..Abroad::default()
        };
        assert!(silent.activated("population").is_none());
    }
}
