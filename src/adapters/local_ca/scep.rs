//! A [`LocalCa`] that serves SCEP itself, without an RA.

use super::{LocalCa, LocalCaError};
use crate::crypto::CryptoProvider;
use crate::ids::CaName;
use crate::message::X509Error;
use crate::scep::RegistrationAuthority;
use crate::terms::{KeyAlgorithm, KeyUsage};
use crate::time::Timestamp;

impl LocalCa {
    /// A CA that is its own registration authority for SCEP: clients get its certificate alone, encrypt to its key, and have replies signed
    /// by it. Its certificate allows that beside signing certificates and lists, as RFC 8894 section 2.1.2 demands. The key must be RSA.
    ///
    /// Simple, and what the oldest clients understand; but the key that signs certificates then decrypts what anyone sends. A certificate
    /// of an RA keeps the two apart.
    ///
    /// # Errors
    /// [`LocalCaError::NotRsa`] with an EC key; otherwise as [`LocalCa::new`].
    pub fn serving_scep(
        provider: CryptoProvider,
        name: CaName,
        algorithm: KeyAlgorithm,
    ) -> Result<(Self, RegistrationAuthority), LocalCaError> {
        if !algorithm.is_rsa() {
            return Err(LocalCaError::NotRsa);
        }
        let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::SIGN_AND_ENCIPHER };
        let (ca, generated) = Self::make(provider, name, algorithm, Timestamp::system_now, usage)?;
        let keys = ca.provider.decryption_keys().map_err(X509Error::from)?;
        let decryption = keys.load(&generated).map_err(X509Error::Crypto)?;
        let authority = RegistrationAuthority::single(ca.certificate.der().clone(), ca.key.clone(), decryption);
        Ok((ca, authority))
    }
}
