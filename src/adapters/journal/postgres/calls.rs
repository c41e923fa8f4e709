//! What the calls do on a connection.

use core::time::Duration;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::connect::Link;
use super::error::Fault;
use super::row;
use crate::adapters::journal::codes;
use crate::ids::{InstanceId, Route};
use crate::ports::{Change, ClaimRequest, CommitAnswer, JournalStats, LoadRequest, PruneRequest, RenewRequest, Row, RowKey, RowKind};
use crate::time::Timestamp;

/// Most rows of one claim: the answer fits into the connection's buffers, so that the locks do not outlast the statement.
const MOST_CLAIMED: usize = 1_000;
/// Most rows that one call prunes: a transaction has bounds.
const MOST_PRUNED: usize = 10_000;

/// So long that nothing is added up beyond what the tables hold.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn parts(keys: impl IntoIterator<Item = RowKey>) -> (Vec<i64>, Vec<Vec<u8>>) {
    keys.into_iter().map(|key| (codes::of_kind(key.kind), key.key.as_bytes().to_vec())).unzip()
}

pub(super) async fn load(link: &Link, request: &LoadRequest) -> Result<Vec<Row>, Fault> {
    let rows = match request {
        LoadRequest::Keys(keys) => {
            let (kinds, keys) = parts(keys.iter().copied());
            link.query(&link.statements.by_key, &[&kinds, &keys]).await?
        }
        LoadRequest::Open { kind, max } => {
            let max = i64::try_from(*max).unwrap_or(i64::MAX);
            link.query(&link.statements.open, &[&codes::of_kind(*kind), &max]).await?
        }
        LoadRequest::Parked { kind, max } => {
            let max = i64::try_from(*max).unwrap_or(i64::MAX);
            link.query(&link.statements.parked, &[&codes::of_kind(*kind), &max]).await?
        }
    };
    rows.iter().map(row::read).collect()
}

/// Stores changes of different rows in one transaction.
pub(super) async fn commit(link: &Link, changes: &[&Change]) -> Result<Vec<CommitAnswer>, Fault> {
    // The newest version that a table holds is never one to be replaced.
    let fit: Vec<&Change> = changes.iter().copied().filter(|change| change.row.version < i64::MAX.cast_unsigned()).collect();
    let numbers = |of: fn(&Row) -> i64| -> Vec<i64> { fit.iter().map(|change| of(&change.row)).collect() };
    let (kinds, keys) = parts(fit.iter().map(|change| change.row.key));
    let (flows, states) = (numbers(|row| codes::of_flow(row.flow)), numbers(|row| codes::of_state(row.state)));
    let routes: Vec<&str> = fit.iter().map(|change| change.row.route.as_ref().map_or("", Route::as_str)).collect();
    let (versions, epochs) = (numbers(|row| row.version.cast_signed()), numbers(|row| row.lease_epoch.cast_signed()));
    let owners: Vec<Option<&str>> = fit.iter().map(|change| change.row.owner.as_ref().map(InstanceId::as_str)).collect();
    let ends = numbers(|row| row.lease_until.as_micros());
    let leases: Vec<Option<i64>> = fit.iter().map(|change| change.lease.map(micros)).collect();
    let (attempts, deliveries) = (numbers(|row| i64::from(row.attempt)), numbers(|row| i64::from(row.delivery)));
    let due = numbers(|row| row.due.as_micros());
    let (created, updated) = (numbers(|row| row.created.as_micros()), numbers(|row| row.updated.as_micros()));
    let last: Vec<bool> = fit.iter().map(|change| change.row.state.is_final()).collect();
    let blobs: Vec<&[u8]> = fit.iter().map(|change| change.row.blob.as_bytes()).collect();
    let stored = if fit.is_empty() {
        HashSet::new()
    } else {
        let rows = link
            .query(
                &link.statements.commit,
                &[
                    &kinds,
                    &keys,
                    &flows,
                    &routes,
                    &states,
                    &versions,
                    &epochs,
                    &owners,
                    &ends,
                    &leases,
                    &attempts,
                    &deliveries,
                    &due,
                    &created,
                    &updated,
                    &last,
                    &blobs,
                ],
            )
            .await?;
        rows.iter().map(|found| row::key(found, 0, 1)).collect::<Result<HashSet<RowKey>, Fault>>()?
    };
    let answer = |change: &&Change| match stored.contains(&change.row.key) {
        true => CommitAnswer::Stored(change.row.version.saturating_add(1)),
        false => CommitAnswer::Conflict,
    };
    Ok(changes.iter().map(answer).collect())
}

