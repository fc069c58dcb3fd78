//! Whether the store has room for what schedule, lock and retention will bring. No I/O; the time is an argument.
//!
//! For each registry, the bytes that came a day of late are expected to go on coming. A copy takes room for as long as it is kept by its age
//! and, after that, until the lock it was last given has ended. What retention keeps beyond that age is one copy of the usual size for each
//! day, week, month and year. What is there now goes in the same time as what comes; where retention is only shown, nothing goes. The sum over all registries is looked at day by day for
//! ten years.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{RetentionConfig, SpaceReport};
use dataembassy_contract::report::{Check, CheckState};
use jiff::{SignedDuration, Timestamp};

use super::registry::judgement::check;

/// What of the past is taken for the rate of late.
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far ahead is looked.
const HORIZON_DAYS: u32 = 3_650;
const DAY: f64 = 86_400.0;

/// What one registry has and gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Bytes of all its versions.
    pub used_bytes: u64,
    /// Bytes that came a day, of late; 0 while fewer than two copies say so.
    pub bytes_per_day: f64,
    /// The usual size of a copy.
    pub copy_bytes: f64,
    /// Days that a copy takes room although retention keeps it by nothing but its age.
    pub days: f64,
    /// Days, weeks, months and years of which one copy is kept beyond that.
    pub kept: Kept,
}

/// Of how many days, weeks, months and years one copy is kept, and from which age on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    within_days: f64,
    daily: f64,
    weekly: f64,
    monthly: f64,
    yearly: f64,
}

impl Flow {
    /// Takes the arrivals of living copies (when each came, and its bytes) and the rules that they are kept by.
    #[must_use]
    pub fn new(
        arrivals: &[(Timestamp, u64)],
        used_bytes: u64,
        retention: &RetentionConfig,
        lock: Duration,
        now: Timestamp,
    ) -> Self {
        let since = now.checked_sub(LATELY).unwrap_or(now);
        let mut late: Vec<(Timestamp, u64)> =
            arrivals.iter().filter(|(at, _)| *at >= since).copied().collect();
        late.sort_unstable();
        let within_days = retention.keep_within.as_std().as_secs_f64() / DAY;
        Self {
            used_bytes,
            bytes_per_day: rate(&late),
            copy_bytes: mean(if late.is_empty() { arrivals } else { &late }),
            days: if retention.dry_run {
                HORIZON_DAYS.into()
            } else {
                within_days + lock.as_secs_f64() / DAY
            },
            kept: Kept {
                within_days,
                daily: retention.daily.into(),
                weekly: retention.weekly.into(),
                monthly: retention.monthly.into(),
                yearly: retention.yearly.into(),
            },
        }
    }

    /// The bytes that it will have so many days from now.
    #[must_use]
    pub fn bytes_after(&self, days: u32) -> f64 {
        let days = f64::from(days);
        let passed = if self.days > 0.0 {
            (days / self.days).min(1.0)
        } else {
            1.0
        };
        #[expect(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
        let left = self.used_bytes as f64 * (1.0 - passed);
        let coming = self.bytes_per_day * days.min(self.days);
        left + coming + self.copy_bytes * self.kept.copies_after(days)
    }
}

impl Kept {
    /// Copies that are kept beyond the age that keeps all, so many days from now.
    fn copies_after(&self, days: f64) -> f64 {
        let of = |count: f64, span: f64| {
            let begins = self.within_days / span;
            (count.min(days / span) - begins).max(0.0)
        };
        of(self.daily, 1.0) + of(self.weekly, 7.0) + of(self.monthly, 30.44) + of(self.yearly, 365.25)
    }
}

/// Bytes a day between the first and the last of some arrivals; the first only marks the beginning.
fn rate(arrivals: &[(Timestamp, u64)]) -> f64 {
    let (Some((first, _)), Some((last, _))) = (arrivals.first(), arrivals.last()) else {
        return 0.0;
    };
    let seconds = last.duration_since(*first).as_secs_f64();
    if seconds <= 0.0 {
        return 0.0;
    }
    sum(&arrivals[1..]) * DAY / seconds
}

