//! EC private keys as SEC 1 writes them (RFC 5915), and their way into PKCS#8 (RFC 5958, RFC 5480).

use zeroize::Zeroizing;

use super::error::{KeyFormat, PrivateKeyError};
use super::rsa::wrap;
use crate::codec::der::{DerError, Rules, Tag, single, write};
use crate::limits::Budget;
use crate::secret::PrivateKeyPkcs8;

/// The curves that CNG names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Length of a coordinate and of the private key in bytes.
    pub(super) fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The DER of its object identifier: secp256r1, secp384r1, secp521r1 (RFC 5480 section 2.1.1.1).
    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }
}

/// The DER of id-ecPublicKey.
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// `ECPrivateKey ::= SEQUENCE { version 1, privateKey OCTET STRING, [0] parameters, [1] publicKey }`, wrapped; the curve stands outside.
pub(super) fn to_pkcs8(curve: Curve, private_key: &[u8], point: &[u8]) -> PrivateKeyPkcs8 {
    let octets = Zeroizing::new(write::octet_string(private_key));
    let public = write::context(1, &[&write::bit_octets(point)]);
    let key = Zeroizing::new(write::sequence(&[&write::unsigned(1), &octets, &public]));
    wrap(&write::sequence(&[&EC_PUBLIC_KEY, curve.oid()]), &key)
}

/// A SEC 1 key as PKCS#8. The key is kept as it is; its curve is said outside as well.
pub(super) fn from_sec1(ec_private_key: &[u8], budget: &mut Budget) -> Result<PrivateKeyPkcs8, PrivateKeyError> {
    let curve = curve_oid(ec_private_key, budget).map_err(|error| match error {
        DerError::Malformed { problem, .. } => PrivateKeyError::malformed(KeyFormat::Sec1, problem),
        DerError::Limit(limit) => limit.into(),
    })?;
    match curve {
        Some(curve) => Ok(wrap(&write::sequence(&[&EC_PUBLIC_KEY, curve]), ec_private_key)),
        None => Err(PrivateKeyError::Unsupported("the EC key does not name its curve; convert it: openssl pkcs8 -topk8 -nocrypt")),
    }
}

/// The named curve, as encoded; `None` when there is none or it is spelled out in numbers.
fn curve_oid<'a>(ec_private_key: &'a [u8], budget: &mut Budget) -> Result<Option<&'a [u8]>, DerError> {
    let mut fields = single(ec_private_key, Rules::Der, budget)?.inner()?;
    let version = fields.expect(Tag::INTEGER, budget)?;
    if version.unsigned()? != 1 {
        return Err(version.error("the version is not 1"));
    }
    fields.expect(Tag::OCTET_STRING, budget)?.primitive()?;
    let curve = match fields.optional(Tag::context(0), budget)? {
        Some(parameters) => {
            let curve = parameters.explicit(budget)?;
            (curve.tag() == Tag::OID).then(|| curve.raw())
        }
        None => None,
    };
    if let Some(public) = fields.optional(Tag::context(1), budget)? {
        public.explicit(budget)?.bit_octets()?;
    }
    fields.finish()?;
    Ok(curve)
}
