//! Bags as DER. What holds secrets is wiped on drop; each buffer is as large as it gets from the start.

use zeroize::Zeroizing;

use super::entry::WindowsKeyUsage;
use crate::codec::der::write::{BIT_STRING, OID};
use crate::codec::der::{Rules, Tag, normalised, single};
use crate::codec::pkcs12::{ber, der, oid};
use crate::limits::{Budget, Limits};
use crate::message::pfx::contents::{OtherBagKind, PfxOther};
use crate::message::pfx::error::PfxError;
use crate::secret::PrivateKeyPkcs8;

/// `SafeBag ::= SEQUENCE { bagId, bagValue [0] EXPLICIT ANY, bagAttributes SET OF PKCS12Attribute OPTIONAL }`.
pub(super) fn safe_bag(id: &[u8], value: &[u8], attributes: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = Zeroizing::new(der::tlv(ber::context(0), &[value]));
    Zeroizing::new(der::sequence(&[&der::tlv(OID, &[id]), &value, attributes]))
}

pub(super) fn certificate(der: &[u8], attributes: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = der::octet_string(der);
    safe_bag(&oid::contents(oid::CERT_BAG), &typed_value(&oid::contents(oid::X509_CERTIFICATE), &value), attributes)
}

/// A bag of another type as it was read; `None` when it cannot be written again.
pub(super) fn other(other: &PfxOther, attributes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let value = normalised(other.value.secret_bytes())?;
    let id = oid::encoded(&other.oid)?;
    let typed = |bag: &str| safe_bag(&oid::contents(bag), &typed_value(&id, &value), attributes);
    match other.kind {
        OtherBagKind::OtherCertificate => Some(typed(oid::CERT_BAG)),
        OtherBagKind::Crl => Some(typed(oid::CRL_BAG)),
        // Java encrypts a secret key in its bag once more, under the password of the file.
        OtherBagKind::Secret if other.oid == oid::PKCS8_SHROUDED_KEY_BAG => None,
        // A wallet's own shape, which was kept whole.
        OtherBagKind::Secret if other.oid == oid::SECRET_BAG => Some(safe_bag(&id, &value, attributes)),
        OtherBagKind::Secret => Some(typed(oid::SECRET_BAG)),
        OtherBagKind::Unknown => Some(safe_bag(&id, &value, attributes)),
    }
}

/// `CertBag`, `CRLBag` and `SecretBag`: `SEQUENCE { typeId OBJECT IDENTIFIER, value [0] EXPLICIT ANY }`.
fn typed_value(id: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = Zeroizing::new(der::tlv(ber::context(0), &[value]));
    Zeroizing::new(der::sequence(&[&der::tlv(OID, &[id]), &value]))
}

/// `SafeContents ::= SEQUENCE OF SafeBag`.
pub(super) fn safe_contents(bags: &[Zeroizing<Vec<u8>>]) -> Zeroizing<Vec<u8>> {
    let bags = bags.iter().map(|bag| bag.as_slice()).collect::<Vec<_>>();
    Zeroizing::new(der::sequence(&bags))
}

/// A ContentInfo of type `data`.
pub(super) fn data(contents: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(oid::DATA), &der::tlv(ber::context(0), &[&der::octet_string(contents)])])
}

/// A PKCS#8 structure (RFC 5958 section 2) with the key usage among its attributes, where Windows and OpenSSL put and seek it.
pub(super) fn with_key_usage(key: &PrivateKeyPkcs8, usage: WindowsKeyUsage) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    const MALFORMED: PfxError = PfxError::InvalidInput("the private key is not a PKCS#8 structure");
    // Bits of KeyUsage, trailing zero bits dropped: dataEncipherment for AT_KEYEXCHANGE, digitalSignature for AT_SIGNATURE.
    let bits: &[u8] = match usage {
        WindowsKeyUsage::Exchange => &[4, 0x10],
        WindowsKeyUsage::Signature => &[7, 0x80],
    };
    let usage = der::sequence(&[&der::oid(oid::KEY_USAGE), &der::tlv(ber::SET, &[&der::tlv(BIT_STRING, &[bits])])]);
    let mut budget = Budget::new(&Limits::default());
    let Pkcs8Parts { head, mut attributes, tail } = pkcs8_parts(key.secret_pkcs8_der(), &mut budget).ok_or(MALFORMED)?;
    attributes.push(&usage);
    attributes.sort_unstable();
    Ok(Zeroizing::new(der::sequence(&[head, &der::tlv(ber::context(0), &attributes), tail])))
}

struct Pkcs8Parts<'a> {
    /// Version, algorithm and key.
    head: &'a [u8],
    /// All but the key usage.
    attributes: Vec<&'a [u8]>,
    /// The public key of version 2.
    tail: &'a [u8],
}

fn pkcs8_parts<'a>(pkcs8: &'a [u8], budget: &mut Budget) -> Option<Pkcs8Parts<'a>> {
    let mut fields = single(pkcs8, Rules::Der, budget).ok()?.inner().ok()?;
    let all = fields.rest();
    for tag in [Tag::INTEGER, Tag::SEQUENCE, Tag::OCTET_STRING] {
        fields.expect(tag, budget).ok()?;
    }
    let (head, _) = all.split_at_checked(all.len() - fields.rest().len())?;
    let mut attributes = Vec::new();
    if let Some(set) = fields.optional(Tag::context(0), budget).ok()? {
        let mut set = set.inner().ok()?;
        while !set.is_empty() {
            let attribute = set.expect(Tag::SEQUENCE, budget).ok()?;
            if attribute.inner().ok()?.expect(Tag::OID, budget).ok()?.dotted_oid().ok()? != oid::KEY_USAGE {
                attributes.push(attribute.raw());
            }
        }
    }
    Some(Pkcs8Parts { head, attributes, tail: fields.rest() })
}
