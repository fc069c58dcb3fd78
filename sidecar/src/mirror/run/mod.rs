//! One run, as four states: opened, streamed, sealed, committed. Each takes the one before, so none can be left out.

use std::sync::Arc;
use std::time::Duration;

use dataembassy_archive::inventory::{Header as InventoryHeader, InventoryWriter};
use dataembassy_archive::{CompressionLevel, CopyKey, KeyError, Recipients, SealError};
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::{Alarm, Fence};
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, Engine, Entry, EntryRef, Header, PartRef, SourceBody, SourceIdentity, WriteError,
};
use dataembassy_ledger::manifest::{ManifestError, ManifestWriter, SegmentRecord};
use dataembassy_ledger::value::{CopyId, InvalidValue, Term, Timestamp};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::agenda::Due;
use super::configuration::Configuration;
use super::pipeline::{self, MEMBERS_IN_FLIGHT, PipelineError};
use super::upload::{UploadError, Uploader};
use crate::postgresql::dump::{self, DumpError, Dumped};
use crate::store::{CommitError, Ledger, LedgerError, Store, StoreError, commit, probe};

/// How long the store may acknowledge nothing while a snapshot is held.
const STALL: Duration = Duration::from_mins(1);
/// How long the store is asked whether an entry was written.
const COMMIT_PATIENCE: Duration = Duration::from_mins(1);
/// A copy with less than this share of the sealed bytes of the one before is worth a look.
const PLAUSIBLE_SHARE: f64 = 0.5;
/// Below this many sealed bytes, sizes say nothing.
const PLAUSIBLE_FROM: u64 = 1024 * 1024;

