//! Where the discovered services are, and what is left where they were.

use serde::{Deserialize, Serialize};

use super::endpoint::{REVOCATION_PATH, SCEP_PATH};

/// What a location that the services have left does to whoever still asks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Stale {
    /// 404
    #[default]
    NotFound,
    /// 410
    Gone,
    /// 421
    Misdirected,
    /// The host is unknown. In process that is what the transport says; a server is still there, and ends the connection.
    UnknownHost,
}

impl Stale {
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Self::NotFound => Some(404),
            Self::Gone => Some(410),
            Self::Misdirected => Some(421),
            Self::UnknownHost => None,
        }
    }
}

/// The scale unit that serves the tenant.
#[derive(Debug, Default)]
pub(super) struct Location {
    number: u32,
    pub(super) stale: Stale,
}

impl Location {
    pub(super) fn unit(&self) -> String {
        Self::name(self.number)
    }

    pub(super) fn previous_unit(&self) -> String {
        // Before the first there was one as well, which nobody remembers.
        self.number.checked_sub(1).map_or_else(|| "msub00".to_owned(), Self::name)
    }

    fn name(number: u32) -> String {
        format!("msub{:02}", number.saturating_add(1))
    }

    pub(super) fn move_on(&mut self, stale: Stale) {
        self.number = self.number.saturating_add(1);
        self.stale = stale;
    }
}

/// The host of the services in process; a server has one host for all.
pub(super) fn service_host(unit: &str) -> String {
    format!("fef.{unit}.manage.{}", super::IN_PROCESS_HOST)
}

/// Scheme and authority before the scale unit: of its own host in process, the server's own otherwise.
fn front(base: &str, unit: &str) -> String {
    if base == super::IN_PROCESS_BASE { format!("https://{}", service_host(unit)) } else { base.to_owned() }
}

pub(super) fn scep_base(base: &str, unit: &str) -> String {
    format!("{}/{unit}/{SCEP_PATH}", front(base, unit))
}

pub(super) fn revocation_base(base: &str, unit: &str) -> String {
    format!("{}/{unit}/{REVOCATION_PATH}", front(base, unit))
}

/// Whether a host is the simulator's in process, at whatever scale unit.
pub(super) fn is_in_process(host: &str) -> bool {
    let unit =
        host.strip_prefix("fef.").and_then(|rest| rest.strip_suffix(super::IN_PROCESS_HOST)).and_then(|rest| rest.strip_suffix(".manage."));
    host == super::IN_PROCESS_HOST || unit.is_some_and(|unit| unit.starts_with("msub"))
}
