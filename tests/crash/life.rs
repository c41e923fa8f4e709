//! The process that is killed: a connector, or a SCEP service, over a journal in a file; queue, CA and devices are asked over the socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::adapters::{CallbackValidator, MemoryDecryptionKeys, PowerCut, SqliteJournalOptions, StdRuntime};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::CryptoProvider;
use intune_connector::event::Event;
use intune_connector::import::ImportConfig;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{
    CertificateAuthority, EventSink, FailureNotification, ImportKeyName, IntuneQueue, Journal, PortError, RowState, Runtime as _,
    ScepNotifier, SuccessNotification, Verdict, Vouched,
};
use intune_connector::recrypt::{RecryptConfig, RecryptKey};
use intune_connector::revoke::RevokeConfig;
use intune_connector::scep::{NotificationPolicy, RegistrationAuthority, Request, Service};
use intune_connector::secret::{PrivateKeyPkcs8, SecretBytes};
use intune_connector::terms::{Flow, oids};
use serde::{Deserialize, Serialize};

use crate::ca::CaKind;
use crate::clock::{Clock, Fast};
use crate::fixture::{CA, Configuration, Key, TENANT};
use crate::points::{Points, WatchedJournal};
use crate::remote::{RemoteCa, RemoteQueue};
use crate::wire::{Ask, Client, Reply};

/// The file with the orders for one life.
pub const ORDERS: &str = "INTUNE_CONNECTOR_CRASH_LIFE";
/// Looks, 300 ms of the connector's clock apart, after which a journal may be left with open rows, for the judges to see.
const NOTED: u32 = 60;
const SEALING_KEY: [u8; 32] = [7; 32];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub configuration: PathBuf,
    pub socket: PathBuf,
    pub journal: PathBuf,
    pub flow: Flow,
    pub kind: CaKind,
    pub clock: Clock,
    /// Where to stop, at which time it is passed, and whether to go on instead, to be killed a moment later.
    pub stop: Option<(String, u32, bool)>,
    /// Commits to this state are answered as stored, and are not.
    pub skip: Option<RowState>,
    pub loses_the_last: bool,
    pub notify_first: bool,
}

/// For whoever looks into a run that went wrong.
#[derive(Debug)]
struct Log;

impl EventSink for Log {
    fn emit(&self, event: &Event) {
        if std::env::var_os(ORDERS).is_none() {
            return;
        }
        eprintln!("event {:?} {} {}", event.id, event.key.scope, event.message);
    }
}

/// Does nothing unless this process was started for it.
pub fn live() {
    let Some(orders) = std::env::var_os(ORDERS) else { return };
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders).unwrap()).unwrap();
    let client = Client::new(&orders.socket);
    let runtime = Arc::new(Fast { std: StdRuntime::with_threads(2, 1_024).unwrap(), clock: orders.clock });
    let power_cut = if orders.loses_the_last { PowerCut::LosesTheLast } else { PowerCut::LosesNothing };
    let journal = match SqliteJournalOptions::new(&orders.journal).power_cut(power_cut).open() {
        Ok(journal) => journal,
        Err(error) => {
            client.call_now(&Ask::Refused { why: format!("{:?}: {error}", error.kind) }).unwrap();
            std::process::exit(3);
        }
    };
    let points = Arc::new(Points::new(client.clone(), orders.stop.clone()));
    let watched = Arc::new(WatchedJournal::new(journal, &points, orders.skip, client.clone()));
    let journal: Arc<dyn Journal> = watched.clone();
    let configuration: Configuration = serde_json::from_slice(&std::fs::read(&orders.configuration).unwrap()).unwrap();
    let ca: Arc<dyn CertificateAuthority> =
        Arc::new(RemoteCa { kind: orders.kind, root: configuration.root.clone(), client: client.clone(), points: Arc::clone(&points) });
    if orders.flow == Flow::Scep {
        serve_scep(&orders, &configuration, journal, ca, &runtime, &client, &points);
    } else {
        let queue = Arc::new(RemoteQueue {
            flow: orders.flow,
            device: configuration.device.clone(),
            client: client.clone(),
            points: points.clone(),
        });
        let connector = connector(&orders, &configuration, queue, journal, ca, &runtime);
        let stop = async {
            let mut looks = 0;
            loop {
                // What the queue has taken is still to be noted in the journal.
                match client.call(Ask::IsOver).await {
                    Ok(Reply::Is(true)) if looks > NOTED || watched.open_requests().await == Ok(0) => return,
                    Ok(Reply::Is(true)) => looks += 1,
                    _ => {}
                }
                runtime.sleep(Duration::from_millis(300)).await;
            }
        };
        runtime.std.block_on(connector.run_until(stop));
        drop(connector);
    }
    client.call_now(&Ask::Census { points: points.census() }).unwrap();
    std::process::exit(0);
}

