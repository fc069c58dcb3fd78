//! The database that an activated registry is restored into and served from, where the operator makes it: a `StatefulSet` of one pod with a
//! volume, the superuser's Secret, a Service for the restore and one for applications, and policies.
//!
//! Nothing of it goes when its activation goes, and nothing here can delete a volume: after a rehearsal the `StatefulSet` is deleted, and what
//! belongs to it goes with it by Kubernetes' own hand.

pub mod build;
pub mod certificate;
mod close;
mod credentials;
mod managed;
pub mod names;
mod objects;
mod standing;

use dataembassy_contract::Reason;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::Value;

use crate::apply::{ApplyError, Owner, Writer, is_owned};
use crate::pod::refusal;
use crate::run::{Context, ReconcileError};
use build::{Public, Replicas};
pub use close::close;
pub use managed::{Left, Managed};
pub use names::Names;

/// The field manager of everything that is made for a managed database.
pub const MANAGER: &str = "dataembassy-operator/database";

/// How a managed database stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being made, or does not answer yet.
    Coming {
        /// Which of the known reasons.
        reason: Reason,
        /// What is awaited, and what to do where something is in the way.
        message: String,
    },
    /// It takes sessions.
    Ready,
    /// It cannot be made: a person is needed.
    Refused {
        /// Which of the known reasons.
        reason: Reason,
        /// What, why, and what to do about it.
        message: String,
    },
}

/// Makes what is missing and says how it stands. Where applications are served already, they are let in again when somebody has taken the Service
/// or its policy away.
///
/// The `StatefulSet` comes first, without a pod: in a rehearsal it owns everything else. The pod comes last, when its Secret and the policy
/// that keeps strangers out are there. Stopped between any two requests, it goes on where it was. Another's object is not touched.
pub async fn ensure(
    context: &Context,
    managed: &Managed<'_>,
    serves: bool,
) -> Result<Standing, ReconcileError> {
    if let Some(refused) = managed.judge() {
        return Ok(refused);
    }
    match bring(context, managed, serves).await {
        Ok(standing) => Ok(standing),
        Err(ReconcileError::NotApplied(error)) if error.is_permanent() => Ok(Standing::Refused {
            reason: error.reason(),
            message: error.to_string(),
        }),
        Err(error) => Err(error),
    }
}

async fn bring(context: &Context, managed: &Managed<'_>, serves: bool) -> Result<Standing, ReconcileError> {
    let names = managed.names();
    let hand = Hand::new(context, managed);
    let service: Option<Service> = hand.find(&names.public).await?;
    let mut anchor = hand.find::<StatefulSet>(&names.internal).await?;
    let is_open = objects::is_open_to_all(service.as_ref(), anchor.as_ref(), serves);
    let public = if is_open { Public::Open } else { Public::Closed };
    if anchor.is_none() {
        let wanted = build::stateful_set(managed, Replicas::None, public, &context.settings);
        hand.apply::<StatefulSet>(None, &wanted).await?;
        anchor = hand.find(&names.internal).await?;
    }
    let Some(anchor) = anchor else {
        return Ok(standing::coming("its StatefulSet was made and is gone again"));
    };
    if anchor.metadata.deletion_timestamp.is_some() {
        return Ok(standing::coming("an earlier one of its name is being deleted"));
    }
    let owner = build::owner(managed, anchor.metadata.uid.as_deref().unwrap_or_default());
    let owner = owner.as_ref();
    // A server that has begun has the password that it began with: another one would not be its.
    if !objects::has_begun(&anchor) {
        credentials::make(context, managed, owner)
            .await
            .map_err(ReconcileError::NotApplied)?;
    }
    let wanted = build::restore_policy(managed, owner);
    hand.bring::<NetworkPolicy>(&names.restore_policy, &wanted)
        .await?;
    let wanted = build::internal_service(managed, owner);
    hand.bring::<Service>(&names.internal, &wanted).await?;
    if serves && is_open {
        let wanted = build::public_policy(managed, public);
        hand.bring::<NetworkPolicy>(&names.public_policy, &wanted).await?;
    }
    if !managed.rehearses() {
        hand.apply(service.as_ref(), &build::public_service(managed, public))
            .await?;
    }
    let wanted = build::stateful_set(managed, Replicas::One, public, &context.settings);
    let is_changed = hand.apply(Some(&anchor), &wanted).await?;
    // One that serves goes on with what it runs: another template waits for its next pod.
    if is_changed && public == Public::Closed {
        return Ok(standing::coming("its server is being started"));
    }
    judge(context, managed, &anchor).await
}

/// Lets applications in: a policy, and then a selector for the Service, which thereby has endpoints. To be called only when every question was
/// answered; doing it again is harmless. A rehearsal lets nobody in. Whether they are in: a server that had shut them out is started anew first.
pub async fn expose(context: &Context, managed: &Managed<'_>) -> Result<bool, ReconcileError> {
    if managed.rehearses() {
        return Ok(true);
    }
    let names = managed.names();
    let hand = Hand::new(context, managed);
    let is_open = hand
        .find::<Service>(&names.public)
        .await?
        .as_ref()
        .is_some_and(objects::is_open);
    if !is_open {
        let anchor = hand.find::<StatefulSet>(&names.internal).await?;
        if !anchor.as_ref().is_some_and(objects::takes_everybody) {
            return Ok(false);
        }
    }
    hand.bring::<NetworkPolicy>(&names.public_policy, &build::public_policy(managed, Public::Open))
        .await?;
    hand.bring::<Service>(&names.public, &build::public_service(managed, Public::Open))
        .await?;
    Ok(true)
}

