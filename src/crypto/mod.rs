//! The crypto provider: a struct of replaceable slots that the caller passes. One backend, one file, one constructor.
//!
//! Keys travel as PKCS#8 and SubjectPublicKeyInfo DER. Private keys may be remote (HSM, vault), so [`SigningKey`] and
//! [`DecryptionKey`] are asynchronous; everything else is synchronous CPU work.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs;
#[cfg(feature = "ring")]
mod compression;
mod constant_time;
mod fips;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod hmac;
mod key;
#[cfg(feature = "aws-lc-rs")]
mod legacy;
#[cfg(feature = "aws-lc-rs")]
mod padding;
mod pkcs12_kdf;
mod provider;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod rare_digests;
#[cfg(feature = "ring")]
mod ring;
#[cfg(all(feature = "ring", feature = "aws-lc-rs"))]
mod ring_and_aws_lc_rs;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod rsa_public;
#[cfg(all(feature = "scrypt", any(feature = "ring", feature = "aws-lc-rs")))]
mod scrypt;
mod signature;
mod slots;
#[cfg_attr(
    not(any(feature = "ring", feature = "aws-lc-rs")),
    allow(dead_code, reason = "without a backend only public keys are looked at")
)]
mod spki;

pub use constant_time::constant_time_eq;
pub use key::{DecryptionKey, SignError, SigningKey, UnwrapError, UnwrapRequest, sign_now, unwrap_now};
pub use pkcs12_kdf::pkcs12_kdf;
pub use provider::{CryptoProvider, MissingSlot, SlotName};
pub use signature::{PssParameters, SignatureAlgorithm};
pub use slots::{
    Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, DecryptionKeyLoader, Digest, DigestAlgorithm, DigestKdf,
    DigestOutput, Hmac, KeyAgreement, KeyGeneration, KeyTransport, KeyTransportAlgorithm, KeyWrap, Pbkdf2, Scrypt, ScryptParameters,
    SecureRandom, SignatureVerification, SigningKeyLoader,
};

/// What RSA keys of both backends sign with, preferred first.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
const RSA_SIGNATURES: [SignatureAlgorithm; 6] = [
    SignatureAlgorithm::RsaPkcs1Sha256,
    SignatureAlgorithm::RsaPkcs1Sha384,
    SignatureAlgorithm::RsaPkcs1Sha512,
    SignatureAlgorithm::RsaPssSha256,
    SignatureAlgorithm::RsaPssSha384,
    SignatureAlgorithm::RsaPssSha512,
];
