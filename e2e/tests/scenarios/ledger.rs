//! A registry's ledger, walked with the store's own credentials and without the sidecar's code: every copy in it is whole.

use anyhow::{Context, Result, ensure};
use dataembassy_e2e::bed::Store;
use dataembassy_ledger::{
    ObjectKey, RegistryId, Sha256Digest, StoreDocument, Trigger, VersionId,
    chain::{CustodyView, SignerRange, SourceAuthority, SourceChain, Start, StoredVersion},
    entry::{Body as _, CopyBody, CustodyEntry, PartRef, SourceBody, SourceEntry},
    key::CopyObject,
    manifest::{ManifestReader, SegmentRecord},
};
use dataembassy_testkit::minio::{BUCKET, Version};

use crate::world::{Subject, World};

/// The entries of a registry's source chain, the oldest first. Fails unless the chain is one unbroken line, signed by the mirror's own
/// key, each entry has one version, nothing stands beside them, and everything that they name is in the store, byte for byte.
pub(crate) async fn whole(world: &World, subject: &Subject) -> Result<Vec<SourceEntry>> {
    let store = world.product.bed.store().await?;
    let registry: RegistryId = subject.id.parse()?;
    let document = only_version(&store, &ObjectKey::Embassy.to_string()).await?;
    let document = StoreDocument::verify(&document.bytes)?;
    let signer = SignerRange::always(subject.mirror.signer().await?.parse()?);
    let authority = SourceAuthority::new(vec![signer], &[], CustodyView::new())?;
    let mut chain = SourceChain::new(
        document.document.store_id,
        registry.clone(),
        authority,
        Start::Genesis(document.digest),
    );
    let listed = keys(&store, &ObjectKey::source_prefix(&registry)).await?;
    let mut entries = Vec::new();
    for key in &listed {
        let next = chain.next().context("the chain has no number left")?.to_string();
        ensure!(*key == next, "{key} stands in the ledger, where {next} must");
        let step = chain.offer(&[only_version(&store, key).await?]);
        ensure!(
            step.advanced && step.alarms.is_empty(),
            "{key} is no entry of the chain: {:?}",
            step.alarms
        );
        let entry = chain.head().context("the chain has no head")?.entry.entry.clone();
        let SourceBody::Copy(copy) = &entry.body;
        check(&store, &registry, copy)
            .await
            .with_context(|| format!("the copy of {key} is not whole"))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// What each entry of a registry's custody chain says, the oldest first. Fails where one is none, or has two versions.
pub(crate) async fn custody_kinds(world: &World, registry: &str) -> Result<Vec<&'static str>> {
    let store = world.product.bed.store().await?;
    let mut kinds = Vec::new();
    for key in keys(&store, &ObjectKey::custody_prefix(&registry.parse()?)).await? {
        let entry = CustodyEntry::verify(&only_version(&store, &key).await?.bytes)?;
        kinds.push(entry.entry.body.kind());
    }
    Ok(kinds)
}

/// How many entries of a kind a registry's custody chain has.
pub(crate) async fn custody_count(world: &World, registry: &str, kind: &str) -> Result<usize> {
    let kinds = custody_kinds(world, registry).await?;
    Ok(kinds.into_iter().filter(|other| *other == kind).count())
}

/// The triggers that the entries answer.
pub(crate) fn triggers(entries: &[SourceEntry]) -> Vec<Option<&str>> {
    entries
        .iter()
        .map(|SourceEntry { body, .. }| {
            let SourceBody::Copy(copy) = body;
            copy.trigger.as_ref().map(Trigger::as_str)
        })
        .collect()
}

/// The keys below a prefix, each with one version.
pub(crate) async fn keys(store: &Store, prefix: &str) -> Result<Vec<String>> {
    let versions = store.root().versions(BUCKET, prefix).await?;
    let keys: Vec<_> = versions.into_iter().map(|version| version.key).collect();
    ensure!(
        keys.windows(2).all(|pair| pair[0] < pair[1]),
        "a key has two versions: {keys:?}"
    );
    Ok(keys)
}

async fn only_version(store: &Store, key: &str) -> Result<StoredVersion> {
    let versions = store.root().versions(BUCKET, key).await?;
    let [Version { id, .. }] = versions.as_slice() else {
        anyhow::bail!("{key} has not one version but {versions:?}");
    };
    Ok(StoredVersion {
        version: id.parse()?,
        bytes: store.root().get_version(BUCKET, key, id).await?.to_vec(),
    })
}

async fn check(store: &Store, registry: &RegistryId, copy: &CopyBody) -> Result<()> {
    let read = async |object: CopyObject, version: &VersionId, size: u64, sha256: Sha256Digest| {
        let (registry, copy) = (registry.clone(), copy.copy_id);
        let key = ObjectKey::Copy {
            registry,
            copy,
            object,
        }
        .to_string();
        let bytes = store.root().get_version(BUCKET, &key, version.as_str()).await?;
        ensure!(
            bytes.len() as u64 == size && Sha256Digest::of(&bytes) == sha256,
            "{key} is not what was named"
        );
        Ok(bytes)
    };
    for PartRef {
        name,
        version,
        size,
        sha256,
    } in &copy.inventory
    {
        read(*name, version, *size, *sha256).await?;
    }
    let mut manifest = ManifestReader::new();
    for PartRef {
        name,
        version,
        size,
        sha256,
    } in &copy.manifest
    {
        let part = read(*name, version, *size, *sha256).await?;
        for SegmentRecord {
            number,
            version,
            size,
            sha256,
        } in manifest.read_part(&part)?
        {
            read(CopyObject::Segment(number), &version, size, sha256).await?;
        }
    }
    ensure!(
        manifest.segments() > 0
            && manifest.segments() == copy.totals.segments
            && manifest.sealed_bytes() == copy.totals.sealed_bytes,
        "the manifest's totals are not the entry's: {:?}",
        copy.totals
    );
    Ok(())
}
