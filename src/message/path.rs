//! Chain validation (RFC 5280 section 6): a bounded subset without policies and revocation.
//!
//! Checked on every certificate: signature, names, validity, no critical extension that is not understood. On every issuer: CA,
//! keyCertSign, path length. Name constraints are not processed; a chain through a certificate that has them is refused.

use rustls_pki_types::CertificateDer;

use super::X509Error;
use super::certificate::Certificate;
use crate::codec::x509::extensions::NAME_CONSTRAINTS;
use crate::crypto::{CryptoProvider, MissingSlot};
use crate::time::Timestamp;

/// Most signature checks for one chain: 1,000 certificates of one name must not cost 1,000 checks.
pub const MAX_SIGNATURE_CHECKS: usize = 200;
/// Most certificates in one chain, leaf and root included.
pub const MAX_CHAIN: usize = 10;
/// Most certificates looked at in search of an issuer, over all steps.
const MAX_STEPS: usize = 100_000;

/// Why no chain to a root was accepted. When several chains were tried, the reason is that of the one that came furthest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// No issuer was found among the intermediates and roots.
    #[error("no issuer was found for `{subject}`; configure its root or send its intermediate")]
    UnknownIssuer {
        /// The certificate without an issuer.
        subject: String,
    },
    /// A certificate is not valid yet or any more.
    #[error("the certificate `{subject}` is not valid at {at}")]
    NotValidNow {
        /// The certificate.
        subject: String,
        /// The time asked for.
        at: Timestamp,
    },
    /// A signature does not verify, or its algorithm is not supported.
    #[error("the signature on `{subject}` was not verified: {reason}")]
    Signature {
        /// The certificate.
        subject: String,
        /// Why.
        reason: X509Error,
    },
    /// An issuer is no CA or may not sign certificates.
    #[error("`{subject}` is not a CA that may sign certificates")]
    NotACa {
        /// The issuer.
        subject: String,
    },
    /// An issuer allows fewer CA certificates below it.
    #[error("the path length of `{subject}` is exceeded")]
    PathLength {
        /// The issuer.
        subject: String,
    },
    /// A certificate has a critical extension that is not understood, or name constraints.
    #[error("`{subject}` has a critical extension or name constraints that are not understood")]
    UnknownCriticalExtension {
        /// The certificate.
        subject: String,
    },
    /// The search was given up.
    #[error("the chain was not found within {MAX_SIGNATURE_CHECKS} signature checks and {MAX_CHAIN} certificates")]
    TooMuchWork,
    /// The provider cannot verify signatures.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
}

/// Finds a chain from `leaf` over `intermediates` to one of `roots`, and verifies it at the time `at`.
///
/// Roots are trusted as they are: their names, keys and constraints count, their own signatures do not. A leaf that is itself a root is
/// accepted when it is valid. Cross-signed CAs are tried in turn; cycles end; work is bounded by [`MAX_SIGNATURE_CHECKS`]. Revocation,
/// extended key usage and the leaf's names are left to the caller.
///
/// # Errors
/// See [`PathError`].
pub fn verify_chain(
    provider: &CryptoProvider,
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    at: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, PathError> {
    provider.verification()?;
    check_certificate(leaf, at)?;
    if roots.iter().any(|root| root.der() == leaf.der()) {
        return Ok(vec![leaf.der().clone()]);
    }
    let mut search = Search { provider, intermediates, roots, at, checks: 0, steps: 0, failure: (0, None) };
    let mut chain = vec![leaf];
    match search.extend(&mut chain) {
        Ok(true) => Ok(chain.into_iter().map(|certificate| certificate.der().clone()).collect()),
        Ok(false) => Err(search.failure.1.unwrap_or_else(|| PathError::UnknownIssuer { subject: leaf.subject().to_string() })),
        Err(error) => Err(error),
    }
}

fn check_certificate(certificate: &Certificate, at: Timestamp) -> Result<(), PathError> {
    let subject = || certificate.subject().to_string();
    if !certificate.is_valid_at(at) {
        return Err(PathError::NotValidNow { subject: subject(), at });
    }
    // Not critical name constraints are refused too: they would have to be obeyed, and are not.
    let constrained = certificate.extension_oids().iter().any(|oid| oid.as_str() == NAME_CONSTRAINTS);
    if constrained || !certificate.unknown_critical_extensions().is_empty() {
        return Err(PathError::UnknownCriticalExtension { subject: subject() });
    }
    Ok(())
}

struct Search<'a> {
    provider: &'a CryptoProvider,
    intermediates: &'a [Certificate],
    roots: &'a [Certificate],
    at: Timestamp,
    checks: usize,
    steps: usize,
    failure: (usize, Option<PathError>),
}

