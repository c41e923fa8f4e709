//! What proves that a file is unchanged: a MAC by a password, or a signature (RFC 7292 section 3.1).

use super::contents::MacInfo;
use super::error::PfxError;
use super::mac;
use super::open::OpenOptions;
use super::password::PasswordForm;
use crate::codec::der::Octets;
use crate::codec::pkcs12::{Pfx, oid};
use crate::crypto::CryptoProvider;
use crate::limits::Budget;
use crate::message::certificate::Certificate;
use crate::message::signed::{Signed, VerifyOptions};

/// What was proven.
#[derive(Debug)]
pub(super) enum Proof {
    Mac(MacInfo),
    /// The accepted certificates that signed, at least one.
    Signature(Vec<Certificate>),
    None,
}

impl Proof {
    /// Whether damage is excluded.
    pub(super) fn is_given(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The form in which the safes' password is tried first, once the MAC has shown how the writer formed it.
    pub(super) fn password_form(&self) -> Option<PasswordForm> {
        match self {
            Self::Mac(mac) => Some(mac.password_form()),
            Self::Signature(_) | Self::None => None,
        }
    }
}

/// The bytes of the AuthenticatedSafe, and what proves that they are unchanged.
pub(super) fn verify<'a>(
    pfx: &Pfx<'a>,
    options: &OpenOptions<'_>,
    provider: &CryptoProvider,
    budget: &mut Budget,
) -> Result<(Octets<'a>, Proof), PfxError> {
    match pfx.auth_safe.content_type.as_str() {
        oid::DATA => {
            let auth_safe = pfx.auth_safe.data(budget)?;
            let proof = match &pfx.mac_data {
                Some(mac) => Proof::Mac(mac::verify(mac, &auth_safe, options.passwords.mac, provider, budget)?),
                None => Proof::None,
            };
            Ok((auth_safe, proof))
        }
        oid::SIGNED_DATA if options.signers.is_empty() => Err(PfxError::needs_a_signer()),
        // RFC 7292 section 4: macData is for password integrity only. With both, which of the two proves what would be open.
        oid::SIGNED_DATA if pfx.mac_data.is_some() => Err(PfxError::Damaged("it has a MAC beside a signature")),
        oid::SIGNED_DATA => signature(pfx.auth_safe.raw(), options, provider, budget),
        other => Err(PfxError::unsupported_content_type(other)),
    }
}

/// Every signature must verify, and one of them by a certificate that the caller named, byte for byte.
fn signature<'a>(
    message: &[u8],
    options: &OpenOptions<'_>,
    provider: &CryptoProvider,
    budget: &Budget,
) -> Result<(Octets<'a>, Proof), PfxError> {
    let signed = Signed::parse(message, budget.limits()).map_err(PfxError::from_cms)?;
    if signed.content_type().as_str() != oid::DATA {
        return Err(PfxError::Damaged("what is signed is not the AuthenticatedSafe"));
    }
    if signed.unverified_content().is_none() {
        return Err(PfxError::Damaged("what is signed is missing"));
    }
    let how = VerifyOptions::default().certificates(options.signers).legacy_digests(options.legacy_digests);
    let verified = signed.verify(how, provider).map_err(PfxError::from_cms)?;
    let accepted = |certificate: &&Certificate| options.signers.iter().any(|named| named.der() == certificate.der());
    let signers: Vec<Certificate> = verified.signers().iter().map(|signer| signer.certificate()).filter(accepted).cloned().collect();
    if signers.is_empty() {
        return Err(PfxError::UntrustedSigner);
    }
    Ok((Octets::Joined(verified.content().to_vec().into()), Proof::Signature(signers)))
}
