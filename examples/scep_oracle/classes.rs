//! The requests: each class wrong in one way that only the holder of the decryption key could see, else alike.

use std::time::Duration;

use intune_connector::crypto::{ContentCipherAlgorithm, CryptoProvider, KeyTransportAlgorithm, SignatureAlgorithm, SigningKey, sign_now};
use intune_connector::ids::{SerialNumber, TransactionId};
use intune_connector::limits::Limits;
use intune_connector::message::ToBeSigned;
use intune_connector::message::certificate::{Certificate, CertificateBuilder};
use intune_connector::message::csr::CsrBuilder;
use intune_connector::message::enveloped::EnvelopeBuilder;
use intune_connector::message::name::Name;
use intune_connector::message::scep::{Nonce, TransactionName};
use intune_connector::message::signed::{SignedAttribute, SignedBuilder, SignedContent};
use intune_connector::secret::Password;
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use std::sync::Arc;

use crate::Result;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1Sha256;
const BLOCK: usize = 16;
/// So many CSRs, each used again under fresh keys: signing them is half of what a request costs to make.
const CSRS: usize = 64;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The content decrypts well, and is no CSR.
    NoCsr,
    /// The CSR's own signature is wrong.
    BadCsrSignature,
    /// A good envelope that somebody else has signed.
    Stranger,
    /// One bit of the encrypted content is wrong, not in the blocks that the padding depends on.
    FlippedBlock,
    /// The transported key decrypts to nothing under PKCS#1 v1.5.
    BadKeyPadding,
    /// The transported key is 32 bytes long, for AES-128.
    BadKeyLength,
    /// The transported key is of the right length, and another one.
    AnotherKey,
    /// The padding of the content is wrong.
    BadContentPadding,
}

impl Class {
    pub const ALL: [Self; 8] = [
        Self::NoCsr,
        Self::BadCsrSignature,
        Self::Stranger,
        Self::FlippedBlock,
        Self::BadKeyPadding,
        Self::BadKeyLength,
        Self::AnotherKey,
        Self::BadContentPadding,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCsr => "no CSR",
            Self::BadCsrSignature => "CSR's signature",
            Self::Stranger => "stranger",
            Self::FlippedBlock => "flipped block",
            Self::BadKeyPadding => "PKCS#1 padding",
            Self::BadKeyLength => "key length",
            Self::AnotherKey => "another key",
            Self::BadContentPadding => "CBC padding",
        }
    }
}

/// Makes requests.
pub struct Forger {
    provider: CryptoProvider,
    ra: Certificate,
    client: Party,
    stranger: Party,
    csrs: Vec<Vec<u8>>,
    made: u64,
}

struct Party {
    key: Arc<dyn SigningKey>,
    certificate: Certificate,
}

impl Forger {
    pub fn new(provider: &CryptoProvider, ra: Certificate) -> Result<Self> {
        let (client, stranger) = (Party::new(provider)?, Party::new(provider)?);
        let csrs = (0..CSRS).map(|number| client.csr(number)).collect::<Result<_>>()?;
        Ok(Self { provider: provider.clone(), ra, client, stranger, csrs, made: 0 })
    }

    /// A number below `bound`, evenly as long as that is small.
    pub fn random(&self, bound: usize) -> Result<usize> {
        let mut bytes = [0; 8];
        self.provider.random()?.fill(&mut bytes)?;
        Ok(usize::try_from(u64::from_be_bytes(bytes) % bound as u64)?)
    }

