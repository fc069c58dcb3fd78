//! The key that signs a mirror's entries: made once, put into a Secret, and never seen again by the operator.

use std::collections::BTreeMap;

use dataembassy_ledger::{PublicKey, SigningKey};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use zeroize::Zeroizing;

use crate::apply::ApplyError;
use crate::mirror::names;

/// Makes the Secret with a new Ed25519 key. If there is one of that name already it is left as it is: it may be the key of an earlier
/// mirror of this registry, which goes on with it.
pub async fn make(client: Client, namespace: &str, mirror: &str, name: &str) -> Result<(), ApplyError> {
    let refused = |source| ApplyError::Refused {
        kind: "Secret".to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    };
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let Some((_, key)) = draw() else {
        return Err(refused(kube::Error::Service(
            "the system gives no random numbers".into(),
        )));
    };
    let secret = secret(namespace, name, names::labels(mirror), &key);
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// The Secret of a private key. It has no owner: without the key a ledger cannot be continued, whatever becomes of the resource that it was
/// made for.
pub(crate) fn secret(namespace: &str, name: &str, labels: serde_json::Value, key: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: serde_json::from_value(labels).ok(),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/ssh-auth".to_owned()),
        string_data: Some(BTreeMap::from([("ssh-privatekey".to_owned(), key.to_owned())])),
        ..Secret::default()
    }
}

/// Draws a new key: its public half, and the private one as a Secret holds it; `None` where the system gives no random numbers.
pub(crate) fn draw() -> Option<(PublicKey, Zeroizing<String>)> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *seed).ok()?;
    let key = SigningKey::from_seed(&seed);
    Some((key.public_key(), key.to_openssh().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_can_be_used_and_is_new_each_time() {
        let (public, private) = draw().unwrap();
        assert_eq!(SigningKey::from_openssh(&private).unwrap().public_key(), public);
        assert_ne!(draw().unwrap().0, public);
    }
}
