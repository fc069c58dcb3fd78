//! The key that signs a registry's entries in the term that an activation opens: made once, put into a Secret, and never seen again by the
//! operator.

use dataembassy_crds::TermSigner;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::activation::names;
use crate::apply::ApplyError;
use crate::mirror::signing_key::{draw, secret};

/// Makes a Secret with a new Ed25519 key, and says which one. The Secret is named by its key: one that was made and never recorded, because
/// the operator died in between, lies there unused.
pub async fn make(
    client: Client,
    namespace: &str,
    activation: &str,
    registry: &str,
) -> Result<TermSigner, ApplyError> {
    let refused = |name: &str, source| ApplyError::Refused {
        kind: "Secret".to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    };
    let Some((public_key, private_key)) = draw() else {
        let error = kube::Error::Service("the system gives no random numbers".into());
        return Err(refused(&format!("{activation}-{registry}-term"), error));
    };
    let name = names::key_secret(activation, registry, &public_key);
    let secret = secret(namespace, &name, names::labels(activation), &private_key);
    let api: Api<Secret> = Api::namespaced(client, namespace);
    api.create(&PostParams::default(), &secret)
        .await
        .map_err(|error| refused(&name, error))?;
    Ok(TermSigner {
        public_key: public_key.to_string(),
        secret: name,
    })
}
