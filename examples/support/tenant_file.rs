//! A tenant as a TOML file: where it is, and where its secrets are. The secrets themselves stand elsewhere.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use intune_connector::adapters::entra::{ClientCredentials, Credential, SecretSource};
use intune_connector::adapters::http::{HttpClient, HttpTransport, Proxy, ProxySetting, TrustAnchors};
use intune_connector::adapters::intune::{Cloud, IntuneOnline, ProviderName};
use intune_connector::crypto::CryptoProvider;
use intune_connector::limits::Limits;
use intune_connector::message::private_key;
use intune_connector::ports::Runtime;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::time::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An annotated example, for `--help` and to copy.
pub const EXAMPLE: &str = r#"tenant = "contoso.onmicrosoft.com"         # domain or id
client_id = "00000000-0000-0000-0000-000000000000"
cloud = "global"                           # or "us-government", "china"
# simulator = "http://127.0.0.1:8080"      # in place of a cloud: what `--example simulator` prints as "graph"; "tenant" and "clientId"
#                                          # go above, and its "clientSecret" into the secret's file
provider_name = "Contoso-Connector/1.0"    # as Intune's portal and support see the caller

[credential]                               # one of the three; no secret stands in this file
secret_file = "/etc/contoso/client-secret" # or secret_variable = "NAME"
expires = "2027-01-31T00:00:00Z"           # of the secret, for warnings ahead of time
# certificate_file = "app.pem"             # with
# key_file = "app.key"                     # its RSA key, PKCS#8
# federated_token_file = "/var/run/secrets/azure/tokens/azure-identity-token"

[network]                                  # all optional
# proxy = "http://proxy.contoso.example:3128"
# proxy_user = "connector"
# proxy_password_file = "/etc/contoso/proxy-password"
# roots_file = "proxy-root.pem"            # trusted beside what the system trusts

[service]
dir = "/var/lib/contoso-connector"         # the journal and the key that seals it, the event logs, ca.cer
scep_listen = "127.0.0.1:8080"             # put TLS in front
ca_name = "Contoso Issuing CA"             # what Intune is told, and names in revocation requests
"#;

/// In the service's folder: the key that seals the journal.
pub const SEALING_KEY: &str = "sealing.key";

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantFile {
    pub tenant: String,
    pub client_id: String,
    #[serde(default)]
    pub cloud: CloudName,
    /// A simulator on this machine, in place of a cloud.
    pub simulator: Option<String>,
    pub provider_name: Option<String>,
    pub credential: CredentialSection,
    #[serde(default)]
    pub network: NetworkSection,
    pub service: Option<ServiceSection>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum CloudName {
    #[default]
    Global,
    UsGovernment,
    China,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section [credential]")]
pub struct CredentialSection {
    secret_file: Option<PathBuf>,
    secret_variable: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    federated_token_file: Option<PathBuf>,
    expires: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, expecting = "a section [network]")]
pub struct NetworkSection {
    proxy: Option<String>,
    proxy_user: Option<String>,
    proxy_password_file: Option<PathBuf>,
    roots_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section [service]")]
pub struct ServiceSection {
    pub dir: PathBuf,
    pub scep_listen: String,
    pub ca_name: String,
}

/// What reaches the tenant.
pub struct Clients {
    pub transport: Arc<dyn HttpTransport>,
    pub tokens: Arc<ClientCredentials>,
    pub intune: Arc<IntuneOnline>,
    pub cloud: Cloud,
    pub provider_name: ProviderName,
}

impl TenantFile {
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), mistake(&text, &error)))?)
    }

    pub fn clients(&self, provider: &CryptoProvider, runtime: Arc<dyn Runtime>) -> Result<Clients> {
        let cloud = match self.cloud {
            CloudName::Global => Cloud::global(),
            CloudName::UsGovernment => Cloud::us_government(),
            CloudName::China => Cloud::china(),
        };
        let cloud = match &self.simulator {
            Some(base) => simulated(cloud, base.trim_end_matches('/'))?,
            None => cloud,
        };
        let transport: Arc<dyn HttpTransport> = Arc::new(HttpClient::builder().proxy(self.proxy()?).trust(self.network.trust()?).build()?);
        let tokens = ClientCredentials::builder(&self.tenant, &self.client_id, self.credential.read(provider)?)
            .authority(&cloud.authority)
            .dangerous_plain_http_on_loopback(cloud.dangerous_plain_http_on_loopback)
            .build(Arc::clone(&transport), Arc::clone(&runtime), provider.clone())?;
        let tokens = Arc::new(tokens);
        let provider_name: ProviderName = self.provider_name.as_deref().map(str::parse).transpose()?.unwrap_or_default();
        let intune = IntuneOnline::builder(&self.tenant, tokens.clone(), Arc::clone(&transport), runtime, provider.clone())
            .cloud(cloud.clone())
            .provider_name(provider_name.clone())
            .build()?;
        Ok(Clients { transport, tokens, intune: Arc::new(intune), cloud, provider_name })
    }
}

