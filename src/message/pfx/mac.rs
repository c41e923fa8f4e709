//! Verification of the MAC over the AuthenticatedSafe as received (RFC 7292 section 5.1, RFC 9579).

use super::contents::MacInfo;
use super::derive::{self, Purpose};
use super::error::{PasswordUse, PfxError};
use super::password::{pkcs5_forms, pkcs12_forms};
use crate::codec::pkcs5::{Pbes2Params, Pbkdf2Params};
use crate::codec::pkcs12::{MacData, oid};
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, constant_time_eq};
use crate::limits::Budget;
use crate::secret::Password;

/// Verifies, trying the password's forms in order.
pub(super) fn verify(
    mac: &MacData<'_>,
    auth_safe: &[u8],
    password: Option<&Password>,
    provider: &CryptoProvider,
    budget: &mut Budget,
) -> Result<MacInfo, PfxError> {
    if mac.algorithm.oid == oid::PBMAC1 {
        return verify_pbmac1(mac, auth_safe, password, provider, budget);
    }
    let digest = derive::digest_by_oid(&mac.algorithm.oid).ok_or_else(|| PfxError::unsupported(&mac.algorithm.oid))?;
    // The whole value, never a prefix of it.
    check_length(mac, digest)?;
    let iterations = derive::iterations(mac.iterations, budget)?;
    let salt = mac.salt.as_ref();
    let info = |form| MacInfo::new(&mac.algorithm.oid, false, iterations, salt.len(), form);
    for (attempt, formed) in pkcs12_forms(password).into_iter().enumerate() {
        if let Err(limit) = budget.charge_kdf(derive::pkcs12_cost(iterations, 1)) {
            // The standard's form was tried and is wrong: that, not the limit, is what the operator has to mend.
            return Err(if attempt == 0 { limit.into() } else { PfxError::WrongPassword(PasswordUse::Mac) });
        }
        let key = derive::pkcs12(provider, digest, Purpose::MacKey, &formed.bytes, salt, iterations, digest.output_len())?;
        if matches(mac, digest, &key, auth_safe, provider)? {
            return Ok(info(formed.form));
        }
    }
    Err(PfxError::WrongPassword(PasswordUse::Mac))
}

/// PBMAC1 with the checks of RFC 9579 section 4 and those that CVE-2025-11187 and CVE-2026-34181 taught.
fn verify_pbmac1(
    mac: &MacData<'_>,
    auth_safe: &[u8],
    password: Option<&Password>,
    provider: &CryptoProvider,
    budget: &mut Budget,
) -> Result<MacInfo, PfxError> {
    let params = Pbes2Params::decode(&mac.algorithm, budget)?;
    if params.key_derivation.oid != oid::PBKDF2 {
        return Err(PfxError::unsupported(&params.key_derivation.oid));
    }
    let kdf = Pbkdf2Params::decode(&params.key_derivation, budget)?;
    let prf = derive::prf_by_oid(&kdf.prf).ok_or_else(|| PfxError::unsupported(&kdf.prf))?;
    let hmac = derive::prf_by_oid(&params.scheme.oid).ok_or_else(|| PfxError::unsupported(&params.scheme.oid))?;
    check_length(mac, hmac)?;
    // A short key is found by trying all keys without the password; 20 octets is what RFC 9579 section 5 demands at least.
    let key_length = match kdf.key_length {
        None => return Err(PfxError::Damaged("PBMAC1 has no key length, which RFC 9579 demands")),
        Some(length @ 20..=64) => length as usize,
        Some(_) => return Err(PfxError::Damaged("PBMAC1 has a key length outside 20 to 64 octets")),
    };
    let iterations = derive::iterations(kdf.iterations, budget)?;
    let salt = kdf.salt.as_ref();
    for (attempt, formed) in pkcs5_forms(password).into_iter().enumerate() {
        let key = match derive::pbkdf2(provider, prf, &formed.bytes, salt, iterations, key_length, budget) {
            Err(PfxError::LimitExceeded(_)) if attempt > 0 => return Err(PfxError::WrongPassword(PasswordUse::Mac)),
            other => other?,
        };
        if matches(mac, hmac, &key, auth_safe, provider)? {
            return Ok(MacInfo::new(&params.scheme.oid, true, iterations, salt.len(), formed.form));
        }
    }
    Err(PfxError::WrongPassword(PasswordUse::Mac))
}

fn check_length(mac: &MacData<'_>, digest: DigestAlgorithm) -> Result<(), PfxError> {
    if mac.digest.as_ref().len() == digest.output_len() {
        Ok(())
    } else {
        Err(PfxError::Damaged("the MAC is not as long as its algorithm makes it"))
    }
}

fn matches(mac: &MacData<'_>, digest: DigestAlgorithm, key: &[u8], auth_safe: &[u8], provider: &CryptoProvider) -> Result<bool, PfxError> {
    let computed = match provider.hmac()?.hmac(digest, key, &[auth_safe]) {
        Err(CryptoError::Unsupported(_)) => return Err(PfxError::not_in_provider(derive::digest_oid(digest))),
        other => other?,
    };
    Ok(constant_time_eq(computed.as_ref(), mac.digest.as_ref()))
}
