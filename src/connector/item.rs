//! A request as bytes for its row, so that it can be worked on without being delivered again. It may hold secrets: an imported PFX.

use core::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::flow::plan::{key_number, key_of, name_bytes, name_of};
use crate::flow::record::{RecordReader, RecordWriter};
use crate::ids::RequestId;
use crate::ports::{ImportKeyName, ImportRequest, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta, RevokeRequest};
use crate::secret::SecretBytes;
use crate::terms::{Flow, PaddingScheme, PfxProfile, RevocationReason};
use crate::time::Timestamp;

/// The numbers of the fields never change: old rows must be read.
mod field {
    pub(super) const ID: u8 = 1;
    pub(super) const TENANT: u8 = 2;
    pub(super) const FLOW: u8 = 3;
    pub(super) const DEVICE: u8 = 4;
    pub(super) const USER: u8 = 5;
    pub(super) const CORRELATION: u8 = 6;
    pub(super) const DEADLINE: u8 = 7;
    pub(super) const KIND: u8 = 10;
    pub(super) const CA: u8 = 11;
    pub(super) const TEMPLATE: u8 = 12;
    pub(super) const SUBJECT: u8 = 13;
    pub(super) const NAME: u8 = 14;
    pub(super) const PURPOSE: u8 = 15;
    pub(super) const KEY: u8 = 16;
    pub(super) const VALIDITY: u8 = 17;
    pub(super) const SID: u8 = 18;
    pub(super) const RECIPIENT: u8 = 19;
    pub(super) const PROFILE: u8 = 30;
    pub(super) const FRIENDLY_NAME: u8 = 31;
    pub(super) const PAYLOAD: u8 = 32;
    pub(super) const KEY_PROVIDER: u8 = 33;
    pub(super) const KEY_NAME: u8 = 34;
    pub(super) const PADDING: u8 = 35;
    pub(super) const PASSWORD: u8 = 36;
    pub(super) const SERIAL: u8 = 37;
    pub(super) const ISSUER: u8 = 38;
    pub(super) const REASON: u8 = 39;
    pub(super) const PROBLEM: u8 = 40;
}

// In the order of their numbers in rows.
const FLOWS: [Flow; 6] = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep, Flow::Health];
const PROFILES: [PfxProfile; 3] = [PfxProfile::Modern, PfxProfile::Compat, PfxProfile::Pbmac1];
const PADDINGS: [PaddingScheme; 5] =
    [PaddingScheme::Pkcs1, PaddingScheme::OaepSha1, PaddingScheme::OaepSha256, PaddingScheme::OaepSha384, PaddingScheme::OaepSha512];
const REASONS: [RevocationReason; 7] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
];

fn number<T: PartialEq>(all: &[T], value: &T) -> [u8; 1] {
    [all.iter().position(|known| known == value).map_or(u8::MAX, |at| at as u8)]
}

fn value<T: Copy>(all: &[T], reader: &RecordReader, field: u8) -> Option<T> {
    all.get(usize::from(*reader.get(field)?.first()?)).copied()
}

pub(super) fn flow_number(flow: Flow) -> [u8; 1] {
    number(&FLOWS, &flow)
}

pub(super) fn flow_of(number: &[u8]) -> Option<Flow> {
    FLOWS.get(usize::from(*number.first()?)).copied()
}

/// Writes who a request is.
pub(super) fn write_meta(meta: &RequestMeta) -> RecordWriter {
    let mut w = RecordWriter::with_capacity(512);
    w.field(field::ID, meta.id.as_str().as_bytes())
        .field(field::TENANT, meta.tenant.as_str().as_bytes())
        .field(field::FLOW, &number(&FLOWS, &meta.flow))
        .optional(field::DEVICE, meta.device.as_ref().map(|id| id.as_str().as_bytes()))
        .optional(field::USER, meta.user.as_ref().map(|id| id.as_str().as_bytes()))
        .optional(field::DEADLINE, meta.deadline.map(|deadline| deadline.as_micros().to_be_bytes()).as_ref().map(|bytes| &bytes[..]));
    for id in &meta.correlation {
        w.field(field::CORRELATION, id.as_str().as_bytes());
    }
    w
}

/// Reads who a request is; `None` when the record is not whole.
pub(super) fn read_meta(bytes: &[u8]) -> Option<RequestMeta> {
    let r = RecordReader::new(SecretBytes::copy_from(bytes));
    let id: RequestId = r.text(field::ID)?.parse().ok()?;
    let mut meta = RequestMeta::new(id, r.text(field::TENANT)?.parse().ok()?, value(&FLOWS, &r, field::FLOW)?);
    meta.device = r.text(field::DEVICE).and_then(|id| id.parse().ok());
    meta.user = r.text(field::USER).and_then(|id| id.parse().ok());
    meta.deadline = r.integer(field::DEADLINE).map(Timestamp::from_micros);
    meta.correlation = r
        .fields()
        .filter(|(number, _)| *number == field::CORRELATION)
        .filter_map(|(_, id)| core::str::from_utf8(id).ok()?.parse().ok())
        .collect();
    Some(meta)
}

