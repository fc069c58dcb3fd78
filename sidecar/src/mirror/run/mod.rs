//! One run, as four states: opened, streamed, sealed, committed. Each takes the one before, so none can be left out.

mod error;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_archive::inventory::{Header as InventoryHeader, InventoryWriter};
use dataembassy_archive::{CompressionLevel, CopyKey, Recipients};
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::Alarm;
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, Engine, Entry, EntryRef, Header, PartRef, SourceBody, SourceIdentity,
};
use dataembassy_ledger::manifest::{ManifestWriter, SegmentRecord};
use dataembassy_ledger::value::{CopyId, Term, Timestamp};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::agenda::Due;
use super::configuration::Configuration;
use super::pipeline;
use super::upload::Uploader;
use crate::postgresql::dump::{self, Dump, DumpError, Dumped, Identity};
use crate::store::{Ledger, LedgerMemory, LedgerSettings, Store, commit, probe};
pub use error::RunError;

/// How long the store may acknowledge nothing while a snapshot is held.
const STALL: Duration = Duration::from_mins(1);
/// How long the store is asked whether an entry was written.
const COMMIT_PATIENCE: Duration = Duration::from_mins(1);
/// Between two attempts to ask whether an entry still counts.
const PAUSE: Duration = Duration::from_secs(1);
/// A copy with less than this share of the sealed bytes of the one before is worth a look.
const PLAUSIBLE_SHARE: f64 = 0.5;
/// Below this many sealed bytes, sizes say nothing.
const PLAUSIBLE_FROM: u64 = 1024 * 1024;

/// What a run tells while it goes on.
#[derive(Debug)]
pub struct Telling {
    /// How far the dump is.
    pub dump: watch::Sender<dump::Progress>,
    /// Whether the manifest and the entry are being written.
    pub committing: watch::Sender<bool>,
}

/// The store and its ledger as the process has just looked at them.
#[derive(Debug)]
pub struct Looked<'a> {
    /// The store.
    pub store: Store,
    /// The ledger.
    pub ledger: Ledger,
    /// What the process knows of the ledger; the run goes on from there when it commits.
    pub memory: &'a mut LedgerMemory,
}

/// A copy that exists.
#[derive(Debug)]
pub struct Committed {
    /// Its entry.
    pub reference: EntryRef,
    /// What the entry says.
    pub copy: CopyBody,
    /// When the entry was written.
    pub at: Timestamp,
    /// Why it is worth a look although it exists.
    pub suspicious: Option<(Reason, String)>,
    /// What was wrong in the ledger and no reason to stop.
    pub alarms: Vec<Alarm>,
}

/// Store and ledger are fit for a copy.
pub struct Opened<'a> {
    configuration: &'a Configuration,
    store: Store,
    ledger: Ledger,
    memory: &'a mut LedgerMemory,
    term: Term,
    recipients: Recipients,
    started_at: Timestamp,
    due: Due,
    copy: Draft,
}

/// A copy that does not exist yet: an id and a key that no other copy has, and the way into the store.
struct Draft {
    id: CopyId,
    key: CopyKey,
    uploader: Arc<Uploader>,
}

impl Draft {
    fn new(configuration: &Configuration, store: &Store) -> Result<Self, RunError> {
        let mut id = [0; 16];
        OsRng
            .try_fill_bytes(&mut id)
            .map_err(|_| RunError::NoRandomness)?;
        let id = CopyId::from_bytes(id);
        let uploader = Uploader::new(store.clone(), configuration.registry.clone(), id, STALL);
        Ok(Self {
            id,
            key: CopyKey::generate(),
            uploader: Arc::new(uploader),
        })
    }
}

/// All segments are acknowledged.
pub struct Streamed<'a> {
    opened: Opened<'a>,
    dumped: Dumped,
    segments: Vec<SegmentRecord>,
}

/// Manifest and inventory are acknowledged.
pub struct SealedCopy<'a> {
    opened: Opened<'a>,
    body: CopyBody,
    warnings: Vec<String>,
}

