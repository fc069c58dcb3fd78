//! Each fault that a store, a gate or a database can have, at seeded places, against each thing that we do with them. What is shown is
//! always the same: it ends, and says why; nothing that was committed is lost; nothing is called whole that is not; and once the fault is
//! gone, the next try succeeds.
//!
//! A failure prints its seed; `DATAEMBASSY_FAULT_SEED` throws the same again.

mod clock;
mod custodian;
mod kills;
mod mirror;
mod nonsense;
mod restore;
mod retention;
mod source;

use std::fmt::Debug;

use dataembassy_testkit::fault_proxy::{FaultProxy, Toxic};
use dataembassy_testkit::seed::Dice;
use hyper::Method;

/// The most that a process may be resident with while it is lied to, in KiB.
const MOST_MEMORY: u64 = 192 * 1024;
/// How many requests pass at most before a toxic acts.
const FARTHEST: u64 = 24;

/// Poisons a proxy: the toxic acts at a seeded request among those that `matches` accepts, and at some after it.
fn poison(
    proxy: &FaultProxy,
    toxic: Toxic,
    dice: &mut Dice,
    matches: impl Fn(&Method, &str) -> bool + Send + 'static,
) {
    let fault = toxic.fault(dice);
    let spared = if toxic.lasts() { 0 } else { dice.below(FARTHEST) };
    let times = if toxic.lasts() {
        u64::MAX
    } else {
        1 + dice.below(3)
    };
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    proxy.inject_later(number(spared), number(times), fault, matches);
}

/// Each toxic once a round: with its name, and with dice of its own.
fn each<T: Copy + Debug>(
    dice: &Dice,
    rounds: u64,
    toxics: impl IntoIterator<Item = T> + Copy,
) -> impl Iterator<Item = (T, String, Dice)> {
    (0..rounds).flat_map(move |round| {
        toxics.into_iter().map(move |toxic| {
            let name = format!("{toxic:?} {round}");
            let dice = dice.part(&name);
            (toxic, name, dice)
        })
    })
}

/// No process has come to an end that nobody thought of.
fn assert_no_panic(log: &str) {
    for word in ["panicked", "\"reason\":\"InternalError\"", "overflow"] {
        let line = log.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{line:?}");
    }
}
