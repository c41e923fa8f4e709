//! Recipients by what a message says of them.

use crate::codec::cms::{CertificateIdentifier, RecipientInfo};
use crate::message::certificate::Certificate;
use crate::message::signed::identifies;

/// How a recipient gets the content key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipientKind {
    /// RSA (KeyTransRecipientInfo).
    KeyTransport,
    /// Diffie-Hellman (KeyAgreeRecipientInfo); ECDH is opened.
    KeyAgreement,
    /// A shared key (KEKRecipientInfo). Only [`Opening::decrypt_with_kek`](super::Opening::decrypt_with_kek) opens it.
    KeyEncryptionKey,
    /// A password (PasswordRecipientInfo). Derived only by [`Opening::decrypt_with_password`](super::Opening::decrypt_with_password).
    Password,
    /// Something else (OtherRecipientInfo), which is not opened.
    Other,
}

/// One recipient of an envelope, by what the message says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientId {
    kind: RecipientKind,
    identifier: Option<CertificateIdentifier>,
    kek_identifier: Option<Vec<u8>>,
}

impl RecipientId {
    /// The recipients that one `RecipientInfo` stands for: a key agreement has several.
    pub(super) fn all(info: &RecipientInfo) -> Vec<Self> {
        let named = |kind, identifier: Option<&CertificateIdentifier>, kek_identifier: Option<&Vec<u8>>| Self {
            kind,
            identifier: identifier.cloned(),
            kek_identifier: kek_identifier.cloned(),
        };
        match info {
            RecipientInfo::KeyTrans(ktri) => vec![named(RecipientKind::KeyTransport, Some(&ktri.rid), None)],
            RecipientInfo::KeyAgree(kari) => {
                let keys = kari.recipient_encrypted_keys.iter();
                keys.map(|key| named(RecipientKind::KeyAgreement, Some(&key.rid), None)).collect()
            }
            RecipientInfo::Kek(kekri) => vec![named(RecipientKind::KeyEncryptionKey, None, Some(&kekri.key_identifier))],
            RecipientInfo::Password(_) => vec![named(RecipientKind::Password, None, None)],
            RecipientInfo::Other(_) => vec![named(RecipientKind::Other, None, None)],
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> RecipientKind {
        self.kind
    }

    /// Whether it names this certificate, by issuer and serial number or by key identifier.
    #[must_use]
    pub fn is(&self, certificate: &Certificate) -> bool {
        self.identifier.as_ref().is_some_and(|identifier| identifies(identifier, certificate))
    }

    /// The DER of the issuer's name and the content octets of the serial number, when it is named so.
    #[must_use]
    pub fn issuer_and_serial(&self) -> Option<(&[u8], &[u8])> {
        match &self.identifier {
            Some(CertificateIdentifier::IssuerAndSerialNumber { issuer, serial }) => Some((issuer, serial)),
            _ => None,
        }
    }

    /// The name of the shared key, for [`RecipientKind::KeyEncryptionKey`].
    #[must_use]
    pub fn kek_identifier(&self) -> Option<&[u8]> {
        self.kek_identifier.as_deref()
    }
}
