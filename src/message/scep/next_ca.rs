//! The answer to GetNextCACert (RFC 8894 section 4.7.1): the certificates to come, signed by the CA of today.

use rustls_pki_types::CertificateDer;

use super::ScepMessageError;
use crate::crypto::{CryptoProvider, SignatureAlgorithm};
use crate::limits::Limits;
use crate::message::certificate::Certificate;
use crate::message::cms_error::CmsError;
use crate::message::signed::{Signed, SignedBuilder, SignedContent, SignedToBeSigned, VerifyOptions, certs_only};

/// What the key of the current CA must sign so that clients learn the `next` certificates: the CA's first, then those of its RA and issuers.
///
/// # Errors
/// As for [`SignedBuilder::to_be_signed`].
pub fn next_ca_certificates_to_be_signed(
    next: &[CertificateDer<'_>],
    current: &Certificate,
    algorithm: SignatureAlgorithm,
    provider: &CryptoProvider,
) -> Result<SignedToBeSigned, CmsError> {
    let content = certs_only(next, &[]);
    SignedBuilder::new(SignedContent::Attached(&content)).certificate(current.der()).to_be_signed(current, algorithm, provider)
}

/// Reads the answer to GetNextCACert: the certificates in it, once the signature by `current`, a CA that is trusted already, has verified.
///
/// # Errors
/// [`ScepMessageError::Signers`], and [`ScepMessageError::Cms`] when the signature is not that CA's or the content is no certs-only message.
pub fn next_ca_certificates(
    message: &[u8],
    current: &Certificate,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<Vec<CertificateDer<'static>>, ScepMessageError> {
    let signed = Signed::parse(message, limits)?;
    let verified = signed.verify(VerifyOptions::default().certificates(core::slice::from_ref(current)), provider)?;
    let signer = verified.single_signer().ok_or(ScepMessageError::Signers)?;
    if signer.certificate().der() != current.der() {
        return Err(CmsError::SignerNotFound.into());
    }
    let content = Signed::parse(verified.content(), limits)?;
    if content.signer_count() != 0 {
        return Err(ScepMessageError::Signers);
    }
    Ok(content.certificates().map(CertificateDer::into_owned).collect())
}
