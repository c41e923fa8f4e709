//! What to do about a revocation request: pure.

use super::config::{AlreadyRevoked, IssuerlessRequests, SerialSpelling};
use crate::ids::{InvalidId, SerialNumber};
use crate::ports::{Failure, KnownCertificate, LookupAnswer, RevocationError, RevokeAnswer, RevokeResult};
use crate::retry::ErrorClass;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the own CA of this index: it is named, or it is the only one and may be asked to revoke what it may not have issued.
    Ask(usize),
    /// All own CAs are asked who issued it.
    Search,
    /// To nobody here.
    LeaveAlone(String),
}

/// Decides where a request goes. `names` holds the issuers by which each own CA is known; blank issuers count as absent.
pub(super) fn route(issuer: Option<&str>, names: &[Vec<&str>], issuerless: IssuerlessRequests) -> Route {
    match issuer.map(str::trim).filter(|issuer| !issuer.is_empty()) {
        Some(issuer) => match names.iter().position(|known| known.iter().any(|name| name.trim() == issuer)) {
            Some(index) => Route::Ask(index),
            None => Route::LeaveAlone(format!("its issuer `{issuer}` is none of the connector's CAs")),
        },
        None if issuerless == IssuerlessRequests::LeaveAlone => Route::LeaveAlone("it names no issuer".to_owned()),
        // The only CA need not be able to look up: that it revokes the certificate shows that it issued it.
        None if names.len() == 1 => Route::Ask(0),
        None => Route::Search,
    }
}

/// Reads a serial number.
pub(super) fn serial(text: &str, spelling: SerialSpelling) -> Result<SerialNumber, InvalidId> {
    let text = text.trim();
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    match spelling {
        SerialSpelling::Decimal if !is_hex => from_decimal(text),
        _ => SerialNumber::from_hex(text),
    }
}

/// The big-endian bytes of a decimal number: 20 octets need at most 49 digits, leading zeros aside.
fn from_decimal(text: &str) -> Result<SerialNumber, InvalidId> {
    let invalid = |reason| Err(InvalidId { kind: "serial number", reason });
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("it holds something else than decimal digits");
    }
    let digits = text.trim_start_matches('0');
    if digits.len() > 49 {
        return invalid("it is longer than 20 octets");
    }
    let mut bytes = [0u8; 24];
    for digit in digits.bytes().map(|byte| u16::from(byte - b'0')) {
        let mut carry = digit;
        for byte in bytes.iter_mut().rev() {
            let value = u16::from(*byte) * 10 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
    }
    SerialNumber::from_be_bytes(&bytes)
}

/// What a search among all own CAs came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Exactly one CA issued it, and every other one certainly did not.
    ActOn(usize, KnownCertificate),
    /// Certainly none did, and the request is ours.
    NotFound,
    /// Several did: nobody knows which is meant.
    Ambiguous(Vec<usize>),
    /// It may be another's.
    LeaveAlone(&'static str),
}

/// Judges the answers of all own CAs, in their order.
pub(super) fn judge(answers: Vec<LookupAnswer>, issuerless: IssuerlessRequests) -> Search {
    let mut found = Vec::new();
    let mut uncertain = false;
    for (index, answer) in answers.into_iter().enumerate() {
        match answer {
            LookupAnswer::Found(known) => found.push((index, *known)),
            LookupAnswer::Absent => {}
            LookupAnswer::CannotTell => uncertain = true,
        }
    }
    let first = found.pop();
    match (first, found.is_empty(), uncertain) {
        (Some((last, _)), false, _) => Search::Ambiguous(found.into_iter().map(|(index, _)| index).chain([last]).collect()),
        (Some((index, known)), true, false) => Search::ActOn(index, known),
        (Some(_), true, true) => Search::LeaveAlone("one CA issued its serial number, but another cannot tell whether it did as well"),
        (None, _, true) => Search::LeaveAlone("it names no issuer, and not every CA can tell whether it issued the serial number"),
        (None, _, false) if issuerless == IssuerlessRequests::AreOurs => Search::NotFound,
        (None, _, false) => Search::LeaveAlone("it names no issuer, and none of the connector's CAs issued its serial number"),
    }
}

/// What a CA's answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Revoked, now or before: event 3050.
    Revoked(RevokeResult),
    /// Final.
    Failed(RevokeResult),
    /// It may be another's.
    LeaveAlone(&'static str),
}

/// Decides what an answer of the CA means. `is_named`: the request named that CA as issuer, or a search found it.
pub(super) fn answer(answer: RevokeAnswer, is_named: bool, report: AlreadyRevoked, issuerless: IssuerlessRequests) -> Answer {
    match answer {
        RevokeAnswer::Revoked => Answer::Revoked(RevokeResult::succeeded(None)),
        RevokeAnswer::AlreadyRevoked => match report {
            AlreadyRevoked::ReportSuccess => {
                Answer::Revoked(RevokeResult::succeeded(Some("the certificate was already revoked".to_owned())))
            }
            AlreadyRevoked::ReportConflict => {
                Answer::Failed(RevokeResult::failed(RevocationError::ConflictError, "the certificate was already revoked"))
            }
        },
        RevokeAnswer::UnknownSerial if is_named || issuerless == IssuerlessRequests::AreOurs => Answer::Failed(not_found()),
        RevokeAnswer::UnknownSerial => Answer::LeaveAlone("it names no issuer, and the connector's CA did not issue its serial number"),
    }
}

