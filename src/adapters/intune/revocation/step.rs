//! What is decided of rows, times and results: pure.

use core::time::Duration;

use super::config::LONGEST_COOL_DOWN;
use super::queue::Handed;
use super::record::Record;
use crate::ids::InstanceId;
use crate::ports::{Failure, JournalScope, Outcome, RevocationError, Row};
use crate::retry::ErrorClass;
use crate::time::Timestamp;

/// What an open row is to this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be given out: new, or given to a process, an instance or a run that is gone.
    Give,
    /// Somebody works on it.
    InHand,
    /// This process was given it more than once, and has let go of it without an answer: it is another CA's, or was given up.
    LetGo,
}

/// So often a process is given a request that it does not answer: the second time in case that the first one was dropped with its run.
const GIVEN: u32 = 2;

/// Where a row stands. `handed` says until when this process has it, by the last lease that it took or prolonged.
pub(super) fn standing(row: &Row, handed: Option<Handed>, own: &InstanceId, scope: JournalScope, now: Timestamp) -> Standing {
    let is_elsewhere = scope == JournalScope::Fleet && row.owner.as_ref().is_some_and(|owner| owner != own) && row.lease_until > now;
    match handed {
        _ if is_elsewhere => Standing::InHand,
        Some(handed) if handed.until > now => Standing::InHand,
        Some(handed) if handed.times >= GIVEN => Standing::LetGo,
        _ => Standing::Give,
    }
}

/// How long no download may follow yet. A clock that was put back does not make it longer than a day.
pub(super) fn left(until: Timestamp, now: Timestamp) -> Duration {
    until.since(now).min(LONGEST_COOL_DOWN)
}

/// What Intune is told of an outcome: no error means success.
pub(super) fn verdict<'a>(record: &Record, outcome: &'a Outcome) -> Result<(Option<RevocationError>, Option<&'a str>), &'static str> {
    match outcome {
        Outcome::Revoke(result) => Ok((result.error, result.message.as_deref())),
        Outcome::Failed(failure) => Ok((Some(error(record, failure)), Some(&failure.message))),
        _ => Err("it is no result of a revocation"),
    }
}

fn error(record: &Record, failure: &Failure) -> RevocationError {
    match failure.class {
        // Nobody can revoke a certificate without serial number. Where the issuer alone cannot be read, another connector may read it: a final
        // answer would end its revocation.
        ErrorClass::Request if record.problem.is_some() && record.serial.is_none() => RevocationError::DataSerializationError,
        ErrorClass::Request if record.problem.is_some() => RevocationError::RetryableServiceException,
        ErrorClass::Transient => RevocationError::ServiceUnavailableException,
        ErrorClass::Throttled => RevocationError::ServiceTooBusyException,
        ErrorClass::Configuration => RevocationError::AuthenticationException,
        ErrorClass::Deadline => RevocationError::RetryableServiceException,
        ErrorClass::Unsupported => RevocationError::NotSupportedError,
        ErrorClass::Request | ErrorClass::Policy | ErrorClass::Internal => RevocationError::NonRetryableServiceException,
    }
}

/// The number under which a row remembers what Intune accepted.
pub(super) fn number(error: Option<RevocationError>) -> i64 {
    i64::from(error.map_or(0, RevocationError::code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdempotencyKey;
    use crate::ports::{RowKey, RowKind, SealedBlob};
    use crate::terms::Flow;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn a_row_is_given_twice_and_let_go_when_nobody_prolongs_its_lease() {
        let key = RowKey { kind: RowKind::Revocation, key: IdempotencyKey::new([1; 32]) };
        let mut row = Row::new(key, Flow::Revoke, NOW, SealedBlob::new(Vec::new()));
        let own = "one".parse().unwrap();
        let (past, future) = (Timestamp::from_secs(999), Timestamp::from_secs(1_001));
        let handed = |until, times| Some(Handed { until, lease_epoch: 1, times });
        let instance = |row: &Row, handed| standing(row, handed, &own, JournalScope::Instance, NOW);
        let fleet = |row: &Row, handed| standing(row, handed, &own, JournalScope::Fleet, NOW);
        assert_eq!(fleet(&row, None), Standing::Give);
        assert_eq!((instance(&row, handed(future, 1)), instance(&row, handed(past, 1))), (Standing::InHand, Standing::Give));
        assert_eq!((instance(&row, handed(future, 2)), instance(&row, handed(past, 2))), (Standing::InHand, Standing::LetGo));
        // After a restart under the same name.
        (row.owner, row.lease_until) = (Some(own.clone()), future);
        assert_eq!(fleet(&row, None), Standing::Give);
        // Another instance has it, for as long as its lease lives.
        row.owner = Some("two".parse().unwrap());
        assert_eq!((fleet(&row, None), fleet(&row, handed(past, 2))), (Standing::InHand, Standing::InHand));
        row.lease_until = past;
        assert_eq!(fleet(&row, None), Standing::Give);
        // In a journal of one instance another name is an earlier one.
        row.lease_until = future;
        assert_eq!(instance(&row, None), Standing::Give);
    }

    #[test]
    fn a_cool_down_is_bounded_whatever_the_clock_did() {
        assert_eq!(left(Timestamp::from_secs(4_600), NOW), Duration::from_secs(3_600));
        assert_eq!(left(NOW, NOW), Duration::ZERO);
        assert_eq!(left(Timestamp::from_secs(999), NOW), Duration::ZERO);
        assert_eq!(left(Timestamp::from_micros(i64::MAX), NOW), LONGEST_COOL_DOWN);
    }
}
