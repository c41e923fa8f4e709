//! PKCS#12 (RFC 7292): the syntax of a PFX, read from BER and written as DER.
//!
//! Read by a small TLV walker of its own instead of typed decoding, for three reasons: a decoder that copies would leave unwiped
//! copies of private keys behind, the MAC covers the bytes as received, and real files come in BER (NSS, Firefox, Bouncy Castle).

mod authenticated_safe;
pub(crate) mod ber;
pub(crate) mod der;
mod mac_data;
pub(crate) mod oid;
mod pfx;
mod safe_bag;

pub(crate) use authenticated_safe::{ContentInfo, authenticated_safe};
pub(crate) use ber::{DecodeError, Octets, Reader};
pub(crate) use mac_data::MacData;
pub(crate) use pfx::Pfx;
pub(crate) use safe_bag::{Attribute, SafeBag, typed_value};
