//! The simulator's SCEP service: every rejection code by what really causes it, the bodies of the calls, and the ledger.

#![cfg(all(feature = "sim", feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sim_support;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use intune_connector::adapters::http::HttpMethod;
use intune_connector::sim::{ChallengeFlaw, Endpoint, ExpectedCsr, FindingKind, RegisteredKey, RejectionCode, Role, Stale};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, SubjectAltName};
use serde_json::{Value, json};
use sim_support::{Device, INTUNE_SCOPE, Lab, body, client_auth, code, post, upn};

fn expected() -> ExpectedCsr {
    ExpectedCsr::new("CN=Jane,O=Contoso").with_subject_alt_names([upn()])
}

/// A lab and a device whose key needs no length.
fn lab() -> (Lab, Device) {
    (Lab::new(), Device::new(KeyAlgorithm::EcP256))
}

fn challenge(lab: &Lab) -> (String, String) {
    let issued = lab.intune.issue_challenge(&expected()).unwrap();
    (issued.challenge.secret_str().unwrap().to_owned(), issued.request_id)
}

fn flawed(flaw: ChallengeFlaw) -> String {
    let (lab, device) = lab();
    let issued = lab.intune.issue_flawed_challenge(&expected(), flaw).unwrap();
    lab.validate("t", &device.csr(issued.challenge.secret_str()))
}

/// What a changed device is answered.
fn changed(change: impl FnOnce(&mut Device)) -> String {
    let (lab, mut device) = lab();
    change(&mut device);
    let (challenge, _) = challenge(&lab);
    lab.validate("t", &device.csr(Some(&challenge)))
}

#[test]
fn the_expected_csr_is_a_success() {
    assert_eq!(changed(|_| {}), "Success");
}

#[test]
fn certificate_request_decoding_failed_for_a_csr_that_cannot_be_read() {
    let (lab, device) = lab();
    assert_eq!(lab.validate("t", b"no CSR"), RejectionCode::CertificateRequestDecodingFailed.as_str());
    let mut forged = device.csr(Some(&challenge(&lab).0));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(lab.validate("t", &forged), RejectionCode::CertificateRequestDecodingFailed.as_str());
}

#[test]
fn certificate_request_decoding_failed_for_pem_armour_and_for_an_extension_that_is_not_allowed() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", BASE64_STANDARD.encode(csr));
    let request = json!({ "request": { "transactionId": "t", "certificateRequest": pem, "callerInfo": "test" } });
    let answer = lab.send(&lab.scep_request(&lab.token(INTUNE_SCOPE), "validateRequest", &request));
    assert_eq!(code(&answer), RejectionCode::CertificateRequestDecodingFailed.as_str());
    let sid = changed(|device| device.extension = Some("1.3.6.1.4.1.55555.1".parse().unwrap()));
    assert_eq!(sid, RejectionCode::CertificateRequestDecodingFailed.as_str());
}

#[test]
fn challenge_password_missing_without_a_challenge() {
    let (lab, device) = lab();
    assert_eq!(lab.validate("t", &device.csr(None)), RejectionCode::ChallengePasswordMissing.as_str());
}

#[test]
fn challenge_deserialization_error_for_another_structure() {
    assert_eq!(flawed(ChallengeFlaw::NotAChallenge), RejectionCode::ChallengeDeserializationError.as_str());
}

#[test]
fn challenge_decryption_error_for_another_tenants_key() {
    assert_eq!(flawed(ChallengeFlaw::OtherTenant), RejectionCode::ChallengeDecryptionError.as_str());
}

#[test]
fn challenge_decoding_error_for_what_is_no_base64() {
    assert_eq!(flawed(ChallengeFlaw::NotBase64), RejectionCode::ChallengeDecodingError.as_str());
}

#[test]
fn challenge_invalid_timestamp_for_a_time_that_is_none() {
    assert_eq!(flawed(ChallengeFlaw::NoTime), RejectionCode::ChallengeInvalidTimestamp.as_str());
}

#[test]
fn challenge_expired_after_an_hour_and_not_before() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    lab.clock.advance(Duration::from_secs(3_599));
    assert_eq!(lab.validate("t", &csr), "Success");
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(lab.validate("t", &csr), RejectionCode::ChallengeExpired.as_str());
}

#[test]
fn subject_name_missing_without_a_subject() {
    assert_eq!(changed(|device| device.subject = String::new()), RejectionCode::SubjectNameMissing.as_str());
}

