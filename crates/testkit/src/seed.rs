//! Chance that can be had again: one number says all that a test leaves to it, and a test that fails says which number that was.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that holds the seed of a failure that is to be seen again: a decimal number.
pub const VARIABLE: &str = "DATAEMBASSY_FAULT_SEED";

/// A test's dice. Dropped while the test fails, it says how to throw the same once more.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    state: u64,
    what: String,
    tells: bool,
}

impl Dice {
    /// The dice of a test: by the seed of the environment, or by one that nobody has chosen.
    #[must_use]
    pub fn of_the_environment(what: &str) -> Self {
        let given = std::env::var(VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Short enough to be typed.
            u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
        });
        Self::new(seed, what)
    }

    /// The dice of this seed.
    #[must_use]
    pub fn new(seed: u64, what: &str) -> Self {
        Self {
            seed,
            state: seed,
            what: what.to_owned(),
            tells: true,
        }
    }

    /// Dice for a part of the test: what is thrown there does not change what is thrown elsewhere.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let state = name.bytes().fold(self.seed, |state, byte| {
            mix(state.wrapping_add(u64::from(byte)).wrapping_add(STEP))
        });
        Self {
            seed: self.seed,
            state,
            what: String::new(),
            tells: false,
        }
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Throws once: any number.
    pub const fn throw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    /// A place in a list of so many, which is not empty.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// How to see the same again.
    #[must_use]
    pub fn how_to_replay(&self) -> String {
        let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
        let commit = commit.ok().filter(|done| done.status.success());
        let commit = commit.and_then(|done| String::from_utf8(done.stdout).ok());
        let commit = commit.as_deref().map_or("an unknown commit", str::trim);
        format!(
            "{}: to see this again, run the same test at {commit} with {VARIABLE}={}",
            self.what, self.seed
        )
    }
}

impl Drop for Dice {
    #[expect(clippy::print_stderr, reason = "what a failing test says beside its panic")]
    fn drop(&mut self) {
        if self.tells && std::thread::panicking() {
            eprintln!("{}", self.how_to_replay());
        }
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output of `SplitMix64`, which is enough for tests and has no state beyond a number.
const fn mix(state: u64) -> u64 {
    let one = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    two ^ (two >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_parts_do_not_disturb_each_other() {
        let throws = |dice: &mut Dice| (0..9).map(|_| dice.below(1_000)).collect::<Vec<_>>();
        let (mut one, mut other) = (Dice::new(7, "a test"), Dice::new(7, "a test"));
        assert_eq!(throws(&mut one.part("mirror")), throws(&mut other.part("mirror")));
        assert_ne!(throws(&mut one.part("mirror")), throws(&mut one.part("gate")));
        assert_eq!(throws(&mut one), throws(&mut other));
        assert_ne!(
            throws(&mut Dice::new(8, "a test")),
            throws(&mut Dice::new(7, "a test"))
        );
    }

    #[test]
    fn a_failure_is_told_with_its_seed_and_commit() {
        let told = Dice::new(42, "the matrix").how_to_replay();
        assert!(told.starts_with("the matrix: "), "{told}");
        assert!(told.ends_with("DATAEMBASSY_FAULT_SEED=42"), "{told}");
    }
}
