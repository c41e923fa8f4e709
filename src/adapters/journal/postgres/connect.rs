//! Making connections, each with its settings and statements.

use core::time::Duration;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row, Statement};

use super::error::{Fault, PostgresOpenErrorKind as K};
use super::options::{PasswordFrom, PostgresJournalOptions};
use super::schema::{self, Names};
use super::statements::Statements;
use super::tls::Tls;
use crate::adapters::tls::trusting;

/// The oldest major version that is not out of its support, when this was written, and the one before it.
pub(super) const OLDEST: i32 = 13;

/// After the server should have ended a statement, it has so long to say so.
const GRACE: Duration = Duration::from_secs(2);

/// The plans are settled: rows by index, however empty or unanalysed the tables are when a statement is first planned. A database that is
/// set to answer before a change is on the disk is not obeyed.
const SESSION: &str = "
    SET search_path = pg_catalog;
    SET client_min_messages = error;
    SET standard_conforming_strings = on;
    SET default_transaction_isolation = 'read committed';
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET work_mem = '16MB';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// Where and how connections are made.
pub(super) struct Server {
    options: PostgresJournalOptions,
    tls: Tls,
    pub(super) names: Names,
    /// For messages.
    pub(super) place: String,
}

/// A connection that is ready.
pub(super) struct Link {
    client: Client,
    pub(super) statements: Statements,
    patience: Duration,
}

impl Link {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// One statement, which is a transaction of its own: a process that is stopped in the middle holds no lock.
    pub(super) async fn query(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        match timeout(self.patience, self.client.query(statement, values)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Fault::TimedOut),
        }
    }
}

impl Server {
    pub(super) fn new(options: PostgresJournalOptions) -> Result<Self, (K, String)> {
        let unnamed = |kind| (kind, "an unnamed place".to_owned());
        options.check().map_err(unnamed)?;
        let config = parse(&options).map_err(unnamed)?;
        let place = place(&config, &options.schema);
        let tls = trusting(&options.trust, "postgres").map_err(|finding| (K::Setting { reason: finding.to_string() }, place.clone()))?;
        let names = Names::new(&options.schema);
        let server = Self { options, tls: Tls::new(tls.with_no_client_auth()), names, place };
        match server.checked(config) {
            Ok(_) => Ok(server),
            Err(kind) => Err((kind, server.place)),
        }
    }

    /// The connection string with what the options and the safety of the connection demand.
    fn checked(&self, mut config: Config) -> Result<Config, K> {
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(K::Setting { reason: "the connection string names no host".to_owned() });
        }
        if config.get_user().is_none() {
            return Err(K::Setting { reason: "the connection string names no user".to_owned() });
        }
        let asked = config.get_ssl_mode();
        config.ssl_mode(match (is_here(&config), asked) {
            (true, SslMode::Require) => SslMode::Require,
            (true, _) => SslMode::Disable,
            (false, SslMode::Disable) if self.options.dangerous_plain => SslMode::Disable,
            (false, SslMode::Disable) => return Err(K::Unencrypted),
            (false, _) => SslMode::Require,
        });
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("intune-connector");
        }
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(1);
        config.connect_timeout(self.options.connect_timeout / hosts);
        config.keepalives(true).keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        config.tcp_user_timeout(self.options.statement_timeout + GRACE);
        Ok(config)
    }

    /// Makes the tables, or brings them to this version.
    pub(super) async fn prepare(&self) -> Result<(), Fault> {
        let mut client = self.login().await?;
        let patience = self.options.statement_timeout + GRACE;
        timeout(patience, schema::prepare(&mut client, &self.names)).await.unwrap_or(Err(Fault::TimedOut))
    }

    /// A new connection with its statements.
    pub(super) async fn connect(&self) -> Result<Link, Fault> {
        let client = self.login().await?;
        let patience = self.options.statement_timeout + GRACE;
        match timeout(patience, Statements::prepare(&client, &self.names)).await {
            Ok(statements) => Ok(Link { client, statements: statements.map_err(|error| Fault::Sql(error).into_kind())?, patience }),
            Err(_) => Err(Fault::TimedOut.into_kind().into()),
        }
    }

    async fn login(&self) -> Result<Client, Fault> {
        let mut config = self.checked(parse(&self.options)?)?;
        if let Some(password) = self.password()? {
            config.password(password.secret_bytes());
        }
        let session = format!("{SESSION} SET statement_timeout = {}", self.options.statement_timeout.as_millis());
        let login = async {
            let (client, connection) = config.connect(self.tls.clone()).await?;
            // It ends with the client, or when the server goes away: then the client says that it is closed.
            tokio::spawn(connection);
            client.batch_execute(&session).await?;
            Ok(client)
        };
        match timeout(self.options.connect_timeout, login).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(Fault::Sql(error).into_kind().into()),
            Err(_) => Err(K::CannotConnect { reason: "no answer in time".to_owned() }.into()),
        }
    }

    fn password(&self) -> Result<Option<crate::secret::SecretBytes>, K> {
        let read = match &self.options.password {
            PasswordFrom::Url => return Ok(None),
            PasswordFrom::File(path) => {
                let failed = |error: std::io::Error| K::Setting { reason: format!("the password file {}: {error}", path.display()) };
                let mut content = crate::secret::SecretBytes::new(fs::read(path).map_err(failed)?);
                content.truncate(content.secret_bytes().trim_ascii_end().len());
                content
            }
            PasswordFrom::Callback(callback) => {
                callback().map_err(|error| K::Setting { reason: format!("the password's callback: {error}") })?.into_secret_bytes()
            }
        };
        Ok(Some(read))
    }
}

/// The library's own error is not shown: it may quote a part of a password.
fn parse(options: &PostgresJournalOptions) -> Result<Config, K> {
    let wrong = || K::Setting {
        reason: "the connection string cannot be read: write `postgres://USER:PASSWORD@HOST:PORT/DATABASE` with special characters \
                 percent-encoded; of the parameters those of tokio-postgres are known"
            .to_owned(),
    };
    let text = options.url.secret_str().ok_or_else(wrong)?;
    // What other programs call a verified connection: here every encrypted one is.
    let text =
        zeroize::Zeroizing::new(text.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require"));
    text.parse().map_err(|_| wrong())
}

/// Hosts, database and schema, without credentials.
fn place(config: &Config, schema: &str) -> String {
    let ports = config.get_ports();
    let mut hosts: Vec<String> = Vec::new();
    for (at, host) in config.get_hosts().iter().enumerate() {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        hosts.push(match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        });
    }
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(IpAddr::to_string));
    }
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    crate::event::printable(&format!("{}, database {database}, schema {schema}", hosts.join(","))).to_string()
}

/// Whether all that may be connected to is this machine.
fn is_here(config: &Config) -> bool {
    if !config.get_hostaddrs().is_empty() {
        return config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

/// Shared by everything that makes connections.
pub(super) type SharedServer = Arc<Server>;
