//! `OneAsymmetricKey` (RFC 5958), as far as a key's kind must be known.

use super::der::{DerError, Reader, Rules, Tag};
use crate::ids::Oid;
use crate::limits::Budget;

/// The `privateKeyAlgorithm` of a PKCS#8 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateKeyAlgorithm {
    /// The algorithm; `None` when its identifier has arcs over 32 bits.
    pub algorithm: Option<Oid>,
    /// The named curve, when the parameters are one object identifier.
    pub curve: Option<Oid>,
}

/// Reads the algorithm of a `PrivateKeyInfo`; the key itself is neither checked nor copied.
///
/// # Errors
/// When the outer structure is malformed.
pub fn algorithm(der: &[u8], budget: &mut Budget) -> Result<PrivateKeyAlgorithm, DerError> {
    budget.check_input(der.len())?;
    let mut outer = Reader::new(der, Rules::Ber);
    let mut info = outer.sequence(budget)?;
    outer.finish()?;
    let version = info.expect(Tag::INTEGER, budget)?;
    if version.unsigned()? > 1 {
        return Err(version.error("the version of a private key is unknown"));
    }
    let mut identifier = info.sequence(budget)?;
    let algorithm = identifier.expect(Tag::OID, budget)?.oid()?;
    let curve = identifier.optional(Tag::OID, budget)?.map(|value| value.oid()).transpose()?.flatten();
    info.expect(Tag::OCTET_STRING, budget)?;
    Ok(PrivateKeyAlgorithm { algorithm, curve })
}
