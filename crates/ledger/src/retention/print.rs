//! The plan in words.

use std::fmt;

use super::plan::{Plan, Quality, Why};

impl fmt::Display for Quality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Unread => "unread",
            Self::Broken => "broken",
            Self::Intact => "intact",
            Self::Drilled => "drilled",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => formatter.write_str("pinned"),
            Self::Unread => formatter.write_str("not read back yet"),
            Self::TooFewIntact => formatter.write_str("too few copies are whole"),
            Self::Young => formatter.write_str("young"),
            Self::NewestDrilled => formatter.write_str("among the newest drilled"),
            Self::NewestIntact => formatter.write_str("among the newest intact"),
            Self::LastOfTerm(term) => write!(formatter, "newest of term {term}"),
            Self::Calendar(bucket) => bucket.fmt(formatter),
            Self::ParentOf(child) => write!(formatter, "copy {child} needs it"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.iter().map(|copy| {
            let why: Vec<String> = copy.why.iter().map(ToString::to_string).collect();
            (
                copy.sequence,
                copy.arrived_at,
                copy.quality,
                copy.sealed_bytes,
                why.join(", "),
            )
        });
        let expiring = self.expiring.iter().map(|copy| {
            (
                copy.sequence,
                copy.arrived_at,
                copy.quality,
                copy.sealed_bytes,
                String::new(),
            )
        });
        let mut all: Vec<_> = kept.chain(expiring).collect();
        all.sort_by_key(|(sequence, ..)| std::cmp::Reverse(*sequence));
        for (sequence, arrived_at, quality, bytes, why) in all {
            let verdict = if why.is_empty() { "goes" } else { "stays" };
            write!(
                formatter,
                "{verdict:<5} {sequence:>12} {arrived_at:.0} {quality:<7} {bytes:>16}"
            )?;
            if !why.is_empty() {
                write!(formatter, "  {why}")?;
            }
            writeln!(formatter)?;
        }
        let bytes: u64 = self
            .expiring
            .iter()
            .map(|copy| copy.sealed_bytes)
            .fold(0, u64::saturating_add);
        writeln!(
            formatter,
            "{} stay, {} go with {bytes} sealed bytes",
            self.kept.len(),
            self.expiring.len()
        )
    }
}
