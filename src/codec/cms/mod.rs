//! Cryptographic Message Syntax (RFC 5652), one file for each structure.
//!
//! Read as BER: OpenSSL's `-stream`, Bouncy Castle, NSS and Apple write indefinite lengths and chunked strings. What a signature
//! covers, names and certificates are kept as the bytes that came. Written as DER.

mod algorithm_identifier;
mod auth_enveloped_data;
mod content_info;
mod encrypted_data;
mod enveloped_data;
mod identifier;
mod kek_recipient_info;
mod key_agree_recipient_info;
pub mod oids;
mod password_recipient_info;
mod recipient_info;
mod signed_data;
mod signer_info;

pub use algorithm_identifier::{AlgorithmIdentifier, RsaesOaepParameters};
pub use auth_enveloped_data::{AuthEnvelopedData, GcmParameters};
pub use content_info::ContentInfo;
pub use encrypted_data::EncryptedData;
pub use enveloped_data::{EncryptedContentInfo, EnvelopedData};
pub use identifier::CertificateIdentifier;
pub use kek_recipient_info::KekRecipientInfo;
pub use key_agree_recipient_info::{KeyAgreeRecipientInfo, Originator, RecipientEncryptedKey, ecc_cms_shared_info};
pub use password_recipient_info::{PasswordRecipientInfo, Pbkdf2Params};
pub use recipient_info::{KeyTransRecipientInfo, RecipientInfo};
pub use signed_data::{EncapsulatedContentInfo, SignedData};
pub use signer_info::{Attribute, SignedAttributes, SignerInfo};

use super::der::{DerError, Reader, Tag};
use crate::ids::Oid;
use crate::limits::Budget;

/// The next value of `reader`, an OBJECT IDENTIFIER.
pub(crate) fn read_oid(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Oid, DerError> {
    let value = reader.expect(Tag::OID, budget)?;
    value.oid()?.ok_or_else(|| value.error("an object identifier has an arc beyond 32 bits"))
}
