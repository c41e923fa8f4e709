//! Looks at a CA for certificates that nobody gets, and revokes them.

use core::time::Duration;

use super::config::PkcsConfig;
use super::kept::Suspect;
use crate::flow::ca_gate::Entry;
use crate::flow::record::RecordReader;
use crate::flow::{Context, Swept};
use crate::message::certificate::Certificate;
use crate::ports::{CertificateAuthority, FindAllAnswer, FindRequest, Issued, PortError, PortErrorKind, RevokeAnswer, RevokeCall};
use crate::terms::RevocationReason;

/// One look. Only certificates for the request's own key are revoked: others belong to whoever made theirs.
pub(super) async fn sweep(config: &PkcsConfig, context: &Context, suspicion: &RecordReader, delivered: Option<&[u8]>) -> Swept {
    let Some(suspect) = Suspect::read(suspicion) else { return Swept::CannotTell };
    let Some(ca) = config.authorities.get(&suspect.ca).and_then(|authority| authority.ca.as_ref()) else {
        return Swept::NotNow(format!("the CA {} is not configured in this connector", suspect.ca));
    };
    // Its permit lasts for the whole look.
    let Entry::Go(_permit) = context.gates.of(&suspect.ca).ask(context, false) else {
        return Swept::NotNow(format!("the CA {} is left alone at present", suspect.ca));
    };
    let deadline = || context.runtime.now().saturating_add(config.ca_timeout);
    let request = FindRequest::new(suspect.key, &suspect.csr, &suspect.public_key, &suspect.plan, deadline());
    let found = match guarded(context, config.ca_timeout, async { ca.find_all(request).await }).await {
        Ok(FindAllAnswer::Certificates(found)) => Some(found),
        Ok(FindAllAnswer::CannotTell) => None,
        Err(error) if error.kind() == PortErrorKind::Unsupported => None,
        Err(error) => return Swept::NotNow(error.to_string()),
    };
    let cannot_tell = found.is_none();
    let mut revoked = Vec::new();
    let candidates = suspect.known.into_iter().chain(found.unwrap_or_default());
    for issued in candidates.filter(|issued| delivered.is_none_or(|delivered| delivered != issued.certificate.as_ref())) {
        let Ok(certificate) = Certificate::from_der(&issued.certificate, &context.limits) else { continue };
        if certificate.spki() != suspect.public_key.as_slice() {
            continue;
        }
        match revoke(context, config.ca_timeout, ca.as_ref(), &issued, &certificate).await {
            Ok(Some(serial)) if !revoked.contains(&serial) => revoked.push(serial),
            Ok(_) => {}
            Err(error) => return Swept::NotNow(error.to_string()),
        }
    }
    match (revoked.is_empty(), cannot_tell) {
        (false, _) => Swept::Revoked(revoked),
        (true, true) => Swept::CannotTell,
        (true, false) => Swept::Nothing,
    }
}

async fn revoke(
    context: &Context,
    limit: Duration,
    ca: &dyn CertificateAuthority,
    issued: &Issued,
    certificate: &Certificate,
) -> Result<Option<String>, PortError> {
    let Some(serial) = certificate.serial() else { return Ok(None) };
    let deadline = context.runtime.now().saturating_add(limit);
    let call =
        RevokeCall::new(serial, Some(&issued.certificate), issued.ca_side_id.as_deref(), RevocationReason::CessationOfOperation, deadline);
    let answer = guarded(context, limit, async { ca.revoke(call).await }).await?;
    // What was revoked before was not one of those that are looked for, or was counted then.
    Ok((answer == RevokeAnswer::Revoked).then(|| serial.to_string()))
}

async fn guarded<T>(context: &Context, limit: Duration, call: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    use futures_util::FutureExt as _;
    match context.within(limit, std::panic::AssertUnwindSafe(call).catch_unwind()).await {
        Some(Ok(answer)) => answer,
        Some(Err(_)) => Err(PortError::transient("the CA's adapter panicked; the panic was contained")),
        None => Err(PortError::transient("the CA did not answer in time")),
    }
}
