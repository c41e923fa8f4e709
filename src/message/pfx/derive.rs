//! Key derivations, each charged to the budget before it runs.

use zeroize::{Zeroize as _, Zeroizing};

use super::error::PfxError;
use crate::codec::pkcs12::oid;
use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, DigestKdf, ScryptParameters, pkcs12_kdf};
use crate::limits::Budget;

/// The purpose byte of RFC 7292 appendix B.3.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    EncryptionKey = 1,
    InitialisationVector = 2,
    MacKey = 3,
}

/// Checks an iteration count as a file states it.
pub(super) fn iterations(stated: u64, budget: &Budget) -> Result<u32, PfxError> {
    if stated == 0 {
        return Err(PfxError::Damaged("an iteration count is zero"));
    }
    // Beyond u32 it is beyond every sensible limit as well.
    u32::try_from(stated).map_err(|_| over(stated, budget))
}

fn over(stated: u64, budget: &Budget) -> PfxError {
    let mut probe = Budget::new(budget.limits());
    match probe.charge_kdf(stated) {
        Err(limit) => limit.into(),
        Ok(()) => PfxError::Damaged("an iteration count is out of range"),
    }
}

/// The cost of PKCS#12 derivations with one count that together fill `blocks` digests, in units of one PBKDF2 round.
/// Such a block takes one compression a round, PBKDF2 takes two; but never less than the count that the file states.
pub(super) fn pkcs12_cost(iterations: u32, blocks: u64) -> u64 {
    let iterations = u64::from(iterations);
    iterations.max((iterations * blocks).div_ceil(2))
}

/// How many digests fill `len` bytes.
pub(super) fn blocks(len: usize, digest: DigestAlgorithm) -> u64 {
    len.div_ceil(digest.output_len()) as u64
}

/// The derivation of RFC 7292 appendix B; the caller has charged it, as key and IV are charged together.
pub(super) fn pkcs12(
    provider: &CryptoProvider,
    digest: DigestAlgorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    len: usize,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let mut out = Zeroizing::new(vec![0; len]);
    match pkcs12_kdf(provider.digest()?, digest, password, salt, purpose as u8, iterations, &mut out) {
        Err(CryptoError::Unsupported(_)) => Err(PfxError::not_in_provider(digest_oid(digest))),
        other => Ok(other.map(|()| out)?),
    }
}

/// PBKDF2 (RFC 8018 section 5.2), charged.
pub(super) fn pbkdf2(
    provider: &CryptoProvider,
    prf: DigestAlgorithm,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    len: usize,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    budget.charge_kdf(u64::from(iterations) * blocks(len, prf))?;
    let mut out = Zeroizing::new(vec![0; len]);
    match provider.pbkdf2()?.derive(prf, password, salt, iterations, &mut out) {
        Err(CryptoError::Unsupported(_)) => Err(PfxError::not_in_provider(prf_oid(prf))),
        other => Ok(other.map(|()| out)?),
    }
}

/// PBKDF1 (RFC 8018 section 5.1), charged: at most one digest long.
pub(super) fn pbkdf1(
    provider: &CryptoProvider,
    digest: DigestAlgorithm,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    budget.charge_kdf(u64::from(iterations))?;
    let slot = provider.digest()?;
    slot.permits(DigestKdf::Pbkdf1)?;
    let mut value = slot.digest_repeated(digest, &[password, salt], iterations)?;
    let key = Zeroizing::new(value.as_ref().to_vec());
    value.zeroize();
    Ok(key)
}

/// The cost of scrypt: 4 * N * r * p Salsa20/8 cores; four of them take about as long as one PBKDF2 round.
pub(super) fn scrypt_cost(parameters: ScryptParameters) -> u64 {
    let ScryptParameters { cost, block_size, parallelization } = parameters;
    cost.saturating_mul(u64::from(block_size)).saturating_mul(u64::from(parallelization))
}

/// scrypt (RFC 7914), memory checked and work charged.
pub(super) fn scrypt(
    provider: &CryptoProvider,
    parameters: ScryptParameters,
    password: &[u8],
    salt: &[u8],
    len: usize,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, PfxError> {
    let ScryptParameters { cost, block_size, parallelization } = parameters;
    let (r, p) = (u64::from(block_size), u64::from(parallelization));
    if !cost.is_power_of_two() || cost < 2 || r == 0 || p == 0 || r.saturating_mul(p) >= 1 << 30 {
        return Err(PfxError::Damaged("scrypt has parameters that RFC 7914 forbids"));
    }
    // V of 128 * r * N bytes and B of 128 * r * p (RFC 7914 section 6).
    budget.check_scrypt(cost.saturating_add(p).saturating_mul(128).saturating_mul(r))?;
    budget.charge_kdf(scrypt_cost(parameters))?;
    let mut out = Zeroizing::new(vec![0; len]);
    let slot = provider.scrypt().map_err(|_| PfxError::not_in_provider(oid::SCRYPT))?;
    slot.derive(parameters, password, salt, &mut out)?;
    Ok(out)
}

/// The digest that an OID of a MAC names.
pub(super) fn digest_by_oid(dotted: &str) -> Option<DigestAlgorithm> {
    DIGESTS.iter().find(|(known, _)| *known == dotted).map(|(_, digest)| *digest)
}

pub(super) fn digest_oid(digest: DigestAlgorithm) -> &'static str {
    DIGESTS.iter().find(|(_, known)| *known == digest).map_or(oid::SHA1, |(oid, _)| oid)
}

/// The digest of the HMAC that an OID of a PRF names.
pub(super) fn prf_by_oid(dotted: &str) -> Option<DigestAlgorithm> {
    PRFS.iter().find(|(known, _)| *known == dotted).map(|(_, digest)| *digest)
}

pub(super) fn prf_oid(prf: DigestAlgorithm) -> &'static str {
    PRFS.iter().find(|(_, digest)| *digest == prf).map_or(oid::PBKDF2, |(oid, _)| oid)
}

const DIGESTS: [(&str, DigestAlgorithm); 9] = [
    (oid::SHA1, DigestAlgorithm::Sha1),
    (oid::SHA224, DigestAlgorithm::Sha224),
    (oid::SHA256, DigestAlgorithm::Sha256),
    (oid::SHA384, DigestAlgorithm::Sha384),
    (oid::SHA512, DigestAlgorithm::Sha512),
    (oid::SHA512_224, DigestAlgorithm::Sha512_224),
    (oid::SHA512_256, DigestAlgorithm::Sha512_256),
    (oid::BLAKE2B_512, DigestAlgorithm::Blake2b512),
    (oid::BLAKE2S_256, DigestAlgorithm::Blake2s256),
];

const PRFS: [(&str, DigestAlgorithm); 7] = [
    (oid::HMAC_SHA1, DigestAlgorithm::Sha1),
    (oid::HMAC_SHA224, DigestAlgorithm::Sha224),
    (oid::HMAC_SHA256, DigestAlgorithm::Sha256),
    (oid::HMAC_SHA384, DigestAlgorithm::Sha384),
    (oid::HMAC_SHA512, DigestAlgorithm::Sha512),
    (oid::HMAC_SHA512_224, DigestAlgorithm::Sha512_224),
    (oid::HMAC_SHA512_256, DigestAlgorithm::Sha512_256),
];
