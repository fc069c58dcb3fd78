//! A whole store made up: many registries, each with a long ledger, tiny copies, and a custody chain that has proven most of them.
//!
//! Everything is put through S3, past every policy, over several connections at once: tens of thousands of objects within minutes.

use anyhow::{Context as _, Result, ensure};
use dataembassy_ledger::entry::{
    CustodyBody, CustodyEntry, EntryRef, Header, IntactCopy, ProofBody, Standing, VerifiedRange,
};
use dataembassy_ledger::{RegistryId, Sequence, SigningKey, Term, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::fabricated::{Depositor, MadeLedger, Origin, Shape};
use crate::minio::SignedClient;

/// How many registries are made at the same time.
const LINES: usize = 8;

/// How much there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How many registries.
    pub registries: usize,
    /// How many copies each has, one entry each.
    pub entries: usize,
    /// How many of them, the latest ones, came after the proof: at least one must have come before.
    pub unproven: usize,
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Signers<'a> {
    /// The source entries of every registry.
    pub home: &'a SigningKey,
    /// The custody entries.
    pub custodian: &'a SigningKey,
}

/// A registry that was made up.
#[derive(Clone, Debug)]
pub struct MadeRegistry {
    /// Its source chain, to go on with.
    pub ledger: MadeLedger,
    /// Its last copy.
    pub head: EntryRef,
    /// The last copy that is proven.
    pub proven: EntryRef,
    /// Its custody chain's only entry, the proof.
    pub custody_head: EntryRef,
}

/// The id of a registry by its number, from 1 on.
pub fn registry(number: usize) -> Result<RegistryId> {
    Ok(format!("registry-{number:03}").parse()?)
}

/// Makes all of them in a store that was begun at `origin`.
pub async fn make(
    client: &SignedClient,
    bucket: &str,
    origin: Origin,
    signers: Signers<'_>,
    extent: Extent,
) -> Result<Vec<MadeRegistry>> {
    ensure!(
        extent.unproven < extent.entries,
        "at least one copy of each registry must be proven"
    );
    futures::stream::iter(1..=extent.registries)
        .map(|number| async move {
            let id = registry(number)?;
            let mut depositor = Depositor::connect(client, bucket).await?;
            one(&mut depositor, origin, id, signers, extent).await
        })
        .buffered(LINES)
        .try_collect()
        .await
}

async fn one(
    depositor: &mut Depositor<'_>,
    origin: Origin,
    id: RegistryId,
    signers: Signers<'_>,
    extent: Extent,
) -> Result<MadeRegistry> {
    let shape = Shape {
        segments: 1,
        segment_bytes: 200,
        ..Shape::default()
    };
    let mut ledger = MadeLedger::new(origin, id.clone(), signers.home.clone());
    let (mut head, mut proven) = (None, None);
    for place in 1..=extent.entries {
        let made = ledger.copy(depositor, &shape).await?;
        head = Some(made.reference);
        if place == extent.entries - extent.unproven {
            proven = head;
        }
    }
    let (head, proven) = head.zip(proven).context("no copy was made")?;
    let custody_head = prove(depositor, origin, id, signers.custodian, proven).await?;
    Ok(MadeRegistry {
        ledger,
        head,
        proven,
        custody_head,
    })
}

/// Puts a proof that every copy up to this one was read back just now.
async fn prove(
    depositor: &mut Depositor<'_>,
    origin: Origin,
    registry: RegistryId,
    custodian: &SigningKey,
    head: EntryRef,
) -> Result<EntryRef> {
    let at = Timestamp::from_jiff(jiff::Timestamp::now())?;
    let proof = ProofBody {
        verified: vec![VerifiedRange {
            from: Sequence::FIRST,
            until: head.sequence,
            at,
        }],
        intact: Some(IntactCopy {
            sequence: head.sequence,
            digest: head.digest,
            at,
        }),
        standing: Some(Standing::default()),
        ..ProofBody::new(head)
    };
    let entry = CustodyEntry {
        header: Header {
            store_id: origin.store_id,
            registry,
            sequence: Sequence::FIRST,
            prev: origin.genesis,
            term: Term::FIRST,
            at,
        },
        body: CustodyBody::Proof(proof),
    };
    let (key, object) = (entry.object_key(), entry.sign(custodian)?);
    depositor.put(&key, &object.bytes).await?;
    Ok(EntryRef {
        sequence: Sequence::FIRST,
        digest: object.digest,
    })
}
