//! When a mirror runs: five cron fields and a time zone.
//!
//! Both judge by it: the operator refuses what cannot be scheduled, the sidecar runs by it. Everything is a function of the times
//! it is given; no clock is read.
//!
//! Only what every cron understands is taken: `*`, numbers, names of months and weekdays, lists, ranges, steps. Nicknames (`@daily`),
//! `L`, `W`, `#`, `?` and `+` are refused: they mean different things in different schedulers, and a registry that is copied on the
//! wrong day is found out when it is needed.

use std::sync::LazyLock;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::Reason;

/// The most characters of a schedule.
pub const MAX_LENGTH: usize = 128;
/// The most missed slots that are counted; more are said to be this many.
pub const MISSED_LIMIT: u32 = 10_000;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The zones that are compiled in: each is read once, and not whenever somebody looks at a schedule.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A checked schedule, which has a next slot whatever the time is.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Slots that passed without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many, at most [`MISSED_LIMIT`].
    pub count: u32,
    /// The latest of them: the one that a catch-up run answers.
    pub latest: Timestamp,
}

/// Why a schedule cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Not five fields.
    #[error(
        "schedule.cron '{text}' has {fields} fields: it must have five, minute hour day month weekday, such as */15 * * * * (there \
         are no seconds)"
    )]
    FieldCount {
        /// What was given.
        text: String,
        /// How many fields it has.
        fields: usize,
    },
    /// A notation that schedulers disagree on.
    #[error(
        "schedule.cron '{text}' uses {what}, which is not supported: write the five fields with numbers, lists, ranges and steps only"
    )]
    Extension {
        /// What was given.
        text: String,
        /// The notation.
        what: String,
    },
    /// A number out of bounds, a range the wrong way round, and the like.
    #[error("schedule.cron '{text}' is not valid: {why}")]
    Pattern {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Such as 30 February.
    #[error("schedule.cron '{text}' never happens: no year has such a day, so no copy would ever be made")]
    ImpossibleDate {
        /// What was given.
        text: String,
    },
    /// A zone that is not in the time zone database.
    #[error(
        "schedule.timeZone '{name}' is unknown: use a name of the IANA time zone database, such as Europe/Tallinn or UTC"
    )]
    UnknownTimeZone {
        /// What was given.
        name: String,
    },
}

impl InvalidSchedule {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::ImpossibleDate { .. } => Reason::ImpossibleDate,
            Self::UnknownTimeZone { .. } => Reason::UnknownTimeZone,
            _ => Reason::InvalidSchedule,
        }
    }
}

impl Schedule {
    /// Checks a schedule. Time zones are those compiled in, so operator and sidecar agree whatever their images hold.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, InvalidSchedule> {
        let text: String = cron.chars().take(MAX_LENGTH).collect();
        let zone = ZONES
            .get(time_zone)
            .map_err(|_| InvalidSchedule::UnknownTimeZone {
                name: time_zone.chars().take(64).collect(),
            })?;
        if cron.len() > MAX_LENGTH {
            return Err(InvalidSchedule::Pattern {
                text,
                why: format!("it has more than {MAX_LENGTH} characters"),
            });
        }
        let fields = check_notation(cron)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(cron).map_err(|error| InvalidSchedule::Pattern {
            text: text.clone(),
            why: error.to_string(),
        })?;
        if !fields.every_day_of_week && !fields.every_day_of_month {
            // Cron joins the two day fields by *or*, so a weekday alone makes the date possible.
        } else if never_happens(&cron) {
            return Err(InvalidSchedule::ImpossibleDate { text });
        }
        Ok(Self { cron, zone })
    }

    /// The first slot later than `time`; `None` only at the end of the calendar.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self
            .cron
            .find_next_occurrence(&time.to_zoned(self.zone.clone()), false)
            .ok()?
            .timestamp();
        (next > time).then_some(next)
    }

    /// The last slot at or before `time`.
    #[must_use]
    pub fn latest_until(&self, time: Timestamp) -> Option<Timestamp> {
        let latest = self
            .cron
            .find_previous_occurrence(&time.to_zoned(self.zone.clone()), true)
            .ok()?
            .timestamp();
        (latest <= time).then_some(latest)
    }

    /// The slots later than `after` and not later than `until`; `None` if there was none.
    #[must_use]
    pub fn missed(&self, after: Timestamp, until: Timestamp) -> Option<Missed> {
        let latest = self.latest_until(until).filter(|slot| *slot > after)?;
        let mut count = 0;
        let mut slot = after;
        while count < MISSED_LIMIT {
            match self.next_after(slot) {
                Some(next) if next <= until => slot = next,
                _ => break,
            }
            count += 1;
        }
        Some(Missed {
            count: count.max(1),
            latest,
        })
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.cron.as_str() == other.cron.as_str() && self.zone == other.zone
    }
}

