//! When a proof is due, and what it says. No clock is read here.
//!
//! Proofs are few: the first when a copy was read back or takes long to read, one soon after a copy was found broken or whole again, and otherwise at most one in
//! an interval, so that the custody chain stays short for all the years it is read.

use std::time::Duration;

use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{
    BrokenCopy, CopyFault, EntryRef, IntactCopy, MAX_BROKEN, MAX_VERIFIED, ProofBody, Standing,
    VerificationProgress, VerifiedRange,
};
use dataembassy_ledger::value::{Sequence, Timestamp as LedgerTime};
use jiff::Timestamp;

use super::custody::WrittenProof;
use super::holdings::{Held, HoldingsState};
use crate::process::clock::has_passed;

/// Between two proofs that tell of changes: a fault that comes and goes must not fill the chain.
const BETWEEN_CHANGES: Duration = Duration::from_secs(30);
/// The most expired copies between two neighbours of one range.
const MOST_BETWEEN: usize = 10_000;

/// What is known when a proof is thought of.
#[derive(Debug)]
pub struct Occasion<'a> {
    /// The head of the source chain.
    pub head: EntryRef,
    /// The living copies; all of them must be known.
    pub holdings: &'a HoldingsState,
    /// The latest proof in the chain, whoever wrote it.
    pub last: Option<&'a WrittenProof>,
    /// What the custody chain says.
    pub view: &'a CustodyView,
    /// What the entries before the next one say together.
    pub standing: Standing,
    /// Now.
    pub now: Timestamp,
    /// The least time between two proofs while nothing breaks or heals.
    pub interval: Duration,
}

impl Occasion<'_> {
    /// The proof that is due now.
    #[must_use]
    pub fn due(&self) -> Option<ProofBody> {
        let body = self.body();
        let passed = |since: Timestamp, time: Duration| has_passed(since, time, self.now);
        let Some(last) = self.last else {
            // A first copy that takes days to read is told of as it goes.
            let takes_long =
                |progress: &VerificationProgress| passed(progress.since.as_jiff(), self.interval);
            let has_something = body.intact.is_some()
                || !body.broken.is_empty()
                || body.progress.as_ref().is_some_and(takes_long);
            return has_something.then_some(body);
        };
        if body.broken != last.body.broken && passed(last.at, BETWEEN_CHANGES.min(self.interval)) {
            return Some(body);
        }
        let has_news = body.source_head != last.body.source_head
            || !body.verified.is_empty()
            || body.intact.map(|copy| copy.sequence) != last.body.intact.map(|copy| copy.sequence)
            || body.progress != last.body.progress;
        (has_news && passed(last.at, self.interval)).then_some(body)
    }

    fn body(&self) -> ProofBody {
        let broken = self.broken();
        ProofBody {
            source_head: self.head,
            verified: self.verified(&broken),
            intact: self.intact(&broken),
            progress: self.progress(),
            standing: self.standing.fits().then(|| self.standing.clone()),
            broken,
        }
    }

    /// Copies that are not whole. One that was broken in the last proof stays so until all of it was read again.
    fn broken(&self) -> Vec<BrokenCopy> {
        let before = |sequence: Sequence| {
            let last = self.last?;
            let broken = last.body.broken.iter().find(|copy| copy.sequence == sequence)?;
            Some((broken.fault, last.at))
        };
        let mut broken: Vec<BrokenCopy> = self
            .living()
            .filter_map(|held| {
                let sequence = held.reference.sequence;
                let still = before(sequence).and_then(|(fault, at)| {
                    let is_healed = match fault {
                        CopyFault::Recipients => held.recipients_fit,
                        _ => held.read.verified_at.is_some_and(|time| time > at),
                    };
                    (!is_healed).then_some(fault)
                });
                let fault = held.fault().or(still)?;
                Some(BrokenCopy { sequence, fault })
            })
            .collect();
        // Of too many the newest are told.
        broken.drain(..broken.len().saturating_sub(MAX_BROKEN));
        broken
    }

    /// Runs of neighbouring living copies that were read back and not told yet. Between two neighbours nothing stands but what has expired: of an
    /// entry that is not at its place today nobody knows anything, and it may be there tomorrow.
    fn verified(&self, broken: &[BrokenCopy]) -> Vec<VerifiedRange> {
        let mut ranges: Vec<VerifiedRange> = Vec::new();
        let mut goes_on = false;
        let is_next = |before: Sequence, sequence: Sequence| {
            let between = (before.get() + 1..sequence.get()).take(MOST_BETWEEN + 1);
            let mut between = between.filter_map(|place| Sequence::new(place).ok()).enumerate();
            between.all(|(count, place)| count < MOST_BETWEEN && self.view.is_expired(place))
        };
        for held in self.living() {
            let sequence = held.reference.sequence;
            let is_news = self.holdings.untold.contains(&sequence)
                && !broken.iter().any(|copy| copy.sequence == sequence);
            let at = held.read.verified_at.filter(|_| is_news && held.is_intact());
            let Some(at) = at.and_then(|at| LedgerTime::from_jiff(at).ok()) else {
                goes_on = false;
                continue;
            };
            match ranges.last_mut() {
                Some(range) if goes_on && is_next(range.until, sequence) => {
                    range.until = sequence;
                    range.at = range.at.min(at);
                }
                _ => ranges.push(VerifiedRange {
                    from: sequence,
                    until: sequence,
                    at,
                }),
            }
            goes_on = true;
        }
        ranges.drain(..ranges.len().saturating_sub(MAX_VERIFIED));
        ranges
    }

    fn intact(&self, broken: &[BrokenCopy]) -> Option<IntactCopy> {
        let is_sound = |held: &&Held| {
            held.is_intact() && !broken.iter().any(|copy| copy.sequence == held.reference.sequence)
        };
        let held = self.living().rev().find(is_sound)?;
        Some(IntactCopy {
            sequence: held.reference.sequence,
            digest: held.reference.digest,
            at: LedgerTime::from_jiff(held.read.verified_at?).ok()?,
        })
    }

    /// The reading that has come furthest: a very large copy's, most likely.
    fn progress(&self) -> Option<VerificationProgress> {
        let readings = self.living().filter_map(|held| Some((held, held.read.partial?)));
        let (held, partial) = readings.max_by_key(|(_, partial)| partial.segments)?;
        Some(VerificationProgress {
            sequence: held.reference.sequence,
            segments: partial.segments,
            since: LedgerTime::from_jiff(partial.since).ok()?,
        })
    }

    fn living(&self) -> impl DoubleEndedIterator<Item = &Held> {
        self.holdings
            .copies
            .range(..=self.head.sequence)
            .map(|(_, held)| held)
    }
}

