//! The tables: whose they are, which version they have, and how they climb to this one.

use tokio_postgres::{Client, GenericClient};

use super::connect::OLDEST;
use super::error::{Fault, PostgresOpenErrorKind as K};

/// Marks the tables as a journal of this crate.
const FORMAT: &str = "intune-connector journal";

/// Each step leads from the version that is its index to the next one; `{schema}` stands for the schema's quoted name. Steps that were
/// released never change.
///
/// Times are microseconds since 1970; an absent route is an empty text, so that the index serves it like any other. `ended` is the time of
/// the last change of a final row: an open row changes no indexed column from commit to commit, and its page alone is written. Rows of a few
/// KB stay in the page, and sealed bytes are not worth compressing.
const LADDER: &[&str] = &[r#"
    CREATE TABLE {schema}.entry (
        kind        bigint NOT NULL,
        key         bytea NOT NULL CHECK (length(key) = 32),
        flow        bigint NOT NULL,
        route       text COLLATE pg_catalog."C" NOT NULL,
        state       bigint NOT NULL,
        version     bigint NOT NULL,
        lease_epoch bigint NOT NULL,
        owner       text COLLATE pg_catalog."C",
        lease_until bigint NOT NULL,
        attempt     bigint NOT NULL,
        delivery    bigint NOT NULL,
        due         bigint NOT NULL,
        available   bigint NOT NULL GENERATED ALWAYS AS (CASE WHEN owner IS NULL THEN due ELSE greatest(due, lease_until) END) STORED,
        created     bigint NOT NULL,
        updated     bigint NOT NULL,
        ended       bigint,
        blob        bytea NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITH (fillfactor = 70, toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
    ALTER TABLE {schema}.entry ALTER COLUMN blob SET STORAGE EXTERNAL;
    CREATE INDEX entry_claim ON {schema}.entry (kind, flow, route, available) WHERE ended IS NULL;
    CREATE INDEX entry_owner ON {schema}.entry (owner, kind, flow, due) WHERE ended IS NULL AND owner IS NOT NULL;
    CREATE INDEX entry_open ON {schema}.entry (kind, created) WHERE ended IS NULL;
    CREATE INDEX entry_parked ON {schema}.entry (kind, created) WHERE state = 9;
    CREATE INDEX entry_ended ON {schema}.entry (ended) WHERE ended IS NOT NULL;
"#];

/// The schema's name, as text and quoted.
#[derive(Debug, Clone)]
pub(super) struct Names {
    text: String,
    quoted: String,
}

impl Names {
    pub(super) fn new(schema: &str) -> Self {
        Self { text: schema.to_owned(), quoted: format!("\"{}\"", schema.replace('"', "\"\"")) }
    }

    /// The statement with the quoted name in its place.
    pub(super) fn fill(&self, sql: &str) -> String {
        sql.replace("{schema}", &self.quoted)
    }
}

pub(super) async fn prepare(client: &mut Client, names: &Names) -> Result<(), Fault> {
    let row = client.query_one("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')", &[]).await?;
    server(row.get::<_, i32>(0) / 10_000, row.get(1))?;
    let known = LADDER.len() as i64;
    if version(client, names).await? == known {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    // Of all that start at once one does it; the others find it done.
    transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 20240229))", &[&names.text]).await?;
    climb(&transaction, names, LADDER).await?;
    Ok(transaction.commit().await?)
}

/// Whether the server will do.
fn server(major: i32, encoding: &str) -> Result<(), K> {
    if major < OLDEST {
        return Err(K::OldServer { found: major, needed: OLDEST });
    }
    if encoding == "UTF8" { Ok(()) } else { Err(K::NotUtf8) }
}

/// The version of the tables; 0 when there are none.
async fn version(client: &impl GenericClient, names: &Names) -> Result<i64, Fault> {
    let tables = client
        .query(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1::text AND c.relname IN ('entry', 'journal_version')",
            &[&names.text],
        )
        .await?;
    let has = |name: &str| tables.iter().any(|row| row.get::<_, &str>(0) == name);
    if !has("journal_version") {
        return if has("entry") { Err(K::NotAJournal.into()) } else { Ok(0) };
    }
    let found = client.query(&names.fill("SELECT format::text, version::bigint FROM {schema}.journal_version"), &[]).await;
    let found = match found {
        Ok(rows) => rows,
        Err(error) if error.as_db_error().is_some_and(|error| error.code().code().starts_with("42") && error.code().code() != "42501") => {
            return Err(K::NotAJournal.into());
        }
        Err(error) => return Err(error.into()),
    };
    let [row] = found.as_slice() else { return Err(K::NotAJournal.into()) };
    let (Ok(format), Ok(version)) = (row.try_get::<_, &str>(0), row.try_get::<_, i64>(1)) else { return Err(K::NotAJournal.into()) };
    let known = LADDER.len() as i64;
    match version {
        _ if format != FORMAT => Err(K::NotAJournal.into()),
        found if found > known => Err(K::NewerSchema { found, known }.into()),
        1.. => Ok(version),
        _ => Err(K::Damaged.into()),
    }
}

/// Takes the steps that are missing.
async fn climb(client: &impl GenericClient, names: &Names, ladder: &[&str]) -> Result<(), Fault> {
    let version = version(client, names).await?;
    let missing = usize::try_from(version).ok().and_then(|version| ladder.get(version..)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    if version == 0 {
        // Who may make no schema may use one that is there.
        let there = client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1::text", &[&names.text]).await?;
        if there.is_empty() {
            client.batch_execute(&names.fill("CREATE SCHEMA {schema}")).await?;
        }
        client.batch_execute(&names.fill("CREATE TABLE {schema}.journal_version (format text NOT NULL, version bigint NOT NULL)")).await?;
        client.execute(&names.fill("INSERT INTO {schema}.journal_version VALUES ($1, 0)"), &[&FORMAT]).await?;
    }
    for step in missing {
        client.batch_execute(&names.fill(step)).await?;
    }
    let reached = ladder.len() as i64;
    client.execute(&names.fill("UPDATE {schema}.journal_version SET version = $1"), &[&reached]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(Names::new("a\"; DROP TABLE x; --").fill("{schema}.entry"), "\"a\"\"; DROP TABLE x; --\".entry");
    }

    #[test]
    fn old_servers_and_other_encodings_are_named() {
        assert_eq!(server(OLDEST, "UTF8"), Ok(()));
        assert_eq!(server(OLDEST - 1, "UTF8"), Err(K::OldServer { found: OLDEST - 1, needed: OLDEST }));
        assert_eq!(server(OLDEST, "SQL_ASCII"), Err(K::NotUtf8));
    }
}