impl TenantFile {
    /// The way to the tenant. A simulator is on this machine: a proxy of the environment would be in the way.
    pub fn proxy(&self) -> Result<ProxySetting> {
        match (&self.simulator, &self.network.proxy) {
            (Some(_), None) => Ok(ProxySetting::Direct),
            _ => self.network.proxy(),
        }
    }

    /// The files that hold secrets.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let files = [&self.credential.secret_file, &self.credential.key_file, &self.network.proxy_password_file];
        let sealing_key = self.service.as_ref().map(|service| service.dir.join(SEALING_KEY)).filter(|file| file.exists());
        files.into_iter().flatten().cloned().chain(sealing_key).collect()
    }
}

impl CredentialSection {
    fn read(&self, provider: &CryptoProvider) -> Result<Credential> {
        let given = [
            self.secret_file.is_some() || self.secret_variable.is_some(),
            self.certificate_file.is_some() || self.key_file.is_some(),
            self.federated_token_file.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(
                "[credential]: give one of secret_file, secret_variable, certificate_file with key_file, federated_token_file".into()
            );
        }
        let credential = match (self, &self.certificate_file, &self.key_file) {
            (Self { secret_file: Some(file), .. }, ..) => Credential::client_secret(SecretSource::file(file)),
            (Self { secret_variable: Some(name), .. }, ..) => Credential::client_secret(SecretSource::variable(name)),
            (Self { federated_token_file: Some(file), .. }, ..) => Credential::federated_token(SecretSource::file(file)),
            (_, Some(certificate), Some(key)) => {
                let certificate = CertificateDer::from_pem_file(certificate).map_err(|error| format!("certificate_file: {error}"))?;
                let key = SecretBytes::new(fs::read(key).map_err(|error| format!("key_file: {error}"))?);
                let key = private_key::read(key.secret_bytes(), None, provider, &Limits::default())?;
                Credential::certificate(certificate, provider.signing_keys()?.load(&key)?)
            }
            _ => return Err("[credential]: certificate_file and key_file belong together".into()),
        };
        Ok(match &self.expires {
            Some(expires) => credential.with_expires(time(expires)?),
            None => credential,
        })
    }
}

impl NetworkSection {
    fn proxy(&self) -> Result<ProxySetting> {
        let Some(url) = &self.proxy else {
            if self.proxy_user.is_some() || self.proxy_password_file.is_some() {
                return Err("[network]: proxy_user and proxy_password_file need proxy".into());
            }
            return Ok(ProxySetting::Environment);
        };
        let mut proxy = Proxy::new(url);
        if let Some(user) = &self.proxy_user {
            let file = self.proxy_password_file.as_ref().ok_or("[network]: proxy_user needs proxy_password_file")?;
            let password = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            proxy = proxy.with_credentials(user, Password::from(password.trim_end()));
        }
        Ok(ProxySetting::Through(proxy))
    }

    pub fn trust(&self) -> Result<TrustAnchors> {
        let Some(file) = &self.roots_file else { return Ok(TrustAnchors::System) };
        let roots = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
        Ok(TrustAnchors::SystemAnd(roots.map_err(|error| format!("{}: {error}", file.display()))?))
    }
}

/// Where a mistake is and what is expected there. The parser's own text quotes the line, in which somebody may have put a secret.
fn mistake(text: &str, error: &toml::de::Error) -> String {
    let what = error.message();
    let quotes = ["invalid type", "invalid value", "unknown variant"].iter().any(|start| what.starts_with(start));
    let what = match what.rsplit_once(", expected ") {
        Some((_, expected)) if quotes => format!("expected {expected}"),
        _ if quotes => "a value of another kind is expected".to_owned(),
        _ => what.to_owned(),
    };
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {what}", before.matches('\n').count() + 1),
        None => what,
    }
}

fn time(text: &str) -> Result<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|error| format!("[credential]: `expires` is no time such as 2027-01-31T00:00:00Z: {error}"))?;
    Ok(Timestamp::from_secs(time.timestamp()))
}

/// The same names and paths at a simulator's address.
fn simulated(mut cloud: Cloud, base: &str) -> Result<Cloud> {
    let address = base.strip_prefix("http://").ok_or("simulator: give the address that it prints, such as http://127.0.0.1:8080")?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    cloud.authority = format!("{base}/");
    cloud.graph = base.to_owned();
    cloud.host_suffixes = [host.to_owned()].into();
    cloud.dangerous_plain_http_on_loopback = true;
    Ok(cloud)
}
