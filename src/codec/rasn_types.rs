//! Conversions between this crate's types and rasn's.

use crate::ids::Oid;

/// A rasn object identifier as ours; `None` when it is not representable.
#[must_use]
pub fn oid_from_rasn(oid: &rasn::types::Oid) -> Option<Oid> {
    let text = oid.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    text.parse().ok()
}

/// Our object identifier as rasn's.
#[must_use]
pub fn oid_to_rasn(oid: &Oid) -> rasn::types::ObjectIdentifier {
    rasn::types::ObjectIdentifier::new_unchecked(oid.arcs().collect::<Vec<_>>().into())
}
