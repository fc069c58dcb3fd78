//! Each fault that a store, a gate or a database can have, at seeded places, against each thing that we do with them. What is shown is
//! always the same: it ends, and says why; nothing that was committed is lost; nothing is called whole that is not; and once the fault is
//! gone, the next try succeeds.
//!
//! A failure prints its seed; `DATAEMBASSY_FAULT_SEED` throws the same again.

mod clock;
mod custodian;
mod database;
mod full;
mod harm;
mod kills;
mod mirror;
mod nonsense;
mod outage;
mod restore;
mod retention;
mod source;

use std::fmt::Debug;
use std::time::Instant;

use dataembassy_testkit::fault_proxy::{FaultProxy, Toxic};
use dataembassy_testkit::seed::Dice;
use hyper::Method;

/// The most that a process may be resident with while it is lied to, in KiB.
const MOST_MEMORY: u64 = 192 * 1024;
/// Before how many requests a toxic acts: at first anywhere among those of a run, and where nothing came so far, at once. One that has struck
/// nothing shows nothing.
const PLACES: [u64; 2] = [24, 1];
/// Puts of a small copy: a segment, an inventory, a manifest and the entry.
const PUTS: u64 = 4;
/// How many requests a second nobody sends who waits between two tries, whatever is wrong; and how many a run has in any case.
const MOST_REQUESTS: (f64, f64) = (60.0, 300.0);

/// Poisons a proxy: the toxic acts at a seeded request before the `farthest` of those that `matches` accepts, and at some after it.
fn poison(
    proxy: &FaultProxy,
    toxic: Toxic,
    dice: &mut Dice,
    farthest: u64,
    matches: impl Fn(&Method, &str) -> bool + Send + 'static,
) {
    let fault = toxic.fault(dice);
    let farthest = if toxic.meets(&Method::GET) {
        farthest
    } else {
        farthest.min(PUTS)
    };
    let spared = if toxic.lasts() { 0 } else { dice.below(farthest) };
    let times = if toxic.lasts() {
        u64::MAX
    } else {
        1 + dice.below(3)
    };
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    proxy.inject_later(number(spared), number(times), fault, move |method, target| {
        toxic.meets(method) && matches(method, target)
    });
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

/// Nobody tries again and again without a pause: `asked` requests were sent since `begun`.
fn assert_patient(name: &str, asked: usize, begun: Instant) {
    let (a_second, a_run) = MOST_REQUESTS;
    let (asked, took) = (f64::from(u32::try_from(asked).unwrap()), begun.elapsed());
    assert!(
        asked < a_run + a_second * took.as_secs_f64(),
        "{name}: {asked} requests in {took:?}"
    );
}

/// No process has come to an end that nobody thought of.
fn assert_no_panic(log: &str) {
    for word in ["panicked", "\"reason\":\"InternalError\"", "overflow"] {
        let line = log.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{line:?}");
    }
}
