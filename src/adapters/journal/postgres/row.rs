//! A row as the tables hold it.

use super::error::Fault;
use crate::adapters::journal::codes;
use crate::ids::IdempotencyKey;
use crate::ports::{Row, RowKey, SealedBlob};
use crate::time::Timestamp;

/// Which row it is, from the first two columns of those.
pub(super) fn key(row: &tokio_postgres::Row, kind: usize, key: usize) -> Result<RowKey, Fault> {
    let kind = codes::kind(row.try_get(kind)?);
    let key: Option<[u8; 32]> = row.try_get::<_, &[u8]>(key)?.try_into().ok();
    match (kind, key) {
        (Some(kind), Some(key)) => Ok(RowKey { kind, key: IdempotencyKey::new(key) }),
        _ => Err(Fault::Row("a row has a kind or a key which this version does not know".to_owned())),
    }
}

/// A row from the columns in their order. What no version of this crate wrote is an error and never guessed at.
pub(super) fn read(row: &tokio_postgres::Row) -> Result<Row, Fault> {
    let code = |at: usize| row.try_get::<_, i64>(at);
    let time = |at: usize| code(at).map(Timestamp::from_micros);
    let unknown = |what: &str, value: i64| {
        Fault::Row(format!("a row has the {what} {value}, which this version does not know: it is of a newer version, or damaged"))
    };
    let count = |what: &str, at: usize| {
        let value = code(at)?;
        u32::try_from(value).map_err(|_| unknown(what, value))
    };
    let flow = codes::flow(code(2)?).ok_or_else(|| unknown("flow", code(2).unwrap_or(0)))?;
    let state = codes::state(code(4)?).ok_or_else(|| unknown("state", code(4).unwrap_or(0)))?;
    let mut read = Row::new(key(row, 0, 1)?, flow, time(12)?, SealedBlob::new(row.try_get(14)?));
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(0);
    read.route = match row.try_get::<_, &str>(3)? {
        "" => None,
        text => Some(text.parse().map_err(|_| unknown("route of length", length(text)))?),
    };
    read.state = state;
    read.version = code(5)?.cast_unsigned();
    read.lease_epoch = code(6)?.cast_unsigned();
    read.owner = match row.try_get::<_, Option<&str>>(7)? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| unknown("owner of length", length(text)))?),
    };
    read.lease_until = time(8)?;
    read.attempt = count("attempt", 9)?;
    read.delivery = count("delivery", 10)?;
    read.due = time(11)?;
    read.updated = time(13)?;
    Ok(read)
}
