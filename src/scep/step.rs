//! What happens next to one transaction: a pure function of what has happened. The service performs the actions.
//!
//! Order: validate, commit *asked*, ask the CA, check what it issued, commit *issued*, notify, release. Nothing is issued after a failed
//! validation, nothing is released that failed its check, and in the strict policy nothing is released before the service is notified.

use super::{NotificationPolicy, PendingPolicy};
use crate::ports::RowState;

/// What a transaction goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) notification: NotificationPolicy,
    /// How often the CA is asked before the request fails.
    pub(crate) issue_attempts: u32,
    /// How often the notifier is called while the client waits (strict policy, and failures).
    pub(crate) notify_attempts: u32,
    /// Asking the CA again with the same key gives the same certificate.
    pub(crate) ca_is_idempotent: bool,
    pub(crate) pending: PendingPolicy,
    /// Nobody is told: nothing outside happens between the check and the release, so that no state need be stored between them.
    pub(crate) tells_nobody: bool,
}

/// A stored transaction, as far as it decides what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) state: RowState,
    /// The CA holds it for approval.
    pub(crate) is_pending: bool,
    /// The service knows of its end, or the news is stored.
    pub(crate) is_told: bool,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The journal was read: there is no row of the request.
    New,
    /// The journal was read: there is a row.
    Known(Stored),
    /// Another instance works on it now.
    BusyElsewhere,
    /// The transactionID belongs to another request that is still open, or the nonce to another message.
    NotItsTurn,
    /// The journal could not be read or written: nothing that depends on it may be done.
    JournalFailed,
    /// The state was stored.
    Committed,
    /// Another instance changed the row first.
    Conflict,
    /// The validator accepted.
    Accepted,
    /// The validator refused.
    Rejected,
    /// The validator accepted, and the issuance policy refused.
    PolicyRefused,
    /// The validator gave no verdict.
    NoVerdict,
    /// The CA issued.
    Issued,
    /// The CA, or the time left, ended it: certainly nothing was issued.
    IssueRefused,
    /// The CA did nothing; it may be asked again.
    IssueNotDone,
    /// It is not known what the CA did.
    IssueLost,
    /// The CA holds the request: it may issue later. When clients wait, the time left has ended.
    StillPending,
    /// The CA holds the request, as far as is known: it was not, or could not be, asked.
    NotDueYet,
    /// The certificate is not revoked, or nobody can say.
    StatusGood,
    /// It is revoked.
    StatusRevoked,
    /// The CA has no certificate for the request, and will not issue one unless it is asked again.
    Absent,
    /// It has none, and may still issue what it was asked for.
    AbsentSoFar,
    /// The CA cannot say.
    CannotTell,
    /// The certificate is as planned.
    CheckPassed,
    /// It is not.
    CheckFailed,
    /// The notifier accepted.
    Notified,
    /// It did not; `again` when another try makes sense in the time left.
    NotNotified { again: bool },
    /// The notification is stored for later.
    Spooled,
    /// It could not be stored.
    NotSpooled,
    /// The certificate was revoked, or is on the list for it.
    HandedToRevocation,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Validate,
    Commit(RowState),
    /// Ask the CA; the attempt, from 1.
    Issue(u32),
    /// Ask the CA what became of the request.
    Find,
    /// Ask the CA about the request that it holds.
    Poll,
    /// Ask the CA whether the certificate still counts.
    CheckStatus,
    Check,
    /// Tell the service; the attempt, from 1.
    NotifySuccess(u32),
    NotifyFailure(u32),
    SpoolSuccess,
    SpoolFailure,
    /// The certificate must not stay valid.
    Revoke,
    Finish(Ending),
}

/// How the request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The certificate goes to the client.
    Released { notified: Notified, repeated: bool },
    /// FAILURE goes to the client.
    Refused { stage: Stage, notified: Notified },
    /// The certificate was issued, the service could not be told, and the client gets FAILURE.
    Withheld,
    /// Refused before; the client gets FAILURE again.
    RefusedBefore,
    /// The certificate was revoked since, or the one to be renewed; the client gets FAILURE.
    Revoked,
    /// Refused, whatever becomes of the request that it collides with.
    NotItsTurn,
    /// The CA holds it; the client gets PENDING.
    Pending,
    /// 503: another instance works on it, or the journal is away.
    TryLater,
}

