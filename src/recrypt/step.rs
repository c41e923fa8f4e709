//! What to do next for a recrypt request: pure.

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The recipient is not approved yet: nothing is decrypted for nobody.
    New,
    /// The recipient is approved.
    Approved,
    /// The payload is decrypted.
    Opened,
}

/// What the asynchronous part shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Check the recipient.
    Approve,
    /// Decrypt the payload.
    Open,
    /// Encrypt it to the recipient.
    Seal,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// The decryption key is away.
    KeyUnavailable,
    Failed,
}

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// Try again; with `last` no attempt is left.
    Retry {
        last: bool,
    },
    Fail,
    Finish,
}

impl Phase {
    pub(crate) fn next(self) -> Action {
        match self {
            Self::New => Action::Approve,
            Self::Approved => Action::Open,
            Self::Opened => Action::Seal,
        }
    }

    pub(crate) fn on(self, answer: Answer, attempt: u32, max_attempts: u32) -> (Self, Verdict) {
        match (self, answer) {
            (Self::New, Answer::Done) => (Self::Approved, Verdict::GoOn),
            (Self::Approved, Answer::Done) => (Self::Opened, Verdict::GoOn),
            (Self::Opened, Answer::Done) => (Self::Opened, Verdict::Finish),
            (Self::Approved, Answer::KeyUnavailable) => (Self::Approved, Verdict::Retry { last: attempt >= max_attempts }),
            (phase, Answer::Failed | Answer::KeyUnavailable) => (phase, Verdict::Fail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_decrypted_before_the_recipient_is_approved() {
        let (approved, verdict) = Phase::New.on(Answer::Done, 1, 5);
        assert_eq!((Phase::New.next(), approved.next(), verdict), (Action::Approve, Action::Open, Verdict::GoOn));
        assert_eq!(Phase::New.on(Answer::Failed, 1, 5).1, Verdict::Fail);
    }

    #[test]
    fn only_a_key_that_is_away_is_tried_again() {
        assert_eq!(Phase::Approved.on(Answer::KeyUnavailable, 4, 5).1, Verdict::Retry { last: false });
        assert_eq!(Phase::Approved.on(Answer::KeyUnavailable, 5, 5).1, Verdict::Retry { last: true });
        assert_eq!(Phase::Approved.on(Answer::Failed, 1, 5).1, Verdict::Fail);
        assert_eq!(Phase::Opened.on(Answer::Failed, 1, 5).1, Verdict::Fail);
    }
}
