//! How long a credential is still good, for people and for gauges.

use crate::time::Timestamp;
use core::time::Duration;

const DAY: u64 = 86_400;

/// The sentence that warns of a credential's end, for health messages and checks of an installation; absent while the end is further than
/// `ahead`, or not known.
#[must_use]
pub fn credential_warning(expires: Option<Timestamp>, now: Timestamp, ahead: Duration) -> Option<String> {
    let expires = expires?;
    if expires <= now {
        return Some(format!("the credential of the app registration ended at {expires}: replace it, no token is to be had with it"));
    }
    let left = expires.since(now);
    (left <= ahead).then(|| {
        let (number, unit) = if left.as_secs() >= 2 * DAY { (left.as_secs() / DAY, "days") } else { (left.as_secs() / 3_600, "hours") };
        format!("the credential of the app registration ends in {number} {unit}, at {expires}: replace it before that")
    })
}

/// Seconds until the credential ends, for a gauge such as `intune_credential_expiry_seconds`; negative once it has ended.
#[must_use]
pub fn credential_seconds_left(expires: Timestamp, now: Timestamp) -> i64 {
    expires.as_secs().saturating_sub(now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_ahead_of_time_and_not_before() {
        let end = Timestamp::from_secs(1_000 * DAY as i64);
        let ahead = Duration::from_secs(30 * DAY);
        let at = |left: i64| credential_warning(Some(end), Timestamp::from_secs(end.as_secs() - left), ahead);
        assert_eq!(at(30 * DAY as i64 + 1), None);
        assert!(at(30 * DAY as i64).unwrap().contains("ends in 30 days, at 1972-09-27T00:00:00.000Z"));
        assert!(at(36 * 3_600).unwrap().contains("ends in 36 hours"));
        assert!(at(60).unwrap().contains("ends in 0 hours"));
        for past in [0, -1, -400 * DAY as i64] {
            assert!(at(past).unwrap().contains("ended at"), "{past}");
        }
        assert_eq!(credential_warning(None, end, ahead), None);
    }

    #[test]
    fn the_gauge_goes_below_zero() {
        let end = Timestamp::from_secs(100);
        assert_eq!(credential_seconds_left(end, Timestamp::from_secs(40)), 60);
        assert_eq!(credential_seconds_left(end, Timestamp::from_secs(140)), -40);
    }
}
