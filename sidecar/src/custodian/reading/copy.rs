//! One copy, read back: its inventory, its manifest, and every segment in the manifest's order.

use std::pin::Pin;
use std::time::{Duration, Instant};

use dataembassy_ledger::entry::{CopyBody, CopyFault};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::{ManifestError, ManifestReader};
use dataembassy_ledger::value::VersionId;
use dataembassy_ledger::{CopyId, ObjectKey};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use jiff::Timestamp;

use super::object::{self, Flaw, Wanted};
use super::pace::Pace;
use super::{Chosen, Library, plan};
use crate::custodian::registry::holdings::{
    Damage, DamagedObject, Held, MAX_REMEMBERED, Manifest, Partial, ReadBack, ReadDamage,
};
use crate::custodian::registry::{ObjectError, read_entry, read_part};
use crate::store::ObjectLock;

/// How many objects are read at the same time.
const IN_FLIGHT: usize = 3;
/// Between two questions whether something else is more urgent.
const QUESTION: Duration = Duration::from_secs(5);

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It came to its end, whatever it found.
    Read,
    /// Something else goes first.
    Interrupted,
    /// The store does not answer.
    StoreAway,
}

/// What came of one object.
struct Outcome {
    object: CopyObject,
    wanted: Wanted,
    found: Result<ObjectLock, Flaw>,
}

type InFlight<'a> = FuturesOrdered<Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>>;

/// Reads a copy back from where an earlier reading stopped. `is_over` and `is_outdone` are asked now and then whether to go on.
pub(super) async fn read(
    library: &Library,
    chosen: &Chosen,
    pace: &Pace,
    is_over: impl Fn() -> bool,
    is_outdone: impl Fn() -> bool,
) -> Ended {
    let Some(held) = look_up(chosen) else {
        return Ended::Read;
    };
    chosen.holdings.lock().read_cost += plan::cost(0);
    let body = patiently(|| read_entry(&library.store, &chosen.registry, &held)).await;
    let body = match body {
        Ok(body) => body,
        Err(error) => return end_by(library, chosen, error).await,
    };
    let mut reading = Reading::begin(library, chosen, &held);
    let mut asked = Instant::now();
    let goes_on = || {
        if is_over() {
            return false;
        }
        if asked.elapsed() < QUESTION {
            return true;
        }
        asked = Instant::now();
        !is_outdone()
    };
    match reading.run(&body, pace, goes_on).await {
        Ok(Ended::Read) => {
            reading.finish();
            Ended::Read
        }
        Ok(ended) => ended,
        Err(error) => end_by(library, chosen, error).await,
    }
}

/// One reading.
struct Reading<'a> {
    library: &'a Library,
    chosen: &'a Chosen,
    since: Timestamp,
    /// Segments in the manifest's order that are equal, without a gap.
    segments: u64,
    damage: ReadDamage,
    earliest_lock: Option<Timestamp>,
}

impl<'a> Reading<'a> {
    fn begin(library: &'a Library, chosen: &'a Chosen, held: &Held) -> Self {
        let partial = held.read.partial.unwrap_or_else(|| Partial {
            segments: 0,
            since: Timestamp::now(),
        });
        let reading = Self {
            library,
            chosen,
            since: partial.since,
            segments: partial.segments,
            damage: ReadDamage::default(),
            earliest_lock: None,
        };
        reading.note_progress();
        reading
    }

