//! What to do after a try to send a message: pure.

use crate::retry::Retry;

/// The next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Sent: 5000.
    Sent,
    /// Try again: 5001.
    Again,
    /// Given up: 5002.
    GiveUp,
}

/// After the try `attempt` (from 1) of at most `attempts`.
pub(super) fn after(result: Result<(), Retry>, attempt: u32, attempts: u32) -> Next {
    match result {
        Ok(()) => Next::Sent,
        Err(Retry::Never) => Next::GiveUp,
        Err(_) if attempt >= attempts => Next::GiveUp,
        Err(_) => Next::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_again_until_the_attempts_are_used_up() {
        assert_eq!(after(Ok(()), 3, 3), Next::Sent);
        assert_eq!(after(Err(Retry::Later), 2, 3), Next::Again);
        assert_eq!(after(Err(Retry::Later), 3, 3), Next::GiveUp);
        assert_eq!(after(Err(Retry::Never), 1, 3), Next::GiveUp);
    }
}
