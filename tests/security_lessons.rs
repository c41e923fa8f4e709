//! What went wrong in other PKCS#12 and CMS code, row by row, and must not go wrong here.
//!
//! Each row has a test, or a group, whose name begins with the row's key; every attack is assembled here, and again taken from the
//! vector corpus where that has it. [`LESSONS`] is the list; its test finds rows without a test.
#![cfg(all(feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "security_lessons/enveloped.rs"]
mod enveloped;
#[path = "security_lessons/make.rs"]
mod make;
#[path = "security_lessons/pfx.rs"]
mod pfx;
#[path = "support/pki.rs"]
mod pki;
#[path = "security_lessons/signed.rs"]
mod signed;
mod support;

/// Where the tests of a row are.
const ENVELOPED: &str = include_str!("security_lessons/enveloped.rs");
const ENVELOPED_NEGATIVE: &str = include_str!("cms_enveloped_negative.rs");
const PFX: &str = include_str!("security_lessons/pfx.rs");
const SIGNED: &str = include_str!("security_lessons/signed.rs");
const CMS_INTEROP: &str = include_str!("cms_interop.rs");
const WIPING: &str = include_str!("wiping.rs");
const SECRETS: &str = include_str!("secrets.rs");

/// The beginning of a test's name, and the file that it is in.
type TestIn = (&'static str, &'static str);

/// The lesson, what it is known as, and its tests.
const LESSONS: &[(&str, &str, &[TestIn])] = &[
    (
        "ContentInfo without content, outer and inner",
        "CVE-2024-0727",
        &[("content_info_without_content", PFX), ("content_info_without_content", SIGNED)],
    ),
    ("decrypting an item with missing data", "CVE-2025-69421", &[("missing_encrypted_content", PFX)]),
    (
        "attribute value of an unexpected type",
        "CVE-2026-22795, CVE-2026-22796",
        &[("attributes_of_unexpected_types", PFX), ("attributes_of_unexpected_types", SIGNED)],
    ),
    ("friendlyName length errors", "CVE-2025-69419, CVE-2026-7383, CVE-2023-0767", &[("friendly_name_lengths", PFX)]),
    ("PBMAC1 parameters unchecked", "CVE-2025-11187, CVE-2026-34181", &[("pbmac1_parameters", PFX)]),
    ("derivation bombs before the MAC", "CVE-2023-29331", &[("derivation_bombs", PFX)]),
    ("truncated or empty MAC", "CVE-2025-12816", &[("truncated_or_empty_mac", PFX)]),
    ("iterations negative, zero, over i64", "seen in peers", &[("iterations_out_of_range", PFX)]),
    ("recursion", "CVE-2018-0739", &[("recursion", PFX), ("recursion", SIGNED)]),
    ("lengths over 2 GiB", "CVE-2026-34180", &[("lengths_over_two_gib", PFX), ("lengths_over_two_gib", SIGNED)]),
    (
        "AuthEnvelopedData: IV and tag from the message",
        "CVE-2025-15467, CVE-2026-34182",
        &[("auth_enveloped_parameters", ENVELOPED), ("cve_2025_15467", ENVELOPED_NEGATIVE), ("cve_2026_34182", ENVELOPED_NEGATIVE)],
    ),
    (
        "PWRI unwrap out of bounds",
        "CVE-2025-9230, CVE-2026-9076, CVE-2026-42766",
        &[
            ("password_recipients", ENVELOPED),
            ("cve_2025_9230", ENVELOPED_NEGATIVE),
            ("cve_2026_9076", ENVELOPED_NEGATIVE),
            ("cve_2026_42766", ENVELOPED_NEGATIVE),
        ],
    ),
    (
        "KARI and KTRI optional parameters missing",
        "CVE-2026-28389",
        &[("optional_parameters_that_are_missing", ENVELOPED), ("cve_2026_28389", ENVELOPED_NEGATIVE)],
    ),
    (
        "RSA PKCS#1 v1.5 oracle over several recipients",
        "CVE-2026-42768, CVE-2019-1563, RUSTSEC-2023-0071",
        &[("every_failure_inside_the_decryption_is_the_same_value", CMS_INTEROP), ("cve_2019_1563", ENVELOPED_NEGATIVE)],
    ),
    (
        "use after free when verifying",
        "CVE-2026-45447, CVE-2016-7053",
        &[("empty_digest_set", SIGNED), ("detached_without_content", SIGNED)],
    ),
    ("signed attributes missing, doubled, wrong", "OpenSSL's test files", &[("signed_attributes", SIGNED)]),
    (
        "content mistaken for attributes",
        "attack on CMS without signed attributes",
        &[("attributes_replayed_as_content", SIGNED), ("signed_attributes_replayed_as_content", CMS_INTEROP)],
    ),
    ("zero-length, absent, two signers, none", "", &[("empty_absent_and_several", SIGNED), ("certs_only", SIGNED)]),
    ("RSA signature padding forgery", "CVE-2006-4339 and its return", &[("rsa_padding_forgeries", SIGNED)]),
    (
        "degenerate PKCS#7, mismatched key in the writer",
        "CVE-2023-49083, CVE-2024-26130",
        &[("certs_only_without_certificates", SIGNED), ("a_key_of_another_certificate", PFX)],
    ),
    ("chain cycles, two certificates of one subject", "Bouncy Castle's certChainCycle", &[("chain_cycles", PFX)]),
    ("EnvelopedData safe ignored silently", "measured in OpenSSL and pyca", &[("an_enveloped_safe", PFX)]),
    (
        "secrets left in memory, logs, Debug",
        "",
        &[("leaves_nothing", WIPING), ("debug_of_everything_that_holds_a_secret_hides_it", SECRETS), ("errors_hold_no_secret", SECRETS)],
    ),
];

#[test]
fn every_lesson_has_a_test() {
    assert_eq!(LESSONS.len(), 23, "the list of lessons has 23 rows");
    for (lesson, _, tests) in LESSONS {
        assert!(!tests.is_empty(), "{lesson} has no test");
        for (name, file) in *tests {
            assert!(file.contains(&format!("fn {name}")), "{lesson}: there is no test {name}");
        }
    }
}

#[test]
fn every_test_belongs_to_a_lesson() {
    for file in [PFX, ENVELOPED, SIGNED] {
        for name in file.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let known = name.starts_with("control_")
                || LESSONS.iter().any(|(_, _, tests)| tests.iter().any(|(prefix, _)| name.starts_with(prefix)));
            assert!(known, "{name} belongs to no lesson");
        }
    }
}
