//! Shutting applications out, so that nothing is written after a registry's last copy.

use dataembassy_contract::Reason;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::build::{self, Public, Replicas};
use super::{Hand, Managed, Standing, judge, not_read, objects, standing};
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
        .and_then(|anchor| objects::left(anchor, managed));
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
    match judge(context, managed, anchor).await? {
        Standing::Ready if !objects::is_rolled_out(anchor) => {
            Ok(standing::coming("its server is being started anew, without them"))
        }
        standing => Ok(standing),
    }
}