    /// A request that no other is like.
    pub fn request(&mut self, class: Class) -> Result<Vec<u8>> {
        self.made += 1;
        let mut content = self.csrs[self.random(CSRS)?].clone();
        match class {
            Class::NoCsr => self.provider.random()?.fill(&mut content)?,
            Class::BadCsrSignature => {
                // Not in the first of its 256 bytes: it stays a number below the modulus.
                let place = content.len() - 1 - self.random(250)?;
                content[place] ^= 1 << self.random(8)?;
            }
            _ => {}
        }
        let mut envelope = EnvelopeBuilder::new(ContentCipherAlgorithm::Aes128Cbc, KeyTransportAlgorithm::RsaPkcs1v15)
            .recipient(&self.ra)
            .build(&content, &self.provider)?;
        let encrypted = (content.len() / BLOCK + 1) * BLOCK;
        let (start, end) = (envelope.len() - encrypted, envelope.len());
        match class {
            Class::FlippedBlock => {
                let place = start + self.random(encrypted - 2 * BLOCK)?;
                envelope[place] ^= 1 << self.random(8)?;
            }
            // The last plaintext byte becomes 128 or more.
            Class::BadContentPadding => envelope[end - BLOCK - 1] ^= 0x80,
            Class::BadKeyPadding => {
                let mut number = [0; 256];
                self.provider.random()?.fill(&mut number[1..])?;
                replace_key(&mut envelope, &number)?;
            }
            Class::BadKeyLength | Class::AnotherKey => {
                let mut key = [0; 32];
                self.provider.random()?.fill(&mut key)?;
                let key = if class == Class::AnotherKey { &key[..16] } else { &key };
                let transport = self.provider.key_transport()?;
                replace_key(&mut envelope, &transport.encrypt(KeyTransportAlgorithm::RsaPkcs1v15, self.ra.spki(), key)?)?;
            }
            _ => {}
        }
        let signer = if class == Class::Stranger { &self.stranger } else { &self.client };
        self.sign(&envelope, signer)
    }

    fn sign(&self, envelope: &[u8], signer: &Party) -> Result<Vec<u8>> {
        let transaction = TransactionName::new(TransactionId::try_from(format!("{:032x}", self.made).into_bytes())?);
        let nonce = Nonce::random(&self.provider)?;
        let attribute = |arc: u8| format!("2.16.840.1.113733.1.9.{arc}").parse();
        let unsigned = SignedBuilder::new(SignedContent::Attached(envelope))
            .attribute(SignedAttribute::printable_string(attribute(2)?, "19"))
            .attribute(SignedAttribute::from_der(attribute(7)?, transaction.to_der()))
            .attribute(SignedAttribute::octet_string(attribute(5)?, nonce.as_bytes()))
            .certificate(signer.certificate.der())
            .to_be_signed(&signer.certificate, ALGORITHM, &self.provider)?;
        let signature = sign_now(&*signer.key, ALGORITHM, unsigned.message())?;
        Ok(unsigned.finish(&signature))
    }
}

impl Party {
    fn new(provider: &CryptoProvider) -> Result<Self> {
        let key = provider.signing_keys()?.load(&provider.key_generation()?.generate(KeyAlgorithm::Rsa2048)?)?;
        let (now, hour) = (Timestamp::system_now(), Duration::from_secs(3_600));
        let (from, until) = (now.saturating_sub(hour), now.saturating_add(24 * hour));
        let name = Name::parse_cert_str("CN=device")?;
        let unsigned = CertificateBuilder::new(name, key.public_key().as_ref(), from, until, SerialNumber::from_be_bytes(&[0x41; 16])?)
            .key_usage(KeyUsage::SIGN_AND_ENCIPHER)
            .to_be_signed(ALGORITHM)?;
        let certificate = Certificate::from_der(&signed(&*key, unsigned)?, &Limits::default())?;
        Ok(Self { key, certificate })
    }

    fn csr(&self, number: usize) -> Result<Vec<u8>> {
        let unsigned = CsrBuilder::new(Name::parse_cert_str(&format!("CN=device-{number:04}"))?, self.certificate.spki())
            .challenge_password(&Password::from(format!("challenge-{number:04}").as_str()))
            .extended_key_usage(&[oids::CLIENT_AUTH.parse()?])
            .subject_alt_names(&[SubjectAltName::Dns(format!("device-{number:04}.example.org"))])
            .to_be_signed(ALGORITHM)?;
        signed(&*self.key, unsigned)
    }
}

fn signed(key: &dyn SigningKey, unsigned: ToBeSigned) -> Result<Vec<u8>> {
    let signature = sign_now(key, unsigned.algorithm(), unsigned.message())?;
    Ok(unsigned.finish(&signature))
}

/// Puts another key for the one that the envelope transports.
fn replace_key(envelope: &mut [u8], encrypted: &[u8]) -> Result<()> {
    // OCTET STRING of 256 bytes: there is no other in an envelope with one RSA-2048 recipient.
    let header = [0x04, 0x82, 0x01, 0x00];
    let place = envelope.windows(4).position(|window| window == header).ok_or("the envelope transports no key of 256 bytes")?;
    let slot = envelope.get_mut(place + 4..place + 4 + 256).ok_or("the envelope is cut off")?;
    slot.copy_from_slice(encrypted);
    Ok(())
}
