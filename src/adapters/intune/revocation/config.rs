//! What the user sets, with every mistake named at once.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::revocation_actions::RevocationActions;
use super::queue::IntuneRevocations;
use super::stored::Store;
use crate::adapters::http::ClientBuildError;
use crate::crypto::{CryptoProvider, SlotName};
use crate::flow::Finding;
use crate::flow::seal::{Sealer, key_finding};
use crate::ids::TenantId;
use crate::ports::{Journal, Runtime, SealingKeys};

/// The service gives out no more requests in one download.
pub(super) const MOST_REQUESTS: usize = 500;
/// The longest issuer filter, in characters.
const MOST_ISSUER: usize = 256;
/// Nobody waits longer between two downloads.
pub(super) const LONGEST_COOL_DOWN: Duration = Duration::from_secs(86_400);

/// How error codes are written. The service is known to take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ErrorCodeForm {
    /// By name, such as `ConflictError`, as Microsoft's C# client does.
    #[default]
    Names,
    /// As a number in a text, such as `"4005"`, as Microsoft's Java client does.
    Numbers,
}

/// What is set.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) max_requests: usize,
    pub(super) issuer_filter: Option<String>,
    pub(super) own_issuers: Option<BTreeSet<String>>,
    pub(super) form: ErrorCodeForm,
    pub(super) cool_down: Duration,
}

/// Makes an [`IntuneRevocations`]; see [`IntuneRevocations::builder`].
#[derive(Debug)]
pub struct RevocationsBuilder {
    actions: Arc<dyn RevocationActions>,
    journal: Arc<dyn Journal>,
    tenant: TenantId,
    runtime: Arc<dyn Runtime>,
    provider: CryptoProvider,
    sealing_key: Option<SealingKeys>,
    settings: Settings,
}

impl RevocationsBuilder {
    pub(super) fn new(
        actions: Arc<dyn RevocationActions>,
        journal: Arc<dyn Journal>,
        tenant: TenantId,
        runtime: Arc<dyn Runtime>,
        provider: CryptoProvider,
    ) -> Self {
        let settings = Settings {
            max_requests: 100,
            issuer_filter: None,
            own_issuers: None,
            form: ErrorCodeForm::default(),
            cool_down: Duration::from_secs(3_600),
        };
        Self { actions, journal, tenant, runtime, provider, sealing_key: None, settings }
    }

    /// Sets how many requests are asked for in a download, and how many results are sent in one upload: 1 to 500. Default 100, as Microsoft
    /// recommends.
    #[must_use]
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.settings.max_requests = requests;
        self
    }

    /// Lets the service give out requests of that issuer alone; at most 256 characters. Default: of all, with an explicit `null`.
    ///
    /// Beware: Microsoft documents that it is compared with `issuingCertificateAuthority` of the success notification, while users report that
    /// it is compared with `caConfiguration`, and only after the list was cut to [`max_requests`](Self::max_requests), so that an empty answer
    /// hides requests that wait. [`own_issuers`](Self::own_issuers) has neither problem.
    #[must_use]
    pub fn issuer_filter(mut self, issuer: impl Into<String>) -> Self {
        self.settings.issuer_filter = Some(issuer.into());
        self
    }

    /// Passes on the requests whose `issuerName` or `caConfiguration` is one of these names, compared exactly but for blanks around them, and
    /// those that name neither (the flow's `with_issuerless_requests` decides about them). The others are neither answered nor stored, since
    /// an answer would end another CA's revocation. Default: all are passed on, and the flow leaves those of other CAs alone.
    #[must_use]
    pub fn own_issuers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.settings.own_issuers = Some(names.into_iter().map(|name| name.into().trim().to_owned()).collect());
        self
    }

    /// Sets how error codes are written. Default: by name.
    #[must_use]
    pub fn error_codes(mut self, form: ErrorCodeForm) -> Self {
        self.settings.form = form;
        self
    }

    /// Sets for how long no download follows one that Intune counted, or may have counted; at most a day. Default 60 minutes, for which
    /// Intune gives out nothing anyway: shorter is of use against a simulated service only.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.settings.cool_down = time;
        self
    }

    /// Seals what the journal keeps with these keys: a [`SealingKey`](crate::ports::SealingKey), or one key of 32 random bytes as
    /// `SecretBytes`. Required with a durable journal, and to be kept apart from it; otherwise a fresh one is drawn.
    ///
    /// What Intune gave out is authenticated by it: whoever could add a row to the journal could otherwise have any certificate revoked.
    #[must_use]
    pub fn sealing_key(mut self, keys: impl Into<SealingKeys>) -> Self {
        self.sealing_key = Some(keys.into());
        self
    }

    /// Checks everything and builds.
    ///
    /// # Errors
    /// [`ClientBuildError`] lists every mistake.
    pub fn build(self) -> Result<IntuneRevocations, ClientBuildError> {
        let mut findings = self.findings();
        let provider = Arc::new(self.provider);
        match Sealer::new(Arc::clone(&provider), self.tenant.clone(), Arc::clone(&self.runtime), self.sealing_key) {
            Ok(sealer) if findings.is_empty() => {
                let store = Store::new(self.journal, sealer, provider, self.tenant);
                Ok(IntuneRevocations::new(self.actions, store, self.runtime, self.settings))
            }
            Ok(_) => Err(ClientBuildError::new("queue of Intune's revocations", findings)),
            Err(error) => {
                if findings.is_empty() {
                    findings.push(Finding::new("revocations.provider", error.to_string(), "use another crypto provider"));
                }
                Err(ClientBuildError::new("queue of Intune's revocations", findings))
            }
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut check = |wrong: bool, setting: &str, problem: &str, remedy: &str| {
            if wrong {
                findings.push(Finding::new(format!("revocations.{setting}"), problem, remedy));
            }
        };
        let settings = &self.settings;
        check(
            !(1..=MOST_REQUESTS).contains(&settings.max_requests),
            "max_requests",
            &format!("the service gives out 1 to {MOST_REQUESTS} requests at a time, not {}", settings.max_requests),
            "set at most 100, as Microsoft recommends",
        );
        let issuer = settings.issuer_filter.as_deref();
        check(
            issuer.is_some_and(|issuer| issuer.trim().is_empty()),
            "issuer_filter",
            "it is blank, which is no filter",
            "leave it out to get the requests of all issuers",
        );
        check(
            issuer.is_some_and(|issuer| issuer.chars().count() > MOST_ISSUER),
            "issuer_filter",
            "it is longer than 256 characters, which the service does not take",
            "use `own_issuers`, which filters here",
        );
        check(
            settings.own_issuers.as_ref().is_some_and(|own| own.is_empty() || own.contains("")),
            "own_issuers",
            "it is empty or holds a blank name",
            "name each issuer as the success notification named it, or leave the filter out",
        );
        check(settings.cool_down > LONGEST_COOL_DOWN, "cool_down", "it is longer than a day", "set 60 minutes");
        for slot in [SlotName::Random, SlotName::Digest, SlotName::Aead] {
            check(
                !self.provider.has(slot),
                "provider",
                &format!("the crypto provider `{}` does not fill the slot `{}`", self.provider.name(), slot.as_str()),
                "use a complete provider (feature `aws-lc-rs`)",
            );
        }
        findings.extend(key_finding("revocations.sealing_key", &*self.journal, self.sealing_key.as_ref()));
        findings
    }
}
