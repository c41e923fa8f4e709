//! What goes wrong with the server, said in terms of what to do about it. The server's own text is not passed on: it may quote values.

use core::fmt;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::ports::{PortError, PortErrorKind};
use crate::retry::Effect;

/// Why a journal was not opened; the kind is for programs, the text for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct PostgresOpenError {
    /// What is wrong.
    pub kind: PostgresOpenErrorKind,
    /// The servers and the database, without credentials.
    pub place: String,
}

/// What is wrong with a journal that was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostgresOpenErrorKind {
    /// A setting cannot be used.
    Setting {
        /// What is wrong with which one.
        reason: String,
    },
    /// The server is on another machine, and the connection would not be encrypted.
    Unencrypted,
    /// No server answers, or TLS fails.
    CannotConnect {
        /// What the system, TLS or the server says.
        reason: String,
    },
    /// The server refuses user or password.
    WrongCredentials,
    /// There is no such database.
    UnknownDatabase,
    /// The user may not do what is needed.
    NotAllowed,
    /// The server takes no changes: it is a standby, or set to read-only.
    ReadOnly,
    /// The server is older than this crate supports.
    OldServer {
        /// The server's major version.
        found: i32,
        /// The oldest major version that is supported.
        needed: i32,
    },
    /// The database does not store text as UTF-8.
    NotUtf8,
    /// The schema has tables of these names that another program made.
    NotAJournal,
    /// The tables were made by a newer version of this crate.
    NewerSchema {
        /// The version of the tables.
        found: i64,
        /// The newest version that this crate reads.
        known: i64,
    },
    /// The tables are not as this crate makes them.
    Damaged,
}

use PostgresOpenErrorKind as K;

impl fmt::Display for PostgresOpenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            K::Setting { reason } => f.write_str(reason),
            K::Unencrypted => f.write_str(
                "the server is on another machine and `sslmode=disable` is set: leave it out, so that the connection is encrypted",
            ),
            K::CannotConnect { reason } => write!(f, "it cannot be reached: {reason}"),
            K::WrongCredentials => f.write_str("the server refuses user or password: check both, and pg_hba.conf"),
            K::UnknownDatabase => f.write_str("there is no such database: make it (`createdb`), or name another"),
            K::NotAllowed => f.write_str(
                "the user may not do what is needed: let it make the schema (CREATE on the database), or make the schema and give it to that user",
            ),
            K::ReadOnly => f.write_str("the server takes no changes: name the primary, or all servers of the cluster"),
            K::OldServer { found, needed } => write!(f, "the server is PostgreSQL {found}, and {needed} or newer is needed"),
            K::NotUtf8 => f.write_str("the database does not store text as UTF-8: make one with `createdb --encoding=UTF8 --template=template0`"),
            K::NotAJournal => f.write_str("the schema has tables of another program: name another schema"),
            K::NewerSchema { found, known } => write!(
                f,
                "the tables have schema version {found}, and this program knows versions up to {known}: run the program that made them, or a newer one"
            ),
            K::Damaged => f.write_str("the tables are not as this program makes them: restore them from a backup, or name another schema"),
        }
    }
}

impl fmt::Display for PostgresOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal at {}: {}", self.place, self.kind)
    }
}

/// What ended a statement or an attempt to connect.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was not sent: no connection.
    Open(K),
    /// It was sent.
    Sql(tokio_postgres::Error),
    /// It was sent, and no answer came.
    TimedOut,
    /// A row holds what no version of this crate wrote.
    Row(String),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<K> for Fault {
    fn from(kind: K) -> Self {
        Self::Open(kind)
    }
}

impl Fault {
    /// The same while the journal is opened.
    pub(super) fn into_kind(self) -> K {
        match self {
            Self::Open(kind) => kind,
            Self::Sql(error) => open_kind(&error),
            Self::TimedOut => K::CannotConnect { reason: "the server did not answer in time".to_owned() },
            Self::Row(_) => K::Damaged,
        }
    }

