//! How well a file protects what is in it. Judged by the names that the reader gives to schemes.

use intune_connector::message::algorithm::PublicKeyAlgorithm;

/// Rounds from which a password that a human chose has a chance (OWASP's figure for PBKDF2 with SHA-256 is 600,000).
const MANY_ROUNDS: u64 = 100_000;

/// A judgement in one word, and why.
pub(crate) struct Strength {
    pub(crate) judgement: &'static str,
    pub(crate) why: String,
}

fn strength(judgement: &'static str, why: impl Into<String>) -> Strength {
    Strength { judgement, why: why.into() }
}

/// Of the encryption of a key or certificate.
pub(crate) fn of_scheme(scheme: &str, iterations: u64) -> Strength {
    if scheme.contains("40Bit") {
        strength("broken", "its key has 40 bits and is found without the password")
    } else if scheme.contains("des-cbc") || scheme.contains("AndDES-CBC") {
        strength("broken", "single DES: its key is found without the password")
    } else if scheme.contains("RC4") || scheme.contains("RC2") || scheme.contains("rc2") {
        strength("weak", "an outdated cipher; holds only with a random password of 128 bits or more")
    } else if scheme.contains("TripleDES") || scheme.contains("des-ede3") {
        strength("weak", "3DES; holds only with a random password of 128 bits or more")
    } else if scheme.contains("scrypt") {
        strength("good", "AES with a key from scrypt")
    } else if scheme.contains("aes") {
        rounds(iterations)
    } else {
        strength("unknown", "the scheme is not one that this program knows")
    }
}

/// Of what lies there without encryption.
pub(crate) fn of_clear_key() -> Strength {
    strength("none", "whoever has the file has the key")
}

/// Of a MAC: it lets the password be guessed as fast as its rounds allow, however good the encryption is.
pub(crate) fn of_mac(iterations: u32) -> Strength {
    rounds(u64::from(iterations))
}

fn rounds(iterations: u64) -> Strength {
    if iterations >= MANY_ROUNDS {
        strength("good", "many rounds slow down the guessing of passwords")
    } else {
        strength("fair", "few rounds: good with a random password, soon guessed with one that a human chose")
    }
}

/// Of the key that a certificate certifies.
pub(crate) fn of_key(key: &PublicKeyAlgorithm) -> Strength {
    match key {
        PublicKeyAlgorithm::Rsa { bits } | PublicKeyAlgorithm::RsaPss { bits } if *bits < 2048 => {
            strength("weak", "RSA under 2048 bits is no longer secure: have a new certificate issued")
        }
        PublicKeyAlgorithm::Other(_) | PublicKeyAlgorithm::Unknown => {
            strength("unknown", "a key that neither devices nor this library use: have a new certificate issued with RSA or EC")
        }
        _ => strength("good", "long enough for today"),
    }
}
