//! The controllers of home: mirrors, the embassies that they name, and restores. Activations are refused here.

use std::sync::Arc;

use dataembassy_crds::{DataEmbassy, RegistryMirror};
use futures::stream::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use super::watches::{Objects, touched, unwatched};
use super::{Context, Process, ReconcileError, Stores, activations, config, restores, stop, try_again};
use crate::labels::INSTANCE;
use crate::{embassy, mirror};

pub(super) async fn controllers(process: Process) {
    let client = process.client.clone();
    let embassies = Controller::new(
        Api::<DataEmbassy>::all(client.clone()),
        watcher::Config::default(),
    );
    let mirrors = Controller::new(
        Api::<RegistryMirror>::all(client.clone()),
        watcher::Config::default(),
    );
    let restores = restores::watch(&client);
    let activations = activations::watch(&client);
    let objects = Objects::watch(&client, None, made_for);
    let stores = Stores {
        embassies: embassies.store(),
        mirrors: mirrors.store(),
        custodies: unwatched(),
        restores: restores.store(),
        drills: unwatched(),
        activations: activations.store(),
        recovery_points: unwatched(),
        services: unwatched(),
        config_maps: objects.config_maps,
        service_accounts: objects.service_accounts,
        network_policies: objects.network_policies,
        deployments: objects.deployments,
        replica_sets: objects.replica_sets,
        pods: objects.pods,
    };
    let context = process.context(stores.clone());
    let all_mirrors = stores.mirrors.clone();
    let mirrors_of = move |embassy: DataEmbassy| {
        let name = embassy.name_any();
        touched(&all_mirrors, |mirror| mirror.spec.embassy_ref.name == name)
    };
    let embassies = embassies
        .with_config(config())
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(embassy::reconcile, embassy::try_again, context.clone())
        .for_each(|_| async {});
    let mirrors = mirrors
        .with_config(config())
        .watches(
            Api::<DataEmbassy>::all(client.clone()),
            watcher::Config::default(),
            mirrors_of,
        )
        .reconcile_on(objects.changes)
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile_mirror, try_mirror_again, context.clone())
        .for_each(|_| async {});
    let restores = restores::run(restores, &process, context.clone());
    let activations = activations::run(activations, &client, &process, context.clone());
    tokio::join!(
        embassies,
        mirrors,
        restores,
        activations,
        process.announce(&context)
    );
}

fn made_for(object: &ObjectMeta) -> Option<ObjectRef<RegistryMirror>> {
    let mirror = object.labels.as_ref()?.get(INSTANCE)?;
    Some(ObjectRef::new(mirror).within(object.namespace.as_deref()?))
}

async fn reconcile_mirror(
    mirror: Arc<RegistryMirror>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.ready().await;
    forget_reports(&context);
    mirror::reconcile(mirror, context).await
}

/// Forgets the reports of mirrors that are gone.
fn forget_reports(context: &Context) {
    let mirrors = context.stores.mirrors.state();
    let there: Vec<String> = mirrors
        .iter()
        .map(|mirror| format!("{}/{}", mirror.namespace().unwrap_or_default(), mirror.name_any()))
        .collect();
    context
        .mirror_reports
        .retain(|mirror| there.iter().any(|there| there == mirror));
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn try_mirror_again(mirror: Arc<RegistryMirror>, error: &ReconcileError, context: Arc<Context>) -> Action {
    try_again("RegistryMirror", &mirror::key(&mirror), error, &context)
}
