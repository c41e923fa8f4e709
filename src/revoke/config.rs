//! What the user sets for the revocation flow.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::run::RevokeWorker;
use crate::flow::{Finding, FlowSpec, QueueSettings};
use crate::ids::CaName;
use crate::ports::{CertificateAuthority, IntuneQueue, RevokeBy};
use crate::terms::RevocationReason;

/// Intune gives out no revocations for 60 minutes after a download, so polling more often is useless there.
const POLL_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long a call of a CA may take; slow ones (approval by a person aside) answer within seconds.
const CA_TIMEOUT: Duration = Duration::from_secs(120);

/// How Intune is told that a certificate was revoked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlreadyRevoked {
    /// As a success, since what was asked for is so; the local event carries a note.
    #[default]
    ReportSuccess,
    /// As `ConflictError` (4005): the administrator sees a failed revocation.
    ReportConflict,
}

/// Whose the requests are that name no issuer. Only a certificate that exactly one own CA issued is ever revoked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IssuerlessRequests {
    /// Ours when an own CA issued the certificate. The others are left alone, since another connector may serve them.
    #[default]
    MayBeOthers,
    /// All ours: `CertificateNotFoundError` (4004) is answered when every own CA is certain that it did not issue the certificate.
    /// Wrong when the tenant has further CAs: the answer is final and ends their revocation.
    AreOurs,
    /// None ours: they are left alone unsearched.
    LeaveAlone,
}

/// How the queue writes serial numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SerialSpelling {
    /// In hexadecimal, either case, with or without `0x`, colons, spaces and leading zeros.
    #[default]
    Hexadecimal,
    /// In decimal, since a text such as `10` cannot tell by itself. A serial number behind `0x` is still read as hexadecimal.
    Decimal,
}

/// The revocation flow: where requests come from and which CAs revoke.
#[derive(Debug, Clone)]
pub struct RevokeConfig {
    pub(super) settings: QueueSettings,
    pub(super) authorities: Vec<Authority>,
    pub(super) unknown_alias_targets: Vec<CaName>,
    pub(super) default_reason: RevocationReason,
    pub(super) already_revoked: AlreadyRevoked,
    pub(super) issuerless: IssuerlessRequests,
    pub(super) spelling: SerialSpelling,
    pub(super) ca_timeout: Duration,
}

/// One own CA.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) name: CaName,
    pub(super) aliases: Vec<String>,
    pub(super) ca: Arc<dyn CertificateAuthority>,
}

impl RevokeConfig {
    /// The flow with one CA. `ca_name` is what requests name as issuer: the issuing authority that the connector reported when the
    /// certificate was issued. The queue is polled once an hour.
    #[must_use]
    pub fn new(queue: Arc<dyn IntuneQueue>, ca_name: CaName, ca: Arc<dyn CertificateAuthority>) -> Self {
        Self {
            settings: QueueSettings::new(queue).with_poll_interval(POLL_INTERVAL),
            authorities: vec![Authority { name: ca_name, aliases: Vec::new(), ca }],
            unknown_alias_targets: Vec::new(),
            default_reason: RevocationReason::CessationOfOperation,
            already_revoked: AlreadyRevoked::default(),
            issuerless: IssuerlessRequests::default(),
            spelling: SerialSpelling::default(),
            ca_timeout: CA_TIMEOUT,
        }
    }

    /// Adds a CA. The name `Symantec` stands for DigiCert: its requests raise event 3032 (the documented routing).
    #[must_use]
    pub fn with_ca(mut self, name: CaName, ca: Arc<dyn CertificateAuthority>) -> Self {
        self.authorities.push(Authority { name, aliases: Vec::new(), ca });
        self
    }

    /// Adds another spelling of the issuer, such as its distinguished name, by which requests may name a CA that was added before.
    #[must_use]
    pub fn with_issuer_alias(mut self, ca: &CaName, alias: impl Into<String>) -> Self {
        match self.authorities.iter_mut().find(|authority| authority.name == *ca) {
            Some(authority) => authority.aliases.push(alias.into()),
            None => self.unknown_alias_targets.push(ca.clone()),
        }
        self
    }

    /// Sets poll interval, concurrency, attempts and the like; the queue is that of the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: QueueSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the reason for requests that name none, as Intune's do. Default: cessationOfOperation.
    #[must_use]
    pub fn with_default_reason(mut self, reason: RevocationReason) -> Self {
        self.default_reason = reason;
        self
    }

    /// Sets how Intune is told that a certificate was revoked before. Default: as a success.
    #[must_use]
    pub fn with_already_revoked(mut self, report: AlreadyRevoked) -> Self {
        self.already_revoked = report;
        self
    }

    /// Sets whose the requests are that name no issuer. Default: they may be others'.
    #[must_use]
    pub fn with_issuerless_requests(mut self, whose: IssuerlessRequests) -> Self {
        self.issuerless = whose;
        self
    }

    /// Sets how the queue writes serial numbers. Default: hexadecimal.
    #[must_use]
    pub fn with_serial_spelling(mut self, spelling: SerialSpelling) -> Self {
        self.spelling = spelling;
        self
    }

    /// Sets after what time a call of a CA is abandoned and tried again. Default 2 minutes.
    #[must_use]
    pub fn with_ca_timeout(mut self, timeout: Duration) -> Self {
        self.ca_timeout = timeout;
        self
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut issuers: Vec<&str> = Vec::new();
        for authority in &self.authorities {
            let setting = format!("revoke.ca.{}", authority.name);
            for issuer in core::iter::once(authority.name.as_str()).chain(authority.aliases.iter().map(String::as_str)) {
                if issuer.trim().is_empty() || issuers.contains(&issuer) {
                    findings.push(Finding::new(
                        setting.clone(),
                        format!("the issuer `{issuer}` is blank or stands for two CAs"),
                        "give each CA names and aliases of its own",
                    ));
                }
                issuers.push(issuer);
            }
            let can = authority.ca.capabilities();
            if can.revoke_by.is_empty() {
                findings.push(Finding::new(
                    setting.clone(),
                    "this CA cannot revoke",
                    "leave it out of the revocation flow, or use a back end that names a way in `CaCapabilities::revoke_by`",
                ));
            } else if !can.revoke_by.contains(&RevokeBy::Serial) && !can.lookup_by_serial {
                findings.push(Finding::new(
                    setting.clone(),
                    "this CA does not revoke by serial number and cannot look up a certificate by it, which is all that requests name",
                    "use a back end with `RevokeBy::Serial` or `CaCapabilities::lookup_by_serial`",
                ));
            }
            if self.authorities.len() > 1 && !can.lookup_by_serial && self.issuerless != IssuerlessRequests::LeaveAlone {
                findings.push(Finding::new(
                    setting,
                    "requests without issuer are searched for in all CAs, and this one cannot look up a serial number",
                    "set `with_issuerless_requests(IssuerlessRequests::LeaveAlone)`, or use a back end with `lookup_by_serial`",
                ));
            }
        }
        for name in &self.unknown_alias_targets {
            findings.push(Finding::new(
                format!("revoke.ca.{name}"),
                "an alias is set for a CA that is not configured",
                "add the CA before its alias",
            ));
        }
        if self.ca_timeout.is_zero() {
            findings.push(Finding::new("revoke.ca_timeout", "every call of a CA would be abandoned at once", "set more than zero"));
        }
        findings
    }
}

impl From<RevokeConfig> for FlowSpec {
    fn from(config: RevokeConfig) -> Self {
        let settings = config.settings.clone();
        Self::new(Arc::new(RevokeWorker::new(config)), settings)
    }
}
