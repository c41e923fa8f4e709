//! How long a version is supported: the clocks of a version start when it is superseded.

use chrono::{DateTime, Datelike as _, Months, NaiveDate};
use serde::{Deserialize, Serialize};

use super::ConnectorVersion;
use crate::time::Timestamp;

/// The oldest version that works at all: older ones are refused since April 2022, whatever superseded them.
const FLOOR: ConnectorVersion = ConnectorVersion::new([6, 2101, 13, 0]);

/// A version and the time of its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version.
    pub version: ConnectorVersion,
    /// The release; only the day, by UTC, counts.
    pub released: Timestamp,
}

/// How the portal shows an instance of that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SupportStatus {
    /// The newest version.
    Ok,
    /// Superseded less than six months ago: update.
    Warning,
    /// Superseded six months ago or more: not supported.
    Error,
}

/// The support of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Support {
    /// The status.
    pub status: SupportStatus,
    /// The day, at midnight UTC, from which it is not supported: six calendar months after it was superseded.
    pub unsupported_from: Option<Timestamp>,
    /// The day from which it may stop to work: eighteen calendar months after it was superseded.
    pub may_stop_from: Option<Timestamp>,
}

/// The support of `version` at `now`, given the known releases in any order; those in the future are not yet counted.
///
/// Months are calendar months, and the day is clamped to the month's end: superseded on 31 August, unsupported from 28 February.
#[must_use]
pub fn support(version: ConnectorVersion, releases: &[Release], now: Timestamp) -> Support {
    let today = day(now);
    let superseded = releases.iter().filter(|release| release.version > version).map(|release| day(release.released)).min();
    let superseded = superseded.filter(|superseded| *superseded <= today);
    let later = |months| superseded.and_then(|day| day.checked_add_months(Months::new(months)));
    let (unsupported_from, may_stop_from) = (later(6), later(18));
    let status = if version < FLOOR || unsupported_from.is_some_and(|from| from <= today) {
        SupportStatus::Error
    } else if superseded.is_some() {
        SupportStatus::Warning
    } else {
        SupportStatus::Ok
    };
    Support { status, unsupported_from: unsupported_from.map(midnight), may_stop_from: may_stop_from.map(midnight) }
}

/// The day by UTC; the end of the calendar for times beyond it.
fn day(time: Timestamp) -> NaiveDate {
    let beyond = if time.as_micros() < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
    DateTime::from_timestamp_micros(time.as_micros()).map_or(beyond, |time| time.date_naive())
}

fn midnight(day: NaiveDate) -> Timestamp {
    let days = i64::from(day.num_days_from_ce()) - i64::from(UNIX_EPOCH_DAYS);
    Timestamp::from_secs(days.saturating_mul(86_400))
}

/// Days from the first of January of the year 1 to the epoch, counted as chrono does.
const UNIX_EPOCH_DAYS: i32 = 719_163;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i32, month: u32, day: u32) -> Timestamp {
        midnight(NaiveDate::from_ymd_opt(year, month, day).unwrap())
    }

    fn release(version: &str, released: Timestamp) -> Release {
        Release { version: version.parse().unwrap(), released }
    }

    #[test]
    fn the_documented_example_holds() {
        assert_eq!(at(1970, 1, 1), Timestamp::from_secs(0));
        let releases =
            [release("6.2203.12.0", at(2022, 5, 4)), release("6.2202.38.0", at(2022, 3, 10)), release("6.2205.201.0", at(2022, 6, 30))];
        let old = "6.2202.38.0".parse().unwrap();
        let status = |day| support(old, &releases, day).status;
        assert_eq!(status(at(2022, 5, 3)), SupportStatus::Ok);
        assert_eq!(status(at(2022, 5, 4)), SupportStatus::Warning);
        assert_eq!(status(at(2022, 11, 3)), SupportStatus::Warning);
        assert_eq!(status(at(2022, 11, 4)), SupportStatus::Error);
        let support = support(old, &releases, at(2022, 12, 1));
        assert_eq!((support.unsupported_from, support.may_stop_from), (Some(at(2022, 11, 4)), Some(at(2023, 11, 4))));
    }

    #[test]
    fn days_are_clamped_to_the_end_of_the_month() {
        for (superseded, unsupported) in
            [(at(2022, 8, 31), at(2023, 2, 28)), (at(2023, 8, 31), at(2024, 2, 29)), (at(2022, 12, 31), at(2023, 6, 30))]
        {
            let releases = [release("7.0.0.0", superseded)];
            let support = support("6.2206.122.0".parse().unwrap(), &releases, at(2030, 1, 1));
            assert_eq!(support.unsupported_from, Some(unsupported));
        }
    }

    #[test]
    fn versions_below_the_floor_are_refused_even_when_nothing_newer_is_known() {
        assert_eq!(support("6.2101.12.9".parse().unwrap(), &[], at(2026, 1, 1)).status, SupportStatus::Error);
        assert_eq!(support(FLOOR, &[], at(2026, 1, 1)).status, SupportStatus::Ok);
        assert_eq!(support(FLOOR, &[], Timestamp::from_micros(i64::MAX)).status, SupportStatus::Ok);
    }
}
