//! A row as the file holds it.

use std::path::Path;

use rusqlite::types::ValueRef;

use super::error::{damaged_row, unknown_value};
use super::store::StoreError;
use crate::adapters::journal::codes;
use crate::ids::{IdempotencyKey, InstanceId, Route};
use crate::ports::{Row, RowKey, SealedBlob};
use crate::time::Timestamp;

/// A row and its number in the file, from the columns in their order. What is in it harms no other operation.
pub(super) fn read(row: &rusqlite::Row<'_>, path: &Path) -> Result<(i64, Row), StoreError> {
    let id: i64 = row.get(0)?;
    match decode(id, row, path) {
        Ok(decoded) => Ok((id, decoded)),
        Err(StoreError::Sql(error)) if error.sqlite_error().is_none() => Err(StoreError::Row(damaged_row(id, path))),
        Err(error) => Err(error),
    }
}

fn decode(id: i64, row: &rusqlite::Row<'_>, path: &Path) -> Result<Row, StoreError> {
    let unknown = |what: &str, value: i64| StoreError::Row(unknown_value(id, what, value, path));
    let code = |at: usize| row.get::<_, i64>(at);
    let time = |at: usize| row.get::<_, i64>(at).map(Timestamp::from_micros);
    let kind = codes::kind(code(1)?).ok_or_else(|| unknown("kind", code(1).unwrap_or(0)))?;
    let flow = codes::flow(code(3)?).ok_or_else(|| unknown("flow", code(3).unwrap_or(0)))?;
    let state = codes::state(code(4)?).ok_or_else(|| unknown("state", code(4).unwrap_or(0)))?;
    let owner = match row.get_ref(7)? {
        ValueRef::Null => None,
        owner => {
            let text = owner.as_str().map_err(rusqlite::Error::from)?;
            Some(text.parse::<InstanceId>().map_err(|_| unknown("owner of length", i64::try_from(text.len()).unwrap_or(0)))?)
        }
    };
    let route = match row.get_ref(15)? {
        ValueRef::Null => None,
        route => {
            let text = route.as_str().map_err(rusqlite::Error::from)?;
            Some(text.parse::<Route>().map_err(|_| unknown("route of length", i64::try_from(text.len()).unwrap_or(0)))?)
        }
    };
    let blob = row.get_ref(14)?.as_blob().map_err(rusqlite::Error::from)?.to_vec();
    let mut read = Row::new(RowKey { kind, key: IdempotencyKey::new(row.get(2)?) }, flow, time(12)?, SealedBlob::new(blob));
    read.route = route;
    read.state = state;
    read.version = code(5)?.cast_unsigned();
    read.lease_epoch = code(6)?.cast_unsigned();
    read.owner = owner;
    read.lease_until = time(8)?;
    read.attempt = row.get(9)?;
    read.delivery = row.get(10)?;
    read.due = time(11)?;
    read.updated = time(13)?;
    Ok(read)
}
