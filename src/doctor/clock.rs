//! This machine's clock against the services', by the `Date` of their answers.

use core::time::Duration;

use super::report::{Check, Finding};
use crate::time::Timestamp;

/// More than a second's rounding and the way: a clock that is not kept.
const NOTICE: Duration = Duration::from_secs(30);
/// Entra ID and Intune tolerate five minutes.
const TOLERATED: Duration = Duration::from_secs(300);

/// How far this clock is from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Skew {
    pub(super) fn by(self) -> Duration {
        match self {
            Self::Ahead(by) | Self::Behind(by) => by,
        }
    }
}

/// Compares: the answer was dated at some moment between `sent` and `received`. `date` is whole seconds, rounded down; `age` are the seconds
/// for which a cache has kept the answer.
pub(super) fn skew(date: &str, age: Option<&str>, sent: Timestamp, received: Timestamp) -> Option<Skew> {
    let date = chrono::DateTime::parse_from_rfc2822(date.trim()).ok()?;
    let kept = age.and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or(0);
    let from = Timestamp::from_secs(date.timestamp().saturating_add(i64::from(kept)));
    let to = from.saturating_add(Duration::from_secs(1));
    if to < sent { Some(Skew::Ahead(sent.since(to))) } else { Some(Skew::Behind(from.since(received))) }
}

/// What a skew means.
pub(super) fn judge(host: &str, skew: Skew) -> Finding {
    let (by, side) = match skew {
        Skew::Ahead(by) => (by, "ahead of"),
        Skew::Behind(by) => (by, "behind"),
    };
    if by < NOTICE {
        return Finding::ok(Check::Clock, host, "this machine's clock agrees with its own");
    }
    let what = format!("this machine's clock is {} s {side} its own", by.as_secs());
    let cure =
        "set the clock, and let a time service keep it (chrony, systemd-timesyncd, w32time): tokens, certificates and challenges go by it";
    if by < TOLERATED { Finding::warning(Check::Clock, host, what, cure) } else { Finding::error(Check::Clock, host, what, cure) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    /// 1994-11-06T08:49:37Z
    const DATE: (&str, i64) = ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);

    #[test]
    fn rounding_the_way_and_a_cache_are_no_skew() {
        let at = |secs: i64| Timestamp::from_secs(DATE.1 + secs);
        let by = |sent, received, age| skew(DATE.0, age, at(sent), at(received)).unwrap().by().as_secs();
        assert_eq!((by(0, 1, None), by(1, 1, None), by(-5, 0, None), by(0, 20, None)), (0, 0, 0, 0));
        assert_eq!((by(301, 302, None), by(-302, -301, None)), (300, 301));
        assert_eq!(by(301, 302, Some("300")), 0);
        assert!(skew("yesterday", None, at(0), at(0)).is_none());
    }

    #[test]
    fn five_minutes_are_an_error_and_half_a_minute_a_warning() {
        let severity = |secs| judge("host", Skew::Ahead(Duration::from_secs(secs))).severity;
        assert_eq!(
            [severity(29), severity(30), severity(299), severity(300)],
            [Severity::Ok, Severity::Warning, Severity::Warning, Severity::Error]
        );
    }
}
