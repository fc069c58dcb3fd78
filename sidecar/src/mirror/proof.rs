//! What the embassy has proven of our copies, as its custody chain says: nothing else of the embassy is asked.
//!
//! The rule: the copies are intact while the latest proof names no broken one and every copy is proven within a day of its commit. A copy that
//! waits longer is not known to be broken, and not known to be whole.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::report::{Check, CheckState, LastProof};
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{
    BrokenCopy, CopyFault, EntryRef, IntactCopy, SourceBody, SourceEntry, VerifiedEntry,
};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{RegistryId, Sequence, Timestamp};
use jiff::SignedDuration;

use crate::store::{Ledger, Store, StoreError};

/// How long a copy may wait for its proof. The embassy reads a copy back when it comes, as fast as it may, and signs at most one proof an
/// hour.
const GRACE: Duration = Duration::from_hours(24);
/// How many broken copies a message names.
const MAX_TOLD: usize = 8;

/// What the source chain knows of the newest proven copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Around {
    /// The moment of its snapshot.
    taken_at: Option<Timestamp>,
    /// When the copy after it was committed.
    next_at: Option<Timestamp>,
}

/// Watches the proofs. It reads two source entries when a proof names another copy, and nothing otherwise.
#[derive(Debug, Default)]
pub struct ProofWatch {
    known: Option<(IntactCopy, Around)>,
}

/// What is to be reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whether the copies are intact; its `since` is not set.
    pub check: Check,
    /// The newest copy that was proven.
    pub proof: Option<LastProof>,
}

impl ProofWatch {
    /// Judges what the custody chain says now. `trusting` is whether any custodian key is configured.
    pub async fn look(
        &mut self,
        store: &Store,
        registry: &RegistryId,
        ledger: &Ledger,
        trusting: bool,
        now: jiff::Timestamp,
    ) -> Result<Judgement, StoreError> {
        let around = match ledger.view.intact() {
            Some(intact) => self.around(store, registry, ledger, intact).await?,
            None => Around::default(),
        };
        let known = Known {
            registry,
            trusting,
            view: &ledger.view,
            head: ledger.head_reference(),
            around,
        };
        Ok(known.judge(now))
    }

    async fn around(
        &mut self,
        store: &Store,
        registry: &RegistryId,
        ledger: &Ledger,
        intact: IntactCopy,
    ) -> Result<Around, StoreError> {
        let known = self.known.take().filter(|(known, _)| *known == intact);
        let mut around = known.map(|(_, around)| around).unwrap_or_default();
        let read = async |sequence: Sequence| match &ledger.head {
            Some(head) if head.entry.entry.header.sequence == sequence => Ok(Some(head.entry.clone())),
            Some(head) if head.entry.entry.header.sequence > sequence => {
                read_entry(store, registry, &ledger.view, sequence).await
            }
            _ => Ok(None),
        };
        if around.taken_at.is_none()
            && let Some(entry) = read(intact.sequence)
                .await?
                .filter(|entry| entry.digest == intact.digest)
        {
            let SourceBody::Copy(copy) = &entry.entry.body;
            around.taken_at = Some(copy.taken_at);
        }
        if around.next_at.is_none()
            && let Some(next) = intact.sequence.next()
            && let Some(entry) = read(next)
                .await?
                .filter(|entry| entry.entry.header.prev == intact.digest)
        {
            around.next_at = Some(entry.entry.header.at);
        }
        self.known = Some((intact, around.clone()));
        Ok(around)
    }
}

/// A source entry below the head, as the store shows it first; its caller compares it with a digest that it knows.
async fn read_entry(
    store: &Store,
    registry: &RegistryId,
    view: &CustodyView,
    sequence: Sequence,
) -> Result<Option<VerifiedEntry<SourceBody>>, StoreError> {
    let key = ObjectKey::Source {
        registry: registry.clone(),
        term: view.term_of(sequence),
        sequence,
    };
    let bytes = match store.open(&key, None).await {
        Err(StoreError::ObjectMissing { .. }) => return Ok(None),
        other => other?.read_up_to(MAX_OBJECT_BYTES as u64 + 1).await?,
    };
    Ok(SourceEntry::verify(&bytes).ok())
}

/// All that the judgement rests on.
struct Known<'a> {
    registry: &'a RegistryId,
    trusting: bool,
    view: &'a CustodyView,
    head: Option<EntryRef>,
    around: Around,
}

