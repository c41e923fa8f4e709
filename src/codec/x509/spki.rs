//! `SubjectPublicKeyInfo` and `AlgorithmIdentifier` (RFC 5280 sections 4.1.1.2 and 4.1.2.7).

use crate::codec::der::{DerError, Reader, Rules, Tag, Tlv};
use crate::ids::Oid;
use crate::limits::Budget;

/// `AlgorithmIdentifier`
#[derive(Debug, Clone)]
pub struct AlgorithmIdentifier<'a> {
    /// The algorithm; `None` when an arc is over 32 bits.
    pub algorithm: Option<Oid>,
    /// The parameters, as received; absent and NULL are different.
    pub parameters: Option<Tlv<'a>>,
    /// The whole value, as received.
    pub raw: &'a [u8],
}

impl<'a> AlgorithmIdentifier<'a> {
    /// Whether this is the algorithm.
    #[must_use]
    pub fn is(&self, oid: &str) -> bool {
        self.algorithm.as_ref().is_some_and(|algorithm| algorithm.as_str() == oid)
    }

    /// Whether the parameters are absent or NULL.
    #[must_use]
    pub fn parameters_are_null_or_absent(&self) -> bool {
        self.parameters.is_none_or(|parameters| parameters.tag() == Tag::NULL)
    }

    /// Reads the next value as one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(reader: &mut Reader<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let value = reader.expect(Tag::SEQUENCE, budget)?;
        let mut inner = value.inner()?;
        let algorithm = inner.expect(Tag::OID, budget)?.oid()?;
        let parameters = if inner.is_empty() { None } else { Some(inner.any(budget)?) };
        inner.finish()?;
        Ok(Self { algorithm, parameters, raw: value.raw() })
    }

    /// Reads a whole input as one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut reader = Reader::new(der, Rules::Ber);
        let algorithm = Self::read(&mut reader, budget)?;
        reader.finish()?;
        Ok(algorithm)
    }
}

/// `SubjectPublicKeyInfo`
#[derive(Debug, Clone)]
pub struct SubjectPublicKeyInfo<'a> {
    /// The key's algorithm.
    pub algorithm: AlgorithmIdentifier<'a>,
    /// The key.
    pub key: &'a [u8],
}

impl<'a> SubjectPublicKeyInfo<'a> {
    /// Reads a whole input as one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(der: &'a [u8], budget: &mut Budget) -> Result<Self, DerError> {
        let mut outer = Reader::new(der, Rules::Ber);
        let mut inner = outer.sequence(budget)?;
        outer.finish()?;
        let algorithm = AlgorithmIdentifier::read(&mut inner, budget)?;
        let key = inner.expect(Tag::BIT_STRING, budget)?.bit_octets()?;
        inner.finish()?;
        Ok(Self { algorithm, key })
    }

    /// The named curve of an EC key.
    #[must_use]
    pub fn named_curve(&self) -> Option<Oid> {
        self.algorithm.parameters.filter(|parameters| parameters.tag() == Tag::OID)?.oid().ok()?
    }

    /// The bits of an RSA modulus.
    #[must_use]
    pub fn rsa_bits(&self, budget: &mut Budget) -> Option<usize> {
        let mut outer = Reader::new(self.key, Rules::Ber);
        let mut key = outer.sequence(budget).ok()?;
        let modulus = key.expect(Tag::INTEGER, budget).ok()?.integer().ok()?;
        let start = modulus.iter().position(|byte| *byte != 0)?;
        Some((modulus.len() - start) * 8 - modulus[start].leading_zeros() as usize)
    }
}
