//! PKCS#5 (RFC 8018): parameters of password-based schemes, and of their PKCS#12 forms (RFC 7292 appendix C), scrypt (RFC 7914)
//! and PBMAC1 (RFC 9579).

use super::der::{DerError, Octets, Reader, Tag, Tlv};
use super::pkcs12::oid;
use crate::limits::Budget;

/// `AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }`.
#[derive(Debug, Clone)]
pub(crate) struct AlgorithmIdentifier<'a> {
    pub(crate) oid: String,
    pub(crate) parameters: Option<Tlv<'a>>,
    whole: Tlv<'a>,
}

impl<'a> AlgorithmIdentifier<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let whole = reader.field(Tag::SEQUENCE, "an AlgorithmIdentifier is missing", budget)?;
        let mut fields = whole.inner()?;
        let oid = fields.field(Tag::OID, "an AlgorithmIdentifier has no algorithm", budget)?.dotted_oid()?;
        let parameters = if fields.is_empty() { None } else { Some(fields.any(budget)?) };
        fields.end("an AlgorithmIdentifier holds more than algorithm and parameters")?;
        Ok(Self { oid, parameters, whole })
    }

    /// The parameters as a SEQUENCE.
    fn sequence(&self, what: &'static str) -> Result<Reader<'a>, DerError> {
        match &self.parameters {
            Some(tlv) if tlv.tag() == Tag::SEQUENCE => tlv.inner(),
            _ => Err(self.whole.error(what)),
        }
    }

    /// The parameters as an OCTET STRING: the initialisation vector of a CBC cipher.
    pub(crate) fn iv(&self, budget: &mut Budget) -> Result<Octets<'a>, DerError> {
        match &self.parameters {
            Some(tlv) if tlv.tag() == Tag::OCTET_STRING => tlv.octets(budget),
            _ => Err(self.whole.error("a cipher has no initialisation vector")),
        }
    }
}

/// `PBEParameter ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER }`; PKCS#12 has the same shape.
#[derive(Debug)]
pub(crate) struct PbeParameter<'a> {
    pub(crate) salt: Octets<'a>,
    pub(crate) iterations: u64,
}

impl<'a> PbeParameter<'a> {
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = algorithm.sequence("an encryption scheme has no parameters")?;
        let salt = fields.octet_string("an encryption scheme has no salt", budget)?;
        let iterations = fields.field(Tag::INTEGER, "an encryption scheme has no iteration count", budget)?.saturating_unsigned()?;
        fields.end("the parameters of an encryption scheme hold more than salt and iterations")?;
        Ok(Self { salt, iterations })
    }
}

/// `PBES2-params` and `PBMAC1-params ::= SEQUENCE { keyDerivationFunc AlgorithmIdentifier, scheme AlgorithmIdentifier }`.
#[derive(Debug)]
pub(crate) struct Pbes2Params<'a> {
    pub(crate) key_derivation: AlgorithmIdentifier<'a>,
    /// The cipher of PBES2, the HMAC of PBMAC1.
    pub(crate) scheme: AlgorithmIdentifier<'a>,
}

impl<'a> Pbes2Params<'a> {
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = algorithm.sequence("PBES2 or PBMAC1 has no parameters")?;
        let key_derivation = AlgorithmIdentifier::read(&mut fields, budget)?;
        let scheme = AlgorithmIdentifier::read(&mut fields, budget)?;
        fields.end("the parameters of PBES2 or PBMAC1 hold more than two algorithms")?;
        Ok(Self { key_derivation, scheme })
    }
}

/// `PBKDF2-params ::= SEQUENCE { salt CHOICE { specified OCTET STRING, .. }, iterationCount, keyLength OPTIONAL, prf DEFAULT hmacWithSHA1 }`.
#[derive(Debug)]
pub(crate) struct Pbkdf2Params<'a> {
    pub(crate) salt: Octets<'a>,
    pub(crate) iterations: u64,
    pub(crate) key_length: Option<u64>,
    pub(crate) prf: String,
}

impl<'a> Pbkdf2Params<'a> {
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = algorithm.sequence("PBKDF2 has no parameters")?;
        let salt = fields.octet_string("PBKDF2 has no salt", budget)?;
        let iterations = fields.field(Tag::INTEGER, "PBKDF2 has no iteration count", budget)?.saturating_unsigned()?;
        let key_length = match fields.optional(Tag::INTEGER, budget)? {
            Some(tlv) => Some(tlv.saturating_unsigned()?),
            None => None,
        };
        let prf = if fields.is_empty() { oid::HMAC_SHA1.to_owned() } else { AlgorithmIdentifier::read(&mut fields, budget)?.oid };
        fields.end("the parameters of PBKDF2 hold more than salt, iterations, key length and PRF")?;
        Ok(Self { salt, iterations, key_length, prf })
    }
}

/// `scrypt-params ::= SEQUENCE { salt, costParameter, blockSize, parallelizationParameter, keyLength OPTIONAL }` (RFC 7914 section 7).
#[derive(Debug)]
pub(crate) struct ScryptParams<'a> {
    pub(crate) salt: Octets<'a>,
    pub(crate) cost: u64,
    pub(crate) block_size: u64,
    pub(crate) parallelization: u64,
    pub(crate) key_length: Option<u64>,
}

impl<'a> ScryptParams<'a> {
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        let mut fields = algorithm.sequence("scrypt has no parameters")?;
        let salt = fields.octet_string("scrypt has no salt", budget)?;
        let mut number = |what| fields.field(Tag::INTEGER, what, budget)?.saturating_unsigned();
        let cost = number("scrypt has no cost")?;
        let block_size = number("scrypt has no block size")?;
        let parallelization = number("scrypt has no parallelization")?;
        let key_length = match fields.optional(Tag::INTEGER, budget)? {
            Some(tlv) => Some(tlv.saturating_unsigned()?),
            None => None,
        };
        fields.end("the parameters of scrypt hold more than they may")?;
        Ok(Self { salt, cost, block_size, parallelization, key_length })
    }
}

/// `RC2-CBCParameter ::= SEQUENCE { rc2ParameterVersion INTEGER OPTIONAL, iv OCTET STRING }` (RFC 8018 appendix B.2.3).
#[derive(Debug)]
pub(crate) struct Rc2CbcParameter<'a> {
    pub(crate) effective_bits: u16,
    pub(crate) iv: Octets<'a>,
}

impl<'a> Rc2CbcParameter<'a> {
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DerError> {
        // Absent version: 32 effective bits; then the parameters may be the bare initialisation vector.
        if let Some(tlv) = &algorithm.parameters
            && tlv.tag() == Tag::OCTET_STRING
        {
            return Ok(Self { effective_bits: 32, iv: tlv.octets(budget)? });
        }
        let mut fields = algorithm.sequence("RC2 has no parameters")?;
        let effective_bits = match fields.optional(Tag::INTEGER, budget)? {
            None => 32,
            Some(tlv) => match tlv.saturating_unsigned()? {
                160 => 40,
                120 => 64,
                58 => 128,
                bits @ 256..=1024 => bits as u16,
                _ => return Err(tlv.error("RC2 has an undefined parameter version")),
            },
        };
        let iv = fields.octet_string("RC2 has no initialisation vector", budget)?;
        fields.end("the parameters of RC2 hold more than version and initialisation vector")?;
        Ok(Self { effective_bits, iv })
    }
}
