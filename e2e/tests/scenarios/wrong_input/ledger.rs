//! Ledgers that somebody with the store's own power has touched. What was committed stays; nothing is written over what is in doubt.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    bed::{Store, secrets},
    command::wait_for,
};
use dataembassy_ledger::{
    CopyId, ObjectKey, Sequence, Sha256Digest, SigningKey, Term, Timestamp,
    entry::{SignedObject, SourceBody, SourceEntry},
};
use dataembassy_testkit::minio::BUCKET;
use futures::FutureExt as _;
use hyper::Method;
use serde_json::json;

use super::{MENDED, end, side_by_side, told};
use crate::world::{MINUTE, Ministry, Subject, World, together};

#[test]
fn a_ledger_that_somebody_has_touched_is_told_and_not_written_over() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-ledger").await?;
    side_by_side(
        world,
        &ministry,
        vec![
            ("a gap", a_gap(world, &ministry).boxed_local()),
            (
                "a foreign signature",
                a_foreign_signature(world, &ministry).boxed_local(),
            ),
            (
                "a second version",
                a_second_version(world, &ministry).boxed_local(),
            ),
        ],
    )
    .await?;
    end(world, &ministry, &[]).await
}

async fn a_gap(world: &World, ministry: &Ministry) -> Result<()> {
    let line = Line::mirrored(world, ministry, "gap").await?;
    let second = after(&line.first, &line.own)?;
    let third = after(&second.bytes, &line.own)?;
    line.put(3, third.bytes).await?;
    let (missing, found) = (line.key(2)?, line.key(3)?);
    let words = [missing.as_str(), "is missing", &found, "Find out who removed it"];
    line.stops(Reason::LedgerGap, &words).await?;
    // The missing one is found again: the chain is whole, and goes on behind its end.
    line.put(2, second.bytes).await?;
    line.subject.mirror.copied(4, MENDED).await?;
    let fourth = SourceEntry::verify(&line.get(4).await?)?;
    ensure!(
        fourth.entry.header.prev == third.digest,
        "the chain goes on elsewhere"
    );
    Ok(())
}

async fn a_foreign_signature(world: &World, ministry: &Ministry) -> Result<()> {
    let line = Line::mirrored(world, ministry, "foreign").await?;
    let stranger = SigningKey::from_seed(&rand::random());
    let second = after(&line.first, &stranger)?;
    line.put(2, second.bytes).await?;
    let (key, stranger) = (line.key(2)?, stranger.public_key().to_string());
    let words = [
        key.as_str(),
        &stranger,
        "no authority",
        "name it in previousKeys",
        "treat it as an attack",
    ];
    line.stops(Reason::ForeignSignature, &words).await?;
    // If it is a key of theirs, they say so, and from where on it is not.
    let own = line.own.public_key().to_string();
    let previous = json!([
        {"publicKey": own, "untilSequence": 1},
        {"publicKey": stranger, "untilSequence": 2},
    ]);
    line.subject
        .apply(|spec| spec["signing"] = json!({"previousKeys": previous}))
        .await?;
    line.subject.mirror.copied(3, MENDED).await.map(drop)
}

async fn a_second_version(world: &World, ministry: &Ministry) -> Result<()> {
    let line = Line::mirrored(world, ministry, "second").await?;
    // Not even the mirror's own key makes another entry of the first: what is known is known by its digest.
    let mut other = SourceEntry::verify(&line.first)?.entry;
    other.header.at = Timestamp::from_jiff(jiff::Timestamp::now())?;
    line.put(1, other.sign(&line.own)?.bytes).await?;
    let key = line.key(1)?;
    let words = [key.as_str(), "2 versions", "Find out who wrote the second"];
    told("Suspicious", Reason::SecondVersion, &words)
        .by_mirror(&line.subject.mirror)
        .await?;
    // It is an alarm and no break.
    line.subject
        .mirror
        .condition("StoreReachable", ConditionStatus::True, None, MINUTE)
        .await?;
    line.subject.mirror.trigger("after the second version").await?;
    line.subject.mirror.copied(2, MENDED).await?;
    let second = SourceEntry::verify(&line.get(2).await?)?;
    let first = Sha256Digest::of(&line.first);
    ensure!(
        second.entry.header.prev == first,
        "the chain goes on from the wrong version"
    );
    Ok(())
}

