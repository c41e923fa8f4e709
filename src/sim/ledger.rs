//! What the SCEP service was asked and told, transaction by transaction: to judge what was lost or doubled.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::time::Timestamp;

/// Most transactions that are kept.
pub(super) const MOST_TRANSACTIONS: usize = 200_000;
/// Most entries of one kind in one transaction; more are counted as the last one.
const MOST_ENTRIES: usize = 1_000;

/// A validation and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ValidationEntry {
    /// When, as ISO 8601.
    #[serde(serialize_with = "shown")]
    pub at: Timestamp,
    /// `Success`, or the code that refused it.
    pub code: String,
}

/// A certificate that a success notification named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NotifiedCertificate {
    /// When it was first notified.
    #[serde(serialize_with = "shown")]
    pub at: Timestamp,
    /// As it was sent.
    pub thumbprint: String,
    /// As it was sent.
    pub serial_number: String,
    /// As it was sent.
    pub expiration: String,
    /// `issuingCertificateAuthority`
    pub issuing_authority: String,
    /// `caConfiguration`
    pub ca_configuration: Option<String>,
    /// `certificateAuthority`
    pub certificate_authority: Option<String>,
    /// How often it was notified.
    pub times: u64,
}

/// A failure notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailureEntry {
    /// When.
    #[serde(serialize_with = "shown")]
    pub at: Timestamp,
    /// `hResult`
    pub hresult: i64,
    /// `errorDescription`
    pub description: String,
}

/// All that came under one `transactionId`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TransactionEntry {
    /// The id, as it was sent.
    pub transaction_id: String,
    /// The requests whose challenges were in its CSRs, by the ids that [`issue_challenge`](super::SimulatedIntune::issue_challenge) gave.
    pub request_ids: BTreeSet<String>,
    /// SHA-256 over the CSRs that were accepted, in hexadecimal.
    pub csr_digests: BTreeSet<String>,
    /// Each validation.
    pub validations: Vec<ValidationEntry>,
    /// Each certificate that was notified; one, as a rule.
    pub certificates: Vec<NotifiedCertificate>,
    /// Each failure notification.
    pub failures: Vec<FailureEntry>,
}

impl TransactionEntry {
    /// Whether a validation was answered with `Success`.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.validations.iter().any(|validation| validation.code == "Success")
    }
}

/// What a ledger can show to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FindingKind {
    /// A certificate was notified in a transaction without a good validation.
    NotifiedWithoutValidation,
    /// Two different certificates were notified in one transaction.
    NotifiedTwice,
    /// A certificate was notified that another transaction had notified.
    CertificateOfAnotherTransaction,
    /// Two different certificates were notified for one challenge.
    TwoCertificatesForOneChallenge,
    /// The notification's CSR is none that was validated.
    OtherCsr,
    /// A certificate was notified after a failure was.
    SuccessAfterFailure,
    /// A failure was notified after a certificate was.
    FailureAfterSuccess,
    /// `certificateExpirationDateUtc` is no ISO 8601 date and time with an offset, such as `Z`.
    MalformedDate,
    /// A revocation request was answered finally, and again with another result.
    RevocationAnsweredTwice,
    /// A result came for a revocation request that was never made or never given out.
    UnknownRevocation,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LedgerFinding {
    /// What.
    pub kind: FindingKind,
    /// The transactionId or requestContext.
    pub subject: String,
}

