//! The superuser's Secret: made once, and never seen again by the operator, which may create Secrets and not read them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Managed, build, certificate};
use crate::apply::ApplyError;
use crate::run::Context;

/// The superuser's name: the one that nearly every source has, so that what belongs to it there belongs to it here. A role that exists is left
/// as it is by a restore.
const SUPERUSER: &str = "postgres";
/// How long its password is: 190 bits.
const PASSWORD: usize = 32;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes the Secret, password and certificate in one request, so that they belong together. One of that name that is there already was made
/// before, and is left as it is.
pub(super) async fn make(
    context: &Context,
    managed: &Managed<'_>,
    owner: Option<&Value>,
) -> Result<(), ApplyError> {
    let names = managed.names();
    let refused = |source| ApplyError::Refused {
        kind: "Secret".to_owned(),
        name: names.superuser.clone(),
        source: Box::new(source),
    };
    let Some(password) = new_password() else {
        return Err(refused(kube::Error::Service(
            "the system gives no random numbers".into(),
        )));
    };
    let mut data = BTreeMap::from([
        ("username".to_owned(), SUPERUSER.to_owned()),
        ("password".to_owned(), password.to_string()),
    ]);
    if managed.spec.tls_ref.is_none() {
        let made = certificate::make(managed.host_names(), managed.made_at())
            .map_err(|error| refused(kube::Error::Service(error.into())))?;
        data.insert("tls.crt".to_owned(), made.certificate);
        data.insert("tls.key".to_owned(), made.key.to_string());
        data.insert("ca.crt".to_owned(), made.authority);
    }
    let secret = Secret {
        metadata: serde_json::from_value(build::metadata(managed, &names.superuser, owner))
            .unwrap_or_default(),
        type_: Some("Opaque".to_owned()),
        string_data: Some(data),
        ..Secret::default()
    };
    let api: Api<Secret> = Api::namespaced(context.client.clone(), managed.namespace());
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => {
            context.metrics.wrote("Secret");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// Letters and digits only: nobody has to quote it.
fn new_password() -> Option<Zeroizing<String>> {
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD));
    let mut random = Zeroizing::new([0_u8; 4 * PASSWORD]);
    while password.len() < PASSWORD {
        aws_lc_rs::rand::fill(&mut *random).ok()?;
        // What is left over above the largest multiple would make some letters likelier than others.
        let fair = random
            .iter()
            .filter(|byte| usize::from(**byte) < 4 * LETTERS.len());
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        let missing = PASSWORD - password.len();
        password.extend(letters.take(missing));
    }
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_needs_no_quotes_and_is_new_each_time() {
        let one = new_password().unwrap();
        assert_eq!(one.len(), PASSWORD);
        assert!(one.bytes().all(|letter| letter.is_ascii_alphanumeric()));
        assert_ne!(one, new_password().unwrap());
    }
}
