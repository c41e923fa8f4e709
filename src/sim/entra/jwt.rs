//! JSON Web Tokens (RFC 7519): the simulator's own, signed with ES256, and the parts of those that clients sign.

use serde_json::{Map, Value, json};

use crate::crypto::{CryptoError, CryptoProvider, SignError, SignatureAlgorithm, SigningKey, sign_now};
use crate::sim::encoding::{base64_url, from_base64_url};

/// The longest token that is read, in bytes; real ones have one to four thousand.
const LONGEST: usize = 32 << 10;

/// A token taken apart; nothing is verified.
pub(super) struct Jwt<'t> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t> Jwt<'t> {
    pub(super) fn read(token: &'t str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |text: &str| serde_json::from_slice(&from_base64_url(text)?).ok();
        Some(Self { header: object(header)?, claims: object(claims)?, signed, signature: from_base64_url(signature)? })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// A NumericDate, in seconds.
    pub(super) fn date(&self, name: &str) -> Option<i64> {
        let value = self.claims.get(name)?;
        #[expect(clippy::cast_possible_truncation, reason = "a float too large for an i64 saturates, and is a date far away either way")]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }
}

/// A token with these claims.
pub(super) fn sign(key: &dyn SigningKey, key_id: &str, claims: &Value) -> Result<String, SignError> {
    let header = json!({ "typ": "JWT", "alg": "ES256", "kid": key_id, "x5t": key_id });
    let signed = format!("{}.{}", base64_url(header.to_string().as_bytes()), base64_url(claims.to_string().as_bytes()));
    let signature = sign_now(key, SignatureAlgorithm::EcdsaP256Sha256, signed.as_bytes())?;
    let raw = raw_signature(&signature).ok_or(SignError::Rejected)?;
    Ok(format!("{signed}.{}", base64_url(&raw)))
}

/// Whether the simulator signed it.
pub(super) fn verify(jwt: &Jwt<'_>, key: &dyn SigningKey, key_id: &str, provider: &CryptoProvider) -> Result<(), CryptoError> {
    if jwt.header("alg") != Some("ES256") || jwt.header("kid") != Some(key_id) {
        return Err(CryptoError::Failed);
    }
    let verification = provider.verification().map_err(|_| CryptoError::Unsupported("signature verification"))?;
    let der = der_signature(&jwt.signature).ok_or(CryptoError::Failed)?;
    verification.verify(SignatureAlgorithm::EcdsaP256Sha256, &key.public_key(), jwt.signed.as_bytes(), &der)
}

/// Both numbers of an ECDSA signature in 32 bytes each (RFC 7518 section 3.4), from the DER.
fn raw_signature(der: &[u8]) -> Option<[u8; 64]> {
    let [0x30, _, 0x02, rest @ ..] = der else { return None };
    let (first, rest) = number(rest)?;
    let [0x02, rest @ ..] = rest else { return None };
    let (second, _) = number(rest)?;
    let mut raw = [0; 64];
    for (half, value) in raw.chunks_exact_mut(32).zip([first, second]) {
        let start = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
        let value = value.get(start..)?;
        half.get_mut(32_usize.checked_sub(value.len())?..)?.copy_from_slice(value);
    }
    Some(raw)
}

/// Length and content of an INTEGER, and what follows.
fn number(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn der_signature(raw: &[u8]) -> Option<Vec<u8>> {
    let (first, second) = raw.split_at_checked(32).filter(|(_, second)| second.len() == 32)?;
    let mut numbers = Vec::with_capacity(70);
    for value in [first, second] {
        let start = value.iter().position(|byte| *byte != 0)?;
        let value = value.get(start..)?;
        let pad = usize::from(value.first().is_some_and(|byte| byte & 0x80 != 0));
        numbers.extend_from_slice(&[0x02, u8::try_from(value.len() + pad).ok()?]);
        numbers.extend(core::iter::repeat_n(0, pad));
        numbers.extend_from_slice(value);
    }
    let mut der = vec![0x30, u8::try_from(numbers.len()).ok()?];
    der.append(&mut numbers);
    Some(der)
}

/// The public key as a JSON Web Key (RFC 7517), from the SubjectPublicKeyInfo of a P-256 key.
pub(super) fn jwk(spki: &[u8], key_id: &str) -> Option<Value> {
    // The point stands at the end, uncompressed: 0x04, x, y.
    let point = spki.get(spki.len().checked_sub(65)?..)?;
    let (x, y) = point.get(1..)?.split_at_checked(32)?;
    Some(json!({ "kty": "EC", "use": "sig", "crv": "P-256", "alg": "ES256", "kid": key_id, "x": base64_url(x), "y": base64_url(y) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::identity::signing_key;

    #[test]
    fn a_token_verifies_and_a_changed_one_does_not() {
        let provider = CryptoProvider::aws_lc_rs();
        let (key, other) = (signing_key(&provider).unwrap(), signing_key(&provider).unwrap());
        for count in 0..64 {
            let token = sign(key.as_ref(), "k", &json!({ "n": count })).unwrap();
            verify(&Jwt::read(&token).unwrap(), key.as_ref(), "k", &provider).unwrap();
            assert!(verify(&Jwt::read(&token).unwrap(), other.as_ref(), "k", &provider).is_err());
            let (head, signature) = token.rsplit_once('.').unwrap();
            let (header, _) = head.split_once('.').unwrap();
            let forged = format!("{header}.{}.{signature}", base64_url(br#"{"n":-1}"#));
            assert!(verify(&Jwt::read(&forged).unwrap(), key.as_ref(), "k", &provider).is_err());
        }
        assert!(Jwt::read("a.b").is_none() && Jwt::read("").is_none() && Jwt::read(&"a".repeat(40_000)).is_none());
    }

    #[test]
    fn a_token_without_a_signature_is_none() {
        let provider = CryptoProvider::aws_lc_rs();
        let key = signing_key(&provider).unwrap();
        let header = base64_url(br#"{"alg":"none","kid":"k"}"#);
        let token = format!("{header}.{}.", base64_url(b"{}"));
        assert!(verify(&Jwt::read(&token).unwrap(), key.as_ref(), "k", &provider).is_err());
    }
}
