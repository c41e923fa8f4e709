//! The complete crypto providers, so that one test body runs on each.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use intune_connector::crypto::CryptoProvider;

/// Every provider that fills all slots but scrypt.
pub fn complete_providers() -> Vec<CryptoProvider> {
    #[cfg(feature = "ring")]
    let others = vec![CryptoProvider::ring_and_aws_lc_rs()];
    #[cfg(not(feature = "ring"))]
    let others = Vec::new();
    others.into_iter().chain([CryptoProvider::aws_lc_rs()]).collect()
}

/// Runs `test` on each of them.
pub fn for_each_provider(mut test: impl FnMut(&CryptoProvider)) {
    for provider in complete_providers() {
        test(&provider);
    }
}

/// Bytes of a hexadecimal text.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "an even number of digits: {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits")).collect()
}
