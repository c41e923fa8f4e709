//! What an app registration proves itself with.

use core::fmt::{self, Debug};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::assertion::CertificateAssertion;
use super::form::form;
use super::secret_source::SecretSource;
use crate::adapters::http::Failure;
use crate::crypto::{CryptoProvider, SigningKey};
use crate::flow::Finding;
use crate::ports::Runtime;
use crate::secret::{Password, SecretBytes};
use crate::time::Timestamp;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A credential of an app registration: a client secret, a certificate with its key, or a token of a federated identity.
///
/// A certificate is the better choice where a key can be kept: its key never travels, and may live in an HSM or a vault.
pub struct Credential {
    kind: Kind,
    expires: Option<Timestamp>,
}

enum Kind {
    Secret(SecretSource),
    Certificate(CertificateDer<'static>, Arc<dyn SigningKey>),
    Federated(SecretSource),
}

impl Credential {
    /// A client secret: its *value*, not its id. Tell its end by [`with_expires`](Self::with_expires), since it does not say so itself.
    #[must_use]
    pub fn client_secret(source: impl Into<SecretSource>) -> Self {
        Self { kind: Kind::Secret(source.into()), expires: None }
    }

    /// A certificate that was uploaded to the app registration, and its RSA key, which signs an assertion (PS256) for each fetch.
    #[must_use]
    pub fn certificate(certificate: CertificateDer<'static>, key: Arc<dyn SigningKey>) -> Self {
        Self { kind: Kind::Certificate(certificate, key), expires: None }
    }

    /// A token that another issuer makes and renews, such as Kubernetes in a projected volume: it is read anew for each fetch. The app
    /// registration needs a federated identity credential for that issuer and subject.
    #[must_use]
    pub fn federated_token(source: impl Into<SecretSource>) -> Self {
        Self { kind: Kind::Federated(source.into()), expires: None }
    }

    /// Sets when it ends, for warnings ahead of time. Of a certificate's own end and this one the earlier counts.
    #[must_use]
    pub fn with_expires(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Checks it and makes it ready.
    pub(super) fn prepare(self, provider: &CryptoProvider) -> Result<Prepared, Finding> {
        let (proof, own_end) = match self.kind {
            Kind::Secret(source) => (Proof::Secret(source), None),
            Kind::Federated(source) => (Proof::Federated(source), None),
            Kind::Certificate(certificate, key) => {
                let assertion = CertificateAssertion::new(&certificate, key, provider)?;
                let end = assertion.not_after();
                (Proof::Certificate(assertion), Some(end))
            }
        };
        Ok(Prepared { proof, expires: self.expires.into_iter().chain(own_end).min() })
    }
}

impl Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, source) = match &self.kind {
            Kind::Secret(source) => ("client secret", Some(source)),
            Kind::Certificate(..) => ("certificate", None),
            Kind::Federated(source) => ("federated token", Some(source)),
        };
        f.debug_struct("Credential").field("kind", &kind).field("source", &source).field("expires", &self.expires).finish()
    }
}

/// A credential that was checked.
#[derive(Debug)]
pub(super) struct Prepared {
    proof: Proof,
    expires: Option<Timestamp>,
}

#[derive(Debug)]
enum Proof {
    Secret(SecretSource),
    Certificate(CertificateAssertion),
    Federated(SecretSource),
}

/// Where and as whom a token is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) endpoint: &'a str,
    pub(super) client_id: &'a str,
    pub(super) scope: &'a str,
}

impl Prepared {
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// The body of a token request, and the secret in it, which no error may quote.
    pub(super) async fn body(
        &self,
        request: Request<'_>,
        provider: &CryptoProvider,
        runtime: &dyn Runtime,
    ) -> Result<(SecretBytes, Password), Failure> {
        let secret = match &self.proof {
            Proof::Secret(source) | Proof::Federated(source) => source.read(runtime).await?,
            Proof::Certificate(assertion) => assertion.sign(request, provider, runtime.now()).await?,
        };
        let text = secret.secret_str().unwrap_or_default();
        let common = [("client_id", request.client_id), ("scope", request.scope), ("grant_type", "client_credentials")];
        let body = match &self.proof {
            Proof::Secret(_) => form(&[common.as_slice(), &[("client_secret", text)]].concat()),
            Proof::Certificate(_) | Proof::Federated(_) => {
                form(&[common.as_slice(), &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", text)]].concat())
            }
        };
        Ok((body, secret))
    }
}
