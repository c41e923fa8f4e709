//! `KeyAgreeRecipientInfo` (RFC 5652 section 6.2.2) and what ECDH puts into it (RFC 5753).

use super::{AlgorithmIdentifier, CertificateIdentifier};
use crate::codec::der::{DerError, Reader, Tag, write};
use crate::limits::Budget;

/// `KeyAgreeRecipientInfo ::= SEQUENCE { version, originator [0] EXPLICIT, ukm [1] EXPLICIT OPTIONAL, keyEncryptionAlgorithm, recipientEncryptedKeys }`
#[derive(Debug, Clone)]
pub struct KeyAgreeRecipientInfo {
    /// The sender's public key, or whose it is.
    pub originator: Originator,
    /// What the sender adds to the key derivation.
    pub ukm: Option<Vec<u8>>,
    /// The key agreement; its parameters are the key wrap.
    pub key_encryption_algorithm: AlgorithmIdentifier,
    /// The content key, once for each recipient on the originator's curve.
    pub recipient_encrypted_keys: Vec<RecipientEncryptedKey>,
}

/// `OriginatorIdentifierOrKey ::= CHOICE { issuerAndSerialNumber, [0] subjectKeyIdentifier, [1] originatorKey }`
#[derive(Debug, Clone)]
pub enum Originator {
    /// A certificate: static-static agreement.
    Certificate(CertificateIdentifier),
    /// `OriginatorPublicKey ::= SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }`
    Key {
        /// The key's algorithm; senders leave out the curve or write NULL for it.
        algorithm: AlgorithmIdentifier,
        /// The octets of the key.
        public_key: Vec<u8>,
    },
}

/// `RecipientEncryptedKey ::= SEQUENCE { rid KeyAgreeRecipientIdentifier, encryptedKey OCTET STRING }`
#[derive(Debug, Clone)]
pub struct RecipientEncryptedKey {
    /// For whom: `issuerAndSerialNumber`, or `rKeyId` without its date.
    pub rid: CertificateIdentifier,
    /// The wrapped content key.
    pub encrypted_key: Vec<u8>,
}

impl KeyAgreeRecipientInfo {
    /// Reads what is under the tag.
    pub(super) fn read(inner: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        let originator = Originator::read(&mut inner.expect(Tag::context(0), budget)?.inner()?, budget)?;
        let ukm = match inner.optional(Tag::context(1), budget)? {
            Some(ukm) => {
                let mut ukm = ukm.inner()?;
                let octets = ukm.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
                ukm.finish()?;
                Some(octets)
            }
            None => None,
        };
        let key_encryption_algorithm = AlgorithmIdentifier::read(inner, budget)?;
        let mut keys = inner.sequence(budget)?;
        let mut recipient_encrypted_keys = Vec::new();
        while !keys.is_empty() {
            budget.charge_recipients(1)?;
            recipient_encrypted_keys.push(RecipientEncryptedKey::read(&mut keys, budget)?);
        }
        Ok(Self { originator, ukm, key_encryption_algorithm, recipient_encrypted_keys })
    }

    /// DER.
    pub(super) fn encode(&self) -> Vec<u8> {
        let ukm = self.ukm.as_ref().map(|ukm| write::context(1, &[&write::octet_string(ukm)])).unwrap_or_default();
        let keys: Vec<Vec<u8>> = self.recipient_encrypted_keys.iter().map(RecipientEncryptedKey::encode).collect();
        write::context(
            1,
            &[
                &write::unsigned(3),
                &write::context(0, &[&self.originator.encode()]),
                &ukm,
                &self.key_encryption_algorithm.encode(),
                &write::sequence_of(&keys),
            ],
        )
    }
}

impl Originator {
    fn read(inner: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let originator = match inner.optional(Tag::context(1), budget)? {
            Some(key) => {
                let mut key = key.inner()?;
                let algorithm = AlgorithmIdentifier::read(&mut key, budget)?;
                let public_key = key.expect(Tag::BIT_STRING, budget)?.bit_octets()?.to_vec();
                key.finish()?;
                Self::Key { algorithm, public_key }
            }
            None => Self::Certificate(CertificateIdentifier::read(inner, budget)?),
        };
        if !inner.is_empty() {
            return Err(inner.error("more than one originator"));
        }
        Ok(originator)
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Certificate(identifier) => identifier.encode(),
            Self::Key { algorithm, public_key } => write::context(1, &[&algorithm.encode(), &write::bit_octets(public_key)]),
        }
    }
}

impl RecipientEncryptedKey {
    fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = reader.sequence(budget)?;
        let rid = match inner.optional(Tag::context(0), budget)? {
            // RecipientKeyIdentifier ::= SEQUENCE { subjectKeyIdentifier OCTET STRING, date OPTIONAL, other OPTIONAL }
            Some(key) => {
                let identifier = key.inner()?.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
                CertificateIdentifier::SubjectKeyIdentifier(identifier)
            }
            None => CertificateIdentifier::read(&mut inner, budget)?,
        };
        let encrypted_key = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        inner.finish()?;
        Ok(Self { rid, encrypted_key })
    }

    fn encode(&self) -> Vec<u8> {
        let rid = match &self.rid {
            CertificateIdentifier::SubjectKeyIdentifier(key) => write::context(0, &[&write::octet_string(key)]),
            named => named.encode(),
        };
        write::sequence(&[&rid, &write::octet_string(&self.encrypted_key)])
    }
}

/// DER of `ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier, [0] entityUInfo OCTET STRING OPTIONAL, [2] suppPubInfo OCTET STRING }`
/// (RFC 5753 section 7.2): the key wrap as it came, the ukm, and the length of the key in bits.
pub fn ecc_cms_shared_info(key_wrap: &AlgorithmIdentifier, ukm: Option<&[u8]>, key_bits: u32) -> Vec<u8> {
    let ukm = ukm.map(|ukm| write::context(0, &[&write::octet_string(ukm)])).unwrap_or_default();
    write::sequence(&[&key_wrap.encode(), &ukm, &write::context(2, &[&write::octet_string(&key_bits.to_be_bytes())])])
}
