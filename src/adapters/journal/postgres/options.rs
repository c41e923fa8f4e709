//! What the user sets.

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PostgresJournal;
use super::error::{PostgresOpenError, PostgresOpenErrorKind as K};
use crate::adapters::tls::TrustAnchors;
use crate::ports::PortError;
use crate::secret::Password;

type Callback = dyn Fn() -> Result<Password, PortError> + Send + Sync;

/// Where the password comes from each time a connection is made.
#[derive(Clone)]
pub(super) enum PasswordFrom {
    Url,
    File(PathBuf),
    Callback(Arc<Callback>),
}

/// How a journal is opened. `Debug` hides the connection string and the password.
#[derive(Clone)]
pub struct PostgresJournalOptions {
    pub(super) url: Arc<Password>,
    pub(super) password: PasswordFrom,
    pub(super) trust: TrustAnchors,
    pub(super) dangerous_plain: bool,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) most_waiting: usize,
    pub(super) most_waiting_bytes: usize,
}

impl PostgresJournalOptions {
    /// For that database, by connection string: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or `host=... user=... dbname=...`. Several
    /// hosts of one cluster, separated by commas, are tried in turn, and the one that takes changes is used. A Unix socket is named by its
    /// folder: `host=/run/postgresql`.
    ///
    /// Connections to other machines are encrypted, and the server's certificate must be good for the host's name, whatever `sslmode` says;
    /// on loopback addresses and Unix sockets they are encrypted with `sslmode=require`.
    #[must_use]
    pub fn new(url: impl Into<Password>) -> Self {
        Self {
            url: Arc::new(url.into()),
            password: PasswordFrom::Url,
            trust: TrustAnchors::System,
            dangerous_plain: false,
            schema: "intune_connector".to_owned(),
            connections: 4,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(15),
            most_waiting: 4_096,
            most_waiting_bytes: 64 << 20,
        }
    }

    /// Reads the password from a file for each new connection, so that it can be replaced without a restart; white space at its end is cut
    /// off. Default: the one of the connection string, if any.
    #[must_use]
    pub fn password_file(mut self, path: impl AsRef<Path>) -> Self {
        self.password = PasswordFrom::File(path.as_ref().to_owned());
        self
    }

    /// Asks a function of yours for the password of each new connection, such as a look-up in a vault or a token of a cloud. It may block
    /// for a short time: the journal's connections wait meanwhile. Its error's message must not hold the password.
    #[must_use]
    pub fn password_callback(mut self, read: impl Fn() -> Result<Password, PortError> + Send + Sync + 'static) -> Self {
        self.password = PasswordFrom::Callback(Arc::new(read));
        self
    }

    /// Sets whom the server's certificate must chain to. Default: what the operating system trusts.
    #[must_use]
    pub fn trust(mut self, anchors: TrustAnchors) -> Self {
        self.trust = anchors;
        self
    }

    /// Allows connections to other machines in the clear, where `sslmode=disable` asks for it: everybody on the way reads the password's
    /// proof and changes rows. For a tunnel that encrypts, alone.
    #[must_use]
    pub fn dangerously_allow_plain_connections(mut self) -> Self {
        self.dangerous_plain = true;
        self
    }

    /// Sets the schema that holds the tables, 1 to 63 bytes; each tenant has its own. It is made when it is not there. Default
    /// `intune_connector`.
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets the most connections at a time. Default 4; they are made when needed. The server's `max_connections` must suffice for all
    /// instances together.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most;
        self
    }

    /// Sets the longest time for name, connection, TLS and login together. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest time for one statement, after which the server ends it. Default 15 s: less than a lease.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Sets how many calls, with how many bytes of rows, may wait; further ones get a passing error. Default 4,096 calls and 64 MiB. A
    /// single call with more bytes is refused for good.
    #[must_use]
    pub fn most_waiting(mut self, calls: usize, bytes: usize) -> Self {
        (self.most_waiting, self.most_waiting_bytes) = (calls, bytes);
        self
    }

    /// Opens the journal: connects, and makes the tables or brings them to this version. Blocks the thread meanwhile, for the times set.
    ///
    /// # Errors
    /// When a setting is wrong, the server cannot be used, or the tables are none that this version knows; see [`PostgresOpenErrorKind`].
    ///
    /// [`PostgresOpenErrorKind`]: super::PostgresOpenErrorKind
    pub fn open(self) -> Result<PostgresJournal, PostgresOpenError> {
        PostgresJournal::start(self)
    }

    /// What is wrong with the numbers and names.
    pub(super) fn check(&self) -> Result<(), K> {
        let wrong = |reason: &str| Err(K::Setting { reason: reason.to_owned() });
        let name = self.schema.as_str();
        if name.is_empty() || name.len() > 63 {
            return wrong("the schema's name must have 1 to 63 bytes: PostgreSQL cuts longer ones");
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return wrong("the schema's name is the server's own: name another, one that does not begin with `pg_`");
        }
        if name.chars().any(crate::ids::is_unprintable) {
            return wrong("the schema's name holds a control character");
        }
        if self.connections == 0 || self.connections > 1_000 {
            return wrong("no connection could be made, or more than 1,000: set 1 to a few dozen");
        }
        if self.connect_timeout.is_zero() || self.statement_timeout.as_millis() == 0 {
            return wrong("a time-out would end before it began: set 1 ms or more");
        }
        if self.statement_timeout > Duration::from_secs(3_600) || self.connect_timeout > Duration::from_secs(3_600) {
            return wrong("a time-out is longer than an hour");
        }
        Ok(())
    }
}

impl fmt::Debug for PostgresJournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresJournalOptions")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
