//! The controllers of home: mirrors, the embassies that they name, and restores. Activations are refused here.

use dataembassy_crds::DataEmbassy;
use futures::stream::StreamExt;
use kube::Api;
use kube::runtime::controller::Controller;
use kube::runtime::watcher;

use super::watches::{Objects, unwatched};
use super::{Process, Stores, activations, config, mirrors, restores, stop};
use crate::embassy;

pub(super) async fn controllers(process: Process) {
    let client = process.client.clone();
    let embassies = Controller::new(
        Api::<DataEmbassy>::all(client.clone()),
        watcher::Config::default(),
    );
    let mirrors = mirrors::watch(&client);
    let restores = restores::watch(&client);
    let activations = activations::watch(&client);
    let objects = Objects::watch(&client, mirrors::made_for);
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
    let embassies = embassies
        .with_config(config())
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(embassy::reconcile, embassy::try_again, context.clone())
        .for_each(|_| async {});
    let mirrors = mirrors::run(mirrors, objects.changes, &client, &process, context.clone());
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
