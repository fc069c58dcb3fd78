//! Custody entries about copies: what they may say, and what is refused.

use dataembassy_ledger::entry::{
    BrokenCopy, CopyFault, CustodyBody, Entry, EntryRef, ExpiryBody, Header, IntactCopy, MAX_BROKEN,
    MAX_EXPIRED, MAX_OBJECT_BYTES, MAX_STANDING, MAX_STANDING_COPIES, MAX_STANDING_DRILLS,
    MAX_STANDING_RANGES, MAX_STANDING_REPORTS, MAX_VERIFIED, MAX_VOID, OpeningKind, PinBody, ProofBody,
    SequenceRange, Standing, StandingDrill, StandingOpening, StandingReport, VerificationProgress,
    VerifiedRange, VoidBody, WriteError,
};
use dataembassy_ledger::{CopyId, Sequence, Sha256Digest, Term};

use crate::sample::{self, at, custodian_key, embassy_key, genesis, sequence, term};

/// The most that a number of each kind can be.
const LAST: u64 = Sequence::LAST.get();

fn reference(number: u64) -> EntryRef {
    EntryRef {
        sequence: sequence(number),
        digest: Sha256Digest::of(&number.to_be_bytes()),
    }
}

fn opening(entry: u64, next_term: u64, head: Option<u64>) -> StandingOpening {
    StandingOpening {
        entry: reference(entry),
        kind: if next_term.is_multiple_of(2) {
            OpeningKind::Activation
        } else {
            OpeningKind::Release
        },
        source_head: head.map(reference),
        next_term: term(next_term),
        signer: embassy_key().public_key(),
        order: None,
    }
}

fn range(from: u64, until: u64) -> SequenceRange {
    SequenceRange {
        from: sequence(from),
        until: sequence(until),
    }
}

fn verified(from: u64, until: u64) -> VerifiedRange {
    VerifiedRange {
        from: sequence(from),
        until: sequence(until),
        at: at(1),
    }
}

fn broken(number: u64, fault: CopyFault) -> BrokenCopy {
    BrokenCopy {
        sequence: sequence(number),
        fault,
    }
}

fn drill(entry: u64, copy: u64, order: &str, passed: bool) -> StandingDrill {
    StandingDrill {
        entry: sequence(entry),
        source_sequence: sequence(copy),
        order: order.parse().unwrap(),
        passed,
        at: at(5),
    }
}

/// A proof that uses every field, to stand at place 10 in term 3.
pub(crate) fn whole_proof() -> ProofBody {
    ProofBody {
        source_head: reference(40),
        verified: vec![verified(1, 4), verified(6, 39)],
        intact: Some(IntactCopy {
            sequence: sequence(39),
            digest: reference(39).digest,
            at: at(3),
        }),
        broken: vec![
            broken(5, CopyFault::Missing),
            broken(7, CopyFault::Changed),
            broken(8, CopyFault::Unreadable),
            broken(9, CopyFault::Manifest),
            broken(10, CopyFault::Recipients),
        ],
        progress: Some(VerificationProgress {
            sequence: sequence(40),
            segments: 17,
            since: at(4),
        }),
        standing: Some(Standing {
            openings: vec![opening(4, 2, None), opening(7, 3, Some(20))],
            void: vec![CopyId::from_bytes([9; 16]), CopyId::from_bytes([2; 16])],
            expired: vec![range(1, 1), range(3, 12)],
            pins: vec![sequence(2), sequence(30)],
            drills: vec![drill(5, 13, "nightly-1", false), drill(9, 39, "nightly-2", true)],
            reports: Vec::new(),
        }),
    }
}

/// A proof whose standing tells of reports too.
pub(crate) fn proof_of_reports() -> ProofBody {
    let mut proof = whole_proof();
    if let Some(standing) = &mut proof.standing {
        standing.reports = vec![
            report(6, "home-lost-5d11169e-report"),
            report(8, "back-0a1b2c3d-report"),
        ];
    }
    proof
}

fn report(entry: u64, order: &str) -> StandingReport {
    StandingReport {
        entry: sequence(entry),
        order: order.parse().unwrap(),
    }
}

pub(crate) fn proof_header() -> Header {
    sample::header(10, 3, genesis())
}

