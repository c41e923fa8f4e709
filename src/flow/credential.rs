//! Certificates that the connector itself works with, and the warning before they end.

use core::fmt::{self, Debug};
use core::time::Duration;
use std::sync::Arc;

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

impl Credential {
    /// What an operator shall do about it, within the time of notice.
    pub(crate) fn warning(&self, now: Timestamp) -> Option<String> {
        let left = self.not_after.since(now).as_secs() / 86_400;
        if self.not_after <= now {
            Some(format!("It ended at {}: renew it now.", self.not_after))
        } else if self.not_after <= now.saturating_add(NOTICE) {
            Some(format!("It ends at {}, in {left} days: renew it.", self.not_after))
        } else {
            None
        }
    }
}

/// A credential that belongs to an adapter, and may be renewed while the connector runs.
#[derive(Clone)]
pub(crate) struct WatchedCredential {
    pub(crate) name: String,
    pub(crate) expires: Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>,
}

impl WatchedCredential {
    /// As it is now; absent when its end is not known.
    pub(crate) fn now(&self) -> Option<Credential> {
        // It is the embedder's code; without an answer there is nothing to warn of.
        let expires = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.expires)())).ok().flatten();
        expires.map(|not_after| Credential { name: self.name.clone(), not_after })
    }
}

impl Debug for WatchedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchedCredential").field(&self.name).finish()
    }
}

/// The day of a time, by which a repeat of a day's warning is known.
pub(crate) fn day(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(86_400)
}

impl Context {
    /// Raises an event for each credential that ends within 30 days, or has ended.
    pub(crate) fn warn_of_expiry(&self, flow: Option<Flow>, credentials: &[Credential], now: Timestamp) {
        for credential in credentials {
            let Some(text) = credential.warning(now) else { continue };
            let delivery = u32::try_from(day(now)).unwrap_or(0);
            let scope = EventScope { flow, name: &credential.name, delivery, attempt: 0 };
            self.emit(EventId::CredentialExpiring, scope, |event| event.with_message(&text).with_detail("credential", &credential.name));
        }
    }
}
