//! The whole operator while somebody sets the clock of its machine.

use std::process::Command;
use std::time::Instant;

use dataembassy_testkit::clock::{Calendar, set_own};
use jiff::{SignedDuration, Timestamp};

use crate::api_server::{ApiServer, WRITTEN, beside};

const HOUR: i64 = 3_600;
/// Over two leap days.
const TEN_YEARS: i64 = 3_653 * 24 * HOUR;
/// How far ahead the clock is set, in seconds, one after the other.
const CLOCKS: [i64; 5] = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0];
/// In the environment of the same test as a process of its own, which goes by a calendar: the clock of a process is chosen when it begins.
const BY_A_CALENDAR: &str = "DATAEMBASSY_BY_A_CALENDAR";

#[tokio::test]
async fn an_operator_whose_clock_is_set_keeps_its_lease_and_is_in_no_hurry() {
    if std::env::var_os(BY_A_CALENDAR).is_some() {
        return while_the_clock_is_set().await;
    }
    let calendar = Calendar::new().unwrap();
    let name = concat!(
        module_path!(),
        "::an_operator_whose_clock_is_set_keeps_its_lease_and_is_in_no_hurry"
    );
    // The harness leaves out the program's own name.
    let (_, name) = name.split_once("::").unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .envs(calendar.environment())
        .env(BY_A_CALENDAR, "1")
        .output()
        .unwrap();
    let (said, told) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}\n{told}"
    );
}

async fn while_the_clock_is_set() {
    beside(ApiServer::new, async |server| {
        set_own(0).unwrap();
        server.is_settled().await;
        let (lists, watches) = (server.asked("list "), server.asked("watch "));
        let written = server.count(WRITTEN);
        let (began, at_first) = (Instant::now(), Timestamp::now());
        for ahead in CLOCKS {
            set_own(ahead).unwrap();
            let passed = SignedDuration::try_from(began.elapsed()).unwrap();
            let off = Timestamp::now().duration_since(at_first) - passed;
            assert!(
                (off.as_secs() - ahead).abs() < 5,
                "the clock is off by {off:#} and not by {ahead} s"
            );
            // Of two operators none would go on where the other's clock was set: it holds the lease by the clock that nobody sets.
            server.renewals(1).await;
        }
        assert_eq!(server.asked("list "), lists);
        assert_eq!(server.asked("watch "), watches);
        let more = server.count(WRITTEN) - written;
        assert!(
            more <= CLOCKS.len(),
            "{more} writes, where each clock may correct what the one before has dated"
        );
    })
    .await;
}
