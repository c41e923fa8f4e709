//! The header Retry-After (RFC 9110 section 10.2.3).

use core::time::Duration;

use chrono::{DateTime, NaiveDateTime};

use crate::time::Timestamp;

/// No service is waited for longer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How long to wait, from `now`; absent when the value is neither seconds nor a date. At most a day.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is longer than the longest.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        http_date(value)?.since(now)
    };
    Some(wait.min(LONGEST))
}

/// The three forms of RFC 9110 section 5.6.7: that of today, RFC 850's, and asctime's.
fn http_date(value: &str) -> Option<Timestamp> {
    if !value.is_ascii() || value.len() > 40 {
        return None;
    }
    let of_today = value.ends_with(" GMT").then(|| DateTime::parse_from_rfc2822(value).ok()).flatten().map(|date| date.timestamp());
    let seconds = of_today.or_else(|| {
        let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
        forms.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()).map(|date| date.and_utc().timestamp())
    });
    seconds.map(Timestamp::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_the_three_forms_of_dates_are_read() {
        let now = Timestamp::from_secs(784_111_777 - 90);
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "90", " 90 "] {
            assert_eq!(retry_after(date, now), Some(Duration::from_secs(90)), "{date}");
        }
    }

    #[test]
    fn a_date_that_has_passed_is_no_wait_and_a_distant_one_is_bounded() {
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", Timestamp::from_secs(2_000_000_000)), Some(Duration::ZERO));
        for long in ["Sat, 06 Nov 2094 08:49:37 GMT", "99999999999999999999999999", "86401"] {
            assert_eq!(retry_after(long, Timestamp::from_secs(0)), Some(LONGEST), "{long}");
        }
    }

    #[test]
    fn what_is_no_retry_after_is_passed_over() {
        for bad in ["", "soon", "-1", "1.5", "0x10", "Sun, 06 Nov 1994 08:49:37 +0200", "Mon, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(bad, Timestamp::default()), None, "{bad}");
        }
    }
}
