//! A client assertion signed by a certificate's key (RFC 7523 section 2.2, RFC 7518 section 3.5).

use core::fmt::{self, Debug};
use core::time::Duration;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::credential::Request;
use crate::adapters::http::{Failure, guid};
use crate::crypto::{CryptoProvider, DigestAlgorithm, SignError, SignatureAlgorithm, SigningKey};
use crate::flow::Finding;
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::ports::PortErrorKind;
use crate::secret::Password;
use crate::time::Timestamp;

/// How long an assertion is good; Entra ID takes ten minutes at most.
const LIFETIME: Duration = Duration::from_secs(600);
const PS256: SignatureAlgorithm = SignatureAlgorithm::RsaPssSha256;

/// A certificate whose key signs assertions.
pub(super) struct CertificateAssertion {
    key: Arc<dyn SigningKey>,
    /// Of the DER, in base64url: `x5t#S256`.
    thumbprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(rename = "x5t#S256")]
    thumbprint: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    exp: i64,
}

impl CertificateAssertion {
    pub(super) fn new(der: &[u8], key: Arc<dyn SigningKey>, provider: &CryptoProvider) -> Result<Self, Finding> {
        let finding = |problem: String, remedy: &str| Finding::new("entra.credential", problem, remedy);
        let certificate = Certificate::from_der(der, &Limits::default())
            .map_err(|error| finding(format!("the certificate cannot be read: {error}"), "give its DER"))?;
        if certificate.spki() != key.public_key().as_ref() {
            return Err(finding("the key is not the certificate's".to_owned(), "give the key that the certificate was made for"));
        }
        if !key.algorithms().contains(&PS256) {
            let problem = "the key cannot sign with PS256 (RSASSA-PSS with SHA-256)".to_owned();
            return Err(finding(problem, "use a certificate with an RSA key"));
        }
        provider.permits_signing(PS256).map_err(|error| finding(error.to_string(), "use another credential"))?;
        let digest = provider.digest().map_err(|error| finding(error.to_string(), "use another crypto provider"))?;
        let digest = digest
            .digest(DigestAlgorithm::Sha256, &[der])
            .map_err(|error| finding(error.to_string(), "use a crypto provider with SHA-256"))?;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest);
        Ok(Self { key, thumbprint, not_before: certificate.not_before(), not_after: certificate.not_after() })
    }

    pub(super) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A fresh assertion. Whoever has it can use the app registration for ten minutes.
    pub(super) async fn sign(&self, request: Request<'_>, provider: &CryptoProvider, now: Timestamp) -> Result<Password, Failure> {
        let misconfigured = |message: String| Failure::new(PortErrorKind::Misconfigured, message);
        if now < self.not_before || now > self.not_after {
            return Err(misconfigured(format!(
                "the certificate of the app registration is valid from {} to {}, and it is {now}: renew it, upload the new one to the app \
                 registration, and check the clock",
                self.not_before, self.not_after
            )));
        }
        let claims = Claims {
            aud: request.endpoint,
            iss: request.client_id,
            sub: request.client_id,
            jti: guid(provider)?,
            nbf: now.as_secs(),
            exp: now.saturating_add(LIFETIME).as_secs(),
        };
        let header = Header { alg: "PS256", typ: "JWT", thumbprint: &self.thumbprint };
        let (header, claims) = (part(&header)?, part(&claims)?);
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(PS256, message.as_bytes()).await.map_err(|error| match error {
            SignError::Unavailable(_) => {
                Failure::new(PortErrorKind::Transient, "the key of the app registration's certificate is not available")
            }
            refused => misconfigured(format!("the key of the app registration's certificate did not sign: {refused}")),
        })?;
        let mut assertion = String::with_capacity(message.len() + 1 + signature.len().div_ceil(3) * 4);
        assertion.push_str(&message);
        assertion.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
        Ok(Password::from(assertion))
    }
}

fn part(value: &impl Serialize) -> Result<String, Failure> {
    let json =
        serde_json::to_vec(value).map_err(|_| Failure::new(PortErrorKind::Misconfigured, "the assertion could not be written as JSON"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

impl Debug for CertificateAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAssertion")
            .field("thumbprint", &self.thumbprint)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