/// Where a request failed, for event 4001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Verify,
    Policy,
    Issue,
    Check,
}

impl Stage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Policy => "policy",
            Self::Issue => "issue",
            Self::Check => "check",
        }
    }
}

/// What became of the notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notified {
    /// There is nothing to tell: the validation failed.
    NotDue,
    Yes,
    /// Tried, and lost.
    No,
    /// Stored; its own events follow, the Admin event too.
    Later,
}

/// One transaction.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    rules: Rules,
    at: At,
    resumed: bool,
    repeated: bool,
    issue_attempt: u32,
    notify_attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Validating,
    CommittingAsked,
    Asking,
    Finding,
    Polling,
    CommittingPending,
    CheckingStatus { is_told: bool },
    Checking,
    CommittingIssued,
    NotifyingSuccess,
    SpoolingSuccess,
    CommittingReleased { notified: Notified },
    CommittingOrphan,
    Withholding,
    CommittingWithheld,
    RevokingBadCertificate,
    NotifyingFailure { stage: Stage, after: RowState },
    SpoolingFailure { stage: Stage, after: RowState },
    CommittingRefused { stage: Stage, notified: Notified },
    Done,
}

impl Transaction {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, at: At::Start, resumed: false, repeated: false, issue_attempt: 0, notify_attempt: 0 }
    }

    /// The next action. An input that does not belong to the last action ends the request safely: nothing is issued or released.
    pub(crate) fn next(&mut self, input: Input) -> Action {
        match (self.at, input) {
            (At::Start, Input::New) => self.go(At::Validating, Action::Validate),
            (At::Start, Input::Known(stored)) => self.resume(stored),
            (At::Start, Input::NotItsTurn) => self.finish(Ending::NotItsTurn),
            (At::Start, Input::StatusRevoked) => self.finish(Ending::Revoked),
            // The row says *asked* already; when that was stays in it until the CA is asked again.
            (At::Validating, Input::Accepted) if self.resumed => self.go(At::Finding, Action::Find),
            (At::Validating, Input::Accepted) => self.go(At::CommittingAsked, Action::Commit(RowState::Asked)),
            (At::Validating, Input::Rejected | Input::NoVerdict) => {
                self.finish(Ending::Refused { stage: Stage::Verify, notified: Notified::NotDue })
            }
            (At::Validating, Input::PolicyRefused) => self.refuse(Stage::Policy, RowState::Failed),
            (At::CommittingAsked, Input::Committed) => self.ask(),
            (At::Asking | At::Finding | At::Polling, Input::Issued) => self.go(At::Checking, Action::Check),
            (At::Asking | At::Polling, Input::IssueRefused) => self.refuse(Stage::Issue, RowState::Failed),
            (At::Asking, Input::IssueNotDone) => self.ask_again(RowState::Failed),
            (At::Asking, Input::IssueLost) => self.go(At::Finding, Action::Find),
            (At::Asking, Input::StillPending) if self.rules.pending == PendingPolicy::WaitForTheDeadline => {
                self.refuse(Stage::Issue, RowState::OrphanSuspected)
            }
            (At::Asking | At::Polling, Input::StillPending) => self.go(At::CommittingPending, Action::Commit(RowState::Asked)),
            (At::CommittingPending, Input::Committed) => self.finish(Ending::Pending),
            (At::Polling, _) => self.finish(Ending::Pending),
            (At::CheckingStatus { is_told: true }, Input::StatusGood) => {
                self.finish(Ending::Released { notified: Notified::Yes, repeated: true })
            }
            (At::CheckingStatus { is_told: false }, Input::StatusGood) => self.notify_success(),
            (At::CheckingStatus { .. }, Input::StatusRevoked) => self.finish(Ending::Revoked),
            (At::Finding, Input::Absent) => self.ask_again(RowState::Failed),
            (At::Finding, Input::AbsentSoFar) => self.finish(Ending::TryLater),
            (At::Finding, Input::CannotTell) if self.rules.ca_is_idempotent => self.ask_again(RowState::OrphanSuspected),
            (At::Finding, _) => self.refuse(Stage::Issue, RowState::OrphanSuspected),
            (At::Checking, Input::CheckPassed) if self.rules.tells_nobody => self.notify_success(),
            (At::Checking, Input::CheckPassed) => self.go(At::CommittingIssued, Action::Commit(RowState::Issued)),
            (At::Checking, _) => self.go(At::RevokingBadCertificate, Action::Revoke),
            (At::RevokingBadCertificate, Input::HandedToRevocation) => self.refuse(Stage::Check, RowState::Failed),
            // Left to whoever clears away.
            (At::RevokingBadCertificate, _) => self.refuse(Stage::Check, RowState::OrphanSuspected),
            // That it is issued could not be stored. The row says *asked*: whoever comes next finds the certificate at the CA.
            (At::CommittingIssued, Input::JournalFailed | Input::Conflict) => self.finish(Ending::TryLater),
            (At::CommittingIssued, Input::Committed) => self.notify_success(),
            (At::NotifyingSuccess, Input::Notified) => self.release(Notified::Yes),
            (At::NotifyingSuccess, Input::NotNotified { again }) => match self.rules.notification {
                NotificationPolicy::IssueThenNotify => self.go(At::SpoolingSuccess, Action::SpoolSuccess),
                NotificationPolicy::NotifyBeforeRelease if again && self.notify_attempt < self.rules.notify_attempts => {
                    self.notify_success()
                }
                // The client has it already: to revoke it now would take from it what it was given.
                NotificationPolicy::NotifyBeforeRelease if self.repeated => self.finish(Ending::TryLater),
                // Stored before it is revoked: whoever comes after a crash must not release it.
                NotificationPolicy::NotifyBeforeRelease => self.go(At::CommittingOrphan, Action::Commit(RowState::OrphanSuspected)),
            },
            (At::CommittingOrphan, _) => self.go(At::Withholding, Action::Revoke),
            (At::SpoolingSuccess, Input::Spooled) => self.release(Notified::Later),
            (At::SpoolingSuccess, _) => self.release(Notified::No),
            // Somebody else goes on with the row, and may revoke the certificate.
            (At::CommittingReleased { .. }, Input::Conflict) => self.finish(Ending::TryLater),
            // The row does not say that the client has it: whoever clears away would revoke it. The client comes again.
            (At::CommittingReleased { .. }, input) if !self.repeated && input != Input::Committed => self.finish(Ending::TryLater),
            (At::CommittingReleased { notified }, _) => self.finish(Ending::Released { notified, repeated: self.repeated }),
            (At::Withholding, Input::HandedToRevocation) => self.go(At::CommittingWithheld, Action::Commit(RowState::Failed)),
            (At::Withholding, _) => self.finish(Ending::Withheld),
            (At::CommittingWithheld, _) => self.finish(Ending::Withheld),
            (At::NotifyingFailure { stage, after }, Input::Notified) => self.refused(stage, after, Notified::Yes),
            (At::NotifyingFailure { stage, after }, Input::NotNotified { again }) => match self.rules.notification {
                NotificationPolicy::IssueThenNotify => self.go(At::SpoolingFailure { stage, after }, Action::SpoolFailure),
                NotificationPolicy::NotifyBeforeRelease if again && self.notify_attempt < self.rules.notify_attempts => {
                    self.notify_attempt += 1;
                    Action::NotifyFailure(self.notify_attempt)
                }
                NotificationPolicy::NotifyBeforeRelease => self.refused(stage, after, Notified::No),
            },
            (At::SpoolingFailure { stage, after }, Input::Spooled) => self.refused(stage, after, Notified::Later),
            (At::SpoolingFailure { stage, after }, _) => self.refused(stage, after, Notified::No),
            (At::CommittingRefused { stage, notified }, _) => self.finish(Ending::Refused { stage, notified }),
            _ => self.finish(Ending::TryLater),
        }
    }

    fn resume(&mut self, stored: Stored) -> Action {
        match stored.state {
            RowState::Asked if stored.is_pending => self.go(At::Polling, Action::Poll),
            RowState::Received | RowState::Planned => self.go(At::Validating, Action::Validate),
            RowState::Asked => {
                // An earlier run asked, and its end is not known. The approval is not stored, so it is validated anew.
                self.resumed = true;
                self.go(At::Validating, Action::Validate)
            }
            // An earlier run may have revoked it and ended before it could say so.
            RowState::Issued | RowState::Packed | RowState::Uploading => {
                self.go(At::CheckingStatus { is_told: false }, Action::CheckStatus)
            }
            RowState::Acknowledged => {
                self.repeated = true;
                self.go(At::CheckingStatus { is_told: stored.is_told }, Action::CheckStatus)
            }
            RowState::Failed | RowState::Parked | RowState::OrphanSuspected => self.finish(Ending::RefusedBefore),
        }
    }

    fn go(&mut self, at: At, action: Action) -> Action {
        self.at = at;
        action
    }

    fn ask(&mut self) -> Action {
        self.issue_attempt += 1;
        self.go(At::Asking, Action::Issue(self.issue_attempt))
    }

    fn ask_again(&mut self, otherwise: RowState) -> Action {
        let is_lost = self.at == At::Finding;
        let has_more = self.issue_attempt < self.rules.issue_attempts;
        // What may come of the lost ask is stored before there can be a second certificate.
        if is_lost && (self.issue_attempt == 0 || (has_more && !self.rules.ca_is_idempotent)) {
            return self.go(At::CommittingAsked, Action::Commit(RowState::Asked));
        }
        if self.issue_attempt < self.rules.issue_attempts { self.ask() } else { self.refuse(Stage::Issue, otherwise) }
    }

    fn notify_success(&mut self) -> Action {
        self.notify_attempt += 1;
        self.go(At::NotifyingSuccess, Action::NotifySuccess(self.notify_attempt))
    }

    fn release(&mut self, notified: Notified) -> Action {
        self.go(At::CommittingReleased { notified }, Action::Commit(RowState::Acknowledged))
    }

    fn refuse(&mut self, stage: Stage, after: RowState) -> Action {
        self.notify_attempt = 1;
        self.go(At::NotifyingFailure { stage, after }, Action::NotifyFailure(1))
    }

    fn refused(&mut self, stage: Stage, after: RowState, notified: Notified) -> Action {
        self.go(At::CommittingRefused { stage, notified }, Action::Commit(after))
    }

    fn finish(&mut self, ending: Ending) -> Action {
        self.go(At::Done, Action::Finish(ending))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STRICT: Rules = Rules {
        notification: NotificationPolicy::NotifyBeforeRelease,
        issue_attempts: 2,
        notify_attempts: 2,
        ca_is_idempotent: false,
        pending: PendingPolicy::WaitForTheDeadline,
        tells_nobody: false,
    };
    const SPOOL: Rules = Rules { notification: NotificationPolicy::IssueThenNotify, ..STRICT };
    const POLLED: Rules = Rules { pending: PendingPolicy::AnswerPending, ..SPOOL };
    const SILENT: Rules = Rules { tells_nobody: true, ..STRICT };
    const NEW: Input = Input::New;

    fn stored(state: RowState) -> Stored {
        Stored { state, is_pending: false, is_told: false }
    }

    fn known(state: RowState) -> Input {
        Input::Known(stored(state))
    }

    fn run(rules: Rules, inputs: &[Input]) -> Vec<Action> {
        let mut transaction = Transaction::new(rules);
        inputs.iter().map(|input| transaction.next(*input)).collect()
    }

    #[test]
    fn the_strict_order_is_validate_ask_check_notify_release() {
        let actions = run(
            STRICT,
            &[
                NEW,
                Input::Accepted,
                Input::Committed,
                Input::Issued,
                Input::CheckPassed,
                Input::Committed,
                Input::Notified,
                Input::Committed,
            ],
        );
        assert_eq!(
            actions,
            [
                Action::Validate,
                Action::Commit(RowState::Asked),
                Action::Issue(1),
                Action::Check,
                Action::Commit(RowState::Issued),
                Action::NotifySuccess(1),
                Action::Commit(RowState::Acknowledged),
                Action::Finish(Ending::Released { notified: Notified::Yes, repeated: false }),
            ]
        );
    }

    #[test]
    fn a_failed_success_notification_withholds_the_certificate_only_in_the_strict_policy() {
        let issued = [NEW, Input::Accepted, Input::Committed, Input::Issued, Input::CheckPassed, Input::Committed];
        let failed = Input::NotNotified { again: true };
        let strict = run(STRICT, &[&issued[..], &[failed, failed, Input::Committed, Input::HandedToRevocation, Input::Committed]].concat());
        assert_eq!(
            strict[6..],
            [
                Action::NotifySuccess(2),
                Action::Commit(RowState::OrphanSuspected),
                Action::Revoke,
                Action::Commit(RowState::Failed),
                Action::Finish(Ending::Withheld),
            ]
        );
        for not_stored in [Input::JournalFailed, Input::Conflict] {
            assert_eq!(
                run(STRICT, &[&issued[..], &[failed, failed, not_stored]].concat())[8],
                Action::Revoke,
                "it is revoked all the same"
            );
        }
        let spool = run(SPOOL, &[&issued[..], &[failed, Input::Spooled, Input::Committed]].concat());
        assert_eq!(spool[6..8], [Action::SpoolSuccess, Action::Commit(RowState::Acknowledged)]);
    }

    #[test]
    fn nothing_is_released_that_the_journal_does_not_know_as_released() {
        let notified = [NEW, Input::Accepted, Input::Committed, Input::Issued, Input::CheckPassed, Input::Committed, Input::Notified];
        for not_stored in [Input::Conflict, Input::JournalFailed] {
            assert_eq!(run(STRICT, &[&notified[..], &[not_stored]].concat())[7], Action::Finish(Ending::TryLater));
        }
        let repeated = [known(RowState::Acknowledged), Input::StatusGood, Input::Notified, Input::JournalFailed];
        let released = Action::Finish(Ending::Released { notified: Notified::Yes, repeated: true });
        assert_eq!(run(STRICT, &repeated)[3], released, "the row says so since the first time");
    }

    #[test]
    fn a_lost_answer_goes_to_find_and_never_to_a_plain_second_ask() {
        let asked = [NEW, Input::Accepted, Input::Committed, Input::IssueLost];
        assert_eq!(run(STRICT, &asked)[3], Action::Find);
        let again = run(STRICT, &[&asked[..], &[Input::Absent, Input::Committed]].concat());
        assert_eq!(again[4..], [Action::Commit(RowState::Asked), Action::Issue(2)], "what may come of the lost one is stored first");
        assert_eq!(
            run(STRICT, &[&asked[..], &[Input::CannotTell, Input::Notified]].concat())[5],
            Action::Commit(RowState::OrphanSuspected)
        );
        assert_eq!(run(Rules { ca_is_idempotent: true, ..STRICT }, &[&asked[..], &[Input::CannotTell]].concat())[4], Action::Issue(2));
        assert_eq!(run(STRICT, &[&asked[..], &[Input::AbsentSoFar]].concat())[4], Action::Finish(Ending::TryLater));
        let resumed = run(STRICT, &[known(RowState::Asked), Input::Accepted, Input::Absent, Input::Committed]);
        assert_eq!(resumed[1..], [Action::Find, Action::Commit(RowState::Asked), Action::Issue(1)]);
    }

    #[test]
    fn where_nobody_is_told_one_state_less_is_stored_and_a_journal_that_fails_withholds() {
        let issued = [NEW, Input::Accepted, Input::Committed, Input::Issued, Input::CheckPassed, Input::Notified];
        assert_eq!(run(SILENT, &issued)[4..], [Action::NotifySuccess(1), Action::Commit(RowState::Acknowledged)]);
        let released = Action::Finish(Ending::Released { notified: Notified::Yes, repeated: false });
        assert_eq!(run(SILENT, &[&issued[..], &[Input::Committed]].concat())[6], released);
        assert_eq!(run(SILENT, &[&issued[..], &[Input::JournalFailed]].concat())[6], Action::Finish(Ending::TryLater));
    }

    #[test]
    fn a_pending_request_is_polled_until_it_is_issued_or_refused() {
        let asked = [NEW, Input::Accepted, Input::Committed, Input::StillPending];
        assert_eq!(run(STRICT, &asked)[3], Action::NotifyFailure(1));
        let first = run(POLLED, &[&asked[..], &[Input::Committed]].concat());
        assert_eq!(first[3..], [Action::Commit(RowState::Asked), Action::Finish(Ending::Pending)]);
        let waiting = Input::Known(Stored { is_pending: true, ..stored(RowState::Asked) });
        assert_eq!(run(POLLED, &[waiting, Input::NotDueYet]), [Action::Poll, Action::Finish(Ending::Pending)]);
        assert_eq!(run(POLLED, &[waiting, Input::StillPending, Input::Committed])[2], Action::Finish(Ending::Pending));
        assert_eq!(run(POLLED, &[waiting, Input::IssueRefused])[1], Action::NotifyFailure(1));
        let issued = [waiting, Input::Issued, Input::CheckPassed, Input::Committed, Input::Notified, Input::Committed];
        let released = Action::Finish(Ending::Released { notified: Notified::Yes, repeated: false });
        assert_eq!(
            run(POLLED, &issued)[1..],
            [Action::Check, Action::Commit(RowState::Issued), Action::NotifySuccess(1), Action::Commit(RowState::Acknowledged), released]
        );
    }

    #[test]
    fn a_stored_certificate_is_released_again_when_it_counts_and_the_service_knows_of_it() {
        let told = Input::Known(Stored { is_told: true, ..stored(RowState::Acknowledged) });
        let untold = known(RowState::Acknowledged);
        let again = Action::Finish(Ending::Released { notified: Notified::Yes, repeated: true });
        assert_eq!(run(STRICT, &[told, Input::StatusGood]), [Action::CheckStatus, again]);
        assert_eq!(run(STRICT, &[told, Input::StatusRevoked])[1], Action::Finish(Ending::Revoked));
        let unreleased = [known(RowState::Issued), Input::StatusRevoked];
        assert_eq!(run(STRICT, &unreleased), [Action::CheckStatus, Action::Finish(Ending::Revoked)], "revoked by a run that did not end");
        assert_eq!(run(STRICT, &[told, Input::NoVerdict])[1], Action::Finish(Ending::TryLater));
        let not_told = Input::NotNotified { again: false };
        assert_eq!(run(STRICT, &[untold, Input::StatusGood, not_told])[2], Action::Finish(Ending::TryLater), "it is not revoked");
        assert_eq!(
            run(SPOOL, &[untold, Input::StatusGood, Input::Notified, Input::Committed])[1..],
            [Action::NotifySuccess(1), Action::Commit(RowState::Acknowledged), again]
        );
    }

    const INPUTS: [Input; 31] = [
        NEW,
        Input::Known(Stored { state: RowState::Asked, is_pending: false, is_told: false }),
        Input::Known(Stored { state: RowState::Asked, is_pending: true, is_told: false }),
        Input::Known(Stored { state: RowState::Issued, is_pending: false, is_told: false }),
        Input::Known(Stored { state: RowState::Acknowledged, is_pending: false, is_told: true }),
        Input::Known(Stored { state: RowState::Acknowledged, is_pending: false, is_told: false }),
        Input::Known(Stored { state: RowState::Failed, is_pending: false, is_told: false }),
        Input::NotDueYet,
        Input::StatusGood,
        Input::StatusRevoked,
        Input::JournalFailed,
        Input::Committed,
        Input::Conflict,
        Input::Accepted,
        Input::Rejected,
        Input::PolicyRefused,
        Input::NoVerdict,
        Input::Issued,
        Input::IssueRefused,
        Input::IssueNotDone,
        Input::IssueLost,
        Input::StillPending,
        Input::Absent,
        Input::AbsentSoFar,
        Input::CannotTell,
        Input::CheckPassed,
        Input::CheckFailed,
        Input::Notified,
        Input::NotNotified { again: true },
        Input::Spooled,
        Input::HandedToRevocation,
    ];

    /// What must have happened before an action, over every sequence of inputs, also senseless ones.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
    struct Seen {
        accepted: bool,
        asked: bool,
        stored_issued: bool,
        checked: bool,
        notified_or_spooled: bool,
        failure_told: bool,
        counts: bool,
    }

    #[test]
    fn no_sequence_of_inputs_issues_unvalidated_or_releases_unchecked() {
        for rules in [STRICT, SPOOL, POLLED, SILENT, Rules { ca_is_idempotent: true, ..STRICT }] {
            let mut reached = BTreeSet::new();
            let mut open = vec![(Transaction::new(rules), Seen::default(), None::<Action>)];
            while let Some((transaction, seen, last)) = open.pop() {
                for input in INPUTS {
                    let (mut transaction, mut seen) = (transaction.clone(), seen);
                    match (last, input) {
                        (Some(Action::Validate), Input::Accepted) => seen.accepted = true,
                        (Some(Action::Commit(RowState::Asked)), Input::Committed) => seen.asked = true,
                        (Some(Action::Check), Input::CheckPassed) => seen.checked = true,
                        (Some(Action::Commit(RowState::Issued | RowState::Acknowledged)), Input::Committed) => seen.stored_issued = true,
                        (None, Input::Known(Stored { state: RowState::Issued | RowState::Acknowledged, .. })) => {
                            (seen.checked, seen.stored_issued) = (true, true);
                        }
                        (Some(Action::CheckStatus), Input::StatusGood) => seen.counts = true,
                        (Some(Action::NotifySuccess(_)), Input::Notified) => seen.notified_or_spooled = true,
                        _ => {}
                    }
                    let action = transaction.next(input);
                    match action {
                        Action::Issue(_) => assert!(seen.accepted && seen.asked && !seen.failure_told, "{input:?} {transaction:?}"),
                        Action::NotifySuccess(_) => {
                            assert!(seen.checked && (seen.stored_issued || rules.tells_nobody) && !seen.failure_told);
                        }
                        Action::NotifyFailure(_) => seen.failure_told = true,
                        Action::Finish(Ending::Released { repeated: false, .. }) => {
                            assert!(seen.checked && seen.stored_issued, "{input:?}");
                            assert!(seen.notified_or_spooled || rules.notification == NotificationPolicy::IssueThenNotify);
                        }
                        Action::Finish(Ending::Released { repeated: true, .. }) => assert!(seen.counts, "{input:?}"),
                        _ => {}
                    }
                    let state = format!("{transaction:?} {seen:?}");
                    if !matches!(action, Action::Finish(_)) && reached.insert(state) {
                        open.push((transaction, seen, Some(action)));
                    }
                }
            }
            assert!(reached.len() > 20, "{}", reached.len());
        }
    }

    #[test]
    fn every_run_ends() {
        // From each action, the input that prolongs it most: still bounded.
        for first in INPUTS {
            for repeated in INPUTS {
                let mut transaction = Transaction::new(STRICT);
                let mut action = transaction.next(first);
                let mut steps = 0;
                while !matches!(action, Action::Finish(_)) {
                    action = transaction.next(repeated);
                    steps += 1;
                    assert!(steps < 50, "{first:?} {repeated:?}");
                }
            }
        }
    }
}
