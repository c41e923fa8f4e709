//! A device: it enrols by SCEP, comes again when it gets no certificate, and opens what was delivered to it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use intune_connector::adapters::VirtualRuntime;
use intune_connector::crypto::{CryptoProvider, DecryptionKey, SignatureAlgorithm, SigningKey, sign_now, unwrap_now};
use intune_connector::ids::TransactionId;
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::{LegacyCiphers, Opening};
use intune_connector::message::name::Name;
use intune_connector::message::scep::{PkiRequestBuilder, PkiStatus, ScepResponse};
use intune_connector::message::signed::{LegacyDigests, Signed};
use intune_connector::ports::Runtime as _;
use intune_connector::scep::Request;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};

use crate::doom::Door;

const SIGN: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
const DAY: Duration = Duration::from_secs(86_400);
/// Between two tries. The challenge ends after an hour.
const PAUSE: Duration = Duration::from_secs(60);
const TRIES: u32 = 50;

pub struct Key {
    pub signing: Arc<dyn SigningKey>,
    pub decryption: Arc<dyn DecryptionKey>,
}

/// RSA keys are slow to make: all plans share them.
pub static KEYS: LazyLock<[Key; 4]> = LazyLock::new(|| {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    core::array::from_fn(|_| {
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        Key {
            signing: provider.signing_keys().unwrap().load(&key).unwrap(),
            decryption: provider.decryption_keys().unwrap().load(&key).unwrap(),
        }
    })
});

/// Decrypts what was encrypted to the certificate.
pub fn open(provider: &CryptoProvider, key: &Key, own: &Certificate, envelope: &[u8]) -> Result<SecretBytes, String> {
    let mut opening = Opening::parse(envelope, &Limits::default()).map_err(|error| error.to_string())?;
    let request = opening.unwrap_request(own, provider).map_err(|error| error.to_string())?;
    opening.finish(unwrap_now(&*key.decryption, &request), provider).map_err(|error| error.to_string())
}

/// Why there is no certificate.
#[derive(Debug)]
pub enum Refused {
    /// The server says that this transaction has failed. A device then gets a new challenge with its profile.
    ForGood,
    Otherwise(#[allow(dead_code, reason = "shown by Debug")] String),
}

/// Enrols with one challenge. While the server asks for patience, the same message again, then a new one under the same transactionID.
pub async fn enrol(
    provider: &CryptoProvider,
    runtime: &VirtualRuntime,
    door: &Door,
    server: &Certificate,
    (number, name, challenge): (usize, &str, &str),
) -> Result<Certificate, Refused> {
    let key = &KEYS[number % KEYS.len()];
    let spki = key.signing.public_key();
    let subject = Name::parse_cert_str(&format!("CN={name}")).unwrap();
    let csr = CsrBuilder::new(subject.clone(), &spki)
        .subject_alt_names(&[SubjectAltName::Dns(format!("{name}.contoso.example"))])
        .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
        .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        .challenge_password(&Password::from(challenge))
        .to_be_signed(SIGN)
        .unwrap();
    let signature = sign_now(&*key.signing, SIGN, csr.message()).unwrap();
    let csr = csr.finish(&signature);
    let now = runtime.now();
    let own = CertificateBuilder::new(subject, &spki, now.saturating_sub(DAY), now.saturating_add(DAY), "01".parse().unwrap())
        .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        .to_be_signed(SIGN)
        .unwrap();
    let signature = sign_now(&*key.signing, SIGN, own.message()).unwrap();
    let own = Certificate::from_der(&own.finish(&signature), &Limits::default()).unwrap();

    let mut last = String::new();
    let mut message = None;
    for attempt in 0..TRIES {
        if attempt % 2 == 0 {
            let transaction = TransactionId::try_from(name.as_bytes().to_vec()).unwrap();
            let unsigned = PkiRequestBuilder::pkcs_req(transaction, &csr).to_be_signed(&own, server, SIGN, provider).unwrap();
            let signature = sign_now(&*key.signing, SIGN, unsigned.message()).unwrap();
            message = Some(unsigned.finish(&signature));
        }
        let (bytes, to) = message.as_ref().unwrap();
        let Some(response) = door.handle(Request::post("operation=PKIOperation", bytes.clone())).await else {
            last = "no connection".to_owned();
            runtime.sleep(PAUSE).await;
            continue;
        };
        if response.status == 200 {
            let reply = ScepResponse::parse(&response.body, to, server, LegacyDigests::Refuse, provider, &Limits::default());
            let reply = reply.map_err(|error| Refused::Otherwise(error.to_string()))?;
            return match reply.status() {
                PkiStatus::Success => certificate(provider, key, &own, &reply).map_err(Refused::Otherwise),
                // Once more: it may have been Intune that did not answer.
                PkiStatus::Failure if attempt < 2 => {
                    runtime.sleep(PAUSE).await;
                    continue;
                }
                PkiStatus::Failure => Err(Refused::ForGood),
                other => Err(Refused::Otherwise(format!("{other:?}"))),
            };
        }
        last = format!("HTTP {}", response.status);
        runtime.sleep(response.retry_after.unwrap_or(PAUSE)).await;
    }
    Err(Refused::Otherwise(format!("no certificate after {TRIES} tries, at last {last}")))
}

fn certificate(provider: &CryptoProvider, key: &Key, own: &Certificate, reply: &ScepResponse) -> Result<Certificate, String> {
    let limits = Limits::default();
    let mut opening = reply.open(LegacyCiphers::Refuse, &limits).map_err(|error| error.to_string())?;
    let request = opening.unwrap_request(own, provider).map_err(|error| error.to_string())?;
    let content = opening.finish(unwrap_now(&*key.decryption, &request), provider).map_err(|error| error.to_string())?;
    let signed = Signed::parse(content.secret_bytes(), &limits).map_err(|error| error.to_string())?;
    let certificate = signed.certificates().next().ok_or("the reply holds no certificate")?;
    let certificate = Certificate::from_der(&certificate, &limits).map_err(|error| error.to_string())?;
    if certificate.spki() == key.signing.public_key().as_ref() { Ok(certificate) } else { Err("it is for another key".to_owned()) }
}