/// Makes one copy, from probe to commit, within the deadline and until `cancel`. Its entry is judged and signed by the configuration that is
/// `newest` then: a key that was retired meanwhile signs nothing more.
#[tracing::instrument(name = "run", skip_all, fields(registry = %configuration.registry, slot = ?due.slot, trigger = ?due.trigger))]
pub async fn run(
    configuration: &Configuration,
    looked: Looked<'_>,
    due: Due,
    telling: &Telling,
    newest: watch::Receiver<Option<Arc<Configuration>>>,
    cancel: CancellationToken,
) -> Result<Committed, RunError> {
    let whole = async {
        let opened = Opened::open(configuration, looked, due).await?;
        let streamed = opened.stream(telling, cancel.child_token()).await?;
        telling.committing.send_replace(true);
        streamed.seal().await?.commit(newest).await
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RunError::Interrupted),
        done = tokio::time::timeout(configuration.deadline, whole) => {
            done.unwrap_or(Err(RunError::DeadlineExceeded { seconds: configuration.deadline.as_secs() }))
        }
    }
}

impl<'a> Opened<'a> {
    async fn open(configuration: &'a Configuration, looked: Looked<'a>, due: Due) -> Result<Self, RunError> {
        let Looked {
            store,
            ledger,
            memory,
        } = looked;
        probe(&store, configuration.requirements).await?;
        Ok(Self {
            configuration,
            term: configuration.may_write(&ledger.view, ledger.next)?,
            recipients: Recipients::parse(&configuration.recipients)?,
            started_at: Timestamp::from_jiff(jiff::Timestamp::now())?,
            due,
            copy: Draft::new(configuration, &store)?,
            store,
            ledger,
            memory,
        })
    }

