//! The SCEP service, over ports of this crate alone.
#![cfg(all(feature = "scep", feature = "aws-lc-rs"))]

use std::sync::Arc;
use std::time::Duration;

use consumer::{Lab, OwnCa, OwnNotifier, OwnValidator, RemoteDecryptionKey, RemoteSigningKey, block_on, issuing_ca, provider};
use intune_connector::crypto::{DecryptionKey, SignatureAlgorithm, SigningKey, sign_now, unwrap_now};
use intune_connector::ids::{SerialNumber, TransactionId};
use intune_connector::limits::Limits;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::LegacyCiphers;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{PkiRequestBuilder, PkiStatus, ScepResponse};
use intune_connector::message::signed::{LegacyDigests, Signed};
use intune_connector::policy::IssuancePolicy;
use intune_connector::scep::{RegistrationAuthority, Request, Service};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, oids};
use intune_connector::time::Timestamp;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
const DEVICE: &str = "device-4711";

struct Party {
    signing: Arc<dyn SigningKey>,
    decryption: Arc<dyn DecryptionKey>,
    certificate: Certificate,
}

impl Party {
    /// With a certificate of the CA, or, as a device that enrols for the first time, with one of its own.
    fn new(ca: Option<&OwnCa>, name: &str) -> Self {
        let provider = provider();
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let signing = provider.signing_keys().unwrap().load(&key).unwrap();
        let decryption = provider.decryption_keys().unwrap().load(&key).unwrap();
        let (subject, public_key) = (format!("CN={name}"), signing.public_key());
        let der = match ca {
            Some(ca) => block_on(ca.issue_to(&subject, public_key.as_ref())).unwrap().to_vec(),
            None => {
                let (now, hour) = (Timestamp::system_now(), Duration::from_secs(3_600));
                let subject = Name::parse_cert_str(&subject).unwrap();
                let serial = SerialNumber::from_be_bytes(&[1]).unwrap();
                let builder =
                    CertificateBuilder::new(subject, public_key.as_ref(), now.saturating_sub(hour), now.saturating_add(hour), serial);
                let unsigned = builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER).to_be_signed(ALGORITHM).unwrap();
                let signature = sign_now(&*signing, ALGORITHM, unsigned.message()).unwrap();
                unsigned.finish(&signature)
            }
        };
        Self { signing, decryption, certificate: Certificate::from_der(&der, &Limits::default()).unwrap() }
    }
}

fn enrol(challenge: &str) -> (Lab, Arc<OwnNotifier>, ScepResponse, Party) {
    let (lab, ca, notifier) = (Lab::default(), issuing_ca(), Arc::new(OwnNotifier::default()));
    let (ra, device) = (Party::new(Some(&ca), "RA"), Party::new(None, DEVICE));
    let authority = RegistrationAuthority::pair(
        ra.certificate.der().clone(),
        Arc::new(RemoteSigningKey(ra.signing.clone())),
        ra.certificate.der().clone(),
        Arc::new(RemoteDecryptionKey::new(ra.decryption.clone())),
    );
    let validator = Arc::new(OwnValidator::new("open-sesame", DEVICE));
    let policy = IssuancePolicy::deny_all().allow_extended_key_usage(oids::CLIENT_AUTH.parse().unwrap());
    let service = Service::builder(provider(), lab.journal.clone(), ca.name(), ca.clone(), authority, validator, notifier.clone())
        .tenant(consumer::TENANT.parse().unwrap())
        .instance("consumer-1".parse().unwrap())
        .sink(lab.sink.clone())
        .runtime(lab.runtime.clone())
        .policy(policy);
    let service = block_on(service.build()).unwrap();

    let subject = Name::parse_cert_str(&format!("CN={DEVICE}")).unwrap();
    let unsigned = CsrBuilder::new(subject, device.certificate.spki())
        .challenge_password(&Password::from(challenge))
        .extended_key_usage(&[oids::CLIENT_AUTH.parse().unwrap()])
        .to_be_signed(ALGORITHM)
        .unwrap();
    let signature = sign_now(&*device.signing, ALGORITHM, unsigned.message()).unwrap();
    let csr = unsigned.finish(&signature);
    let transaction = TransactionId::try_from(b"transaction-1".to_vec()).unwrap();
    let request = PkiRequestBuilder::pkcs_req(transaction, &csr);
    let (message, reply_to) =
        block_on(request.sign(&device.certificate, &*device.signing, &ra.certificate, ALGORITHM, &provider())).unwrap();
    let response = block_on(service.handle(Request::post("operation=PKIOperation", message)));
    assert_eq!(response.status, 200);
    let reply =
        ScepResponse::parse(&response.body, &reply_to, &ra.certificate, LegacyDigests::Refuse, &provider(), &Limits::default()).unwrap();
    (lab, notifier, reply, device)
}

#[test]
fn a_device_enrols_to_its_admin_event() {
    let (lab, notifier, reply, device) = enrol("open-sesame");
    assert_eq!(reply.status(), PkiStatus::Success, "{:?}", lab.sink.complaints());
    assert_eq!(lab.sink.outcomes(), [4000], "{:?}", lab.sink.complaints());
    let mut opening = reply.open(LegacyCiphers::Refuse, &Limits::default()).unwrap();
    let unwrap = opening.unwrap_request(&device.certificate, &provider()).unwrap();
    let content = opening.finish(unwrap_now(&*device.decryption, &unwrap), &provider()).unwrap();
    let signed = Signed::parse(content.secret_bytes(), &Limits::default()).unwrap();
    let issued = Certificate::from_der(signed.certificates().next().unwrap().as_ref(), &Limits::default()).unwrap();
    assert_eq!(issued.spki(), device.certificate.spki());
    assert!(notifier.told()[0].starts_with("transaction-1 issued "), "{:?}", notifier.told());
}

#[test]
fn a_wrong_challenge_ends_in_the_other_admin_event() {
    let (lab, _, reply, _) = enrol("open-barley");
    assert_eq!(reply.status(), PkiStatus::Failure);
    assert_eq!(lab.sink.outcomes(), [4001]);
}
