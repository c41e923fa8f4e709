//! Software decryption keys from aws-lc-rs: RSA keys decrypt, EC and X25519 keys agree.

use std::sync::Arc;

use super::agreement::AgreementKey;
use super::is_fips;
use super::rsa::RsaDecryptionKey;
use crate::crypto::spki::PrivateKeyKind;
use crate::crypto::{CryptoError, DecryptionKey, DecryptionKeyLoader};
use crate::secret::PrivateKeyPkcs8;

#[derive(Debug)]
pub(in crate::crypto) struct AwsLcDecryptionKeys;

impl DecryptionKeyLoader for AwsLcDecryptionKeys {
    fn load(&self, key: &PrivateKeyPkcs8) -> Result<Arc<dyn DecryptionKey>, CryptoError> {
        let der = key.secret_pkcs8_der();
        Ok(match PrivateKeyKind::from_pkcs8(der)? {
            PrivateKeyKind::Rsa { .. } => Arc::new(RsaDecryptionKey::load(der)?),
            kind => Arc::new(AgreementKey::load(kind, der)?),
        })
    }

    fn fips(&self) -> bool {
        is_fips()
    }
}
