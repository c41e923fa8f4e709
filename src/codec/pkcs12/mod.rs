//! PKCS#12 (RFC 7292): the syntax of a PFX, read from BER and written as DER.
//!
//! Read value by value instead of by typed decoding, for three reasons: a decoder that copies would leave unwiped
//! copies of private keys behind, the MAC covers the bytes as received, and real files come in BER (NSS, Firefox, Bouncy Castle).

mod authenticated_safe;
pub(crate) mod der;
mod mac_data;
pub(crate) mod oid;
mod pfx;
mod safe_bag;

pub(crate) use authenticated_safe::{ContentInfo, authenticated_safe};
pub(crate) use der::ber;
pub(crate) use mac_data::MacData;
pub(crate) use pfx::Pfx;
pub(crate) use safe_bag::{Attribute, SafeBag, typed_value};
