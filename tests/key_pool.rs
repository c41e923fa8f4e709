//! The pool of ready keys: filled while nothing is to be done, bounded, each key given out once, and gone with its configuration.

#![cfg(all(feature = "pkcs", feature = "import", feature = "revoke", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/scripted_ca.rs"]
mod scripted_ca;
#[path = "support/tenant.rs"]
mod tenant;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use intune_connector::adapters::{InMemoryQueue, StdRuntime, VolatileJournal};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::{CryptoError, KeyGeneration};
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{QueueItem, Runtime as _};
use intune_connector::secret::PrivateKeyPkcs8;
use intune_connector::terms::{Flow, KeyAlgorithm, oids};
use scripted_ca::ScriptedCa;
use tenant::{KEYS, meta, oid, pkcs};

/// Remembers the public keys that it made, and takes its time.
#[derive(Debug, Default)]
struct Maker {
    made: Mutex<Vec<Vec<u8>>>,
    time: Duration,
    fails: bool,
}

impl Maker {
    fn made(&self) -> Vec<Vec<u8>> {
        self.made.lock().unwrap().clone()
    }
}

impl KeyGeneration for Maker {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKeyPkcs8, CryptoError> {
        std::thread::sleep(self.time);
        let (key, signer) = pki::new_key(&KEYS.provider, algorithm);
        self.made.lock().unwrap().push(signer.public_key().to_vec());
        if self.fails { Err(CryptoError::Failed) } else { Ok(key) }
    }
}

struct Lab {
    maker: Arc<Maker>,
    queue: Arc<InMemoryQueue>,
    ca: Arc<ScriptedCa>,
    runtime: Arc<StdRuntime>,
    connector: Connector,
}

fn config(queue: &Arc<InMemoryQueue>, ca: &Arc<ScriptedCa>) -> PkcsConfig {
    let issuance = IssuancePolicy::deny_all()
        .allow_upn_suffix("contoso.com")
        .allow_sid_domain("S-1-5-21-1-2-3".parse().unwrap())
        .allow_extended_key_usage(oid(oids::CLIENT_AUTH));
    let recipients = RecipientPolicy::new().trust_root(KEYS.root.certificate.clone());
    let settings = QueueSettings::new(Arc::clone(queue) as _).with_poll_interval(Duration::from_millis(1));
    PkcsConfig::new(Arc::clone(queue) as _, "ca".parse().unwrap(), Arc::clone(ca) as _, issuance, recipients).with_settings(settings)
}

impl Lab {
    fn new(maker: Maker, pool: impl FnOnce(PkcsConfig) -> PkcsConfig) -> Self {
        let maker = Arc::new(maker);
        let queue = Arc::new(InMemoryQueue::new());
        let ca = Arc::new(ScriptedCa::new(Arc::new(KEYS.provider.clone())));
        let runtime = Arc::new(StdRuntime::with_threads(2, 64).unwrap());
        let provider = KEYS.provider.clone().with_key_generation(Arc::clone(&maker) as _);
        let connector = Connector::builder(provider, Arc::new(VolatileJournal::new()))
            .tenant("contoso.com".parse().unwrap())
            .instance("one".parse().unwrap())
            .without_events_nobody_learns_of_failures()
            .runtime(Arc::clone(&runtime) as _)
            .pkcs(pool(config(&queue, &ca)))
            .build()
            .unwrap();
        Self { maker, queue, ca, runtime, connector }
    }

    fn push(&self, count: usize) {
        let first = self.queue.waiting() + self.queue.deliveries().len();
        (first..first + count)
            .for_each(|number| self.queue.push(QueueItem::new(meta(Flow::Pkcs, &format!("request-{number}")), pkcs("ca"))));
    }

