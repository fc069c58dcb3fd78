//! The embassy takes a registry over and gives it back, by the custody chain alone: home is told, stops, and goes on when it may.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use dataembassy_crds::{ConditionStatus, RunOutcome};
use dataembassy_e2e::command::wait_for;
use dataembassy_ledger::{
    ObjectKey, RegistryId, Sequence, Sha256Digest, SigningKey, StoreDocument, Term, Timestamp,
    entry::{CustodyBody, CustodyEntry, Entry, EntryRef, Header, TermBody},
};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use serde_json::json;

use crate::{
    embassy::Embassy,
    ledger,
    world::{MINUTE, PATIENCE, Subject, World, together},
};

#[test]
fn home_stops_while_the_embassy_serves_and_goes_on_once_it_has_adopted_the_release() {
    together(there_and_back);
}

async fn there_and_back(world: &'static World) -> Result<()> {
    let ministry = world.ministry("fence").await?;
    let subject = ministry.small_registry("fence").await?;
    let embassy = Embassy::new(world, "fence").await?;
    let custodian = &world.product.keys.custodian_public;
    embassy
        .apply(|spec| spec["custodianKeys"] = json!([{"publicKey": custodian}]))
        .await?;
    let mirror = &subject.mirror;
    let to_embassy = |spec: &mut serde_json::Value| spec["embassyRef"]["name"] = json!(embassy.name);
    subject.apply(to_embassy).await?;
    let first = mirror.copied(1, PATIENCE).await?;
    let head = first.status.and_then(|status| status.last_copy);
    let head = head.context("the mirror shows no copy")?;
    let head = EntryRef {
        sequence: Sequence::new(head.sequence.unsigned_abs())?,
        digest: head.digest.parse()?,
    };

    let stranger = SigningKey::from_seed(&rand::random()).public_key();
    let mut custody = Custody::of(world, &subject).await?;
    let opening = |term, signer| -> Result<TermBody> {
        Ok(TermBody {
            source_head: Some(head),
            next_term: Term::new(term)?,
            signer,
            order: None,
            warrant: None,
        })
    };
    custody
        .append(CustodyBody::Activation(opening(2, stranger)?))
        .await?;
    let message = fenced(&subject).await?;
    ensure!(message.contains(&stranger.to_string()), "{message}");
    let before = objects(world, &subject).await?;
    mirror.trigger("although it is fenced").await?;
    refused(&subject).await?;
    ensure!(
        objects(world, &subject).await? == before,
        "a fenced mirror has sent something"
    );

    let home = mirror.signer().await?.parse()?;
    let release = custody.append(CustodyBody::Release(opening(3, home)?)).await?;
    let release = release.to_string();
    let what = "the release to be named to whoever must adopt it";
    wait_for(what, MINUTE, || async {
        let message = fenced(&subject).await?;
        Ok((message.contains(&release) && message.contains("adoptRelease")).then_some(()))
    })
    .await?;
    subject
        .apply(|spec| {
            to_embassy(spec);
            spec["trigger"] = json!("although it is fenced");
            spec["registry"]["adoptRelease"] = json!(release);
        })
        .await?;
    mirror.copied(2, PATIENCE).await?;
    subject.until_gone("Fenced", MINUTE).await?;
    let entry = ObjectKey::Source {
        registry: subject.id.parse()?,
        term: Term::new(3)?,
        sequence: Sequence::new(2)?,
    };
    let store = world.product.bed.store().await?;
    let keys = ledger::keys(&store, &entry.to_string()).await?;
    ensure!(keys.len() == 1, "the copy is not in the released term: {keys:?}");
    subject.delete().await?;
    embassy.delete().await
}

/// Waits until the mirror says that it is fenced, though nobody has ordered it who may; returns the words.
async fn fenced(subject: &Subject) -> Result<String> {
    let reason = Some(Reason::FenceNotApproved.as_str());
    subject
        .mirror
        .condition("Fenced", ConditionStatus::True, reason, MINUTE)
        .await
}

/// Waits until the mirror shows a run that failed for the fence, and nothing after it.
async fn refused(subject: &Subject) -> Result<()> {
    wait_for("a run that the fence ended", MINUTE, || async {
        let status = subject.mirror.get().await?.status.unwrap_or_default();
        let run = status.recent_runs.first();
        let ended =
            run.is_some_and(|run| run.outcome == RunOutcome::Failed && run.reason == Reason::Fenced.as_str());
        Ok(ended.then_some(()))
    })
    .await
}

/// The keys of everything that home may write.
async fn objects(world: &World, subject: &Subject) -> Result<Vec<String>> {
    let store = world.product.bed.store().await?;
    let prefix = ObjectKey::registry_prefix(&subject.id.parse()?);
    let mut keys = ledger::keys(&store, &format!("{prefix}copies/")).await?;
    keys.extend(ledger::keys(&store, &format!("{prefix}source/")).await?);
    Ok(keys)
}

/// The custody chain of one registry, written as the custodian writes it.
struct Custody<'a> {
    world: &'a World,
    registry: RegistryId,
    signer: SigningKey,
    document: StoreDocument,
    next: Sequence,
    prev: Sha256Digest,
    term: Term,
}

impl<'a> Custody<'a> {
    /// The empty chain of a new registry.
    async fn of(world: &'a World, subject: &Subject) -> Result<Self> {
        let store = world.product.bed.store().await?;
        let path = format!("/{BUCKET}/{}", ObjectKey::Embassy);
        let answer = store
            .root()
            .expect(Method::GET, &path, &[], &[], Vec::new())
            .await?;
        let verified = StoreDocument::verify(&answer.into_body())?;
        Ok(Self {
            world,
            registry: subject.id.parse()?,
            signer: SigningKey::from_openssh(&world.product.keys.custodian)?,
            document: verified.document,
            next: Sequence::FIRST,
            prev: verified.digest,
            term: Term::FIRST,
        })
    }

    /// Writes the next entry, which opens a term; returns its digest.
    async fn append(&mut self, body: CustodyBody) -> Result<Sha256Digest> {
        let entry: CustodyEntry = Entry {
            header: Header {
                store_id: self.document.store_id,
                registry: self.registry.clone(),
                sequence: self.next,
                prev: self.prev,
                term: self.term,
                at: Timestamp::from_jiff(jiff::Timestamp::now())?,
            },
            body,
        };
        let object = entry.sign(&self.signer)?;
        let path = format!("/{BUCKET}/{}", entry.object_key());
        let store = self.world.product.bed.store().await?;
        store
            .root()
            .expect(Method::PUT, &path, &[], &[], object.bytes)
            .await?;
        self.next = self.next.next().context("the chain has no place left")?;
        self.term = self.term.next().context("there is no term left")?;
        self.prev = object.digest;
        Ok(object.digest)
    }
}
