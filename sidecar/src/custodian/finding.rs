//! What is wrong with a registry, as the user hears it: which registry and copy, what is lost, what still stands, what to do.

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::Alarm;
use dataembassy_contract::report::MAX_MESSAGE;
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;

/// More copies than this with one fault are told in one alarm.
const MAX_ALIKE: usize = 4;

/// Something that is wrong now. It heals by not being found any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the known faults.
    pub reason: Reason,
    /// The source entry that it is about.
    pub sequence: Option<Sequence>,
    /// What was found.
    pub what: String,
    /// What is lost by it.
    pub lost: Loss,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing yet.
    Nothing,
    /// The copy that the finding is about.
    Copy,
    /// Whatever that object was meant to be.
    Object,
    /// What the ledger held beyond its last entry that is still there.
    Later,
    /// The same of the custody chain.
    Word,
    /// What a drill could not find in the copy.
    Drilled,
    /// How much cannot be said.
    Unknown,
}

impl Loss {
    const fn told(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Copy => "this copy cannot be restored whole",
            Self::Object => "what that object was meant to say",
            Self::Later => "every copy that came later",
            Self::Word => {
                "what the custodian has signed later: proofs, terms, what has expired; no copy by that alone"
            }
            Self::Drilled => {
                "perhaps this copy, and others like it: no object of it need be missing for that; its report says what did not answer"
            }
            Self::Unknown => "perhaps this copy; nobody can say before it was read",
        }
    }
}

/// What still stands, for the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many living copies nothing is known against.
    pub sound: usize,
    /// The newest copy whose bytes were read back and equal the ledger.
    pub intact: Option<(Sequence, Timestamp)>,
    /// The head of the source chain.
    pub head: Option<Sequence>,
}

impl Standing {
    fn told(&self) -> String {
        let entries = match self.head {
            Some(head) => format!("the ledger up to entry {head}, "),
            None => String::new(),
        };
        let copies = match self.sound {
            0 => "no copy".to_owned(),
            1 => "1 copy".to_owned(),
            sound => format!("{sound} copies"),
        };
        match self.intact {
            Some((intact, taken_at)) => {
                format!(
                    "{entries}{copies}; the newest that was read back is copy {intact}, taken {taken_at:.0}"
                )
            }
            None => format!("{entries}{copies}, none of them read back yet"),
        }
    }
}

/// Since when each fault is known, so that an alarm keeps its time while the fault lasts.
#[derive(Clone, Debug, Default)]
pub struct Watchbook {
    since: BTreeMap<(Reason, Option<Sequence>), Timestamp>,
}

impl Watchbook {
    /// Since when a fault is told; `None` while it is not.
    #[must_use]
    pub fn since(&self, reason: Reason, sequence: Option<Sequence>) -> Option<Timestamp> {
        self.since.get(&(reason, sequence)).copied()
    }

    /// Turns findings into alarms, worst first: at most a few of each reason. Returns all counts by reason beside them.
    pub fn alarms(
        &mut self,
        registry: &RegistryId,
        findings: &[Finding],
        standing: &Standing,
        now: Timestamp,
    ) -> (Vec<Alarm>, BTreeMap<Reason, u32>) {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry(finding.reason).or_insert(0_u32) += 1;
        }
        let mut since = BTreeMap::new();
        for finding in findings {
            let key = (finding.reason, finding.sequence);
            since.insert(key, self.since.get(&key).copied().unwrap_or(now));
        }
        self.since = since;
        let mut alarms: Vec<Alarm> = group(findings)
            .into_iter()
            .map(|group| self.alarm(registry, &group, standing, now))
            .collect();
        alarms.sort_by_key(|alarm| (rank(alarm.reason), std::cmp::Reverse(alarm.sequence)));
        (alarms, counts)
    }

    fn alarm(&self, registry: &RegistryId, group: &[&Finding], standing: &Standing, now: Timestamp) -> Alarm {
        let times = group.iter();
        let times = times.filter_map(|one| self.since.get(&(one.reason, one.sequence)));
        let since = times.min().copied().unwrap_or(now);
        let newest = group.iter().max_by_key(|one| one.sequence);
        let Some(first) = newest else {
            return Alarm {
                reason: Reason::Other,
                message: String::new(),
                since,
                sequence: None,
            };
        };
        let about = match (group.len(), first.sequence) {
            (1, None) => String::new(),
            (1, Some(sequence)) => format!(", copy {sequence}"),
            _ => format!(", copies {}", ranges(group)),
        };
        let message = format!(
            "registry {registry}{about}: {}. Lost: {}. Stands: {}. {}",
            first.what,
            first.lost.told(),
            standing.told(),
            first.reason.remedy()
        );
        Alarm {
            reason: first.reason,
            message: message.chars().take(MAX_MESSAGE).collect(),
            since,
            sequence: first.sequence.map(Sequence::get),
        }
    }
}

/// Puts together many findings of one reason, so that a disk that dies does not push everything else out of the report.
fn group(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut by_reason: BTreeMap<Reason, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_reason.entry(finding.reason).or_default().push(finding);
    }
    let mut groups = Vec::new();
    for alike in by_reason.into_values() {
        if alike.len() > MAX_ALIKE {
            groups.push(alike);
        } else {
            groups.extend(alike.into_iter().map(|one| vec![one]));
        }
    }
    groups
}