#[test]
fn subject_name_mismatch_for_another_subject() {
    assert_eq!(changed(|device| device.subject = "CN=Joe,O=Contoso".to_owned()), RejectionCode::SubjectNameMismatch.as_str());
}

#[test]
fn subject_alt_name_missing_without_names() {
    assert_eq!(changed(|device| device.names.clear()), RejectionCode::SubjectAltNameMissing.as_str());
}

#[test]
fn subject_alt_name_mismatch_for_another_and_for_one_more() {
    let other = SubjectAltName::Upn("admin@contoso.example".to_owned());
    assert_eq!(changed(|device| device.names = vec![other.clone()]), RejectionCode::SubjectAltNameMismatch.as_str());
    assert_eq!(changed(|device| device.names.push(other)), RejectionCode::SubjectAltNameMismatch.as_str());
}

#[test]
fn key_usage_mismatch_for_another_usage_and_for_none() {
    let sign = KeyUsage { digital_signature: true, ..KeyUsage::default() };
    assert_eq!(changed(|device| device.usage = Some(sign)), RejectionCode::KeyUsageMismatch.as_str());
    assert_eq!(changed(|device| device.usage = None), RejectionCode::KeyUsageMismatch.as_str());
}

#[test]
fn key_length_mismatch_for_another_length() {
    let lab = Lab::new();
    let device = Device::new(KeyAlgorithm::Rsa2048);
    for (bits, expected_code) in [(Some(4096), RejectionCode::KeyLengthMismatch.as_str()), (Some(2048), "Success"), (None, "Success")] {
        let issued = lab.intune.issue_challenge(&expected().with_key_length(bits)).unwrap();
        assert_eq!(lab.validate("t", &device.csr(issued.challenge.secret_str())), expected_code);
    }
}

#[test]
fn enhanced_key_usage_missing_without_any() {
    assert_eq!(changed(|device| device.purposes.clear()), RejectionCode::EnhancedKeyUsageMissing.as_str());
}

#[test]
fn enhanced_key_usage_mismatch_for_another_and_for_one_more() {
    let other: intune_connector::ids::Oid = "1.3.6.1.5.5.7.3.4".parse().unwrap();
    assert_eq!(changed(|device| device.purposes = vec![other.clone()]), RejectionCode::EnhancedKeyUsageMismatch.as_str());
    assert_eq!(changed(|device| device.purposes = vec![client_auth(), other]), RejectionCode::EnhancedKeyUsageMismatch.as_str());
}

/// What is answered when a registered key is demanded.
fn with_registered_key(key: RegisteredKey) -> String {
    let (lab, device) = lab();
    let (challenge, request) = challenge(&lab);
    assert!(lab.intune.set_registered_key(&request, key));
    lab.validate("t", &device.csr(Some(&challenge)))
}

#[test]
fn aad_key_identifier_list_missing_when_no_key_is_registered() {
    assert_eq!(with_registered_key(RegisteredKey::Missing), RejectionCode::AadKeyIdentifierListMissing.as_str());
}

#[test]
fn registered_key_mismatch_for_another_key() {
    assert_eq!(with_registered_key(RegisteredKey::Sha256("00".repeat(32))), RejectionCode::RegisteredKeyMismatch.as_str());
}

#[test]
fn signing_cert_thumbprint_mismatch_for_another_signer_and_after_a_change_of_signers() {
    assert_eq!(flawed(ChallengeFlaw::OtherSigner), RejectionCode::SigningCertThumbprintMismatch.as_str());
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    lab.intune.change_challenge_signer().unwrap();
    assert_eq!(lab.validate("t", &csr), RejectionCode::SigningCertThumbprintMismatch.as_str());
    assert_eq!(lab.validate("t", &device.csr(Some(&challenge(&lab).0))), "Success");
}

#[test]
fn scep_profile_no_longer_targeted_to_the_client_after_the_assignment_is_removed() {
    let (lab, device) = lab();
    let (challenge, request) = challenge(&lab);
    assert!(lab.intune.set_targeted(&request, false));
    assert_eq!(lab.validate("t", &device.csr(Some(&challenge))), RejectionCode::ScepProfileNoLongerTargetedToTheClient.as_str());
    assert!(!lab.intune.set_targeted("nobody", false));
}

#[test]
fn signature_validation_failed_for_a_changed_signature() {
    assert_eq!(flawed(ChallengeFlaw::WrongSignature), RejectionCode::SignatureValidationFailed.as_str());
}

