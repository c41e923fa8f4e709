//! Keys that live elsewhere: each answer takes a turn of the executor, as a token or a vault would.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use intune_connector::crypto::{DecryptionKey, SignError, SignatureAlgorithm, SigningKey, UnwrapError, UnwrapRequest};
use intune_connector::ports::{DecryptionKeys, ImportKeyName, PortError};
use intune_connector::secret::SecretBytes;
use rustls_pki_types::SubjectPublicKeyInfoDer;

/// Not ready at first, ready then.
#[derive(Debug, Default)]
pub struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[derive(Debug)]
pub struct RemoteDecryptionKey {
    token: Arc<dyn DecryptionKey>,
    uses: AtomicU32,
}

impl RemoteDecryptionKey {
    pub fn new(token: Arc<dyn DecryptionKey>) -> Self {
        Self { token, uses: AtomicU32::new(0) }
    }

    /// How often it was asked.
    pub fn uses(&self) -> u32 {
        self.uses.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl DecryptionKey for RemoteDecryptionKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.token.public_key()
    }

    async fn unwrap(&self, request: &UnwrapRequest) -> Result<SecretBytes, UnwrapError> {
        self.uses.fetch_add(1, Ordering::SeqCst);
        Yield::default().await;
        // What a token that only does RSA would do: take the request apart and build its own.
        let UnwrapRequest::KeyTransport { algorithm, ciphertext, label, .. } = request else {
            return Err(UnwrapError::Unsupported("key agreement"));
        };
        let again = UnwrapRequest::with_label(*algorithm, ciphertext.clone(), label.clone());
        self.token.unwrap(&again).await
    }
}

#[derive(Debug)]
pub struct RemoteSigningKey(pub Arc<dyn SigningKey>);

#[async_trait]
impl SigningKey for RemoteSigningKey {
    fn public_key(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.0.algorithms()
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if !self.algorithms().contains(&algorithm) {
            return Err(SignError::Unsupported(algorithm));
        }
        Yield::default().await;
        self.0.sign(algorithm, message).await
    }
}

/// Keys by provider and name.
#[derive(Debug, Default)]
pub struct OwnKeys(Mutex<BTreeMap<ImportKeyName, Arc<RemoteDecryptionKey>>>);

impl OwnKeys {
    pub fn insert(&self, name: ImportKeyName, key: Arc<RemoteDecryptionKey>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, key);
    }
}

#[async_trait]
impl DecryptionKeys for OwnKeys {
    async fn find(&self, name: &ImportKeyName) -> Result<Vec<Arc<dyn DecryptionKey>>, PortError> {
        Yield::default().await;
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.get(name).into_iter().map(|key| key.clone() as Arc<dyn DecryptionKey>).collect())
    }
}
