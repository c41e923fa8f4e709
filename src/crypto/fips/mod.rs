//! What FIPS approves of what the slots can name. Allow-lists: what is not named here is refused by a restricted provider.
//!
//! "Approved" is what NIST's publications allow (SP 800-131A revision 2 and those that it names) and what the modules at hand serve
//! themselves. Where the two differ the narrower one holds; `docs/fips.md` has the table with the reasons.

mod keys;
mod slots;

pub(super) use slots::RefusedScrypt;
pub(super) use slots::{
    aead, content_cipher, decryption_keys, digest, hmac, key_agreement, key_generation, key_transport, key_wrap, pbkdf2, random, scrypt,
    signing_keys, verification,
};

use super::spki::PublicKey;
use super::{AeadAlgorithm, ContentCipherAlgorithm, CryptoError, DigestAlgorithm, DigestKdf, KeyTransportAlgorithm, SignatureAlgorithm};
use crate::terms::KeyAlgorithm;

/// SP 800-131A revision 2 section 10 (HMAC) and SP 800-132 section 5.4 (PBKDF2): no key under 112 bits.
const LEAST_KEY: usize = 14;
/// SP 800-132 section 5.1, and what FIPS modules count as their approved service.
const LEAST_SALT: usize = 16;
/// SP 800-132 section 5.2.
const LEAST_ITERATIONS: u32 = 1_000;

/// The one refusal that says something about a password: the length that FIPS modules ask of one.
const SHORT_PASSWORD: CryptoError =
    CryptoError::NotApproved { what: "PBKDF2 with a password under 14 bytes", instead: "use a longer password" };

impl CryptoError {
    /// Whether the refusal is due to the password, so that whoever does not own it must not be told.
    #[cfg(feature = "import")]
    pub(crate) fn tells_of_the_password(&self) -> bool {
        *self == SHORT_PASSWORD
    }
}

fn refuse(what: &'static str, instead: &'static str) -> CryptoError {
    CryptoError::NotApproved { what, instead }
}

pub(super) fn approve_digest(algorithm: DigestAlgorithm) -> Result<(), CryptoError> {
    use DigestAlgorithm as A;
    // SHA-1 as a bare digest names certificates and keys (thumbprint, localKeyId); where it would carry a signature, that is refused.
    if matches!(algorithm, A::Sha1 | A::Sha224 | A::Sha256 | A::Sha384 | A::Sha512 | A::Sha512_256) {
        return Ok(());
    }
    let what = match algorithm {
        A::Sha512_224 => "SHA-512/224 (which no FIPS module serves here)",
        A::Blake2b512 | A::Blake2s256 => "BLAKE2",
        _ => "this digest",
    };
    Err(refuse(what, "use SHA-256, SHA-384 or SHA-512"))
}

pub(super) fn approve_digest_kdf(kdf: DigestKdf) -> CryptoError {
    match kdf {
        DigestKdf::Pkcs12 => refuse(
            "the key derivation of PKCS#12, on which the MAC of the profiles Modern and Compat and the PBES1 encryption rest",
            "write with `PfxProfile::Pbmac1`, and have files written with PBMAC1 (RFC 9579; OpenSSL 3.4 and later: `-pbmac1_pbkdf2`)",
        ),
        DigestKdf::Pbkdf1 => refuse("PBKDF1", "have the file encrypted with PBES2 (AES-256, PBKDF2)"),
    }
}

pub(super) fn approve_hmac(algorithm: DigestAlgorithm, key: &[u8]) -> Result<(), CryptoError> {
    use DigestAlgorithm as A;
    if !matches!(algorithm, A::Sha1 | A::Sha224 | A::Sha256 | A::Sha384 | A::Sha512) {
        return Err(refuse("HMAC with a digest other than SHA-1 and the SHA-2 of full length", "use HMAC-SHA-256"));
    }
    if key.len() < LEAST_KEY {
        return Err(refuse("HMAC with a key under 112 bits", "use a key of 14 bytes or more"));
    }
    Ok(())
}

pub(super) fn approve_pbkdf2(prf: DigestAlgorithm, password: &[u8], salt: &[u8], iterations: u32, out: &[u8]) -> Result<(), CryptoError> {
    use DigestAlgorithm as A;
    if !matches!(prf, A::Sha1 | A::Sha256 | A::Sha384 | A::Sha512) {
        return Err(refuse("PBKDF2 with a PRF other than HMAC-SHA-1, -256, -384 and -512", "use HMAC-SHA-256"));
    }
    if salt.len() < LEAST_SALT {
        return Err(refuse("PBKDF2 with a salt under 16 bytes", "have the file written anew with a salt of 16 bytes or more"));
    }
    if iterations < LEAST_ITERATIONS {
        return Err(refuse("PBKDF2 with fewer than 1,000 iterations", "have the file written anew with 10,000 or more"));
    }
    if out.len() < LEAST_KEY {
        return Err(refuse("PBKDF2 for a key under 112 bits", "derive a key of 16 bytes or more"));
    }
    if password.len() < LEAST_KEY {
        return Err(SHORT_PASSWORD);
    }
    Ok(())
}

pub(super) fn approve_content_cipher(algorithm: ContentCipherAlgorithm) -> Result<(), CryptoError> {
    use ContentCipherAlgorithm as A;
    if matches!(algorithm, A::Aes128Cbc | A::Aes192Cbc | A::Aes256Cbc) {
        return Ok(());
    }
    let what = match algorithm {
        A::DesEde3Cbc => "3DES (or single DES)",
        A::DesCbc => "single DES",
        A::Rc2Cbc { .. } => "RC2",
        A::Rc4 => "RC4",
        _ => "this content cipher",
    };
    Err(refuse(what, "use AES-128-CBC or AES-256-CBC"))
}

