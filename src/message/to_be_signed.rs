//! What a key has to sign, and how the signature is put to it.

use core::fmt;

use zeroize::Zeroizing;

use super::algorithm;
use crate::codec::der::write;
use crate::crypto::SignatureAlgorithm;

/// The part of a certificate, request or revocation list that is signed. Sign [`ToBeSigned::message`], then [`ToBeSigned::finish`].
pub struct ToBeSigned {
    message: Zeroizing<Vec<u8>>,
    algorithm: SignatureAlgorithm,
}

impl ToBeSigned {
    pub(super) fn new(message: Vec<u8>, algorithm: SignatureAlgorithm) -> Self {
        Self { message: Zeroizing::new(message), algorithm }
    }

    /// The bytes to sign (not their digest). Those of a request hold its challenge password.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The algorithm to sign with; it is already named in the message of a certificate.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The whole structure as DER. The signature is not verified here.
    #[must_use]
    pub fn finish(self, signature: &[u8]) -> Vec<u8> {
        write::sequence(&[&self.message, &algorithm::identifier_der(self.algorithm), &write::bit_octets(signature)])
    }
}

impl fmt::Debug for ToBeSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToBeSigned").field("len", &self.message.len()).field("algorithm", &self.algorithm).finish()
    }
}