    /// Waits for what comes in any case, however slow the machine is.
    async fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(120), "{what} does not come");
            self.runtime.sleep(Duration::from_millis(2)).await;
        }
    }

    /// What shall not happen has had time to.
    async fn linger(&self) {
        self.runtime.sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn the_pool_is_filled_to_its_size_and_each_key_is_given_out_once() {
    let lab = Lab::new(Maker::default(), |config| config.with_key_pool(KeyAlgorithm::EcP256, 5));
    lab.runtime.block_on(lab.connector.run_until(async {
        lab.wait_for("the full pool", || lab.maker.made().len() == 5).await;
        lab.linger().await;
        assert_eq!(lab.maker.made().len(), 5, "no more than its size");
        lab.push(8);
        lab.wait_for("the result", || lab.queue.accepted().len() == 8).await;
    }));
    let made = lab.maker.made();
    let ready: BTreeSet<&Vec<u8>> = made[..5].iter().collect();
    let keys = lab.ca.keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 8, "each request has a key of its own");
    assert_eq!(keys.iter().filter(|key| ready.contains(key)).count(), 5, "the ready keys were used");
    assert!(keys.iter().all(|key| made.contains(key)));
}

#[test]
fn no_key_is_made_ahead_unless_it_is_asked_for_nor_for_another_algorithm() {
    let lab = Lab::new(Maker::default(), |config| config);
    lab.runtime.block_on(lab.connector.run_until(lab.linger()));
    assert_eq!(lab.maker.made().len(), 0);
    let lab = Lab::new(Maker::default(), |config| config.with_key_pool(KeyAlgorithm::EcP384, 2));
    lab.runtime.block_on(lab.connector.run_until(async {
        lab.wait_for("the full pool", || lab.maker.made().len() == 2).await;
        lab.push(1);
        lab.wait_for("the result", || lab.queue.accepted().len() == 1).await;
    }));
    assert!(!lab.maker.made()[..2].contains(&lab.ca.keys()[0]));
}

#[test]
fn nothing_is_made_after_the_run_has_ended_or_was_abandoned() {
    for abandoned in [false, true] {
        let maker = Maker { time: Duration::from_millis(5), ..Maker::default() };
        let lab = Lab::new(maker, |config| config.with_key_pool(KeyAlgorithm::EcP256, 10_000));
        let some = lab.wait_for("a few keys", || lab.maker.made().len() >= 3);
        if abandoned {
            let run = std::pin::pin!(lab.connector.run_until(std::future::pending()));
            lab.runtime.block_on(futures_util::future::select(run, std::pin::pin!(some)));
        } else {
            lab.runtime.block_on(lab.connector.run_until(some));
        }
        let at_the_end = lab.maker.made().len();
        lab.runtime.block_on(lab.linger());
        assert!(lab.maker.made().len() <= at_the_end + 1, "only the one that was begun: {abandoned}");
    }
}

#[test]
fn a_new_configuration_has_none_of_the_old_keys() {
    let lab = Lab::new(Maker::default(), |config| config.with_key_pool(KeyAlgorithm::EcP256, 4));
    lab.runtime.block_on(lab.connector.run_until(async {
        lab.wait_for("the full pool", || lab.maker.made().len() == 4).await;
        lab.connector.handle().reconfigure(config(&lab.queue, &lab.ca)).unwrap();
        lab.push(2);
        lab.wait_for("the results", || lab.queue.accepted().len() == 2).await;
    }));
    let (made, keys) = (lab.maker.made(), lab.ca.keys());
    assert_eq!(made.len(), 6);
    assert!(keys.iter().all(|key| !made[..4].contains(key)));
}

#[test]
fn a_generator_that_fails_is_left_alone_after_three_times() {
    let maker = Maker { fails: true, ..Maker::default() };
    let lab = Lab::new(maker, |config| config.with_key_pool(KeyAlgorithm::EcP256, 4));
    lab.runtime.block_on(lab.connector.run_until(async {
        lab.wait_for("three failures", || lab.maker.made().len() == 3).await;
        lab.linger().await;
    }));
    assert_eq!(lab.maker.made().len(), 3);
}

#[test]
fn a_pool_that_is_too_large_is_refused() {
    let queue = Arc::new(InMemoryQueue::new());
    let ca = Arc::new(ScriptedCa::new(Arc::new(KEYS.provider.clone())));
    let pool = config(&queue, &ca).with_key_pool(KeyAlgorithm::Rsa2048, 6_000).with_key_pool(KeyAlgorithm::Rsa4096, usize::MAX);
    let built = Connector::builder(KEYS.provider.clone(), Arc::new(VolatileJournal::new())).pkcs(pool).build();
    assert!(built.unwrap_err().to_string().contains("pkcs.key_pool"));
}
