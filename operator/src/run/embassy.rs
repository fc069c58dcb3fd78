//! The controllers of the embassy: its standing half, the registries that it has accepted, restores, drills, activations, and mirrors of what
//! those serve. What is made for one of those is in its own namespace, everything else in the operator's.

use std::collections::HashSet;
use std::sync::Arc;

use dataembassy_crds::{
    DataEmbassy, EmbassyActivation, RecoveryPoint, RegistryCustody, RegistryDrill, RegistryMirror,
};
use futures::stream::{StreamExt, select};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use super::watches::{Objects, Which, fan_out, scoped, touched, watch_ours};
use super::{Context, Process, ReconcileError, Stores, activations, config, drills, mirrors, restores, stop};
use crate::embassy::names::Part;
use crate::labels::{COMPONENT, INSTANCE};
use crate::{custody, embassy, mirror};

pub(super) async fn controllers(process: Process) {
    let client = process.client.clone();
    let namespace = process.settings.namespace.as_str();
    let all = watcher::Config::default;
    let embassies = Controller::new(Api::<DataEmbassy>::all(client.clone()), all());
    let custodies = Controller::new(Api::<RegistryCustody>::all(client.clone()), all());
    let restores = restores::watch(&client);
    let drills = drills::watch(&client);
    let activations = activations::watch(&client);
    let mirrors = mirrors::watch(&client);
    let objects = Objects::watch(&client, made_for);
    let stopped = stop(process.stopped.clone());
    let (embassy_changes, mirror_changes, fan_out) = fan_out(objects.changes, stopped);
    let (services, service_changes) = watch_ours::<Service, _>(scoped(&client, namespace), made_for_embassy);
    let (recovery_points, point_changes) =
        watch_ours::<RecoveryPoint, _>(Api::all(client.clone()), made_for_custody);
    let stores = Stores {
        embassies: embassies.store(),
        mirrors: mirrors.store(),
        custodies: custodies.store(),
        restores: restores.store(),
        drills: drills.store(),
        activations: activations.store(),
        recovery_points,
        services,
        config_maps: objects.config_maps,
        service_accounts: objects.service_accounts,
        network_policies: objects.network_policies,
        deployments: objects.deployments,
        replica_sets: objects.replica_sets,
        pods: objects.pods,
    };
    let context = process.context(stores.clone());
    let all_custodies = stores.custodies.clone();
    let custodies_of = move |embassy: DataEmbassy| {
        let name = embassy.name_any();
        touched(&all_custodies, |custody| custody.spec.embassy_ref.name == name)
    };
    // A registry that was changed, or is gone, changes the configuration of its embassy.
    let embassy_of = |custody: RegistryCustody| [ObjectRef::new(&custody.spec.embassy_ref.name)];
    let embassies = embassies
        .with_config(config())
        .watches(Api::<RegistryCustody>::all(client.clone()), all(), embassy_of)
        .watches(
            Api::<RegistryDrill>::all(client.clone()),
            all(),
            drills::asks_embassy,
        )
        .watches(
            Api::<EmbassyActivation>::all(client.clone()),
            all(),
            activations::asks_embassy,
        )
        .reconcile_on(select(embassy_changes, service_changes))
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile_embassy, embassy::try_again, context.clone())
        .for_each(|_| async {});
    let custodies = custodies
        .with_config(config())
        .watches(Api::<DataEmbassy>::all(client.clone()), all(), custodies_of)
        .reconcile_on(point_changes)
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile_custody, custody::try_again, context.clone())
        .for_each(|_| async {});
    let restores = restores::run(restores, &process, context.clone());
    let drills = drills::run(drills, &client, &process, context.clone());
    let activations = activations::run(activations, &client, &process, context.clone());
    let mirrors = mirrors::run(mirrors, mirror_changes, &client, &process, context.clone());
    tokio::join!(
        fan_out,
        embassies,
        custodies,
        restores,
        drills,
        activations,
        mirrors,
        process.announce(&context)
    );
}

/// What an object was made for, by its component: custodian and gate of an embassy, or a mirror. Others have controllers that ask for them.
fn made_for(object: &ObjectMeta) -> Option<Which<ObjectRef<DataEmbassy>, ObjectRef<RegistryMirror>>> {
    let component = object.labels.as_ref()?.get(COMPONENT)?.as_str();
    if component == mirror::names::COMPONENT {
        return mirrors::made_for(object).map(Which::Other);
    }
    let is_standing = [Part::Custodian, Part::Gate]
        .iter()
        .any(|part| part.component() == component);
    is_standing
        .then(|| made_for_embassy(object))
        .flatten()
        .map(Which::One)
}

fn made_for_embassy(object: &ObjectMeta) -> Option<ObjectRef<DataEmbassy>> {
    Some(ObjectRef::new(object.labels.as_ref()?.get(INSTANCE)?))
}

fn made_for_custody(object: &ObjectMeta) -> Option<ObjectRef<RegistryCustody>> {
    Some(ObjectRef::new(object.labels.as_ref()?.get(INSTANCE)?))
}

async fn reconcile_embassy(
    embassy: Arc<DataEmbassy>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.ready().await;
    forget_reports(&context);
    embassy::reconcile(embassy, context).await
}

async fn reconcile_custody(
    custody: Arc<RegistryCustody>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.ready().await;
    custody::reconcile(custody, context).await
}

/// Forgets the reports of registries that are gone.
fn forget_reports(context: &Context) {
    let custodies = context.stores.custodies.state();
    let there: HashSet<String> = custodies
        .iter()
        .map(|custody| custody::report_key(custody))
        .collect();
    context.registry_reports.retain(|object| there.contains(object));
}
