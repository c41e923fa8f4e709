//! Requests on the wire.

use core::time::Duration;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde_json::Value;

use super::json::{MAX_LIST, Object, Problem, parsed, text, write_time};
use super::names::{
    read_flow, read_key_algorithm, read_padding, read_pfx_profile, read_reason, write_flow, write_key_algorithm, write_padding,
    write_pfx_profile, write_reason,
};
use crate::adapters::http::Base64;
use crate::event::printable;
use crate::ids::TenantId;
use crate::ports::{ImportKeyName, ImportRequest, Payload, PkcsRequest, QueueItem, RecryptRequest, RequestMeta, RevokeRequest};
use crate::secret::SecretBytes;
use crate::terms::{Flow, SubjectAltName};

/// In place of the id of an item that names none.
const UNREADABLE: &str = "(unreadable)";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaBody<'a> {
    id: &'a str,
    tenant: &'a str,
    flow: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    correlation: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    meta: MetaBody<'a>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestBody<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RequestBody<'a> {
    Pkcs(Box<PkcsBody<'a>>),
    Recrypt(RecryptBody<'a>),
    Import(ImportBody<'a>),
    Revoke(RevokeBody<'a>),
    Malformed { problem: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PkcsBody<'a> {
    ca: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    subject: &'a str,
    subject_alt_names: Vec<SanBody<'a>>,
    extended_key_usage: Vec<&'a str>,
    key_algorithm: &'static str,
    validity_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    recipient: Base64<'a>,
    pfx_profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    friendly_name: Option<&'a str>,
}

#[derive(Serialize)]
struct SanBody<'a> {
    r#type: &'static str,
    value: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct RecryptBody<'a> {
    payload: Base64<'a>,
    recipient: Base64<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportBody<'a> {
    key_name: KeyNameBody<'a>,
    padding_scheme: &'static str,
    encrypted_password: Base64<'a>,
    pfx: Base64<'a>,
    recipient: Base64<'a>,
}

#[derive(Serialize)]
struct KeyNameBody<'a> {
    provider: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct RevokeBody<'a> {
    serial: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Writes an item. What it says may be secret.
pub(crate) fn write_item(item: &QueueItem) -> Result<SecretBytes, Problem> {
    let (kind, request) = match &item.payload {
        Payload::Pkcs(request) => ("pkcs", Some(RequestBody::Pkcs(Box::new(pkcs_body(request))))),
        Payload::Recrypt(request) => {
            let body = RecryptBody { payload: Base64(&request.payload), recipient: Base64(&request.recipient) };
            ("recrypt", Some(RequestBody::Recrypt(body)))
        }
        Payload::Import(request) => ("import", Some(RequestBody::Import(import_body(request)))),
        Payload::Revoke(request) => {
            let RevokeRequest { serial, issuer, reason } = request;
            let body = RevokeBody { serial, issuer: issuer.as_deref(), reason: reason.map(write_reason) };
            ("revoke", Some(RequestBody::Revoke(body)))
        }
        Payload::Malformed(problem) => ("malformed", Some(RequestBody::Malformed { problem })),
        Payload::Unknown(kind) => (kind.as_str(), None),
    };
    super::json::write(&ItemBody { meta: meta_body(&item.meta), kind, request })
}

pub(super) fn meta_body(meta: &RequestMeta) -> MetaBody<'_> {
    MetaBody {
        id: meta.id.as_str(),
        tenant: meta.tenant.as_str(),
        flow: write_flow(meta.flow),
        device: meta.device.as_ref().map(|id| id.as_str()),
        user: meta.user.as_ref().map(|id| id.as_str()),
        correlation: meta.correlation.iter().map(|id| id.as_str()).collect(),
        deadline: meta.deadline.map(write_time),
    }
}

fn pkcs_body(request: &PkcsRequest) -> PkcsBody<'_> {
    PkcsBody {
        ca: request.ca.as_str(),
        template: request.template.as_ref().map(|name| name.as_str()),
        subject: &request.subject,
        subject_alt_names: request.subject_alt_names.iter().map(san_body).collect(),
        extended_key_usage: request.extended_key_usage.iter().map(|oid| oid.as_str()).collect(),
        key_algorithm: write_key_algorithm(request.key),
        validity_seconds: request.validity.as_secs(),
        sid: request.sid.as_ref().map(ToString::to_string),
        recipient: Base64(&request.recipient),
        pfx_profile: write_pfx_profile(request.pfx_profile),
        friendly_name: request.friendly_name.as_deref(),
    }
}

fn san_body(name: &SubjectAltName) -> SanBody<'_> {
    let (r#type, value) = match name {
        SubjectAltName::Upn(text) => ("upn", text.into()),
        SubjectAltName::Email(text) => ("email", text.into()),
        SubjectAltName::Dns(text) => ("dns", text.into()),
        SubjectAltName::Uri(text) => ("uri", text.into()),
        SubjectAltName::Ip(address) => ("ip", address.to_string().into()),
    };
    SanBody { r#type, value }
}

fn import_body(request: &ImportRequest) -> ImportBody<'_> {
    ImportBody {
        key_name: KeyNameBody { provider: &request.key_name.provider, key: &request.key_name.key },
        padding_scheme: write_padding(request.padding),
        encrypted_password: Base64(&request.encrypted_password),
        pfx: Base64(request.pfx.secret_bytes()),
        recipient: Base64(&request.recipient),
    }
}

/// Reads an item for the one who asked for that flow. Whatever is wrong with it is its own payload: malformed when the item can be
/// answered, unknown when it cannot.
pub(crate) fn read_item(value: &Value, tenant: &TenantId, asked: Flow) -> Result<QueueItem, Problem> {
    let object = match Object::of(value, "the item") {
        Ok(object) => object,
        Err(problem) => return unreadable(&problem, tenant, asked),
    };
    let meta = object.object("meta").and_then(|meta| Ok((meta.parsed("id")?, meta)));
    let (id, meta) = match meta {
        Ok(found) => found,
        Err(problem) => return unreadable(&problem, tenant, asked),
    };
    let mut known = RequestMeta::new(id, tenant.clone(), asked);
    // The tenant and the flow decide who may answer at all.
    match (meta.optional_parsed("tenant"), meta.optional_text("flow").map(|flow| flow.map(read_flow))) {
        (Ok(of), Ok(flow)) => {
            known.tenant = of.unwrap_or_else(|| tenant.clone());
            match flow {
                None => {}
                Some(Some(flow)) => known.flow = flow,
                Some(None) => return Ok(QueueItem::new(known, Payload::Unknown("a flow of a later version".to_owned()))),
            }
        }
        (Err(problem), _) | (_, Err(problem)) => return Ok(QueueItem::new(known, Payload::Unknown(format!("unreadable: {problem}")))),
    }
    // A kind of a later version may have other details, too: it is left to those who know it.
    let payload = match (read_payload(object), read_details(meta, &mut known)) {
        (Ok(unknown @ Payload::Unknown(_)), _) => unknown,
        (Ok(payload), Ok(())) => payload,
        (Err(problem), _) | (_, Err(problem)) => Payload::Malformed(problem.0),
    };
    Ok(QueueItem::new(known, payload))
}

fn unreadable(problem: &Problem, tenant: &TenantId, asked: Flow) -> Result<QueueItem, Problem> {
    let meta = RequestMeta::new(parsed(UNREADABLE, "id")?, tenant.clone(), asked);
    Ok(QueueItem::new(meta, Payload::Unknown(format!("unreadable: {problem}"))))
}

/// Reads an item strictly, for one that is put into a queue.
pub(crate) fn read_item_strictly(value: &Value) -> Result<QueueItem, Problem> {
    let object = Object::of(value, "the item")?;
    Ok(QueueItem::new(read_meta(object)?, read_payload(object)?))
}

pub(super) fn read_meta(object: Object<'_>) -> Result<RequestMeta, Problem> {
    let object = object.object("meta")?;
    let mut meta = RequestMeta::new(object.parsed("id")?, object.parsed("tenant")?, object.name("flow", read_flow)?);
    read_details(object, &mut meta)?;
    Ok(meta)
}

fn read_details(object: Object<'_>, meta: &mut RequestMeta) -> Result<(), Problem> {
    meta.device = object.optional_parsed("device")?;
    meta.user = object.optional_parsed("user")?;
    let ids = object.list("correlation", MAX_LIST)?.iter();
    meta.correlation = ids.map(|id| parsed(text(id, "correlation")?, "correlation")).collect::<Result<_, _>>()?;
    meta.deadline = object.optional_time("deadline")?;
    Ok(())
}

fn read_payload(item: Object<'_>) -> Result<Payload, Problem> {
    let kind = item.text("kind")?;
    let request = || item.object("request");
    Ok(match kind {
        "pkcs" => Payload::Pkcs(Box::new(read_pkcs(request()?)?)),
        "recrypt" => {
            let request = request()?;
            Payload::Recrypt(Box::new(RecryptRequest::new(request.bytes("payload")?, recipient(request)?)))
        }
        "import" => Payload::Import(Box::new(read_import(request()?)?)),
        "revoke" => Payload::Revoke(read_revoke(request()?)?),
        "malformed" => Payload::Malformed(printable(request()?.text("problem")?)),
        other => Payload::Unknown(printable(other)),
    })
}

fn recipient(request: Object<'_>) -> Result<CertificateDer<'static>, Problem> {
    Ok(request.bytes("recipient")?.into())
}

fn read_pkcs(request: Object<'_>) -> Result<PkcsRequest, Problem> {
    let mut read = PkcsRequest::new(request.parsed("ca")?, request.text("subject")?, recipient(request)?);
    read.template = request.optional_parsed("template")?;
    let names = request.list("subjectAltNames", MAX_LIST)?.iter();
    read.subject_alt_names = names.map(read_san).collect::<Result<_, _>>()?;
    let usages = request.list("extendedKeyUsage", MAX_LIST)?.iter();
    read.extended_key_usage = usages.map(|oid| parsed(text(oid, "extendedKeyUsage")?, "extendedKeyUsage")).collect::<Result<_, _>>()?;
    read.key = request.name("keyAlgorithm", read_key_algorithm)?;
    read.validity = Duration::from_secs(request.number("validitySeconds")?);
    read.sid = request.optional_parsed("sid")?;
    read.pfx_profile = request.optional_name("pfxProfile", read_pfx_profile)?.unwrap_or_default();
    read.friendly_name = request.optional_text("friendlyName")?.map(str::to_owned);
    Ok(read)
}

fn read_san(value: &Value) -> Result<SubjectAltName, Problem> {
    let object = Object::of(value, "an entry of `subjectAltNames`")?;
    let text = object.text("value")?.to_owned();
    match object.text("type")? {
        "upn" => Ok(SubjectAltName::Upn(text)),
        "email" => Ok(SubjectAltName::Email(text)),
        "dns" => Ok(SubjectAltName::Dns(text)),
        "uri" => Ok(SubjectAltName::Uri(text)),
        "ip" => parsed(&text, "value").map(SubjectAltName::Ip),
        // To leave a name out would be to issue something else than was asked for.
        _ => Err(Problem("an entry of `subjectAltNames` has a `type` that this version does not know".to_owned())),
    }
}

fn read_import(request: Object<'_>) -> Result<ImportRequest, Problem> {
    let key = request.object("keyName")?;
    Ok(ImportRequest::new(
        ImportKeyName { provider: key.text("provider")?.to_owned(), key: key.text("key")?.to_owned() },
        request.name("paddingScheme", read_padding)?,
        request.bytes("encryptedPassword")?,
        SecretBytes::new(request.bytes("pfx")?),
        recipient(request)?,
    ))
}

fn read_revoke(request: Object<'_>) -> Result<RevokeRequest, Problem> {
    let mut read = RevokeRequest::new(request.text("serial")?);
    read.issuer = request.optional_text("issuer")?.map(str::to_owned);
    read.reason = request.optional_name("reason", read_reason)?;
    Ok(read)
}