/// Why a run has no copy to show.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store is not fit, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be read or must not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another party holds the registry.
    #[error(transparent)]
    Fenced(#[from] Fence),
    /// The dump failed.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// Sealing or uploading failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A manifest or inventory part could not be put.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The entry is not in the ledger.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The copy's key cannot be sealed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The inventory cannot be sealed.
    #[error("the inventory cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// The entry cannot be written.
    #[error("the entry cannot be written: {0}")]
    Entry(#[from] WriteError),
    /// The manifest cannot be written.
    #[error("the manifest cannot be written: {0}")]
    Manifest(#[from] ManifestError),
    /// A value has no form in the ledger.
    #[error("a value cannot be written into the ledger: {0}")]
    Value(#[from] InvalidValue),
    /// The database is another one than before.
    #[error(
        "the database is another one than the last copy's (now system {system_identifier}, database oid {database_oid}): if it was \
         re-created on purpose, name these in spec.source.acceptedIdentity"
    )]
    SourceChanged {
        /// Its server.
        system_identifier: String,
        /// Itself.
        database_oid: u32,
    },
    /// Somebody else committed while we copied.
    #[error(
        "another writer has committed entry {sequence} meanwhile: this copy does not exist; the next run goes on from there"
    )]
    Superseded {
        /// The head that was found.
        sequence: u64,
    },
    /// It took too long.
    #[error("the run took longer than its deadline of {seconds} s")]
    DeadlineExceeded {
        /// The deadline.
        seconds: u64,
    },
    /// The process is asked to end.
    #[error("the run was stopped with its process; the next one makes up for it")]
    Interrupted,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl RunError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Ledger(error) => error.reason(),
            Self::Fenced(Fence::NotASigner { .. }) => Reason::ForeignSignature,
            Self::Fenced(_) => Reason::Fenced,
            Self::Dump(error) => error.reason(),
            Self::Pipeline(PipelineError::Upload(error)) | Self::Upload(error) => error.reason(),
            Self::Commit(error) => error.reason(),
            Self::Key(_) => Reason::InvalidRecipient,
            Self::SourceChanged { .. } => Reason::SourceChanged,
            Self::Superseded { .. } => Reason::Superseded,
            Self::DeadlineExceeded { .. } => Reason::DeadlineExceeded,
            Self::Interrupted => Reason::Interrupted,
            Self::Pipeline(_)
            | Self::Seal(_)
            | Self::Entry(_)
            | Self::Manifest(_)
            | Self::Value(_)
            | Self::NoRandomness => Reason::InternalError,
        }
    }

    /// Whether the fault lies with the source rather than with the store.
    #[must_use]
    pub const fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Dump(_) | Self::SourceChanged { .. })
    }
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub struct Telling {
    /// How far the dump is.
    pub dump: watch::Sender<dump::Progress>,
    /// Whether the manifest and the entry are being written.
    pub committing: watch::Sender<bool>,
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
    term: Term,
    copy: CopyId,
    key: CopyKey,
    recipients: Recipients,
    started_at: Timestamp,
    due: Due,
    uploader: Arc<Uploader>,
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

/// Makes one copy, from probe to commit, within the deadline and until `cancel`.
#[tracing::instrument(name = "run", skip_all, fields(registry = %configuration.registry, slot = ?due.slot, trigger = ?due.trigger))]
pub async fn run(
    configuration: &Configuration,
    store: Store,
    ledger: Ledger,
    due: Due,
    telling: &Telling,
    cancel: CancellationToken,
) -> Result<Committed, RunError> {
    let whole = async {
        let opened = Opened::open(configuration, store, ledger, due).await?;
        let streamed = opened.stream(telling, cancel.child_token()).await?;
        telling.committing.send_replace(true);
        streamed.seal().await?.commit().await
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
    async fn open(
        configuration: &'a Configuration,
        store: Store,
        ledger: Ledger,
        due: Due,
    ) -> Result<Self, RunError> {
        probe(&store, configuration.requirements).await?;
        let signers = &configuration.ledger.signers;
        let term = ledger
            .view
            .may_write(configuration.signer.public_key(), signers, ledger.next, None)?;
        let mut id = [0; 16];
        OsRng
            .try_fill_bytes(&mut id)
            .map_err(|_| RunError::NoRandomness)?;
        let copy = CopyId::from_bytes(id);
        let uploader = Uploader::new(store.clone(), configuration.registry.clone(), copy, STALL);
        Ok(Self {
            configuration,
            store,
            ledger,
            term,
            copy,
            key: CopyKey::generate(),
            recipients: Recipients::parse(&configuration.recipients)?,
            started_at: Timestamp::from_jiff(jiff::Timestamp::now())?,
            due,
            uploader: Arc::new(uploader),
        })
    }

    /// Dumps, seals and uploads, all at once.
    async fn stream(self, telling: &Telling, cancel: CancellationToken) -> Result<Streamed<'a>, RunError> {
        let (members, taken) = mpsc::channel(MEMBERS_IN_FLIGHT);
        let Configuration { source, options, .. } = self.configuration;
        // An upload that fails must not leave the database with our snapshot.
        let _stop = cancel.clone().drop_guard();
        let dumping = dump::run(source, options, members, telling.dump.clone(), cancel);
        let piping = pipeline::run(taken, self.key.recipient(), Arc::clone(&self.uploader));
        let (dumped, segments) = match tokio::join!(dumping, piping) {
            // Where the pipeline fails, the dump only sees that nobody takes its members any more.
            (Err(DumpError::ReceiverGone), Err(error)) => return Err(error.into()),
            (dumped, segments) => (dumped?, segments?),
        };
        self.check_identity(&dumped)?;
        Ok(Streamed {
            opened: self,
            dumped,
            segments,
        })
    }

    /// A database that was re-created, or restored from elsewhere, is not taken for the registry without a word of its owner.
    fn check_identity(&self, dumped: &Dumped) -> Result<(), RunError> {
        let Some(SourceBody::Copy(before)) = self.ledger.head.as_ref().map(|head| &head.entry.entry.body)
        else {
            return Ok(());
        };
        let system = &dumped.server.system_identifier;
        let oid = dumped.database.oid;
        let same = before.source.system_identifier == *system && before.source.database_oid == oid;
        let accepted = self
            .configuration
            .accepted_identity
            .as_ref()
            .is_some_and(|accepted| {
                accepted.system_identifier == system.as_str() && accepted.database_oid == oid
            });
        if same || accepted {
            return Ok(());
        }
        Err(RunError::SourceChanged {
            system_identifier: system.to_string(),
            database_oid: oid,
        })
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
        let (manifest, totals) = put_manifest(&opened.uploader, &segments).await?;
        let body = CopyBody {
            copy_id: opened.copy,
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
            copy_key: opened.key.wrap(&opened.recipients)?,
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
        copy_id: opened.copy,
        taken_at: dumped.taken_at,
        server: dumped.server.clone(),
        database: dumped.database.clone(),
        planner: dumped.planner.clone(),
    };
    let mut writer = InventoryWriter::new(&opened.key.recipient(), CompressionLevel::DEFAULT, header)?;
    let mut parts = Vec::new();
    for line in &dumped.lines {
        if let Some(part) = writer.push(line)? {
            parts.push(opened.uploader.put_inventory(&part).await?);
        }
    }
    parts.push(opened.uploader.put_inventory(&writer.finish()?).await?);
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
    async fn commit(self) -> Result<Committed, RunError> {
        let Self {
            opened,
            body,
            warnings,
        } = self;
        let configuration = opened.configuration;
        // Much may have happened since the run began: the embassy may have fenced us, another sidecar may have committed.
        let mut settings = configuration.ledger.clone();
        settings.floor = opened.ledger.head_reference().max(settings.floor);
        let now = Ledger::read(&opened.store, &settings).await?;
        now.view.may_write(
            configuration.signer.public_key(),
            &settings.signers,
            now.next,
            None,
        )?;
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
            term: opened.term,
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
