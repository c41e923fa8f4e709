//! CAs that fail, fall silent or answer with the wrong certificate: nothing wrong is ever uploaded, and when they mend, all goes well.
//!
//! Judged is from outside: each uploaded result is opened with the device's key and held against the CA's own ledger. On a virtual clock.
//! `INTUNE_CONNECTOR_BAD_ANSWERS=50000` says how many answers go wrong.

#![cfg(all(feature = "pkcs", feature = "ring", feature = "aws-lc-rs"))]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "bad_neighbours/ca.rs"]
mod ca;
#[path = "support/pki.rs"]
mod pki;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ca::{ALL, BadCa};
use intune_connector::adapters::{InMemoryQueue, VirtualRuntime, VolatileJournal};
use intune_connector::connector::{CaLimits, Connector, QueueSettings};
use intune_connector::crypto::{CryptoProvider, DecryptionKey, unwrap_now};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::Certificate;
use intune_connector::message::enveloped::Opening;
use intune_connector::message::path::verify_chain;
use intune_connector::message::pfx;
use intune_connector::pkcs::PkcsConfig;
use intune_connector::policy::{IssuancePolicy, RecipientPolicy};
use intune_connector::ports::{Outcome, Payload, PkcsRequest, PkcsResult, QueueItem, RequestMeta, Runtime as _};
use intune_connector::secret::Password;
use intune_connector::terms::{Flow, KeyAlgorithm, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use pki::Identity;

/// So many answers go wrong where nothing is said.
const QUICK: u64 = 2_000;
/// Of the calls, in percent.
const WRONG_PERCENT: u64 = 80;
const DEVICES: usize = 8;

struct World {
    provider: Arc<CryptoProvider>,
    runtime: VirtualRuntime,
    queue: Arc<InMemoryQueue>,
    ca: Arc<BadCa>,
    devices: Vec<(Identity, Arc<dyn DecryptionKey>)>,
    connector: Connector,
    pushed: usize,
}

/// How the results of a part of the requests came out.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    delivered: usize,
    failed: usize,
    missing: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let provider = pki::provider();
        let runtime = VirtualRuntime::new(Timestamp::system_now());
        let ca = Arc::new(BadCa::new(provider.clone(), runtime.clone(), seed));
        let device_ca = pki::root(&provider, "device CA");
        let devices = (0..DEVICES).map(|number| {
            let device = pki::device(&provider, &device_ca, &format!("dev-{number}"));
            let key = provider.decryption_keys().unwrap().load(&device.key).unwrap();
            (device, key)
        });
        let devices = devices.collect();
        let queue = Arc::new(InMemoryQueue::new());
        let issuance =
            IssuancePolicy::deny_all().allow_upn_suffix("contoso.com").allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
        let recipients = RecipientPolicy::new().trust_root(device_ca.certificate.clone());
        let settings = QueueSettings::new(queue.clone())
            .with_batch(16)
            .with_poll_interval(Duration::from_secs(1))
            .with_deadline(Duration::from_secs(86_400));
        let config = PkcsConfig::new(queue.clone(), "ca".parse().unwrap(), ca.clone(), issuance, recipients)
            .with_settings(settings)
            .with_ca_root(&"ca".parse().unwrap(), ca.root.certificate.clone())
            .with_ca_timeout(Duration::from_secs(10))
            .with_pfx_iterations(2_000);
        // The CA is tried again soon and often, so that faults come thick.
        let limits = CaLimits::new().with_longest_pause(Duration::from_secs(2)).with_retry_budget(100, 600);
        let connector = Connector::builder((*provider).clone(), Arc::new(VolatileJournal::new()))
            .tenant("contoso.com".parse().unwrap())
            .instance("i1".parse().unwrap())
            .without_events_nobody_learns_of_failures()
            .runtime(Arc::new(runtime.clone()))
            .ca_limits("ca".parse().unwrap(), limits)
            .pkcs(config)
            .build()
            .unwrap();
        Self { provider, runtime, queue, ca, devices, connector, pushed: 0 }
    }

    fn push(&mut self, count: usize) {
        for number in self.pushed..self.pushed + count {
            let device = number % DEVICES;
            let mut request = PkcsRequest::new("ca".parse().unwrap(), subject(number), self.devices[device].0.certificate.clone());
            request.key = KeyAlgorithm::EcP256;
            request.subject_alt_names = vec![alt_name(number)];
            request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
            let mut meta = RequestMeta::new(format!("r{number}").parse().unwrap(), "contoso.com".parse().unwrap(), Flow::Pkcs);
            meta.device = Some(format!("dev-{device}").parse().unwrap());
            self.queue.push(QueueItem::new(meta, Payload::Pkcs(Box::new(request))));
        }
        self.pushed += count;
    }

    /// Runs until all requests are answered, for a month at most. One run: at its end, calls under way are abandoned.
    fn run(&self) {
        let answered = async {
            for _ in 0..30 * 24 * 60 {
                self.runtime.sleep(Duration::from_secs(60)).await;
                if self.queue.waiting() == 0 && self.queue.unanswered().is_empty() {
                    return;
                }
            }
            panic!("{} requests are unanswered after a month", self.queue.unanswered().len());
        };
        self.runtime.block_on(self.connector.run_until(answered)).unwrap();
    }

    fn open(&self, device: usize, envelope: &[u8]) -> Vec<u8> {
        let (device, key) = &self.devices[device];
        let certificate = Certificate::from_der(&device.certificate, &Limits::default()).unwrap();
        let mut opening = Opening::parse(envelope, &Limits::default()).unwrap();
        let request = opening.unwrap_request(&certificate, &self.provider).unwrap();
        opening.finish(unwrap_now(&**key, &request), &self.provider).unwrap().secret_bytes().to_vec()
    }

    /// Opens a result as its device does; says what is wrong with it, or gives the certificate.
    fn judge(&self, number: usize, result: &PkcsResult) -> Result<Vec<u8>, &'static str> {
        let device = number % DEVICES;
        let password = Password::new(self.open(device, &result.password_envelope));
        let file = self.open(device, &result.pfx_envelope);
        let opened = pfx::open(&file, Some(&password), &self.provider, &Limits::default()).unwrap().into_mac_verified().unwrap();
        let identity = opened.contents().identity().unwrap();
        let leaf = Certificate::from_der(&identity.certificate.der, &Limits::default()).map_err(|_| "no certificate")?;
        let signer = self.provider.signing_keys().unwrap().load(&identity.key.key).unwrap();
        let root = Certificate::from_der(&self.ca.root.certificate, &Limits::default()).unwrap();
        let named = intune_connector::message::name::Name::parse_cert_str(&subject(number)).unwrap();
        let client_auth = [oids::CLIENT_AUTH.parse().unwrap()];
        let checks = [
            (signer.public_key().as_ref() == leaf.spki(), "another key"),
            (leaf.subject().matches(&named), "another subject"),
            (leaf.subject_alt_names() == [alt_name(number)], "another subjectAltName"),
            (leaf.extended_key_usage() == client_auth, "other usages"),
            (leaf.not_after() <= self.runtime.now().saturating_add(731 * pki::DAY), "valid too long"),
            (leaf.serial() == Some(&result.serial), "another serial number"),
            (verify_chain(&self.provider, &leaf, &[], &[root], leaf.not_before()).is_ok(), "another CA"),
        ];
        match checks.iter().find(|(is_right, _)| !is_right) {
            Some((_, what)) => Err(what),
            None => Ok(identity.certificate.der.to_vec()),
        }
    }

    /// Judges the requests from `first` on; every wrong upload is named.
    fn score(&self, first: usize, wrong: &mut Vec<String>) -> Score {
        let (accepted, good, revoked) = (self.queue.accepted(), self.ca.good(), self.ca.revoked());
        let issued: HashMap<&[u8], usize> =
            good.values().enumerate().flat_map(|(request, all)| all.iter().map(move |der| (der.as_ref(), request))).collect();
        let mut given: BTreeSet<usize> = BTreeSet::new();
        let mut score = Score::default();
        for number in first..self.pushed {
            match accepted.get(&(Flow::Pkcs, format!("r{number}").parse().unwrap())) {
                Some(Outcome::Pkcs(result)) => {
                    score.delivered += 1;
                    match self.judge(number, result).map(|der| issued.get(der.as_slice()).copied()) {
                        Ok(Some(request)) if !given.insert(request) => wrong.push(format!("r{number}: the certificate of another request")),
                        Ok(Some(_)) if revoked.contains(&result.serial.to_string()) => wrong.push(format!("r{number}: it is revoked")),
                        Ok(Some(_)) => {}
                        Ok(None) => wrong.push(format!("r{number}: the CA's ledger does not have it")),
                        Err(what) => wrong.push(format!("r{number}: {what}")),
                    }
                }
                Some(_) => score.failed += 1,
                None => score.missing += 1,
            }
        }
        score
    }
}

