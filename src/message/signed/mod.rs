//! Signing and verifying: CMS SignedData (RFC 5652 section 5), and messages that only carry certificates.
//!
//! Signing keys may be remote, so writing is split: [`SignedBuilder::to_be_signed`], the key's own `sign`, [`SignedToBeSigned::finish`].

mod algorithm;
mod attribute;
mod build;
#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests;
mod verify;

pub use super::cms_error::{CmsError, CmsErrorKind};
pub use attribute::SignedAttribute;
pub use build::{SignatureOver, SignedBuilder, SignedContent, SignedToBeSigned, SignerNamedBy, certs_only};
pub use verify::{LegacyDigests, ShortRsaKeys, Signed, SkippedChoice, VerifiedSigned, VerifiedSigner, VerifyOptions};

use super::certificate::Certificate;
use crate::codec::cms::CertificateIdentifier;

/// Names a certificate by issuer and serial number, with the bytes that stand in it.
pub(crate) fn issuer_and_serial(certificate: &Certificate) -> CertificateIdentifier {
    CertificateIdentifier::IssuerAndSerialNumber {
        issuer: certificate.issuer().as_der().to_vec(),
        serial: certificate.serial_raw().to_vec(),
    }
}

/// Longest issuer in bytes that is compared as a name; real ones have a few hundred. A message has room for 64 signers and 256 certificates,
/// and each pair with one serial number costs the reading of such a name.
const LONGEST_NAME: usize = 2048;

/// Whether the identifier names this certificate. Names are compared as bytes first, then as names: some writers recode strings.
pub(crate) fn identifies(identifier: &CertificateIdentifier, certificate: &Certificate) -> bool {
    match identifier {
        CertificateIdentifier::IssuerAndSerialNumber { issuer, serial } => {
            significant(serial) == significant(certificate.serial_raw())
                && (issuer == certificate.issuer().as_der()
                    || issuer.len() <= LONGEST_NAME
                        && super::name::Name::from_der(issuer).is_ok_and(|issuer| issuer.matches(certificate.issuer())))
        }
        CertificateIdentifier::SubjectKeyIdentifier(key) => certificate.subject_key_identifier() == Some(key.as_slice()),
    }
}

/// A serial number without the zero octets that some writers add.
fn significant(serial: &[u8]) -> &[u8] {
    let start = serial.iter().position(|octet| *octet != 0).unwrap_or(serial.len());
    &serial[start..]
}
