//! Home tries to read its own copy back, with everything it has.

use anyhow::{Context, Result, ensure};
use dataembassy_testkit::minio::{BUCKET, Credentials, SignedClient};
use hyper::{Method, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, api::ListParams};

use crate::{
    bed::Store,
    cluster::Cluster,
    product::{Product, registry::ministry},
    progress::Progress,
    registries::Registry,
};

/// How an age identity begins, whatever file it is in.
const IDENTITY: &[u8] = b"AGE-SECRET-KEY-";

/// Takes the deposit credentials from home's own Secret and asks for a segment that was written with them; then looks for an identity in all
/// that the home cluster stores.
pub(super) async fn try_it(product: &Product, registry: Registry, progress: &Progress) -> Result<()> {
    let store = product.bed.store().await?;
    let key = segment(&store, registry).await?;
    let credentials = deposit_credentials(product.bed.home(), registry).await?;
    let home = SignedClient::new(store.ca(), Store::address(), credentials)?;
    let status = home
        .send(Method::GET, &format!("/{BUCKET}/{key}"), &[], &[], Vec::new())
        .await?
        .status();
    progress.line(&format!(
        "  GET {key}\n  with the credentials that wrote it: {status}"
    ));
    ensure!(
        status == StatusCode::FORBIDDEN,
        "home was not refused its own copy, but told {status}"
    );
    let looked_at = look_for_identity(product.bed.home()).await?;
    progress.line(&format!(
        "  and none of the {looked_at} Secrets and ConfigMaps at home holds an identity that opens it"
    ));
    Ok(())
}

/// A segment of one of the registry's copies.
async fn segment(store: &Store, registry: Registry) -> Result<String> {
    let prefix = format!("registries/{}/copies/", registry.id());
    let query = [("list-type", "2"), ("prefix", prefix.as_str())];
    let answer = store
        .root()
        .expect(Method::GET, &format!("/{BUCKET}"), &query, &[], Vec::new())
        .await?;
    let listed = String::from_utf8(answer.into_body().to_vec())?;
    let mut keys = listed
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</Key>"));
    keys.find_map(|(key, _)| {
        key.rsplit('/')
            .next()?
            .parse::<u32>()
            .is_ok()
            .then(|| key.to_owned())
    })
    .with_context(|| format!("there is no segment under {prefix}"))
}

async fn deposit_credentials(home: &Cluster, registry: Registry) -> Result<Credentials> {
    let secrets: Api<Secret> = Api::namespaced(home.client().clone(), ministry(registry));
    let data = secrets
        .get(&format!("{}-deposit", registry.id()))
        .await?
        .data
        .unwrap_or_default();
    let value = |key: &str| -> Result<String> {
        Ok(String::from_utf8(
            data.get(key)
                .with_context(|| format!("the deposit Secret has no {key}"))?
                .0
                .clone(),
        )?)
    };
    Ok(Credentials {
        access_key: value("accessKeyId")?,
        secret_key: value("secretAccessKey")?,
    })
}

/// Looks through everything that the cluster stores as data; returns how much that was.
async fn look_for_identity(home: &Cluster) -> Result<usize> {
    let secrets = Api::<Secret>::all(home.client().clone())
        .list(&ListParams::default())
        .await?;
    let maps = Api::<ConfigMap>::all(home.client().clone())
        .list(&ListParams::default())
        .await?;
    for secret in &secrets {
        for value in secret.data.iter().flatten().map(|(_, value)| &value.0) {
            ensure!(
                !holds_identity(value),
                "Secret {:?} holds an identity",
                secret.metadata.name
            );
        }
    }
    for map in &maps {
        for value in map.data.iter().flatten().map(|(_, value)| value.as_bytes()) {
            ensure!(
                !holds_identity(value),
                "ConfigMap {:?} holds an identity",
                map.metadata.name
            );
        }
    }
    Ok(secrets.items.len() + maps.items.len())
}

fn holds_identity(value: &[u8]) -> bool {
    value.windows(IDENTITY.len()).any(|window| window == IDENTITY)
}
