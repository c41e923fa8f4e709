//! The requests, who has them, and what was said of them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::code::Code;
use crate::sim::ledger::{FindingKind, LedgerFinding};
use crate::time::Timestamp;

/// Most requests that are kept.
pub(super) const MOST: usize = 200_000;
/// Most results that are kept of one request.
const MOST_RESULTS: usize = 1_000;

/// A certificate to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct RevocationRequest {
    /// As the success notification gave it.
    pub serial_number: String,
    /// The issuer, as the success notification gave it.
    #[serde(default)]
    pub issuer_name: Option<String>,
    /// The label of the CA's configuration; what the filter `issuerName` is compared with.
    #[serde(default)]
    pub ca_configuration: Option<String>,
    /// The `requestContext`; random when absent.
    #[serde(default)]
    pub request_context: Option<String>,
}

impl RevocationRequest {
    /// To revoke the certificate of that serial number.
    #[must_use]
    pub fn new(serial_number: impl Into<String>) -> Self {
        Self { serial_number: serial_number.into(), issuer_name: None, ca_configuration: None, request_context: None }
    }

    /// Names the issuer.
    #[must_use]
    pub fn with_issuer_name(mut self, name: impl Into<String>) -> Self {
        self.issuer_name = Some(name.into());
        self
    }

    /// Labels the CA's configuration.
    #[must_use]
    pub fn with_ca_configuration(mut self, label: impl Into<String>) -> Self {
        self.ca_configuration = Some(label.into());
        self
    }

    /// Sets the `requestContext`.
    #[must_use]
    pub fn with_request_context(mut self, context: impl Into<String>) -> Self {
        self.request_context = Some(context.into());
        self
    }
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RevocationState {
    /// It waits to be given out.
    Waiting,
    /// It was given out, and nothing was heard since.
    GivenOut,
    /// The certificate is revoked.
    Succeeded,
    /// It failed for good.
    Failed,
}

/// One result that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationResultEntry {
    /// Whether it says that the certificate is revoked.
    pub succeeded: bool,
    /// The code's name; `None` for none.
    pub error_code: String,
    /// The text.
    pub error_message: Option<String>,
}

/// A request and all that happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationEntry {
    /// The request; its context is set.
    pub request: RevocationRequest,
    /// Where it is.
    pub state: RevocationState,
    /// How often it was given out.
    pub given_out: u64,
    /// The results, each repeated one once.
    pub results: Vec<RevocationResultEntry>,
}

#[derive(Debug, Default)]
pub(in crate::sim) struct RevocationBook {
    entries: BTreeMap<String, RevocationEntry>,
    /// Contexts in the order of their coming.
    order: Vec<String>,
    cool_down_ends: Option<Timestamp>,
    findings: BTreeSet<LedgerFinding>,
}

impl RevocationBook {
    /// Adds a request whose context is set.
    pub(in crate::sim) fn enqueue(&mut self, request: RevocationRequest, context: String) -> Result<(), String> {
        if request.serial_number.trim().is_empty() {
            return Err("the serial number is blank".to_owned());
        }
        if self.entries.len() >= MOST {
            return Err(format!("at most {MOST} revocation requests are kept; start a new simulator"));
        }
        if self.entries.contains_key(&context) {
            return Err(format!("there is a request with the context `{context}`"));
        }
        let request = RevocationRequest { request_context: Some(context.clone()), ..request };
        let entry = RevocationEntry { request, state: RevocationState::Waiting, given_out: 0, results: Vec::new() };
        self.entries.insert(context.clone(), entry);
        self.order.push(context);
        Ok(())
    }

    /// Gives out requests, and then none for the time of the cool-down. The list is cut first and filtered then, as users report (facts B.3).
    pub(super) fn give_out(
        &mut self,
        most: usize,
        issuer: Option<&str>,
        now: Timestamp,
        cool_down: Duration,
        reoffer: bool,
    ) -> Vec<RevocationRequest> {
        if self.cool_down_ends.is_some_and(|end| now < end) {
            return Vec::new();
        }
        self.cool_down_ends = Some(now.saturating_add(cool_down));
        let is_offered = |state| state == RevocationState::Waiting || reoffer && state == RevocationState::GivenOut;
        let mut given = Vec::new();
        let mut cut = 0;
        for context in &self.order {
            let Some(entry) = self.entries.get_mut(context).filter(|entry| is_offered(entry.state)) else { continue };
            if cut == most {
                break;
            }
            cut += 1;
            if issuer.is_none_or(|issuer| entry.request.ca_configuration.as_deref() == Some(issuer)) {
                entry.state = RevocationState::GivenOut;
                entry.given_out += 1;
                given.push(entry.request.clone());
            }
        }
        given
    }

    /// Whether so much was found to be wrong that no more results are taken.
    pub(super) fn is_full_of_findings(&self) -> bool {
        self.findings.len() >= MOST
    }

