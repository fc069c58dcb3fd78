//! The controller of restores, which both sides have.

use std::sync::Arc;

use dataembassy_crds::RegistryRestore;
use futures::stream::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client};

use super::{Context, Process, ReconcileError, config, stop};
use crate::labels::SELECTOR;
use crate::restore;

/// Watches restores and their Jobs.
pub(super) fn watch(client: &Client) -> Controller<RegistryRestore> {
    let ours = watcher::Config::default().labels(SELECTOR);
    Controller::new(
        Api::<RegistryRestore>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Job>::all(client.clone()), ours)
}

/// Follows them until the process stops.
pub(super) async fn run(restores: Controller<RegistryRestore>, process: &Process, context: Arc<Context>) {
    restores
        .with_config(config())
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile, restore::try_again, context)
        .for_each(|_| async {})
        .await;
}

async fn reconcile(restore: Arc<RegistryRestore>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.ready().await;
    let restores = context.stores.restores.state();
    let is_there = |object: &str| restores.iter().any(|restore| restore::key(restore) == object);
    context.restore_reports.retain(is_there);
    restore::reconcile(restore, context).await
}
