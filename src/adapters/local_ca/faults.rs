//! Faults that a [`LocalCa`](super::LocalCa) shows on purpose, for tests and examples.

use core::time::Duration;
use std::collections::VecDeque;

use crate::ids::Oid;

/// What goes wrong with one request to issue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LocalCaFault {
    /// Nothing.
    #[default]
    None,
    /// A passing fault; nothing is issued and the answer says so.
    FailTransiently,
    /// Issued, but the answer is lost: a passing fault of unknown effect.
    LoseAnswer,
    /// Refused for good.
    Reject,
    /// Refused because of settings or permissions.
    Misconfigured,
    /// Issued for another public key.
    WrongKey,
    /// Issued without the SID extension.
    DropSid,
    /// Issued with one more extended key usage.
    ExtraExtendedKeyUsage(Oid),
    /// Issued for longer than planned.
    LongerValidity(Duration),
    /// Not issued yet: so many answers of `status` are `Pending` before the certificate comes.
    Pending {
        /// The answers.
        polls: u32,
    },
}

/// The faults to come, in order; after them all goes well, but for the regular fault.
#[derive(Debug, Clone, Default)]
pub struct LocalCaFaults {
    planned: VecDeque<(u32, LocalCaFault)>,
    regular: Option<(u32, LocalCaFault)>,
    calls: u32,
    failing_revocations: u32,
}

impl LocalCaFaults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Then this fault for the next `count` requests to issue ([`LocalCaFault::None`] lets them pass).
    #[must_use]
    pub fn then(mut self, count: u32, fault: LocalCaFault) -> Self {
        self.planned.push_back((count, fault));
        self
    }

    /// When nothing is planned, every `nth` request to issue shows this fault; 0 means never.
    #[must_use]
    pub fn every(mut self, nth: u32, fault: LocalCaFault) -> Self {
        self.regular = Some((nth, fault));
        self
    }

    /// The next `count` revocations fail with a passing fault.
    #[must_use]
    pub fn fail_revocations(mut self, count: u32) -> Self {
        self.failing_revocations = count;
        self
    }

    pub(super) fn next_issue(&mut self) -> LocalCaFault {
        while let Some((count, fault)) = self.planned.front_mut() {
            if *count > 0 {
                *count -= 1;
                return fault.clone();
            }
            self.planned.pop_front();
        }
        self.calls = self.calls.wrapping_add(1);
        match &self.regular {
            Some((nth, fault)) if *nth > 0 && self.calls.is_multiple_of(*nth) => fault.clone(),
            _ => LocalCaFault::None,
        }
    }

    pub(super) fn next_revocation_fails(&mut self) -> bool {
        let fails = self.failing_revocations > 0;
        self.failing_revocations = self.failing_revocations.saturating_sub(1);
        fails
    }
}
