//! What the connector tells its operator: events with documented ids, never with a secret or a control character in them.
//!
//! [`EventId::CredentialExpiring`] comes once a day for recrypt and RA certificates from 30 days before their end;
//! [`EventId::CertificateRenewed`] when a reconfiguration brings a new recrypt certificate.

mod id;

use std::collections::BTreeMap;

use core::time::Duration;
use serde::{Deserialize, Serialize};

pub use id::{Channel, EventId, Level, TaskCategory, Unit, UnknownEvent};

use crate::ids::{CaName, CorrelationId, InstanceId, TenantId, is_unprintable};
use crate::retry::ErrorClass;
use crate::terms::Flow;
use crate::time::Timestamp;

/// Longest text in an event in characters; longer input is cut.
const TEXT_CHARS: usize = 1_000;

/// Names one event deterministically: the same step of the same request gives the same key after a crash, so a sink can drop repeats.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The instance; for requests, the one that owns the request now.
    pub instance: InstanceId,
    /// The flow; absent for the connector itself.
    pub flow: Option<Flow>,
    /// The request id, the batch or the component.
    pub scope: String,
    /// How often the queue has delivered the request, or the number of the batch.
    pub delivery: u32,
    /// The attempt, from 1; 0 where there is none.
    pub attempt: u32,
    /// The event.
    pub event: EventId,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub id: EventId,
    /// By what a repeat is known.
    pub key: EventKey,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// The CA, where one is involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaName>,
    /// Ids of the same work in other systems' logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correlation: Vec<CorrelationId>,
    /// How long the step took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_micros: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_class: Option<ErrorClass>,
    /// A sentence for the operator, without secrets and control characters.
    pub message: String,
    /// Further facts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Event {
    /// An event with its documented text as message.
    #[must_use]
    pub fn new(key: EventKey, at: Timestamp) -> Self {
        Self {
            id: key.event,
            at,
            ca: None,
            correlation: Vec::new(),
            duration_micros: None,
            error_class: None,
            message: key.event.text().to_owned(),
            details: BTreeMap::new(),
            key,
        }
    }

    /// Adds a sentence to the message; control characters are replaced and overlong text is cut.
    #[must_use]
    pub fn with_message(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.message.push(' ');
            self.message.push_str(&printable(text));
        }
        self
    }

    /// Adds a fact; control characters are replaced and overlong text is cut.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: &str) -> Self {
        self.details.insert(name.to_owned(), printable(value));
        self
    }

    /// Sets the CA.
    #[must_use]
    pub fn with_ca(mut self, ca: Option<CaName>) -> Self {
        self.ca = ca;
        self
    }

    /// Sets the ids in other systems' logs.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Vec<CorrelationId>) -> Self {
        self.correlation = correlation;
        self
    }

    /// Sets the duration.
    #[must_use]
    pub fn with_duration(mut self, duration: Duration) -> Self {
        self.duration_micros = Some(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Sets the error class.
    #[must_use]
    pub fn with_error_class(mut self, class: ErrorClass) -> Self {
        self.error_class = Some(class);
        self
    }
}

/// Makes text of unknown origin fit for a log: control characters and invisible formatting
/// characters become U+FFFD, at most 1,000 characters are kept.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out: String = text.chars().take(TEXT_CHARS).map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_log_lines() {
        assert_eq!(printable("a\r\nb\u{1b}[2Jc\u{202e}d"), "a\u{fffd}\u{fffd}b\u{fffd}[2Jc\u{fffd}d");
        assert_eq!(printable(&"x".repeat(5_000)).chars().count(), 1_001);
    }
}
