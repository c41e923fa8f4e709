//! All of the ports together.

use std::sync::Arc;

use intune_connector::connector::{Connector, ConnectorBuilder};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::{Payload, QueueItem, RequestMeta};
use intune_connector::terms::Flow;

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