    /// Dumps, seals and uploads; again, as another copy, where what was sent turns out to be of no use.
    async fn stream(
        mut self,
        telling: &Telling,
        cancel: CancellationToken,
    ) -> Result<Streamed<'a>, RunError> {
        let Configuration { source, options, .. } = self.configuration;
        let mut dump = Dump::new(source, options).expecting(self.expected());
        loop {
            match self.stream_once(&mut dump, telling, cancel.child_token()).await {
                Ok((dumped, segments)) => {
                    return Ok(Streamed {
                        opened: self,
                        dumped,
                        segments,
                    });
                }
                Err(RunError::Dump(DumpError::BegunAnew { tables })) => {
                    // Segments that are in the store by now are named by no manifest, and so of no copy.
                    tracing::warn!(?tables, abandoned = %self.copy.id, "tables were rewritten while they were copied; the copy begins anew");
                    self.copy = Draft::new(self.configuration, &self.store)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Dumps, seals and uploads, all at once.
    async fn stream_once(
        &self,
        dump: &mut Dump<'_>,
        telling: &Telling,
        cancel: CancellationToken,
    ) -> Result<(Dumped, Vec<SegmentRecord>), RunError> {
        let (outlets, taken) = pipeline::outlets();
        // An upload that fails must not leave the database with our snapshot.
        let stop = cancel.clone().drop_guard();
        let dumping = dump.run(outlets, telling.dump.clone(), cancel);
        let Draft { key, uploader, .. } = &self.copy;
        let piping = pipeline::run(
            taken,
            telling.dump.subscribe(),
            key.recipient(),
            Arc::clone(uploader),
        );
        tokio::pin!(dumping, piping);
        let (dumped, segments) = tokio::select! {
            dumped = &mut dumping => match dumped {
                Ok(_) | Err(DumpError::ReceiverGone) => (dumped, piping.await),
                // No copy will name what is still on its way into the store.
                Err(error) => return Err(error.into()),
            },
            segments = &mut piping => {
                if segments.is_err() {
                    // A dump that waits for its database would hold the snapshot until its next member, which may be as late as the deadline.
                    drop(stop);
                }
                (dumping.await, segments)
            }
        };
        match (dumped, segments) {
            // Where the pipeline fails, the dump only sees that nobody takes its members any more, or that it is stopped.
            (Err(DumpError::ReceiverGone | DumpError::Cancelled), Err(error)) => Err(error.into()),
            (dumped, segments) => Ok((dumped?, segments?)),
        }
    }

    /// A database that was re-created, or restored from elsewhere, is not taken for the registry without a word of its
    /// owner: a new term, or the identity that the mirror names.
    fn expected(&self) -> Vec<Identity> {
        let Some(head) = &self.ledger.head else {
            return Vec::new();
        };
        let before = &head.entry.entry;
        if before.header.term != self.term {
            return Vec::new();
        }
        let SourceBody::Copy(copy) = &before.body;
        let last = Identity {
            system_identifier: copy.source.system_identifier.to_string(),
            database_oid: copy.source.database_oid,
        };
        let accepted = self.configuration.accepted_identity.as_ref();
        let accepted = accepted.map(|accepted| Identity {
            system_identifier: accepted.system_identifier.clone(),
            database_oid: accepted.database_oid,
        });
        std::iter::once(last).chain(accepted).collect()
    }
}

impl<'a> Streamed<'a> {
    /// Puts inventory and manifest.
    async fn seal(self) -> Result<SealedCopy<'a>, RunError> {
        let Self {
            opened,
            dumped,
            segments,
        } = self;
        let inventory = put_inventory(&opened, &dumped).await?;
        let (manifest, totals) = put_manifest(&opened.copy.uploader, &segments).await?;
        let body = CopyBody {
            copy_id: opened.copy.id,
            started_at: opened.started_at,
            taken_at: dumped.taken_at,
            slot: opened.due.slot.map(Timestamp::from_jiff).transpose()?,
            trigger: opened.due.trigger.clone(),
            source: SourceIdentity {
                engine: Engine::Postgresql,
                version: dumped.server.version,
                system_identifier: dumped.server.system_identifier,
                database_oid: dumped.database.oid,
            },
            recipients: opened.configuration.recipients.clone(),
            copy_key: opened.copy.key.wrap(&opened.recipients)?,
            manifest,
            inventory,
            totals,
            parents: Vec::new(),
            custody_head: opened.ledger.view.head(),
        };
        Ok(SealedCopy {
            opened,
            body,
            warnings: dumped.warnings,
        })
    }
}

async fn put_inventory(opened: &Opened<'_>, dumped: &Dumped) -> Result<Vec<PartRef>, RunError> {
    let header = InventoryHeader {
        format: String::new(),
        registry: opened.configuration.registry.clone(),
        copy_id: opened.copy.id,
        taken_at: dumped.taken_at,
        server: dumped.server.clone(),
        database: dumped.database.clone(),
        planner: dumped.planner.clone(),
    };
    let mut writer = InventoryWriter::new(&opened.copy.key.recipient(), CompressionLevel::DEFAULT, header)?;
    let mut parts = Vec::new();
    for line in &dumped.lines {
        if let Some(part) = writer.push(line)? {
            parts.push(opened.copy.uploader.put_inventory(&part).await?);
        }
    }
    parts.push(opened.copy.uploader.put_inventory(&writer.finish()?).await?);
    Ok(parts)
}

async fn put_manifest(
    uploader: &Uploader,
    segments: &[SegmentRecord],
) -> Result<(Vec<PartRef>, CopyTotals), RunError> {
    let mut writer = ManifestWriter::new();
    let mut parts = Vec::new();
    for segment in segments {
        if let Some(part) = writer.push(segment)? {
            parts.push(uploader.put_manifest(part).await?);
        }
    }
    let totals = CopyTotals {
        segments: writer.segments(),
        sealed_bytes: writer.sealed_bytes(),
    };
    parts.push(uploader.put_manifest(writer.finish()?).await?);
    Ok((parts, totals))
}

impl SealedCopy<'_> {
    /// Writes the entry, which makes the copy exist.
    async fn commit(
        self,
        newest: watch::Receiver<Option<Arc<Configuration>>>,
    ) -> Result<Committed, RunError> {
        let Self {
            opened,
            body,
            warnings,
        } = self;
        let newest = newest.borrow().clone();
        let configuration = match newest.as_deref() {
            Some(newest) if !std::ptr::eq(newest, opened.configuration) => {
                let before = opened.configuration;
                if newest.registry != before.registry || !newest.store.is_same_bucket(&before.store) {
                    return Err(RunError::Elsewhere);
                }
                *opened.memory = LedgerMemory::of_the_writer();
                newest
            }
            _ => opened.configuration,
        };
        // Much may have happened since the run began: the embassy may have fenced us, another sidecar may have committed.
        let mut settings = configuration.ledger.clone();
        settings.floor = configuration.floor(opened.ledger.head_reference(), Some(&opened.ledger.view));
        let now = Ledger::read_on(&opened.store, &settings, opened.memory).await?;
        let term = configuration.may_write(&now.view, now.next)?;
        if term != opened.term {
            return Err(RunError::OtherTerm {
                before: opened.term,
                now: term,
            });
        }
        if now.tip != opened.ledger.tip {
            return Err(RunError::Superseded {
                sequence: now.next.get().saturating_sub(1),
            });
        }
        let header = Header {
            store_id: now.store_id,
            registry: configuration.registry.clone(),
            sequence: now.next,
            prev: now.tip,
            term,
            at: Timestamp::from_jiff(jiff::Timestamp::now())?,
        };
        let suspicious = suspicious(
            &body,
            &warnings,
            opened.ledger.head.as_ref().map(|head| &head.entry.entry.body),
        );
        let at = header.at;
        let entry = Entry {
            header,
            body: SourceBody::Copy(Box::new(body)),
        };
        let object = entry.sign(&configuration.signer)?;
        commit_entry(&opened.store, &entry, &object).await?;
        still_counts(
            &opened.store,
            configuration,
            &settings,
            opened.memory,
            &entry.header,
        )
        .await?;
        let reference = EntryRef {
            sequence: entry.header.sequence,
            digest: object.digest,
        };
        let SourceBody::Copy(copy) = entry.body;
        Ok(Committed {
            reference,
            copy: *copy,
            at,
            suspicious,
            alarms: now.alarms,
        })
    }
}

/// Whether an entry counts that was acknowledged: while it was on its way, the embassy may have ended its term before it, and a process may have
/// slept through all of that. The custody chain is asked once more before anything is called a copy.
async fn still_counts(
    store: &Store,
    configuration: &Configuration,
    settings: &LedgerSettings,
    memory: &mut LedgerMemory,
    header: &Header,
) -> Result<(), RunError> {
    let begun = tokio::time::Instant::now();
    loop {
        let read = Ledger::read_on(store, settings, memory).await;
        // What the custody chain says counts, whatever else could not be read.
        if let Some((_, view)) = memory.said() {
            if view.term_of(header.sequence) == header.term {
                return Ok(());
            }
            let sequence = header.sequence.get();
            return Err(configuration
                .fence(view)
                .map_or(RunError::Superseded { sequence }, RunError::Fenced));
        }
        match read {
            Err(error) if error.is_permanent() || begun.elapsed() > COMMIT_PATIENCE => {
                return Err(error.into());
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[tracing::instrument(name = "commit", skip_all, fields(key = %entry.object_key()))]
async fn commit_entry(
    store: &Store,
    entry: &Entry<SourceBody>,
    object: &dataembassy_ledger::entry::SignedObject,
) -> Result<(), RunError> {
    commit(store, &entry.object_key(), object, COMMIT_PATIENCE).await?;
    Ok(())
}

fn suspicious(copy: &CopyBody, warnings: &[String], before: Option<&SourceBody>) -> Option<(Reason, String)> {
    if let Some(warning) = warnings.first() {
        let more = warnings.len() - 1;
        return Some((
            Reason::UnknownWarning,
            format!("pg_dump warned ({more} more): {warning}"),
        ));
    }
    let SourceBody::Copy(before) = before?;
    let (old, new) = (before.totals.sealed_bytes, copy.totals.sealed_bytes);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    let implausible = old >= PLAUSIBLE_FROM && (new as f64) < old as f64 * PLAUSIBLE_SHARE;
    implausible.then(|| {
        let message = format!("the copy has {new} sealed bytes, the one before had {old}: check that nothing was deleted by mistake");
        (Reason::SizeImplausible, message)
    })
}
