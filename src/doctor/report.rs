//! Findings, and what they come to.

use core::fmt;

use serde::{Serialize, Serializer};

use crate::event::printable;
use crate::time::Timestamp;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// It was not looked at; `what` says why.
    Skipped,
    /// As it should be.
    Ok,
    /// Worth knowing.
    Info,
    /// It works, and will not for ever or not always.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    /// The name in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// What was looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// Every check.
            pub const ALL: &'static [Check] = &[$(Check::$name,)*];

            /// The name in tables and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

checks! {
    /// Whether a host has an address.
    Dns "dns";
    /// Whether the proxy can be reached.
    Proxy "proxy";
    /// TLS with a host: version, chain, days until the server's certificate ends.
    Tls "tls";
    /// Whether the authority that gives tokens answers for the tenant.
    Authority "authority";
    /// How far this machine's clock is from the services'.
    Clock "clock";
    /// Whether there is a token.
    Token "token";
    /// The roles in a token.
    Role "role";
    /// Whether a service lets a harmless call through.
    Permission "permission";
    /// Whether Intune's services are found.
    Discovery "discovery";
    /// The end of the credential by which tokens are got.
    Credential "credential";
    /// Whether a CA answers.
    Ca "ca";
    /// The end of the certificates of a CA's chain.
    CaCertificate "ca-certificate";
    /// The CRL of a CA.
    Crl "crl";
    /// Whether a key for imported passwords is there and decrypts.
    ImportKey "import-key";
    /// The end of a certificate that the connector works with.
    Certificate "certificate";
    /// The journal.
    Journal "journal";
    /// Whether a folder can be written to.
    Disk "disk";
    /// Who can read a file that holds a secret.
    SecretFile "secret-file";
    /// Whether the connector runs on a CA's host.
    CaHost "ca-host";
    /// Whether the connector runs beside the Intune Connector for Active Directory.
    AdConnector "ad-connector";
    /// Whether all instances have one version.
    PeerVersion "peer-version";
    /// How long the version is supported.
    Lifecycle "lifecycle";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was looked at. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Of which host, CA, key or file.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is so, in a sentence.
    pub what: String,
    /// What to do; absent where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    fn new(check: Check, subject: &str, severity: Severity, what: impl Into<String>, cure: Option<String>) -> Self {
        let cure = cure.map(|cure| printable(&cure));
        Self { check, subject: printable(subject), severity, what: printable(&what.into()), cure }
    }

    pub(super) fn ok(check: Check, subject: &str, what: impl Into<String>) -> Self {
        Self::new(check, subject, Severity::Ok, what, None)
    }

    pub(super) fn info(check: Check, subject: &str, what: impl Into<String>) -> Self {
        Self::new(check, subject, Severity::Info, what, None)
    }

    pub(super) fn skipped(check: Check, subject: &str, what: impl Into<String>) -> Self {
        Self::new(check, subject, Severity::Skipped, what, None)
    }

    pub(super) fn warning(check: Check, subject: &str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(check, subject, Severity::Warning, what, Some(cure.into()))
    }

    pub(super) fn error(check: Check, subject: &str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(check, subject, Severity::Error, what, Some(cure.into()))
    }
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// All findings. `Display` prints a table with cures below the lines that need one; `Serialize` is for JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// When the checks began, by this machine's clock.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// The version of this crate.
    pub version: &'static str,
    /// The worst severity.
    pub worst: Severity,
    /// In the order in which the checks were given.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(at: Timestamp, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Skipped);
        Self { at, version: env!("CARGO_PKG_VERSION"), worst, findings }
    }

    /// The exit code for a program: 0 when nothing is worse than `Info`, 1 for warnings, 2 for errors.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.worst {
            Severity::Skipped | Severity::Ok | Severity::Info => 0,
            Severity::Warning => 1,
            Severity::Error => 2,
        }
    }

    /// The findings of one check.
    pub fn of(&self, check: Check) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.check == check)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Finding) -> usize| self.findings.iter().map(of).max().unwrap_or(0).min(48);
        let (check, subject) = (width(|finding| finding.check.as_str().len()), width(|finding| finding.subject.chars().count()));
        for finding in &self.findings {
            writeln!(f, "{:8} {:check$}  {:subject$}  {}", finding.severity, finding.check, finding.subject, finding.what)?;
            if let Some(cure) = &finding.cure {
                writeln!(f, "{:8} -> {cure}", "")?;
            }
        }
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings, skipped) = (count(Severity::Error), count(Severity::Warning), count(Severity::Skipped));
        write!(f, "{} checks: {errors} errors, {warnings} warnings, {skipped} skipped", self.findings.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_the_worst_finding() {
        let code = |findings: Vec<Finding>| Report::new(Timestamp::default(), findings).exit_code();
        let ok = || Finding::ok(Check::Dns, "a", "b");
        assert_eq!(code(vec![]), 0);
        assert_eq!(code(vec![ok(), Finding::info(Check::Dns, "a", "b"), Finding::skipped(Check::Dns, "a", "b")]), 0);
        assert_eq!(code(vec![ok(), Finding::warning(Check::Dns, "a", "b", "c")]), 1);
        assert_eq!(code(vec![Finding::error(Check::Dns, "a", "b", "c"), Finding::warning(Check::Dns, "a", "b", "c"), ok()]), 2);
    }

    #[test]
    fn a_table_shows_cures_and_no_forged_lines() {
        let report = Report::new(Timestamp::default(), vec![Finding::error(Check::Tls, "a\nerror", "it\r\nends", "renew\u{1b}[2J")]);
        let shown = report.to_string();
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(shown.contains("-> renew") && shown.ends_with("1 checks: 1 errors, 0 warnings, 0 skipped"), "{shown}");
    }

    #[test]
    fn json_names_are_those_of_the_table() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.as_str());
        }
        for severity in [Severity::Ok, Severity::Info, Severity::Warning, Severity::Error, Severity::Skipped] {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
    }
}
