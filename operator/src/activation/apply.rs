//! Does what the course asks for beside the status, and brings managed databases up and down.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_crds::{
    ActivatedState, ActivationMode, ActivationState, EmbassyActivation, EmbassyActivationStatus,
    RegistryPhase, RegistryRestore,
};
use jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::activation::course::{self, Act, Scene};
use crate::activation::database::{self, Managed, Standing};
use crate::activation::dereference::Found;
use crate::activation::{clean_up, signing_key};
use crate::apply::{ApplyError, is_owned};
use crate::run::Context;

/// Makes the keys that these registries lack. Each stands in the status with the others that were made; one that was made and is not recorded
/// lies unused.
pub async fn make_keys(
    activation: &EmbassyActivation,
    registries: &[String],
    status: &mut EmbassyActivationStatus,
    context: &Context,
) -> Result<(), ApplyError> {
    let (name, namespace) = (activation.name_any(), activation.namespace().unwrap_or_default());
    for state in status
        .registries
        .iter_mut()
        .filter(|state| registries.contains(&state.id))
    {
        let made = signing_key::make(context.client.clone(), &namespace, &name, &state.id).await?;
        context.metrics.wrote("Secret");
        state.signer = Some(made);
    }
    Ok(())
}

/// The managed databases of an activation.
pub fn managed(activation: &EmbassyActivation) -> impl Iterator<Item = Managed<'_>> {
    let registries = activation.spec.registries.iter();
    registries.filter_map(move |registry| Managed::of(activation, registry))
}

/// Brings up the databases of those registries that are on their way, and keeps up those that are served.
pub async fn bring_up(
    activation: &EmbassyActivation,
    states: &[ActivatedState],
    context: &Context,
) -> BTreeMap<String, Standing> {
    let phase = |id: &str| {
        let state = states.iter().find(|state| state.id == *id);
        state.map(|state| state.phase)
    };
    let is_wanted = |id: &str| {
        phase(id).is_some_and(|phase| match phase {
            // One that goes home is not brought up; one that is to be served again is.
            RegistryPhase::StandingDown => activation.spec.state == ActivationState::Active,
            // Until the step that shuts applications out, one that is served stays so.
            RegistryPhase::Serving => activation.spec.mode == ActivationMode::Activate,
            phase => !course::is_over(phase),
        })
    };
    // What a rehearsal has to remove stands in the status, as the API server has it, before it is made.
    let is_noted = |id: &str| {
        let stand = activation.status.iter().flat_map(|status| &status.registries);
        let mut noted = stand.filter(|state| state.rehearsed_in.is_some());
        activation.spec.mode == ActivationMode::Activate || noted.any(|state| state.id == *id)
    };
    let mut standings = BTreeMap::new();
    for managed in managed(activation)
        .filter(|managed| is_wanted(&managed.registry.id) && is_noted(&managed.registry.id))
    {
        let serves = phase(&managed.registry.id) == Some(RegistryPhase::Serving);
        let ensured = database::ensure(context, &managed, serves).await;
        let standing = ensured.unwrap_or_else(|error| {
            // One registry's database keeps no other one from coming up.
            context.metrics.reconciled("EmbassyActivation", "failed");
            Standing::Coming {
                reason: Reason::ApplyFailed,
                message: format!("its database cannot be made yet: {error}"),
            }
        });
        standings.insert(managed.registry.id.clone(), standing);
    }
    standings
}

/// Does what is asked for. What fails is said of its registry, and tried again.
pub async fn carry_out(acts: Vec<Act>, scene: &Scene<'_>, states: &mut [ActivatedState], context: &Context) {
    for act in acts {
        let failed = match &act {
            Act::Restore { registry, restore } => {
                let made = make(restore, scene.activation, context).await;
                made.err()
                    .map(|error| (registry, error.reason(), error.to_string()))
            }
            Act::Serve { registry } => match serve(registry, scene.activation, context).await {
                Ok(()) => {
                    if let Some(state) = states.iter_mut().find(|state| state.id == *registry) {
                        course::served(scene, state);
                    }
                    None
                }
                Err(message) => Some((registry, Reason::ApplyFailed, message)),
            },
            Act::Close { registry } => match close(registry, states, scene.activation, context).await {
                Ok(Standing::Ready) => {
                    if let Some(state) = states.iter_mut().find(|state| state.id == *registry) {
                        course::shut(scene, state);
                    }
                    None
                }
                Ok(Standing::Coming { reason, message } | Standing::Refused { reason, message }) => {
                    let reason = if reason == Reason::Applying {
                        Reason::StandingDown
                    } else {
                        reason
                    };
                    Some((
                        registry,
                        reason,
                        format!("applications are being shut out: {message}"),
                    ))
                }
                Err(message) => Some((registry, Reason::ApplyFailed, message)),
            },
            Act::End { restore } => {
                if let Err(error) = remove(restore, context).await {
                    tracing::warn!(restore = restore.name_any(), %error, "a restore is not ended yet");
                }
                None
            }
        };
        if let Some((registry, reason, message)) = failed
            && let Some(state) = states.iter_mut().find(|state| state.id == *registry)
        {
            course::tell(state, state.phase, reason, &message);
        }
    }
}

