//! Checks of a journal.

mod claims;

use core::time::Duration;

use futures_util::future::join_all;

use super::report::{Report, Stop, broken, demand};
use crate::crypto::CryptoProvider;
use crate::ids::{IdempotencyKey, InstanceId};
use crate::ports::{
    Change, ClaimRequest, CommitAnswer, Journal, LoadRequest, PruneRequest, RenewRequest, Row, RowKey, RowKind, RowState, SealedBlob,
};
use crate::terms::Flow;
use crate::time::Timestamp;

const LEASE: Duration = Duration::from_secs(3_600);

/// Checks a journal that is reserved for it: rows are stored, claimed and pruned. Rows of other kinds than requests are not touched.
pub async fn check_journal(journal: &dyn Journal, provider: &CryptoProvider) -> Report {
    let mut report = Report::new("Journal");
    let test = Test { journal, provider };
    report.run("a stored row is read back as it was", test.reads_back()).await;
    report.run("missing rows are left out", test.leaves_out()).await;
    report.run("a commit of an older version is a conflict and changes nothing", test.versions()).await;
    report.run("a new row does not replace one that is there", test.new_rows()).await;
    report.run("each change of a commit has its own answer, in order", test.batches()).await;
    report.run("of commits at the same time one wins", test.races()).await;
    report.run("a claimed row belongs to its owner until the lease ends", test.claims()).await;
    report.run("a commit by an older owner is a conflict", test.epochs()).await;
    report.run("only its owner prolongs a lease", test.renews()).await;
    report.run("a lease that was taken over is not prolonged", test.renews_what_was_taken_over()).await;
    report.run("each claim raises version and epoch, in what it gives and in what is stored", test.claims_raise()).await;
    report.run("rows with a route are claimed for that route alone, rows without one for any", test.routes()).await;
    report.run("an instance that has started anew takes its own rows, whatever their lease", test.own_rows()).await;
    report.run("a change with a lease keeps the row from others until it ends", test.change_with_lease()).await;
    report.run("of claims at the same time each row goes to one owner", test.claims_race()).await;
    report.run("a claim takes no more rows than asked for", test.claims_at_most()).await;
    report.run("final rows and rows that are not due are not claimed", test.claims_what_is_due()).await;
    report.run("open rows are read oldest first, and no more than asked for", test.open_rows()).await;
    report.run("the stats count open and finished rows", test.stats()).await;
    report.run("only final rows are pruned", test.prunes()).await;
    report.run("parked rows are listed, and kept as long as asked for", test.parked()).await;
    report
}

struct Test<'a> {
    journal: &'a dyn Journal,
    provider: &'a CryptoProvider,
}

