//! Days, weeks, months and years, all of them in UTC: a plan must not depend on where it is made.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A span of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day,
    /// A week from Monday on, as ISO 8601 counts them.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// Every one of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Year];

    /// The one that a moment falls into.
    #[must_use]
    pub fn of(self, time: Timestamp) -> Bucket {
        let date = TimeZone::UTC.to_datetime(time).date();
        let (year, number) = match self {
            Self::Day => (date.year(), date.day_of_year()),
            Self::Week => {
                let week = date.iso_week_date();
                (week.year(), i16::from(week.week()))
            }
            Self::Month => (date.year(), i16::from(date.month())),
            Self::Year => (date.year(), 0),
        };
        Bucket {
            period: self,
            year,
            number,
        }
    }
}

/// One day, week, month or year. Those of one period are ordered as they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    period: Period,
    year: i16,
    /// The day of the year, the week, or the month, each from 1 on; 0 for a year.
    number: i16,
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, number) = (self.year, self.number);
        match self.period {
            Period::Day => match jiff::civil::Date::new(year, 1, 1)
                .and_then(|first| first.with().day_of_year(number).build())
            {
                Ok(date) => write!(formatter, "day {date}"),
                Err(_) => write!(formatter, "day {number} of {year}"),
            },
            Period::Week => write!(formatter, "week {year:04}-W{number:02}"),
            Period::Month => write!(formatter, "month {year:04}-{number:02}"),
            Period::Year => write!(formatter, "year {year:04}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(period: Period, time: &str) -> String {
        period.of(time.parse().unwrap()).to_string()
    }

    #[test]
    fn periods_are_those_of_utc() {
        assert_eq!(of(Period::Day, "2026-11-23T23:59:59.999Z"), "day 2026-11-23");
        assert_eq!(of(Period::Day, "2026-11-24T01:30:00+02:00"), "day 2026-11-23");
        assert_eq!(of(Period::Month, "2026-12-01T00:30:00+01:00"), "month 2026-11");
        assert_eq!(of(Period::Year, "2026-12-31T23:59:59Z"), "year 2026");
    }

    #[test]
    fn weeks_begin_on_monday_and_belong_to_the_year_that_has_their_thursday() {
        assert_eq!(of(Period::Week, "2026-11-22T12:00:00Z"), "week 2026-W47");
        assert_eq!(of(Period::Week, "2026-11-23T00:00:00Z"), "week 2026-W48");
        assert_eq!(of(Period::Week, "2027-01-01T12:00:00Z"), "week 2026-W53");
        assert_eq!(of(Period::Week, "2024-12-30T00:00:00Z"), "week 2025-W01");
    }

    #[test]
    fn they_are_ordered_as_they_follow_each_other() {
        let times: Vec<Timestamp> = [
            "2025-12-31T23:00:00Z",
            "2026-01-01T01:00:00Z",
            "2026-02-28T00:00:00Z",
            "2026-03-01T00:00:00Z",
        ]
        .iter()
        .map(|time| time.parse().unwrap())
        .collect();
        for period in Period::ALL {
            let buckets: Vec<Bucket> = times.iter().map(|time| period.of(*time)).collect();
            assert!(buckets.is_sorted(), "{buckets:?}");
        }
    }
}
