//! A device that enrols by SCEP: it comes again while the server asks for patience, and gets a new challenge after a failure.

use std::time::Duration;

use intune_connector::crypto::{SignatureAlgorithm, sign_now, unwrap_now};
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
use intune_connector::secret::Password;
use intune_connector::terms::{KeyUsage, SubjectAltName, oids};

use crate::shared::{DAY, SHARED};
use crate::world::World;

const SIGN: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(60);
const TRIES: u32 = 200;
/// Challenges, one after the other.
const ROUNDS: usize = 8;

/// One transactionID and what came of it.
#[derive(Debug)]
pub struct Enrolled {
    pub transaction: String,
    pub got: Result<Certificate, Refused>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub enum Refused {
    /// The server says that this transaction has failed.
    ForGood,
    Otherwise(#[allow(dead_code, reason = "shown by Debug")] String),
}

/// Until it has a certificate, or its challenges are used up.
pub async fn enrol(world: &World, number: usize) {
    world.runtime.sleep(world.chance.seconds(0, 1_800)).await;
    for round in 0..ROUNDS {
        let transaction = format!("scep-{number}-{round}");
        let got = enrol_once(world, &transaction).await;
        let again = matches!(got, Err(Refused::ForGood));
        world.chance.tell(|| format!("device {transaction}: {}", if got.is_ok() { "served" } else { "refused" }));
        world.desk.enrolled.lock().unwrap().push(Enrolled { transaction, got });
        if !again {
            break;
        }
        world.runtime.sleep(5 * PAUSE).await;
    }
}

async fn enrol_once(world: &World, name: &str) -> Result<Certificate, Refused> {
    let (provider, key, server) = (&SHARED.provider, &SHARED.device, &SHARED.stored.certificate);
    let spki = key.signing.public_key();
    let subject = Name::parse_cert_str(&format!("CN={name}")).unwrap();
    let csr = CsrBuilder::new(subject.clone(), &spki)
        .subject_alt_names(&[SubjectAltName::Dns(format!("{name}.contoso.example"))])
        .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
        .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
        .challenge_password(&Password::from(format!("challenge of {name}").as_str()))
        .to_be_signed(SIGN)
        .unwrap();
    let signature = sign_now(&*key.signing, SIGN, csr.message()).unwrap();
    let csr = csr.finish(&signature);
    let now = world.runtime.now();
    let own = CertificateBuilder::new(subject, &spki, now.saturating_sub(9 * DAY), now.saturating_add(9 * DAY), "01".parse().unwrap())
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
            let unsigned = PkiRequestBuilder::pkcs_req(transaction, &csr).to_be_signed(&own, server, SIGN, &world.provider).unwrap();
            let signature = sign_now(&*key.signing, SIGN, unsigned.message()).unwrap();
            message = Some(unsigned.finish(&signature));
        }
        let (bytes, to) = message.as_ref().unwrap();
        let Some(response) = world.knock(Request::post("operation=PKIOperation", bytes.clone())).await else {
            last = "no connection".to_owned();
            world.runtime.sleep(PAUSE).await;
            continue;
        };
        if response.status == 200 {
            let reply = ScepResponse::parse(&response.body, to, server, LegacyDigests::Refuse, provider, &Limits::default());
            let reply = reply.map_err(|error| Refused::Otherwise(error.to_string()))?;
            return match reply.status() {
                PkiStatus::Success => certificate(&own, &reply).map_err(Refused::Otherwise),
                // Once more: it may have been Intune that did not answer.
                PkiStatus::Failure if attempt < 2 => {
                    world.runtime.sleep(PAUSE).await;
                    continue;
                }
                PkiStatus::Failure => Err(Refused::ForGood),
                other => Err(Refused::Otherwise(format!("{other:?}"))),
            };
        }
        last = format!("HTTP {}", response.status);
        world.runtime.sleep(response.retry_after.unwrap_or(PAUSE)).await;
    }
    Err(Refused::Otherwise(format!("no certificate after {TRIES} tries, at last {last}")))
}

fn certificate(own: &Certificate, reply: &ScepResponse) -> Result<Certificate, String> {
    let (limits, provider, key) = (Limits::default(), &SHARED.provider, &SHARED.device);
    let mut opening = reply.open(LegacyCiphers::Refuse, &limits).map_err(|error| error.to_string())?;
    let request = Opening::unwrap_request(&mut opening, own, provider).map_err(|error| error.to_string())?;
    let content = opening.finish(unwrap_now(&*key.decryption, &request), provider).map_err(|error| error.to_string())?;
    let signed = Signed::parse(content.secret_bytes(), &limits).map_err(|error| error.to_string())?;
    let certificate = signed.certificates().next().ok_or("the reply holds no certificate")?;
    let certificate = Certificate::from_der(&certificate, &limits).map_err(|error| error.to_string())?;
    if certificate.spki() == key.signing.public_key().as_ref() { Ok(certificate) } else { Err("it is for another key".to_owned()) }
}
