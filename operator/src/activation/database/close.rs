//! Shutting applications out, so that nothing is written after a registry's last copy.

use dataembassy_contract::{Reason, database};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;

use super::build::{self, Public, Replicas};
use super::{Hand, Left, Managed, Standing, not_read, standing};
use crate::labels::MADE_FOR;
use crate::run::{Context, ReconcileError};

/// Takes the Service its endpoints, lets no pod in but those that copy, and has the server started anew: sessions that were there are ended, and
/// it takes none but the superuser's. `Ready` when that is so. Doing it again is harmless.
///
/// Without the server's word it would be a door that is closed behind those who are inside: what forwards to a Service, or enforces a policy,
/// leaves connections alone that there are.
///
/// The heir of an activation that is gone takes over what one of its own name, in its own namespace, has left for this registry.
pub async fn close(
    context: &Context,
    managed: &Managed<'_>,
    is_heir: bool,
) -> Result<Standing, ReconcileError> {
    let names = managed.names();
    let anchor = Hand::new(context, managed)
        .api::<StatefulSet>()
        .get_opt(&names.internal)
        .await
        .map_err(not_read)?;
    let left = anchor
        .as_ref()
        .filter(|_| is_heir)
        .and_then(|anchor| left(anchor, managed));
    let managed = &Managed { left, ..*managed };
    let hand = Hand::new(context, managed);
    let Some(anchor) = anchor.as_ref() else {
        // Where what was written is given up, there need not be a server any more.
        if managed.registry.forgo_last_copy {
            return Ok(Standing::Ready);
        }
        return Ok(Standing::Refused {
            reason: Reason::ApplyFailed,
            message: format!(
                "its StatefulSet {} is gone, so nobody knows what is written, and nothing can be copied: make it again, with its volume",
                names.internal
            ),
        });
    };
    if !hand.owner().owns(anchor) {
        return Ok(Standing::Refused {
            reason: Reason::ForeignObject,
            message: format!(
                "the StatefulSet {} is not one that was made for this registry by an activation of this name",
                names.internal
            ),
        });
    }
    let shut = Public::Shut;
    hand.bring::<NetworkPolicy>(&names.public_policy, &build::public_policy(managed, shut))
        .await?;
    hand.bring::<Service>(&names.public, &build::public_service(managed, shut))
        .await?;
    let wanted = build::stateful_set(managed, Replicas::One, shut, &context.settings);
    if hand.apply(Some(anchor), &wanted).await? {
        return Ok(standing::coming("its server is being started anew, without them"));
    }
    match standing::judge(context, managed, anchor).await? {
        Standing::Ready if !is_rolled_out(anchor) => {
            Ok(standing::coming("its server is being started anew, without them"))
        }
        standing => Ok(standing),
    }
}

/// The marks of a database that an activation of this name has left for this registry. A name is one resource's at a time, so that one is gone.
fn left<'s>(anchor: &'s StatefulSet, managed: &Managed<'_>) -> Option<Left<'s>> {
    let says = |annotation: &str, value: &str| {
        anchor
            .annotations()
            .get(annotation)
            .is_some_and(|said| said == value)
    };
    let is_left = says(build::OF_ACTIVATION, managed.activation_name())
        && says(build::OF_REGISTRY, &managed.registry.id);
    Some(Left {
        uid: anchor.annotations().get(MADE_FOR).filter(|_| is_left)?,
        made_at: anchor
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0),
    })
}

/// Whether the server that runs is of the template that is there, and the template one that takes everybody's sessions.
pub(super) fn takes_everybody(anchor: &StatefulSet) -> bool {
    !is_shut(anchor) && is_rolled_out(anchor)
}

/// Whether the template is one that takes none but the superuser's sessions.
pub(super) fn is_shut(anchor: &StatefulSet) -> bool {
    let template = anchor.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = template.iter().flat_map(|pod| &pod.containers);
    let mut variables = containers.flat_map(|container| container.env.iter().flatten());
    variables.any(|variable| variable.name == database::SHUT_VARIABLE)
}

/// Whether the server that runs is of the template that is there.
fn is_rolled_out(anchor: &StatefulSet) -> bool {
    anchor.status.as_ref().is_some_and(|status| {
        status.observed_generation >= anchor.metadata.generation
            && status.update_revision == status.current_revision
    })
}
