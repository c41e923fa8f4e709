//! Opening: integrity first, then the safes, then the pairing of keys and certificates.

use core::fmt;

use rustls_pki_types::CertificateDer;

use super::contents::{MacVerified, OpenedPfx, PfxContents, SignatureVerified, Unauthenticated};
use super::error::PfxError;
use super::integrity::{self, Proof};
use super::pairing;
use super::password::PfxPasswords;
use super::safes::{AUTHENTICATED_SAFE_DEPTH, SafeReader};
use super::scheme::Decryptor;
use crate::codec::der::Octets;
use crate::codec::pkcs12::{self, Pfx, oid};
use crate::crypto::{CryptoProvider, DecryptionKey, UnwrapError, UnwrapRequest};
use crate::limits::{Budget, Limits};
use crate::message::certificate::Certificate;
use crate::message::enveloped::{self, LegacyCiphers};
use crate::message::signed::{LegacyDigests, Signed};
use crate::secret::SecretBytes;

/// What opens a PFX beside the private key of a recipient: its passwords, and whose signature counts.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OpenOptions<'a> {
    /// The passwords.
    pub passwords: PfxPasswords<'a>,
    /// The certificates whose signature over a file is accepted. One that the file itself carries counts only when it stands here.
    pub signers: &'a [Certificate],
    /// Whether a signature over SHA-1 is accepted.
    pub legacy_digests: LegacyDigests,
}

impl<'a> OpenOptions<'a> {
    /// With these passwords, and no accepted signer.
    #[must_use]
    pub fn new(passwords: impl Into<PfxPasswords<'a>>) -> Self {
        Self { passwords: passwords.into(), signers: &[], legacy_digests: LegacyDigests::Refuse }
    }

    /// Accepts a signature by the key of any of these certificates. Whether they are trusted, valid or revoked is the caller's to know:
    /// no path is built here.
    #[must_use]
    pub fn signers(mut self, signers: &'a [Certificate]) -> Self {
        self.signers = signers;
        self
    }

    /// Whether a signature over SHA-1 is accepted.
    #[must_use]
    pub fn legacy_digests(mut self, legacy: LegacyDigests) -> Self {
        self.legacy_digests = legacy;
        self
    }
}

/// Opens a PFX (RFC 7292) that is protected by a password, in DER or BER.
///
/// The MAC is verified over the bytes as received before anything is decrypted. Every key derivation is charged to
/// [`Limits::kdf_iterations`] before it runs, over all attempts with forms of the password that real programs use.
/// Unknown algorithms are errors: nothing is left out silently. Bags of other types come out in `others`.
///
/// `None` as password is an absent password; a file that was made with an empty one opens too.
///
/// # Errors
/// [`PfxError`], by kind: wrong password, damaged, unsupported algorithm, limit exceeded, or the provider's failure;
/// [`PfxError::UnsupportedMode`] for files that are signed ([`open_with`] opens them) or encrypted to public keys ([`open_with_key`]).
pub fn open<'a>(
    der: &[u8],
    passwords: impl Into<PfxPasswords<'a>>,
    provider: &CryptoProvider,
    limits: &Limits,
) -> Result<OpenedPfx, PfxError> {
    open_with(der, &OpenOptions::new(passwords), provider, &mut Budget::new(limits))
}

/// Opens a PFX that is protected by a password, or signed by one of [`OpenOptions::signers`] (RFC 7292 section 3.1).
///
/// The work is charged to the caller's `budget`, which shows afterwards what was spent, and may be shared by several files.
///
/// # Errors
/// As for [`open`]; [`PfxError::UntrustedSigner`] and [`PfxError::Signature`] for signed files.
pub fn open_with(der: &[u8], options: &OpenOptions<'_>, provider: &CryptoProvider, budget: &mut Budget) -> Result<OpenedPfx, PfxError> {
    let (opening, enveloped) = PfxOpening::verified(der, options, provider, budget)?;
    if !enveloped.is_empty() {
        return Err(PfxError::needs_a_key());
    }
    opening.finish(Vec::new(), provider, budget)
}

