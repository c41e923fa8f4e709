//! What the rows of the SCEP service hold, before sealing. A CSR holds the challenge: every record is a secret.

use super::suspicion::Suspicion;
use crate::crypto::{CryptoProvider, DigestAlgorithm};
use crate::flow::plan;
use crate::flow::record::{RecordReader, RecordWriter};
use crate::flow::seal::SealError;
use crate::ids::{CaName, IdempotencyKey, TenantId, TransactionId};
use crate::ports::CertificatePlan;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

mod field {
    pub(super) const SCOPE: u8 = 1;
    pub(super) const TRANSACTION_ID: u8 = 2;
    pub(super) const CSR: u8 = 3;
    pub(super) const CERTIFICATE: u8 = 4;
    pub(super) const CA_SIDE_ID: u8 = 5;
    pub(super) const HRESULT: u8 = 6;
    pub(super) const DESCRIPTION: u8 = 7;
    pub(super) const STAGE: u8 = 8;
    pub(super) const CA_NAME: u8 = 9;
    pub(super) const SIGNER: u8 = 10;
    pub(super) const TOLD: u8 = 11;
    pub(super) const POLL_ID: u8 = 12;
    pub(super) const POLL_AT: u8 = 13;
    pub(super) const RENEWAL: u8 = 14;
    pub(super) const LOST: u8 = 15;
    // 20 to 27 are of plans, 30 to 36 of suspicions.
    pub(super) const RUN: u8 = 40;
    pub(super) const SIGNER_KEY: u8 = 41;
    pub(super) const NONCE: u8 = 42;
    pub(super) const MESSAGE: u8 = 43;
}

/// One transaction, and what is to be told about it.
#[derive(Debug)]
pub(crate) struct Record {
    /// The scope of its events.
    pub(crate) scope: String,
    pub(crate) transaction_id: TransactionId,
    pub(crate) csr: SecretBytes,
    /// The certificate, once issued.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) ca_side_id: Option<String>,
    /// Of a failure that the service is to be told.
    pub(crate) failure: Option<FailureNote>,
    /// The CA that was asked.
    pub(crate) ca: Option<CaName>,
    /// The certificate that signed the request; answers to polls are encrypted to it.
    pub(crate) signer: Option<Vec<u8>>,
    /// The signer's certificate is one of ours, to be renewed.
    pub(crate) is_renewal: bool,
    /// What became of the news.
    pub(crate) told: Told,
    /// While the CA holds the request.
    pub(crate) pending: Option<Pending>,
    /// Asks whose end is not known: so many certificates may exist, or come to exist, that nobody has seen.
    pub(crate) lost: u32,
    /// In a row of the ledger of orphans.
    pub(crate) suspicion: Option<Suspicion>,
}

/// A request that the CA holds.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// The CA's name for it.
    pub(crate) poll_id: String,
    /// Not to be asked about before.
    pub(crate) at: Timestamp,
    /// What the certificate shall hold.
    pub(crate) plan: CertificatePlan,
}

/// What became of the news of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Told {
    /// Not yet, or it was lost.
    #[default]
    No,
    /// The service accepted it.
    Yes,
    /// It is in a row of its own.
    Stored,
}

/// What the service is told about a failure.
#[derive(Debug, Clone)]
pub(crate) struct FailureNote {
    pub(crate) hresult: i32,
    pub(crate) description: String,
    pub(crate) stage: String,
}

