//! `AuthEnvelopedData` (RFC 5083) and the parameters of AES-GCM (RFC 5084).

use super::{AlgorithmIdentifier, EncryptedContentInfo, RecipientInfo, SignedAttributes};
use crate::codec::der::{DerError, Rules, Tag, Tlv, single, write};
use crate::limits::Budget;

/// `AuthEnvelopedData ::= SEQUENCE { version, [0] originatorInfo OPTIONAL, recipientInfos, authEncryptedContentInfo, [1] authAttrs OPTIONAL, mac, [2] unauthAttrs OPTIONAL }`
#[derive(Debug)]
pub struct AuthEnvelopedData {
    /// The recipients in the order in which they came.
    pub recipient_infos: Vec<RecipientInfo>,
    /// The encrypted content.
    pub auth_encrypted_content_info: EncryptedContentInfo,
    /// What is authenticated beside the content; the same structure as signed attributes.
    pub auth_attrs: Option<SignedAttributes>,
    /// The authentication tag.
    pub mac: Vec<u8>,
}

impl AuthEnvelopedData {
    /// Reads the content of a `ContentInfo`.
    pub fn decode(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        inner.expect(Tag::INTEGER, budget)?.unsigned()?;
        inner.optional(Tag::context(0), budget)?;
        let recipient_infos = RecipientInfo::read_set(&mut inner, budget)?;
        let auth_encrypted_content_info = EncryptedContentInfo::read(&mut inner, budget)?;
        let auth_attrs = match inner.optional(Tag::context(1), budget)? {
            Some(value) => Some(SignedAttributes::decode(value, budget)?),
            None => None,
        };
        let mac = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        inner.optional(Tag::context(2), budget)?;
        inner.finish()?;
        Ok(Self { recipient_infos, auth_encrypted_content_info, auth_attrs, mac })
    }

    /// DER, version 0, without attributes.
    pub fn encode(&self) -> Vec<u8> {
        let recipients = self.recipient_infos.iter().map(RecipientInfo::encode).collect();
        write::sequence(&[
            &write::unsigned(0),
            &write::set_of(recipients),
            &self.auth_encrypted_content_info.encode(),
            &write::octet_string(&self.mac),
        ])
    }
}

/// `GCMParameters ::= SEQUENCE { aes-nonce OCTET STRING, aes-ICVlen INTEGER DEFAULT 12 }`
#[derive(Debug, Clone)]
pub struct GcmParameters {
    /// The nonce.
    pub nonce: Vec<u8>,
    /// The length of the tag in bytes.
    pub icv_len: u64,
}

impl GcmParameters {
    /// Reads the parameters of an algorithm.
    pub fn decode(algorithm: &AlgorithmIdentifier, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = single(algorithm.parameters.as_deref().unwrap_or_default(), Rules::Ber, budget)?.inner()?;
        let nonce = inner.expect(Tag::OCTET_STRING, budget)?.octets(budget)?.into_owned();
        let icv_len = match inner.optional(Tag::INTEGER, budget)? {
            Some(len) => len.unsigned()?,
            None => 12,
        };
        inner.finish()?;
        Ok(Self { nonce, icv_len })
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        let icv_len = if self.icv_len == 12 { Vec::new() } else { write::unsigned(self.icv_len) };
        write::sequence(&[&write::octet_string(&self.nonce), &icv_len])
    }
}