/// A copy's entry that fits behind this one. Its copy is nowhere, which home cannot see.
fn after(before: &[u8], signer: &SigningKey) -> Result<SignedObject> {
    let mut entry = SourceEntry::verify(before)?.entry;
    entry.header.sequence = entry.header.sequence.next().context("the last place")?;
    entry.header.prev = Sha256Digest::of(before);
    let SourceBody::Copy(copy) = &mut entry.body;
    copy.copy_id = CopyId::from_bytes(rand::random());
    Ok(entry.sign(signer)?)
}

/// A mirror with one copy, and what it takes to touch its ledger.
struct Line<'a> {
    world: &'a World,
    subject: Subject,
    store: Store,
    /// The key that it signs with.
    own: SigningKey,
    /// The object that its first entry is.
    first: Vec<u8>,
}

impl<'a> Line<'a> {
    async fn mirrored(world: &'a World, ministry: &Ministry, stem: &str) -> Result<Self> {
        let subject = ministry.small_registry(stem).await?;
        subject.mirrored().await?;
        let name = format!("{}-signing-key", subject.id);
        let secret = secrets::read(world.home(), &subject.namespace, &name).await?;
        let own = SigningKey::from_openssh(&secret.context("it has no key")?["ssh-privatekey"])?;
        let mut line = Self {
            store: world.product.bed.store().await?,
            world,
            subject,
            own,
            first: Vec::new(),
        };
        line.first = line.get(1).await?;
        Ok(line)
    }

    fn key(&self, sequence: u64) -> Result<String> {
        let key = ObjectKey::Source {
            registry: self.subject.id.parse()?,
            term: Term::FIRST,
            sequence: Sequence::new(sequence)?,
        };
        Ok(key.to_string())
    }

    async fn put(&self, sequence: u64, bytes: Vec<u8>) -> Result<()> {
        let path = format!("/{BUCKET}/{}", self.key(sequence)?);
        self.store
            .root()
            .expect(Method::PUT, &path, &[], &[], bytes)
            .await
            .map(drop)
    }

    async fn get(&self, sequence: u64) -> Result<Vec<u8>> {
        let path = format!("/{BUCKET}/{}", self.key(sequence)?);
        let answer = self
            .store
            .root()
            .expect(Method::GET, &path, &[], &[], Vec::new())
            .await?;
        Ok(answer.into_body().to_vec())
    }

    /// All that the store holds of what home may write, in the store's own words. The custodian goes on writing beside it.
    async fn held(&self) -> Result<Vec<String>> {
        let mut held = Vec::new();
        for part in ["source", "copies"] {
            let prefix = format!("registries/{}/{part}/", self.subject.id);
            let query = [("prefix", prefix.as_str()), ("versions", "")];
            let path = format!("/{BUCKET}");
            let answer = self
                .store
                .root()
                .expect(Method::GET, &path, &query, &[], Vec::new())
                .await?;
            held.push(String::from_utf8(answer.into_body().to_vec())?);
        }
        Ok(held)
    }

    /// The mirror says why it stops, and a trigger changes nothing.
    async fn stops(&self, reason: Reason, words: &[&str]) -> Result<()> {
        told("StoreReachable", reason, words)
            .by_mirror(&self.subject.mirror)
            .await?;
        let before = self.held().await?;
        self.subject.mirror.trigger("whatever the ledger says").await?;
        self.subject
            .mirror
            .condition("Ready", ConditionStatus::True, None, MINUTE)
            .await?;
        // It has looked again since it knows of the trigger.
        let refusals = self.refusals(reason).await?;
        wait_for("another look at the ledger", MINUTE, || async {
            Ok((self.refusals(reason).await? > refusals).then_some(()))
        })
        .await?;
        ensure!(
            self.held().await? == before,
            "it has written into a ledger that is in doubt"
        );
        Ok(())
    }

    /// How often the sidecar has told of it.
    async fn refusals(&self, reason: Reason) -> Result<usize> {
        let sidecar = format!("deployment/{}-mirror", self.subject.id);
        let log = self.world.home().logs(&self.subject.namespace, &sidecar).await?;
        Ok(log.lines().filter(|line| line.contains(reason.as_str())).count())
    }
}
