//! Certificates that the connector itself works with, and the warning before they end.

use core::time::Duration;

use super::{Context, EventScope};
use crate::event::EventId;
use crate::terms::Flow;
use crate::time::Timestamp;

/// How long before its end a credential is warned of, each day: time for a renewal that people must approve.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);
/// How often credentials are looked at.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(86_400);

/// A certificate whose end stops a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// For the operator.
    pub(crate) name: String,
    pub(crate) not_after: Timestamp,
}

/// The day of a time, by which a repeat of a day's warning is known.
pub(crate) fn day(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(86_400)
}

impl Context {
    /// Raises an event for each credential that ends within 30 days, or has ended.
    pub(crate) fn warn_of_expiry(&self, flow: Flow, credentials: &[Credential], now: Timestamp) {
        for credential in credentials.iter().filter(|credential| credential.not_after <= now.saturating_add(NOTICE)) {
            let delivery = u32::try_from(day(now)).unwrap_or(0);
            let scope = EventScope { flow: Some(flow), name: &credential.name, delivery, attempt: 0 };
            self.emit(EventId::CredentialExpiring, scope, |event| {
                let left = credential.not_after.since(now).as_secs() / 86_400;
                let text = if credential.not_after <= now {
                    format!("It ended at {}: renew it now.", credential.not_after)
                } else {
                    format!("It ends at {}, in {left} days: renew it.", credential.not_after)
                };
                event.with_message(&text).with_detail("credential", &credential.name)
            });
        }
    }
}
