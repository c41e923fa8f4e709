//! Many PFX files in one go: a folder and a list in, a result for each row out.

mod csv;
mod folder;
mod list;
mod plan;
mod results;

use core::pin::pin;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};

use super::check::{CheckedPfx, PfxCandidate, PfxChecks};
use super::client::GraphPfx;
use super::error::{GraphError, GraphErrorKind};
use crate::crypto::CryptoProvider;
use crate::secret::SecretBytes;

pub use csv::CsvProblem;
pub use folder::PfxFolder;
pub use list::{ImportList, ImportRow, ListError, PasswordSource};
use plan::Claims;
pub use plan::{Decision, OnExisting, PlannedRow, decide, plan};
pub use results::{ResultFile, RowOutcome, RowResult};

/// Imports the rows of a list.
///
/// Rows fail alone: what is wrong with one stops no other. A missing permission, wrong settings or a wrong credential stop the run, and the
/// rest is `not-tried`. Whatever happens, each row ends in exactly one result.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BulkImport {
    graph: GraphPfx,
    checks: Arc<PfxChecks>,
    folder: PfxFolder,
    provider: CryptoProvider,
    /// About records that are there already. Default: they are kept.
    pub on_existing: OnExisting,
    /// How many rows are in hand at a time. Default 4; Graph throttles soon.
    pub concurrency: usize,
    /// Check, and send nothing. Default no.
    pub dry_run: bool,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ImportProgress<'a> {
    /// Rows that have their result.
    pub done: usize,
    /// All rows.
    pub total: usize,
    /// The result that came last.
    pub last: &'a RowResult,
}

/// How many rows ended how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportSummary {
    counts: BTreeMap<RowOutcome, usize>,
}

impl ImportSummary {
    /// The number of rows that ended so.
    #[must_use]
    pub fn count(&self, outcome: RowOutcome) -> usize {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// All rows.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }

    /// Whether nobody must act.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.keys().all(|outcome| !outcome.is_failure())
    }
}

/// A result could not be written, so the run ended early. What was in hand was finished, and is counted; its lines may be missing from the
/// file, and a later run finds their records in Graph.
#[derive(Debug, thiserror::Error)]
#[error("the result file cannot be written: {error}; {} rows had their result", summary.total())]
#[non_exhaustive]
pub struct ResultsError {
    /// Why.
    #[source]
    pub error: io::Error,
    /// What was done until then.
    pub summary: ImportSummary,
}

impl BulkImport {
    /// From that folder, with those checks. The provider does the checks' cryptography.
    #[must_use]
    pub fn new(graph: GraphPfx, checks: PfxChecks, folder: PfxFolder, provider: CryptoProvider) -> Self {
        Self { graph, checks: Arc::new(checks), folder, provider, on_existing: OnExisting::default(), concurrency: 4, dry_run: false }
    }

    /// Sets what is done about records that are there already.
    #[must_use]
    pub fn with_on_existing(mut self, on_existing: OnExisting) -> Self {
        self.on_existing = on_existing;
        self
    }

    /// Sets how many rows are in hand at a time; at least one is.
    #[must_use]
    pub fn with_concurrency(mut self, rows: usize) -> Self {
        self.concurrency = rows;
        self
    }

