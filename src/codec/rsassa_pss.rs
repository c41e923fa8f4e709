//! `RSASSA-PSS-params` (RFC 4055 section 3.1).

use super::der::{DerError, Reader, Rules, Tag, Tlv, write};
use super::x509::spki::AlgorithmIdentifier;
use crate::ids::Oid;
use crate::limits::Budget;
use crate::terms::oid;

/// id-RSASSA-PSS
pub const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const MGF1: &str = "1.2.840.113549.1.1.8";
const SHA1: &str = "1.3.14.3.2.26";
const DEFAULT_SALT_LENGTH: u64 = 20;

/// `RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, [1] maskGenAlgorithm DEFAULT mgf1SHA1, [2] saltLength DEFAULT 20, [3] trailerField DEFAULT 1 }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsassaPssParameters {
    /// The hash of the message.
    pub hash: Oid,
    /// The hash inside MGF1.
    pub mask_hash: Oid,
    /// Bytes of salt; in a key, the fewest that its signatures may have.
    pub salt_length: u64,
}

impl RsassaPssParameters {
    /// Reads the whole input as the parameters; what is left out has its default.
    ///
    /// # Errors
    /// When it is something else, names another mask generation function than MGF1, or another trailer than 1.
    pub fn decode(der: &[u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut outer = Reader::new(der, Rules::Ber);
        let mut inner = outer.sequence(budget)?;
        outer.finish()?;
        let mut found = Self { hash: oid(SHA1), mask_hash: oid(SHA1), salt_length: DEFAULT_SALT_LENGTH };
        if let Some(hash) = inner.optional(Tag::context(0), budget)? {
            found.hash = hash_algorithm(hash.explicit(budget)?, budget)?;
        }
        if let Some(mask) = inner.optional(Tag::context(1), budget)? {
            let value = mask.explicit(budget)?;
            let mask = AlgorithmIdentifier::decode(value.raw(), budget)?;
            let hash = mask.parameters.filter(|_| mask.is(MGF1)).ok_or_else(|| value.error("the mask generation function is not MGF1"))?;
            found.mask_hash = hash_algorithm(hash, budget)?;
        }
        if let Some(salt) = inner.optional(Tag::context(2), budget)? {
            found.salt_length = integer(salt, budget)?;
        }
        if let Some(trailer) = inner.optional(Tag::context(3), budget)?
            && integer(trailer, budget)? != 1
        {
            return Err(trailer.error("the trailer field of RSASSA-PSS is not 1"));
        }
        inner.finish()?;
        Ok(found)
    }

    /// DER, defaults left out as RFC 4055 demands.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let null = write::null();
        let mut parts = Vec::with_capacity(3);
        if self.hash.as_str() != SHA1 {
            parts.push(write::context(0, &[&write::algorithm_identifier(&self.hash, &null)]));
        }
        if self.mask_hash.as_str() != SHA1 {
            let hash = write::algorithm_identifier(&self.mask_hash, &null);
            parts.push(write::context(1, &[&write::algorithm_identifier(&oid(MGF1), &hash)]));
        }
        if self.salt_length != DEFAULT_SALT_LENGTH {
            parts.push(write::context(2, &[&write::unsigned(self.salt_length)]));
        }
        write::sequence_of(&parts)
    }
}

/// A `HashAlgorithm`: NULL or no parameters (RFC 4055 section 2.1).
fn hash_algorithm(value: Tlv<'_>, budget: &mut Budget) -> Result<Oid, DerError> {
    let identifier = AlgorithmIdentifier::decode(value.raw(), budget)?;
    if !identifier.parameters_are_null_or_absent() {
        return Err(value.error("a hash algorithm has parameters"));
    }
    identifier.algorithm.ok_or_else(|| value.error("an object identifier has an arc beyond 32 bits"))
}

fn integer(explicit: Tlv<'_>, budget: &mut Budget) -> Result<u64, DerError> {
    let value = explicit.explicit(budget)?;
    if value.tag() == Tag::INTEGER { value.unsigned() } else { Err(value.error("a number is not an INTEGER")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const SHA256: &str = "2.16.840.1.101.3.4.2.1";

    fn decode(der: &[u8]) -> Result<RsassaPssParameters, DerError> {
        RsassaPssParameters::decode(der, &mut Budget::new(&Limits::default()))
    }

    #[test]
    fn an_empty_sequence_means_sha1_and_twenty_bytes_of_salt() {
        let defaults = RsassaPssParameters { hash: oid(SHA1), mask_hash: oid(SHA1), salt_length: 20 };
        assert_eq!(decode(&[0x30, 0]).unwrap(), defaults);
        assert_eq!(defaults.encode(), [0x30, 0]);
        // Defaults that are written out (not DER, yet seen) mean the same.
        let hash = write::algorithm_identifier(&oid(SHA1), &write::null());
        let spelled = write::sequence(&[
            &write::context(0, &[&hash]),
            &write::context(1, &[&write::algorithm_identifier(&oid(MGF1), &hash)]),
            &write::context(2, &[&write::unsigned(20)]),
            &write::context(3, &[&write::unsigned(1)]),
        ]);
        assert_eq!(decode(&spelled).unwrap(), defaults);
    }

    #[test]
    fn each_field_is_kept_apart() {
        for (hash, mask_hash, salt_length) in [(SHA256, SHA256, 32), (SHA256, SHA1, 0), (SHA1, SHA256, 222), (SHA1, SHA1, 21)] {
            let parameters = RsassaPssParameters { hash: oid(hash), mask_hash: oid(mask_hash), salt_length };
            assert_eq!(decode(&parameters.encode()).unwrap(), parameters);
        }
    }

    #[test]
    fn another_trailer_mask_function_or_shape_is_refused() {
        let trailer = |number| write::sequence(&[&write::context(3, &[&write::unsigned(number)])]);
        assert!(decode(&trailer(1)).is_ok());
        assert!(decode(&trailer(2)).is_err());
        let mask = |function: &'static str, parameters: &[u8]| {
            write::sequence(&[&write::context(1, &[&write::algorithm_identifier(&oid(function), parameters)])])
        };
        let hash = write::algorithm_identifier(&oid(SHA256), &[]);
        assert!(decode(&mask(MGF1, &hash)).is_ok());
        assert!(decode(&mask(MGF1, &[])).is_err(), "MGF1 without its hash");
        assert!(decode(&mask(SHA256, &hash)).is_err(), "another function");
        assert!(decode(&write::sequence(&[&write::context(2, &[&[2, 1, 0xff]])])).is_err(), "a negative salt length");
        assert!(decode(&write::sequence(&[&write::context(2, &[&[4, 1, 1]])])).is_err(), "a salt length that is no INTEGER");
        assert!(decode(&write::sequence(&[&write::context(4, &[&[5, 0]])])).is_err(), "a field that does not exist");
        assert!(decode(&[0x30, 0, 0]).is_err());
        assert!(decode(&[0x05, 0]).is_err());
    }
}