/// Opens a PFX whose safes may be encrypted to the public key of `recipient` (RFC 7292 section 3.1, public-key privacy), with its private
/// key, which may be remote: [`PfxOpening`] in one call.
///
/// # Errors
/// As for [`open_with`]; [`PfxError::WrongKey`] when a safe is not encrypted to `recipient` or does not decrypt;
/// [`PfxError::KeyUnavailable`], which is worth a retry.
pub async fn open_with_key(
    der: &[u8],
    options: &OpenOptions<'_>,
    recipient: &Certificate,
    key: &dyn DecryptionKey,
    provider: &CryptoProvider,
    budget: &mut Budget,
) -> Result<OpenedPfx, PfxError> {
    let mut opening = PfxOpening::parse(der, options, provider, budget)?;
    let mut answers = Vec::new();
    for request in opening.unwrap_requests(recipient, provider)? {
        answers.push(key.unwrap(&request).await);
    }
    opening.finish(answers, provider, budget)
}

/// A PFX that is being opened: its integrity is verified, its safes are still closed.
///
/// In three steps, since the private key of a recipient may be remote: [`PfxOpening::parse`], [`PfxOpening::unwrap_requests`] (asked of the
/// key), [`PfxOpening::finish`]. A file whose safes are encrypted by passwords only needs no request.
pub struct PfxOpening<'a> {
    passwords: PfxPasswords<'a>,
    proof: Proof,
    auth_safe: Octets<'a>,
    enveloped: Vec<enveloped::Opening>,
    trailing_bytes: usize,
}

impl fmt::Debug for PfxOpening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PfxOpening").field("proof", &self.proof).field("enveloped", &self.enveloped.len()).finish_non_exhaustive()
    }
}

impl<'a> PfxOpening<'a> {
    /// Reads the file and verifies its MAC or its signature, whichever it has, over the bytes as received.
    ///
    /// # Errors
    /// As for [`open_with`].
    pub fn parse(der: &'a [u8], options: &OpenOptions<'a>, provider: &CryptoProvider, budget: &mut Budget) -> Result<Self, PfxError> {
        let (mut opening, messages) = Self::verified(der, options, provider, budget)?;
        for message in messages {
            let envelope = enveloped::Opening::parse(&message, budget.limits()).map_err(PfxError::from_cms)?;
            // As under passwords, where 3DES is read too: whoever owns the file wants its content.
            opening.enveloped.push(envelope.legacy_ciphers(LegacyCiphers::AllowTripleDes));
        }
        Ok(opening)
    }

    /// The file with its integrity verified, and the messages that are encrypted to public keys, still unread.
    fn verified(
        der: &'a [u8],
        options: &OpenOptions<'a>,
        provider: &CryptoProvider,
        budget: &mut Budget,
    ) -> Result<(Self, Vec<Vec<u8>>), PfxError> {
        let pfx = outermost(der, budget)?;
        let (auth_safe, proof) = integrity::verify(&pfx, options, provider, budget)?;
        let (safes, _) = pkcs12::authenticated_safe(&auth_safe, AUTHENTICATED_SAFE_DEPTH, &mut Budget::new(budget.limits()))?;
        let enveloped = safes.iter().filter(|safe| safe.content_type == oid::ENVELOPED_DATA);
        let messages = enveloped.map(|safe| safe.raw().to_vec()).collect();
        drop(safes);
        let opening = Self { passwords: options.passwords, proof, auth_safe, enveloped: Vec::new(), trailing_bytes: pfx.trailing_bytes };
        Ok((opening, messages))
    }

    /// Whether a safe is encrypted to public keys, so that [`PfxOpening::unwrap_requests`] has requests.
    #[must_use]
    pub fn is_encrypted_to_public_keys(&self) -> bool {
        !self.enveloped.is_empty()
    }

    /// The safes that are encrypted to public keys, for finding out to whom ([`enveloped::Opening::recipients`]).
    #[must_use]
    pub fn enveloped_safes(&self) -> &[enveloped::Opening] {
        &self.enveloped
    }

    /// What to ask the key of `recipient`: one request for each safe that is encrypted to public keys, in the order of the file.
    ///
    /// # Errors
    /// [`PfxError::WrongKey`] when a safe is not encrypted to it; [`PfxError::UnsupportedAlgorithm`]; the provider's failure.
    pub fn unwrap_requests(&mut self, recipient: &Certificate, provider: &CryptoProvider) -> Result<Vec<UnwrapRequest>, PfxError> {
        self.enveloped.iter_mut().map(|safe| safe.unwrap_request(recipient, provider).map_err(PfxError::from_cms)).collect()
    }

