//! Events forwarded to the `tracing` crate.

use crate::event::{Channel, Event, EventId, Level};
use crate::ports::EventSink;

/// Forwards each event to `tracing` with the target `intune_connector::admin` or `intune_connector::operational`; the level follows the
/// event's. Filter by target to tell the two logs apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

impl TracingSink {
    /// A sink.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

macro_rules! forward {
    ($level:ident, $target:literal, $event:expr) => {{
        let event = $event;
        ::tracing::event!(
            target: $target,
            ::tracing::Level::$level,
            id = event.id.code(),
            name = event.id.name(),
            category = event.id.task_category().as_str(),
            flow = event.key.flow.map(|flow| flow.as_str()),
            scope = event.key.scope.as_str(),
            delivery = event.key.delivery,
            attempt = event.key.attempt,
            ca = event.ca.as_ref().map(|ca| ca.as_str()),
            error_class = event.error_class.map(|class| class.as_str()),
            duration_micros = event.duration_micros,
            correlation = ?event.correlation,
            details = ?event.details,
            "{}",
            event.message
        );
    }};
}

impl EventSink for TracingSink {
    fn enabled(&self, id: EventId) -> bool {
        match (id.channel(), id.level()) {
            (Channel::Admin, Level::Information) => ::tracing::enabled!(target: "intune_connector::admin", ::tracing::Level::INFO),
            (Channel::Admin, Level::Warning) => ::tracing::enabled!(target: "intune_connector::admin", ::tracing::Level::WARN),
            (Channel::Admin, Level::Error) => ::tracing::enabled!(target: "intune_connector::admin", ::tracing::Level::ERROR),
            (Channel::Operational, Level::Information) => {
                ::tracing::enabled!(target: "intune_connector::operational", ::tracing::Level::INFO)
            }
            (Channel::Operational, Level::Warning) => ::tracing::enabled!(target: "intune_connector::operational", ::tracing::Level::WARN),
            (Channel::Operational, Level::Error) => ::tracing::enabled!(target: "intune_connector::operational", ::tracing::Level::ERROR),
        }
    }

    fn emit(&self, event: &Event) {
        match (event.id.channel(), event.id.level()) {
            (Channel::Admin, Level::Information) => forward!(INFO, "intune_connector::admin", event),
            (Channel::Admin, Level::Warning) => forward!(WARN, "intune_connector::admin", event),
            (Channel::Admin, Level::Error) => forward!(ERROR, "intune_connector::admin", event),
            (Channel::Operational, Level::Information) => forward!(INFO, "intune_connector::operational", event),
            (Channel::Operational, Level::Warning) => forward!(WARN, "intune_connector::operational", event),
            (Channel::Operational, Level::Error) => forward!(ERROR, "intune_connector::operational", event),
        }
    }
}
