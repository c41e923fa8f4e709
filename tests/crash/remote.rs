//! Queue and CA as the killed process sees them: both live with the judges.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use intune_connector::limits::Limits;
use intune_connector::message::csr::Csr;
use intune_connector::ports::{
    Batch, CaCapabilities, CertificateAuthority, CertificateStatus, CompleteAnswer, CompleteRequest, FindAllAnswer, FindAnswer,
    FindRequest, ImportRequest, IntuneQueue, IssueAnswer, IssueRequest, Issued, KnownCertificate, LookupAnswer, LookupRequest, Payload,
    PkcsRequest, PortError, QueueCapabilities, QueueItem, ReceiveRequest, RecryptRequest, RevokeAnswer, RevokeCall, RevokeRequest,
    StatusRequest,
};
use intune_connector::secret::SecretBytes;
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme, SubjectAltName, oids};
use rustls_pki_types::CertificateDer;

use crate::ca::CaKind;
use crate::fixture::CA;
use crate::life::import_key_name;
use crate::points::Points;
use crate::wire::{Ask, Body, Client, Item, Reply, unexpected};

#[derive(Debug)]
pub struct RemoteQueue {
    pub flow: Flow,
    pub device: Vec<u8>,
    pub client: Client,
    pub points: Arc<Points>,
}

impl RemoteQueue {
    fn item(&self, item: Item) -> QueueItem {
        let device: CertificateDer<'static> = self.device.clone().into();
        let payload = match item.body {
            Body::Pkcs { account } => {
                let mut request = PkcsRequest::new(CA.parse().unwrap(), format!("CN={account}"), device);
                request.subject_alt_names = vec![SubjectAltName::Upn(account)];
                request.extended_key_usage = vec![oids::CLIENT_AUTH.parse().unwrap()];
                request.key = KeyAlgorithm::EcP256;
                Payload::Pkcs(Box::new(request))
            }
            Body::Recrypt { payload } => Payload::Recrypt(Box::new(RecryptRequest::new(payload, device))),
            Body::Import { password, pfx } => {
                let pfx = SecretBytes::new(pfx);
                Payload::Import(Box::new(ImportRequest::new(import_key_name(), PaddingScheme::OaepSha256, password, pfx, device)))
            }
            Body::Revoke { serial } => {
                let mut request = RevokeRequest::new(serial.to_string());
                request.issuer = Some(CA.to_owned());
                Payload::Revoke(request)
            }
        };
        QueueItem::new(item.meta, payload)
    }
}

