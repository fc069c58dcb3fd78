//! Chance that always falls the same way: a value depends on the seed, the table and the row, and on nothing
//! else (no order, no thread, no server version).

use jiff::{SignedDuration, ToSpan as _, civil::Date};

/// The dice of one row. Each throw moves on to the next.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, table: &str, row: u64) -> Self {
        let table = table.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut dice = Self(seed ^ table);
        dice.0 = dice.throw() ^ row;
        dice.throw();
        dice
    }

    /// A whole throw (splitmix64).
    pub(super) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let bound = from.len() as u64;
        from[usize::try_from(self.below(bound)).unwrap_or(0)]
    }

    /// A day in `[from, from + days)`.
    pub(super) fn day(&mut self, from: Date, days: u64) -> Date {
        day_after(from, self.below(days))
    }

    /// A moment within `days` from the start of `from`, as PostgreSQL reads it, in UTC.
    pub(super) fn moment(&mut self, from: Date, days: u64) -> String {
        let seconds = i64::try_from(self.below(days * 86_400)).unwrap_or(0);
        let micros = i32::try_from(self.below(1_000_000)).unwrap_or(0);
        let moment = from
            .at(0, 0, 0, 0)
            .saturating_add(SignedDuration::new(seconds, micros * 1000));
        format!("{moment}+00")
    }

    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.throw(), self.throw());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// Bytes that do not compress.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.throw().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// The day `days` after `from`.
pub(super) fn day_after(from: Date, days: u64) -> Date {
    from.saturating_add(i64::try_from(days).unwrap_or(0).days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_row_of_the_same_seed_falls_the_same_way() {
        let throws = |seed, table, row| {
            let mut dice = Dice::new(seed, table, row);
            [dice.throw(), dice.throw(), dice.throw()]
        };
        assert_eq!(throws(1, "persons", 7), throws(1, "persons", 7));
        assert_ne!(throws(1, "persons", 7), throws(2, "persons", 7));
        assert_ne!(throws(1, "persons", 7), throws(1, "documents", 7));
        assert_ne!(throws(1, "persons", 7), throws(1, "persons", 8));
    }
}