    /// Decrypts and reads the safes. `answers` are those of the key to the requests, in their order.
    ///
    /// # Errors
    /// As for [`open_with_key`]; [`PfxError::InvalidInput`] when there are not as many answers as requests.
    pub fn finish(
        self,
        answers: Vec<Result<SecretBytes, UnwrapError>>,
        provider: &CryptoProvider,
        budget: &mut Budget,
    ) -> Result<OpenedPfx, PfxError> {
        if answers.len() != self.enveloped.len() {
            return Err(PfxError::InvalidInput("there are not as many answers of the key as safes that are encrypted to it"));
        }
        let mut decrypted = Vec::with_capacity(answers.len());
        for (safe, answer) in self.enveloped.into_iter().zip(answers) {
            let cipher = safe.content_cipher().map_err(PfxError::from_cms)?;
            decrypted.push((safe.finish(answer, provider).map_err(PfxError::from_cms)?, cipher));
        }
        let mut reader = SafeReader {
            decryptor: Decryptor::new(self.passwords.safes, provider, self.proof.is_given(), self.proof.password_form()),
            budget,
            decrypted: decrypted.into_iter(),
            contents: PfxContents { trailing_bytes: self.trailing_bytes, ..PfxContents::default() },
        };
        reader.authenticated_safe(&self.auth_safe)?;
        let mut contents = reader.contents;
        contents.pairs = pairing::pair(&contents.keys, &contents.certificates, provider);
        Ok(match self.proof {
            Proof::Mac(mac) => OpenedPfx::MacVerified(MacVerified::new(contents, mac)),
            Proof::Signature(signers) => OpenedPfx::SignatureVerified(SignatureVerified::new(contents, signers)),
            Proof::None => OpenedPfx::Unauthenticated(Unauthenticated::new(contents)),
        })
    }
}

/// Whether a PFX (RFC 7292 section 4) carries a MAC. Only the outermost structure is read: no password, no key derivation.
///
/// For deciding, before a password is decrypted, that a file without a MAC is refused: [`open`] gives [`OpenedPfx::Unauthenticated`] for
/// such a file with the right password and an error with a wrong one, which would tell whoever made the file whether a guess was right.
/// `true` does not say that the MAC fits, nor that its algorithm is known.
///
/// # Errors
/// [`PfxError`] for what [`open`] finds before it needs the password: damaged, integrity by another mode than a password, limit exceeded.
pub fn has_mac(der: &[u8], limits: &Limits) -> Result<bool, PfxError> {
    let pfx = outermost(der, &mut Budget::new(limits))?;
    match pfx.auth_safe.content_type.as_str() {
        oid::DATA => Ok(pfx.mac_data.is_some()),
        oid::SIGNED_DATA => Err(PfxError::needs_a_signer()),
        other => Err(PfxError::unsupported_content_type(other)),
    }
}

/// The certificates that a signed PFX carries beside its signature. Nothing vouches for them: whoever made the file chose them.
///
/// For showing to someone who can tell by other means which of them belongs in [`OpenOptions::signers`]. Empty when the file is not signed.
///
/// # Errors
/// [`PfxError::Damaged`] and [`PfxError::LimitExceeded`].
pub fn unverified_signer_certificates(der: &[u8], limits: &Limits) -> Result<Vec<CertificateDer<'static>>, PfxError> {
    let pfx = outermost(der, &mut Budget::new(limits))?;
    if pfx.auth_safe.content_type != oid::SIGNED_DATA {
        return Ok(Vec::new());
    }
    let signed = Signed::parse(pfx.auth_safe.raw(), limits).map_err(PfxError::from_cms)?;
    Ok(signed.certificates().map(CertificateDer::into_owned).collect())
}

/// The structure around the AuthenticatedSafe.
fn outermost<'a>(der: &'a [u8], budget: &mut Budget) -> Result<Pfx<'a>, PfxError> {
    if der.starts_with(b"-----BEGIN") {
        return Err(PfxError::Damaged("it is a PEM file, and PFX files are binary"));
    }
    Ok(Pfx::decode(der, budget)?)
}
