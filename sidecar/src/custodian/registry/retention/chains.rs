//! Locks of entries: both chains are kept for ever, whatever becomes of the copies, so their entries are locked for longer than anything
//! else, and looked at the less often.
//!
//! A pass goes along a chain, some entries in each turn, up to those that came of late, which still have the lock they came with. The next
//! one goes on from there, and from the beginning when half of the earliest lock is left. Reports, which entries name, are locked like them;
//! they do not lie in the order in which they came, so each pass goes along all of them.

use std::time::Instant;

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::value::{Sequence, VersionId};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::Locked;
use crate::custodian::prolonging::{Aim, secure};
use crate::custodian::registry::listing::{Group, Listing};
use crate::custodian::registry::{Assignment, Keeper};
use crate::store::StoreError;

/// How many entries one turn looks at; the next ones wait for the next look at the chain, as a pass has days to come to its end.
const AT_ONCE: usize = 128;
/// How many locks are prolonged at the same time.
const IN_FLIGHT: usize = 6;
/// Of the versions of one key, the first few are locked: there should be one.
const VERSIONS: usize = 2;
/// Parts of the lock's length: what is younger than a quarter is left for later, and after an eighth the next pass begins.
const YOUNG_PARTS: u32 = 4;
const PASS_PARTS: u32 = 8;

/// Of the three that are passed along, which has the reports.
const REPORTS: usize = 2;

/// How far along a chain the locks were prolonged.
#[derive(Debug, Default)]
pub struct Passed {
    /// Up to this key all were.
    after: Option<String>,
    /// The earliest end among them.
    until: Option<Timestamp>,
    /// When the next pass begins.
    due: Option<Instant>,
    /// Whether an entry was passed over whose lock could not be prolonged: the next pass comes soon.
    missed: bool,
    /// Whether this pass comes because the last one has missed some.
    repeats: bool,
}

/// Which entries of a chain are known to count.
struct Known<'a> {
    view: &'a CustodyView,
    source: Option<Sequence>,
    custody: Option<Sequence>,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is an entry's, or a report's.
    Entry,
    /// Nothing that counts stands there.
    Nothing,
    /// Beyond the head: what stands there was not judged yet.
    Beyond,
}

impl Known<'_> {
    fn place(&self, key: &ObjectKey) -> Place {
        let (sequence, head, is_of_the_term) = match key {
            ObjectKey::Source { term, sequence, .. } => {
                (*sequence, self.source, self.view.term_of(*sequence) == *term)
            }
            ObjectKey::Custody { sequence, .. } => (*sequence, self.custody, true),
            ObjectKey::Report { .. } => return Place::Entry,
            _ => return Place::Nothing,
        };
        match (is_of_the_term, Some(sequence) <= head) {
            (false, _) => Place::Nothing,
            (true, true) => Place::Entry,
            (true, false) => Place::Beyond,
        }
    }
}

impl Keeper {
    /// Prolongs the locks of some entries.
    pub(super) async fn prolong_entries(&mut self, assignment: &Assignment) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let prefixes = [
            ObjectKey::source_prefix(&self.registry),
            ObjectKey::custody_prefix(&self.registry),
            ObjectKey::reports_prefix(&self.registry),
        ];
        for (chain, prefix) in prefixes.iter().enumerate() {
            let is_due = self.retention.chains[chain]
                .due
                .is_none_or(|due| due <= Instant::now());
            if is_due {
                self.pass(assignment, chain, prefix, now).await?;
            }
        }
        Ok(())
    }

    async fn pass(
        &mut self,
        assignment: &Assignment,
        chain: usize,
        prefix: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let length = assignment.configuration.lock.length;
        let rule = assignment.configuration.lock.of_entries();
        let passed = &mut self.retention.chains[chain];
        if passed.until.is_some_and(|until| rule.is_half_gone(until, now)) {
            *passed = Passed::default();
        }
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        let known = Known {
            view: ledger.view(),
            source: ledger.source_head().map(|head| head.sequence),
            custody: ledger.custody_head().map(|head| head.sequence),
        };
        let young = earlier(now, length / YOUNG_PARTS);
        let mut listing = Listing::new(&assignment.store, prefix, passed.after.clone());
        let (mut entries, mut last, mut is_over) = (Vec::new(), passed.after.clone(), true);
        while let Some(group) = listing.next().await? {
            if entries.len() >= AT_ONCE {
                is_over = false;
                break;
            }
            let place = group.key.parse().map(|key: ObjectKey| (known.place(&key), key));
            match place {
                Ok((Place::Beyond, _)) => break,
                Ok((Place::Entry, ObjectKey::Report { .. })) if is_young(&group, young) => {}
                Ok((Place::Entry, _)) if is_young(&group, young) => break,
                Ok((Place::Entry, key)) => entries.extend(versions(&group, &key)),
                Ok((Place::Nothing, _)) | Err(_) => {}
            }
            last = Some(group.key);
        }
        let (mut missed, mut is_of_all) = (None, false);
        for some in entries.chunks(IN_FLIGHT) {
            let aim = Aim::of(&rule, Timestamp::now());
            let securing = some
                .iter()
                .map(|(key, version)| secure(&assignment.store, key, version, &rule, aim));
            let secured = join_all(securing).await;
            for (outcome, (key, _)) in secured.into_iter().zip(some) {
                let lock = match outcome {
                    Ok(lock) => lock,
                    Err(error) => {
                        if !error.is_permanent() {
                            // A store that is away altogether says nothing about this entry.
                            assignment.store.answers().await?;
                        }
                        is_of_all |= matches!(error, StoreError::AccessDenied { .. });
                        let what = || format!("the lock of entry {key} cannot be prolonged: {error}");
                        missed.get_or_insert_with(what);
                        continue;
                    }
                };
                let passed = &mut self.retention.chains[chain];
                passed.until = match passed.until {
                    Some(until) => Some(until).min(lock.and_then(|lock| lock.until).or(Some(until))),
                    None => lock.and_then(|lock| lock.until),
                };
            }
            // A right that is missing is missing for what comes next.
            if is_of_all {
                break;
            }
        }
        let has_missed = missed.is_some();
        if let Some(what) = missed {
            self.refuse(Locked::Entry(chain), what);
        }
        if is_of_all {
            return Ok(());
        }
        let passed = &mut self.retention.chains[chain];
        passed.missed |= has_missed;
        let (missed, repeats) = (passed.missed, passed.repeats);
        if is_over && missed {
            *passed = Passed {
                due: Some(Instant::now() + super::RETRY),
                repeats: true,
                ..Passed::default()
            };
            return Ok(());
        }
        passed.after = last.filter(|_| !is_over || chain != REPORTS);
        if is_over {
            passed.due = Instant::now().checked_add(length / PASS_PARTS);
            passed.repeats = false;
        }
        // What was passed over is known to be done when a whole pass has met nothing of the kind.
        if !missed && (is_over || !repeats && !entries.is_empty()) {
            self.accept(Locked::Entry(chain));
        }
        Ok(())
    }
}

fn versions(group: &Group, key: &ObjectKey) -> Vec<(ObjectKey, VersionId)> {
    let versions = group.objects().take(VERSIONS);
    versions
        .filter_map(|one| Some((key.clone(), one.version.clone()?)))
        .collect()
}

/// Whether an entry came of late.
fn is_young(group: &Group, young: Timestamp) -> bool {
    let first = group.objects().next().and_then(|one| one.written_at);
    first.is_some_and(|at| at > young)
}

fn earlier(now: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}
