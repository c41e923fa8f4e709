//! Private keys that a restricted loader hands out: they do what FIPS approves and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use super::{approve_agreement_key, approve_key_transport, approve_signature};
use crate::crypto::{DecryptionKey, SignError, SignatureAlgorithm, SigningKey, UnwrapError, UnwrapRequest};
use crate::secret::SecretBytes;

#[derive(Debug)]
pub(super) struct ApprovedSigningKey(pub(super) Arc<dyn SigningKey>);

#[async_trait]
impl SigningKey for ApprovedSigningKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        let mut algorithms = self.0.algorithms();
        algorithms.retain(|algorithm| approve_signature(*algorithm).is_ok());
        algorithms
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        approve_signature(algorithm)?;
        self.0.sign(algorithm, message).await
    }
}

#[derive(Debug)]
pub(super) struct ApprovedDecryptionKey(pub(super) Arc<dyn DecryptionKey>);

#[async_trait]
impl DecryptionKey for ApprovedDecryptionKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        match request {
            UnwrapRequest::KeyTransport { algorithm, .. } => approve_key_transport(*algorithm)?,
            // The key's own curve decides: a peer on another one is the key's to reject.
            UnwrapRequest::KeyAgreement { .. } => approve_agreement_key(&self.public_key())?,
        }
        self.0.unwrap(request).await
    }
}
