//! Where discovery says that a service is, and whether calls may go there.

use std::collections::BTreeMap;

use super::cloud::Cloud;
use crate::adapters::http::{base_url, fit, is_within};

/// The tenant's services by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Services {
    /// By the name in lower case.
    by_name: BTreeMap<String, Service>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    /// As Graph spells it.
    name: String,
    /// As Graph gives it.
    uri: String,
    /// Checked, without a `/` at its end; or what is wrong with it.
    base: Result<String, String>,
}

/// Why there is no location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoLocation {
    /// The list has no service of that name.
    NotListed,
    /// Its URI must not be used.
    Refused(String),
}

impl Services {
    /// Adds an entry. Of several with the same name the first counts whose URI may be used, so a spoilt entry hides no good one.
    pub(super) fn add(&mut self, name: &str, uri: &str, cloud: &Cloud) {
        let service = Service { name: name.to_owned(), uri: uri.to_owned(), base: base(uri, cloud) };
        let key = name.to_lowercase();
        if self.by_name.get(&key).is_none_or(|known| known.base.is_err() && service.base.is_ok()) {
            self.by_name.insert(key, service);
        }
    }

    /// The base URI of a service, whose name is compared without regard to case.
    pub(super) fn base(&self, name: &str) -> Result<&str, NoLocation> {
        let service = self.by_name.get(&name.to_lowercase()).ok_or(NoLocation::NotListed)?;
        service.base.as_deref().map_err(|problem| NoLocation::Refused(problem.clone()))
    }

    /// Names and URIs as Graph gives them.
    pub(super) fn listed(&self) -> BTreeMap<String, String> {
        self.by_name.values().map(|service| (service.name.clone(), service.uri.clone())).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The names, for an error.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.by_name.values().map(|service| service.name.as_str()).collect();
        if names.is_empty() { "nothing".to_owned() } else { fit(&names.join(", ")) }
    }
}

/// Checks a discovered URI: tokens and CSRs go to it.
fn base(uri: &str, cloud: &Cloud) -> Result<String, String> {
    let url = base_url(uri, cloud.dangerous_plain_http_on_loopback).map_err(|problem| format!("the URI {problem}"))?;
    if !is_within(&url, &cloud.host_suffixes) {
        let host = fit(url.host_str().unwrap_or_default());
        return Err(format!("its host {host} is not one of the cloud's `host_suffixes`, nor below one"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://fef.msub01.manage.microsoft.com/RACerts/Scep";

    #[test]
    fn a_slash_at_the_end_of_a_base_is_not_doubled() {
        for end in ["", "/", "//"] {
            assert_eq!(base(&format!("{BASE}{end}"), &Cloud::global()).as_deref(), Ok(BASE));
        }
        assert_eq!(base("https://fef.manage.microsoft.com", &Cloud::global()).as_deref(), Ok("https://fef.manage.microsoft.com"));
    }

    #[test]
    fn uris_outside_the_cloud_are_refused() {
        for uri in [
            "https://fef.evil.example/x",
            "https://evilmanage.microsoft.com/x",
            "https://fef.manage.microsoft.com.evil.example/x",
            "https://fef.manage.microsoft.com@evil.example/x",
            "https://fef.manage.microsoft.com:443@evil.example/x",
            "https://evil.example/manage.microsoft.com",
            "https://manage.microsoft.com.evil.example",
            "https://manage.microsoft.com./x",
            "https://fef.manage.microsoft.com.:443/x",
            "https://evil.example%2f.manage.microsoft.com/x",
            "https://evil.example%5c.manage.microsoft.com/x",
            "https://evil.example%23.manage.microsoft.com/x",
            "https://evil.example%00.manage.microsoft.com/x",
            "https://evil.example%40fef.manage.microsoft.com/x",
            "https://evil.example%EF%BC%8F.manage.microsoft.com/x",
            "https://evil.example%E2%81%84x.manage.microsoft.com.evil.example/x",
            "https://manage.microsoft.c\u{3bf}m/x",
            "https://m%D0%B0nage.microsoft.com/x",
            "https://xn--mnage-3ve.microsoft.com/x",
            "https://manage%E3%80%82microsoft.com%E3%80%82evil.example/x",
            "https://evil.example;.manage.microsoft.com:x/",
            "https://[::1]/manage.microsoft.com",
            "https://[::ffff:127.0.0.1]/x",
            "https://[fe80::1%25eth0]/x",
            "https://0x7f.1/x",
            "https://2130706433/x",
            "https:\\\\fef.manage.microsoft.com/x",
            "https:fef.manage.microsoft.com/x",
            "https://evil.example\\.manage.microsoft.com/x",
            "https://evil.example#.manage.microsoft.com/x",
            "https://evil.example?.manage.microsoft.com/x",
            "http://fef.manage.microsoft.com/x",
            "http://127.0.0.1/x",
            "https://127.0.0.1/x",
            "https://manage.microsoft.us/x",
            "fef.manage.microsoft.com/x",
            "//fef.manage.microsoft.com/x",
            "",
        ] {
            assert!(base(uri, &Cloud::global()).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_simulator_on_loopback_needs_the_switch_and_the_host() {
        let mut cloud = Cloud::global();
        cloud.dangerous_plain_http_on_loopback = true;
        assert!(base("http://127.0.0.1:8080/x", &cloud).unwrap_err().contains("host_suffixes"));
        cloud.host_suffixes.insert("127.0.0.1".to_owned());
        assert_eq!(base("http://127.0.0.1:8080/x/", &cloud).as_deref(), Ok("http://127.0.0.1:8080/x"));
    }

    #[test]
    fn of_duplicates_the_first_that_may_be_used_counts_and_case_does_not() {
        let cloud = Cloud::global();
        let mut services = Services::default();
        services.add("PKICONNECTORFEService", "https://evil.example/", &cloud);
        assert!(matches!(services.base("PkiConnectorFEService"), Err(NoLocation::Refused(problem)) if problem.contains("evil.example")));
        services.add("PkiConnectorFEService", BASE, &cloud);
        services.add("pkiconnectorfeservice", "https://other.manage.microsoft.com/", &cloud);
        assert_eq!(services.base("pkiConnectorFeService"), Ok(BASE));
        assert_eq!(services.base("x"), Err(NoLocation::NotListed));
        assert_eq!((services.len(), services.names().as_str()), (1, "PkiConnectorFEService"));
    }
}