/// Writes what a request asks for.
pub(super) fn write_payload(payload: &Payload) -> RecordWriter {
    let size = match payload {
        Payload::Import(request) => request.pfx.len() + request.encrypted_password.len() + request.recipient.len(),
        Payload::Recrypt(request) => request.payload.len() + request.recipient.len(),
        _ => 2_048,
    };
    let mut w = RecordWriter::with_capacity(size + 1_024);
    match payload {
        Payload::Pkcs(request) => {
            w.field(field::KIND, &[1])
                .field(field::CA, request.ca.as_str().as_bytes())
                .optional(field::TEMPLATE, request.template.as_ref().map(|template| template.as_str().as_bytes()))
                .field(field::SUBJECT, request.subject.as_bytes())
                .field(field::KEY, &[key_number(request.key)])
                .field(field::VALIDITY, &i64::try_from(request.validity.as_secs()).unwrap_or(i64::MAX).to_be_bytes())
                .optional(field::SID, request.sid.as_ref().map(ToString::to_string).as_deref().map(str::as_bytes))
                .field(field::RECIPIENT, &request.recipient)
                .field(field::PROFILE, &number(&PROFILES, &request.pfx_profile))
                .optional(field::FRIENDLY_NAME, request.friendly_name.as_deref().map(str::as_bytes));
            for name in &request.subject_alt_names {
                w.field(field::NAME, &name_bytes(name));
            }
            for purpose in &request.extended_key_usage {
                w.field(field::PURPOSE, purpose.as_str().as_bytes());
            }
        }
        Payload::Recrypt(request) => {
            w.field(field::KIND, &[2]).field(field::PAYLOAD, &request.payload).field(field::RECIPIENT, &request.recipient);
        }
        Payload::Import(request) => {
            w.field(field::KIND, &[3])
                .field(field::KEY_PROVIDER, request.key_name.provider.as_bytes())
                .field(field::KEY_NAME, request.key_name.key.as_bytes())
                .field(field::PADDING, &number(&PADDINGS, &request.padding))
                .field(field::PASSWORD, &request.encrypted_password)
                .field(field::PAYLOAD, request.pfx.secret_bytes())
                .field(field::RECIPIENT, &request.recipient);
        }
        Payload::Revoke(request) => {
            w.field(field::KIND, &[4])
                .field(field::SERIAL, request.serial.as_bytes())
                .optional(field::ISSUER, request.issuer.as_deref().map(str::as_bytes))
                .optional(field::REASON, request.reason.map(|reason| number(&REASONS, &reason)).as_ref().map(|number| &number[..]));
        }
        Payload::Malformed(problem) => {
            w.field(field::KIND, &[5]).field(field::PROBLEM, problem.as_bytes());
        }
        Payload::Unknown(kind) => {
            w.field(field::KIND, &[6]).field(field::PROBLEM, kind.as_bytes());
        }
    }
    w
}

/// Reads what [`write_payload`] wrote; `None` for anything else.
pub(super) fn read_payload(bytes: &[u8]) -> Option<Payload> {
    let r = RecordReader::new(SecretBytes::copy_from(bytes));
    let recipient = || Some(CertificateDer::from(r.get(field::RECIPIENT)?.to_vec()));
    Some(match r.get(field::KIND)? {
        [1] => {
            let mut request = PkcsRequest::new(r.text(field::CA)?.parse().ok()?, r.text(field::SUBJECT)?, recipient()?);
            request.key = r.get(field::KEY)?.first().copied().and_then(key_of)?;
            request.validity = Duration::from_secs(u64::try_from(r.integer(field::VALIDITY)?).ok()?);
            request.pfx_profile = value(&PROFILES, &r, field::PROFILE)?;
            request.friendly_name = r.text(field::FRIENDLY_NAME).map(str::to_owned);
            for (number, bytes) in r.fields() {
                let text = || core::str::from_utf8(bytes).ok();
                match number {
                    field::TEMPLATE => request.template = Some(text()?.parse().ok()?),
                    field::SID => request.sid = Some(text()?.parse().ok()?),
                    field::NAME => request.subject_alt_names.push(name_of(bytes)?),
                    field::PURPOSE => request.extended_key_usage.push(text()?.parse().ok()?),
                    _ => {}
                }
            }
            Payload::Pkcs(Box::new(request))
        }
        [2] => Payload::Recrypt(Box::new(RecryptRequest::new(r.get(field::PAYLOAD)?.to_vec(), recipient()?))),
        [3] => {
            let key_name = ImportKeyName { provider: r.text(field::KEY_PROVIDER)?.to_owned(), key: r.text(field::KEY_NAME)?.to_owned() };
            let pfx = SecretBytes::copy_from(r.get(field::PAYLOAD)?);
            let padding = value(&PADDINGS, &r, field::PADDING)?;
            Payload::Import(Box::new(ImportRequest::new(key_name, padding, r.get(field::PASSWORD)?.to_vec(), pfx, recipient()?)))
        }
        [4] => {
            let mut request = RevokeRequest::new(r.text(field::SERIAL)?);
            request.issuer = r.text(field::ISSUER).map(str::to_owned);
            request.reason = match r.get(field::REASON) {
                Some(_) => Some(value(&REASONS, &r, field::REASON)?),
                None => None,
            };
            Payload::Revoke(request)
        }
        [5] => Payload::Malformed(r.text(field::PROBLEM)?.to_owned()),
        [6] => Payload::Unknown(r.text(field::PROBLEM)?.to_owned()),
        _ => return None,
    })
}

