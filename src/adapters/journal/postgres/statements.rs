//! The statements. Each is one transaction; whoever waits for rows waits for them in the order of their keys, so that no two wait for each other.

use futures_util::future::try_join4;
use tokio_postgres::{Client, Error, Statement};

use super::schema::Names;

/// The server's time in microseconds.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

macro_rules! columns {
    () => {
        "e.kind, e.key, e.flow, e.route, e.state, e.version, e.lease_epoch, e.owner, e.lease_until, e.attempt, e.delivery, e.due, e.created,
         e.updated, e.blob"
    };
}

const BY_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS i(kind, key, n)
      JOIN {schema}.entry e ON e.kind = i.kind AND e.key = i.key ORDER BY i.n"
);

const OPEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM {schema}.entry e WHERE e.ended IS NULL AND e.kind = $1 ORDER BY e.created, e.key LIMIT $2::bigint"
);

const PARKED: &str =
    concat!("SELECT ", columns!(), " FROM {schema}.entry e WHERE e.state = 9 AND e.kind = $1 ORDER BY e.created, e.key LIMIT $2::bigint");

/// First the rows that are there are locked, in order; then they are changed where version and epoch are those expected; last the new ones
/// are added, in order.
const COMMIT: &str = concat!(
    "WITH input AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::boolean[], $17::bytea[])
            AS i(kind, key, flow, route, state, version, lease_epoch, owner, lease_until, lease, attempt, delivery, due, created, updated,
                 final, blob)
    ), locked AS MATERIALIZED (
        SELECT i.* FROM input i JOIN {schema}.entry e ON e.kind = i.kind AND e.key = i.key ORDER BY e.kind, e.key FOR UPDATE OF e
    ), changed AS (
        UPDATE {schema}.entry e SET flow = l.flow, route = l.route, state = l.state, version = l.version + 1, owner = l.owner,
            lease_until = CASE WHEN l.lease IS NULL THEN l.lease_until ELSE l.lease + ",
    now!(),
    " END, attempt = l.attempt, delivery = l.delivery, due = l.due, created = l.created, updated = l.updated,
            ended = CASE WHEN l.final THEN greatest(l.updated, ",
    now!(),
    ") END, blob = l.blob
        FROM locked l WHERE e.kind = l.kind AND e.key = l.key AND e.version = l.version AND e.lease_epoch = l.lease_epoch
        RETURNING e.kind, e.key
    ), added AS (
        INSERT INTO {schema}.entry (kind, key, flow, route, state, version, lease_epoch, owner, lease_until, attempt, delivery, due, created,
            updated, ended, blob)
        SELECT i.kind, i.key, i.flow, i.route, i.state, 1, i.lease_epoch, i.owner,
            CASE WHEN i.lease IS NULL THEN i.lease_until ELSE i.lease + ",
    now!(),
    " END, i.attempt, i.delivery, i.due, i.created, i.updated, CASE WHEN i.final THEN greatest(i.updated, ",
    now!(),
    ") END, i.blob
        FROM input i WHERE i.version = 0 ORDER BY i.kind, i.key
        ON CONFLICT (kind, key) DO NOTHING RETURNING kind, key
    )
    SELECT kind, key FROM changed UNION ALL SELECT kind, key FROM added"
);

/// Gives keys and epochs alone: a process that is stopped while a long answer is on its way would hold the locks. What follows `routes`
/// names the routes to look at; each is one look into the index.
macro_rules! claim {
    ($routes:literal) => {
        concat!(
            "WITH RECURSIVE clock AS MATERIALIZED (SELECT ",
            now!(),
            " AS now), routes AS (",
            $routes,
            "), own AS MATERIALIZED (
                SELECT e.kind, e.key, e.available FROM {schema}.entry e
                WHERE $5 AND e.ended IS NULL AND e.owner = $3 AND e.kind = $1 AND e.flow = $2
                    AND e.available > (SELECT now FROM clock) AND ($7::text[] IS NULL OR e.route = ANY ($7::text[]))
                ORDER BY e.due LIMIT $4::bigint FOR UPDATE OF e SKIP LOCKED
            ), free AS MATERIALIZED (
                SELECT f.kind, f.key, f.available FROM routes r, LATERAL (
                    SELECT e.kind, e.key, e.available FROM {schema}.entry e
                    WHERE e.ended IS NULL AND e.kind = $1 AND e.flow = $2 AND e.route = r.route AND e.available <= (SELECT now FROM clock)
                    ORDER BY e.available LIMIT $4::bigint FOR UPDATE OF e SKIP LOCKED
                ) f
            ), chosen AS MATERIALIZED (
                SELECT kind, key FROM (SELECT 0 AS place, * FROM own UNION ALL SELECT 1, * FROM free) o
                ORDER BY place, available LIMIT $4::bigint
            )
            UPDATE {schema}.entry e SET version = least(e.version, 9223372036854775806) + 1,
                lease_epoch = least(e.lease_epoch, 9223372036854775806) + 1, owner = $3,
                lease_until = (SELECT now FROM clock) + $6::bigint, updated = (SELECT now FROM clock)
            FROM chosen c WHERE e.kind = c.kind AND e.key = c.key
            RETURNING e.kind, e.key, e.lease_epoch"
        )
    };
}

