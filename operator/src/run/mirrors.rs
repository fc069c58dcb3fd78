//! The controller of mirrors, which both sides have: home mirrors its registries, the embassy those that it serves.

use std::sync::Arc;

use dataembassy_crds::{DataEmbassy, EmbassyActivation, RegistryCustody, RegistryMirror};
use futures::stream::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use super::watches::touched;
use super::{Context, Process, ReconcileError, config, stop, try_again as retry};
use crate::labels::INSTANCE;
use crate::mirror;
use crate::settings::Side;

/// Watches mirrors.
pub(super) fn watch(client: &Client) -> Controller<RegistryMirror> {
    Controller::new(
        Api::<RegistryMirror>::all(client.clone()),
        watcher::Config::default(),
    )
}

/// Follows them until the process stops. An embassy that was changed may change a mirror; at the embassy so may the registry, and the
/// activation that serves it.
pub(super) async fn run(
    mirrors: Controller<RegistryMirror>,
    changes: impl Stream<Item = ObjectRef<RegistryMirror>> + Send + 'static,
    client: &Client,
    process: &Process,
    context: Arc<Context>,
) {
    let all = watcher::Config::default;
    let of_embassy = context.stores.mirrors.clone();
    let mut mirrors = mirrors.with_config(config()).watches(
        Api::<DataEmbassy>::all(client.clone()),
        all(),
        move |embassy: DataEmbassy| {
            let name = embassy.name_any();
            touched(&of_embassy, |mirror| mirror.spec.embassy_ref.name == name)
        },
    );
    if process.settings.side == Side::Embassy {
        let (of_custody, of_activation) = (context.stores.mirrors.clone(), context.stores.mirrors.clone());
        mirrors = mirrors
            .watches(
                Api::<RegistryCustody>::all(client.clone()),
                all(),
                move |custody: RegistryCustody| {
                    touched(&of_custody, |mirror| {
                        mirror.spec.registry.id == custody.spec.registry.id
                    })
                },
            )
            .watches(
                Api::<EmbassyActivation>::all(client.clone()),
                all(),
                move |activation: EmbassyActivation| {
                    touched(&of_activation, |mirror| {
                        let mut registries = activation.spec.registries.iter();
                        registries.any(|registry| registry.id == mirror.spec.registry.id)
                    })
                },
            );
    }
    mirrors
        .reconcile_on(changes)
        .graceful_shutdown_on(stop(process.stopped.clone()))
        .run(reconcile, try_again, context)
        .for_each(|_| async {})
        .await;
}

/// The mirror that an object was made for.
pub(super) fn made_for(object: &ObjectMeta) -> Option<ObjectRef<RegistryMirror>> {
    let mirror = object.labels.as_ref()?.get(INSTANCE)?;
    Some(ObjectRef::new(mirror).within(object.namespace.as_deref()?))
}

async fn reconcile(mirror: Arc<RegistryMirror>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.ready().await;
    forget_reports(&context);
    mirror::reconcile(mirror, context).await
}

/// Forgets the reports of mirrors that are gone.
fn forget_reports(context: &Context) {
    let is_there = |mirror: &str| {
        let (namespace, name) = mirror.split_once('/').unwrap_or_default();
        let reference = ObjectRef::new(name).within(namespace);
        context.stores.mirrors.get(&reference).is_some()
    };
    context.mirror_reports.retain(is_there);
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn try_again(mirror: Arc<RegistryMirror>, error: &ReconcileError, context: Arc<Context>) -> Action {
    retry("RegistryMirror", &mirror::key(&mirror), error, &context)
}
