//! Whom a server's certificate must chain to; TLS by rustls over *ring*: version 1.2 and up, certificates always verified.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;

use crate::flow::Finding;

/// Whom a server's certificate must chain to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TrustAnchors {
    /// What the operating system trusts.
    #[default]
    System,
    /// What the operating system trusts, and these: a proxy's that opens TLS, for example.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// These alone. With none of them no TLS server is trusted, which is right for a simulator on this machine.
    Only(Vec<CertificateDer<'static>>),
}

/// The configuration up to the client's certificate, or what is wrong; `client` names the settings, such as `http`.
pub(super) fn trusting(trust: &TrustAnchors, client: &str) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Finding> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let setting = format!("{client}.trust");
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Finding::new(format!("{client}.tls"), error.to_string(), "use another build of rustls"))?;
    let no_system = |error| {
        let problem = format!("the operating system's root certificates cannot be used: {error}");
        Finding::new(&setting, problem, "install them (ca-certificates), or set `TrustAnchors::Only`")
    };
    Ok(match trust {
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
                    Finding::new(&setting, format!("root {at} is no certificate of a CA: {error}"), "give root certificates in DER")
                })?;
            }
            builder.with_root_certificates(store)
        }
    })
}