#[test]
fn bad_certificate_request_id_in_challenge() {
    assert_eq!(flawed(ChallengeFlaw::OtherRequestId), RejectionCode::BadCertificateRequestIdInChallenge.as_str());
}

#[test]
fn bad_device_id_in_challenge() {
    assert_eq!(flawed(ChallengeFlaw::OtherDeviceId), RejectionCode::BadDeviceIdInChallenge.as_str());
}

#[test]
fn bad_user_id_in_challenge() {
    assert_eq!(flawed(ChallengeFlaw::OtherUserId), RejectionCode::BadUserIdInChallenge.as_str());
}

#[test]
fn every_code_and_an_unknown_one_can_be_provoked_through_the_control_endpoint() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    for provoked in RejectionCode::ALL.map(RejectionCode::as_str).into_iter().chain(["QuotaExceeded"]) {
        let answer = lab.control(HttpMethod::Post, "codes", Some(&json!({ "endpoint": "validateRequest", "code": provoked })));
        assert_eq!(answer.status, 200, "{}", body(&answer));
        assert_eq!(lab.validate("t", &csr), provoked);
        assert_eq!(lab.validate("t", &csr), "Success");
    }
}

#[test]
fn a_challenge_of_another_simulator_is_refused() {
    let (lab, device) = lab();
    let (challenge, _) = challenge(&Lab::new());
    assert_eq!(lab.validate("t", &device.csr(Some(&challenge))), RejectionCode::SigningCertThumbprintMismatch.as_str());
}

#[test]
fn a_challenge_shows_nothing_of_what_is_in_it() {
    let (lab, _) = lab();
    let issued = lab.intune.issue_challenge(&expected().with_device_id("device-4711")).unwrap();
    let message = BASE64_STANDARD.decode(issued.challenge.secret_str().unwrap()).unwrap();
    for hidden in ["device-4711", "Jane", issued.request_id.as_str(), "jane@contoso.example"] {
        assert!(!message.windows(hidden.len()).any(|window| window == hidden.as_bytes()), "{hidden}");
    }
    assert!(!format!("{issued:?}").contains(issued.challenge.secret_str().unwrap()));
}

#[test]
fn a_body_that_is_not_what_the_facts_say_is_a_400_in_the_gateways_envelope() {
    let (lab, device) = lab();
    let csr = BASE64_STANDARD.encode(device.csr(Some(&challenge(&lab).0)));
    let token = lab.token(INTUNE_SCOPE);
    let good = json!({ "transactionId": "t", "certificateRequest": csr, "callerInfo": "test" });
    let with = |name: &str, value: Value| {
        let mut request = good.clone();
        request[name] = value;
        json!({ "request": request })
    };
    let bad = [
        json!({}),
        json!([]),
        json!({ "request": "text" }),
        json!({ "notification": good }),
        with("transactionId", Value::Null),
        with("transactionId", json!("  ")),
        with("transactionId", json!(7)),
        with("certificateRequest", json!("")),
        with("callerInfo", json!({})),
    ];
    for body_sent in bad {
        let answer = lab.send(&lab.scep_request(&token, "validateRequest", &body_sent));
        assert_eq!(answer.status, 400, "{body_sent}");
        let message = body(&answer)["error"]["message"].as_str().unwrap().to_owned();
        let inner: Value = serde_json::from_str(&message).unwrap();
        assert!(inner["Message"].as_str().is_some() && inner.get("CustomApiErrorPhrase").is_some(), "{message}");
    }
    let base = lab.discover("ScepRequestValidationFEService").unwrap();
    let url = format!("{base}/ScepActions/validateRequest");
    for (version, status) in [("2018-02-20", 200), ("5019-05-05", 200), ("1999-01-01", 400)] {
        assert_eq!(lab.send(&post(&url, &token, version, &json!({ "request": good }))).status, status, "{version}");
    }
}