    /// Takes a result. One that came before changes nothing, and a final one stands.
    pub(super) fn take(&mut self, context: &str, result: RevocationResultEntry, code: Code) {
        let known = self.entries.get_mut(context).filter(|entry| entry.given_out > 0);
        let Some(entry) = known else {
            self.findings.insert(LedgerFinding::new(FindingKind::UnknownRevocation, context));
            return;
        };
        let is_final = matches!(entry.state, RevocationState::Succeeded | RevocationState::Failed);
        if is_final {
            let same = entry.results.last().is_some_and(|last| last.succeeded == result.succeeded && last.error_code == result.error_code);
            // A late repeat of a result that was to be tried again says nothing new.
            if !same && !code.is_retryable {
                self.findings.insert(LedgerFinding::new(FindingKind::RevocationAnsweredTwice, context));
            }
            return;
        }
        entry.state = match (result.succeeded, code.is_retryable) {
            (true, _) => RevocationState::Succeeded,
            (false, true) => RevocationState::Waiting,
            (false, false) => RevocationState::Failed,
        };
        if entry.results.len() < MOST_RESULTS && entry.results.last() != Some(&result) {
            entry.results.push(result);
        }
    }

    pub(in crate::sim) fn entries(&self) -> Vec<RevocationEntry> {
        self.order.iter().filter_map(|context| self.entries.get(context)).cloned().collect()
    }

    pub(in crate::sim) fn findings(&self) -> impl Iterator<Item = LedgerFinding> + '_ {
        self.findings.iter().cloned()
    }

    /// Contexts of requests without a final result.
    pub(in crate::sim) fn open(&self) -> Vec<String> {
        let is_open = |entry: &&RevocationEntry| matches!(entry.state, RevocationState::Waiting | RevocationState::GivenOut);
        let context = |entry: &RevocationEntry| entry.request.request_context.clone();
        self.order.iter().filter_map(|context| self.entries.get(context)).filter(is_open).filter_map(context).collect()
    }

    /// Ends the cool-down now.
    pub(in crate::sim) fn end_cool_down(&mut self) {
        self.cool_down_ends = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn book(labels: &[&str]) -> RevocationBook {
        let mut book = RevocationBook::default();
        for (number, label) in labels.iter().enumerate() {
            let request = RevocationRequest::new(format!("{number:02X}")).with_ca_configuration(*label);
            book.enqueue(request, format!("c{number}")).unwrap();
        }
        book
    }

    fn given(book: &mut RevocationBook, most: usize, issuer: Option<&str>, hour: i64) -> Vec<String> {
        let requests = book.give_out(most, issuer, Timestamp::from_secs(hour * 3_600), HOUR, true);
        requests.into_iter().filter_map(|request| request.request_context).collect()
    }

    fn result(succeeded: bool, code: &str) -> (RevocationResultEntry, Code) {
        let code = Code::parse(code).unwrap();
        (RevocationResultEntry { succeeded, error_code: code.name.to_owned(), error_message: None }, code)
    }

    #[test]
    fn the_list_is_cut_before_it_is_filtered() {
        let mut book = book(&["A", "A", "B"]);
        assert_eq!(given(&mut book, 2, Some("B"), 0), [""; 0], "B's request waits behind the cut");
        assert_eq!(given(&mut book, 3, Some("B"), 1), ["c2"]);
    }

    #[test]
    fn nothing_is_given_out_for_an_hour_and_what_was_not_answered_comes_again() {
        let mut book = book(&["A", "A"]);
        assert_eq!(given(&mut book, 1, None, 0), ["c0"]);
        assert!(book.give_out(9, None, Timestamp::from_secs(3_599), HOUR, true).is_empty());
        assert_eq!(given(&mut book, 9, None, 1), ["c0", "c1"]);
    }

    #[test]
    fn results_of_unknown_requests_are_not_kept_without_end() {
        let mut book = book(&[]);
        for number in 0..MOST {
            assert!(!book.is_full_of_findings());
            let (entry, code) = result(true, "0");
            book.take(&number.to_string(), entry, code);
        }
        assert!(book.is_full_of_findings());
    }

    #[test]
    fn a_final_result_stands_and_a_retryable_one_offers_again() {
        let mut book = book(&["A", "A"]);
        given(&mut book, 9, None, 0);
        let (retry, code) = result(false, "4102");
        book.take("c0", retry, code);
        let (done, code) = result(true, "None");
        book.take("c1", done.clone(), code);
        book.take("c1", done, code);
        assert_eq!(book.findings().count(), 0);
        assert_eq!(given(&mut book, 9, None, 1), ["c0"]);
        let (failed, code) = result(false, "ConflictError");
        book.take("c1", failed, code);
        book.take("c9", result(true, "0").0, code);
        let kinds: Vec<_> = book.findings().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::RevocationAnsweredTwice, FindingKind::UnknownRevocation]);
        assert_eq!(book.entries()[1].state, RevocationState::Succeeded);
        assert_eq!(book.open(), ["c0"]);
    }
}
