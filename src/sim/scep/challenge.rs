//! Challenges: encrypted, then signed, bound to the CSR that is expected, and soon over (facts A.8).
//!
//! Base64 over CMS SignedData; its content is a nonce and AES-256-GCM over JSON, under the tenant's key and with the tenant as what is
//! authenticated beside it. Intune's own format is not public: whoever reads more in a challenge than that it is opaque, reads too much.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expected::ExpectedCsr;
use crate::adapters::LocalCa;
use crate::crypto::{AeadAlgorithm, CryptoProvider, SignatureAlgorithm, SigningKey, sign_now};
use crate::message::certificate::Certificate;
use crate::message::name::Name;
use crate::message::signed::{SignedBuilder, SignedContent};
use crate::secret::Password;
use crate::sim::SimError;
use crate::sim::encoding::base64;
use crate::sim::identity::{Identity, challenge_certificate, guid, random, signing_key};
use crate::time::Timestamp;

/// Most challenges that are kept.
const MOST: usize = 200_000;

/// What is inside a challenge.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    pub(super) request_id: String,
    pub(super) device_id: String,
    pub(super) user_id: String,
    /// ISO 8601.
    pub(super) issued: String,
    pub(super) lifetime_seconds: u64,
    /// So that no two are the same.
    pub(super) random: String,
    pub(super) expected: ExpectedCsr,
}

/// What the service knows of a request for which it gave out a challenge.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) device_id: String,
    pub(super) user_id: String,
    pub(super) targeted: bool,
    pub(super) registered_key: RegisteredKey,
}

/// Whether the device's key must be one that it registered before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RegisteredKey {
    /// It need not.
    #[default]
    NotDemanded,
    /// It must, and none is registered.
    Missing,
    /// It must be the one with this SHA-256 over its SubjectPublicKeyInfo, in hexadecimal.
    Sha256(String),
}

/// What is wrong with a challenge that is made wrong on purpose. Each is really so: the service finds it, it is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ChallengeFlaw {
    /// It is no base64: `ChallengeDecodingError`.
    NotBase64,
    /// It is base64 over something else: `ChallengeDeserializationError`.
    NotAChallenge,
    /// Its signature is of another message: `SignatureValidationFailed`.
    WrongSignature,
    /// It is signed with another certificate of the same CA: `SigningCertThumbprintMismatch`.
    OtherSigner,
    /// It is encrypted under another tenant's key: `ChallengeDecryptionError`.
    OtherTenant,
    /// Its time is no time: `ChallengeInvalidTimestamp`.
    NoTime,
    /// Its request is not known: `BadCertificateRequestIdInChallenge`.
    OtherRequestId,
    /// Its device is not the request's: `BadDeviceIdInChallenge`.
    OtherDeviceId,
    /// Its user is not the request's: `BadUserIdInChallenge`.
    OtherUserId,
}

/// A challenge for one device and request.
#[derive(Debug)]
#[non_exhaustive]
pub struct IssuedChallenge {
    /// The challengePassword: a bearer secret.
    pub challenge: Password,
    /// The certificate request that it belongs to.
    pub request_id: String,
    /// The device that it is for.
    pub device_id: String,
    /// The user that it is for.
    pub user_id: String,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// Who signs challenges now.
pub(in crate::sim) struct Signer {
    key: Arc<dyn SigningKey>,
    pub(super) certificate: Certificate,
}

impl Signer {
    fn new(provider: &CryptoProvider, ca: &LocalCa) -> Result<Self, SimError> {
        let key = signing_key(provider)?;
        let certificate = challenge_certificate(ca, key.as_ref())?;
        Ok(Self { key, certificate })
    }
}

pub(in crate::sim) struct Challenges {
    pub(super) signer: Signer,
    records: BTreeMap<String, Record>,
}

/// What a challenge is made with.
#[derive(Clone, Copy)]
pub(in crate::sim) struct Sealing<'s> {
    pub(in crate::sim) provider: &'s CryptoProvider,
    pub(in crate::sim) identity: &'s Identity,
    pub(in crate::sim) now: Timestamp,
    pub(in crate::sim) lifetime: Duration,
}

impl Challenges {
    pub(in crate::sim) fn new(provider: &CryptoProvider, ca: &LocalCa) -> Result<Self, SimError> {
        Ok(Self { signer: Signer::new(provider, ca)?, records: BTreeMap::new() })
    }

    /// Signs with a new certificate from now on; what the former signed is refused.
    pub(in crate::sim) fn change_signer(&mut self, provider: &CryptoProvider, ca: &LocalCa) -> Result<(), SimError> {
        self.signer = Signer::new(provider, ca)?;
        Ok(())
    }

    pub(super) fn record(&self, request: &str) -> Option<&Record> {
        self.records.get(request)
    }

