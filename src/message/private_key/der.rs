//! Which of the DER structures for keys some bytes are.

use super::error::{KeyFormat, PrivateKeyError};
use super::rsa::{self, Derived, RsaNumbers};
use super::sec1;
use crate::codec::der::{DerError, Rules, Tag, single};
use crate::limits::{Budget, Limits};
use crate::secret::PrivateKeyPkcs8;

/// What a SEQUENCE is, by the tags of its first members.
pub(super) enum Structure {
    Key(KeyFormat),
    /// Recognised, and not a private key that is read here.
    Refused(PrivateKeyError),
}

impl Structure {
    pub(super) fn recognise(der: &[u8], budget: &mut Budget) -> Result<Self, PrivateKeyError> {
        let tags = first_tags(der, budget).map_err(|error| match error {
            DerError::Limit(limit) => limit.into(),
            DerError::Malformed { .. } => PrivateKeyError::UnknownFormat("the bytes are neither PEM, nor a key blob, nor whole DER"),
        })?;
        let public = |what| Self::Refused(PrivateKeyError::PublicOnly(what));
        Ok(match tags {
            [Some(Tag::INTEGER), Some(Tag::SEQUENCE), Some(Tag::OCTET_STRING)] => Self::Key(KeyFormat::Pkcs8),
            [Some(Tag::SEQUENCE), Some(Tag::OCTET_STRING), None] => Self::Key(KeyFormat::EncryptedPkcs8),
            [Some(Tag::INTEGER), Some(Tag::INTEGER), Some(Tag::INTEGER)] => Self::Key(KeyFormat::Pkcs1),
            [Some(Tag::INTEGER), Some(Tag::OCTET_STRING), _] => Self::Key(KeyFormat::Sec1),
            [Some(Tag::SEQUENCE), Some(Tag::BIT_STRING), None] => public("a SubjectPublicKeyInfo"),
            [Some(Tag::INTEGER), Some(Tag::INTEGER), None] => public("an RSAPublicKey of PKCS#1"),
            [Some(Tag::SEQUENCE), Some(Tag::SEQUENCE), Some(Tag::BIT_STRING)] => public("a certificate or a request"),
            [Some(Tag::INTEGER), Some(Tag::SEQUENCE), _] => {
                Self::Refused(PrivateKeyError::Unsupported("it is a PFX file: open it with `message::pfx::open`, which gives its keys"))
            }
            _ => Self::Refused(PrivateKeyError::UnknownFormat("the DER is none of PKCS#8, PKCS#1 and SEC 1")),
        })
    }
}

/// The tags of the first three members of a SEQUENCE that is all there is.
fn first_tags(der: &[u8], budget: &mut Budget) -> Result<[Option<Tag>; 3], DerError> {
    let outer = single(der, Rules::Der, budget)?;
    if outer.tag() != Tag::SEQUENCE {
        return Err(outer.error("not a SEQUENCE"));
    }
    let mut members = outer.inner()?;
    let mut tags = [None; 3];
    for tag in &mut tags {
        if !members.is_empty() {
            *tag = Some(members.any(budget)?.tag());
        }
    }
    Ok(tags)
}

/// Reads a key that is not encrypted.
pub(super) fn read(format: KeyFormat, der: &[u8], budget: &mut Budget) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let checked = match format {
        KeyFormat::Sec1 => return sec1::from_sec1(der, budget),
        KeyFormat::Pkcs1 => check_pkcs1(der, budget),
        _ => check_pkcs8(der, budget),
    };
    checked.map_err(|error| match error {
        DerError::Malformed { problem, .. } => PrivateKeyError::malformed(format, problem),
        DerError::Limit(limit) => limit.into(),
    })?;
    if format == KeyFormat::Pkcs1 { Ok(rsa::from_pkcs1(der)) } else { Ok(PrivateKeyPkcs8::new(der.to_vec())) }
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2) with two primes.
fn check_pkcs1(der: &[u8], budget: &mut Budget) -> Result<(), DerError> {
    let mut fields = single(der, Rules::Der, budget)?.inner()?;
    let version = fields.expect(Tag::INTEGER, budget)?;
    if version.unsigned()? != 0 {
        return Err(version.error("the version is not 0: keys of more than two primes are not supported"));
    }
    for _ in 0..8 {
        fields.expect(Tag::INTEGER, budget)?.integer()?;
    }
    fields.finish()
}

/// `PrivateKeyInfo` or `OneAsymmetricKey` (RFC 5958 section 2).
fn check_pkcs8(der: &[u8], budget: &mut Budget) -> Result<(), DerError> {
    let mut fields = single(der, Rules::Der, budget)?.inner()?;
    let version = fields.expect(Tag::INTEGER, budget)?;
    if version.unsigned()? > 1 {
        return Err(version.error("the version is neither 0 nor 1"));
    }
    let mut algorithm = fields.sequence(budget)?;
    algorithm.expect(Tag::OID, budget)?.oid_octets()?;
    fields.expect(Tag::OCTET_STRING, budget)?.primitive()?;
    fields.optional(Tag::context(0), budget)?;
    fields.optional(Tag::context(1), budget)?;
    fields.finish()
}

/// The numbers of a PKCS#8 key with RSA; `None` when it is another key or another structure.
pub(super) fn rsa_numbers(pkcs8: &[u8]) -> Option<RsaNumbers<'_>> {
    let mut budget = Budget::new(&Limits::default());
    let mut outer = single(pkcs8, Rules::Der, &mut budget).ok()?.inner().ok()?;
    outer.expect(Tag::INTEGER, &mut budget).ok()?;
    let oid = outer.sequence(&mut budget).ok()?.expect(Tag::OID, &mut budget).ok()?;
    if oid.raw() != rsa::RSA_ENCRYPTION {
        return None;
    }
    let key = outer.expect(Tag::OCTET_STRING, &mut budget).ok()?.primitive().ok()?;
    check_pkcs1(key, &mut budget).ok()?;
    let mut fields = single(key, Rules::Der, &mut budget).ok()?.inner().ok()?;
    let _version = fields.any(&mut budget).ok()?;
    let mut number = || fields.any(&mut budget).ok()?.primitive().ok().map(rsa::significant);
    let (modulus, public_exponent, private_exponent) = (number()?, number()?, number()?);
    let (prime1, prime2) = (number()?, number()?);
    let derived = Derived { exponent1: number()?, exponent2: number()?, coefficient: number()?, private_exponent };
    Some(RsaNumbers { modulus, public_exponent, prime1, prime2, derived: Some(derived) })
}

/// Whether bytes have the outer shape of a PKCS#8 key: what a decryption must have given.
pub(super) fn is_private_key_info(bytes: &[u8]) -> bool {
    check_pkcs8(bytes, &mut Budget::new(&Limits::default())).is_ok()
}
