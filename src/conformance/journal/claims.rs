//! Checks of who gets which rows, and for how long.

use core::time::Duration;
use std::collections::HashMap;

use futures_util::future::join_all;

use super::{LEASE, Test};
use crate::conformance::report::{Stop, broken, demand};
use crate::ids::{InstanceId, Route};
use crate::ports::{Change, ClaimRequest, CommitAnswer, LoadRequest, RenewRequest, Row, RowKey, RowKind};
use crate::terms::Flow;
use crate::time::Timestamp;

/// A lease of 1 ms ends during so many calls, whatever the clock that ends it; each takes longer than 100 ns.
const CLAIMS: usize = 100_000;

impl Test<'_> {
    /// Claims again and again until a row is among what comes, for leases that end by another clock.
    async fn claim_in_time(&self, owner: &str, key: RowKey) -> Result<Row, Stop> {
        for _ in 0..CLAIMS {
            if let Some(row) = self.claim(owner, LEASE).await?.into_iter().find(|row| row.key == key) {
                return Ok(row);
            }
        }
        Err(Stop::Failed(format!("a row whose lease of 1 ms had ended was not claimed in {CLAIMS} calls")))
    }

    fn claim_request(&self, owner: &str, lease: Duration) -> Result<ClaimRequest, Stop> {
        let owner = owner.parse().map_err(broken)?;
        Ok(ClaimRequest::new(RowKind::Request, Flow::Pkcs, owner, 10_000, Timestamp::system_now(), lease))
    }

    pub(super) async fn renews_what_was_taken_over(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let old = self.claim("conformance a", Duration::from_millis(1)).await?.into_iter().find(|claimed| claimed.key == row.key);
        let old = old.ok_or_else(|| Stop::Failed("the row was not claimed".to_owned()))?;
        let new = self.claim_in_time("conformance b", row.key).await?;
        let renew = async |owner: &str, epoch: u64| -> Result<usize, Stop> {
            let owner = owner.parse().map_err(broken)?;
            Ok(self.journal.renew(RenewRequest::new(vec![(row.key, epoch)], owner, Timestamp::system_now(), LEASE)).await?.len())
        };
        demand(renew("conformance a", old.lease_epoch).await? == 0, || "the old owner prolonged it".to_owned())?;
        demand(renew("conformance a", new.lease_epoch).await? == 0, || "the old owner prolonged it under the new epoch".to_owned())?;
        demand(renew("conformance b", new.lease_epoch).await? == 1, || "the new owner could not prolong it".to_owned())?;
        // A renewal is no change of the row: what the owner commits next names the same version.
        let answer = self.commit(new).await?;
        demand(matches!(answer, CommitAnswer::Stored(_)), || "after prolonging it the owner's commit was refused".to_owned())?;
        self.end(row.key).await
    }

    pub(super) async fn claims_raise(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let claimed = self.claim("conformance a", LEASE).await?.into_iter().find(|claimed| claimed.key == row.key);
        let claimed = claimed.ok_or_else(|| Stop::Failed("the row was not claimed".to_owned()))?;
        demand(claimed.version > row.version && claimed.lease_epoch > row.lease_epoch, || {
            let (version, epoch) = (claimed.version, claimed.lease_epoch);
            format!("version {} and epoch {} became {version} and {epoch}", row.version, row.lease_epoch)
        })?;
        let read = self.load(row.key).await?;
        demand(read.as_ref() == Some(&claimed), || format!("claimed {claimed:?}, read {read:?}"))?;
        let answer = self.commit(row.clone()).await?;
        demand(answer == CommitAnswer::Conflict, || "a commit of the version before the claim was stored".to_owned())?;
        self.end(row.key).await
    }

    pub(super) async fn routes(&self) -> Result<(), Stop> {
        let (mut left, mut right, none) = (self.row()?, self.row()?, self.row()?);
        left.route = Some("conformance left".parse().map_err(broken)?);
        right.route = Some("conformance right".parse().map_err(broken)?);
        let keys = [left.key, right.key, none.key];
        for row in [left.clone(), right.clone(), none] {
            let route = row.route.clone();
            let key = self.stored(row).await?.key;
            demand(self.load(key).await?.is_some_and(|read| read.route == route), || "the route was not read back".to_owned())?;
        }
        let claim = async |routes: Option<Vec<Route>>| -> Result<Vec<bool>, Stop> {
            let mut request = self.claim_request("conformance a", Duration::ZERO)?;
            request.routes = routes;
            let rows = self.journal.claim(request).await?;
            Ok(keys.iter().map(|key| rows.iter().any(|row| row.key == *key)).collect())
        };
        let routes = |rows: &[&Row]| Some(rows.iter().filter_map(|row| row.route.clone()).collect::<Vec<_>>());
        for (asked, expected) in [
            (routes(&[&left]), [true, false, true]),
            (routes(&[&right, &right]), [false, true, true]),
            (routes(&[]), [false, false, true]),
            (routes(&[&right, &left]), [true, true, true]),
            (None, [true, true, true]),
        ] {
            let came = claim(asked.clone()).await?;
            demand(came == expected, || format!("for {asked:?} rows of left, right and no route came: {came:?}"))?;
        }
        // A route that changes is the one that counts.
        let mut moved = self.load(left.key).await?.ok_or_else(|| Stop::Failed("the row is lost".to_owned()))?;
        moved.route = right.route.clone();
        self.commit(moved).await?;
        let came = claim(routes(&[&left])).await?;
        demand(came == [false, false, true], || "a row was claimed for the route that it had before".to_owned())?;
        for key in keys {
            self.end(key).await?;
        }
        Ok(())
    }

    pub(super) async fn own_rows(&self) -> Result<(), Stop> {
        let mut rows = [self.stored(self.row()?).await?, self.stored(self.row()?).await?];
        let ours = |claimed: &[Row]| rows.iter().filter(|row| claimed.iter().any(|claimed| claimed.key == row.key)).count();
        let claimed = self.claim("conformance a", LEASE).await?;
        demand(ours(&claimed) == 2, || "the rows were not claimed".to_owned())?;
        let claimed = self.claim("conformance a", LEASE).await?;
        demand(ours(&claimed) == 0, || "rows under a living lease were claimed by their owner, who did not ask for its own".to_owned())?;
        let claimed = self.journal.claim(self.claim_request("conformance b", LEASE)?.with_own()).await?;
        demand(ours(&claimed) == 0, || "another instance took them as its own".to_owned())?;
        let before = self.load(rows[0].key).await?;
        let claimed = self.journal.claim(self.claim_request("conformance a", LEASE)?.with_own()).await?;
        demand(ours(&claimed) == 2, || format!("{} of its own 2 rows came", ours(&claimed)))?;
        let after = self.load(rows[0].key).await?;
        let raised = before.zip(after).is_some_and(|(before, after)| after.lease_epoch > before.lease_epoch);
        demand(raised, || "taking its own row did not raise the epoch".to_owned())?;
        // Its clock was set back: what it has is due in the future.
        for row in &mut rows {
            *row = self.load(row.key).await?.ok_or_else(|| Stop::Failed("the row is lost".to_owned()))?;
            row.due = Timestamp::system_now().saturating_add(LEASE);
            let answers = self.journal.commit(vec![Change::new(row.clone()).with_lease(LEASE)]).await?;
            demand(matches!(answers[..], [CommitAnswer::Stored(_)]), || "the row was not stored".to_owned())?;
        }
        let ours = |claimed: &[Row]| rows.iter().filter(|row| claimed.iter().any(|claimed| claimed.key == row.key)).count();
        let claimed = self.journal.claim(self.claim_request("conformance a", LEASE)?.with_own()).await?;
        demand(ours(&claimed) == 2, || "what it has and is not due yet was left".to_owned())?;
        for row in &rows {
            self.end(row.key).await?;
        }
        let claimed = self.journal.claim(self.claim_request("conformance a", LEASE)?.with_own()).await?;
        demand(ours(&claimed) == 0, || "final rows were claimed".to_owned())
    }

    pub(super) async fn change_with_lease(&self) -> Result<(), Stop> {
        let commit = async |mut row: Row, lease: Duration| -> Result<Row, Stop> {
            row.owner = Some("conformance a".parse().map_err(broken)?);
            row.lease_until = Timestamp::system_now().saturating_add(lease);
            let answers = self.journal.commit(vec![Change::new(row.clone()).with_lease(lease)]).await?;
            let [CommitAnswer::Stored(version)] = answers[..] else {
                return Err(Stop::Failed(format!("it was answered with {answers:?}")));
            };
            row.version = version;
            Ok(row)
        };
        let row = commit(self.row()?, LEASE).await?;
        let claimed = self.claim("conformance b", LEASE).await?;
        demand(claimed.iter().all(|claimed| claimed.key != row.key), || "a new row was taken during its lease".to_owned())?;
        let row = commit(row, LEASE).await?;
        let claimed = self.claim("conformance b", LEASE).await?;
        demand(claimed.iter().all(|claimed| claimed.key != row.key), || "a changed row was taken during its lease".to_owned())?;
        let old = commit(row, Duration::from_millis(1)).await?;
        let new = self.claim_in_time("conformance b", old.key).await?;
        demand(new.lease_epoch > old.lease_epoch, || "taking over did not raise the epoch".to_owned())?;
        let answer = self.commit(old).await?;
        demand(answer == CommitAnswer::Conflict, || "the old owner's commit was stored".to_owned())?;
        self.end(new.key).await
    }

    pub(super) async fn claims_race(&self) -> Result<(), Stop> {
        const ROWS: usize = 40;
        let mut rows = Vec::new();
        for _ in 0..ROWS {
            rows.push(self.row()?);
        }
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key).collect();
        self.journal.commit(rows.into_iter().map(Change::new).collect()).await?;
        let claims = (0..8).map(async |number| {
            let owner = format!("conformance {number}");
            let mut claimed = Vec::new();
            // Some go away empty-handed while others are at it.
            for _ in 0..ROWS {
                let mut request = self.claim_request(&owner, LEASE)?;
                request.max = 3;
                claimed.extend(self.journal.claim(request).await?);
            }
            Ok::<_, Stop>((owner, claimed))
        });
        let mut taken = HashMap::new();
        for claimed in join_all(claims).await {
            let (owner, rows) = claimed?;
            for row in rows.into_iter().filter(|row| keys.contains(&row.key)) {
                let other = taken.insert(row.key, owner.clone());
                demand(other.is_none(), || format!("a row went to {owner} and to {}", other.unwrap_or_default()))?;
            }
        }
        demand(taken.len() == ROWS, || format!("{} of {ROWS} rows were claimed", taken.len()))?;
        for row in self.journal.load(LoadRequest::Keys(keys.clone())).await? {
            let good = row.owner.as_ref().map(InstanceId::as_str) == taken.get(&row.key).map(String::as_str);
            demand(good, || "a row is stored with another owner than the one that got it".to_owned())?;
        }
        for key in keys {
            self.end(key).await?;
        }
        Ok(())
    }

    pub(super) async fn claims_at_most(&self) -> Result<(), Stop> {
        let mut keys = Vec::new();
        for number in 0..6u8 {
            let mut row = self.row()?;
            row.route = (number % 2 == 0).then(|| format!("conformance {number}").parse().map_err(broken)).transpose()?;
            keys.push(self.stored(row).await?.key);
        }
        for max in [0, 1, 4] {
            let mut request = self.claim_request("conformance a", Duration::ZERO)?;
            request.max = max;
            let claimed = self.journal.claim(request).await?.len();
            demand(claimed == max, || format!("{claimed} rows instead of {max}"))?;
        }
        for key in keys {
            self.end(key).await?;
        }
        Ok(())
    }
}