async fn serve(registry: &str, activation: &EmbassyActivation, context: &Context) -> Result<(), String> {
    if activation.spec.mode == ActivationMode::Rehearse {
        return Ok(());
    }
    match managed(activation).find(|managed| managed.registry.id == *registry) {
        Some(managed) => match database::expose(context, &managed).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("its server is being started anew before applications are let in".to_owned()),
            Err(error) => Err(format!("applications cannot be let in yet: {error}")),
        },
        // Whoever keeps it lets them in.
        None => Ok(()),
    }
}

async fn close(
    registry: &str,
    states: &[ActivatedState],
    activation: &EmbassyActivation,
    context: &Context,
) -> Result<Standing, String> {
    let mut states = states.iter().filter(|state| state.id == *registry);
    let is_heir = states.any(|state| state.adopted_order.is_some());
    match managed(activation).find(|managed| managed.registry.id == *registry) {
        Some(managed) => database::close(context, &managed, is_heir)
            .await
            .map_err(|error| format!("applications cannot be shut out yet: {error}")),
        // Whoever keeps an external database has shut them out.
        None => Ok(Standing::Ready),
    }
}

/// Makes a restore. One of that name that is ours is the one.
async fn make(
    restore: &RegistryRestore,
    activation: &EmbassyActivation,
    context: &Context,
) -> Result<(), ApplyError> {
    let namespace = activation.namespace().unwrap_or_default();
    let api: Api<RegistryRestore> = Api::namespaced(context.client.clone(), &namespace);
    let name = restore.name_any();
    let refused = |source| ApplyError::Refused {
        kind: "RegistryRestore".to_owned(),
        name: name.clone(),
        source: Box::new(source),
    };
    match api.create(&PostParams::default(), restore).await {
        Ok(_) => {
            context.metrics.wrote("RegistryRestore");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let found = api.get_opt(&name).await.map_err(refused)?;
            let owner = activation.uid().unwrap_or_default();
            match found {
                Some(found) if !is_owned(&found, &owner) => Err(ApplyError::Foreign {
                    kind: "RegistryRestore".to_owned(),
                    name,
                }),
                _ => Ok(()),
            }
        }
        Err(error) => Err(refused(error)),
    }
}

/// Deletes a restore, and its Job with it. One that is gone, or whose name is another one's by now, is as good as deleted.
async fn remove(restore: &RegistryRestore, context: &Context) -> Result<(), ApplyError> {
    let (namespace, name) = (restore.namespace().unwrap_or_default(), restore.name_any());
    let api: Api<RegistryRestore> = Api::namespaced(context.client.clone(), &namespace);
    let parameters = DeleteParams::background().preconditions(Preconditions {
        uid: restore.uid(),
        resource_version: None,
    });
    match api.delete(&name, &parameters).await {
        Ok(_) => {
            context.metrics.wrote("RegistryRestore");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(ApplyError::Refused {
            kind: "RegistryRestore".to_owned(),
            name,
            source: Box::new(source),
        }),
    }
}

/// After a rehearsal: removes restores and databases, and has what was restored into databases of others dropped. Whether all of it is gone; if
/// not, why.
pub async fn clean(
    activation: &EmbassyActivation,
    (found, order, now): (&Found, &str, Timestamp),
    states: &mut [ActivatedState],
    context: &Context,
) -> Result<bool, String> {
    let is_ours = |restore: &&Arc<RegistryRestore>| !clean_up::empties(restore);
    for restore in found
        .restores
        .iter()
        .filter(is_ours)
        .filter(|restore| restore.metadata.deletion_timestamp.is_none())
    {
        remove(restore, context)
            .await
            .map_err(|error| error.to_string())?;
    }
    let mut failed = None;
    // What still restores would write behind the back of what drops.
    let mut is_gone = !found.restores.iter().any(|restore| is_ours(&restore));
    if is_gone {
        for step in clean_up::advance(activation, found, order, states, now) {
            is_gone = false;
            let done = match step {
                clean_up::Step::Make(restore) => make(&restore, activation, context).await,
                clean_up::Step::Remove(restore) => remove(&restore, context).await,
                clean_up::Step::Wait => Ok(()),
            };
            // One registry's keeps no other one from being cleaned up.
            if let Err(error) = done {
                failed.get_or_insert(error.to_string());
            }
        }
    }
    for managed in managed(activation) {
        let removed = database::remove(context, &managed).await;
        let removed = removed.unwrap_or_else(|error| {
            failed.get_or_insert(error.to_string());
            false
        });
        let mut states = states.iter_mut();
        let state = states.find(|state| state.id == managed.registry.id);
        if let Some(state) = state.filter(|_| removed) {
            state.rehearsed_in = None;
        }
        is_gone &= removed;
    }
    failed.map_or(Ok(is_gone), Err)
}