const CLAIM_ROUTES: &str = claim!("SELECT DISTINCT route FROM unnest($7::text[]) AS r(route)");

/// From one route to the next: a look into the index for each, however many rows there are.
const CLAIM_ANY: &str = claim!(
    "(SELECT min(e.route) AS route FROM {schema}.entry e WHERE e.ended IS NULL AND e.kind = $1 AND e.flow = $2)
     UNION ALL
     SELECT (SELECT min(e.route) FROM {schema}.entry e WHERE e.ended IS NULL AND e.kind = $1 AND e.flow = $2 AND e.route > p.route)
     FROM routes p WHERE p.route IS NOT NULL"
);

const RENEW: &str = concat!(
    "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS i(kind, key, lease_epoch)),
    locked AS MATERIALIZED (
        SELECT i.* FROM input i JOIN {schema}.entry e ON e.kind = i.kind AND e.key = i.key
        WHERE e.lease_epoch = i.lease_epoch AND e.owner = $4 ORDER BY e.kind, e.key FOR UPDATE OF e
    )
    UPDATE {schema}.entry e SET lease_until = ",
    now!(),
    " + $5::bigint FROM locked l
    WHERE e.kind = l.kind AND e.key = l.key AND e.lease_epoch = l.lease_epoch AND e.owner = $4 RETURNING e.kind, e.key"
);

/// By the age of rows, as far as the caller says what time it takes it to be: ends are stored by the database's clock.
const PRUNE: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT coalesce(",
    now!(),
    " - $4::bigint, 0) AS ahead), old AS MATERIALIZED (
        SELECT e.kind, e.key FROM {schema}.entry e WHERE e.ended IS NOT NULL AND e.ended < $1 + (SELECT ahead FROM clock)
            AND (e.state <> 9 OR e.ended < $3 + (SELECT ahead FROM clock)) ORDER BY e.ended LIMIT $2::bigint
        FOR UPDATE OF e SKIP LOCKED
    ), gone AS (DELETE FROM {schema}.entry e USING old o WHERE e.kind = o.kind AND e.key = o.key RETURNING 1)
    SELECT count(*) FROM gone"
);

const STATS: &str =
    "SELECT (SELECT count(*) FROM {schema}.entry WHERE ended IS NULL AND kind <> 9), (SELECT count(*) FROM {schema}.entry WHERE ended IS NOT NULL),
    (SELECT min(o.oldest) FROM unnest($1::bigint[]) AS k(kind),
        LATERAL (SELECT min(e.created) AS oldest FROM {schema}.entry e WHERE e.ended IS NULL AND e.kind = k.kind) o)";

/// The statements on one connection.
pub(super) struct Statements {
    pub(super) by_key: Statement,
    pub(super) open: Statement,
    pub(super) parked: Statement,
    pub(super) commit: Statement,
    pub(super) claim_routes: Statement,
    pub(super) claim_any: Statement,
    pub(super) renew: Statement,
    pub(super) prune: Statement,
    pub(super) stats: Statement,
}

impl Statements {
    /// All at once: the cost of one round trip or two.
    pub(super) async fn prepare(client: &Client, names: &Names) -> Result<Self, Error> {
        let prepare = async |sql: &str| client.prepare(&names.fill(sql)).await;
        let (by_key, open, commit, claim_routes) =
            try_join4(prepare(BY_KEY), prepare(OPEN), prepare(COMMIT), prepare(CLAIM_ROUTES)).await?;
        let parked = prepare(PARKED).await?;
        let (claim_any, renew, prune, stats) = try_join4(prepare(CLAIM_ANY), prepare(RENEW), prepare(PRUNE), prepare(STATS)).await?;
        Ok(Self { by_key, open, parked, commit, claim_routes, claim_any, renew, prune, stats })
    }
}