pub(super) async fn claim(link: &Link, request: &ClaimRequest) -> Result<Vec<Row>, Fault> {
    let (kind, flow) = (codes::of_kind(request.kind), codes::of_flow(request.flow));
    let (owner, max) = (request.owner.as_str(), request.max.min(MOST_CLAIMED) as i64);
    let lease = micros(request.lease);
    let routes: Option<Vec<&str>> = request.routes.as_ref().map(|routes| {
        let routes: BTreeSet<&str> = routes.iter().map(Route::as_str).chain([""]).collect();
        routes.into_iter().collect()
    });
    let statement = if routes.is_some() { &link.statements.claim_routes } else { &link.statements.claim_any };
    let claimed = link.query(statement, &[&kind, &flow, &owner, &max, &request.own, &lease, &routes]).await?;
    let mut epochs = HashMap::new();
    for found in &claimed {
        epochs.insert(row::key(found, 0, 1)?, found.try_get::<_, i64>(2)?.cast_unsigned());
    }
    if epochs.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = load(link, &LoadRequest::Keys(epochs.keys().copied().collect())).await.map_err(claimed_unread)?;
    // A lease that is short may have ended meanwhile, and another instance may have the row.
    rows.retain(|row| epochs.get(&row.key) == Some(&row.lease_epoch) && row.owner.as_ref() == Some(&request.owner));
    rows.sort_by_key(|row| (row.created, row.key));
    Ok(rows)
}

/// Rows were claimed and then not read: something was done, whatever the second statement's answer says.
fn claimed_unread(fault: Fault) -> Fault {
    match fault {
        Fault::Row(_) => fault,
        _ => Fault::TimedOut,
    }
}

pub(super) async fn renew(link: &Link, request: &RenewRequest) -> Result<Vec<RowKey>, Fault> {
    if request.rows.is_empty() {
        return Ok(Vec::new());
    }
    let (kinds, keys) = parts(request.rows.iter().map(|(key, _)| *key));
    let epochs: Vec<i64> = request.rows.iter().map(|(_, epoch)| epoch.cast_signed()).collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&kinds, &keys, &epochs, &request.owner.as_str(), &micros(request.lease)];
    let rows = link.query(&link.statements.renew, &values).await?;
    rows.iter().map(|found| row::key(found, 0, 1)).collect()
}

pub(super) async fn prune(link: &Link, request: &PruneRequest) -> Result<u64, Fault> {
    let max = request.max.min(MOST_PRUNED) as i64;
    let rows = link
        .query(
            &link.statements.prune,
            &[&request.before.as_micros(), &max, &request.parked_before.as_micros(), &request.now.map(Timestamp::as_micros)],
        )
        .await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) async fn stats(link: &Link) -> Result<JournalStats, Fault> {
    let kinds: Vec<i64> = codes::KINDS.into_iter().filter(|kind| *kind != RowKind::Instance).map(codes::of_kind).collect();
    let rows = link.query(&link.statements.stats, &[&kinds]).await?;
    let mut stats = JournalStats::default();
    if let Some(row) = rows.first() {
        stats.open = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
        stats.finished = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
        stats.oldest_open = row.try_get::<_, Option<i64>>(2)?.map(Timestamp::from_micros);
    }
    Ok(stats)
}