pub fn connector(
    orders: &Orders,
    configuration: &Configuration,
    queue: Arc<dyn IntuneQueue>,
    journal: Arc<dyn Journal>,
    ca: Arc<dyn CertificateAuthority>,
    runtime: &Arc<Fast>,
) -> Connector {
    let settings = QueueSettings::new(queue.clone())
        .with_poll_interval(Duration::from_secs(1))
        .with_max_attempts(50)
        .with_backoff(Duration::from_millis(300), Duration::from_secs(3))
        .with_deadline(Duration::from_secs(30 * 86_400));
    let name = || CA.parse().unwrap();
    let recipients = RecipientPolicy::new().trust_root(configuration.root.clone().into());
    let builder = Connector::builder(CryptoProvider::ring_and_aws_lc_rs(), journal)
        .sealing_key(SecretBytes::copy_from(&SEALING_KEY))
        .require_durable()
        .tenant(TENANT.parse().unwrap())
        .instance("one".parse().unwrap())
        .runtime(runtime.clone())
        .sink(Arc::new(Log));
    let builder = match orders.flow {
        Flow::Pkcs => {
            let issuance = IssuancePolicy::deny_all().allow_upn_suffix(TENANT).allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
            let pkcs = PkcsConfig::new(queue, name(), ca, issuance, recipients);
            builder.flow(pkcs.with_settings(settings).with_pfx_iterations(2_000))
        }
        Flow::PkcsRecrypt => {
            let (key, certificate) = &configuration.connector;
            let key = Key::load(PrivateKeyPkcs8::new(key.clone())).decryption.unwrap();
            let key = RecryptKey::new(certificate.clone().into(), key);
            builder.flow(RecryptConfig::new(queue, key, recipients).with_settings(settings))
        }
        Flow::PkcsImport => {
            let keys = MemoryDecryptionKeys::new();
            keys.insert(import_key_name(), Key::load(PrivateKeyPkcs8::new(configuration.import.clone())).decryption.unwrap());
            builder.flow(ImportConfig::new(queue, Arc::new(keys), recipients).with_settings(settings))
        }
        _ => builder.flow(RevokeConfig::new(queue, name(), ca).with_settings(settings)),
    };
    builder.build().unwrap()
}

pub fn import_key_name() -> ImportKeyName {
    ImportKeyName { provider: "Key Storage".to_owned(), key: "import".to_owned() }
}

/// Where the judges are told of issued certificates.
#[derive(Debug)]
struct Notifier {
    client: Client,
    points: Arc<Points>,
}

#[async_trait]
impl ScepNotifier for Notifier {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        self.points.pass("notify:before");
        let transaction = notification.transaction_id.as_bytes().to_vec();
        self.client.call(Ask::Notified { transaction, thumbprint: notification.thumbprint.to_string() }).await?;
        self.points.pass("notify:after");
        Ok(())
    }

    async fn failure(&self, _: FailureNotification<'_>) -> Result<(), PortError> {
        Ok(())
    }
}

fn serve_scep(
    orders: &Orders,
    configuration: &Configuration,
    journal: Arc<dyn Journal>,
    ca: Arc<dyn CertificateAuthority>,
    runtime: &Arc<Fast>,
    client: &Client,
    points: &Arc<Points>,
) {
    let ra = Key::load(PrivateKeyPkcs8::new(configuration.ra.0.clone()));
    let validator = CallbackValidator::new({
        let points = Arc::clone(points);
        move |_: &_, _: &_| {
            points.pass("validate");
            let mut vouched = Vouched::default();
            vouched.names_checked = true;
            Ok(Verdict::Accepted(vouched))
        }
    });
    let policy =
        IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
    let notification = if orders.notify_first { NotificationPolicy::NotifyBeforeRelease } else { NotificationPolicy::IssueThenNotify };
    let service = Service::builder(
        CryptoProvider::ring_and_aws_lc_rs(),
        journal,
        CA.parse().unwrap(),
        ca,
        RegistrationAuthority::single(configuration.ra.1.clone().into(), ra.signing, ra.decryption.unwrap()),
        Arc::new(validator),
        Arc::new(Notifier { client: client.clone(), points: Arc::clone(points) }),
    )
    .tenant(TENANT.parse().unwrap())
    .instance("one".parse().unwrap())
    .runtime(runtime.clone())
    .sink(Arc::new(Log))
    .policy(policy)
    .notification(notification)
    .sealing_key(SecretBytes::copy_from(&SEALING_KEY));
    let service = Arc::new(runtime.std.block_on(service.build()).unwrap());
    let is_over = || matches!(client.call_now(&Ask::IsOver), Ok(Reply::Is(true)));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over() {
                    let Ok(Reply::Message { device, body }) = client.call_now(&Ask::Knock) else {
                        runtime.std.block_on(runtime.sleep(Duration::from_millis(300)));
                        continue;
                    };
                    points.pass("request");
                    let response = runtime.std.block_on(service.handle(Request::post("operation=PKIOperation", body)));
                    points.pass("reply:before");
                    let (status, retry_after) = (response.status, response.retry_after);
                    client.call_now(&Ask::Answered { device, status, retry_after, body: response.body }).unwrap();
                    points.pass("reply:after");
                }
            });
        }
        while !is_over() {
            runtime.std.block_on(service.maintain(runtime.now()));
            runtime.std.block_on(runtime.sleep(Duration::from_secs(5)));
        }
    });
}