    /// Whether the connection can be used further on: the server has answered and waits.
    pub(super) fn spares_connection(&self) -> bool {
        match self {
            Self::Sql(error) => error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error)),
            Self::Row(_) => true,
            Self::Open(_) | Self::TimedOut => false,
        }
    }

    /// The same for a journal at work.
    pub(super) fn port_error(&self, place: &str) -> PortError {
        let (kind, effect, code, what) = match self {
            Self::Open(kind) => {
                let class = match kind {
                    K::CannotConnect { .. } | K::ReadOnly => PortErrorKind::Transient,
                    _ => PortErrorKind::Misconfigured,
                };
                (class, Effect::None, None, kind.to_string())
            }
            Self::TimedOut => (PortErrorKind::Transient, Effect::Unknown, None, "the server did not answer in time".to_owned()),
            Self::Row(what) => (PortErrorKind::Misconfigured, Effect::Unknown, None, what.clone()),
            Self::Sql(error) => match error.as_db_error() {
                None => {
                    // What cannot be turned into parameters was never sent; this says no more than that it was not answered.
                    (PortErrorKind::Transient, Effect::Unknown, None, format!("the connection broke: {}", cause(error)))
                }
                Some(said) => {
                    // An error ends its transaction. More than an error ends the connection too, perhaps after the transaction was stored.
                    let ended = said.parsed_severity() == Some(Severity::Error);
                    let (class, what) = at_work(said);
                    (class, if ended { Effect::None } else { Effect::Unknown }, Some(said.code().code().to_owned()), what.to_owned())
                }
            },
        };
        let error = PortError::new(kind, format!("the journal at {place}: {what}")).with_effect(effect);
        match code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }
}

fn at_work(said: &DbError) -> (PortErrorKind, &'static str) {
    use PortErrorKind::{Misconfigured, Transient};
    match said.code() {
        code if *code == SqlState::DISK_FULL => (Transient, "the server's disk is full: free some space, and it works again"),
        code if *code == SqlState::OUT_OF_MEMORY => (Transient, "the server has not enough memory"),
        code if *code == SqlState::QUERY_CANCELED => (Transient, "the server ended the statement, which took too long"),
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => (Transient, "the server takes no changes: it has become a standby"),
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => (Misconfigured, "the user may not read or change the tables any more"),
        code if is_damage(code) => (Misconfigured, "the tables are not as this program makes them: restore them from a backup"),
        _ => (Transient, "the server failed"),
    }
}

fn is_damage(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::DATATYPE_MISMATCH,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::WRONG_OBJECT_TYPE,
        SqlState::INVALID_COLUMN_REFERENCE,
        SqlState::GENERATED_ALWAYS,
    ]
    .contains(code)
}

fn open_kind(error: &tokio_postgres::Error) -> K {
    let Some(said) = error.as_db_error() else { return K::CannotConnect { reason: cause(error) } };
    match said.code() {
        code if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => K::WrongCredentials,
        code if *code == SqlState::INVALID_CATALOG_NAME => K::UnknownDatabase,
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => K::NotAllowed,
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => K::ReadOnly,
        code if *code == SqlState::TOO_MANY_CONNECTIONS => {
            K::CannotConnect { reason: "it has too many connections: raise max_connections, or lower the journals' connections".to_owned() }
        }
        code if *code == SqlState::CANNOT_CONNECT_NOW => K::CannotConnect { reason: "it starts or stops just now".to_owned() },
        code if *code == SqlState::QUERY_CANCELED => K::CannotConnect { reason: "it took too long".to_owned() },
        code if is_damage(code) || *code == SqlState::DUPLICATE_TABLE => K::Damaged,
        code => K::CannotConnect { reason: format!("the server refuses (SQLSTATE {})", code.code()) },
    }
}

/// What the system or TLS says; the library's own words where there is nothing underneath. None of them holds a setting's value.
fn cause(error: &tokio_postgres::Error) -> String {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