/// After a rehearsal: removes everything that was made, the volume included. Says whether all of it is gone. It deletes the `StatefulSet` with
/// the UID that it has seen, and nothing else: the rest belongs to that, and Kubernetes takes it away. What a meant activation has made is
/// never touched.
pub async fn remove(context: &Context, managed: &Managed<'_>) -> Result<bool, ReconcileError> {
    if !managed.rehearses() {
        tracing::error!(
            activation = managed.activation_name(),
            "the database of an activation that is meant is not removed"
        );
        return Ok(false);
    }
    let names = managed.names();
    let hand = Hand::new(context, managed);
    if let Some(found) = hand
        .api::<StatefulSet>()
        .get_opt(&names.internal)
        .await
        .map_err(not_read)?
    {
        // Another's is not ours to remove, and nothing of ours is behind it.
        if !hand.owner().owns(&found) {
            return Ok(true);
        }
        if found.metadata.deletion_timestamp.is_none() {
            hand.delete(&found).await?;
        }
        return Ok(false);
    }
    let claim = hand
        .api::<PersistentVolumeClaim>()
        .get_opt(&names.claim)
        .await
        .map_err(not_read)?;
    Ok(!claim.is_some_and(|claim| hand.owner().owns(&claim)))
}

/// Judges by the pod: it is asked for only where the `StatefulSet` does not count it as ready.
async fn judge(
    context: &Context,
    managed: &Managed<'_>,
    found: &StatefulSet,
) -> Result<Standing, ReconcileError> {
    if objects::is_ready(found) {
        return Ok(Standing::Ready);
    }
    let names = managed.names();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), managed.namespace());
    let pod = pods.get_opt(&names.pod).await.map_err(not_read)?;
    let owner = found.metadata.uid.as_deref().unwrap_or_default();
    if !pod.as_ref().is_some_and(|pod| is_owned(pod, owner))
        && let Some(why) = refusal(&context.client, managed.namespace(), owner).await
    {
        return Ok(standing::refused(&names, managed.namespace(), &why));
    }
    Ok(standing::of_pod(pod.as_ref(), found, &names))
}

fn not_read(source: kube::Error) -> ReconcileError {
    ReconcileError::NotRead {
        source: Box::new(source),
    }
}

/// Reads and writes the objects of one managed database.
struct Hand<'a> {
    context: &'a Context,
    managed: &'a Managed<'a>,
    writer: Writer<'a>,
}

impl<'a> Hand<'a> {
    fn new(context: &'a Context, managed: &'a Managed<'a>) -> Self {
        Self {
            context,
            managed,
            writer: Writer::new(context.client.clone(), MANAGER, &context.metrics),
        }
    }

    fn owner(&self) -> Owner<'a> {
        Owner::MadeFor(self.managed.uid())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.context.client.clone(), self.managed.namespace())
    }

    /// The object of that name, which must be ours if it is there.
    async fn find<K: Ours>(&self, name: &str) -> Result<Option<K>, ReconcileError> {
        let found = self.api::<K>().get_opt(name).await.map_err(not_read)?;
        match found {
            Some(found) if !self.owner().owns(&found) => {
                Err(ReconcileError::NotApplied(ApplyError::Foreign {
                    kind: K::kind(&()).into_owned(),
                    name: name.to_owned(),
                }))
            }
            found => Ok(found),
        }
    }

    /// Writes it where it is not so already, and says whether it did.
    async fn apply<K: Ours>(&self, live: Option<&K>, wanted: &Value) -> Result<bool, ReconcileError> {
        let written = self.writer.apply(live, wanted, self.owner()).await;
        written.map_err(ReconcileError::NotApplied)?;
        let is_so = live
            .and_then(|live| serde_json::to_value(live).ok())
            .is_some_and(|live| crate::apply::is_applied(&live, wanted));
        Ok(!is_so)
    }

    /// Brings the object of that name to what is wanted.
    async fn bring<K: Ours>(&self, name: &str, wanted: &Value) -> Result<bool, ReconcileError> {
        let live = self.find::<K>(name).await?;
        self.apply(live.as_ref(), wanted).await
    }

    /// Deletes the `StatefulSet` that was found, everything that belongs to it first.
    async fn delete(&self, found: &StatefulSet) -> Result<(), ReconcileError> {
        let name = found.name_any();
        let parameters = DeleteParams::foreground().preconditions(Preconditions {
            uid: found.uid(),
            resource_version: None,
        });
        match self.api::<StatefulSet>().delete(&name, &parameters).await {
            Ok(_) => {
                self.context.metrics.wrote("StatefulSet");
                Ok(())
            }
            // It is gone, or its name is another one's by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(source) => Err(ReconcileError::NotApplied(ApplyError::Refused {
                kind: "StatefulSet".to_owned(),
                name,
                source: Box::new(source),
            })),
        }
    }
}

/// A kind of object that is made here.
trait Ours:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::Serialize
    + serde::de::DeserializeOwned
{
}

impl<K> Ours for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned
{
}