fn sign(header: Header, body: CustodyBody) -> Result<Vec<u8>, WriteError> {
    Entry { header, body }
        .sign(&custodian_key())
        .map(|object| object.bytes)
}

/// The rule that a body breaks, as its writer is told.
fn broken_rule(header: Header, body: CustodyBody) -> &'static str {
    match sign(header, body) {
        Err(WriteError::BrokenRule(rule)) => rule,
        other => panic!("must be refused by a rule: {other:?}"),
    }
}

#[test]
fn a_proof_with_everything_reads_back_as_written() {
    let entry = Entry {
        header: proof_header(),
        body: CustodyBody::Proof(whole_proof()),
    };
    let object = entry.sign(&custodian_key()).unwrap();
    let read = Entry::<CustodyBody>::verify(&object.bytes).unwrap();
    assert_eq!(read.entry, entry);
}

/// A standing with as much as fits: few openings, every drill and many ranges, or many openings and what drills there is room for.
fn fullest(openings: usize) -> Standing {
    let base = LAST - 100_000;
    let copies = (0..MAX_STANDING_COPIES).map(|number| {
        let mut id = [0xff; 16];
        id[0] = u8::try_from(number).unwrap();
        CopyId::from_bytes(id)
    });
    let openings = (0..openings as u64).map(|number| opening(base + number, 2 + number, Some(base)));
    let mut standing = Standing {
        openings: openings.collect(),
        void: copies.collect(),
        expired: Vec::new(),
        pins: spread(MAX_STANDING, base).map(sequence).collect(),
        drills: Vec::new(),
        reports: Vec::new(),
    };
    let order = "o".repeat(63);
    standing.reports = (0..MAX_STANDING_REPORTS as u64)
        .map(|number| report(base + number, &order))
        .collect();
    assert!(standing.fits());
    for number in 0..MAX_STANDING_DRILLS as u64 {
        standing.drills.push(drill(base + number, base, &order, false));
        if !standing.fits() {
            standing.drills.pop();
            break;
        }
    }
    for from in spread(MAX_STANDING_RANGES, base) {
        standing.expired.push(range(from, from + 1));
        if !standing.fits() {
            standing.expired.pop();
            break;
        }
    }
    standing
}

fn spread(count: usize, from: u64) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |number| from + 3 * number)
}

#[test]
fn the_fullest_proof_is_within_the_size_of_an_entry() {
    let base = LAST - 100_000;
    for openings in [2, MAX_STANDING] {
        let proof = ProofBody {
            source_head: reference(LAST),
            verified: spread(MAX_VERIFIED, base)
                .map(|from| verified(from, from + 1))
                .collect(),
            intact: Some(IntactCopy {
                sequence: sequence(LAST),
                digest: genesis(),
                at: at(1),
            }),
            broken: spread(MAX_BROKEN, base)
                .map(|number| broken(number, CopyFault::Unreadable))
                .collect(),
            progress: Some(VerificationProgress {
                sequence: sequence(LAST),
                segments: 99_999_999,
                since: at(1),
            }),
            standing: Some(fullest(openings)),
        };
        let drills = proof.standing.as_ref().map(|standing| standing.drills.len());
        assert!(openings > 2 || drills == Some(MAX_STANDING_DRILLS));
        assert!(drills > Some(16));
        let mut header = sample::header(1, 1 + openings as u64, genesis());
        header.sequence = Sequence::LAST;
        header.registry = "r".repeat(40).parse().unwrap();
        let bytes = sign(header, CustodyBody::Proof(proof)).unwrap();
        assert!(bytes.len() <= MAX_OBJECT_BYTES);
        assert!(Entry::<CustodyBody>::verify(&bytes).is_ok());
    }
}

#[test]
fn a_registry_that_keeps_a_thousand_copies_apart_still_has_a_standing() {
    // Numbers of six digits: at four copies an hour those of the first 28 years.
    let expired = spread(MAX_STANDING_RANGES, 990_000).map(|from| range(from, from + 1));
    let standing = Standing {
        expired: expired.collect(),
        openings: (0..4)
            .map(|number| opening(1 + number, 2 + number, Some(1)))
            .collect(),
        ..Standing::default()
    };
    assert!(standing.fits());
    let more = Standing {
        expired: spread(MAX_STANDING_RANGES + 1, 1)
            .map(|from| range(from, from))
            .collect(),
        ..Standing::default()
    };
    assert!(!more.fits());
}

