//! Reads everything that an embassy's standing half depends on: from the watches, and from the reports of custodian and gates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::custodian::{CustodianConfig, CustodianReport, OrderConfig, RegistryReport};
use dataembassy_contract::files::{CONFIG_FILE, STATUS_PATH};
use dataembassy_contract::gate::GateConfig;
use dataembassy_crds::DataEmbassy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;

use crate::activation::{lanes, orders as activation_orders};
use crate::custody::neighbours::{is_leaving, neighbours};
use crate::custody::{report_key, validate};
use crate::drill::orders::{fitting, orders};
use crate::embassy::configuration::{Accepted, Before};
use crate::embassy::gates::{self, Sight};
use crate::embassy::names::Part;
use crate::run::{Context, all, get};
use crate::{pod, poll};

/// How old a sight of the gates may be here.
const FRESH: Duration = Duration::from_secs(5);

/// What there is of one of the two processes.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Its configuration.
    pub config_map: Option<Arc<ConfigMap>>,
    /// Its identity.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// What it may reach.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// What makes its pods.
    pub deployment: Option<Arc<Deployment>>,
}

/// What an embassy depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The custodian's objects.
    pub custodian: Made,
    /// The gate's objects.
    pub gate: Made,
    /// What is before the gate.
    pub service: Option<Arc<Service>>,
    /// The custodian's pod.
    pub custodian_pod: Option<Arc<Pod>>,
    /// What the custodian says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Arc<CustodianReport>, String>>,
    /// The gates' pods.
    pub gate_pods: Vec<Arc<Pod>>,
    /// What the gates say.
    pub sight: Arc<Sight>,
    /// The registries that name this embassy.
    pub accepted: Vec<Accepted>,
    /// What the custodian is asked to sign.
    pub orders: Vec<OrderConfig>,
    /// What is in effect.
    pub before: Before,
}

/// Reads what `embassy` depends on.
pub async fn dereference(embassy: &DataEmbassy, context: &Context) -> Found {
    let name = embassy.name_any();
    let stores = &context.stores;
    let custodian = made(context, Part::Custodian, &name);
    let gate = made(context, Part::Gate, &name);
    let custodian_pod = pod::newest(
        custodian.deployment.as_deref(),
        &stores.replica_sets,
        &stores.pods,
    );
    let (report, sight) = tokio::join!(
        report(custodian_pod.as_deref(), &name, context),
        gates::look(context, &name, FRESH)
    );
    let before = Before {
        custodian: read(custodian.config_map.as_deref(), CustodianConfig::from_json),
        gate: read(gate.config_map.as_deref(), GateConfig::from_json),
        used_bytes: used_bytes(&name, context),
        reports: reports(&name, context),
        cut: lanes::cut(&name, &all(&stores.activations)),
    };
    let gate_pods = gate
        .deployment
        .as_deref()
        .map(|deployment| pod::pods_of(deployment, &stores.replica_sets, &stores.pods));
    Found {
        gate_pods: gate_pods.unwrap_or_default(),
        service: get(
            &stores.services,
            &Part::Gate.object(&name),
            &context.settings.namespace,
        ),
        accepted: accepted(embassy, context),
        orders: asked(embassy, context),
        custodian,
        gate,
        custodian_pod,
        report,
        sight,
        before,
    }
}

fn made(context: &Context, part: Part, embassy: &str) -> Made {
    let (stores, namespace) = (&context.stores, &context.settings.namespace);
    let name = part.object(embassy);
    Made {
        config_map: get(&stores.config_maps, &name, namespace),
        service_account: get(&stores.service_accounts, &name, namespace),
        network_policy: get(&stores.network_policies, &name, namespace),
        deployment: get(&stores.deployments, &name, namespace),
    }
}

async fn report(
    pod: Option<&Pod>,
    embassy: &str,
    context: &Context,
) -> Option<Result<Arc<CustodianReport>, String>> {
    let asked = (context.settings.status_port, STATUS_PATH);
    let memory = &context.custodian_reports;
    let answer = poll::ask_pod(pod?, asked, embassy, memory, context).await?;
    Some(answer.map_err(|error| error.to_string()))
}

/// What the custodian said last, if it is silent now.
fn used_bytes(embassy: &str, context: &Context) -> HashMap<String, u64> {
    let Some(known) = context.custodian_reports.get(embassy) else {
        return HashMap::new();
    };
    let registries = &known.report.registries;
    registries
        .iter()
        .map(|summary| (summary.registry.clone(), summary.used_bytes))
        .collect()
}

/// What the custodian said last of each registry, whether it is silent now or not.
fn reports(embassy: &str, context: &Context) -> HashMap<String, Arc<RegistryReport>> {
    let custodies = &context.stores.custodies;
    let ours = custodies.state_filter(|custody| custody.spec.embassy_ref.name == embassy);
    let known = ours.iter().map(|custody| report_key(custody));
    known
        .filter_map(|key| context.registry_reports.get(&key))
        .map(|known| (known.report.registry.clone(), known.report))
        .collect()
}

/// Fences and releases come first, then what came of them; what drills have found takes the room that is left.
fn asked(embassy: &DataEmbassy, context: &Context) -> Vec<OrderConfig> {
    let stores = &context.stores;
    let name = embassy.name_any();
    // A resource that is not valid any more changes nothing of who may order.
    let approvers = crate::embassy::validate::check(&embassy.spec).ok();
    let approvers = approvers.as_ref().and_then(|checked| checked.approvers());
    let activations = all(&stores.activations);
    let first = activation_orders::orders(&name, approvers, &activations);
    let reports = activation_orders::reports(&name, approvers, &activations);
    let further = orders(&name, &all(&stores.drills), &all(&stores.custodies));
    fitting(first.into_iter().chain(reports).chain(further))
}

/// A configuration that cannot be read is none: it is written anew.
fn read<T>(
    config_map: Option<&ConfigMap>,
    from_json: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Option<T> {
    let text = config_map?.data.as_ref()?.get(CONFIG_FILE)?;
    from_json(text.as_bytes()).ok()
}

fn accepted(embassy: &DataEmbassy, context: &Context) -> Vec<Accepted> {
    let all = all(&context.stores.custodies);
    let name = embassy.name_any();
    all.iter()
        .filter(|custody| custody.spec.embassy_ref.name == name && !is_leaving(custody))
        .map(|custody| Accepted {
            custody: Arc::clone(custody),
            checked: validate::validate(custody, Some(embassy), &neighbours(custody, &all)).ok(),
        })
        .collect()
}
