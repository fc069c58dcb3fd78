//! What the store holds of a registry, read as its root user and without any code of the product.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::world::World;

/// One version of one object, or a mark that hides it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// Its key.
    pub(crate) key: String,
    /// Its version id.
    pub(crate) id: String,
    /// Whether it only says that the object was deleted.
    pub(crate) is_deletion: bool,
}

/// Every version of every object of a registry.
pub(crate) async fn versions(world: &World, registry: &str) -> Result<BTreeSet<Version>> {
    let store = world.product.bed.store().await?;
    let prefix = format!("registries/{registry}/");
    let query = [("prefix", prefix.as_str()), ("versions", "")];
    let answer = store
        .root()
        .expect(Method::GET, &format!("/{BUCKET}"), &query, &[], Vec::new())
        .await?;
    let listing = String::from_utf8(answer.into_body().to_vec())?;
    ensure!(
        element(&listing, "IsTruncated") == Some("false"),
        "a scenario's registry has more objects than one listing shows"
    );
    let mut found = BTreeSet::new();
    for (tag, is_deletion) in [("<Version>", false), ("<DeleteMarker>", true)] {
        for part in listing.split(tag).skip(1) {
            let text = |name: &str| element(part, name).with_context(|| format!("a listing without {name}"));
            found.insert(Version {
                key: text("Key")?.to_owned(),
                id: text("VersionId")?.to_owned(),
                is_deletion,
            });
        }
    }
    Ok(found)
}

/// The entries of a registry's source chain in their order, after checking that each exists once and names the one before.
pub(crate) async fn entries(world: &World, registry: &str) -> Result<Vec<Value>> {
    let store = world.product.bed.store().await?;
    let prefix = format!("registries/{registry}/source/");
    let mut entries: Vec<Value> = Vec::new();
    let mut before: Option<String> = None;
    for version in versions(world, registry).await? {
        if !version.key.starts_with(&prefix) {
            continue;
        }
        ensure!(!version.is_deletion, "{} was deleted", version.key);
        let path = format!("/{BUCKET}/{}", version.key);
        let query = [("versionId", version.id.as_str())];
        let object = store
            .root()
            .expect(Method::GET, &path, &query, &[], Vec::new())
            .await?
            .into_body();
        let line = object.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let entry: Value = serde_json::from_slice(line).with_context(|| version.key.clone())?;
        ensure!(
            entry["sequence"] == entries.len() + 1,
            "{} is not the next entry",
            version.key
        );
        ensure!(
            before.is_none_or(|digest| entry["prev"] == digest),
            "{} does not name the entry before it",
            version.key
        );
        before = Some(hex::encode(Sha256::digest(&object)));
        entries.push(entry);
    }
    Ok(entries)
}

/// The text of the first element of a name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
