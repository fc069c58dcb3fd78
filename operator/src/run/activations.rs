//! The controller of activations: the embassy carries them out, home refuses them.

use std::sync::Arc;

use dataembassy_crds::{ActivationMode, DataEmbassy, EmbassyActivation, RegistryCustody, RegistryRestore};
use futures::stream::StreamExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use super::watches::touched;
use super::{Context, Process, ReconcileError, config, stop};
use crate::activation;
use crate::settings::Side;

/// Watches activations and their restores.
pub(super) fn watch(client: &Client) -> Controller<EmbassyActivation> {
    Controller::new(
        Api::<EmbassyActivation>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(
        Api::<RegistryRestore>::all(client.clone()),
        watcher::Config::default(),
    )
}

/// Follows them until the process stops. An embassy, a registry or another activation that was changed may let one go on.
pub(super) async fn run(
    activations: Controller<EmbassyActivation>,
    client: &Client,
    process: &Process,
    context: Arc<Context>,
) {
    let all = watcher::Config::default;
    let of_embassy = context.stores.activations.clone();
    let mut activations = activations.with_config(config()).watches(
        Api::<DataEmbassy>::all(client.clone()),
        all(),
        move |embassy: DataEmbassy| {
            let name = embassy.name_any();
            touched(&of_embassy, |activation| activation.spec.embassy_ref.name == name)
        },
    );
    if process.settings.side == Side::Embassy {
        let of_custody = context.stores.activations.clone();
        activations = activations.watches(
            Api::<RegistryCustody>::all(client.clone()),
            all(),
            move |custody: RegistryCustody| {
                touched(&of_custody, |activation| {
                    let mut registries = activation.spec.registries.iter();
                    registries.any(|registry| registry.id == custody.spec.registry.id)
                })
            },
        );
    }
    activations
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile, activation::try_again, context)
        .for_each(|_| async {})
        .await;
}

/// The embassy whose configuration an activation changes. A rehearsal changes none.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub(super) fn asks_embassy(activation: EmbassyActivation) -> Option<ObjectRef<DataEmbassy>> {
    let is_meant = activation.spec.mode == ActivationMode::Activate;
    is_meant.then(|| ObjectRef::new(&activation.spec.embassy_ref.name))
}

async fn reconcile(
    activation: Arc<EmbassyActivation>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.ready().await;
    activation::reconcile(activation, context).await
}
