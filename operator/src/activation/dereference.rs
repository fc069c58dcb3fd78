//! Reads everything that an activation depends on: embassy, registries, other activations and its own restores from the watches, from the
//! custodian where each registry stands, and from the gates whether they refuse its puts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::config;
use dataembassy_contract::custodian::{RegistryReport, TermHolder, TermOpening};
use dataembassy_contract::files::CONFIG_FILE;
use dataembassy_contract::gate::{GateConfig, GateReport};
use dataembassy_crds::{
    ActivatedState, DataEmbassy, EmbassyActivation, RegistryCustody, RegistryMirror, RegistryRestore,
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::apply::is_owned;
use crate::custody::dereference::said;
use crate::custody::neighbours::accepted;
use crate::embassy::gates::{self, Sight};
use crate::embassy::names::Part;
use crate::mirror::abroad::is_beside;
use crate::run::{Context, get, those};

/// How old a sight of the gates may be here: a fence waits for it.
const FRESH: Duration = Duration::from_secs(1);

/// What an activation depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The embassy that it names.
    pub embassy: Option<Arc<DataEmbassy>>,
    /// The store's id, as the custodian says it.
    pub store_id: Option<String>,
    /// All other activations.
    pub others: Vec<Arc<EmbassyActivation>>,
    /// Its own restores.
    pub restores: Vec<Arc<RegistryRestore>>,
    /// Mirrors of its own namespace and embassy.
    pub mirrors: Vec<Arc<RegistryMirror>>,
    /// What the gates are told.
    pub gate_file: Option<String>,
    /// What the gates say.
    pub sight: Arc<Sight>,
    /// The registries that were accepted, by id.
    pub custodies: BTreeMap<String, Arc<RegistryCustody>>,
    /// What the custodian said last of each.
    pub reports: BTreeMap<String, Arc<RegistryReport>>,
}

/// Reads what `activation` depends on.
pub async fn dereference(activation: &EmbassyActivation, context: &Context) -> Found {
    let stores = &context.stores;
    let embassy = &activation.spec.embassy_ref.name;
    let owner = activation.uid().unwrap_or_default();
    let all = stores.custodies.state();
    let ids = activation.spec.registries.iter().map(|registry| &registry.id);
    let custodies: BTreeMap<String, Arc<RegistryCustody>> = ids
        .filter_map(|id| Some((id.clone(), accepted(id, embassy, &all)?)))
        .collect();
    let reports = join_all(custodies.iter().map(async |(id, custody)| {
        let said = said(custody, context).await;
        said.map(|report| (id.clone(), report))
    }));
    let (reports, sight) = tokio::join!(reports, gates::look(context, embassy, FRESH));
    let gate = Part::Gate.object(embassy);
    let gate: Option<Arc<ConfigMap>> = get(&stores.config_maps, &gate, &context.settings.namespace);
    Found {
        embassy: stores.embassies.get(&ObjectRef::new(embassy)),
        store_id: context
            .custodian_reports
            .get(embassy)
            .and_then(|known| known.report.store_id.clone()),
        others: those(&stores.activations, |other| other.uid() != activation.uid()),
        restores: those(&stores.restores, |restore| is_owned(restore, &owner)),
        mirrors: those(&stores.mirrors, |mirror| {
            is_beside(activation, mirror) && mirror.metadata.deletion_timestamp.is_none()
        }),
        gate_file: gate.and_then(|gate| gate.data.as_ref()?.get(CONFIG_FILE).cloned()),
        sight,
        custodies,
        reports: reports.into_iter().flatten().collect(),
    }
}

impl Found {
    /// A registry, as it was accepted.
    #[must_use]
    pub fn custody(&self, registry: &str) -> Option<&RegistryCustody> {
        self.custodies.get(registry).map(Arc::as_ref)
    }

    /// What the custodian says of a registry.
    #[must_use]
    pub fn report(&self, registry: &str) -> Option<&RegistryReport> {
        self.reports.get(registry).map(Arc::as_ref)
    }

    /// The entry that opened the registry's term for the embassy, if it is by this activation: it names the key that was made for it.
    #[must_use]
    pub fn opened_by(&self, state: &ActivatedState) -> Option<&TermOpening> {
        let opening = self.report(&state.id)?.opening.as_ref()?;
        let signer = state.signer.as_ref()?;
        (opening.holder == TermHolder::Embassy && opening.signer == signer.public_key).then_some(opening)
    }

    /// The order of another resource by which the embassy holds the registry.
    #[must_use]
    pub fn opened_by_another(&self, registry: &str, state: Option<&ActivatedState>) -> Option<String> {
        let opening = self.report(registry)?.opening.as_ref()?;
        if opening.holder != TermHolder::Embassy {
            return None;
        }
        let is_ours = state.is_some_and(|state| self.opened_by(state).is_some());
        (!is_ours).then(|| {
            opening
                .order
                .clone()
                .unwrap_or_else(|| format!("of entry {}", opening.sequence))
        })
    }

    /// Whether every gate that runs refuses the registry's puts; if not, what is awaited. Where no gate runs, nobody can put anything.
    pub fn is_cut(&self, registry: &str) -> Result<(), String> {
        let running: Vec<_> = self
            .sight
            .gates
            .iter()
            .filter(|gate| gate.report.is_some())
            .collect();
        let Some(file) = &self.gate_file else {
            return if running.is_empty() {
                Ok(())
            } else {
                Err("the gate's configuration cannot be seen".to_owned())
            };
        };
        let config = GateConfig::from_json(file.as_bytes()).ok();
        // What no lane is for is refused.
        let is_told = config.is_some_and(|config| {
            let mut lanes = config.lanes.iter().filter(|lane| lane.registry == registry);
            lanes.all(|lane| lane.fenced)
        });
        if !is_told {
            return Err("the gates are being told to refuse its puts".to_owned());
        }
        let digest = config::digest(file.as_bytes());
        // The file changes with every copy of the other registries, so that a gate may never have loaded what stands there now.
        let refuses = |report: &GateReport| match &report.open {
            Some(open) => open.iter().all(|open| open != registry),
            None => report
                .loaded
                .as_ref()
                .is_some_and(|loaded| loaded.digest == digest),
        };
        for gate in running {
            let name = gate.pod.name_any();
            match &gate.report {
                Some(Ok(report)) if refuses(report) => {}
                Some(Err(error)) => {
                    return Err(format!(
                        "the gate {name} does not say whether it refuses its puts ({error}): look at that pod, or delete it"
                    ));
                }
                _ => return Err(format!("the gate {name} has not loaded that it refuses its puts")),
            }
        }
        Ok(())
    }
}