/// Opening; sealing asks [`approve_seal`] as well.
pub(super) fn approve_aead(algorithm: AeadAlgorithm) -> Result<(), CryptoError> {
    if matches!(algorithm, AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes192Gcm | AeadAlgorithm::Aes256Gcm) {
        return Ok(());
    }
    Err(refuse("this authenticated cipher", "use AES-256-GCM"))
}

/// SP 800-38D section 8.2.2: the nonce is drawn inside the module, which offers that for two key lengths.
pub(super) fn approve_seal(algorithm: AeadAlgorithm) -> Result<(), CryptoError> {
    if matches!(algorithm, AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes256Gcm) {
        return Ok(());
    }
    Err(refuse("sealing with this authenticated cipher", "use AES-128-GCM or AES-256-GCM"))
}

pub(super) fn own_nonce() -> CryptoError {
    refuse(
        "AES-GCM under a nonce from outside of the module (NIST SP 800-38D section 8.2)",
        "let the module draw it: `Aead::seal_with_random_nonce`",
    )
}

/// SP 800-38F. AES-192 is approved as well, but the modules here do not wrap with it: it would be put together outside of them.
pub(super) fn approve_key_wrap(kek_len: usize) -> Result<(), CryptoError> {
    if matches!(kek_len, 16 | 32) {
        return Ok(());
    }
    Err(refuse("AES key wrap by other keys than of 128 and 256 bits (which no FIPS module serves here)", "use AES-128 or AES-256 key wrap"))
}

pub(super) fn password_recipients() -> CryptoError {
    refuse("the key wrap of password recipients (RFC 3211)", "encrypt to a certificate or under a shared AES key")
}

pub(super) fn approve_key_transport(algorithm: KeyTransportAlgorithm) -> Result<(), CryptoError> {
    use KeyTransportAlgorithm as A;
    if matches!(algorithm, A::RsaOaepSha1 | A::RsaOaepSha256 | A::RsaOaepSha384 | A::RsaOaepSha512) {
        return Ok(());
    }
    let what = if algorithm == A::RsaPkcs1v15 { "RSA PKCS#1 v1.5 key transport" } else { "this key transport" };
    Err(refuse(what, "use RSAES-OAEP, such as `KeyTransportAlgorithm::RsaOaepSha256`"))
}

pub(super) fn approve_signature(algorithm: SignatureAlgorithm) -> Result<(), CryptoError> {
    use SignatureAlgorithm as A;
    if matches!(
        algorithm,
        A::RsaPkcs1Sha256
            | A::RsaPkcs1Sha384
            | A::RsaPkcs1Sha512
            | A::RsaPssSha256
            | A::RsaPssSha384
            | A::RsaPssSha512
            | A::EcdsaP256Sha256
            | A::EcdsaP256Sha384
            | A::EcdsaP384Sha256
            | A::EcdsaP384Sha384
            | A::EcdsaP256Sha512
            | A::EcdsaP384Sha512
            | A::EcdsaP521Sha256
            | A::EcdsaP521Sha384
            | A::EcdsaP521Sha512
            | A::Ed25519
    ) {
        return Ok(());
    }
    let what = match algorithm {
        A::RsaPkcs1Sha1 => "a signature with SHA-1",
        A::RsaPkcs1Sha224 => "an RSA signature with SHA-224 (which no FIPS module serves here)",
        A::RsaPss(_) => {
            "RSASSA-PSS with other parameters than SHA-2 in hash and mask and a salt as long (which no FIPS module serves here)"
        }
        _ => "this signature algorithm",
    };
    Err(refuse(what, "have it signed with SHA-256, SHA-384 or SHA-512"))
}

/// A public key that verifies or is encrypted to.
pub(super) fn approve_public_key(spki: &[u8]) -> Result<(), CryptoError> {
    let what = match PublicKey::from_spki(spki)? {
        PublicKey::Rsa { bits, .. } | PublicKey::RsaPss { bits, .. } if bits < 2048 => "an RSA key under 2048 bits",
        PublicKey::Rsa { bits, .. } | PublicKey::RsaPss { bits, .. } if bits % 2 != 0 => "an RSA key of an odd number of bits",
        PublicKey::Rsa { .. } | PublicKey::RsaPss { .. } => return Ok(()),
        PublicKey::EcP256(_) | PublicKey::EcP384(_) | PublicKey::EcP521(_) | PublicKey::Ed25519(_) => return Ok(()),
        _ => "this kind of key",
    };
    Err(refuse(what, "use RSA of 2048 bits or more, P-256 or P-384"))
}

/// A public key to agree with (SP 800-56A revision 3): neither X25519 nor X448.
pub(super) fn approve_agreement_key(spki: &[u8]) -> Result<(), CryptoError> {
    if matches!(PublicKey::from_spki(spki)?, PublicKey::EcP256(_) | PublicKey::EcP384(_) | PublicKey::EcP521(_)) {
        return Ok(());
    }
    Err(refuse("key agreement on this curve", "use P-256, P-384 or P-521"))
}

pub(super) fn approve_generation(algorithm: KeyAlgorithm) -> Result<(), CryptoError> {
    use KeyAlgorithm as A;
    if matches!(algorithm, A::Rsa2048 | A::Rsa3072 | A::Rsa4096 | A::EcP256 | A::EcP384) {
        return Ok(());
    }
    Err(refuse("this kind of key", "use RSA of 2048 bits or more, P-256 or P-384"))
}