impl<'a> Search<'a> {
    /// Extends the chain to a root; the depth of recursion is at most [`MAX_CHAIN`].
    fn extend(&mut self, chain: &mut Vec<&'a Certificate>) -> Result<bool, PathError> {
        let Some(last) = chain.last().copied() else { return Ok(false) };
        let (roots, intermediates) = (self.roots, self.intermediates);
        let mut found = false;
        for (is_root, candidate) in roots.iter().map(|root| (true, root)).chain(intermediates.iter().map(|other| (false, other))) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(PathError::TooMuchWork);
            }
            if !candidate.subject().matches(last.issuer()) || !key_identifiers_fit(last, candidate) {
                continue;
            }
            // A key and name that are in the chain already make a cycle.
            if chain.iter().any(|seen| seen.spki() == candidate.spki() && seen.subject().matches(candidate.subject())) {
                continue;
            }
            found = true;
            if let Err(error) = self.check_issuer(chain, candidate) {
                match error {
                    PathError::TooMuchWork | PathError::MissingSlot(_) => return Err(error),
                    other => self.note(chain.len(), other),
                }
                continue;
            }
            chain.push(candidate);
            if is_root || self.extend(chain)? {
                return Ok(true);
            }
            chain.pop();
        }
        if !found {
            self.note(chain.len(), PathError::UnknownIssuer { subject: last.subject().to_string() });
        }
        Ok(false)
    }

    fn check_issuer(&mut self, chain: &[&Certificate], issuer: &Certificate) -> Result<(), PathError> {
        let subject = || issuer.subject().to_string();
        if chain.len() >= MAX_CHAIN {
            return Err(PathError::TooMuchWork);
        }
        check_certificate(issuer, self.at)?;
        if !issuer.is_ca() || issuer.key_usage().is_some_and(|usage| !usage.key_cert_sign) {
            return Err(PathError::NotACa { subject: subject() });
        }
        // RFC 5280 section 4.2.1.9: self-issued intermediates do not count, nor does the leaf.
        let below = chain.iter().skip(1).filter(|certificate| !certificate.is_self_issued()).count() as u64;
        if issuer.path_len().is_some_and(|path_len| path_len < below) {
            return Err(PathError::PathLength { subject: subject() });
        }
        let Some(last) = chain.last() else { return Ok(()) };
        if self.checks >= MAX_SIGNATURE_CHECKS {
            return Err(PathError::TooMuchWork);
        }
        self.checks += 1;
        last.verify_signed_by(self.provider, issuer.spki()).map_err(|reason| match reason {
            X509Error::MissingSlot(slot) => PathError::MissingSlot(slot),
            reason => PathError::Signature { subject: last.subject().to_string(), reason },
        })
    }

    fn note(&mut self, depth: usize, error: PathError) {
        if self.failure.1.is_none() || depth > self.failure.0 {
            self.failure = (depth, Some(error));
        }
    }
}

/// A key identifier that both state and that differs rules the issuer out before any signature check.
fn key_identifiers_fit(certificate: &Certificate, issuer: &Certificate) -> bool {
    match (certificate.authority_key_identifier(), issuer.subject_key_identifier()) {
        (Some(authority), Some(subject)) => authority == subject,
        _ => true,
    }
}
