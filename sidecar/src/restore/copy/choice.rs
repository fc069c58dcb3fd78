//! Which copy is wanted, and how it is found: by the ledger's own words on what is void, expired or drilled.

use std::str::FromStr;

use dataembassy_ledger::{
    RegistryId, Timestamp,
    entry::{SourceBody, VerifiedEntry},
    value::Sequence,
};

use super::{FindError, way_back::WayBack};
use crate::store::{Ledger, Store};

/// Which copy is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The newest one.
    Latest,
    /// The newest one whose latest drill it passed.
    LatestDrilled,
    /// The one of this entry.
    Sequence(Sequence),
    /// The newest one that was taken at this moment or before.
    AtOrBefore(Timestamp),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "latest" => Ok(Self::Latest),
            None if text == "latest-drilled" => Ok(Self::LatestDrilled),
            Some(("sequence", number)) => number
                .parse()
                .ok()
                .and_then(|number| Sequence::new(number).ok())
                .map(Self::Sequence)
                .ok_or_else(|| format!("{number} is no sequence, which is a number from 1")),
            Some(("at-or-before", time)) => time
                .parse::<jiff::Timestamp>()
                .ok()
                .and_then(|time| Timestamp::from_jiff(time).ok())
                .map(Self::AtOrBefore)
                .ok_or_else(|| format!("{time} is no time such as 2026-11-23T12:00:00Z")),
            _ => Err("say latest, latest-drilled, sequence:<number> or at-or-before:<time>".into()),
        }
    }
}

/// Walks back from the head, from each entry to the one that it names, until the wanted copy is found.
pub(super) async fn find(
    store: &Store,
    ledger: &Ledger,
    registry: &RegistryId,
    choice: Choice,
) -> Result<VerifiedEntry<SourceBody>, FindError> {
    let missing = |why: String| FindError::NoSuchCopy {
        registry: registry.clone(),
        why,
    };
    if let (Choice::Latest | Choice::LatestDrilled | Choice::AtOrBefore(_), Some(taken)) =
        (choice, &ledger.custody_at_next)
    {
        return Err(FindError::StandingUnknown(taken.clone()));
    }
    let end_unknown = || ledger.at_next.clone().map(FindError::EndUnknown);
    if let (Choice::Latest | Choice::AtOrBefore(_), Some(error)) = (choice, end_unknown()) {
        return Err(error);
    }
    let head = ledger.head.as_ref().map(|head| head.entry.clone());
    let mut entry =
        head.ok_or_else(|| end_unknown().unwrap_or_else(|| missing("its ledger is empty".into())))?;
    // Sorted out here, what is left to look for on the way back is a place or a time.
    let drilled = ledger.view.latest_drilled().map(|drill| drill.source_sequence);
    let choice = match (choice, drilled) {
        (Choice::LatestDrilled, Some(sequence)) => Choice::Sequence(sequence),
        (Choice::LatestDrilled, None) => {
            let words = "no copy that is still kept passed its latest drill; drill one, or choose another";
            return Err(missing(words.into()));
        }
        (choice, _) => choice,
    };
    let lowest = match choice {
        Choice::Sequence(wanted) => wanted,
        _ => Sequence::FIRST,
    };
    let mut way = WayBack::new(store, ledger, registry, lowest);
    loop {
        let sequence = entry.entry.header.sequence;
        let SourceBody::Copy(copy) = &entry.entry.body;
        let is_void = ledger.view.is_void(copy.copy_id);
        let is_gone = is_void || ledger.view.is_expired(sequence);
        match choice {
            Choice::Sequence(wanted) if wanted == sequence && is_void => {
                return Err(missing(format!(
                    "the custodian has declared copy {sequence} void"
                )));
            }
            Choice::Sequence(wanted) if wanted > sequence => {
                let none = || missing(format!("the newest is {sequence}"));
                return Err(end_unknown().unwrap_or_else(none));
            }
            Choice::Sequence(wanted) if wanted == sequence => return Ok(entry),
            // Who names an expired copy may find it still there; nobody else is led to one.
            Choice::Latest if !is_gone => return Ok(entry),
            Choice::AtOrBefore(time) if !is_gone && copy.taken_at <= time => return Ok(entry),
            _ => {}
        }
        let before = sequence
            .get()
            .checked_sub(1)
            .and_then(|number| Sequence::new(number).ok());
        let before = before
            .ok_or_else(|| missing("the oldest one was taken later, is void, or has expired".into()))?;
        entry = way.entry(before, entry.entry.header.prev).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_chosen_by_place_or_time() {
        assert_eq!("latest".parse(), Ok(Choice::Latest));
        assert_eq!("latest-drilled".parse(), Ok(Choice::LatestDrilled));
        assert_eq!(
            "sequence:12".parse(),
            Ok(Choice::Sequence(Sequence::new(12).unwrap()))
        );
        assert!(matches!(
            "at-or-before:2026-11-23T12:00:00+02:00".parse(),
            Ok(Choice::AtOrBefore(time)) if time.to_string() == "2026-11-23T10:00:00.000Z"
        ));
        for wrong in ["", "newest", "sequence:0", "sequence:x", "at-or-before:yesterday"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong} was taken");
        }
    }
}
