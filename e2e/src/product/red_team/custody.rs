//! The custodian's word, forged with home's key: each is well formed, signed in the custodian's role, and fits where the next entry of the
//! custody chain belongs. Nothing but the door and the key is wrong with it.

use anyhow::{Context as _, Result, ensure};
use dataembassy_ledger::{
    ObjectKey, Role, Sha256Digest, SigningKey,
    activation::{Mode, State, StatedFloor, StatedRegistry, Statement, Unfenced, Warrant},
    entry::{
        ConfirmBody, CopyBody, CustodyBody, CustodyEntry, EntryRef, ExpiredCopy, ExpiryBody, Header,
        IntactCopy, ProofBody, SourceBody, SourceEntry, TermBody, VoidBody,
    },
};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;

use super::{RedTeam, attempts::Attempt, forgeries::now};
use crate::product::EMBASSY;

/// The id of the order that nobody gave.
const ORDER: &str = "uprising";

/// Entries behind the newest one of the custody chain, about the newest copy.
pub(super) fn attempts(newest: &[u8], custody: &[u8], signer: &SigningKey) -> Result<Vec<Attempt>> {
    let source = SourceEntry::verify(newest)?;
    let head = source.reference();
    let SourceBody::Copy(copy) = source.entry.body;
    let before = CustodyEntry::verify(custody)?;
    let mut header = before.entry.header;
    header.sequence = header.sequence.next().context("the last place")?;
    header.prev = before.digest;
    header.at = now()?;
    let mut attempts = Vec::new();
    for (what, body) in words(&header, head, &copy, signer)? {
        let header = header.clone();
        let entry = CustodyEntry { header, body };
        let path = format!("/{BUCKET}/{}", entry.object_key());
        let object = entry.sign(signer)?;
        let attempt = Attempt::new(what, Method::PUT, &path);
        attempts.push(attempt.bytes(object.bytes).conditional());
    }
    Ok(attempts)
}

/// What the custodian never said.
fn words(
    header: &Header,
    head: EntryRef,
    copy: &CopyBody,
    signer: &SigningKey,
) -> Result<Vec<(&'static str, CustodyBody)>> {
    let proof = ProofBody {
        intact: Some(IntactCopy {
            sequence: head.sequence,
            digest: head.digest,
            at: header.at,
        }),
        ..ProofBody::new(head)
    };
    let confirm = ConfirmBody { source_head: head };
    let expired = ExpiredCopy {
        sequence: head.sequence,
        copy_id: copy.copy_id,
    };
    let expiry = ExpiryBody {
        copies: vec![expired],
    };
    let void = VoidBody {
        copies: vec![copy.copy_id],
        order: None,
    };
    let term = TermBody {
        source_head: Some(head),
        next_term: header.term.next().context("the last term")?,
        signer: signer.public_key(),
        order: None,
        warrant: None,
    };
    let ordered = TermBody {
        order: Some(ORDER.parse()?),
        warrant: Some(warrant(header, head, copy, signer)?),
        ..term.clone()
    };
    Ok(vec![
        ("forge a proof", CustodyBody::Proof(proof)),
        ("forge a person's word for a head", CustodyBody::Confirm(confirm)),
        ("forge the expiry of a copy", CustodyBody::Expiry(expiry)),
        ("declare a copy void", CustodyBody::Void(void)),
        (
            "activate with approvals of home's own",
            CustodyBody::Activation(ordered),
        ),
        ("release to oneself", CustodyBody::Release(term)),
    ])
}

/// An order to serve the registry, approved twice by who is no approver.
fn warrant(header: &Header, head: EntryRef, copy: &CopyBody, signer: &SigningKey) -> Result<Warrant> {
    let until = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1))?;
    let statement = Statement {
        store: header.store_id,
        embassy: EMBASSY.parse()?,
        resource: "abroad/uprising".parse()?,
        uid: "5f2d6a3e-0000-4000-8000-000000000001".parse()?,
        order: ORDER.parse()?,
        mode: Mode::Activate,
        state: State::Active,
        valid_until: until.try_into()?,
        unfenced: Unfenced::Refused,
        required: 2,
        approvers: Sha256Digest::of(b"home"),
        spec: Sha256Digest::of(b"spec"),
        registries: vec![StatedRegistry {
            registry: header.registry.clone(),
            after: Vec::new(),
            floor: Some(StatedFloor {
                term: header.term,
                entry: head,
                taken_at: copy.taken_at,
            }),
            copy: "latestIntact".parse()?,
            target: "managed postgresql:17".parse()?,
            signer: Some(signer.public_key()),
            questions: 0,
            questions_digest: Sha256Digest::of(b""),
            exposed: "Service of home".parse()?,
        }],
    };
    let statement = statement.render()?;
    let approval = signer.sign(Role::Activation, statement.as_bytes())?;
    Ok(Warrant {
        approvals: vec![approval.clone(), approval],
        statement,
    })
}

impl RedTeam {
    /// The newest entry of the registry's custody chain, as the store's root reads it.
    pub(super) async fn newest_custody(&self) -> Result<Vec<u8>> {
        let prefix = ObjectKey::custody_prefix(&self.registry);
        let versions = self.root.versions(BUCKET, &prefix).await?;
        // The store lists keys in their order, and that is the entries'.
        let newest = versions.last().context("the custody chain is empty")?;
        let bytes = self.root.get_version(BUCKET, &newest.key, &newest.id).await?;
        Ok(bytes.to_vec())
    }

    /// Fails unless all that stands in the registry's custody chain is signed by the custodian, whose public key this is, and says nothing that
    /// was only forged.
    pub async fn custodian_alone_has_spoken(&self, custodian: &str) -> Result<()> {
        let prefix = ObjectKey::custody_prefix(&self.registry);
        for version in self.root.versions(BUCKET, &prefix).await? {
            let bytes = self.root.get_version(BUCKET, &version.key, &version.id).await?;
            let entry = CustodyEntry::verify(&bytes)?;
            let signer = entry.signer.to_string();
            ensure!(
                custodian.starts_with(&signer),
                "{} is signed by {signer}",
                version.key
            );
            let is_forged = matches!(
                entry.entry.body,
                CustodyBody::Activation(_)
                    | CustodyBody::Release(_)
                    | CustodyBody::Confirm(_)
                    | CustodyBody::Expiry(_)
                    | CustodyBody::Void(_)
            );
            ensure!(!is_forged, "{} says what nobody has ordered", version.key);
        }
        Ok(())
    }
}
