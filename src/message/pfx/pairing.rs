//! Which certificate belongs to which key, and what stands above it.

use std::collections::HashMap;

use super::contents::{Pair, PfxCertificate, PfxKey};
use super::public_key::{self, CertificateParts};
use crate::crypto::CryptoProvider;

/// Pairs each key with its certificate: by public key where that can be known, by localKeyId where it cannot, and then
/// with a certificate of its algorithm only.
/// (Ids alone deceive: files with one id for all bags are real.)
pub(super) fn pair(keys: &[PfxKey], certificates: &[PfxCertificate], provider: &CryptoProvider) -> Vec<Pair> {
    let parts = certificates.iter().map(|certificate| CertificateParts::find(&certificate.der)).collect::<Vec<_>>();
    let by_subject = by_subject(&parts);
    // A file may hold one key a thousand times: what stands above its certificate is sought once.
    let mut chains = HashMap::new();
    let mut pairs = Vec::new();
    for (key_index, key) in keys.iter().enumerate() {
        let same_id = |index: &usize| key.local_key_id.is_some() && certificates[*index].local_key_id == key.local_key_id;
        let leaf = match public_key::of_private_key(&key.key, provider) {
            Some(public_key) => {
                let holders =
                    || (0..certificates.len()).filter(|index| parts[*index].as_ref().is_some_and(|parts| parts.public_key == public_key));
                // A renewed certificate beside its predecessor: the id decides, else the order of the file.
                holders().find(same_id).or_else(|| holders().next())
            }
            None => {
                let algorithm = public_key::algorithm_of_private_key(&key.key);
                let may_hold =
                    |index: &usize| parts[*index].as_ref().is_none_or(|parts| algorithm.is_none_or(|own| own == parts.algorithm));
                (0..certificates.len()).filter(same_id).find(may_hold)
            }
        };
        if let Some(leaf) = leaf {
            let chain: &Vec<usize> = chains.entry(leaf).or_insert_with(|| above(leaf, &parts, &by_subject));
            pairs.push(Pair { key: key_index, leaf, chain: chain.clone() });
        }
    }
    pairs
}

/// Follows issuer names upwards. Each certificate is taken at most once, so cycles end.
pub(super) fn chain_above(leaf: usize, parts: &[Option<CertificateParts<'_>>]) -> Vec<usize> {
    above(leaf, parts, &by_subject(parts))
}

/// The certificates of each subject, in their order.
fn by_subject<'a>(parts: &[Option<CertificateParts<'a>>]) -> HashMap<&'a [u8], Vec<usize>> {
    let mut found = HashMap::<_, Vec<usize>>::new();
    for (index, parts) in parts.iter().enumerate() {
        if let Some(parts) = parts {
            found.entry(parts.subject).or_default().push(index);
        }
    }
    found
}

fn above(leaf: usize, parts: &[Option<CertificateParts<'_>>], by_subject: &HashMap<&[u8], Vec<usize>>) -> Vec<usize> {
    let mut taken = vec![false; parts.len()];
    let mut chain = Vec::new();
    let mut current = leaf;
    loop {
        taken[current] = true;
        let Some(child) = &parts[current] else { break };
        if child.issuer == child.subject {
            break;
        }
        let issuers = by_subject.get(child.issuer).map(Vec::as_slice).unwrap_or_default();
        let candidates = || issuers.iter().copied().filter(|index| !taken[*index]);
        // Two CA certificates with one name (renewed or cross-signed): the key identifier decides where it can.
        let wanted = child.authority_key_identifier;
        let by_identifier =
            |index: &usize| wanted.is_some() && parts[*index].as_ref().is_some_and(|parts| parts.subject_key_identifier == wanted);
        let Some(issuer) = candidates().find(by_identifier).or_else(|| candidates().next()) else { break };
        chain.push(issuer);
        current = issuer;
    }
    chain
}
