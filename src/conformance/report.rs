//! What the checks found.

use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::ports::PortError;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckResult {
    /// The adapter does what its port demands.
    Passed,
    /// It does not; the text says what was seen.
    Failed(String),
    /// Not checked, since the adapter does not claim it or an earlier check took its ground away.
    Skipped(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The sentence that it proves.
    pub name: String,
    /// What it found.
    pub result: CheckResult,
}

/// What all checks of one adapter found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The port.
    pub port: String,
    /// The checks, in the order in which they ran.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether nothing failed and something passed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none() && self.checks.iter().any(|check| check.result == CheckResult::Passed)
    }

    /// What failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| matches!(check.result, CheckResult::Failed(_)))
    }

    /// What a check found; absent when there is none of that name.
    #[must_use]
    pub fn result_of(&self, name: &str) -> Option<&CheckResult> {
        self.checks.iter().find(|check| check.name == name).map(|check| &check.result)
    }

    pub(super) fn new(port: &str) -> Self {
        Self { port: port.to_owned(), checks: Vec::new() }
    }

    /// Runs one check; a panic of the adapter is a failure.
    pub(super) async fn run(&mut self, name: &str, check: impl Future<Output = Result<(), Stop>>) {
        let result = match AssertUnwindSafe(check).catch_unwind().await {
            Ok(Ok(())) => CheckResult::Passed,
            Ok(Err(Stop::Failed(text))) => CheckResult::Failed(text),
            Ok(Err(Stop::Skipped(text))) => CheckResult::Skipped(text),
            Err(_) => CheckResult::Failed("it panicked".to_owned()),
        };
        self.checks.push(Check { name: name.to_owned(), result });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.port)?;
        for check in &self.checks {
            match &check.result {
                CheckResult::Passed => writeln!(f, "  passed   {}", check.name)?,
                CheckResult::Failed(text) => writeln!(f, "  FAILED   {}: {}", check.name, crate::event::printable(text))?,
                CheckResult::Skipped(text) => writeln!(f, "  skipped  {}: {}", check.name, crate::event::printable(text))?,
            }
        }
        Ok(())
    }
}

/// Why a check ended before it passed.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(String),
    Skipped(String),
}

impl From<PortError> for Stop {
    fn from(error: PortError) -> Self {
        Self::Failed(format!("it answered with an error: {error}"))
    }
}

/// Fails the check unless `holds`.
pub(super) fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Failed(otherwise())) }
}

/// Skips the check unless `claimed`.
pub(super) fn only_if(claimed: bool, otherwise: &str) -> Result<(), Stop> {
    if claimed { Ok(()) } else { Err(Stop::Skipped(otherwise.to_owned())) }
}

/// Fails the check for a fault of the suite's own means.
pub(super) fn broken(error: impl fmt::Display) -> Stop {
    Stop::Failed(format!("the suite could not prepare the check: {error}"))
}
