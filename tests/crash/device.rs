//! A device that enrols by SCEP: the same message again until it has an answer, a new transaction after a refusal.

use std::time::Duration;

use intune_connector::crypto::{SignatureAlgorithm, sign_now, unwrap_now};
use intune_connector::ids::TransactionId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{PkiRequestBuilder, PkiStatus, ReplyTo, ScepResponse};
use intune_connector::message::signed::{LegacyDigests, Signed};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;

use crate::fixture::{FIXTURE, TENANT, provider};

const SIGN: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
const DAY: Duration = Duration::from_secs(86_400);
const PAUSE: Duration = Duration::from_secs(2);
/// Transactions that a device begins before it stays without a certificate.
const ROUNDS: u32 = 4;

pub struct Device {
    number: usize,
    pub rounds: u32,
    transaction: Vec<u8>,
    message: Option<(Vec<u8>, ReplyTo, Certificate)>,
    in_hand: bool,
    next: Timestamp,
    pub got: Option<Certificate>,
    pub trouble: Vec<String>,
}

impl Device {
    pub fn new(number: usize, now: Timestamp) -> Self {
        let transaction = format!("scep-{number}-0").into_bytes();
        Self { number, rounds: 0, transaction, message: None, in_hand: false, next: now, got: None, trouble: Vec::new() }
    }

    pub fn transaction(&self) -> &Vec<u8> {
        &self.transaction
    }

    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.got.is_none() && !self.in_hand && self.next <= now && self.rounds < ROUNDS
    }

    pub fn hang_up(&mut self) {
        self.in_hand = false;
    }

    pub fn message(&mut self, now: Timestamp) -> Vec<u8> {
        self.in_hand = true;
        if self.message.is_none() {
            self.message = Some(self.make(now));
        }
        self.message.as_ref().unwrap().0.clone()
    }

    fn make(&self, now: Timestamp) -> (Vec<u8>, ReplyTo, Certificate) {
        let name = String::from_utf8(self.transaction.clone()).unwrap();
        let (key, subject) = (&FIXTURE.device.0.signing, Name::parse_cert_str(&format!("CN={name}")).unwrap());
        let spki = key.public_key();
        let csr = CsrBuilder::new(subject.clone(), &spki)
            .subject_alt_names(&[SubjectAltName::Dns(format!("{name}.{TENANT}"))])
            .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .challenge_password(&Password::from("a challenge"))
            .to_be_signed(SIGN)
            .unwrap();
        let signature = sign_now(&**key, SIGN, csr.message()).unwrap();
        let csr = csr.finish(&signature);
        let own = CertificateBuilder::new(subject, &spki, now.saturating_sub(DAY), now.saturating_add(30 * DAY), "01".parse().unwrap())
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .to_be_signed(SIGN)
            .unwrap();
        let signature = sign_now(&**key, SIGN, own.message()).unwrap();
        let own = Certificate::from_der(&own.finish(&signature), &Limits::default()).unwrap();
        let transaction = TransactionId::try_from(self.transaction.clone()).unwrap();
        let unsigned = PkiRequestBuilder::pkcs_req(transaction, &csr).to_be_signed(&own, &FIXTURE.ra.1, SIGN, provider()).unwrap();
        let signature = sign_now(&**key, SIGN, unsigned.message()).unwrap();
        let (bytes, to) = unsigned.finish(&signature);
        (bytes, to, own)
    }

    pub fn take(&mut self, status: u16, retry_after: Option<Duration>, body: &[u8], now: Timestamp) {
        self.in_hand = false;
        self.next = now.saturating_add(retry_after.unwrap_or(PAUSE).min(PAUSE));
        let Some((_, to, own)) = self.message.as_ref().filter(|_| status == 200 && self.got.is_none()) else { return };
        match Self::read(body, to, own) {
            Ok(Some(certificate)) => self.got = Some(certificate),
            Ok(None) => {
                self.rounds += 1;
                self.trouble.push(format!("transaction {} was refused", String::from_utf8_lossy(&self.transaction)));
                self.transaction = format!("scep-{}-{}", self.number, self.rounds).into_bytes();
                self.message = None;
            }
            Err(error) => self.trouble.push(error),
        }
    }

    /// The certificate; `None` when the server refuses.
    fn read(body: &[u8], to: &ReplyTo, own: &Certificate) -> Result<Option<Certificate>, String> {
        let limits = Limits::default();
        let reply = ScepResponse::parse(body, to, &FIXTURE.ra.1, LegacyDigests::Refuse, provider(), &limits);
        let reply = reply.map_err(|error| error.to_string())?;
        if reply.status() != PkiStatus::Success {
            return Ok(None);
        }
        let mut opening = reply.open(LegacyCiphers::Refuse, &limits).map_err(|error| error.to_string())?;
        let request = opening.unwrap_request(own, provider()).map_err(|error| error.to_string())?;
        let key = FIXTURE.device.0.decryption.as_ref().unwrap();
        let content = opening.finish(unwrap_now(&**key, &request), provider()).map_err(|error| error.to_string())?;
        let signed = Signed::parse(content.secret_bytes(), &limits).map_err(|error| error.to_string())?;
        let certificate = signed.certificates().next().ok_or("the reply holds no certificate")?;
        let certificate = Certificate::from_der(&certificate, &limits).map_err(|error| error.to_string())?;
        if certificate.spki() == FIXTURE.device.0.signing.public_key().as_ref() {
            Ok(Some(certificate))
        } else {
            Err("the certificate is for another key".to_owned())
        }
    }
}
