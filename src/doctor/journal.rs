//! The journal: whether it lasts, and whether something lies in it for long.

use core::time::Duration;
use std::sync::Arc;

use super::report::{Check, Finding};
use super::scope::Scope;
use crate::ports::{Journal, JournalStats};
use crate::time::Timestamp;

/// A request that is open for longer has outlived its deadline: nobody works on it.
const OLD: Duration = Duration::from_secs(86_400);
/// More open rows than any tenant has in an hour.
const MANY: u64 = 100_000;

pub(super) async fn check(scope: &Scope, journal: &Arc<dyn Journal>) -> Vec<Finding> {
    let subject = "journal";
    let work = async {
        let mut findings = Vec::new();
        if !journal.is_durable() {
            let cure = "use a durable journal, such as `SqliteJournal`, and `ConnectorBuilder::require_durable`";
            findings.push(Finding::warning(Check::Journal, subject, "it is lost with the process", cure));
        }
        findings.push(match journal.stats().await {
            Ok(stats) => judge(subject, &stats, scope.now()),
            Err(error) => {
                let cure = "see the disk, the permissions and whether another process holds it: nothing is issued without a journal";
                Finding::error(Check::Journal, subject, format!("it does not answer: {error}"), cure)
            }
        });
        findings
    };
    scope.guard(Check::Journal, subject, work).await
}

fn judge(subject: &str, stats: &JournalStats, now: Timestamp) -> Finding {
    let counts = format!("{} requests are open and {} finished", stats.open, stats.finished);
    match stats.oldest_open {
        Some(oldest) if now.since(oldest) > OLD => {
            let cure = "look for the events of that time: it waits for a CA, a key or a queue, or its connector is gone";
            Finding::warning(Check::Journal, subject, format!("{counts}; the oldest open one is of {oldest}"), cure)
        }
        _ if stats.open > MANY => Finding::warning(
            Check::Journal,
            subject,
            counts,
            "see what the CA or the queue is waiting for: work comes in faster than it is done",
        ),
        Some(oldest) => Finding::ok(Check::Journal, subject, format!("{counts}; the oldest open one is of {oldest}")),
        None => Finding::ok(Check::Journal, subject, counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn a_request_that_is_open_for_more_than_a_day_is_a_warning() {
        let now = Timestamp::from_secs(1_700_000_000);
        let severity = |open, age| {
            let stats = JournalStats { open, finished: 1, oldest_open: Some(now.saturating_sub(Duration::from_secs(age))), storage: None };
            judge("journal", &stats, now).severity
        };
        assert_eq!(severity(1, 86_400), Severity::Ok);
        assert_eq!(severity(1, 86_401), Severity::Warning);
        assert_eq!(severity(MANY + 1, 1), Severity::Warning);
    }
}
