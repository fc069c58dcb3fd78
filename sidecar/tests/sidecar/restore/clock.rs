//! A restore on a machine whose clock is wrong, or is set while it runs.

use std::path::PathBuf;
use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_contract::restore::{Ending, IfNotEmpty, RestoreResult};
use dataembassy_testkit::clock::Calendar;
use dataembassy_testkit::fault_proxy::Fault;

use super::embassy::assert_equal;
use super::job::{Folder, published, run_program_in};
use crate::sealed::target;

const HOUR: i64 = 3_600;
const TEN_YEARS: i64 = 3_653 * 24 * HOUR;

/// Runs the program; its last words.
fn restored(folder: &Folder, calendar: &Calendar) -> RestoreResult {
    let words: PathBuf = folder.place.path().join("last-words");
    let (_, said) = run_program_in(&calendar.environment(), folder, &words);
    RestoreResult::read(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_clock_is_wrong_writes_nothing_and_says_that_it_is_the_clock() {
    let (embassy, database) = published().await;
    let target = target(database.server).await;
    let folder = Folder::new(&embassy, &target, |_| ());
    let calendar = Calendar::new().unwrap();
    for ahead in [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS] {
        calendar.set(ahead).unwrap();
        let result = restored(&folder, &calendar);
        assert_eq!(
            (result.ending, result.reason),
            (Ending::NothingWritten, Reason::ClockSkewed),
            "{}",
            result.message
        );
        assert!(result.message.contains("set the clocks"), "{}", result.message);
    }
    calendar.set(0).unwrap();
    let result = restored(&folder, &calendar);
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_clock_is_set_back_while_it_runs_fails_with_that_and_is_done_by_another() {
    let (embassy, database) = published().await;
    let target = target(database.server).await;
    let endpoint = embassy.bench.proxy.endpoint();
    let folder = Folder::new(&embassy, &target, |config| {
        config.store.endpoint = endpoint;
        config.if_not_empty = IfNotEmpty::Replace;
    });
    let calendar = Arc::new(Calendar::new().unwrap());
    let hand = Arc::clone(&calendar);
    // The manifest passes, and whatever is asked for after it is signed by a wrong clock.
    embassy
        .bench
        .proxy
        .inject(usize::MAX, Fault::Stall, move |_, object| {
            if object.contains("/manifest-") {
                hand.set(-TEN_YEARS).unwrap();
            }
            false
        });
    let result = restored(&folder, &calendar);
    assert_ne!(result.ending, Ending::Restored, "{result:?}");
    assert_eq!(result.reason, Reason::ClockSkewed, "{}", result.message);
    embassy.bench.proxy.heal();
    calendar.set(0).unwrap();
    let result = restored(&folder, &calendar);
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}