#[async_trait]
impl IntuneQueue for RemoteQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = QueueCapabilities::new(vec![self.flow]);
        capabilities.lease = Some(Duration::from_secs(20));
        capabilities
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, PortError> {
        self.points.pass("receive:before");
        match self.client.call(Ask::Receive { flow: request.flow, max: request.max }).await? {
            Reply::Items(items) => {
                if !items.is_empty() {
                    self.points.pass("receive:after");
                }
                Ok(Batch::new(items.into_iter().map(|item| self.item(item)).collect()))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn complete(&self, request: CompleteRequest) -> Result<Vec<CompleteAnswer>, PortError> {
        let count = request.results.len();
        self.points.pass("upload:before");
        let reply = self.client.call(Ask::Complete { results: request.results }).await?;
        self.points.pass("upload:after");
        match reply {
            Reply::Done => Ok(vec![CompleteAnswer::Accepted; count]),
            other => Err(unexpected(&other)),
        }
    }
}

#[derive(Debug)]
pub struct RemoteCa {
    pub kind: CaKind,
    pub root: Vec<u8>,
    pub client: Client,
    pub points: Arc<Points>,
}

fn issued(certificate: Vec<u8>, chain: Vec<u8>) -> Box<Issued> {
    Box::new(Issued::new(certificate.into()).with_chain(vec![chain.into()]))
}

impl RemoteCa {
    async fn ask(&self, point: &str, ask: Ask) -> Result<Reply, PortError> {
        self.points.pass(&format!("{point}:before"));
        let reply = self.client.call(ask).await;
        self.points.pass(&format!("{point}:after"));
        reply
    }
}

#[async_trait]
impl CertificateAuthority for RemoteCa {
    fn capabilities(&self) -> CaCapabilities {
        self.kind.capabilities()
    }

    async fn issue(&self, request: IssueRequest<'_>) -> Result<IssueAnswer, PortError> {
        // What the connector asks for is what was approved, and by a CSR that can be read.
        Csr::from_der(request.csr, &Limits::default()).map_err(|error| PortError::rejected(error.to_string()))?;
        let ask = Ask::Issue { key: request.key, csr: request.csr.to_vec(), plan: request.plan.clone() };
        match self.ask("issue", ask).await? {
            Reply::Issued { certificate, chain } => Ok(IssueAnswer::Issued(issued(certificate, chain))),
            Reply::Pending { poll_id, after } => Ok(IssueAnswer::Pending { poll_id, after }),
            other => Err(unexpected(&other)),
        }
    }

    async fn status(&self, request: StatusRequest<'_>) -> Result<IssueAnswer, PortError> {
        match self.ask("status", Ask::Status { key: request.key, poll_id: request.poll_id.to_owned() }).await? {
            Reply::Issued { certificate, chain } => Ok(IssueAnswer::Issued(issued(certificate, chain))),
            Reply::Pending { poll_id, after } => Ok(IssueAnswer::Pending { poll_id, after }),
            other => Err(unexpected(&other)),
        }
    }

    async fn find(&self, request: FindRequest<'_>) -> Result<FindAnswer, PortError> {
        match self.ask("find", Ask::Find { key: request.key }).await? {
            Reply::Issued { certificate, chain } => Ok(FindAnswer::Found(issued(certificate, chain))),
            Reply::Absent => Ok(FindAnswer::Absent),
            Reply::CannotTell => Ok(FindAnswer::CannotTell),
            other => Err(unexpected(&other)),
        }
    }

    async fn find_all(&self, request: FindRequest<'_>) -> Result<FindAllAnswer, PortError> {
        match self.ask("find-all", Ask::FindAll { key: request.key }).await? {
            Reply::Certificates(found) => {
                let chain = || vec![self.root.clone().into()];
                Ok(FindAllAnswer::Certificates(found.into_iter().map(|der| Issued::new(der.into()).with_chain(chain())).collect()))
            }
            Reply::CannotTell => Ok(FindAllAnswer::CannotTell),
            other => Err(unexpected(&other)),
        }
    }

    async fn lookup(&self, request: LookupRequest<'_>) -> Result<LookupAnswer, PortError> {
        match self.ask("lookup", Ask::Lookup { serial: request.serial.clone() }).await? {
            Reply::Revoked { before } => {
                let status = if before { CertificateStatus::Revoked } else { CertificateStatus::Good };
                Ok(LookupAnswer::Found(Box::new(KnownCertificate::default().with_status(status))))
            }
            Reply::Absent => Ok(LookupAnswer::Absent),
            Reply::CannotTell => Ok(LookupAnswer::CannotTell),
            other => Err(unexpected(&other)),
        }
    }

    async fn revoke(&self, request: RevokeCall<'_>) -> Result<RevokeAnswer, PortError> {
        match self.ask("revoke", Ask::Revoke { serial: request.serial.clone() }).await? {
            Reply::Revoked { before: false } => Ok(RevokeAnswer::Revoked),
            Reply::Revoked { before: true } => Ok(RevokeAnswer::AlreadyRevoked),
            Reply::Absent => Ok(RevokeAnswer::UnknownSerial),
            other => Err(unexpected(&other)),
        }
    }

    async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PortError> {
        Ok(vec![self.root.clone().into()])
    }
}