struct Fields {
    every_day_of_month: bool,
    every_day_of_week: bool,
}

/// Lets only the common notation through, before the parser, which knows more of it than we want.
fn check_notation(text: &str) -> Result<Fields, InvalidSchedule> {
    let extension = |what: String| InvalidSchedule::Extension {
        text: text.to_owned(),
        what,
    };
    if text.trim_start().starts_with('@') {
        return Err(extension("a nickname".to_owned()));
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, _, day_of_month, _, day_of_week] = fields[..] else {
        return Err(InvalidSchedule::FieldCount {
            text: text.to_owned(),
            fields: fields.len(),
        });
    };
    for (position, field) in fields.iter().enumerate() {
        let names: &[&str] = match position {
            3 => &MONTHS,
            4 => &WEEKDAYS,
            _ => &[],
        };
        for atom in field.split([',', '-', '/']) {
            let upper = atom.to_ascii_uppercase();
            let number = !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_digit());
            if atom == "*" || number || names.contains(&upper.as_str()) {
                continue;
            }
            if let Some(sign) = upper.chars().find(|sign| "LW#?+".contains(*sign)) {
                return Err(extension(format!("'{sign}'")));
            }
            let why = format!("'{atom}' is neither *, a number nor a name that this field knows");
            return Err(InvalidSchedule::Pattern {
                text: text.to_owned(),
                why,
            });
        }
    }
    Ok(Fields {
        every_day_of_month: day_of_month == "*",
        every_day_of_week: day_of_week == "*",
    })
}