impl LedgerFinding {
    pub(super) fn new(kind: FindingKind, subject: &str) -> Self {
        Self { kind, subject: subject.to_owned() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: BTreeMap<String, TransactionEntry>,
    findings: BTreeSet<LedgerFinding>,
    /// Which transaction notified a certificate first, by its thumbprint.
    by_thumbprint: BTreeMap<String, String>,
    /// The certificate notified for a challenge.
    by_request: BTreeMap<String, String>,
}

impl Ledger {
    pub(super) fn is_full_for(&self, transaction: &str) -> bool {
        let is_full = match self.transactions.get(transaction) {
            None => self.transactions.len() >= MOST_TRANSACTIONS,
            Some(entry) => entry.csr_digests.len() >= MOST_ENTRIES || entry.request_ids.len() >= MOST_ENTRIES,
        };
        is_full || self.by_thumbprint.len() >= MOST_TRANSACTIONS
    }

    fn entry(&mut self, transaction: &str) -> &mut TransactionEntry {
        let new = || TransactionEntry { transaction_id: transaction.to_owned(), ..TransactionEntry::default() };
        self.transactions.entry(transaction.to_owned()).or_insert_with(new)
    }

    pub(super) fn validated(&mut self, transaction: &str, challenge: Option<(&str, &str)>, code: &str, at: Timestamp) {
        let entry = self.entry(transaction);
        if let Some((request, digest)) = challenge {
            entry.request_ids.insert(request.to_owned());
            if code == "Success" {
                entry.csr_digests.insert(digest.to_owned());
            }
        }
        bounded_push(&mut entry.validations, ValidationEntry { at, code: code.to_owned() });
    }

    pub(super) fn succeeded(&mut self, transaction: &str, request: &str, csr_digest: &str, certificate: NotifiedCertificate) {
        let key = normal(&certificate.thumbprint);
        let mut wrong = Vec::new();
        if !is_date(&certificate.expiration) {
            wrong.push(FindingKind::MalformedDate);
        }
        if self.by_thumbprint.entry(key.clone()).or_insert_with(|| transaction.to_owned()) != transaction {
            wrong.push(FindingKind::CertificateOfAnotherTransaction);
        }
        if *self.by_request.entry(request.to_owned()).or_insert_with(|| key.clone()) != key {
            wrong.push(FindingKind::TwoCertificatesForOneChallenge);
        }
        let entry = self.entry(transaction);
        if !entry.is_validated() {
            wrong.push(FindingKind::NotifiedWithoutValidation);
        } else if !entry.csr_digests.contains(csr_digest) {
            wrong.push(FindingKind::OtherCsr);
        }
        if !entry.failures.is_empty() {
            wrong.push(FindingKind::SuccessAfterFailure);
        }
        match entry.certificates.iter_mut().find(|known| normal(&known.thumbprint) == key) {
            Some(known) => known.times += 1,
            None => {
                if !entry.certificates.is_empty() {
                    wrong.push(FindingKind::NotifiedTwice);
                }
                bounded_push(&mut entry.certificates, certificate);
            }
        }
        self.find(transaction, wrong);
    }

    pub(super) fn failed(&mut self, transaction: &str, failure: FailureEntry) {
        let entry = self.entry(transaction);
        let wrong = if entry.certificates.is_empty() { Vec::new() } else { vec![FindingKind::FailureAfterSuccess] };
        bounded_push(&mut entry.failures, failure);
        self.find(transaction, wrong);
    }

    fn find(&mut self, subject: &str, kinds: Vec<FindingKind>) {
        self.findings.extend(kinds.into_iter().map(|kind| LedgerFinding::new(kind, subject)));
    }

    pub(super) fn transactions(&self) -> Vec<TransactionEntry> {
        self.transactions.values().cloned().collect()
    }

    pub(super) fn transaction(&self, id: &str) -> Option<&TransactionEntry> {
        self.transactions.get(id)
    }

    pub(super) fn findings(&self) -> Vec<LedgerFinding> {
        self.findings.iter().cloned().collect()
    }

    /// Transactions that were validated and of whose end nothing was heard.
    pub(super) fn lost(&self) -> Vec<String> {
        let open = |entry: &&TransactionEntry| entry.is_validated() && entry.certificates.is_empty() && entry.failures.is_empty();
        self.transactions.values().filter(open).map(|entry| entry.transaction_id.clone()).collect()
    }

    /// Transactions for which there is more than one certificate, or one challenge for which there is.
    pub(super) fn doubled(&self) -> Vec<String> {
        let is_double = |kind| matches!(kind, FindingKind::NotifiedTwice | FindingKind::TwoCertificatesForOneChallenge);
        let double = self.findings.iter().filter(|finding| is_double(finding.kind)).map(|finding| finding.subject.clone());
        double.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn bounded_push<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= MOST_ENTRIES {
        list.pop();
    }
    list.push(item);
}

/// A thumbprint without case and separators, which are not specified.
fn normal(thumbprint: &str) -> String {
    thumbprint.chars().filter(char::is_ascii_alphanumeric).map(|digit| digit.to_ascii_uppercase()).collect()
}

fn is_date(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

fn shown<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(thumbprint: &str) -> NotifiedCertificate {
        NotifiedCertificate {
            at: Timestamp::default(),
            thumbprint: thumbprint.to_owned(),
            serial_number: "01".to_owned(),
            expiration: "2027-06-11T16:11:20.0904778Z".to_owned(),
            issuing_authority: "CA".to_owned(),
            ca_configuration: None,
            certificate_authority: None,
            times: 1,
        }
    }

    fn kinds(ledger: &Ledger) -> Vec<FindingKind> {
        ledger.findings().iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn one_certificate_notified_again_is_no_double() {
        let mut ledger = Ledger::default();
        ledger.validated("t", Some(("r", "d")), "Success", Timestamp::default());
        assert_eq!(ledger.lost(), ["t"]);
        ledger.succeeded("t", "r", "d", certificate("AB:CD"));
        ledger.succeeded("t", "r", "d", certificate("abcd"));
        assert!(ledger.findings().is_empty() && ledger.lost().is_empty() && ledger.doubled().is_empty());
        assert_eq!(ledger.transactions()[0].certificates[0].times, 2);
    }

    #[test]
    fn neither_many_csrs_in_one_transaction_nor_many_certificates_are_kept_without_end() {
        let mut ledger = Ledger::default();
        for number in 0..MOST_ENTRIES {
            assert!(!ledger.is_full_for("t"), "{number}");
            ledger.validated("t", Some(("r", &number.to_string())), "Success", Timestamp::default());
        }
        assert!(ledger.is_full_for("t") && !ledger.is_full_for("u"));
        for number in 0..MOST_TRANSACTIONS {
            ledger.succeeded(&format!("u{}", number / 10), "r", "0", certificate(&format!("{number:x}")));
        }
        assert!(ledger.is_full_for("u0") && ledger.is_full_for("v"));
    }

    #[test]
    fn each_wrong_is_found() {
        let mut ledger = Ledger::default();
        ledger.succeeded("unvalidated", "r0", "d", certificate("00"));
        assert_eq!(kinds(&ledger), [FindingKind::NotifiedWithoutValidation]);
        ledger.validated("t", Some(("r1", "d")), "Success", Timestamp::default());
        ledger.succeeded("t", "r1", "d", certificate("01"));
        ledger.succeeded("t", "r1", "other", certificate("02"));
        ledger.validated("u", Some(("r2", "d")), "Success", Timestamp::default());
        ledger.succeeded("u", "r2", "d", certificate("01"));
        let failure = FailureEntry { at: Timestamp::default(), hresult: -1, description: "no".to_owned() };
        ledger.failed("u", failure.clone());
        ledger.validated("v", Some(("r3", "d")), "Success", Timestamp::default());
        ledger.failed("v", failure);
        ledger.succeeded("v", "r3", "d", NotifiedCertificate { expiration: "Monday".to_owned(), ..certificate("03") });
        assert_eq!(
            kinds(&ledger),
            [
                FindingKind::NotifiedWithoutValidation,
                FindingKind::NotifiedTwice,
                FindingKind::CertificateOfAnotherTransaction,
                FindingKind::TwoCertificatesForOneChallenge,
                FindingKind::OtherCsr,
                FindingKind::SuccessAfterFailure,
                FindingKind::FailureAfterSuccess,
                FindingKind::MalformedDate,
            ]
        );
        assert_eq!(ledger.doubled(), ["t"]);
    }
}
