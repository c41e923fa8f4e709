//! Intune's validation API and its ledger: who was validated, of which certificates it was told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intune_connector::adapters::VirtualRuntime;
use intune_connector::ids::{Thumbprint, TransactionId};
use intune_connector::ports::{
    ChallengeValidator, FailureNotification, PortError, Runtime as _, ScepNotifier, SuccessNotification, ValidateRequest, Verdict, Vouched,
};
use intune_connector::retry::Effect;

use crate::device::Enrolled;
use crate::plan::Chance;
use crate::process::Process;

/// The ledger.
#[derive(Debug, Default)]
pub struct Desk {
    /// Of which certificates it was told, by transactionID; several are one too many.
    pub told: Mutex<BTreeMap<String, Vec<Thumbprint>>>,
    pub enrolled: Mutex<Vec<Enrolled>>,
}

/// The API as one process reaches it.
#[derive(Debug)]
pub struct DeskPort {
    pub desk: Arc<Desk>,
    pub process: Arc<Process>,
    pub chance: Arc<Chance>,
    pub runtime: VirtualRuntime,
}

fn text(transaction: &TransactionId) -> String {
    String::from_utf8_lossy(transaction.as_bytes()).into_owned()
}

impl DeskPort {
    /// Makes a call that may not come there, or come late, or whose answer may not come back.
    async fn call<T>(&self, name: &str, transaction: &TransactionId, work: impl FnOnce() -> T + Send) -> Result<T, PortError> {
        self.process.pass().await;
        let fault = self.chance.strikes().then(|| self.chance.below(3));
        self.chance.tell(|| format!("{}/{} {name} {} fault {fault:?}", self.process.instance, self.process.number, text(transaction)));
        match fault {
            Some(0) => return Err(PortError::transient("no connection").with_effect(Effect::None)),
            Some(1) => self.runtime.sleep(self.chance.seconds(0, 60)).await,
            _ => {}
        }
        let done = work();
        self.process.pass().await;
        if fault == Some(2) { Err(PortError::transient("the answer was lost")) } else { Ok(done) }
    }
}

#[async_trait]
impl ChallengeValidator for DeskPort {
    async fn validate(&self, request: ValidateRequest<'_>) -> Result<Verdict, PortError> {
        self.call("validate", request.transaction_id, || {
            let mut vouched = Vouched::default();
            vouched.names_checked = true;
            Verdict::Accepted(vouched)
        })
        .await
    }
}

#[async_trait]
impl ScepNotifier for DeskPort {
    async fn success(&self, notification: SuccessNotification<'_>) -> Result<(), PortError> {
        self.call("notify success", notification.transaction_id, || {
            let mut told = self.desk.told.lock().unwrap();
            let told = told.entry(text(notification.transaction_id)).or_default();
            if !told.contains(&notification.thumbprint) {
                told.push(notification.thumbprint);
            }
        })
        .await
    }

    async fn failure(&self, notification: FailureNotification<'_>) -> Result<(), PortError> {
        self.call("notify failure", notification.transaction_id, || ()).await
    }
}