    /// Sets whether rows are checked alone, and nothing is sent.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Runs the list. `progress` is called once for each row, after its line is in the result file. A dry run writes no lines.
    ///
    /// When the future is dropped, rows in hand have no line; a later run tries them again, and finds what they created.
    ///
    /// # Errors
    /// [`ResultsError`] when the result file cannot be written; no further row is begun then.
    pub async fn run(
        &self,
        list: ImportList,
        mut results: Option<&mut ResultFile>,
        mut progress: impl FnMut(ImportProgress<'_>) + Send,
    ) -> Result<ImportSummary, ResultsError> {
        let planned = plan(list, results.as_deref());
        let total = planned.len();
        let state = State::default();
        let mut summary = ImportSummary::default();
        let mut done = 0;
        let mut broken = None;
        let rows = planned.into_iter().map(|planned| self.row(planned, &state));
        let mut rows = pin!(stream::iter(rows).buffer_unordered(self.concurrency.max(1)));
        while let Some(result) = rows.next().await {
            done += 1;
            *summary.counts.entry(result.outcome).or_default() += 1;
            if let Some(file) = results.as_deref_mut()
                && broken.is_none()
                && !matches!(result.outcome, RowOutcome::DoneBefore | RowOutcome::Checked)
                && !self.dry_run
                && let Err(error) = file.append(&result)
            {
                state.stop("the result file cannot be written");
                broken = Some(error);
            }
            progress(ImportProgress { done, total, last: &result });
        }
        match broken {
            None => Ok(summary),
            Some(error) => Err(ResultsError { error, summary }),
        }
    }

    async fn row(&self, planned: PlannedRow, state: &State) -> RowResult {
        let row = planned.row();
        let mut result = RowResult {
            line: row.line,
            file: row.file.clone(),
            upn: row.upn.clone(),
            thumbprint: None,
            outcome: RowOutcome::NotTried,
            request_id: None,
            message: String::new(),
        };
        let row = match planned {
            PlannedRow::DoneBefore(_) => return ended(result, RowOutcome::DoneBefore, "an earlier run did it"),
            PlannedRow::Repeats { line, .. } => {
                return ended(result, RowOutcome::Refused, format!("line {line} names the same file for the same user"));
            }
            PlannedRow::Check(row) => row,
        };
        if let Some(why) = state.stopped() {
            return ended(result, RowOutcome::NotTried, why);
        }
        let line = row.line;
        let (checked, pfx) = match self.check(row, &mut result).await {
            Ok(checked) => checked,
            Err(outcome) => return RowResult { outcome, ..result },
        };
        result.thumbprint = Some(checked.thumbprint);
        if let Some(first) = state.lock().claims.claim(checked.upn(), checked.thumbprint, line) {
            return ended(result, RowOutcome::Refused, format!("line {first} has the same certificate for the same user"));
        }
        result.message = checked.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if self.dry_run {
            return RowResult { outcome: RowOutcome::Checked, ..result };
        }
        if let Some(why) = state.stopped() {
            return ended(result, RowOutcome::NotTried, why);
        }
        match self.upload(checked, pfx, &mut result).await {
            Ok(outcome) => RowResult { outcome, ..result },
            Err(error) => {
                let refused = matches!(error.kind(), GraphErrorKind::Refused | GraphErrorKind::NotFound);
                if error.concerns_all() {
                    state.stop(&format!("not tried after line {line} failed: {error}"));
                }
                result.request_id = error.request_id().map(str::to_owned);
                let warnings = core::mem::replace(&mut result.message, error.to_string());
                if !warnings.is_empty() {
                    add(&mut result.message, &format!("note: {warnings}"));
                }
                RowResult { outcome: if refused { RowOutcome::Refused } else { RowOutcome::Failed }, ..result }
            }
        }
    }

    /// Loads and checks on a thread for CPU work.
    async fn check(&self, row: ImportRow, result: &mut RowResult) -> Result<(CheckedPfx, SecretBytes), RowOutcome> {
        let (checks, folder, provider) = (Arc::clone(&self.checks), self.folder.clone(), self.provider.clone());
        let now = self.graph.runtime().now();
        let (tell, told) = futures_channel::oneshot::channel();
        let job = move || {
            let checked = folder.load(&row, checks.limits.input_bytes).map_err(|problem| (None, problem)).and_then(|(pfx, password)| {
                let candidate = PfxCandidate::new(&pfx, &password, &row.upn, row.purpose)
                    .with_mail(row.mail.as_deref())
                    .with_thumbprint(row.thumbprint);
                let checked = checks.run(&candidate, &provider, now).map_err(|refused| (refused.thumbprint, refused.to_string()))?;
                Ok((checked, pfx))
            });
            let _ = tell.send(checked);
        };
        if self.graph.runtime().offload(Box::new(job)).is_err() {
            add(&mut result.message, "too much CPU work was waiting: run again");
            return Err(RowOutcome::Failed);
        }
        match told.await {
            Ok(Ok(checked)) => Ok(checked),
            Ok(Err((thumbprint, problem))) => {
                result.thumbprint = thumbprint;
                add(&mut result.message, &problem);
                Err(RowOutcome::Refused)
            }
            Err(_) => {
                add(&mut result.message, "the check of the PFX did not end: run again, and report it if it happens twice");
                Err(RowOutcome::Failed)
            }
        }
    }

    async fn upload(&self, checked: CheckedPfx, pfx: SecretBytes, result: &mut RowResult) -> Result<RowOutcome, GraphError> {
        let existing = self.graph.find(checked.upn(), checked.thumbprint).await?;
        match decide(&checked, existing.as_ref(), self.on_existing) {
            Decision::Keep(why) => {
                add(&mut result.message, &why);
                Ok(RowOutcome::Kept)
            }
            Decision::Update(id) => {
                result.request_id = self.graph.update(&id, &checked.seal(pfx)).await?;
                Ok(RowOutcome::Updated)
            }
            Decision::Create => {
                let created = self.graph.create(&checked.seal(pfx)).await?;
                result.request_id = created.request_id;
                if created.found {
                    add(&mut result.message, "an answer was lost; the record was found by asking for it");
                }
                Ok(RowOutcome::Created)
            }
        }
    }
}

fn ended(result: RowResult, outcome: RowOutcome, message: impl Into<String>) -> RowResult {
    RowResult { outcome, message: message.into(), ..result }
}

fn add(message: &mut String, text: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(text);
}

/// What the rows of a run share.
#[derive(Debug, Default)]
struct State(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    claims: Claims,
    stopped: Option<String>,
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, why: &str) {
        self.lock().stopped.get_or_insert_with(|| why.to_owned());
    }

