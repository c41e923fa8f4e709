//! Why a client cannot be built.

use core::fmt;

use crate::flow::Finding;

/// The client cannot be built: every mistake in its settings at once, each with setting and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientBuildError {
    client: &'static str,
    findings: Vec<Finding>,
}

impl ClientBuildError {
    pub(crate) fn new(client: &'static str, findings: Vec<Finding>) -> Self {
        Self { client, findings }
    }

    /// The findings; at least one.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for ClientBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} cannot be built:", self.client)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}

impl std::error::Error for ClientBuildError {}
