//! The crypto provider: a struct of replaceable slots that the caller passes. One backend, one file, one constructor.
//!
//! Keys travel as PKCS#8 and SubjectPublicKeyInfo DER. Private keys may be remote (HSM, vault), so [`SigningKey`] and
//! [`DecryptionKey`] are asynchronous; everything else is synchronous CPU work.

mod key;
mod provider;
mod slots;

pub use key::{DecryptionKey, SignError, SigningKey, UnwrapError, UnwrapRequest, sign_now, unwrap_now};
pub use provider::{CryptoProvider, MissingSlot, SlotName};
pub use slots::{
    Aead, AeadAlgorithm, ContentCipher, ContentCipherAlgorithm, CryptoError, DecryptionKeyLoader, Digest, DigestAlgorithm, DigestOutput,
    Hmac, KeyAgreement, KeyGeneration, KeyTransport, KeyTransportAlgorithm, KeyWrap, Pbkdf2, Scrypt, ScryptParameters, SecureRandom,
    SignatureAlgorithm, SignatureVerification, SigningKeyLoader,
};
