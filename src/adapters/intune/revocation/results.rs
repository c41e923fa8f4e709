//! From the flow to Intune: results go up under the contexts that are stored.

use std::collections::HashMap;

use super::super::revocation_actions::{RevocationAction, RevocationCall};
use super::config::ErrorCodeForm;
use super::queue::IntuneRevocations;
use super::record::Record;
use super::step;
use super::stored::Content;
use super::wire::{self, UploadedResult};
use crate::ports::{CompleteAnswer, PortError, ResultItem, RevocationError, Row, RowKey, RowState};
use crate::terms::Flow;

/// A result that Intune shall take.
struct Sendable {
    at: usize,
    row: Row,
    record: Record,
    error: Option<RevocationError>,
}

impl IntuneRevocations {
    /// Uploads results and gives the answer to each.
    pub(super) async fn upload_all(&self, results: &[ResultItem]) -> Result<Vec<CompleteAnswer>, PortError> {
        if results.is_empty() {
            return Err(PortError::rejected("there are no results to upload, and Intune takes no empty list"));
        }
        let keys = results.iter().map(|result| self.store.row_key(&result.meta.id)).collect::<Result<_, _>>()?;
        let mut rows = self.store.rows(keys).await?.into_iter().map(|row| (row.key, row)).collect();
        let (mut answers, sendable) = self.sort(results, &mut rows)?;
        let (mut sendable, mut taken, mut given_up) = (sendable.into_iter().peekable(), false, None::<String>);
        while sendable.peek().is_some() {
            let chunk: Vec<Sendable> = sendable.by_ref().take(self.settings.max_requests).collect();
            let places: Vec<usize> = chunk.iter().map(|send| send.at).collect();
            let said = match &given_up {
                Some(problem) => Ok(Some(problem.clone())),
                None => self.upload(results, &chunk).await,
            };
            let answer = match said {
                Ok(None) => {
                    self.acknowledge(chunk).await;
                    taken = true;
                    CompleteAnswer::Accepted
                }
                // One of them may be what Intune does not like: the connector finds it by halves when the call as a whole fails.
                Ok(Some(problem)) if !taken && chunk.len() > 1 => return Err(PortError::transient(problem)),
                Ok(Some(problem)) => CompleteAnswer::TryAgain(problem),
                Err(error) if !taken => return Err(error),
                Err(error) => {
                    let problem = error.to_string();
                    given_up = Some(problem.clone());
                    CompleteAnswer::TryAgain(problem)
                }
            };
            for at in places {
                if let Some(place) = answers.get_mut(at) {
                    *place = Some(answer.clone());
                }
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| CompleteAnswer::TryAgain("it was not sent".to_owned()))).collect())
    }

    /// What is to be sent, and the answers to what is not.
    fn sort(
        &self,
        results: &[ResultItem],
        rows: &mut HashMap<RowKey, Row>,
    ) -> Result<(Vec<Option<CompleteAnswer>>, Vec<Sendable>), PortError> {
        let (mut answers, mut sendable) = (Vec::with_capacity(results.len()), Vec::new());
        for (at, result) in results.iter().enumerate() {
            let row = rows.remove(&self.store.row_key(&result.meta.id)?);
            let answer = match (row, result.meta.tenant == self.store.tenant && result.meta.flow == Flow::Revoke) {
                (_, false) => Some(CompleteAnswer::Refused("it is of another tenant or flow".to_owned())),
                (None, true) => Some(CompleteAnswer::Refused("Intune gave out no such request, or it was answered long ago".to_owned())),
                (Some(row), true) => match self.store.open(&row)? {
                    Content::Own(_, record) => match judge(at, row, record, result) {
                        Ok(send) => {
                            sendable.push(send);
                            None
                        }
                        Err(answer) => Some(answer),
                    },
                    // The right key may come back with the next start.
                    _ => Some(CompleteAnswer::TryAgain("the stored request does not open with the sealing key".to_owned())),
                },
            };
            answers.push(answer);
        }
        Ok((answers, sendable))
    }

    /// Sends results: `None` when Intune took them.
    async fn upload(&self, results: &[ResultItem], chunk: &[Sendable]) -> Result<Option<String>, PortError> {
        let mut wire_results = Vec::with_capacity(chunk.len());
        for send in chunk {
            let outcome = results.get(send.at).map(|result| step::verdict(&send.record, &result.outcome));
            let Some(Ok((error, message))) = outcome else { return Err(PortError::rejected("a result is none of a revocation")) };
            let result = UploadedResult::new(&send.record.context, error.is_none(), error, message, self.settings.form);
            wire_results.push(result.map_err(PortError::rejected)?);
        }
        let body = wire::upload(&wire_results)?;
        let call = RevocationCall::new(RevocationAction::UploadRevocationResults, &body);
        wire::read_upload(&self.actions.post(call).await?)
    }

    /// Ends the rows of what Intune took.
    async fn acknowledge(&self, chunk: Vec<Sendable>) {
        let now = self.now();
        let keys: Vec<RowKey> = chunk.iter().map(|send| send.row.key).collect();
        let mut rows = Vec::with_capacity(chunk.len());
        for Sendable { mut row, mut record, error, .. } in chunk {
            record.accepted = Some(step::number(error));
            (row.state, row.owner, row.updated) = (RowState::Acknowledged, None, now);
            if self.store.seal(&mut row, &record).is_ok() {
                rows.push(row);
            }
        }
        // Intune has the results. What is not stored is given out again after a restart, and answered with the same result.
        let _ = self.store.commit(rows).await;
        let mut handed = self.handed();
        keys.iter().for_each(|key| {
            handed.remove(key);
        });
    }
}

/// Whether a result can be sent, or what is answered without.
fn judge(at: usize, row: Row, record: Record, result: &ResultItem) -> Result<Sendable, CompleteAnswer> {
    let refused = |reason: &str| CompleteAnswer::Refused(format!("Intune would not take the result: {reason}"));
    let (error, message) = step::verdict(&record, &result.outcome).map_err(refused)?;
    UploadedResult::new(&record.context, error.is_none(), error, message, ErrorCodeForm::default()).map_err(refused)?;
    match record.accepted {
        Some(accepted) if accepted == step::number(error) => Err(CompleteAnswer::Accepted),
        Some(_) => Err(CompleteAnswer::Refused("Intune has accepted another result of it".to_owned())),
        None => Ok(Sendable { at, row, record, error }),
    }
}