/// The numbers of a group as ranges, the last few of them.
fn ranges(group: &[&Finding]) -> String {
    const SHOWN: usize = 12;
    let mut numbers: Vec<u64> = group
        .iter()
        .filter_map(|one| one.sequence)
        .map(Sequence::get)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, until)) if *until + 1 == number => *until = number,
            _ => runs.push((number, number)),
        }
    }
    let hidden = runs.len().saturating_sub(SHOWN);
    let told = runs.iter().skip(hidden).map(|(from, until)| match until - from {
        0 => from.to_string(),
        _ => format!("{from} to {until}"),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    match hidden {
        0 => told,
        _ => format!("{told} and earlier ones"),
    }
}

/// What a person should hear of first has the lowest number.
const fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::RolledBack => 0,
        Reason::Forked => 1,
        Reason::ObjectMissing | Reason::ObjectChanged | Reason::ManifestInvalid => 2,
        Reason::ObjectUnreadable | Reason::DrillFailed => 3,
        Reason::LedgerGap | Reason::LedgerUnreadable => 4,
        Reason::ForeignSignature | Reason::ForeignRecipients => 5,
        Reason::SecondVersion => 6,
        Reason::LockMissing => 7,
        Reason::LockTooShort => 8,
        Reason::Unwitnessed => 9,
        Reason::RpoMissed => 10,
        Reason::QuotaExceeded => 11,
        Reason::VerificationOverdue | Reason::DrillOverdue => 12,
        _ => 13,
    }
}

/// The worst of the alarms that are about something.
#[must_use]
pub fn worst(alarms: &[Alarm], is_about: impl Fn(Reason) -> bool) -> Option<&Alarm> {
    alarms.iter().find(|alarm| is_about(alarm.reason))
}

/// Whether a fault is one of the ledger's, and not of a copy's bytes.
#[must_use]
pub const fn is_of_the_ledger(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RolledBack
            | Reason::Forked
            | Reason::LedgerGap
            | Reason::LedgerUnreadable
            | Reason::ForeignSignature
            | Reason::SecondVersion
            | Reason::Unwitnessed
    )
}

/// Whether a fault is one of a copy's bytes.
#[must_use]
pub const fn is_of_the_bytes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ObjectMissing
            | Reason::ObjectChanged
            | Reason::ObjectUnreadable
            | Reason::ManifestInvalid
            | Reason::ForeignRecipients
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> RegistryId {
        "population".parse().unwrap()
    }

    fn sequence(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    fn missing(number: u64) -> Finding {
        Finding {
            reason: Reason::ObjectMissing,
            sequence: Some(sequence(number)),
            what: "1 of 3 objects is not in the store, such as 00000002".into(),
            lost: Loss::Copy,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_alarm_says_which_copy_what_is_lost_what_stands_and_what_to_do() {
        let standing = Standing {
            sound: 4,
            intact: Some((sequence(6), at(0))),
            head: Some(sequence(7)),
        };
        let (alarms, counts) = Watchbook::default().alarms(&registry(), &[missing(7)], &standing, at(9));
        assert_eq!(alarms[0].sequence, Some(7));
        assert_eq!(counts[&Reason::ObjectMissing], 1);
        assert_eq!(
            alarms[0].message,
            "registry population, copy 7: 1 of 3 objects is not in the store, such as 00000002. Lost: this copy cannot be restored whole. \
             Stands: the ledger up to entry 7, 4 copies; the newest that was read back is copy 6, taken 1970-01-01T00:00:00Z. \
             The copy is lost; find out who removed them, and take another one."
        );
    }

    #[test]
    fn an_alarm_keeps_its_time_while_the_fault_lasts_and_goes_with_it() {
        let mut book = Watchbook::default();
        let mut told = |findings: &[Finding], second| {
            book.alarms(&registry(), findings, &Standing::default(), at(second))
                .0
        };
        assert_eq!(told(&[missing(7)], 1)[0].since, at(1));
        assert_eq!(told(&[missing(7)], 2)[0].since, at(1));
        assert!(told(&[], 3).is_empty());
        assert_eq!(told(&[missing(7)], 4)[0].since, at(4));
    }

    #[test]
    fn a_dead_disk_is_one_alarm_and_pushes_nothing_else_out() {
        let mut findings: Vec<Finding> = (1..=500)
            .filter(|number| number % 100 != 0)
            .map(missing)
            .collect();
        findings.push(Finding {
            reason: Reason::RolledBack,
            sequence: None,
            what: "the head is gone".into(),
            lost: Loss::Later,
        });
        let (alarms, counts) =
            Watchbook::default().alarms(&registry(), &findings, &Standing::default(), at(1));
        assert_eq!(alarms.len(), 2);
        assert_eq!(alarms[0].reason, Reason::RolledBack);
        assert!(
            alarms[1]
                .message
                .starts_with("registry population, copies 1 to 99, 101 to 199, 201 to 299"),
            "{}",
            alarms[1].message
        );
        assert_eq!(counts[&Reason::ObjectMissing], 495);
    }
}