    /// Changes what is known of a request; says whether there is such a request.
    pub(in crate::sim) fn set_condition(&mut self, request: &str, targeted: Option<bool>, key: Option<RegisteredKey>) -> bool {
        let Some(record) = self.records.get_mut(request) else { return false };
        record.targeted = targeted.unwrap_or(record.targeted);
        if let Some(key) = key {
            record.registered_key = key;
        }
        true
    }

    pub(in crate::sim) fn issue(
        &mut self,
        with: Sealing<'_>,
        expected: &ExpectedCsr,
        flaw: Option<ChallengeFlaw>,
    ) -> Result<IssuedChallenge, SimError> {
        Name::parse_cert_str(&expected.subject).map_err(|error| SimError::Invalid(format!("the expected subject: {error}")))?;
        if self.records.len() >= MOST {
            return Err(SimError::Invalid(format!("at most {MOST} challenges are issued; start a new simulator")));
        }
        let id = |given: &Option<String>| given.clone().map_or_else(|| guid(with.provider), Ok);
        let (request_id, device_id, user_id) = (id(&expected.request_id)?, id(&expected.device_id)?, id(&expected.user_id)?);
        let lifetime = expected.lifetime_seconds.map_or(with.lifetime, Duration::from_secs);
        let other = |flawed: ChallengeFlaw, right: &str| if flaw == Some(flawed) { guid(with.provider) } else { Ok(right.to_owned()) };
        let payload = Payload {
            request_id: other(ChallengeFlaw::OtherRequestId, &request_id)?,
            device_id: other(ChallengeFlaw::OtherDeviceId, &device_id)?,
            user_id: other(ChallengeFlaw::OtherUserId, &user_id)?,
            issued: if flaw == Some(ChallengeFlaw::NoTime) { "yesterday".to_owned() } else { with.now.to_string() },
            lifetime_seconds: lifetime.as_secs(),
            random: base64(&random::<16>(with.provider)?),
            expected: expected.clone(),
        };
        let challenge = self.seal(with, &payload, flaw)?;
        let record =
            Record { device_id: device_id.clone(), user_id: user_id.clone(), targeted: true, registered_key: RegisteredKey::default() };
        self.records.insert(request_id.clone(), record);
        Ok(IssuedChallenge {
            challenge: Password::from(challenge),
            request_id,
            device_id,
            user_id,
            expires: with.now.saturating_add(lifetime),
        })
    }

    fn seal(&self, with: Sealing<'_>, payload: &Payload, flaw: Option<ChallengeFlaw>) -> Result<String, SimError> {
        let plain = serde_json::to_vec(payload).map_err(|_| SimError::Invalid("the challenge cannot be written".to_owned()))?;
        let foreign = random::<32>(with.provider)?;
        let key = if flaw == Some(ChallengeFlaw::OtherTenant) { &foreign } else { with.identity.challenge_secret.secret_bytes() };
        let (aead, tenant) = (with.provider.aead()?, with.identity.tenant.as_bytes());
        let (nonce, sealed) = aead.seal_with_random_nonce(AeadAlgorithm::Aes256Gcm, key, with.provider.random()?, tenant, &plain)?;
        let content = [&nonce, sealed.as_slice()].concat();
        let stranger;
        let signer = if flaw == Some(ChallengeFlaw::OtherSigner) {
            stranger = Signer::new(with.provider, &with.identity.ca)?;
            &stranger
        } else {
            &self.signer
        };
        let mut message = signed(&content, signer, with.provider)?;
        match flaw {
            Some(ChallengeFlaw::NotBase64) => return Ok(format!("{}!", base64(&message))),
            Some(ChallengeFlaw::NotAChallenge) => message = b"This is no challenge.".to_vec(),
            Some(ChallengeFlaw::WrongSignature) => {
                // The last byte is the signature's.
                if let Some(last) = message.last_mut() {
                    *last ^= 1;
                }
            }
            _ => {}
        }
        Ok(base64(&message))
    }
}

fn signed(content: &[u8], signer: &Signer, provider: &CryptoProvider) -> Result<Vec<u8>, SimError> {
    let wrong = |_| SimError::Invalid("the challenge cannot be signed".to_owned());
    let builder = SignedBuilder::new(SignedContent::Attached(content)).certificate(signer.certificate.der());
    let unsigned = builder.to_be_signed(&signer.certificate, SignatureAlgorithm::EcdsaP256Sha256, provider).map_err(wrong)?;
    let signature = sign_now(signer.key.as_ref(), unsigned.algorithm(), unsigned.message());
    let signature = signature.map_err(|_| SimError::Invalid("the challenge cannot be signed".to_owned()))?;
    Ok(unsigned.finish(&signature))
}