/// What an instance must have to work on a request: the CA of a PKCS request.
pub(super) fn route(item: &QueueItem) -> Option<crate::ids::Route> {
    match &item.payload {
        Payload::Pkcs(request) => format!("ca {}", request.ca).parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{KeyAlgorithm, SubjectAltName};

    fn items() -> Vec<QueueItem> {
        let recipient = || CertificateDer::from(vec![0x30, 1, 2]);
        let mut meta = RequestMeta::new("r \u{1f512} 1".parse().unwrap(), "tenant".parse().unwrap(), Flow::PkcsImport);
        let bare = meta.clone();
        meta.device = Some("device".parse().unwrap());
        meta.user = Some("user".parse().unwrap());
        meta.correlation = vec!["a".parse().unwrap(), "b".parse().unwrap()];
        meta.deadline = Some(Timestamp::from_micros(-5));
        let mut pkcs = PkcsRequest::new("CA".parse().unwrap(), "CN=x", recipient());
        let plain = PkcsRequest::new("CA".parse().unwrap(), "", recipient());
        pkcs.template = Some("T".parse().unwrap());
        pkcs.subject_alt_names = vec![
            SubjectAltName::Upn("u@x".into()),
            SubjectAltName::Email("e@x".into()),
            SubjectAltName::Dns("d".into()),
            SubjectAltName::Uri("urn:x".into()),
            SubjectAltName::Ip("::1".parse().unwrap()),
        ];
        pkcs.extended_key_usage = vec!["1.3.6.1.5.5.7.3.2".parse().unwrap()];
        pkcs.key = KeyAlgorithm::EcP384;
        pkcs.validity = Duration::from_secs(77);
        pkcs.sid = Some("S-1-5-21-1-2-3-500".parse().unwrap());
        pkcs.pfx_profile = PfxProfile::Compat;
        pkcs.friendly_name = Some(String::new());
        let name = ImportKeyName { provider: String::new(), key: "k".into() };
        let import = ImportRequest::new(name, PaddingScheme::OaepSha384, vec![9; 300], SecretBytes::new(vec![7; 5_000]), recipient());
        let mut revoke = RevokeRequest::new("0a");
        revoke.issuer = Some("CN=CA".into());
        revoke.reason = Some(RevocationReason::PrivilegeWithdrawn);
        let payloads = [
            Payload::Pkcs(Box::new(pkcs)),
            Payload::Pkcs(Box::new(plain)),
            Payload::Recrypt(Box::new(RecryptRequest::new(vec![1; 3_000], recipient()))),
            Payload::Import(Box::new(import)),
            Payload::Revoke(revoke),
            Payload::Revoke(RevokeRequest::new("")),
            Payload::Malformed("why".into()),
            Payload::Unknown("kind".into()),
        ];
        payloads
            .into_iter()
            .flat_map(|payload| [QueueItem::new(meta.clone(), payload)])
            .chain([QueueItem::new(bare, Payload::Unknown("x".into()))])
            .collect()
    }

    #[test]
    fn every_request_reads_back_as_it_was_and_damage_is_none_and_no_panic() {
        for item in items() {
            assert_eq!(read_meta(write_meta(&item.meta).bytes()).unwrap(), item.meta);
            let written = write_payload(&item.payload);
            let read = read_payload(written.bytes()).unwrap();
            // Secrets are hidden by `Debug`, so the bytes are compared as well.
            assert_eq!(format!("{read:?}"), format!("{:?}", item.payload));
            assert_eq!(write_payload(&read).bytes(), written.bytes());
            for cut in 0..written.bytes().len().min(600) {
                let _ = read_payload(&written.bytes()[..cut]);
                let _ = read_meta(&written.bytes()[..cut]);
            }
        }
        assert!(read_payload(&[]).is_none() && read_meta(&[]).is_none());
    }
}
