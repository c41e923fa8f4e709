//! The CA that stands in front of a real one and does nothing.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use crate::ids::{CaName, SerialNumber};
use crate::ports::{
    CaCapabilities, CertificateAuthority, CertificatePlan, FindAnswer, FindRequest, IssueAnswer, IssueRequest, LookupAnswer, LookupRequest,
    PortError, RevokeAnswer, RevokeCall,
};
use crate::terms::RevocationReason;

/// What a CA was asked.
#[derive(Debug)]
pub(super) enum Asked {
    Issue(Box<CertificatePlan>),
    Revoke { ca: CaName, serial: SerialNumber, reason: RevocationReason },
    Lookup { ca: CaName, serial: SerialNumber },
}

/// What all CAs were asked for one request.
#[derive(Debug, Default)]
pub(super) struct Notebook(Mutex<Vec<Asked>>);

impl Notebook {
    fn write(&self, asked: Asked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    pub(super) fn take(&self) -> Vec<Asked> {
        core::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// In front of a real CA: its capabilities are told, look-ups are passed on where they are allowed, and nothing else reaches it.
#[derive(Debug)]
pub(super) struct DryRunCa {
    name: CaName,
    real: Arc<dyn CertificateAuthority>,
    lookups: bool,
    notebook: Arc<Notebook>,
}

impl DryRunCa {
    pub(super) fn new(name: CaName, real: Arc<dyn CertificateAuthority>, lookups: bool, notebook: Arc<Notebook>) -> Self {
        Self { name, real, lookups, notebook }
    }
}

fn not_asked<T>() -> Result<T, PortError> {
    Err(PortError::rejected("a dry run asks no CA"))
}

#[async_trait]
impl CertificateAuthority for DryRunCa {
    fn capabilities(&self) -> CaCapabilities {
        self.real.capabilities()
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        self.notebook.write(Asked::Issue(Box::new(request.plan.clone())));
        not_asked()
    }

    async fn find(&self, _: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        Ok(FindAnswer::CannotTell)
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        if self.lookups {
            return self.real.lookup(request).await;
        }
        self.notebook.write(Asked::Lookup { ca: self.name.clone(), serial: request.serial.clone() });
        not_asked()
    }

    async fn revoke(&self, call: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        self.notebook.write(Asked::Revoke { ca: self.name.clone(), serial: call.serial.clone(), reason: call.reason });
        not_asked()
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        not_asked()
    }
}
