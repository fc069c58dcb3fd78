//! The values that people write into resources: whatever is taken is shown as something that is taken, and means the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dataembassy_contract::{Duration, Endpoint, Quantity, Schedule, Sovereignty, recipient};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    same::<Duration>(text);
    same::<Quantity>(text);
    if let Ok(endpoint) = Endpoint::parse(text, true) {
        let shown = Endpoint::parse(endpoint.as_str(), true).expect("an endpoint is one");
        assert_eq!((shown.as_str(), shown.port()), (endpoint.as_str(), endpoint.port()));
        assert!(!endpoint.as_str().contains('@'), "it carries a name or a password");
        assert!(endpoint.is_secure() || Endpoint::parse(text, false).is_err());
    }
    if recipient::check(text).is_ok() {
        assert!(text.starts_with("age1") && text.is_ascii());
    }
    let lines: Vec<&str> = text.lines().collect();
    // Whether hosts are names that may be dialled is judged for each one, so any number of them may be given.
    let _judged = Sovereignty::parse(&lines, &lines);
    let (cron, zone) = text.split_once('\n').unwrap_or((text, "Europe/Tallinn"));
    if let Ok(schedule) = Schedule::parse(cron, zone) {
        let time = Timestamp::UNIX_EPOCH;
        if let Some(next) = schedule.next_after(time) {
            assert!(next > time);
            assert_eq!(schedule.latest_until(next), Some(next));
        }
    }
});

fn same<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().expect("what is shown is taken"), value);
    }
}
