//! The idempotency key of a request: SHA-256 over length-prefixed tenant, flow, request id and payload digest.

use crate::crypto::{CryptoError, CryptoProvider, DigestAlgorithm, MissingSlot};
use crate::ids::IdempotencyKey;
use crate::ports::{Payload, QueueItem};
use crate::secret::SecretBytes;
use crate::terms::SubjectAltName;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestError {
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// The key of this item. The same content gives the same key on every instance and version.
pub(crate) fn idempotency_key(provider: &CryptoProvider, item: &QueueItem) -> Result<IdempotencyKey, DigestError> {
    let payload = sha256(provider, &[payload_fields(&item.payload).0.secret_bytes()])?;
    let mut fields = Fields::new();
    fields.text(item.meta.tenant.as_str());
    fields.text(item.meta.flow.as_str());
    fields.text(item.meta.id.as_str());
    fields.bytes(&payload);
    Ok(IdempotencyKey::new(sha256(provider, &[&fields.0])?))
}

fn sha256(provider: &CryptoProvider, parts: &[&[u8]]) -> Result<[u8; 32], DigestError> {
    let output = provider.digest()?.digest(DigestAlgorithm::Sha256, parts)?;
    Ok(output.as_ref().try_into().map_err(|_| CryptoError::Failed)?)
}

/// Fields, each with its length before it, so that no two field lists give the same bytes.
#[derive(Debug)]
struct Fields(Vec<u8>);

impl Fields {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn bytes(&mut self, field: &[u8]) {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
    }

    fn text(&mut self, field: &str) {
        self.bytes(field.as_bytes());
    }

    fn number(&mut self, field: u64) {
        self.bytes(&field.to_be_bytes());
    }

    /// Absent and empty differ.
    fn option(&mut self, field: Option<&str>) {
        self.number(u64::from(field.is_some()));
        self.text(field.unwrap_or_default());
    }

    fn san(&mut self, name: &SubjectAltName) {
        let (kind, text) = match name {
            SubjectAltName::Upn(text) => ("upn", text.clone()),
            SubjectAltName::Email(text) => ("email", text.clone()),
            SubjectAltName::Dns(text) => ("dns", text.clone()),
            SubjectAltName::Uri(text) => ("uri", text.clone()),
            SubjectAltName::Ip(ip) => ("ip", ip.to_string()),
        };
        self.text(kind);
        self.text(&text);
    }
}

struct SecretFields(SecretBytes);

/// The payload's fields in their order; growing copies of an import request's PFX are avoided by room made first.
fn payload_fields(payload: &Payload) -> SecretFields {
    let mut f = Fields::new();
    match payload {
        Payload::Pkcs(request) => {
            f.text("pkcs");
            f.text(request.ca.as_str());
            f.option(request.template.as_ref().map(|template| template.as_str()));
            f.text(&request.subject);
            f.number(request.subject_alt_names.len() as u64);
            request.subject_alt_names.iter().for_each(|name| f.san(name));
            f.number(request.extended_key_usage.len() as u64);
            request.extended_key_usage.iter().for_each(|oid| f.text(oid.as_str()));
            f.text(&format!("{:?}", request.key));
            f.number(request.validity.as_secs());
            f.option(request.sid.as_ref().map(ToString::to_string).as_deref());
            f.bytes(&request.recipient);
            f.text(&format!("{:?}", request.pfx_profile));
            f.option(request.friendly_name.as_deref());
        }
        Payload::Recrypt(request) => {
            f.text("recrypt");
            f.bytes(&request.payload);
            f.bytes(&request.recipient);
        }
        Payload::Import(request) => {
            f.0.reserve(request.pfx.len() + request.encrypted_password.len() + request.recipient.len() + 4_096);
            f.text("import");
            f.text(&request.key_name.provider);
            f.text(&request.key_name.key);
            f.text(&format!("{:?}", request.padding));
            f.bytes(&request.encrypted_password);
            f.bytes(request.pfx.secret_bytes());
            f.bytes(&request.recipient);
        }
        Payload::Revoke(request) => {
            f.text("revoke");
            f.text(&request.serial);
            f.option(request.issuer.as_deref());
            f.option(request.reason.map(|reason| format!("{reason:?}")).as_deref());
        }
        Payload::Malformed(reason) => {
            f.text("malformed");
            f.text(reason);
        }
        Payload::Unknown(kind) => {
            f.text("unknown");
            f.text(kind);
        }
    }
    SecretFields(SecretBytes::new(f.0))
}