impl Test<'_> {
    /// A new row with a random key.
    fn row(&self) -> Result<Row, Stop> {
        let mut key = [0; 32];
        self.provider.random().map_err(broken)?.fill(&mut key).map_err(broken)?;
        let key = RowKey { kind: RowKind::Request, key: IdempotencyKey::new(key) };
        Ok(Row::new(key, Flow::Pkcs, Timestamp::system_now(), SealedBlob::new(b"conformance test".to_vec())))
    }

    async fn commit(&self, row: Row) -> Result<CommitAnswer, Stop> {
        let answers = self.journal.commit(vec![Change::new(row)]).await?;
        match answers.as_slice() {
            [answer] => Ok(*answer),
            other => Err(Stop::Failed(format!("{} answers to one change", other.len()))),
        }
    }

    /// Stores a new row; gives it as stored.
    async fn stored(&self, mut row: Row) -> Result<Row, Stop> {
        match self.commit(row.clone()).await? {
            CommitAnswer::Stored(version) => {
                row.version = version;
                Ok(row)
            }
            CommitAnswer::Conflict => Err(Stop::Failed("a new row was answered with a conflict".to_owned())),
        }
    }

    async fn load(&self, key: RowKey) -> Result<Option<Row>, Stop> {
        let mut rows = self.journal.load(LoadRequest::Keys(vec![key])).await?;
        demand(rows.len() <= 1, || format!("{} rows of one key", rows.len()))?;
        Ok(rows.pop())
    }

    async fn claim(&self, owner: &str, lease: Duration) -> Result<Vec<Row>, Stop> {
        let owner = owner.parse().map_err(broken)?;
        let request = ClaimRequest::new(RowKind::Request, Flow::Pkcs, owner, 10_000, Timestamp::system_now(), lease);
        Ok(self.journal.claim(request).await?)
    }

    /// Ends a row so that the later checks do not meet it.
    async fn end(&self, key: RowKey) -> Result<(), Stop> {
        if let Some(mut row) = self.load(key).await? {
            row.state = RowState::Acknowledged;
            self.commit(row).await?;
        }
        Ok(())
    }

    async fn reads_back(&self) -> Result<(), Stop> {
        let mut row = self.row()?;
        row.state = RowState::Asked;
        row.attempt = 3;
        row.delivery = 2;
        row.blob = SealedBlob::new((0..=255).collect());
        let row = self.stored(row).await?;
        let read = self.load(row.key).await?;
        demand(row.version > 0, || "its version was not raised".to_owned())?;
        demand(read.as_ref() == Some(&row), || format!("stored {row:?}, read {read:?}"))?;
        self.end(row.key).await
    }

    async fn leaves_out(&self) -> Result<(), Stop> {
        let there = self.stored(self.row()?).await?;
        let rows = self.journal.load(LoadRequest::Keys(vec![self.row()?.key, there.key])).await?;
        demand(rows.len() == 1 && rows.iter().all(|row| row.key == there.key), || format!("{} rows came", rows.len()))?;
        self.end(there.key).await
    }

    async fn versions(&self) -> Result<(), Stop> {
        let old = self.stored(self.row()?).await?;
        let mut new = old.clone();
        new.attempt = 7;
        let CommitAnswer::Stored(version) = self.commit(new).await? else {
            return Err(Stop::Failed("a commit of the newest version was refused".to_owned()));
        };
        demand(version > old.version, || "the version was not raised".to_owned())?;
        let mut stale = old.clone();
        stale.attempt = 99;
        let answer = self.commit(stale).await?;
        demand(answer == CommitAnswer::Conflict, || format!("a commit of version {} over {version} was {answer:?}", old.version))?;
        let read = self.load(old.key).await?;
        demand(read.is_some_and(|row| row.attempt == 7), || "the refused commit changed the row".to_owned())?;
        self.end(old.key).await
    }

    async fn new_rows(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let mut new = row.clone();
        new.version = 0;
        let answer = self.commit(new).await?;
        demand(answer == CommitAnswer::Conflict, || format!("it answered {answer:?}"))?;
        self.end(row.key).await
    }

    async fn batches(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let mut conflicting = row.clone();
        conflicting.version += 5;
        let (first, last) = (self.row()?, self.row()?);
        let changes = vec![Change::new(first.clone()), Change::new(conflicting), Change::new(last.clone())];
        let answers = self.journal.commit(changes).await?;
        let good = matches!(answers.as_slice(), [CommitAnswer::Stored(_), CommitAnswer::Conflict, CommitAnswer::Stored(_)]);
        demand(good, || format!("new, conflicting, new was answered with {answers:?}"))?;
        for key in [row.key, first.key, last.key] {
            self.end(key).await?;
        }
        Ok(())
    }

    async fn races(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let commits = (0..8).map(|number| {
            let mut row = row.clone();
            row.attempt = number;
            self.commit(row)
        });
        let mut wins = 0;
        for answer in join_all(commits).await {
            wins += usize::from(matches!(answer?, CommitAnswer::Stored(_)));
        }
        demand(wins == 1, || format!("{wins} of 8 commits of one version were stored"))?;
        self.end(row.key).await
    }

    async fn claims(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let ours = |rows: Vec<Row>| rows.into_iter().find(|claimed| claimed.key == row.key);
        // A lease of no time has ended at once, whatever clock the journal uses.
        let first = ours(self.claim("conformance a", Duration::ZERO).await?);
        let first = first.ok_or_else(|| Stop::Failed("a free row that was due was not claimed".to_owned()))?;
        demand(first.lease_epoch > row.lease_epoch, || "the claim did not raise the epoch".to_owned())?;
        demand(first.owner.as_ref().map(InstanceId::as_str) == Some("conformance a"), || "the claim did not set the owner".to_owned())?;
        let second = ours(self.claim("conformance b", LEASE).await?);
        let second = second.ok_or_else(|| Stop::Failed("a row whose lease had ended was not claimed".to_owned()))?;
        demand(second.lease_epoch > first.lease_epoch, || "taking over did not raise the epoch".to_owned())?;
        demand(ours(self.claim("conformance c", LEASE).await?).is_none(), || "a living lease was taken over".to_owned())?;
        self.end(row.key).await
    }

    async fn epochs(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let ours = |rows: Vec<Row>| rows.into_iter().find(|claimed| claimed.key == row.key);
        let old = ours(self.claim("conformance a", Duration::ZERO).await?);
        let new = ours(self.claim("conformance b", LEASE).await?);
        let (Some(old), Some(new)) = (old, new) else {
            return Err(Stop::Failed("the row was not claimed twice".to_owned()));
        };
        // The newest version under the old epoch: it is the epoch that must be held against it.
        let mut late = old.clone();
        late.version = new.version;
        let answer = self.commit(late).await?;
        demand(answer == CommitAnswer::Conflict, || {
            format!("a commit under epoch {} over {} was {answer:?}", old.lease_epoch, new.lease_epoch)
        })?;
        let answer = self.commit(new).await?;
        demand(matches!(answer, CommitAnswer::Stored(_)), || "the owner's commit was refused".to_owned())?;
        self.end(row.key).await
    }

    async fn renews(&self) -> Result<(), Stop> {
        let row = self.stored(self.row()?).await?;
        let claimed = self.claim("conformance a", LEASE).await?.into_iter().find(|claimed| claimed.key == row.key);
        let claimed = claimed.ok_or_else(|| Stop::Failed("the row was not claimed".to_owned()))?;
        let renew = async |owner: &str, epoch: u64| -> Result<bool, Stop> {
            let owner = owner.parse().map_err(broken)?;
            let held = self.journal.renew(RenewRequest::new(vec![(row.key, epoch)], owner, Timestamp::system_now(), LEASE)).await?;
            Ok(held.contains(&row.key))
        };
        demand(renew("conformance a", claimed.lease_epoch).await?, || "the owner could not prolong its lease".to_owned())?;
        demand(!renew("conformance b", claimed.lease_epoch).await?, || "another instance prolonged the lease".to_owned())?;
        demand(!renew("conformance a", claimed.lease_epoch + 1).await?, || "a lease of another epoch was prolonged".to_owned())?;
        self.end(row.key).await
    }

    async fn claims_what_is_due(&self) -> Result<(), Stop> {
        let mut later = self.row()?;
        later.due = later.due.saturating_add(LEASE);
        let mut done = self.row()?;
        done.state = RowState::Acknowledged;
        let mut other_flow = self.row()?;
        other_flow.flow = Flow::Revoke;
        let keys = [later.key, done.key, other_flow.key];
        for row in [later, done, other_flow] {
            self.stored(row).await?;
        }
        let claimed = self.claim("conformance a", Duration::ZERO).await?;
        let wrong = claimed.iter().filter(|row| keys.contains(&row.key)).count();
        demand(wrong == 0, || format!("{wrong} rows that are later, done or another flow's were claimed"))?;
        for key in keys {
            self.end(key).await?;
        }
        Ok(())
    }

    async fn open_rows(&self) -> Result<(), Stop> {
        let mut keys = Vec::new();
        // Stored in another order than made.
        for age in [3_600, 10_800, 7_200] {
            let mut row = self.row()?;
            row.created = row.created.saturating_sub(Duration::from_secs(age));
            keys.push((age, self.stored(row).await?.key));
        }
        let open = self.journal.load(LoadRequest::Open { kind: RowKind::Request, max: 10_000 }).await?;
        demand(open.is_sorted_by_key(|row| row.created), || "they came in another order".to_owned())?;
        demand(open.iter().all(|row| !row.state.is_final()), || "a final row came".to_owned())?;
        demand(keys.iter().all(|(_, key)| open.iter().any(|row| row.key == *key)), || "an open row is missing".to_owned())?;
        let two = self.journal.load(LoadRequest::Open { kind: RowKind::Request, max: 2 }).await?;
        demand(two.len() == 2, || format!("{} rows instead of 2", two.len()))?;
        for (_, key) in keys {
            self.end(key).await?;
        }
        Ok(())
    }

    async fn stats(&self) -> Result<(), Stop> {
        let before = self.journal.stats().await?;
        let row = self.stored(self.row()?).await?;
        let during = self.journal.stats().await?;
        demand(during.open == before.open + 1, || format!("open went from {} to {} by one new row", before.open, during.open))?;
        demand(during.oldest_open.is_some_and(|oldest| oldest <= row.created), || "the oldest open row is not known".to_owned())?;
        self.end(row.key).await?;
        let after = self.journal.stats().await?;
        let good = after.open == before.open && after.finished == before.finished + 1;
        demand(good, || format!("after its end there are {} open and {} finished rows", after.open, after.finished))
    }

    async fn parked(&self) -> Result<(), Stop> {
        let mut row = self.stored(self.row()?).await?;
        row.state = RowState::Parked;
        demand(matches!(self.commit(row.clone()).await?, CommitAnswer::Stored(_)), || "a row could not be parked".to_owned())?;
        let parked = self.journal.load(LoadRequest::Parked { kind: RowKind::Request, max: 10_000 }).await?;
        demand(parked.iter().any(|found| found.key == row.key), || "a parked row is not listed".to_owned())?;
        demand(parked.iter().all(|found| found.state == RowState::Parked), || "a row that is not parked is listed".to_owned())?;
        let later = Timestamp::system_now().saturating_add(LEASE);
        self.journal.prune(PruneRequest::new(later, 10_000).with_parked_before(Timestamp::from_secs(1))).await?;
        demand(self.load(row.key).await?.is_some(), || "a parked row was pruned before its time".to_owned())?;
        self.journal.prune(PruneRequest::new(later, 10_000)).await?;
        demand(self.load(row.key).await?.is_none(), || "a parked row was not pruned".to_owned())
    }

    async fn prunes(&self) -> Result<(), Stop> {
        let open = self.stored(self.row()?).await?;
        let done = self.stored(self.row()?).await?;
        self.end(done.key).await?;
        let past = self.journal.prune(PruneRequest::new(Timestamp::from_secs(1), 10_000)).await?;
        demand(past == 0, || format!("{past} rows from before 1970-01-01T00:00:01Z were pruned"))?;
        let later = Timestamp::system_now().saturating_add(LEASE);
        let pruned = self.journal.prune(PruneRequest::new(later, 10_000)).await?;
        demand(pruned >= 1, || "no row was pruned".to_owned())?;
        demand(self.load(done.key).await?.is_none(), || "a final row is still there".to_owned())?;
        demand(self.load(open.key).await?.is_some(), || "an open row was pruned".to_owned())?;
        self.end(open.key).await
    }
}