impl Known<'_> {
    fn judge(&self, now: jiff::Timestamp) -> Judgement {
        let proof = self.proof();
        let mut check = self.check(proof.as_ref(), now);
        check.message = format!("registry {}: {}", self.registry, check.message);
        Judgement { check, proof }
    }

    fn proof(&self) -> Option<LastProof> {
        let (_, proven_at) = self.view.latest_proof_entry()?;
        let intact = self.view.intact()?;
        Some(LastProof {
            sequence: intact.sequence.get(),
            digest: intact.digest.to_string(),
            taken_at: self.around.taken_at.map(Timestamp::as_jiff),
            read_back_at: intact.at.as_jiff(),
            proven_at: proven_at.as_jiff(),
        })
    }

    fn check(&self, proven: Option<&LastProof>, now: jiff::Timestamp) -> Check {
        let unknown = |message: &str| check(CheckState::Unknown, Reason::NotYetKnown, message.to_owned());
        if !self.trusting {
            return unknown(
                "the DataEmbassy names no custodian key, so no proof counts: add the public key of the embassy's custodian to its \
                 spec.custodianKeys",
            );
        }
        let (Some(latest), Some((entry, at))) = (self.view.latest_proof(), self.view.latest_proof_entry())
        else {
            return unknown("the embassy's custodian has not proven a copy yet: its chain holds no proof");
        };
        let signed = format!("custody entry {} of {at}", entry.sequence);
        if let Some(worst) = latest.broken.iter().max_by_key(|copy| rank(copy.fault)) {
            let stands = proven.map_or_else(
                || "no copy is known to be whole".to_owned(),
                |proof| {
                    format!(
                        "{} is whole, read back at {:.0}",
                        named(proof),
                        proof.read_back_at
                    )
                },
            );
            let is_whole = |copy: &BrokenCopy| copy.fault == CopyFault::Recipients;
            let lost = if latest.broken.iter().all(is_whole) {
                "nothing, but others than those you named may read them"
            } else {
                "these copies cannot be restored whole"
            };
            let (broken, reason) = (list(&latest.broken), reason(worst.fault));
            let message = format!(
                "{signed} names broken copies: {broken}. Lost: {lost}. Stands: {stands}. {}",
                reason.remedy()
            );
            return check(CheckState::False, reason, message);
        }
        let Some(proof) = proven else {
            return check(
                CheckState::Unknown,
                Reason::Verifying,
                format!("{signed} proves no copy yet: the first is being read back"),
            );
        };
        let proven = format!(
            "{}: every byte was read back at {:.0} and equals the ledger ({signed})",
            named(proof),
            proof.read_back_at
        );
        if self.head.is_none_or(|head| head.sequence.get() <= proof.sequence) {
            return check(
                CheckState::True,
                Reason::Proven,
                format!("the latest copy, {proven}"),
            );
        }
        let since = self.around.next_at.map_or(proof.read_back_at, Timestamp::as_jiff);
        let waits = now.duration_since(since);
        if SignedDuration::try_from(GRACE).is_ok_and(|grace| waits <= grace) {
            let message =
                format!("{proven}; the copies after it came from {since:.0} on and have a day to be proven");
            return check(CheckState::True, Reason::Proven, message);
        }
        let message = format!(
            "{proven}; the copies after it have waited for a proof since {since:.0}, longer than a day: ask the embassy what holds its \
             custodian up"
        );
        check(CheckState::Unknown, Reason::VerificationOverdue, message)
    }
}

fn check(state: CheckState, reason: Reason, message: String) -> Check {
    Check {
        state,
        reason,
        message,
        since: None,
    }
}

fn named(proof: &LastProof) -> String {
    match proof.taken_at {
        Some(taken_at) => format!("copy {}, taken at {taken_at:.0}", proof.sequence),
        None => format!("copy {}", proof.sequence),
    }
}

/// The newest of them, with what is wrong.
fn list(broken: &[BrokenCopy]) -> String {
    let shown = broken.iter().rev().take(MAX_TOLD);
    let shown: Vec<String> = shown
        .map(|copy| format!("{} ({})", copy.sequence, told(copy.fault)))
        .collect();
    let more = match broken.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        more => format!(" and {more} older ones"),
    };
    shown.join(", ") + &more
}

const fn told(fault: CopyFault) -> &'static str {
    match fault {
        CopyFault::Missing => "objects are missing",
        CopyFault::Changed => "objects are changed",
        CopyFault::Unreadable => "objects cannot be read",
        CopyFault::Manifest => "its manifest cannot be used",
        CopyFault::Recipients => "sealed to other recipients",
    }
}

const fn reason(fault: CopyFault) -> Reason {
    match fault {
        CopyFault::Missing => Reason::ObjectMissing,
        CopyFault::Changed => Reason::ObjectChanged,
        CopyFault::Unreadable => Reason::ObjectUnreadable,
        CopyFault::Manifest => Reason::ManifestInvalid,
        CopyFault::Recipients => Reason::ForeignRecipients,
    }
}

