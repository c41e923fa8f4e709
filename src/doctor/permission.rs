//! What a refusal of Graph means, and what cures it: pure.

use super::report::{Check, Finding};
use crate::ports::{PortError, PortErrorKind};

/// Service discovery gave no list.
pub(super) fn of_discovery(subject: &str, error: &PortError) -> Finding {
    let what = error.to_string();
    match error.code() {
        Some("401" | "403") => {
            let cure =
                "grant the app registration the application permission `Application.Read.All` of Microsoft Graph, with admin consent";
            Finding::error(Check::Permission, "Application.Read.All", what, cure)
        }
        Some("404") => {
            let cure = "give the tenant an Intune licence: it does not know Intune's application, by which Graph lists the services";
            Finding::error(Check::Discovery, subject, what, cure)
        }
        Some("407") => Finding::error(Check::Discovery, subject, what, "give the proxy the credentials that it wants"),
        _ => {
            let cure = match error.kind() {
                PortErrorKind::Misconfigured => {
                    "correct `Cloud::graph`, `graph_version` and `intune_app_id`, and take redirecting proxies away"
                }
                PortErrorKind::Throttled => "wait, and see what calls Graph so often",
                _ => "see the findings on Graph's name, proxy and TLS, and try again",
            };
            Finding::error(Check::Discovery, subject, what, cure)
        }
    }
}

/// A service has no location that may be used.
pub(super) fn of_location(service: &str, error: &PortError) -> Finding {
    let what = error.to_string();
    let cure = if what.contains("service not found") {
        "grant the app registration `scep_challenge_provider` of the Intune API, with admin consent, and give the tenant an Intune licence: without \
         them discovery lists no such service"
    } else {
        "when the location is right, add its host to `Cloud::host_suffixes`; tokens go nowhere else"
    };
    Finding::error(Check::Discovery, service, what, cure)
}

/// The answer to a request for one imported file.
pub(super) fn of_import(subject: &str, status: u16, grant: &str) -> Finding {
    let what = format!("Graph answers {status} to the list of imported files");
    match status {
        200 => Finding::ok(Check::Permission, subject, "Graph lets imported files be listed; writing needs the same permission"),
        401 | 403 => Finding::error(Check::Permission, subject, what, grant),
        404 | 400 => {
            let cure = "correct `OnlineChecks::import_collection`, and see that the tenant has an Intune licence";
            Finding::error(Check::Permission, subject, what, cure)
        }
        429 => Finding::warning(Check::Permission, subject, what, "wait, and see what calls Graph so often"),
        _ => Finding::error(Check::Permission, subject, what, "try again later; if it stays so, see the proxy"),
    }
}
