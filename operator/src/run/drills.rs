//! The controller of drills, which the embassy has.

use std::sync::Arc;

use dataembassy_crds::{DataEmbassy, RegistryCustody, RegistryDrill};
use futures::stream::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use super::watches::touched;
use super::{Context, Process, ReconcileError, config, stop};
use crate::drill;
use crate::labels::SELECTOR;

/// Watches drills and their Jobs.
pub(super) fn watch(client: &Client) -> Controller<RegistryDrill> {
    let ours = watcher::Config::default().labels(SELECTOR);
    Controller::new(
        Api::<RegistryDrill>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Job>::all(client.clone()), ours)
}

/// Follows them until the process stops. An embassy or a registry that was changed may let a drill begin.
pub(super) async fn run(
    drills: Controller<RegistryDrill>,
    client: &Client,
    process: &Process,
    context: Arc<Context>,
) {
    let all = watcher::Config::default;
    let (of_embassy, of_custody) = (context.stores.drills.clone(), context.stores.drills.clone());
    drills
        .with_config(config())
        .watches(
            Api::<DataEmbassy>::all(client.clone()),
            all(),
            move |embassy: DataEmbassy| {
                let name = embassy.name_any();
                touched(&of_embassy, |drill| drill.spec.embassy_ref.name == name)
            },
        )
        .watches(
            Api::<RegistryCustody>::all(client.clone()),
            all(),
            move |custody: RegistryCustody| {
                touched(&of_custody, |drill| {
                    drill.spec.registry.id == custody.spec.registry.id
                })
            },
        )
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile, drill::try_again, context)
        .for_each(|_| async {})
        .await;
}

/// The embassy whose configuration a drill changes: one that has a result to be signed, or had one. One that is at work tells every few
/// seconds how far it is, which is nothing to the custodian.
pub(super) fn asks_embassy(drill: RegistryDrill) -> Option<ObjectRef<DataEmbassy>> {
    let status = drill.status.unwrap_or_default();
    let is_at_work = status.current.is_some_and(|current| current.result.is_none());
    (!is_at_work).then(|| ObjectRef::new(&drill.spec.embassy_ref.name))
}

async fn reconcile(drill: Arc<RegistryDrill>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.ready().await;
    let drills = context.stores.drills.state();
    let is_there = |object: &str| drills.iter().any(|drill| drill::key(drill) == object);
    context.drill_reports.retain(is_there);
    drill::reconcile(drill, context).await
}