#[test]
fn a_proof_beyond_its_bounds_is_not_written() {
    type Change = fn(&mut ProofBody);
    let cases: [(Change, &str); 11] = [
        (
            |proof| proof.verified = (1..=65).map(|n| verified(n % 39 + 1, n % 39 + 1)).collect(),
            "at most 64 members",
        ),
        (
            |proof| {
                proof.broken = (1..=65)
                    .map(|number| broken(number, CopyFault::Missing))
                    .collect();
            },
            "at most 64 members",
        ),
        (
            |proof| proof.verified = vec![verified(4, 3)],
            "end before it begins",
        ),
        (
            |proof| proof.verified = vec![verified(1, 4), verified(4, 5)],
            "not overlap",
        ),
        (
            |proof| proof.verified = vec![verified(6, 7), verified(1, 4)],
            "ascend",
        ),
        (|proof| proof.broken.swap(0, 1), "broken must ascend"),
        (
            |proof| proof.broken[1] = broken(5, CopyFault::Changed),
            "broken must ascend",
        ),
        (
            |proof| proof.verified = vec![verified(1, 41)],
            "beyond its sourceHead",
        ),
        (
            |proof| proof.broken = vec![broken(41, CopyFault::Missing)],
            "beyond its sourceHead",
        ),
        (
            |proof| proof.broken = vec![broken(39, CopyFault::Missing)],
            "among the broken",
        ),
        (
            |proof| {
                if let Some(progress) = &mut proof.progress {
                    progress.segments = 100_000_000;
                }
            },
            "99999999",
        ),
    ];
    for (change, rule) in cases {
        let mut proof = whole_proof();
        change(&mut proof);
        let told = broken_rule(proof_header(), CustodyBody::Proof(proof));
        assert!(told.contains(rule), "{rule}: {told}");
    }
    for beyond in [
        ProofBody {
            intact: Some(IntactCopy {
                sequence: sequence(41),
                digest: genesis(),
                at: at(1),
            }),
            ..whole_proof()
        },
        ProofBody {
            progress: Some(VerificationProgress {
                sequence: sequence(41),
                segments: 0,
                since: at(1),
            }),
            ..whole_proof()
        },
    ] {
        let told = broken_rule(proof_header(), CustodyBody::Proof(beyond));
        assert!(told.contains("beyond its sourceHead"), "{told}");
    }
}

#[test]
fn a_standing_that_could_mislead_a_late_reader_is_not_written() {
    type Change = fn(&mut Standing);
    let cases: [(Change, &str); 21] = [
        (
            |standing| standing.drills[0].entry = sequence(9),
            "drills must ascend",
        ),
        (
            |standing| standing.drills[1].entry = sequence(10),
            "drills must be entries before the proof",
        ),
        (
            |standing| standing.reports = vec![report(6, "a-report"), report(6, "b-report")],
            "reports must ascend",
        ),
        (
            |standing| standing.reports = vec![report(6, "a-report"), report(10, "b-report")],
            "reports must be entries before the proof",
        ),
        (
            |standing| standing.reports = (1..=17).map(|number| report(number, "a-report")).collect(),
            "more members",
        ),
        (
            |standing| {
                standing.drills = (1..=129)
                    .map(|number| drill(number, 1, "nightly", true))
                    .collect();
            },
            "more members",
        ),
        (
            |standing| {
                standing.openings.pop();
            },
            "proof's own term",
        ),
        (|standing| standing.openings.clear(), "proof's own term"),
        (
            |standing| {
                standing.openings.remove(0);
            },
            "each term from the second on",
        ),
        (
            |standing| standing.openings.swap(0, 1),
            "each term from the second on",
        ),
        (
            |standing| standing.openings.push(opening(8, 4, Some(20))),
            "proof's own term",
        ),
        (
            |standing| standing.openings[1].entry = reference(4),
            "ascend by their entries",
        ),
        (
            |standing| standing.openings[1].entry = reference(10),
            "before the proof",
        ),
        (
            |standing| standing.openings = vec![opening(4, 2, Some(21)), opening(7, 3, Some(20))],
            "not go back",
        ),
        (
            |standing| standing.void.push(CopyId::from_bytes([9; 16])),
            "not name a copy twice",
        ),
        (
            |standing| {
                standing.void = (0..=u8::MAX).map(|mark| CopyId::from_bytes([mark; 16])).collect();
                standing.void.push(CopyId::from_bytes(*b"0123456789abcdef"));
            },
            "more members",
        ),
        (
            |standing| standing.expired = vec![range(1, 2), range(3, 3)],
            "not touch",
        ),
        (|standing| standing.expired = vec![range(2, 1)], "not touch"),
        (
            |standing| standing.pins = vec![sequence(2), sequence(2)],
            "pins must ascend",
        ),
        (
            |standing| standing.pins = (1..=65).map(sequence).collect(),
            "more members",
        ),
        (
            |standing| standing.expired = spread(1_025, 1).map(|from| range(from, from)).collect(),
            "more members",
        ),
    ];
    for (change, rule) in cases {
        let mut proof = whole_proof();
        change(proof.standing.as_mut().unwrap());
        let told = broken_rule(proof_header(), CustodyBody::Proof(proof));
        assert!(told.contains(rule), "{rule}: {told}");
    }
}