impl Record {
    pub(crate) fn encode(&self) -> RecordWriter {
        let certificates = [&self.certificate, &self.signer].into_iter().flatten().map(Vec::len).sum::<usize>();
        let size = 256 + self.csr.len() + certificates + self.scope.len() + 1_100;
        let mut writer = RecordWriter::with_capacity(size);
        writer
            .field(field::SCOPE, self.scope.as_bytes())
            .field(field::TRANSACTION_ID, self.transaction_id.as_bytes())
            .field(field::CSR, self.csr.secret_bytes())
            .optional(field::CERTIFICATE, self.certificate.as_deref())
            .optional(field::CA_SIDE_ID, self.ca_side_id.as_deref().map(str::as_bytes));
        if let Some(failure) = &self.failure {
            writer
                .field(field::HRESULT, &i64::from(failure.hresult).to_be_bytes())
                .field(field::DESCRIPTION, failure.description.as_bytes())
                .field(field::STAGE, failure.stage.as_bytes());
        }
        writer
            .optional(field::CA_NAME, self.ca.as_ref().map(|ca| ca.as_str().as_bytes()))
            .optional(field::SIGNER, self.signer.as_deref())
            .field(field::TOLD, &[self.told as u8])
            .optional(field::RENEWAL, self.is_renewal.then_some(&[1][..]));
        if let Some(pending) = &self.pending {
            writer.field(field::POLL_ID, pending.poll_id.as_bytes()).field(field::POLL_AT, &pending.at.as_micros().to_be_bytes());
            plan::encode(&mut writer, &pending.plan);
        }
        if self.lost > 0 {
            writer.field(field::LOST, &i64::from(self.lost).to_be_bytes());
        }
        if let Some(suspicion) = &self.suspicion {
            suspicion.encode(&mut writer);
        }
        writer
    }

    pub(crate) fn decode(content: SecretBytes) -> Result<Self, SealError> {
        let reader = RecordReader::new(content);
        let transaction_id = reader.get(field::TRANSACTION_ID).and_then(|id| TransactionId::try_from(id.to_vec()).ok());
        let failure = reader.integer(field::HRESULT).map(|hresult| FailureNote {
            hresult: i32::try_from(hresult).unwrap_or(E_UNEXPECTED),
            description: reader.text(field::DESCRIPTION).unwrap_or_default().to_owned(),
            stage: reader.text(field::STAGE).unwrap_or_default().to_owned(),
        });
        Ok(Self {
            scope: reader.text(field::SCOPE).unwrap_or_default().to_owned(),
            transaction_id: transaction_id.ok_or(SealError::Foreign)?,
            csr: SecretBytes::copy_from(reader.get(field::CSR).ok_or(SealError::Foreign)?),
            certificate: reader.get(field::CERTIFICATE).map(<[u8]>::to_vec),
            ca_side_id: reader.text(field::CA_SIDE_ID).map(str::to_owned),
            failure,
            ca: reader.text(field::CA_NAME).and_then(|name| name.parse().ok()),
            signer: reader.get(field::SIGNER).map(<[u8]>::to_vec),
            is_renewal: reader.get(field::RENEWAL).is_some(),
            told: match reader.get(field::TOLD) {
                Some([1]) => Told::Yes,
                Some([2]) => Told::Stored,
                _ => Told::No,
            },
            pending: decode_pending(&reader),
            lost: reader.integer(field::LOST).and_then(|lost| u32::try_from(lost).ok()).unwrap_or(0),
            suspicion: Suspicion::decode(&reader),
        })
    }

    /// Whether this certificate is the one that is to be renewed.
    pub(crate) fn renews(&self, certificate: &[u8]) -> bool {
        self.is_renewal && self.signer.as_deref() == Some(certificate)
    }

    /// The same, for a row of its own.
    pub(crate) fn copy(&self) -> Self {
        Self {
            scope: self.scope.clone(),
            transaction_id: self.transaction_id.clone(),
            csr: SecretBytes::copy_from(self.csr.secret_bytes()),
            certificate: self.certificate.clone(),
            ca_side_id: self.ca_side_id.clone(),
            failure: self.failure.clone(),
            ca: self.ca.clone(),
            signer: self.signer.clone(),
            is_renewal: self.is_renewal,
            told: self.told,
            pending: self.pending.clone(),
            lost: self.lost,
            suspicion: self.suspicion.clone(),
        }
    }
}

/// Absent when the request is not pending, and when the record is not whole: it is then looked for at the CA.
fn decode_pending(reader: &RecordReader) -> Option<Pending> {
    let at = Timestamp::from_micros(reader.integer(field::POLL_AT)?);
    let ca = reader.text(field::CA_NAME)?.parse().ok()?;
    let plan = plan::decode(reader, ca)?;
    Some(Pending { poll_id: reader.text(field::POLL_ID)?.to_owned(), at, plan })
}

