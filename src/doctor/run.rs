//! Collects the checks and runs them.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use rustls_pki_types::CertificateDer;

use super::online::{self, OnlineChecks};
use super::report::{Check, Finding, Report};
use super::scope::Scope;
use super::{authority, disk, host, journal, keys};
use crate::crypto::CryptoProvider;
use crate::ids::CaName;
use crate::lifecycle::{ConnectorVersion, Release};
use crate::limits::Limits;
use crate::ports::{CertificateAuthority, DecryptionKeys, HealthMessage, ImportKeyName, Journal, Runtime};

/// Long enough for a service behind a slow proxy, and for an HSM.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Checks that run at a time.
const CONCURRENCY: usize = 8;
/// Bytes of the file that is written to a folder.
const PROBE: usize = 1 << 20;
/// The longest probe file, in bytes.
const LONGEST_PROBE: usize = 1 << 30;

type Work<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Checks an installation. Give it what the connector works with, and [`run`](Self::run) it.
///
/// Every check has a deadline, none stops another, and none changes anything outside: folders get a probe file for a moment.
#[derive(Debug)]
pub struct Doctor {
    pub(super) scope: Scope,
    concurrency: usize,
    probe: usize,
    online: Vec<OnlineChecks>,
    authorities: Vec<(CaName, Arc<dyn CertificateAuthority>)>,
    import_keys: Vec<(ImportKeyName, Arc<dyn DecryptionKeys>)>,
    certificates: Vec<(String, CertificateDer<'static>)>,
    journal: Option<Arc<dyn Journal>>,
    folders: Vec<PathBuf>,
    secret_files: Vec<PathBuf>,
    ca_hosts: Vec<String>,
    host_name: Option<String>,
    ad_connector: Vec<PathBuf>,
    peers: Vec<HealthMessage>,
    version: Option<(ConnectorVersion, Vec<Release>)>,
}

impl Doctor {
    /// Without checks but those of the host itself.
    #[must_use]
    pub fn new(provider: CryptoProvider, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            scope: Scope { provider: Arc::new(provider), runtime, limits: Limits::default(), timeout: TIMEOUT },
            concurrency: CONCURRENCY,
            probe: PROBE,
            online: Vec::new(),
            authorities: Vec::new(),
            import_keys: Vec::new(),
            certificates: Vec::new(),
            journal: None,
            folders: Vec::new(),
            secret_files: Vec::new(),
            ca_hosts: Vec::new(),
            host_name: None,
            ad_connector: Vec::new(),
            peers: Vec::new(),
            version: None,
        }
    }

    /// Sets the longest time for one check. Default 20 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.scope.timeout = timeout;
        self
    }

    /// Sets how many checks run at a time, at least one. Default 8.
    #[must_use]
    pub fn concurrency(mut self, checks: usize) -> Self {
        self.concurrency = checks.max(1);
        self
    }

    /// Checks the way to Intune, for one tenant.
    #[must_use]
    pub fn online(mut self, checks: OnlineChecks) -> Self {
        self.online.push(checks);
        self
    }

    /// Checks a CA: chain, CRL and what ends. It is asked to issue and to revoke nothing.
    #[must_use]
    pub fn ca(mut self, name: CaName, ca: Arc<dyn CertificateAuthority>) -> Self {
        self.authorities.push((name, ca));
        self
    }

    /// Checks the keys of a name: each decrypts a random password that is encrypted to it.
    #[must_use]
    pub fn import_key(mut self, name: ImportKeyName, keys: Arc<dyn DecryptionKeys>) -> Self {
        self.import_keys.push((name, keys));
        self
    }

    /// Checks the end of a certificate that the connector works with: an RA's, a recrypt certificate, a client's.
    #[must_use]
    pub fn certificate(mut self, name: impl Into<String>, certificate: CertificateDer<'static>) -> Self {
        self.certificates.push((name.into(), certificate));
        self
    }

    /// Checks the journal.
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Checks that a folder can be written to, by a probe file that is removed again.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folders.push(path.into());
        self
    }

    /// Sets the size of the probe files in bytes, at most 1 GiB. Default 1 MiB. The free space itself is not known here: a large probe finds
    /// out whether there is that much.
    #[must_use]
    pub fn probe_size(mut self, bytes: usize) -> Self {
        self.probe = bytes.min(LONGEST_PROBE);
        self
    }

    /// Checks who can read a file, or a folder, that holds a secret. It is opened and not read.
    #[must_use]
    pub fn secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.secret_files.push(path.into());
        self
    }

    /// Checks that the connector does not run on this host of a CA.
    #[must_use]
    pub fn ca_host(mut self, host: impl Into<String>) -> Self {
        self.ca_hosts.push(host.into());
        self
    }

    /// Sets this host's name. Default: what the operating system says.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_name = Some(name.into());
        self
    }

    /// Looks for the Intune Connector for Active Directory in this folder. Default: where it is installed on Windows.
    #[must_use]
    pub fn ad_connector_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.ad_connector.push(path.into());
        self
    }

    /// Checks that the tenant's other instances, which sent these messages, have this version.
    #[must_use]
    pub fn peers(mut self, messages: impl IntoIterator<Item = HealthMessage>) -> Self {
        self.peers.extend(messages);
        self
    }

    /// Checks how long a version is supported, given the releases that are known.
    #[must_use]
    pub fn version(mut self, version: ConnectorVersion, releases: Vec<Release>) -> Self {
        self.version = Some((version, releases));
        self
    }

    /// Runs all checks.
    pub async fn run(&self) -> Report {
        let at = self.scope.now();
        let mut results = stream::iter(self.work()).buffered(self.concurrency);
        let mut findings = Vec::new();
        while let Some(found) = results.next().await {
            findings.extend(found);
        }
        Report::new(at, findings)
    }

    fn work(&self) -> Vec<Work<'_>> {
        let scope = &self.scope;
        let mut work: Vec<Work<'_>> = Vec::new();
        for checks in &self.online {
            work.push(Box::pin(online::check(scope, checks)));
        }
        for (name, ca) in &self.authorities {
            work.push(Box::pin(authority::check(scope, name, ca)));
        }
        for (name, keys) in &self.import_keys {
            work.push(Box::pin(keys::check(scope, name, keys)));
        }
        if let Some(journal) = &self.journal {
            work.push(Box::pin(journal::check(scope, journal)));
        }
        for path in &self.folders {
            work.push(Box::pin(disk::folder(scope, path, self.probe)));
        }
        for path in &self.secret_files {
            work.push(Box::pin(disk::secret_file(scope, path)));
        }
        work.push(Box::pin(async { self.host() }));
        work
    }

    /// What needs no waiting.
    fn host(&self) -> Vec<Finding> {
        let now = self.scope.now();
        let certificates = self.certificates.iter().map(|(name, der)| keys::certificate(&self.scope, name, der, now));
        let mut findings: Vec<Finding> = certificates.collect();
        let local = self.host_name.clone().or_else(host::local_name);
        findings.extend(self.ca_hosts.iter().map(|host| host::ca_host(host, local.as_deref())));
        findings.push(host::ad_connector(&self.ad_connector));
        findings.extend(host::peers(&self.peers, now));
        findings.push(match &self.version {
            Some((version, releases)) => host::lifecycle(*version, releases, now),
            None => Finding::skipped(Check::Lifecycle, env!("CARGO_PKG_VERSION"), "no releases are given to hold the version against"),
        });
        findings
    }
}