#[test]
fn an_empty_standing_belongs_to_the_first_term() {
    // Nothing was opened, voided, expired or pinned.
    let empty = || {
        CustodyBody::Proof(ProofBody {
            standing: Some(Standing::default()),
            ..ProofBody::new(reference(1))
        })
    };
    assert!(sign(sample::header(2, 1, genesis()), empty()).is_ok());
    assert!(broken_rule(sample::header(2, 2, genesis()), empty()).contains("own term"));
    assert_eq!(Term::FIRST, term(1));
}

#[test]
fn expiry_and_void_name_one_to_256_copies_in_order() {
    let header = || sample::header(1, 1, genesis());
    let expiry = |copies| CustodyBody::Expiry(ExpiryBody { copies });
    let expired = |count: u64| {
        let mut copies = Vec::new();
        for number in 1..=count {
            copies.push(dataembassy_ledger::entry::ExpiredCopy {
                sequence: sequence(number),
                copy_id: CopyId::from_bytes([1; 16]),
            });
        }
        copies
    };
    assert!(sign(header(), expiry(expired(MAX_EXPIRED as u64))).is_ok());
    assert!(broken_rule(header(), expiry(expired(MAX_EXPIRED as u64 + 1))).contains("1 to 256"));
    assert!(broken_rule(header(), expiry(Vec::new())).contains("1 to 256"));
    let twice = vec![sample::expired(2), sample::expired(2)];
    assert!(broken_rule(header(), expiry(twice)).contains("ascend"));

    let all: Vec<u8> = (0..=u8::MAX).collect();
    assert_eq!(all.len(), MAX_VOID);
    assert!(sign(header(), sample::void(&all)).is_ok());
    assert!(broken_rule(header(), sample::void(&[])).contains("1 to 256"));
    assert!(broken_rule(header(), sample::void(&[3, 2])).contains("ascend"));
    assert!(broken_rule(header(), sample::void(&[3, 3])).contains("ascend"));
    let mut copies: Vec<CopyId> = all.iter().map(|mark| CopyId::from_bytes([*mark; 16])).collect();
    copies.push(CopyId::from_bytes([255; 16]));
    let many = CustodyBody::Void(VoidBody { copies, order: None });
    assert!(broken_rule(header(), many).contains("1 to 256"));
}

#[test]
fn a_pin_says_why_in_one_line_or_says_nothing() {
    let pin = |reason: &str| {
        CustodyBody::Pin(PinBody {
            source_sequence: sequence(1),
            pinned: true,
            reason: Some(reason.to_owned()),
        })
    };
    let header = || sample::header(1, 1, genesis());
    assert!(sign(header(), pin(&"ü".repeat(253))).is_ok());
    for reason in ["", "a\nb", "\u{7}", &"x".repeat(254)] {
        assert!(
            broken_rule(header(), pin(reason)).contains("253 characters"),
            "{reason:?}"
        );
    }
}
