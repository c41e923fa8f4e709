//! HTTPS. No client certificate is asked for: Windows fails at GetCACaps and macOS cannot renew when a server does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::LocalCa;
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::name::Name;
use intune_connector::terms::{KeyAlgorithm, SubjectAltName};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::Result;
use crate::arguments::Tls;

/// Accepts TLS 1.2 and 1.3; `None` when HTTPS was not asked for.
pub fn acceptor(tls: &Tls, provider: &CryptoProvider, ca: &LocalCa, listens: SocketAddr) -> Result<Option<TlsAcceptor>> {
    let (certificates, key) = match tls {
        Tls::Off => return Ok(None),
        Tls::SelfMade => self_made(provider, ca, listens)?,
        Tls::Files { certificates, key } => {
            let named = |path: &std::path::Path, error| format!("{}: {error}", path.display());
            let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
            (chain.map_err(|error| named(certificates, error))?, PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, error))?)
        }
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// A certificate for the address that it listens on, and for this machine by its usual names.
fn self_made(
    provider: &CryptoProvider,
    ca: &LocalCa,
    listens: SocketAddr,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if !addresses.contains(&listens.ip()) {
        addresses.push(listens.ip());
    }
    let names: Vec<_> =
        [SubjectAltName::Dns("localhost".to_owned())].into_iter().chain(addresses.into_iter().map(SubjectAltName::Ip)).collect();
    let key = provider.key_generation()?.generate(KeyAlgorithm::EcP256)?;
    let spki = provider.signing_keys()?.load(&key)?.public_key();
    let subject = Name::parse_cert_str("CN=SCEP example server,O=TEST ONLY do not trust")?;
    let certificate = ca.issue_server_certificate(subject, &spki, &names, Duration::from_secs(90 * 86_400))?;
    let key = PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec());
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key)))
}