/// No own CA issued it.
pub(super) fn not_found() -> RevokeResult {
    RevokeResult::failed(RevocationError::CertificateNotFoundError, "the CA did not issue a certificate of this serial number")
}

/// Several own CAs issued it.
pub(super) fn ambiguous(names: &[&str]) -> RevokeResult {
    let message = format!("{} CAs issued a certificate of this serial number ({}); name the issuer", names.len(), names.join(", "));
    RevokeResult::failed(RevocationError::ConflictError, message)
}

/// How a failure is reported. The codes from 4100 make Intune offer the request again later, the others end it.
pub(super) fn failed(failure: &Failure) -> RevokeResult {
    let error = match failure.class {
        ErrorClass::Transient => RevocationError::ServiceUnavailableException,
        ErrorClass::Throttled => RevocationError::ServiceTooBusyException,
        ErrorClass::Configuration => RevocationError::AuthenticationException,
        ErrorClass::Deadline => RevocationError::RetryableServiceException,
        ErrorClass::Unsupported => RevocationError::NotSupportedError,
        ErrorClass::Request | ErrorClass::Policy | ErrorClass::Internal => RevocationError::NonRetryableServiceException,
    };
    RevokeResult::failed(error, crate::event::printable(&failure.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> LookupAnswer {
        LookupAnswer::Found(Box::default())
    }

    #[test]
    fn an_issuer_that_is_not_ours_is_left_alone_and_a_blank_one_counts_as_absent() {
        let names = vec![vec!["CA one", "CN=CA one, O=Contoso"], vec!["CA two"]];
        assert_eq!(route(Some("CA two "), &names, IssuerlessRequests::AreOurs), Route::Ask(1));
        assert_eq!(route(Some("CN=CA one, O=Contoso"), &names, IssuerlessRequests::AreOurs), Route::Ask(0));
        assert!(matches!(route(Some("CA three"), &names, IssuerlessRequests::AreOurs), Route::LeaveAlone(_)));
        assert_eq!(route(Some(" "), &names, IssuerlessRequests::AreOurs), Route::Search);
        assert_eq!(route(None, &names[..1], IssuerlessRequests::MayBeOthers), Route::Ask(0));
        assert!(matches!(route(None, &names, IssuerlessRequests::LeaveAlone), Route::LeaveAlone(_)));
    }

    #[test]
    fn every_combination_of_answers_acts_on_exactly_one_certain_hit_only() {
        use LookupAnswer::{Absent, CannotTell};
        let all = [found(), Absent, CannotTell];
        for issuerless in [IssuerlessRequests::AreOurs, IssuerlessRequests::MayBeOthers] {
            for a in &all {
                for b in &all {
                    for c in &all {
                        let answers = vec![a.clone(), b.clone(), c.clone()];
                        let hits: Vec<usize> = (0..3).filter(|index| matches!(answers[*index], LookupAnswer::Found(_))).collect();
                        let certain = !answers.contains(&CannotTell);
                        let ours = issuerless == IssuerlessRequests::AreOurs;
                        match judge(answers, issuerless) {
                            Search::ActOn(index, _) => assert!(certain && hits == [index]),
                            Search::Ambiguous(indexes) => assert!(indexes == hits && hits.len() > 1),
                            Search::NotFound => assert!(certain && ours && hits.is_empty()),
                            Search::LeaveAlone(_) => assert!(hits.len() < 2 && (!certain || (!ours && hits.is_empty()))),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn decimal_serial_numbers_equal_their_hexadecimal_spelling() {
        let read = |text| serial(text, SerialSpelling::Decimal);
        assert_eq!(read("255").unwrap().to_string(), "FF");
        assert_eq!(read("000000000000000000000000000000000000000000000000000000256").unwrap().to_string(), "0100");
        assert_eq!(read("0x10").unwrap().to_string(), "10");
        // 2^160 - 1 and 2^160
        assert_eq!(read("1461501637330902918203684832716283019655932542975").unwrap().as_be_bytes(), [0xff; 20]);
        assert!(read("1461501637330902918203684832716283019655932542976").is_err());
        for wrong in ["", "0", "-1", "12a", "1 2", &"9".repeat(60), &"9".repeat(100_000)] {
            assert!(read(wrong).is_err(), "{}", wrong.len());
        }
        assert_eq!(serial("10", SerialSpelling::Hexadecimal).unwrap().to_string(), "10");
    }

    #[test]
    fn an_unknown_serial_is_final_only_where_the_request_is_ours() {
        let judge = |is_named, issuerless| answer(RevokeAnswer::UnknownSerial, is_named, AlreadyRevoked::ReportSuccess, issuerless);
        assert_eq!(judge(true, IssuerlessRequests::MayBeOthers), Answer::Failed(not_found()));
        assert_eq!(judge(false, IssuerlessRequests::AreOurs), Answer::Failed(not_found()));
        assert!(matches!(judge(false, IssuerlessRequests::MayBeOthers), Answer::LeaveAlone(_)));
    }

    #[test]
    fn only_failures_that_may_pass_ask_intune_to_offer_the_request_again() {
        let retryable = |class| failed(&Failure::new(class, "x")).error.is_some_and(RevocationError::is_retryable);
        for class in [ErrorClass::Transient, ErrorClass::Throttled, ErrorClass::Configuration, ErrorClass::Deadline] {
            assert!(retryable(class), "{class}");
        }
        for class in [ErrorClass::Request, ErrorClass::Policy, ErrorClass::Unsupported, ErrorClass::Internal] {
            assert!(!retryable(class), "{class}");
        }
    }
}
