//! `AlgorithmIdentifier` (RFC 5280 section 4.1.1.2) and the RSAES-OAEP parameters (RFC 4055 section 4.1).

use super::{oids, read_oid};
use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv, single, write};
use crate::ids::Oid;
use crate::limits::Budget;
use crate::terms::oid;

/// `AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY DEFINED BY algorithm OPTIONAL }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmIdentifier {
    /// The algorithm.
    pub algorithm: Oid,
    /// The parameters as received; absent and NULL are different.
    pub parameters: Option<Vec<u8>>,
}

impl AlgorithmIdentifier {
    /// An algorithm whose parameters are the DER value `parameters`.
    pub fn new(algorithm: Oid, parameters: Option<Vec<u8>>) -> Self {
        Self { algorithm, parameters }
    }

    /// Reads the next value.
    pub fn read(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        Self::read_value(reader.expect(Tag::SEQUENCE, budget)?, budget)
    }

    /// Takes a value apart, whatever its tag: some structures tag it implicitly.
    pub fn read_value(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut inner = value.inner()?;
        let algorithm = read_oid(&mut inner, budget)?;
        let parameters = if inner.is_empty() { None } else { Some(inner.any(budget)?.raw().to_vec()) };
        inner.finish()?;
        Ok(Self { algorithm, parameters })
    }

    /// Reads a value of any tag, such as an implicit one, as one.
    pub fn from_tlv(value: Tlv<'_>, budget: &mut Budget) -> Result<Self, DerError> {
        Self::read_value(value, budget)
    }

    /// Whether both say the same: absent and NULL parameters are alike (RFC 5754 section 2).
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let same_parameters = self.parameters == other.parameters || (self.has_no_parameters() && other.has_no_parameters());
        self.algorithm == other.algorithm && same_parameters
    }

    /// DER.
    pub fn encode(&self) -> Vec<u8> {
        write::algorithm_identifier(&self.algorithm, self.parameters.as_deref().unwrap_or_default())
    }

    /// Whether the parameters are absent or NULL, which digests and RSA treat alike (RFC 5754 section 2).
    pub fn has_no_parameters(&self) -> bool {
        matches!(self.parameters.as_deref(), None | Some([5, 0]))
    }

    /// The parameters as an OCTET STRING, as CBC ciphers have them.
    pub fn octet_string_parameter(&self, budget: &mut Budget) -> Result<Vec<u8>, DerError> {
        let mut reader = Reader::new(self.parameters.as_deref().unwrap_or_default(), Rules::Ber);
        let value = reader.expect(Tag::OCTET_STRING, budget)?;
        reader.finish()?;
        Ok(value.octets(budget)?.into_owned())
    }
}

/// `RSAES-OAEP-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, [1] maskGenAlgorithm DEFAULT mgf1SHA1, [2] pSourceAlgorithm DEFAULT pSpecifiedEmpty }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaesOaepParameters {
    /// The hash.
    pub hash: Oid,
    /// The hash inside MGF1.
    pub mask_hash: Oid,
    /// The label; empty by default.
    pub label: Vec<u8>,
}

impl RsaesOaepParameters {
    /// Reads the parameters; absent ones mean the defaults (all SHA-1).
    pub fn decode(parameters: Option<&[u8]>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut found = Self { hash: oid(oids::SHA1), mask_hash: oid(oids::SHA1), label: Vec::new() };
        let Some(parameters) = parameters else { return Ok(found) };
        let mut inner = single(parameters, Rules::Ber, budget)?.inner()?;
        if let Some(hash) = inner.optional(Tag::context(0), budget)? {
            found.hash = AlgorithmIdentifier::read_value(hash.explicit(budget)?, budget)?.algorithm;
        }
        if let Some(mask) = inner.optional(Tag::context(1), budget)? {
            let mask = AlgorithmIdentifier::read_value(mask.explicit(budget)?, budget)?;
            if mask.algorithm != oid(oids::MGF1) {
                return Err(inner.error("an unknown mask generation function"));
            }
            let mut hash = Reader::new(mask.parameters.as_deref().unwrap_or_default(), Rules::Ber);
            found.mask_hash = AlgorithmIdentifier::read(&mut hash, budget)?.algorithm;
        }
        if let Some(source) = inner.optional(Tag::context(2), budget)? {
            let source = AlgorithmIdentifier::read_value(source.explicit(budget)?, budget)?;
            if source.algorithm != oid(oids::P_SPECIFIED) {
                return Err(inner.error("an unknown source of the OAEP label"));
            }
            found.label = source.octet_string_parameter(budget)?;
        }
        inner.finish()?;
        Ok(found)
    }

    /// DER; SHA-1 is written as the absent default. The label is empty.
    pub fn encode(&self) -> Vec<u8> {
        let null = write::null();
        let mut parts = Vec::new();
        if self.hash.as_str() != oids::SHA1 {
            parts.push(write::context(0, &[&write::algorithm_identifier(&self.hash, &null)]));
        }
        if self.mask_hash.as_str() != oids::SHA1 {
            let hash = write::algorithm_identifier(&self.mask_hash, &null);
            parts.push(write::context(1, &[&write::algorithm_identifier(&oid(oids::MGF1), &hash)]));
        }
        write::sequence_of(&parts)
    }
}