fn subject(number: usize) -> String {
    format!("CN=user-{number}")
}

fn alt_name(number: usize) -> SubjectAltName {
    SubjectAltName::Upn(format!("user-{number}@contoso.com"))
}

#[test]
fn nothing_wrong_is_uploaded_whatever_a_ca_answers_and_when_it_mends_all_goes_well() {
    let text = std::env::var("INTUNE_CONNECTOR_BAD_ANSWERS");
    let target = text.map_or(QUICK, |text| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number of answers")));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(2) as u64;
    let started = Instant::now();
    let played: Vec<_> = std::thread::scope(|scope| {
        let worlds: Vec<_> = (0..threads).map(|seed| scope.spawn(move || play(seed + 1, target.div_ceil(threads)))).collect();
        worlds.into_iter().map(|world| world.join().unwrap()).collect()
    });
    let (mut faulty, mut wrong, mut mended, mut succeeded) = (0, Vec::new(), 0, 0);
    for (world, bad, well, wrongs) in played {
        let kinds = world.ca.wrong();
        faulty += kinds.values().sum::<u64>();
        println!("{} calls; wrong answers: {kinds:?}", world.ca.calls());
        println!("while the CA is bad: {bad:?}; when it has mended: {well:?}");
        assert!(ALL.iter().all(|kind| kinds.contains_key(kind)), "some fault never came: {kinds:?}");
        assert_eq!((bad.missing, well.missing), (0, 0), "every request is answered");
        assert!(bad.delivered > 50, "{bad:?}: what is delivered among faults is judged too");
        let doubled = world.ca.good().values().filter(|all| all.len() > 1).count();
        assert_eq!(doubled, 0, "requests with two certificates as asked for, though the CA can be searched");
        mended += well.delivered + well.failed;
        succeeded += well.delivered;
        wrong.extend(wrongs);
    }
    println!(
        "{faulty} faulty answers: {} wrong uploads; when the faults had ended {succeeded} of {mended} succeeded; {} s",
        wrong.len(),
        started.elapsed().as_secs()
    );
    assert!(faulty >= target);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(succeeded * 1_000 >= mended * 999, "{succeeded} of {mended}");
}

/// So many answers go wrong, then none.
fn play(seed: u64, target: u64) -> (World, Score, Score, Vec<String>) {
    let (mut world, mut wrong) = (World::new(seed), Vec::new());
    world.ca.go_wrong(WRONG_PERCENT, target);
    while world.ca.left() > 0 {
        let more = usize::try_from(world.ca.left() / 2).unwrap().clamp(50, 5_000);
        world.push(more);
        world.run();
    }
    let bad = world.score(0, &mut wrong);
    let first = world.pushed;
    world.push(usize::try_from(target / 8).unwrap().clamp(250, 1_000));
    world.run();
    let well = world.score(first, &mut wrong);
    (world, bad, well, wrong)
}
