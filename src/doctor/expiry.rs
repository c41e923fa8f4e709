//! Ends of validity: pure.

use core::time::Duration;

use super::report::{Check, Finding};
use crate::time::Timestamp;

/// How long before its end something is warned of: time for a renewal that people must approve.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// What the end of something means now.
pub(super) fn expiry(check: Check, subject: &str, name: &str, not_after: Timestamp, now: Timestamp, cure: &str) -> Finding {
    let days = not_after.since(now).as_secs() / 86_400;
    if not_after <= now {
        Finding::error(check, subject, format!("{name} ended at {not_after}"), cure)
    } else if not_after <= now.saturating_add(NOTICE) {
        Finding::warning(check, subject, format!("{name} ends at {not_after}, in {days} days"), cure)
    } else {
        Finding::ok(check, subject, format!("{name} is good until {not_after}, for {days} days"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn thirty_days_before_its_end_it_is_a_warning_and_at_its_end_an_error() {
        let now = Timestamp::from_secs(1_700_000_000);
        let severity = |secs: i64| {
            let end = Timestamp::from_secs(1_700_000_000 + secs);
            expiry(Check::Certificate, "x", "it", end, now, "renew it").severity
        };
        assert_eq!([severity(-1), severity(0), severity(1)], [Severity::Error, Severity::Error, Severity::Warning]);
        assert_eq!([severity(30 * 86_400), severity(30 * 86_400 + 1)], [Severity::Warning, Severity::Ok]);
    }
}
