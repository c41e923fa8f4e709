//! All of the ports together.

use std::sync::Arc;

use intune_connector::connector::{Connector, ConnectorBuilder};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{Payload, QueueItem, RequestMeta};
use intune_connector::terms::Flow;
#[cfg(feature = "aws-lc-rs")]
use intune_connector::{
    crypto::DecryptionKey as _, limits::Limits, message::certificate::Certificate, message::enveloped::Opening, secret::SecretBytes,
    terms::KeyAlgorithm,
};

use super::{OwnJournal, OwnQueue, OwnRuntime, OwnSink, block_on};

pub const TENANT: &str = "contoso.example";

/// The provider that the enabled features make.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub fn provider() -> CryptoProvider {
    #[cfg(all(feature = "ring", feature = "aws-lc-rs"))]
    return CryptoProvider::ring_and_aws_lc_rs();
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return CryptoProvider::aws_lc_rs();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return CryptoProvider::ring_only();
}

pub fn meta(flow: Flow, id: &str) -> RequestMeta {
    RequestMeta::new(id.parse().expect("a request id"), TENANT.parse().expect("a tenant"), flow)
}

pub fn item(flow: Flow, id: &str, device: &str, payload: Payload) -> QueueItem {
    let mut meta = meta(flow, id);
    meta.device = Some(device.parse().expect("a device id"));
    meta.correlation = vec!["activity-7".parse().expect("a correlation id")];
    QueueItem::new(meta, payload)
}

/// Queue, journal, sink and runtime of one test.
#[derive(Debug, Default)]
pub struct Lab {
    pub queue: Arc<OwnQueue>,
    pub journal: Arc<OwnJournal>,
    pub sink: Arc<OwnSink>,
    pub runtime: Arc<OwnRuntime>,
}

impl Lab {
    pub fn builder(&self, provider: CryptoProvider) -> ConnectorBuilder {
        Connector::builder(provider, self.journal.clone())
            .tenant(TENANT.parse().expect("a tenant"))
            .instance("consumer-1".parse().expect("an instance"))
            .sink(self.sink.clone())
            .runtime(self.runtime.clone())
    }

    /// Works round by round until nothing is in hand; gives the Admin events about requests.
    pub fn run(&self, connector: &Connector) -> Vec<u16> {
        for _ in 0..200 {
            let report = block_on(connector.run_once());
            if report.held == 0 {
                break;
            }
            std::thread::sleep(report.next_due.unwrap_or_default().min(std::time::Duration::from_millis(50)));
        }
        self.sink.outcomes()
    }
}

/// A device or service with an RSA key that lives elsewhere, and a certificate.
#[cfg(feature = "aws-lc-rs")]
#[derive(Debug)]
pub struct Device {
    pub certificate: intune_connector::message::certificate::Certificate,
    pub key: Arc<super::RemoteDecryptionKey>,
}

#[cfg(feature = "aws-lc-rs")]
impl Device {
    pub fn new(ca: &super::OwnCa, name: &str) -> Self {
        let provider = provider();
        let pkcs8 = provider.key_generation().expect("a slot").generate(KeyAlgorithm::Rsa2048).expect("a key");
        let key = provider.decryption_keys().expect("a slot").load(&pkcs8).expect("a key");
        let der = block_on(ca.issue_to(&format!("CN={name}"), key.public_key().as_ref())).expect("a certificate");
        let certificate = Certificate::from_der(&der, &Limits::default()).expect("a certificate");
        Self { certificate, key: Arc::new(super::RemoteDecryptionKey::new(key)) }
    }

    /// Opens what was encrypted to it.
    pub fn open(&self, envelope: &[u8]) -> SecretBytes {
        let mut opening = Opening::parse(envelope, &Limits::default()).expect("an envelope");
        let request = opening.unwrap_request(&self.certificate, &provider()).expect("an envelope to this device");
        let unwrapped = block_on(self.key.unwrap(&request));
        opening.finish(unwrapped, &provider()).expect("an envelope to this device")
    }
}

/// A CA with a fresh P-256 key behind a token.
#[cfg(feature = "aws-lc-rs")]
pub fn issuing_ca() -> Arc<super::OwnCa> {
    let provider = provider();
    let pkcs8 = provider.key_generation().expect("a slot").generate(KeyAlgorithm::EcP256).expect("a key");
    let key = super::RemoteSigningKey(provider.signing_keys().expect("a slot").load(&pkcs8).expect("a key"));
    Arc::new(block_on(super::OwnCa::new(provider, "Own CA".parse().expect("a name"), Arc::new(key))).expect("a CA"))
}
