//! Credentials of the app: its secret, its certificates, and other issuers that it is federated with.

use std::collections::{BTreeMap, BTreeSet};

use super::jwt::Jwt;
use super::token::Refusal;
use crate::crypto::{CryptoProvider, DigestAlgorithm, SignatureAlgorithm};
use crate::message::certificate::Certificate;
use crate::sim::encoding::base64_url;
use crate::sim::identity::Identity;
use crate::time::Timestamp;

/// How far clocks may differ, in seconds; Entra allows five minutes.
const SKEW: i64 = 300;
/// The longest life of an assertion, in seconds. Ours: Entra documents none.
const LONGEST_LIFE: i64 = 24 * 3_600;
/// Most assertions that are remembered to refuse them a second time.
const MOST_USED: usize = 100_000;

/// Another issuer whose tokens stand for the app's credential.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Federation {
    pub(in crate::sim) issuer: String,
    pub(in crate::sim) subject: String,
    /// The key that signs there, an RSA one.
    pub(in crate::sim) spki: Vec<u8>,
}

impl Federation {
    const AUDIENCE: &'static str = "api://AzureADTokenExchange";
}

/// What the app is known by beside its secret.
#[derive(Debug, Default)]
pub(in crate::sim) struct Credentials {
    pub(in crate::sim) secret_expires: Option<Timestamp>,
    pub(in crate::sim) certificates: Vec<Certificate>,
    pub(in crate::sim) federations: Vec<Federation>,
    /// Assertions by their `jti`, and by when they end. A certificate's assertion is taken once.
    used: BTreeMap<String, i64>,
}

impl Credentials {
    /// Whether the assertion is the app's.
    ///
    /// # Errors
    /// As Entra says no.
    pub(super) fn check(
        &mut self,
        assertion: &str,
        identity: &Identity,
        audiences: &BTreeSet<String>,
        now: Timestamp,
        provider: &CryptoProvider,
    ) -> Result<(), Refusal> {
        let invalid = |code: u32, text: &str| Refusal::new(401, "invalid_client", code, text);
        let malformed = || invalid(50_027, "JWT token is invalid or malformed.");
        let jwt = Jwt::read(assertion).ok_or_else(malformed)?;
        let algorithm = match jwt.header("alg") {
            Some("RS256") => SignatureAlgorithm::RsaPkcs1Sha256,
            Some("PS256") => SignatureAlgorithm::RsaPssSha256,
            _ => return Err(invalid(5_002_738, "Invalid JWT token. The algorithm of the assertion is none of RS256 and PS256.")),
        };
        let issuer = jwt.claim("iss").ok_or_else(malformed)?;
        let federation = self.federations.iter().find(|federation| federation.issuer == issuer);
        let spki = match federation {
            Some(federation) => {
                if jwt.claim("sub") != Some(&federation.subject) {
                    return Err(invalid(700_213, "No matching federated identity record found for presented assertion subject."));
                }
                if !audience_of(&jwt).any(|audience| audience == Federation::AUDIENCE) {
                    return Err(invalid(700_212, "No matching federated identity record found for presented assertion audience."));
                }
                federation.spki.as_slice()
            }
            None => {
                let certificate = self.named_by(&jwt, provider)?;
                if !certificate.is_valid_at(now) {
                    return Err(invalid(1_000_502, "The provided certificate is not within its specified validity window."));
                }
                certificate.spki()
            }
        };
        let verification = provider.verification().map_err(|_| Refusal::internal())?;
        if verification.verify(algorithm, spki, jwt.signed.as_bytes(), &jwt.signature).is_err() {
            return Err(invalid(700_027, "Client assertion failed signature validation."));
        }
        let federated = federation.is_some();
        if !federated {
            if issuer != identity.client || jwt.claim("sub") != Some(&identity.client) {
                return Err(invalid(700_021, "Client assertion application identifier doesn't match 'client_id' parameter."));
            }
            if !audience_of(&jwt).any(|audience| audiences.contains(audience)) {
                return Err(invalid(700_023, "Client assertion audience claim does not match Realm issuer."));
            }
        }
        let ends = lifetime(&jwt, now.as_secs(), federated)?;
        // Tokens of another issuer come from a file, and are sent until they end.
        if federated { Ok(()) } else { self.use_once(&jwt, ends, now.as_secs()) }
    }

    /// The certificate that the header names by `x5t#S256` or `x5t`.
    fn named_by(&self, jwt: &Jwt<'_>, provider: &CryptoProvider) -> Result<&Certificate, Refusal> {
        let digest = provider.digest().map_err(|_| Refusal::internal())?;
        let (name, algorithm) = match (jwt.header("x5t#S256"), jwt.header("x5t")) {
            (Some(name), _) => (name, DigestAlgorithm::Sha256),
            (None, Some(name)) => (name, DigestAlgorithm::Sha1),
            (None, None) => return Err(Refusal::new(401, "invalid_client", 50_027, "JWT token is invalid or malformed: no x5t.")),
        };
        for certificate in &self.certificates {
            let found = digest.digest(algorithm, &[certificate.der()]).map_err(|_| Refusal::internal())?;
            if base64_url(found.as_ref()) == name.trim_end_matches('=') {
                return Ok(certificate);
            }
        }
        let text = "The certificate with identifier used to sign the client assertion is not registered on application. \
                    [Reason - The key was not found.]";
        Err(Refusal::new(401, "invalid_client", 700_027, text))
    }

    fn use_once(&mut self, jwt: &Jwt<'_>, ends: i64, now: i64) -> Result<(), Refusal> {
        let id = jwt.claim("jti").filter(|id| !id.is_empty() && id.len() <= 256);
        let id = id.ok_or_else(|| Refusal::new(401, "invalid_client", 50_027, "JWT token is invalid or malformed: no jti."))?;
        self.used.retain(|_, ends| now <= ends.saturating_add(SKEW));
        if self.used.contains_key(id) {
            return Err(Refusal::new(401, "invalid_client", 700_027, "Client assertion was used before. [Reason - jti replay.]"));
        }
        if self.used.len() >= MOST_USED {
            return Err(Refusal::new(503, "temporarily_unavailable", 90_033, "A transient error has occurred. Please try again."));
        }
        self.used.insert(id.to_owned(), ends);
        Ok(())
    }
}

/// The audience: a string, or several.
fn audience_of<'j>(jwt: &'j Jwt<'_>) -> impl Iterator<Item = &'j str> {
    let audience = jwt.claims.get("aud");
    let several = audience.and_then(serde_json::Value::as_array).into_iter().flatten();
    audience.into_iter().chain(several).filter_map(serde_json::Value::as_str)
}

/// When it ends, once it is found to be good now.
fn lifetime(jwt: &Jwt<'_>, now: i64, federated: bool) -> Result<i64, Refusal> {
    let outside = || Refusal::new(401, "invalid_client", 700_024, "Client assertion is not within its valid time range.");
    let ends = jwt.date("exp").ok_or_else(outside)?;
    let begins = jwt.date("nbf").or_else(|| jwt.date("iat")).unwrap_or(now);
    let too_long = !federated && ends.saturating_sub(now) > LONGEST_LIFE;
    if ends.saturating_add(SKEW) < now || begins > now.saturating_add(SKEW) || too_long { Err(outside()) } else { Ok(ends) }
}
