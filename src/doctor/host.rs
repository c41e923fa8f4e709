//! Rules for hosts (facts F.3): not on a CA's host, not beside the Intune Connector for Active Directory, one version everywhere.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::disk::ad_connector_folders;
use super::report::{Check, Finding};
use crate::lifecycle::{ConnectorVersion, Release, SupportStatus, support};
use crate::ports::HealthMessage;
use crate::time::Timestamp;

/// An instance that said nothing for longer is not counted as running.
const SILENT: Duration = Duration::from_secs(86_400);

/// This host's name, as far as it can be learnt without a library.
pub(super) fn local_name() -> Option<String> {
    let from_file = |path: &str| std::fs::read_to_string(path).ok();
    let name = std::env::var("COMPUTERNAME").ok();
    let name = name.or_else(|| from_file("/proc/sys/kernel/hostname")).or_else(|| from_file("/etc/hostname"));
    name.or_else(|| std::env::var("HOSTNAME").ok()).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Whether the connector runs where a CA runs.
pub(super) fn ca_host(host: &str, local: Option<&str>) -> Finding {
    let Some(local) = local else {
        return Finding::skipped(Check::CaHost, host, "this host's name is not known; set `Doctor::host_name`");
    };
    if is_same_host(host, local) {
        let cure = "move the connector to a host of its own: who takes over the connector must not thereby have the CA's key";
        return Finding::error(Check::CaHost, host, format!("the connector runs on the CA's host ({local})"), cure);
    }
    Finding::ok(Check::CaHost, host, format!("the connector runs on another host ({local})"))
}

/// Names are compared without case; a name without domain stands for every domain.
fn is_same_host(one: &str, other: &str) -> bool {
    let clean = |name: &str| name.trim().trim_end_matches('.').to_ascii_lowercase();
    let (one, other) = (clean(one), clean(other));
    if one == "localhost" || one.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        return true;
    }
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let both_have_domains = one.contains('.') && other.contains('.');
    one == other || (!both_have_domains && first(&one) == first(&other))
}

/// Whether the Intune Connector for Active Directory is installed here; in `folders`, or where it is usually.
pub(super) fn ad_connector(folders: &[PathBuf]) -> Finding {
    let subject = "Intune Connector for Active Directory";
    let usual = if folders.is_empty() { ad_connector_folders() } else { folders.to_vec() };
    if folders.is_empty() && !cfg!(windows) {
        return Finding::skipped(Check::AdConnector, subject, "not applicable: it exists for Windows only");
    }
    match usual.iter().find(|folder| Path::is_dir(folder)) {
        Some(folder) => {
            let cure = "move one of the two to another host: they must not share one";
            Finding::error(Check::AdConnector, subject, format!("it is installed in {}", folder.display()), cure)
        }
        None => Finding::ok(Check::AdConnector, subject, "it is not installed here"),
    }
}

/// Whether the instances of the tenant have this version; the newest message of each counts.
pub(super) fn peers(messages: &[HealthMessage], now: Timestamp) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let mut newest: Vec<&HealthMessage> = Vec::new();
    for message in messages {
        match newest.iter_mut().find(|known| known.instance == message.instance) {
            Some(known) if known.at < message.at => *known = message,
            Some(_) => {}
            None => newest.push(message),
        }
    }
    let judge = |message: &&HealthMessage| {
        let name = message.instance.as_str();
        if now.since(message.at) > SILENT {
            return Finding::info(Check::PeerVersion, name, format!("it was last heard of at {}", message.at));
        }
        if message.version == own {
            return Finding::ok(Check::PeerVersion, name, format!("it has this version, {own}"));
        }
        let what = format!("it has version {}, and this is {own}", message.version);
        Finding::warning(Check::PeerVersion, name, what, "bring all instances to one version: which of them gets a request is not known")
    };
    newest.iter().map(judge).collect()
}

/// The support of a version, as the portal would judge it.
pub(super) fn lifecycle(version: ConnectorVersion, releases: &[Release], now: Timestamp) -> Finding {
    let subject = version.to_string();
    let judged = support(version, releases, now);
    let dates = match (judged.unsupported_from, judged.may_stop_from) {
        (Some(unsupported), Some(stop)) => format!("; unsupported from {unsupported}, may stop from {stop}"),
        _ => String::new(),
    };
    match judged.status {
        SupportStatus::Ok => Finding::ok(Check::Lifecycle, &subject, "it is the newest version"),
        SupportStatus::Warning => Finding::warning(Check::Lifecycle, &subject, format!("there is a newer version{dates}"), "update"),
        SupportStatus::Error => Finding::error(Check::Lifecycle, &subject, format!("it is not supported any more{dates}"), "update now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_domain_is_the_host_of_every_domain() {
        for (one, other) in
            [("CA1", "ca1"), ("ca1.contoso.example", "CA1"), ("ca1", "ca1.contoso.example."), ("127.0.0.1", "x"), ("localhost", "x")]
        {
            assert!(is_same_host(one, other), "{one} {other}");
        }
        for (one, other) in [("ca1", "ca2"), ("ca1.contoso.example", "ca1.fabrikam.example"), ("ca1", "ca11")] {
            assert!(!is_same_host(one, other), "{one} {other}");
        }
    }
}
