//! TLS by rustls over *ring*: version 1.2 and up, certificates always verified.

use rustls::ClientConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::settings::ClientCertificate;
use crate::adapters::tls::{TrustAnchors, trusting as trusting_builder};
use crate::flow::Finding;

/// The configuration without a client certificate, for a handshake alone.
#[cfg(feature = "doctor")]
pub(crate) fn trusting(trust: &TrustAnchors) -> Result<ClientConfig, String> {
    config(trust, None).map_err(|finding| finding.to_string())
}

/// The configuration, or what is wrong.
pub(super) fn config(trust: &TrustAnchors, client: Option<ClientCertificate>) -> Result<ClientConfig, Finding> {
    let builder = trusting_builder(trust, "http")?;
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientCertificate { chain, key }) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec()));
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let problem = format!("certificate and key cannot be used together: {error}");
                Finding::new("http.client_certificate", problem, "give the chain, its own certificate first, and that one's key")
            })
        }
    }
}