/// What is known by the transactionID alone: the row of its latest transaction, for polls, and the message that started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Latest {
    /// The key of the transaction's row.
    pub(crate) transaction: IdempotencyKey,
    /// SHA-256 of the public key that signed it.
    pub(crate) signer_key: [u8; 32],
    pub(crate) nonce: [u8; 16],
    /// SHA-256 of the message.
    pub(crate) message: [u8; 32],
}

impl Latest {
    pub(crate) fn encode(&self) -> RecordWriter {
        let mut writer = RecordWriter::with_capacity(160);
        writer
            .field(field::RUN, self.transaction.as_bytes())
            .field(field::SIGNER_KEY, &self.signer_key)
            .field(field::NONCE, &self.nonce)
            .field(field::MESSAGE, &self.message);
        writer
    }

    pub(crate) fn decode(content: SecretBytes) -> Result<Self, SealError> {
        let reader = RecordReader::new(content);
        fn exactly<const N: usize>(value: Option<&[u8]>) -> Result<[u8; N], SealError> {
            value.and_then(|value| value.try_into().ok()).ok_or(SealError::Foreign)
        }
        Ok(Self {
            transaction: IdempotencyKey::new(exactly(reader.get(field::RUN))?),
            signer_key: exactly(reader.get(field::SIGNER_KEY))?,
            nonce: exactly(reader.get(field::NONCE))?,
            message: exactly(reader.get(field::MESSAGE))?,
        })
    }
}

/// E_UNEXPECTED
pub(crate) const E_UNEXPECTED: i32 = 0x8000_FFFF_u32 as i32;
/// CERTSRV_E_ADMIN_DENIED_REQUEST
pub(crate) const E_DENIED: i32 = 0x8009_4014_u32 as i32;
/// CERTSRV_E_TEMPLATE_DENIED
pub(crate) const E_POLICY: i32 = 0x8009_4012_u32 as i32;
/// HRESULT of RPC_S_SERVER_UNAVAILABLE
pub(crate) const E_UNAVAILABLE: i32 = 0x8007_06BA_u32 as i32;
/// HRESULT of ERROR_TIMEOUT
pub(crate) const E_TIMEOUT: i32 = 0x8007_05B4_u32 as i32;

/// SHA-256 of parts, each with its length before it.
pub(super) fn key_of(provider: &CryptoProvider, parts: &[&[u8]]) -> Result<IdempotencyKey, SealError> {
    let mut input = Vec::new();
    for part in parts {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part);
    }
    let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[&input]).map_err(|_| SealError::Crypto)?;
    Ok(IdempotencyKey::new(digest.as_ref().try_into().map_err(|_| SealError::Crypto)?))
}

/// Names a transaction: transactionID *and* CSR. The transactionID alone is a hash of the key for most clients: the same for ever.
pub(crate) fn transaction_key(
    provider: &CryptoProvider,
    tenant: &TenantId,
    transaction_id: &TransactionId,
    csr: &[u8],
) -> Result<IdempotencyKey, SealError> {
    let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[csr]).map_err(|_| SealError::Crypto)?;
    key_of(provider, &[b"scep", tenant.as_str().as_bytes(), transaction_id.as_bytes(), digest.as_ref()])
}

/// Names what is known by the transactionID alone.
pub(crate) fn latest_key(
    provider: &CryptoProvider,
    tenant: &TenantId,
    transaction_id: &TransactionId,
) -> Result<IdempotencyKey, SealError> {
    key_of(provider, &[b"scep-id", tenant.as_str().as_bytes(), transaction_id.as_bytes()])
}

/// SHA-256.
pub(crate) fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> Result<[u8; 32], SealError> {
    let digest = provider.digest()?.digest(DigestAlgorithm::Sha256, &[bytes]).map_err(|_| SealError::Crypto)?;
    digest.as_ref().try_into().map_err(|_| SealError::Crypto)
}

/// What the CA, the notification and the orphan of one transaction are known by. The start is in it: after the replay window the same
/// CSR gets a new certificate, also from a CA that is idempotent by key.
pub(crate) fn run_key(provider: &CryptoProvider, transaction: IdempotencyKey, started: Timestamp) -> Result<IdempotencyKey, SealError> {
    key_of(provider, &[b"scep-run", transaction.as_bytes(), &started.as_micros().to_be_bytes()])
}