#[test]
fn a_service_answers_401_without_a_token_with_anothers_and_without_the_role() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    let request = |token: &str| {
        lab.send(&lab.scep_request(
            token,
            "validateRequest",
            &json!({ "request": { "transactionId": "t", "certificateRequest": BASE64_STANDARD.encode(&csr) } }),
        ))
    };
    let good = lab.token(INTUNE_SCOPE);
    assert_eq!(code(&request(&good)), "Success");
    assert_eq!(request(&lab.token(sim_support::GRAPH_SCOPE)).status, 401);
    assert_eq!(request("").status, 401);
    assert_eq!(request(&Lab::new().token(INTUNE_SCOPE)).status, 401, "another simulator's token");
    let (head, _) = good.rsplit_once('.').unwrap();
    assert_eq!(request(&format!("{head}.AAAA")).status, 401);
    // The base must be found while the role is there: discovery lists no service without it.
    let with_role = lab.scep_request(&good, "validateRequest", &json!({}));
    lab.intune.revoke_role(Role::ScepChallengeProvider);
    let without = lab.token(INTUNE_SCOPE);
    assert_eq!(lab.send(&post(&with_role.url, &without, "2018-02-20", &json!({}))).status, 401);
    lab.intune.grant(Role::ScepChallengeProvider);
    assert_eq!(lab.send(&post(&with_role.url, &without, "2018-02-20", &json!({}))).status, 401, "a token never gets a role later");
    assert_eq!(lab.send(&post(&with_role.url, &lab.token(INTUNE_SCOPE), "2018-02-20", &json!({}))).status, 400);
    lab.clock.advance(Duration::from_secs(3_600));
    assert_eq!(request(&good).status, 401, "its time is over");
}

#[test]
fn notifications_end_in_the_ledger_and_what_is_wrong_is_found() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    assert_eq!(lab.validate("t1", &csr), "Success");
    assert_eq!(lab.intune.lost(), ["t1"]);
    for _ in 0..2 {
        assert_eq!(code(&lab.send(&lab.success_request("t1", &csr, "AB01"))), "Success");
    }
    assert!(lab.intune.lost().is_empty() && lab.intune.doubled().is_empty() && lab.intune.findings().is_empty());
    let entry = lab.intune.transactions().remove(0);
    assert_eq!(
        (entry.certificates[0].thumbprint.as_str(), entry.certificates[0].serial_number.as_str(), entry.certificates[0].times),
        ("AB01", "01AB", 2)
    );

    assert_eq!(code(&lab.send(&lab.success_request("t1", &csr, "CD02"))), "Success");
    let second = device.csr(Some(&challenge(&lab).0));
    assert_eq!(code(&lab.send(&lab.success_request("t2", &second, "AB01"))), "Success");
    let kinds: Vec<FindingKind> = lab.intune.findings().iter().map(|finding| finding.kind).collect();
    let wrong = [FindingKind::NotifiedWithoutValidation, FindingKind::NotifiedTwice, FindingKind::CertificateOfAnotherTransaction];
    assert!(wrong.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    assert_eq!(lab.intune.doubled(), ["t1"]);
}

#[test]
fn a_failure_notification_takes_signed_and_unsigned_hresults_and_255_characters() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    assert_eq!(lab.validate("t", &csr), "Success");
    for (hresult, status) in [(-2_147_418_113, 200), (2_147_549_183, 200), (65_535, 200), (1 << 32, 400), (i64::from(i32::MIN) - 1, 400)] {
        assert_eq!(lab.send(&lab.failure_request("t", &csr, hresult, "no")).status, status, "{hresult}");
    }
    let euro = "\u{20ac}";
    assert_eq!(lab.send(&lab.failure_request("t", &csr, -1, &euro.repeat(255))).status, 200);
    assert_eq!(lab.send(&lab.failure_request("t", &csr, -1, &euro.repeat(256))).status, 400);
    let entry = lab.intune.transactions().remove(0);
    assert_eq!((entry.failures[0].hresult, entry.failures[3].description.chars().count()), (-2_147_418_113, 255));
    assert!(lab.intune.lost().is_empty());
}

#[test]
fn an_old_location_answers_as_it_was_left_and_discovery_tells_the_new_one() {
    let (lab, device) = lab();
    let csr = device.csr(Some(&challenge(&lab).0));
    for (stale, status) in [(Stale::NotFound, 404), (Stale::Gone, 410), (Stale::Misdirected, 421)] {
        let old = lab.validate_request("t", &csr);
        lab.intune.move_location(stale);
        assert_eq!(lab.send(&old).status, status);
        assert_eq!(lab.validate("t", &csr), "Success");
    }
    let old = lab.validate_request("t", &csr);
    lab.intune.move_location(Stale::UnknownHost);
    assert!(matches!(lab.intune.answer(&old).outcome, intune_connector::sim::SimOutcome::UnknownHost));
    assert_eq!(lab.count(Endpoint::ValidateRequest), 7);
}
