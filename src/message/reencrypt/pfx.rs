//! A PFX under another password and protection.

use crate::crypto::CryptoProvider;
use crate::message::pfx::{LeftOut, OpenedPfx, PfxBuilder, PfxError, PfxPasswords, PfxProtection};
use crate::secret::SecretBytes;

/// A PFX that was written anew.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReencryptedPfx {
    /// The file.
    pub pfx: SecretBytes,
    /// What the old file held and the new one does not: never keys or certificates. Show it to whoever owns the file.
    pub left_out: Vec<LeftOut>,
}

/// Writes all that an opened PFX holds under another password and protection (a [`PfxProfile`](crate::terms::PfxProfile), or a
/// [`PfxProtection`] put together by hand).
///
/// Keys, certificates, CRLs and other bags are kept with their names and attributes: CSP name, LocalMachine, Java trust and those that this
/// crate does not know as well. Key usages inside a PKCS#8 structure stay, since that is not touched. Certificates come out leaf
/// first, localKeyIds stay on keys and their certificates only, and the file becomes DER, whatever it was. What cannot be kept is named in
/// the result. Whoever made the old file chose the attributes: CSP name and LocalMachine tell the Windows that imports the new one where
/// to store the key.
///
/// # Errors
/// [`PfxError::Unauthenticated`] for a file without a MAC: a new MAC would vouch for what nobody vouched for.
/// [`PfxError::KeyMismatch`] when the old file pairs a key with a certificate that is not its own, as far as the provider computes the
/// public key; of a key that the provider refuses, the public key that the file states has to do. [`PfxError::InvalidInput`] for an empty
/// file, an empty password or iterations out of range. [`PfxError::UnsupportedAlgorithm`] when the provider lacks a cipher.
pub fn reencrypt_pfx<'p>(
    opened: &OpenedPfx,
    protection: impl Into<PfxProtection>,
    passwords: impl Into<PfxPasswords<'p>>,
    provider: &CryptoProvider,
) -> Result<ReencryptedPfx, PfxError> {
    if matches!(opened, OpenedPfx::Unauthenticated(_)) {
        return Err(PfxError::Unauthenticated);
    }
    let builder = PfxBuilder::new(protection).contents(opened.contents());
    let (pfx, left_out) = builder.build_leaving_out(passwords.into(), provider)?;
    Ok(ReencryptedPfx { pfx, left_out })
}
