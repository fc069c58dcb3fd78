//! What home's own key can be made to sign. Nobody can tell it from what home signs by its signature.

use anyhow::{Context as _, Result, bail};
use dataembassy_ledger::{
    ObjectKey, RegistryId, SigningKey, Timestamp, VersionId,
    entry::{SourceBody, SourceEntry},
};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;

use super::{RedTeam, attempts::Attempt};

/// Entries that must not be taken, made of the newest one that was committed.
pub(super) fn attempts(newest: &[u8], signer: &SigningKey) -> Result<Vec<Attempt>> {
    let mut rewritten = SourceEntry::verify(newest)?.entry;
    rewritten.header.at = now()?;
    let ahead = of_the_next_term(after(newest)?)?;
    let over = put("sign a committed place anew", &rewritten, signer)?;
    let if_free = put("sign a committed place anew if it is free", &rewritten, signer)?;
    let later = put("sign an entry of a later term", &ahead, signer)?;
    Ok(vec![
        over,
        if_free.conditional().only_the_store_knows(),
        later.conditional(),
    ])
}

/// Puts an entry at its own place.
fn put(what: &'static str, entry: &SourceEntry, signer: &SigningKey) -> Result<Attempt> {
    let path = format!("/{BUCKET}/{}", entry.object_key());
    let object = entry.sign(signer)?;
    Ok(Attempt::new(what, Method::PUT, &path).bytes(object.bytes))
}

/// An entry that fits behind this one, of the same copy.
fn after(before: &[u8]) -> Result<SourceEntry> {
    let before = SourceEntry::verify(before)?;
    let mut entry = before.entry;
    entry.header.sequence = entry.header.sequence.next().context("the last place")?;
    entry.header.prev = before.digest;
    entry.header.at = now()?;
    Ok(entry)
}

fn of_the_next_term(mut entry: SourceEntry) -> Result<SourceEntry> {
    entry.header.term = entry.header.term.next().context("the last term")?;
    Ok(entry)
}

pub(super) fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_jiff(jiff::Timestamp::now())?)
}

impl RedTeam {
    /// Commits a copy whose segments are another registry's: that one's newest manifest and inventory, byte for byte, where this registry's
    /// belong, and an entry that names them. A gate looks into none of these. Returns the number of the entry.
    pub async fn pass_off(&self, other: &str) -> Result<u64> {
        let other: RegistryId = other.parse()?;
        let theirs = SourceEntry::verify(&self.newest_entry(&other).await?)?;
        let SourceBody::Copy(mut body) = theirs.entry.body;
        let mut entry = after(&self.newest_entry(&self.registry).await?)?;
        let copy = body.copy_id;
        for part in body.manifest.iter_mut().chain(&mut body.inventory) {
            let object = part.name;
            let key = |registry: &RegistryId| ObjectKey::Copy {
                registry: registry.clone(),
                copy,
                object,
            };
            let (from, version) = (key(&other).to_string(), part.version.to_string());
            let bytes = self.root.get_version(BUCKET, &from, &version).await?;
            part.version = self.deposit(&key(&self.registry), bytes.to_vec()).await?;
        }
        let SourceBody::Copy(own) = &entry.body;
        // The other registry's custody chain is another one.
        body.custody_head = own.custody_head;
        entry.body = SourceBody::Copy(body);
        let bytes = entry.sign(&self.signer)?.bytes;
        self.deposit(&entry.object_key(), bytes).await?;
        Ok(entry.header.sequence.get())
    }

    /// Puts an entry of the next term where the next one of this term belongs: by its key a gate finds nothing wrong with it. Returns the key.
    pub async fn run_ahead(&self) -> Result<String> {
        let entry = after(&self.newest_entry(&self.registry).await?)?;
        let place = entry.object_key();
        let ahead = of_the_next_term(entry)?;
        self.deposit(&place, ahead.sign(&self.signer)?.bytes).await?;
        Ok(place.to_string())
    }

    /// The newest entry of a registry, as the store's root reads it. What only takes a number is none.
    pub(super) async fn newest_entry(&self, registry: &RegistryId) -> Result<Vec<u8>> {
        let prefix = ObjectKey::source_prefix(registry);
        let versions = self.root.versions(BUCKET, &prefix).await?;
        // The store lists keys in their order, and that is the entries'.
        for version in versions.iter().rev() {
            let bytes = self.root.get_version(BUCKET, &version.key, &version.id).await?;
            if SourceEntry::verify(&bytes).is_ok() {
                return Ok(bytes.to_vec());
            }
        }
        bail!("the registry has no entry")
    }

    /// Puts a new object as home would; it must be taken.
    async fn deposit(&self, key: &ObjectKey, body: Vec<u8>) -> Result<VersionId> {
        let path = format!("/{BUCKET}/{key}");
        let headers = [("if-none-match", "*")];
        let answer = self.home.expect(Method::PUT, &path, &[], &headers, body).await?;
        let version = answer.headers().get("x-amz-version-id");
        let version = version.context("the store gave no version")?.to_str()?;
        Ok(version.parse()?)
    }
}