    async fn run(
        &mut self,
        body: &CopyBody,
        pace: &Pace,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<Ended, ObjectError> {
        let store = &self.library.store;
        let start = |object: CopyObject, wanted: Wanted| {
            Box::pin(async move {
                let found = object::read(store, &wanted, pace).await;
                Outcome {
                    object,
                    wanted,
                    found,
                }
            })
        };
        let mut in_flight: InFlight<'_> = FuturesOrdered::new();
        for part in &body.inventory {
            let wanted = Wanted {
                key: self.key(body.copy_id, part.name),
                version: part.version.clone(),
                size: part.size,
                sha256: part.sha256,
            };
            in_flight.push_back(start(part.name, wanted));
        }
        let (mut reader, mut number, already) = (ManifestReader::new(), 0, self.segments);
        for part in &body.manifest {
            let read = || read_part(store, &self.chosen.registry, body.copy_id, part);
            let (bytes, lock) = patiently(read).await?;
            pace.pass(bytes.len()).await;
            self.see(part.name, &part.version, part.size, &lock);
            for record in reader.records(&bytes).map_err(|error| unusable(&error))? {
                let record = record.map_err(|error| unusable(&error))?;
                number += 1;
                if number <= already {
                    continue;
                }
                while in_flight.len() >= IN_FLIGHT {
                    if let Some(ended) = in_flight.next().await.and_then(|outcome| self.settle(outcome)) {
                        return Ok(ended);
                    }
                    if !goes_on() {
                        return Ok(Ended::Interrupted);
                    }
                }
                let object = CopyObject::Segment(record.number);
                let wanted = Wanted {
                    key: self.key(body.copy_id, object),
                    version: record.version,
                    size: record.size,
                    sha256: record.sha256,
                };
                in_flight.push_back(start(object, wanted));
            }
        }
        while let Some(outcome) = in_flight.next().await {
            if let Some(ended) = self.settle(outcome) {
                return Ok(ended);
            }
        }
        Ok(Ended::Read)
    }

    fn key(&self, copy: CopyId, object: CopyObject) -> ObjectKey {
        ObjectKey::Copy {
            registry: self.chosen.registry.clone(),
            copy,
            object,
        }
    }

    /// Takes in what came of one object, in the manifest's order; returns how the reading ends, if it ends by it.
    fn settle(&mut self, outcome: Outcome) -> Option<Ended> {
        let Outcome {
            object,
            wanted,
            found,
        } = outcome;
        match found {
            Ok(lock) => {
                self.see(object, &wanted.version, wanted.size, &lock);
                if matches!(object, CopyObject::Segment(_)) && self.damage.count == 0 {
                    self.segments += 1;
                    self.note_progress();
                }
                None
            }
            Err(Flaw::Fault(fault)) => {
                self.note_damage(object, wanted, fault);
                None
            }
            Err(Flaw::Store(error)) => {
                tracing::warn!(registry = %self.chosen.registry, %error, "reading back waits for the store");
                Some(Ended::StoreAway)
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let mut state = self.chosen.holdings.lock();
        if let Some(held) = state.copies.get_mut(&self.chosen.sequence) {
            change(held);
        }
    }

    fn note_progress(&self) {
        let partial = Partial {
            segments: self.segments,
            since: self.since,
        };
        self.change(|held| held.read.partial = Some(partial));
    }

    /// An object was read and is equal.
    fn see(&mut self, object: CopyObject, version: &VersionId, size: u64, lock: &ObjectLock) {
        self.earliest_lock = [self.earliest_lock, lock.until].into_iter().flatten().min();
        let fault = self.library.configuration.lock.fault(lock, Timestamp::now());
        self.change(|held| held.locks.see(object, version, lock, fault));
        let mut state = self.chosen.holdings.lock();
        state.bytes_read += size;
        state.read_cost += plan::cost(size);
    }

    fn note_damage(&mut self, object: CopyObject, wanted: Wanted, fault: CopyFault) {
        self.chosen.holdings.lock().read_cost += plan::cost(wanted.size);
        self.damage.count += 1;
        if self.damage.objects.len() < MAX_REMEMBERED {
            self.damage.objects.push(DamagedObject {
                object,
                version: wanted.version,
                size: wanted.size,
                sha256: wanted.sha256,
                fault,
            });
        }
        self.damage.looked_at = Timestamp::now();
        let damage = Box::new(self.damage.clone());
        self.change(|held| held.read.damage = Some(damage));
        // It is told now and not when a large copy has come to its end.
        self.chosen.holdings.news.notify_one();
    }

    fn finish(self) {
        let is_equal = self.damage.count == 0;
        let damage = ReadDamage {
            complete: true,
            ..self.damage
        };
        let read = ReadBack {
            verified_at: is_equal.then_some(self.since),
            partial: None,
            damage: (!is_equal).then(|| Box::new(damage)),
        };
        {
            let mut state = self.chosen.holdings.lock();
            if let Some(held) = state.copies.get_mut(&self.chosen.sequence) {
                held.read = read;
                // Locks that were prolonged meanwhile end later than they did when they were read.
                held.locks.until = self.earliest_lock.or(held.locks.until).max(held.locks.secured);
                if is_equal {
                    state.untold.insert(self.chosen.sequence);
                }
            }
        }
        let (registry, sequence) = (&self.chosen.registry, self.chosen.sequence.get());
        tracing::info!(%registry, sequence, is_equal, "a copy was read back");
        self.chosen.holdings.news.notify_one();
    }
}

/// Looks again at the objects of a copy that were found wrong. When all of them are right, the whole copy is read anew.
pub(super) async fn recheck(library: &Library, chosen: &Chosen, pace: &Pace) -> Ended {
    let Some((held, mut damage)) = look_up(chosen).and_then(|held| {
        let damage = held.read.damage.clone()?;
        Some((held, damage))
    }) else {
        return Ended::Read;
    };
    let mut objects = Vec::new();
    for one in damage.objects.drain(..) {
        let wanted = Wanted {
            key: ObjectKey::Copy {
                registry: chosen.registry.clone(),
                copy: held.copy,
                object: one.object,
            },
            version: one.version.clone(),
            size: one.size,
            sha256: one.sha256,
        };
        chosen.holdings.lock().read_cost += plan::cost(wanted.size);
        match object::read(&library.store, &wanted, pace).await {
            Ok(_) => {}
            Err(Flaw::Fault(fault)) => objects.push(DamagedObject { fault, ..one }),
            Err(Flaw::Store(_)) => return Ended::StoreAway,
        }
    }
    let healed = objects.is_empty();
    damage.objects = objects;
    damage.looked_at = Timestamp::now();
    if let Some(held) = chosen.holdings.lock().copies.get_mut(&chosen.sequence) {
        held.read = ReadBack {
            damage: (!healed).then_some(damage),
            ..ReadBack::default()
        };
    }
    chosen.holdings.news.notify_one();
    Ended::Read
}

fn look_up(chosen: &Chosen) -> Option<Held> {
    chosen.holdings.lock().copies.get(&chosen.sequence).cloned()
}

fn unusable(error: &ManifestError) -> ObjectError {
    ObjectError::Damaged(Damage {
        fault: CopyFault::Manifest,
        objects: 1,
        example: error.to_string(),
    })
}

/// What the store gives, asked for again after each pause: one answer that does not come says nothing about what it keeps.
async fn patiently<T, R>(read: impl Fn() -> R) -> Result<T, ObjectError>
where
    R: Future<Output = Result<T, ObjectError>>,
{
    for pause in object::PAUSES {
        match read().await {
            Err(ObjectError::Store(_)) => tokio::time::sleep(pause).await,
            read => return read,
        }
    }
    read().await
}

/// What stands in the entry or the manifest is level 1's to judge: it looks again. A store that does not give them and yet answers to something
/// else cannot read them, and the next registry need not wait for it; what was read of the copy stays read.
async fn end_by(library: &Library, chosen: &Chosen, error: ObjectError) -> Ended {
    let registry = &chosen.registry;
    let (damage, read) = match error {
        ObjectError::Damaged(damage) => (damage, Some(ReadBack::default())),
        ObjectError::Store(error) if library.store.answers().await.is_ok() => {
            tracing::warn!(%registry, %error, "the store cannot read a copy's entry or its manifest");
            let damage = Damage {
                fault: CopyFault::Unreadable,
                objects: 1,
                example: error.to_string(),
            };
            (damage, None)
        }
        ObjectError::Store(error) => {
            tracing::warn!(%registry, %error, "reading back waits for the store");
            return Ended::StoreAway;
        }
    };
    if let Some(held) = chosen.holdings.lock().copies.get_mut(&chosen.sequence) {
        held.manifest = Manifest::Wrong(Box::new(damage));
        held.read = read.unwrap_or_else(|| std::mem::take(&mut held.read));
    }
    chosen.holdings.news.notify_one();
    Ended::Read
}
