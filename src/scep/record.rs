//! What the rows of the SCEP service hold, before sealing. A CSR holds the challenge: every record is a secret.

use crate::crypto::{CryptoProvider, DigestAlgorithm};
use crate::flow::record::{RecordReader, RecordWriter};
use crate::flow::seal::SealError;
use crate::ids::{IdempotencyKey, TenantId, TransactionId};
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
        let size = 128 + self.csr.len() + self.certificate.as_ref().map_or(0, Vec::len) + self.scope.len() + 1_100;
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
        })
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
        }
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
fn key_of(provider: &CryptoProvider, parts: &[&[u8]]) -> Result<IdempotencyKey, SealError> {
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

/// What the CA, the notification and the orphan of one transaction are known by. The start is in it: after the replay window the same
/// CSR gets a new certificate, also from a CA that is idempotent by key.
pub(crate) fn run_key(provider: &CryptoProvider, transaction: IdempotencyKey, started: Timestamp) -> Result<IdempotencyKey, SealError> {
    key_of(provider, &[b"scep-run", transaction.as_bytes(), &started.as_micros().to_be_bytes()])
}
