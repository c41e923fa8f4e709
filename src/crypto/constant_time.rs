//! Comparison that does not tell where two values differ.

use subtle::ConstantTimeEq as _;

/// Whether two byte strings are equal, in a time that depends on their lengths only: for MACs, digests and tokens.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