/// What somebody should hear of first has the highest rank.
const fn rank(fault: CopyFault) -> u8 {
    match fault {
        CopyFault::Unreadable => 0,
        CopyFault::Manifest => 1,
        CopyFault::Missing => 2,
        CopyFault::Changed => 3,
        CopyFault::Recipients => 4,
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::SigningKey;
    use dataembassy_ledger::entry::{CustodyBody, CustodyEntry, Header, ProofBody};
    use dataembassy_ledger::value::{Sha256Digest, StoreId, Term};

    use super::*;

    fn sequence(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + minute * 60_000).unwrap()
    }

    fn entry(number: u64) -> EntryRef {
        EntryRef {
            sequence: sequence(number),
            digest: Sha256Digest::of(&number.to_be_bytes()),
        }
    }

    fn proof(intact: Option<u64>, broken: &[(u64, CopyFault)]) -> ProofBody {
        let intact = intact.map(|number| IntactCopy {
            sequence: sequence(number),
            digest: entry(number).digest,
            at: at(10),
        });
        let broken = broken.iter().map(|(number, fault)| BrokenCopy {
            sequence: sequence(*number),
            fault: *fault,
        });
        ProofBody {
            intact,
            broken: broken.collect(),
            ..ProofBody::new(entry(100))
        }
    }

    fn view(proof: Option<ProofBody>) -> CustodyView {
        let mut view = CustodyView::new();
        if let Some(body) = proof {
            let header = Header {
                store_id: StoreId::from_bytes([1; 16]),
                registry: "population".parse().unwrap(),
                sequence: sequence(7),
                prev: Sha256Digest::of(b"before"),
                term: Term::FIRST,
                at: at(20),
            };
            let signed = CustodyEntry {
                header,
                body: CustodyBody::Proof(body),
            };
            let object = signed.sign(&SigningKey::from_seed(&[2; 32])).unwrap();
            view.apply(&CustodyEntry::verify(&object.bytes).unwrap()).unwrap();
        }
        view
    }

    /// What is said of this view, with this head, so many minutes after the copy after the proven one came.
    fn judged(view: &CustodyView, trusting: bool, head: Option<u64>, minutes: i64) -> Judgement {
        let registry = "population".parse().unwrap();
        let known = Known {
            registry: &registry,
            trusting,
            view,
            head: head.map(entry),
            around: Around {
                taken_at: Some(at(0)),
                next_at: Some(at(30)),
            },
        };
        known.judge(at(30 + minutes).as_jiff())
    }

    #[test]
    fn nothing_is_known_without_a_trusted_key_a_proof_or_a_proven_copy() {
        let whole = view(Some(proof(Some(41), &[])));
        for (view, trusting, reason, word) in [
            (&whole, false, Reason::NotYetKnown, "spec.custodianKeys"),
            (&view(None), true, Reason::NotYetKnown, "no proof"),
            (
                &view(Some(proof(None, &[]))),
                true,
                Reason::Verifying,
                "proves no copy yet",
            ),
        ] {
            let check = judged(view, trusting, Some(41), 0).check;
            assert_eq!((check.state, check.reason), (CheckState::Unknown, reason));
            assert!(check.message.contains(word), "{}", check.message);
        }
    }

    #[test]
    fn the_latest_copy_is_proven_however_long_ago_that_was() {
        let view = view(Some(proof(Some(41), &[])));
        let Judgement { check, proof } = judged(&view, true, Some(41), 1_000_000);
        assert_eq!((check.state, check.reason), (CheckState::True, Reason::Proven));
        assert_eq!(
            check.message,
            format!(
                "registry population: the latest copy, copy 41, taken at {:.0}: every byte was read back at {:.0} and equals the ledger (custody entry 7 of {})",
                at(0).as_jiff(),
                at(10).as_jiff(),
                at(20)
            )
        );
        let proof = proof.unwrap();
        assert_eq!((proof.sequence, proof.taken_at), (41, Some(at(0).as_jiff())));
        assert_eq!(
            (proof.read_back_at, proof.proven_at),
            (at(10).as_jiff(), at(20).as_jiff())
        );
    }

    #[test]
    fn a_newer_copy_has_a_day_to_be_proven() {
        let view = view(Some(proof(Some(41), &[])));
        let day = 24 * 60;
        let check = judged(&view, true, Some(45), day).check;
        assert_eq!((check.state, check.reason), (CheckState::True, Reason::Proven));
        let since = format!("{:.0}", at(30).as_jiff());
        assert!(
            check.message.contains("copy 41") && check.message.contains(&since),
            "{}",
            check.message
        );
        let check = judged(&view, true, Some(45), day + 1).check;
        assert_eq!(
            (check.state, check.reason),
            (CheckState::Unknown, Reason::VerificationOverdue)
        );
        assert!(
            check.message.contains(&format!("since {since}")),
            "{}",
            check.message
        );
    }

    #[test]
    fn broken_copies_are_named_with_what_stands() {
        let broken = [(39, CopyFault::Unreadable), (40, CopyFault::Changed)];
        let check = judged(&view(Some(proof(Some(41), &broken))), true, Some(41), 0).check;
        assert_eq!(
            (check.state, check.reason),
            (CheckState::False, Reason::ObjectChanged)
        );
        for part in [
            "registry population: custody entry 7",
            "Lost: these copies cannot be restored whole. Stands: copy 41",
            "40 (objects are changed), 39 (objects cannot be read)",
            "copy 41, taken at",
        ] {
            assert!(check.message.contains(part), "{part}: {}", check.message);
        }
        let many: Vec<_> = (1..=30).map(|number| (number, CopyFault::Missing)).collect();
        let check = judged(&view(Some(proof(None, &many))), true, Some(41), 0).check;
        assert_eq!(check.reason, Reason::ObjectMissing);
        assert!(
            check
                .message
                .contains("and 22 older ones. Lost: these copies cannot be restored whole. Stands: no copy is known to be whole"),
            "{}",
            check.message
        );
    }
}
