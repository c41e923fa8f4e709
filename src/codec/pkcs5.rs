//! PKCS#5 (RFC 8018): parameters of password-based schemes, and of their PKCS#12 forms (RFC 7292 appendix C), scrypt (RFC 7914)
//! and PBMAC1 (RFC 9579).

use super::pkcs12::ber::{self, DecodeError, INTEGER, Octets, Reader, SEQUENCE, Tlv};
use super::pkcs12::oid;
use crate::limits::Budget;

/// `AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }`.
#[derive(Debug, Clone)]
pub(crate) struct AlgorithmIdentifier<'a> {
    pub(crate) oid: String,
    pub(crate) parameters: Option<Tlv<'a>>,
}

impl<'a> AlgorithmIdentifier<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = reader.expect(SEQUENCE, "an AlgorithmIdentifier is missing", budget)?.children(budget)?;
        let oid = fields.expect(ber::OBJECT_IDENTIFIER, "an AlgorithmIdentifier has no algorithm", budget)?.oid()?;
        let parameters = if fields.is_empty() { None } else { Some(fields.next(budget)?) };
        fields.finish("an AlgorithmIdentifier holds more than algorithm and parameters")?;
        Ok(Self { oid, parameters })
    }

    /// The parameters as a SEQUENCE.
    fn sequence(&self, what: &'static str, budget: &mut Budget) -> Result<Reader<'a>, DecodeError> {
        match &self.parameters {
            Some(tlv) if tlv.tag == SEQUENCE => tlv.children(budget),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    /// The parameters as an OCTET STRING: the initialisation vector of a CBC cipher.
    pub(crate) fn iv(&self, budget: &mut Budget) -> Result<Octets<'a>, DecodeError> {
        match &self.parameters {
            Some(tlv) if tlv.tag & !ber::CONSTRUCTED == ber::OCTET_STRING => tlv.octets(budget),
            _ => Err(DecodeError::Malformed("a cipher has no initialisation vector")),
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
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = algorithm.sequence("an encryption scheme has no parameters", budget)?;
        let salt = fields.octet_string("an encryption scheme has no salt", budget)?;
        let iterations = fields.expect(INTEGER, "an encryption scheme has no iteration count", budget)?.unsigned()?;
        fields.finish("the parameters of an encryption scheme hold more than salt and iterations")?;
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
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = algorithm.sequence("PBES2 or PBMAC1 has no parameters", budget)?;
        let key_derivation = AlgorithmIdentifier::read(&mut fields, budget)?;
        let scheme = AlgorithmIdentifier::read(&mut fields, budget)?;
        fields.finish("the parameters of PBES2 or PBMAC1 hold more than two algorithms")?;
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
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = algorithm.sequence("PBKDF2 has no parameters", budget)?;
        let salt = fields.octet_string("PBKDF2 has no salt", budget)?;
        let iterations = fields.expect(INTEGER, "PBKDF2 has no iteration count", budget)?.unsigned()?;
        let key_length = match fields.optional(INTEGER, budget)? {
            Some(tlv) => Some(tlv.unsigned()?),
            None => None,
        };
        let prf = if fields.is_empty() { oid::HMAC_SHA1.to_owned() } else { AlgorithmIdentifier::read(&mut fields, budget)?.oid };
        fields.finish("the parameters of PBKDF2 hold more than salt, iterations, key length and PRF")?;
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
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        let mut fields = algorithm.sequence("scrypt has no parameters", budget)?;
        let salt = fields.octet_string("scrypt has no salt", budget)?;
        let mut number = |what| fields.expect(INTEGER, what, budget)?.unsigned();
        let cost = number("scrypt has no cost")?;
        let block_size = number("scrypt has no block size")?;
        let parallelization = number("scrypt has no parallelization")?;
        let key_length = match fields.optional(INTEGER, budget)? {
            Some(tlv) => Some(tlv.unsigned()?),
            None => None,
        };
        fields.finish("the parameters of scrypt hold more than they may")?;
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
    pub(crate) fn decode(algorithm: &AlgorithmIdentifier<'a>, budget: &mut Budget) -> Result<Self, DecodeError> {
        // Absent version: 32 effective bits; then the parameters may be the bare initialisation vector.
        if let Some(tlv) = &algorithm.parameters
            && tlv.tag & !ber::CONSTRUCTED == ber::OCTET_STRING
        {
            return Ok(Self { effective_bits: 32, iv: tlv.octets(budget)? });
        }
        let mut fields = algorithm.sequence("RC2 has no parameters", budget)?;
        let effective_bits = match fields.optional(INTEGER, budget)? {
            None => 32,
            Some(tlv) => match tlv.unsigned()? {
                160 => 40,
                120 => 64,
                58 => 128,
                bits @ 256..=1024 => bits as u16,
                _ => return Err(DecodeError::Malformed("RC2 has an undefined parameter version")),
            },
        };
        let iv = fields.octet_string("RC2 has no initialisation vector", budget)?;
        fields.finish("the parameters of RC2 hold more than version and initialisation vector")?;
        Ok(Self { effective_bits, iv })
    }
}