    fn stopped(&self) -> Option<String> {
        self.lock().stopped.clone()
    }
}

#[cfg(all(test, feature = "ring", feature = "aws-lc-rs"))]
mod tests {
    use core::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::adapters::VirtualRuntime;
    use crate::adapters::entra::{AccessToken, TokenSource};
    use crate::adapters::graph::{GraphSettings, ImportKey, IntendedPurpose};
    use crate::adapters::http::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpTransport};
    use crate::ports::PortError;
    use crate::terms::KeyAlgorithm;
    use crate::time::Timestamp;

    /// No network at all.
    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl HttpTransport for Nowhere {
        async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            Err(HttpError::new(HttpErrorKind::Connect, "nowhere"))
        }
    }

    #[async_trait]
    impl TokenSource for Nowhere {
        async fn token(&self, _: &str, _: Duration) -> Result<Arc<AccessToken>, PortError> {
            Err(PortError::transient("nowhere"))
        }

        fn refused(&self, _: &str, _: &AccessToken) {}
    }

    #[test]
    fn a_result_that_cannot_be_written_ends_the_run_and_every_row_has_its_result_all_the_same() {
        let provider = CryptoProvider::ring_and_aws_lc_rs();
        let runtime = VirtualRuntime::new(Timestamp::from_secs(1_800_000_000));
        let settings = GraphSettings::global();
        let graph = GraphPfx::new(Arc::new(Nowhere), Arc::new(Nowhere), Arc::new(runtime.clone()), provider.clone(), settings).unwrap();
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::Rsa2048).unwrap();
        let spki = provider.signing_keys().unwrap().load(&key).unwrap().public_key().to_vec();
        let checks = PfxChecks::new(ImportKey::read(&spki, "provider", "key").unwrap());
        let import = BulkImport::new(graph, checks, PfxFolder::new("no-such-folder"), provider).with_concurrency(2);
        let rows: String = (0..20).map(|number| format!("{number}.pfx,u{number}@contoso.example,secret\n")).collect();
        let csv = SecretBytes::new(format!("file,upn,password\n{rows}").into_bytes());
        let list = ImportList::read(&csv, Some(IntendedPurpose::Wifi)).unwrap();
        let mut file = ResultFile::unwritable();
        let mut told = 0;
        let error = runtime.block_on(import.run(list, Some(&mut file), |_| told += 1)).unwrap().unwrap_err();
        assert_eq!((told, error.summary.total()), (20, 20));
        assert!(error.summary.count(RowOutcome::NotTried) >= 17, "{:?}", error.summary);
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
}
