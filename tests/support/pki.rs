//! A throw-away PKI: a root, devices, services. Every root says TEST.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it; a helper that fails, fails its test"
)]

use std::sync::Arc;
use std::time::Duration;

use intune_connector::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::SerialNumber;
use intune_connector::message::certificate::CertificateBuilder;
use intune_connector::message::name::Name;
use intune_connector::secret::PrivateKeyPkcs8;
use intune_connector::terms::{KeyAlgorithm, KeyUsage};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;

pub const DAY: Duration = Duration::from_secs(86_400);

#[cfg(feature = "ring")]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider::ring_and_aws_lc_rs())
}

/// A certificate with its private key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyPkcs8,
    pub name: Name,
    pub signer: Arc<dyn SigningKey>,
}

impl Identity {
    pub fn spki(&self) -> Vec<u8> {
        self.signer.public_key().to_vec()
    }
}

pub fn new_key(provider: &CryptoProvider, algorithm: KeyAlgorithm) -> (PrivateKeyPkcs8, Arc<dyn SigningKey>) {
    let key = provider.key_generation().unwrap().generate(algorithm).unwrap();
    let signer = provider.signing_keys().unwrap().load(&key).unwrap();
    (key, signer)
}

/// What the signer signs with: its first algorithm.
pub fn algorithm_of(signer: &dyn SigningKey) -> SignatureAlgorithm {
    signer.algorithms()[0]
}

fn serial(provider: &CryptoProvider) -> SerialNumber {
    let mut bytes = [0; 16];
    provider.random().unwrap().fill(&mut bytes).unwrap();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_be_bytes(&bytes).unwrap()
}

/// A root on P-256.
pub fn root(provider: &CryptoProvider, common_name: &str) -> Identity {
    let (key, signer) = new_key(provider, KeyAlgorithm::EcP256);
    let name = Name::parse_cert_str(&format!("CN=\"TEST {common_name}\"")).unwrap();
    let now = Timestamp::system_now();
    let usage = KeyUsage { key_cert_sign: true, crl_sign: true, ..KeyUsage::default() };
    let builder = CertificateBuilder::new(
        name.clone(),
        &signer.public_key(),
        now.saturating_sub(DAY),
        now.saturating_add(3_650 * DAY),
        serial(provider),
    )
    .key_usage(usage)
    .ca(None);
    let to_be_signed = builder.to_be_signed(algorithm_of(&*signer)).unwrap();
    let signature = sign_now(&*signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
    Identity { certificate: to_be_signed.finish(&signature).into(), key, name, signer }
}

/// A certificate of `issuer` for a new key; `edit` sets what it holds beside subject, key and one year around now.
pub fn leaf(
    provider: &CryptoProvider,
    issuer: &Identity,
    subject: &str,
    algorithm: KeyAlgorithm,
    edit: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
) -> Identity {
    let now = Timestamp::system_now();
    leaf_valid(provider, issuer, subject, algorithm, now.saturating_sub(DAY), now.saturating_add(364 * DAY), edit)
}

pub fn leaf_valid(
    provider: &CryptoProvider,
    issuer: &Identity,
    subject: &str,
    algorithm: KeyAlgorithm,
    not_before: Timestamp,
    not_after: Timestamp,
    edit: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
) -> Identity {
    let (key, signer) = new_key(provider, algorithm);
    let name = Name::parse_cert_str(subject).unwrap();
    let certificate = certify(provider, issuer, &name, &signer.public_key(), not_before, not_after, edit);
    Identity { certificate, key, name, signer }
}

/// A certificate of `issuer` for a given key.
pub fn certify(
    provider: &CryptoProvider,
    issuer: &Identity,
    subject: &Name,
    spki: &[u8],
    not_before: Timestamp,
    not_after: Timestamp,
    edit: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
) -> CertificateDer<'static> {
    let builder = CertificateBuilder::new(subject.clone(), spki, not_before, not_after, serial(provider)).issuer(issuer.name.clone());
    let to_be_signed = edit(builder).to_be_signed(algorithm_of(&*issuer.signer)).unwrap();
    let signature = sign_now(&*issuer.signer, to_be_signed.algorithm(), to_be_signed.message()).unwrap();
    to_be_signed.finish(&signature).into()
}

/// A device: RSA-2048, its id as common name, for key encipherment.
pub fn device(provider: &CryptoProvider, issuer: &Identity, id: &str) -> Identity {
    leaf(provider, issuer, &format!("CN={id}"), KeyAlgorithm::Rsa2048, |builder| builder.key_usage(KeyUsage::SIGN_AND_ENCIPHER))
}

/// Cuts the `macData` off a file of ours: a SEQUENCE, with lengths of two octets, of version, authSafe and macData.
pub fn without_mac(pfx: &[u8]) -> Vec<u8> {
    assert_eq!((pfx[..2].to_vec(), pfx[4..7].to_vec(), pfx[7..9].to_vec()), (vec![0x30, 0x82], vec![2, 1, 3], vec![0x30, 0x82]));
    let end = 11 + usize::from(u16::from_be_bytes([pfx[9], pfx[10]]));
    assert!(end < pfx.len(), "there is a MAC to cut off");
    let mut file = pfx[..end].to_vec();
    file[2..4].copy_from_slice(&u16::try_from(end - 4).unwrap().to_be_bytes());
    file
}
