//! TLS by rustls over *ring*: version 1.2 and up, certificates always verified.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls_platform_verifier::Verifier;

use super::settings::{ClientCertificate, TrustAnchors};
use crate::flow::Finding;

/// The configuration, or what is wrong.
pub(super) fn config(trust: &TrustAnchors, client: Option<ClientCertificate>) -> Result<ClientConfig, Finding> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Finding::new("http.tls", error.to_string(), "use another build of rustls"))?;
    let no_system = |error| {
        let problem = format!("the operating system's root certificates cannot be used: {error}");
        Finding::new("http.trust", problem, "install them (ca-certificates), or set `TrustAnchors::Only`")
    };
    let builder = match trust {
        TrustAnchors::System => {
            let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new(provider).map_err(no_system)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        TrustAnchors::SystemAnd(more) => {
            let verifier = Verifier::new_with_extra_roots(more.iter().cloned(), provider).map_err(no_system)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        TrustAnchors::Only(roots) => {
            let mut store = RootCertStore::empty();
            for (at, root) in roots.iter().enumerate() {
                store.add(root.clone()).map_err(|error| {
                    Finding::new("http.trust", format!("root {at} is no certificate of a CA: {error}"), "give root certificates in DER")
                })?;
            }
            builder.with_root_certificates(store)
        }
    };
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
