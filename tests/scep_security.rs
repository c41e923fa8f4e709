//! What went wrong in other SCEP servers, row by row, and must not go wrong here.
//!
//! Each row has tests whose names begin with the row's key; what is proven elsewhere is pointed at. [`LESSONS`] is the list; its test finds
//! rows without a test.
#![cfg(all(feature = "scep", feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "scep_security/attributes.rs"]
mod attributes;
#[path = "scep_security/authorisation.rs"]
mod authorisation;
#[path = "scep_security/csr.rs"]
mod csr;
#[path = "scep_security/disclosure.rs"]
mod disclosure;
#[path = "scep_security/exhaustion.rs"]
mod exhaustion;
#[path = "scep_security/forge.rs"]
mod forge;
#[path = "security_lessons/make.rs"]
#[allow(dead_code, reason = "of the parts of the other lessons only the DER is needed")]
mod make;
#[path = "scep_security/oracle.rs"]
mod oracle;
#[path = "support/scep_lab.rs"]
mod scep_lab;
mod support;
#[path = "scep_security/watched.rs"]
mod watched;

/// Where the tests of a row are.
const ATTRIBUTES: &str = include_str!("scep_security/attributes.rs");
const AUTHORISATION: &str = include_str!("scep_security/authorisation.rs");
const CSR: &str = include_str!("scep_security/csr.rs");
const DISCLOSURE: &str = include_str!("scep_security/disclosure.rs");
const EXHAUSTION: &str = include_str!("scep_security/exhaustion.rs");
const ORACLE: &str = include_str!("scep_security/oracle.rs");
const SERVICE: &str = include_str!("scep_service.rs");
const MESSAGE: &str = include_str!("scep_message.rs");
const HTTP: &str = include_str!("scep_http.rs");
const SPOOL: &str = include_str!("scep_spool.rs");
const FORMS: &str = include_str!("scep_protocol/forms.rs");
const IDEMPOTENCY: &str = include_str!("scep_protocol/idempotency.rs");
const QUERY: &str = include_str!("scep_protocol/query.rs");
const RENEWAL: &str = include_str!("scep_protocol/renewal.rs");
const POLICY: &str = include_str!("policy_issuance.rs");
const LOCKS: &str = include_str!("../src/scep/locks.rs");
const CAPS: &str = include_str!("../src/scep/caps.rs");

/// The beginning of a test's name, and the file that it is in.
type TestIn = (&'static str, &'static str);

