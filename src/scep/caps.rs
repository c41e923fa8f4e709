//! GetCACaps (RFC 8894 section 3.5.2).

use super::AlgorithmPolicy;

/// The capability list: one word a line, no blank line (strongSwan 5.9.8 takes an empty line as every capability).
///
/// `SHA-384` is not in the registry; strongSwan 5.9.8 needs it listed to use AES, others ignore it.
pub(crate) fn body(algorithms: AlgorithmPolicy, renewal: bool, next_ca: bool) -> String {
    let mut words = vec!["AES", "POSTPKIOperation", "SHA-256", "SHA-384", "SHA-512", "SCEPStandard"];
    if renewal {
        words.push("Renewal");
    }
    if next_ca {
        words.push("GetNextCACert");
    }
    if algorithms.allows_3des_and_sha1() {
        words.extend(["DES3", "SHA-1"]);
    }
    words.iter().map(|word| format!("{word}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_no_blank_line_and_hides_what_is_weak() {
        let modern = body(AlgorithmPolicy::Modern, false, false);
        assert!(modern.lines().all(|line| !line.is_empty()) && !modern.contains("\n\n"), "{modern:?}");
        assert!(modern.lines().any(|word| word == "SHA-384"));
        assert!(!modern.lines().any(|word| matches!(word, "DES3" | "SHA-1" | "Renewal" | "GetNextCACert")));
        for weak in [AlgorithmPolicy::DangerousAllow3DesAndSha1, AlgorithmPolicy::DangerousReadSingleDes] {
            let list = body(weak, true, true);
            assert!(["DES3", "SHA-1"].iter().all(|expected| list.lines().any(|word| word == *expected)), "{list}");
            assert!(!list.lines().any(|word| word == "DES"), "nobody is invited to single DES: {list}");
        }
    }
}