fn mean(arrivals: &[(Timestamp, u64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
    let count = arrivals.len().max(1) as f64;
    sum(arrivals) / count
}

fn sum(arrivals: &[(Timestamp, u64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
    let sum = arrivals.iter().map(|(_, bytes)| *bytes as f64).sum();
    sum
}

/// Looks ahead. `known` says whether every registry was counted at least once.
#[must_use]
pub fn forecast(
    flows: &[Flow],
    known: bool,
    capacity: Option<u64>,
    before: &SpaceReport,
    now: Timestamp,
) -> SpaceReport {
    let used = flows
        .iter()
        .map(|flow| flow.used_bytes)
        .fold(0, u64::saturating_add);
    let mut report = SpaceReport {
        sufficient: Check::default(),
        used_bytes: used,
        capacity_bytes: capacity,
        full_at: None,
    };
    let told = |state, reason, message| check(&before.sufficient, state, reason, message, now);
    let Some(capacity) = capacity else {
        report.sufficient = told(CheckState::Unknown, Reason::CapacityUnknown, String::new());
        return report;
    };
    if !known {
        report.sufficient = told(CheckState::Unknown, Reason::NotYetKnown, String::new());
        return report;
    }
    #[expect(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
    let limit = capacity as f64;
    let total = |days: u32| flows.iter().map(|flow| flow.bytes_after(days)).sum::<f64>();
    let full = (0..=HORIZON_DAYS).find(|days| total(*days) > limit);
    let Some(days) = full else {
        report.sufficient = told(CheckState::True, Reason::SpaceForecast, String::new());
        return report;
    };
    let message = format!(
        "{used} of {capacity} bytes are used, and at the rate of late they will not be enough in {days} days; schedule, lock and \
         retention together need {:.0} bytes in a year",
        total(365)
    );
    report.sufficient = told(CheckState::False, Reason::SpaceShort, message);
    let ahead = SignedDuration::from_hours(i64::from(days) * 24);
    report.full_at = now.checked_add(ahead).ok();
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn retention(keep_within: &str) -> RetentionConfig {
        RetentionConfig {
            keep_within: keep_within.parse().unwrap(),
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            minimum: 1,
            dry_run: false,
        }
    }

    /// Ten days of a copy of one GiB each six hours.
    fn flow(retention: &RetentionConfig) -> Flow {
        let arrivals: Vec<_> = (0..40).map(|place| (at(place * 6), GIB)).collect();
        let lock = Duration::from_hours(24);
        Flow::new(&arrivals, 40 * GIB, retention, lock, at(240))
    }

    fn ahead(flow: Flow, capacity: u64) -> SpaceReport {
        forecast(&[flow], true, Some(capacity), &SpaceReport::default(), at(240))
    }

    #[test]
    fn what_comes_a_day_is_measured_between_arrivals() {
        let flow = flow(&retention("10d"));
        let gib_a_day = flow.bytes_per_day / 1_073_741_824.0;
        assert!((gib_a_day - 4.0).abs() < 1e-9, "{gib_a_day}");
        assert!((flow.days - 11.0).abs() < 1e-9);
    }

    #[test]
    fn room_for_what_age_and_lock_keep_is_enough_for_ever() {
        let flow = flow(&retention("10d"));
        let enough = ahead(flow, 45 * GIB);
        assert_eq!(
            (enough.sufficient.state, enough.full_at),
            (CheckState::True, None)
        );
        let short = ahead(flow, 43 * GIB);
        assert_eq!(short.sufficient.reason, Reason::SpaceShort);
    }

    #[test]
    fn a_longer_retention_fills_the_store_on_a_day_that_can_be_told() {
        let short = ahead(flow(&retention("100d")), 100 * GIB);
        assert_eq!(short.sufficient.state, CheckState::False);
        // 40 GiB are there and go within 101 days, 4 come each day: 100 are passed on day 17.
        assert_eq!(short.full_at, Some(at(240 + 17 * 24)));
        assert!(
            short.sufficient.message.contains("in 17 days"),
            "{}",
            short.sufficient.message
        );
    }

    #[test]
    fn copies_of_months_and_years_add_up_beyond_the_age_that_keeps_all() {
        let mut rules = retention("30d");
        rules.monthly = 12;
        rules.yearly = 10;
        let flow = flow(&rules);
        let plain = self::flow(&retention("30d"));
        let more = |days| (flow.bytes_after(days) - plain.bytes_after(days)) / 1_073_741_824.0;
        assert!(more(20) < 1e-9);
        assert!((more(366) - (12.0 - 30.0 / 30.44) - (366.0 / 365.25 - 30.0 / 365.25)).abs() < 0.1);
        assert!(more(3_650) > 20.0 && more(3_650) < 21.5);
    }

    #[test]
    fn where_retention_is_only_shown_nothing_goes() {
        let rules = RetentionConfig {
            dry_run: true,
            ..retention("10d")
        };
        let flow = flow(&rules);
        let gib = |days| flow.bytes_after(days) / 1_073_741_824.0;
        assert!((gib(100) - gib(99) - 4.0).abs() < 0.1, "{}", gib(100) - gib(99));
        assert_eq!(ahead(flow, 400 * GIB).sufficient.reason, Reason::SpaceShort);
    }

    #[test]
    fn without_a_capacity_nothing_is_forecast() {
        let report = forecast(&[], true, None, &SpaceReport::default(), at(0));
        assert_eq!(report.sufficient.reason, Reason::CapacityUnknown);
        let report = forecast(&[], false, Some(1), &SpaceReport::default(), at(0));
        assert_eq!(report.sufficient.reason, Reason::NotYetKnown);
    }
}