/// The copies that a proof has told of, so that the next one need not.
pub fn told<'a>(body: &'a ProofBody, holdings: &'a HoldingsState) -> impl Iterator<Item = Sequence> + 'a {
    let within = |sequence: &Sequence| {
        body.verified
            .iter()
            .any(|range| (range.from..=range.until).contains(sequence))
    };
    holdings
        .untold
        .iter()
        .copied()
        .filter(move |sequence| within(sequence))
}

/// Takes in what a proof in the chain says of the living copies.
pub fn learn(holdings: &mut HoldingsState, proof: &WrittenProof) {
    for range in &proof.body.verified {
        for (_, held) in holdings.copies.range_mut(range.from..=range.until) {
            held.read.verified_at = held.read.verified_at.max(Some(range.at.as_jiff()));
        }
    }
}

/// Takes in what only the latest proof says: what was broken, and how far a reading had come.
pub fn resume(holdings: &mut HoldingsState, proof: &WrittenProof) {
    for broken in &proof.body.broken {
        if let Some(held) = holdings.copies.get_mut(&broken.sequence)
            && broken.fault != CopyFault::Recipients
        {
            held.read.verified_at = None;
        }
    }
    // There was room for the newest broken ones only: of those before nobody knows whether they were.
    if let Some(first) = proof
        .body
        .broken
        .first()
        .filter(|_| proof.body.broken.len() == MAX_BROKEN)
    {
        for (_, held) in holdings.copies.range_mut(..first.sequence) {
            held.read.verified_at = None;
        }
    }
    if let Some(progress) = proof.body.progress
        && let Some(held) = holdings.copies.get_mut(&progress.sequence)
        && held.read.partial.is_none()
        && held
            .read
            .verified_at
            .is_none_or(|at| at < progress.since.as_jiff())
    {
        held.read.partial = Some(super::holdings::Partial {
            segments: progress.segments,
            since: progress.since.as_jiff(),
        });
    }
}
