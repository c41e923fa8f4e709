//! The values of SCEP's attributes.

use super::ScepMessageError;
use crate::codec::der::{Rules, Tag, single};
use crate::codec::scep::{ScepString, oids};
use crate::crypto::CryptoProvider;
use crate::ids::TransactionId;
use crate::limits::{Budget, Limits};
use crate::message::cms_error::CmsError;
use crate::message::signed::{SignedAttribute, VerifiedSigner};
use crate::terms::oid;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal / $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The RFC's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn from_decimal(text: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.number().to_string().as_bytes() == text)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

numbered! {
    /// The message types of RFC 8894 section 3.2.1.2, closed: anything else is refused, UpdateReq (18) of the old drafts above all (CVE-2026-30836).
    MessageType {
        /// The answer to every request.
        CertRep = 3 / "CertRep",
        /// A request signed by the certificate to renew.
        RenewalReq = 17 / "RenewalReq",
        /// A request for a new certificate.
        PkcsReq = 19 / "PKCSReq",
        /// Asks again for a pending request.
        CertPoll = 20 / "CertPoll",
        /// Asks for a certificate by serial number.
        GetCert = 21 / "GetCert",
        /// Asks for a CRL.
        GetCrl = 22 / "GetCRL",
    }
}

numbered! {
    /// The outcome in a CertRep (RFC 8894 section 3.2.1.3).
    PkiStatus {
        /// The request is granted.
        Success = 0 / "SUCCESS",
        /// The request is refused.
        Failure = 2 / "FAILURE",
        /// The request waits; ask again by CertPoll.
        Pending = 3 / "PENDING",
    }
}

numbered! {
    /// Why a request is refused (RFC 8894 section 3.2.1.4).
    FailInfo {
        /// Unrecognised or unsupported algorithm.
        BadAlg = 0 / "badAlg",
        /// Integrity check failed: the signature does not verify.
        BadMessageCheck = 1 / "badMessageCheck",
        /// The transaction is not permitted or supported.
        BadRequest = 2 / "badRequest",
        /// signingTime is too far from the server's clock.
        BadTime = 3 / "badTime",
        /// No certificate matches the criteria.
        BadCertId = 4 / "badCertId",
    }
}

/// A nonce of 16 bytes (RFC 8894 section 3.2.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// A fresh one.
    ///
    /// # Errors
    /// [`CmsError::MissingSlot`], or [`CmsError::Crypto`] when the generator fails.
    pub fn random(provider: &CryptoProvider) -> Result<Self, CmsError> {
        let mut bytes = [0; 16];
        provider.random()?.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From its bytes, for answers to a request that was stored.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A transactionID with the string type it came with, so that it is echoed unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionName {
    string: ScepString,
    id: TransactionId,
}

impl TransactionName {
    /// A transactionID of our own, as a PrintableString.
    #[must_use]
    pub fn new(id: TransactionId) -> Self {
        Self { string: ScepString::printable(id.as_bytes()), id }
    }

    /// The bytes.
    #[must_use]
    pub fn id(&self) -> &TransactionId {
        &self.id
    }

    /// The identifier octet of the string type: 0x13 for the PrintableString of the RFC.
    #[must_use]
    pub fn string_type(&self) -> u8 {
        self.string.identifier()
    }

    /// DER as it came, for storing; [`TransactionName::from_der`] reads it back.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        self.string.encode()
    }

    /// Reads PrintableString, UTF8String, IA5String or TeletexString of 1 to 255 bytes.
    ///
    /// # Errors
    /// [`ScepMessageError::Attribute`] for anything else.
    pub fn from_der(der: &[u8]) -> Result<Self, ScepMessageError> {
        let wrong = ScepMessageError::Attribute("transactionID");
        let Ok(string) = ScepString::decode(der, &mut Budget::new(&Limits::default())) else { return Err(wrong) };
        match TransactionId::try_from(string.octets().to_vec()) {
            Ok(id) => Ok(Self { string, id }),
            Err(_) => Err(wrong),
        }
    }

    pub(super) fn attribute(&self) -> SignedAttribute {
        SignedAttribute::from_der(oid(oids::TRANSACTION_ID), self.to_der())
    }
}

/// A number as the decimal PrintableString that SCEP uses.
pub(super) fn decimal(attribute: &'static str, number: u8) -> SignedAttribute {
    SignedAttribute::printable_string(oid(attribute), &number.to_string())
}

pub(super) fn nonce(attribute: &'static str, nonce: &Nonce) -> SignedAttribute {
    SignedAttribute::octet_string(oid(attribute), nonce.as_bytes())
}

/// The signed attributes of one SCEP message.
pub(super) struct Attributes<'a, 'b>(pub(super) &'a VerifiedSigner<'b>);

impl<'b> Attributes<'_, 'b> {
    fn value(&self, attribute: &'static str, name: &'static str) -> Result<Option<&'b [u8]>, ScepMessageError> {
        self.0.attribute(&oid(attribute)).map_err(|_| ScepMessageError::Attribute(name))
    }

    fn string(&self, attribute: &'static str, name: &'static str) -> Result<Option<Vec<u8>>, ScepMessageError> {
        let Some(value) = self.value(attribute, name)? else { return Ok(None) };
        let string = ScepString::decode(value, &mut Budget::new(&Limits::default())).map_err(|_| ScepMessageError::Attribute(name))?;
        Ok(Some(string.octets().to_vec()))
    }

    pub(super) fn message_type(&self) -> Result<MessageType, ScepMessageError> {
        let text = self.string(oids::MESSAGE_TYPE, "messageType")?.ok_or(ScepMessageError::Attribute("messageType"))?;
        MessageType::from_decimal(&text).ok_or(ScepMessageError::UnknownMessageType)
    }

    pub(super) fn pki_status(&self) -> Result<PkiStatus, ScepMessageError> {
        let text = self.string(oids::PKI_STATUS, "pkiStatus")?;
        text.and_then(|text| PkiStatus::from_decimal(&text)).ok_or(ScepMessageError::Attribute("pkiStatus"))
    }

    pub(super) fn fail_info(&self) -> Result<Option<FailInfo>, ScepMessageError> {
        let Some(text) = self.string(oids::FAIL_INFO, "failInfo")? else { return Ok(None) };
        FailInfo::from_decimal(&text).map(Some).ok_or(ScepMessageError::Attribute("failInfo"))
    }

    pub(super) fn fail_info_text(&self) -> Result<Option<String>, ScepMessageError> {
        let Some(text) = self.string(oids::FAIL_INFO_TEXT, "failInfoText")? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(&text).chars().filter(|character| !character.is_control()).take(255).collect()))
    }

    pub(super) fn transaction(&self) -> Result<TransactionName, ScepMessageError> {
        let value = self.value(oids::TRANSACTION_ID, "transactionID")?.ok_or(ScepMessageError::Attribute("transactionID"))?;
        TransactionName::from_der(value)
    }

    pub(super) fn nonce(&self, attribute: &'static str, name: &'static str) -> Result<Option<Nonce>, ScepMessageError> {
        let Some(value) = self.value(attribute, name)? else { return Ok(None) };
        let mut budget = Budget::new(&Limits::default());
        let wrong = || ScepMessageError::Attribute(name);
        let value = single(value, Rules::Ber, &mut budget).map_err(|_| wrong())?;
        if value.tag() != Tag::OCTET_STRING {
            return Err(wrong());
        }
        let octets = value.octets(&mut budget).map_err(|_| wrong())?;
        Ok(Some(Nonce(octets.as_ref().try_into().map_err(|_| wrong())?)))
    }
}