/// What went wrong, where it is known from, and its tests.
const LESSONS: &[(&str, &str, &[TestIn])] = &[
    (
        "one valid challenge buys any subject",
        "VU#971035",
        &[("challenge_is_bound_to_the_csr", AUTHORISATION), ("a_csr_is_approved_for_its_own_plan_only", POLICY)],
    ),
    (
        "a message type that skips the authorisation",
        "CVE-2026-30836 (GHSA-q4r8-xm5f-56gw), GHSA-h8cp-697h-8c8p",
        &[
            ("message_types", AUTHORISATION),
            ("update_req_unknown_types_and_cert_rep_are_refused", FORMS),
            ("other_message_types_around_a_csr_of_a_stranger_are_refused", SERVICE),
            ("only_the_message_types_of_the_rfc_are_accepted", MESSAGE),
        ],
    ),
    (
        "the CSR's own signature is not checked",
        "measured in micromdm's scepserver 2.1.0",
        &[("csr_signature", AUTHORISATION), ("everything_that_is_wrong_inside_gets_one_answer", SERVICE)],
    ),
    (
        "the signer's key has nothing to do with the CSR",
        "measured in micromdm's scepserver 2.1.0",
        &[("signer_", AUTHORISATION), ("everything_that_is_wrong_inside_gets_one_answer", SERVICE)],
    ),
    (
        "a foreign or self-signed certificate renews",
        "micromdm/scep issue 117",
        &[
            ("renewal_", AUTHORISATION),
            ("a_renewal_req_signed_by_a_self_signed_certificate_is_refused", RENEWAL),
            ("a_certificate_of_another_ca_one_that_has_ended_and_one_that_is_no_clients_renew_nothing", RENEWAL),
            ("a_revoked_certificate_is_not_renewed", RENEWAL),
            ("other_names_than_those_of_the_certificate_are_not_renewed", RENEWAL),
            ("a_query_by_a_certificate_of_another_ca_is_refused", QUERY),
        ],
    ),
    (
        "answers that tell a bad PKCS#1 v1.5 padding (Bleichenbacher, Marvin)",
        "RUSTSEC-2023-0071; measured in micromdm's scepserver 2.1.0",
        &[("bleichenbacher", ORACLE), ("everything_that_is_wrong_inside_gets_one_answer", SERVICE)],
    ),
    (
        "several RecipientInfos as an oracle",
        "CVE-2019-1563",
        &[("several_recipients", ORACLE), ("of_several_recipients_only_ours_is_opened", FORMS)],
    ),
    (
        "answers that tell a bad CBC padding",
        "measured in micromdm's scepserver 2.1.0",
        &[("cbc_padding", ORACLE), ("what_is_wrong_inside_single_des_gets_the_one_answer", SERVICE)],
    ),
    (
        "downgrade by GetCACaps, which nobody signs",
        "RFC 8894 section 7.5",
        &[
            ("downgrade", ORACLE),
            ("the_list_has_no_blank_line_and_hides_what_is_weak", CAPS),
            ("triple_des_is_refused_with_bad_alg_unless_the_policy_has_an_alarming_name", SERVICE),
            ("single_des_is_read_from_sha_1_clients_under_its_own_policy_alone_and_never_written", SERVICE),
            ("sha1_under_the_csr_is_bad_alg_unless_the_policy_has_an_alarming_name", FORMS),
        ],
    ),
    (
        "challenges and messages that are used again",
        "static challenges of micromdm and step-ca; no server read remembers nonces",
        &[
            ("replay", AUTHORISATION),
            ("a_nonce_with_other_bytes_is_refused_in_any_transaction", IDEMPOTENCY),
            ("a_nonce_is_remembered_with_its_transaction_over_a_restart", IDEMPOTENCY),
            ("the_same_request_gets_the_same_certificate_and_is_issued_once", SERVICE),
        ],
    ),
    (
        "duplicate serial numbers",
        "micromdm/scep issue 184; measured in scepserver 2.1.0: 584 certificates with 250 serial numbers",
        &[("duplicate_serials", AUTHORISATION), ("the_same_request_twice_at_once_is_issued_once", SERVICE)],
    ),
    (
        "denial of service by malformed requests",
        "CVE-2024-43541, CVE-2024-43544, micromdm/scep issue 79",
        &[
            ("exhaustion", EXHAUSTION),
            ("a_password_recipient_is_refused_before_any_derivation", FORMS),
            ("a_lock_is_forgotten_when_its_last_user_is_dropped_at_work_or_while_it_waits", LOCKS),
            ("too_much_is_turned_away_before_any_work", SERVICE),
            ("what_declares_to_be_too_long_is_refused_before_a_byte_of_it_is_read", HTTP),
            ("a_body_that_trickles_is_ended_by_the_deadline_and_gives_its_place_back", HTTP),
            ("requests_over_the_limit_get_503_with_retry_after", SERVICE),
        ],
    ),
    (
        "over-read of transactionID and messageType",
        "CVE-2026-7668",
        &[
            ("over_read", ATTRIBUTES),
            ("attributes_that_are_missing_doubled_or_of_another_type_are_refused", MESSAGE),
            ("a_transaction_id_is_echoed_with_the_type_it_came_with", MESSAGE),
            ("transaction_ids_of_255_bytes_serve_and_longer_ones_are_no_request", IDEMPOTENCY),
        ],
    ),
    (
        "a device that chooses whom its certificate stands for",
        "CVE-2022-26923, KB5014754",
        &[
            ("identity", CSR),
            ("a_device_csr_cannot_choose_its_sid_its_template_or_to_be_a_ca", POLICY),
            ("text_that_does_not_fit_its_string_type_is_refused_also_where_any_name_is_allowed", POLICY),
            ("a_sid_uri_passes_only_when_the_validator_vouches_for_that_sid", POLICY),
        ],
    ),
    (
        "error text that discloses internals",
        "step-ca commit b226b6eb",
        &[("error_text", DISCLOSURE), ("refusals_say_one_of_a_few_sentences", HTTP)],
    ),
    (
        "a notification that is lost after the issue",
        "UCM pull request 281, Infisical pull request 7413",
        &[
            ("strict_a_certificate_that_the_service_was_not_told_of_is_withheld_and_revoked", SERVICE),
            ("spooling_the_certificate_goes_out_and_the_notification_follows", SERVICE),
            ("a_notification_that_was_lost_is_made_up_for_before_the_certificate_is_released_again", IDEMPOTENCY),
            ("a_stored_notification_survives_the_service_and_is_told_by_its_successor_with_backoff", SPOOL),
            ("a_client_that_hangs_up_does_not_stop_its_request_half_way", HTTP),
        ],
    ),
    (
        "one key that signs and decrypts, in an HSM that no longer decrypts PKCS#1 v1.5",
        "FIPS 140-3 modules; EJBCA's separate RA keys",
        &[("ra_keys", ORACLE)],
    ),
    (
        "extensions and attributes of a CSR that choose what the CA issues",
        "AD CS: ESC1, ESC6 and enrolment name-value pairs",
        &[("csr_extensions", CSR), ("a_csr_that_asks_for_more_than_its_plan_is_not_approved", POLICY)],
    ),
    (
        "short keys and names without bound",
        "step-ca's minimum of RSA-2048 (2023)",
        &[
            ("client_keys", CSR),
            ("oversize_names", CSR),
            ("names_and_usages_are_bounded_whatever_is_allowed", POLICY),
            ("a_client_with_an_ec_key_gets_bad_alg_before_anything_is_validated", SERVICE),
        ],
    ),
];

#[test]
fn every_lesson_has_a_test() {
    assert_eq!(LESSONS.len(), 19, "the list of lessons has 19 rows");
    for (lesson, _, tests) in LESSONS {
        assert!(!tests.is_empty(), "{lesson} has no test");
        for (name, file) in *tests {
            assert!(
                file.contains(&format!("#[test]\nfn {name}")) || file.contains(&format!("    #[test]\n    fn {name}")),
                "{lesson}: there is no test {name}"
            );
        }
    }
}

#[test]
fn every_test_belongs_to_a_lesson() {
    for file in [ATTRIBUTES, AUTHORISATION, CSR, DISCLOSURE, EXHAUSTION, ORACLE] {
        for name in file.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let known = LESSONS.iter().any(|(_, _, tests)| tests.iter().any(|(prefix, _)| name.starts_with(prefix)));
            assert!(known, "{name} belongs to no lesson");
        }
    }
}