/// Whether no year has a day that the pattern names. Eight years hold every pair of day and month there is, leap day included,
/// save around a century; the search begins where that does not matter.
fn never_happens(cron: &Cron) -> bool {
    let days = cron.pattern.days.values();
    let months = cron.pattern.months.values();
    let longest = |month: u16| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    !months
        .iter()
        .any(|month| days.iter().any(|day| *day <= longest(*month)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule::parse(cron, zone).unwrap()
    }

    #[test]
    fn the_next_slot_is_later_than_the_time_asked_for() {
        let quarter = schedule("*/15 * * * *", "UTC");
        assert_eq!(
            quarter.next_after(time("2026-11-23T10:15:00Z")),
            Some(time("2026-11-23T10:30:00Z"))
        );
        assert_eq!(
            quarter.next_after(time("2026-11-23T10:14:59.999Z")),
            Some(time("2026-11-23T10:15:00Z"))
        );
        assert_eq!(
            quarter.latest_until(time("2026-11-23T10:15:00Z")),
            Some(time("2026-11-23T10:15:00Z"))
        );
        assert_eq!(
            quarter.latest_until(time("2026-11-23T10:14:59.5Z")),
            Some(time("2026-11-23T10:00:00Z"))
        );
    }

    #[test]
    fn a_slot_is_told_by_the_wall_clock_of_its_zone() {
        let night = schedule("30 2 * * *", "Europe/Tallinn");
        assert_eq!(
            night.next_after(time("2026-11-23T12:00:00Z")),
            Some(time("2026-11-24T00:30:00Z"))
        );
        assert_eq!(
            night.next_after(time("2026-07-01T12:00:00Z")),
            Some(time("2026-07-01T23:30:00Z"))
        );
    }

    #[test]
    fn a_daily_slot_comes_once_on_the_days_when_the_clock_changes() {
        let night = schedule("30 3 * * *", "Europe/Tallinn");
        // 29 March 2026: 03:00 becomes 04:00, so 03:30 does not exist; 25 October: 04:00 becomes 03:00, so it exists twice.
        for (from, to) in [
            ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
        ] {
            let missed = night.missed(time(from), time(to)).unwrap();
            assert_eq!(missed.count, 1, "between {from} and {to}");
        }
    }

    #[test]
    fn a_quarter_hourly_slot_goes_on_evenly_through_both_clock_changes() {
        let quarter = schedule("*/15 * * * *", "Europe/Tallinn");
        for from in ["2026-03-28T22:00:00Z", "2026-10-24T22:00:00Z"] {
            let mut slot = time(from);
            for _ in 0..24 {
                let next = quarter.next_after(slot).unwrap();
                assert_eq!(next.as_second() - slot.as_second(), 900, "after {slot}");
                slot = next;
            }
        }
    }

    #[test]
    fn missed_slots_are_counted_and_the_latest_is_caught_up() {
        let hourly = schedule("0 * * * *", "UTC");
        let missed = hourly
            .missed(time("2026-11-23T10:00:00Z"), time("2026-11-23T13:20:00Z"))
            .unwrap();
        assert_eq!(
            missed,
            Missed {
                count: 3,
                latest: time("2026-11-23T13:00:00Z")
            }
        );
        assert_eq!(
            hourly.missed(time("2026-11-23T10:00:00Z"), time("2026-11-23T10:59:59Z")),
            None
        );
    }

    #[test]
    fn counting_missed_slots_ends() {
        let each = schedule("* * * * *", "UTC");
        let missed = each
            .missed(time("2006-01-01T00:00:00Z"), time("2026-01-01T00:00:00Z"))
            .unwrap();
        assert_eq!(
            missed,
            Missed {
                count: MISSED_LIMIT,
                latest: time("2026-01-01T00:00:00Z")
            }
        );
    }

    #[test]
    fn six_fields_are_refused_with_their_number() {
        let error = Schedule::parse("0 */15 * * * *", "UTC").unwrap_err();
        assert_eq!(
            error,
            InvalidSchedule::FieldCount {
                text: "0 */15 * * * *".into(),
                fields: 6
            }
        );
        assert_eq!(error.reason(), Reason::InvalidSchedule);
        assert!(Schedule::parse("* * * *", "UTC").is_err());
        assert!(Schedule::parse("", "UTC").is_err());
    }

    #[test]
    fn notations_that_schedulers_disagree_on_are_refused() {
        for text in [
            "@daily",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 5#2",
            "0 0 ? * *",
            "0 0 1 * +1",
            "0 0 * * FRIL",
        ] {
            assert!(
                matches!(
                    Schedule::parse(text, "UTC"),
                    Err(InvalidSchedule::Extension { .. })
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn names_of_months_and_weekdays_are_taken_where_they_belong() {
        let yearly = schedule("0 4 1 jul *", "UTC");
        assert_eq!(
            yearly.next_after(time("2026-11-23T00:00:00Z")),
            Some(time("2027-07-01T04:00:00Z"))
        );
        let weekly = schedule("0 4 * * MON-FRI", "UTC");
        assert_eq!(
            weekly.next_after(time("2026-11-21T00:00:00Z")),
            Some(time("2026-11-23T04:00:00Z"))
        );
        assert!(Schedule::parse("0 4 JUL * *", "UTC").is_err());
        assert!(Schedule::parse("0 4 * MON *", "UTC").is_err());
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        for text in [
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "1,,2 * * * *",
        ] {
            assert_eq!(
                Schedule::parse(text, "UTC").unwrap_err().reason(),
                Reason::InvalidSchedule,
                "{text}"
            );
        }
    }

    #[test]
    fn a_date_that_no_year_has_is_refused() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 FEB *"] {
            assert_eq!(
                Schedule::parse(text, "UTC").unwrap_err().reason(),
                Reason::ImpossibleDate,
                "{text}"
            );
        }
        let leap = schedule("0 0 29 2 *", "UTC");
        assert_eq!(
            leap.next_after(time("2026-11-23T00:00:00Z")),
            Some(time("2028-02-29T00:00:00Z"))
        );
        // Cron joins day and weekday by or, so every Monday in February answers this one.
        let either = schedule("0 0 30 2 1", "UTC");
        assert_eq!(
            either.next_after(time("2026-11-23T00:00:00Z")),
            Some(time("2027-02-01T00:00:00Z"))
        );
    }

    #[test]
    fn a_time_zone_that_does_not_exist_is_named() {
        let error = Schedule::parse("0 0 * * *", "Europe/Tallin").unwrap_err();
        assert_eq!(error.reason(), Reason::UnknownTimeZone);
        assert!(error.to_string().contains("Europe/Tallin"), "{error}");
    }
}
