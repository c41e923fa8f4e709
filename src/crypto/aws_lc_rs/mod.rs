//! The complete provider from aws-lc-rs, one file for each family of slots.

mod agreement;
mod cipher;
mod decryption;
mod generation;
mod hash;
mod key_wrap;
mod rsa;
mod signature;

use std::sync::Arc;

pub(super) use agreement::AwsLcKeyAgreement;
pub(super) use cipher::{AwsLcAead, AwsLcContentCipher};
pub(super) use decryption::AwsLcDecryptionKeys;
pub(super) use generation::AwsLcKeyGeneration;
pub(super) use hash::{AwsLcDigest, AwsLcHmac, AwsLcPbkdf2, AwsLcRandom};
pub(super) use key_wrap::AwsLcKeyWrap;
pub(super) use rsa::AwsLcKeyTransport;
pub(super) use signature::{AwsLcSigningKeys, AwsLcVerification};

use super::CryptoProvider;

impl CryptoProvider {
    /// aws-lc-rs alone, every slot filled (scrypt only with the feature `scrypt`).
    ///
    /// With aws-lc-rs's own feature `fips` switched on in the embedder's manifest, the slots report `fips()`;
    /// [`CryptoProvider::fips_approved_only`] then refuses what such a module does not count as approved.
    #[must_use]
    pub fn aws_lc_rs() -> Self {
        let provider = Self::empty("aws-lc-rs")
            .with_random(Arc::new(AwsLcRandom))
            .with_digest(Arc::new(AwsLcDigest))
            .with_hmac(Arc::new(AwsLcHmac))
            .with_pbkdf2(Arc::new(AwsLcPbkdf2))
            .with_content_cipher(super::legacy::with_legacy_ciphers(Arc::new(AwsLcContentCipher)))
            .with_aead(Arc::new(AwsLcAead))
            .with_key_wrap(Arc::new(AwsLcKeyWrap))
            .with_key_agreement(Arc::new(AwsLcKeyAgreement))
            .with_key_generation(Arc::new(AwsLcKeyGeneration))
            .with_verification(Arc::new(AwsLcVerification))
            .with_key_transport(Arc::new(AwsLcKeyTransport))
            .with_signing_keys(Arc::new(AwsLcSigningKeys))
            .with_decryption_keys(Arc::new(AwsLcDecryptionKeys));
        #[cfg(feature = "scrypt")]
        let provider = provider.with_scrypt(Arc::new(super::scrypt::SoftwareScrypt));
        provider
    }
}

/// Whether the linked library is the validated module, asked of the library itself.
fn is_fips() -> bool {
    ::aws_lc_rs::try_fips_mode().is_ok()
}
