//! Takes, keeps and leaves a place among the instances of the tenant, and looks at the others.

use core::time::Duration;

use super::claim::route_of;
use super::fleet::{Content, Decision, FleetRefused, Incarnation, MOST_INSTANCES, Member, Numbers, Place, decide, skew};
use super::inner::Inner;
use crate::crypto::DigestAlgorithm;
use crate::event::EventId;
use crate::flow::FlowSpec;
use crate::ids::{IdempotencyKey, Route};
use crate::ports::{Change, ClaimRequest, CommitAnswer, JournalScope, PortError, Row, RowKey, RowKind, SealedBlob};
use crate::terms::Flow;
use crate::time::Timestamp;

/// Never changes: all instances must find the same rows.
const KEY_LABEL: &[u8] = b"intune-connector place in the fleet\0";
/// Rows of all kinds have a flow.
const FLOW: Flow = Flow::Health;
/// So often a place is tried that somebody else takes at the same moment, before it is left for later.
const MOST_TRIES: usize = 16;
/// Who has ended for less than this may be back soon: what only it can do waits for it.
const RECENTLY: Duration = Duration::from_secs(600);
/// For so long after its start an instance does not judge what the others have.
pub(super) const STARTING: Duration = Duration::from_secs(60);
/// The members are read again before a request is refused, unless they were in this time.
const FRESH: Duration = Duration::from_secs(10);

impl Inner {
    pub(super) fn is_fleet(&self) -> bool {
        self.journal.scope() == JournalScope::Fleet
    }

    /// Whether this instance may work.
    pub(super) fn may_work(&self) -> bool {
        !self.is_fleet() || self.fleet.state().place.is_some()
    }

    /// Takes a place, or keeps it; gives when to come back.
    pub(super) async fn attend(&self) -> Duration {
        let lease = self.options.lease;
        if self.fleet.state().place.is_some() {
            match self.keep_place().await {
                Some(true) => {
                    let looked = self.fleet.state().looked;
                    if looked.is_none_or(|looked| self.monotonic().saturating_sub(looked) >= lease) {
                        self.look().await;
                    }
                    return lease / 4;
                }
                Some(false) => {}
                None => return lease / 8,
            }
        }
        let pause = self.take_place().await;
        if self.may_work() {
            self.look().await;
        }
        pause
    }

    async fn take_place(&self) -> Duration {
        let (lease, later) = (self.options.lease, Duration::from_secs(1));
        let Some(numbers) = self.place_numbers() else { return later };
        for _ in 0..MOST_TRIES {
            let Some(rows) = self.load(place_keys(&numbers)).await else { return later };
            let places: Vec<Place> = rows.iter().filter_map(|row| self.place(row, &numbers)).collect();
            let me = (&self.context.instance, self.fleet.incarnation);
            let watch = self.fleet.state().watch;
            let decision = decide(&places, me, self.preferred_place(), watch, self.monotonic(), lease);
            let row = match decision {
                Decision::Take(number) => {
                    let key = numbers.iter().find(|(_, of)| **of == number).map(|(key, _)| *key);
                    let Some(key) = key.map(place_key) else { return later };
                    rows.into_iter().find(|row| row.key == key).unwrap_or_else(|| self.new_place(key))
                }
                Decision::Watch(watch) => {
                    self.fleet.state().watch = Some(watch);
                    return lease / 8;
                }
                Decision::Twin(watch) => {
                    self.fleet.state().watch = Some(watch);
                    self.refused(FleetRefused::SameName { instance: self.context.instance.clone() });
                    return lease / 8;
                }
                Decision::TakeExpired => {
                    let owner = self.context.instance.clone();
                    let request = ClaimRequest::new(RowKind::Instance, FLOW, owner, 1, self.now(), lease);
                    let call = async { self.journal.claim(request).await };
                    match self.guarded("Journal::claim", None, self.options.journal_timeout, call).await {
                        Ok(mut rows) if !rows.is_empty() => rows.swap_remove(0),
                        Ok(_) => {
                            self.refused(FleetRefused::Full { tenant: self.context.tenant.clone() });
                            return lease.clamp(later, Duration::from_secs(60));
                        }
                        Err(error) => {
                            self.journal_failed("Journal::claim", &error);
                            return later;
                        }
                    }
                }
            };
            match self.store_place(row).await {
                None => return later,
                Some(Err(())) => {}
                Some(Ok(row)) => {
                    let now = self.monotonic();
                    let mut state = self.fleet.state();
                    state.joined.get_or_insert(now);
                    (state.place, state.refused, state.watch) = (Some(row), None, None);
                    return lease / 4;
                }
            }
        }
        later
    }

    /// A sign of life. Whether the place is still this instance's; `None` when the journal is away.
    ///
    /// By a commit and not by `renew`: another process with this name would have the same owner and epoch, and cannot have the same version.
    async fn keep_place(&self) -> Option<bool> {
        let Some(row) = self.fleet.state().place.clone() else { return Some(false) };
        let key = row.key;
        let stored = match self.store_place(row).await? {
            Ok(row) => Ok(row),
            // An earlier sign of life of ours, whose answer was lost, may be what is stored.
            Err(()) => match self.load(vec![key]).await?.pop() {
                Some(row) if self.is_mine(&row) => self.store_place(row).await?,
                _ => Err(()),
            },
        };
        let mut state = self.fleet.state();
        state.place = stored.ok();
        Some(state.place.is_some())
    }

    /// Stores the row of this instance's place; `Err` when somebody else was faster, `None` when that is not known.
    async fn store_place(&self, mut row: Row) -> Option<Result<Row, ()>> {
        let flows: Vec<(Flow, Vec<Route>)> = {
            let flows = self.control.flows();
            flows.iter().map(|(flow, control)| (*flow, routes_of(&control.spec))).collect()
        };
        let content = Content {
            instance: self.context.instance.clone(),
            version: self.fleet.version.clone(),
            routes: flows.iter().flat_map(|(_, routes)| routes.clone()).collect(),
            flows: flows.into_iter().map(|(flow, _)| flow).collect(),
            incarnation: self.fleet.incarnation,
            started: self.built,
        };
        row.owner = Some(self.context.instance.clone());
        row.updated = self.now();
        row.lease_until = row.updated.saturating_add(self.options.lease);
        match self.sealer.seal(&row, content.encode().bytes()) {
            Ok(blob) => row.blob = blob,
            Err(error) => {
                self.journal_failed("seal", &PortError::misconfigured(error.to_string()));
                return None;
            }
        }
        let stored = self.commit(vec![row.clone()]).await?;
        Some(match stored.first() {
            Some(CommitAnswer::Stored(version)) => Ok(Row { version: *version, ..row }),
            _ => Err(()),
        })
    }

    /// Gives the place back, so that the next one has it at once.
    pub(super) async fn leave(&self) {
        let Some(row) = self.fleet.state().place.take() else { return };
        let Some(rows) = self.load(vec![row.key]).await else { return };
        let Some(mut row) = rows.into_iter().find(|row| self.is_mine(row)) else { return };
        (row.owner, row.updated) = (None, self.now());
        let call = async { self.journal.commit(vec![Change::new(row)]).await };
        // Otherwise it is free when its lease ends.
        if let Err(error) = self.guarded("Journal::commit", None, self.options.journal_timeout, call).await {
            self.journal_failed("Journal::commit", &error);
        }
    }

    /// Reads who is there, and whether another process with this name has a place before this one's.
    pub(super) async fn look(&self) {
        let Some(numbers) = self.place_numbers() else { return };
        let Some(rows) = self.load(place_keys(&numbers)).await else { return };
        let Some(own) = rows.iter().find(|row| self.is_mine(row)) else { return };
        // The journal ends leases by its own clock.
        let now = own.lease_until.saturating_sub(self.options.lease);
        let own_number = numbers.get(&own.key.key).copied();
        let mut members = Vec::new();
        let mut has_twin = false;
        for row in &rows {
            let Some(content) = self.content_of(row) else { continue };
            let is_running = row.owner.is_some() && row.lease_until > now;
            has_twin |= is_running
                && content.instance == self.context.instance
                && content.incarnation != self.fleet.incarnation
                && numbers.get(&row.key.key).copied() < own_number;
            members.push(Member {
                instance: content.instance,
                version: content.version,
                flows: content.flows,
                routes: content.routes,
                started: content.started,
                last_seen: row.updated,
                is_running,
            });
        }
        if has_twin {
            self.leave().await;
            return self.refused(FleetRefused::SameName { instance: self.context.instance.clone() });
        }
        members.sort_by(|a, b| a.instance.cmp(&b.instance));
        let skew = skew(&members);
        let is_new = {
            let mut state = self.fleet.state();
            (state.members, state.looked) = (members, Some(self.monotonic()));
            let is_new = state.skew != skew;
            state.skew.clone_from(&skew);
            is_new
        };
        if let Some(skew) = skew.filter(|_| is_new) {
            let number = self.control.next_number();
            self.emit(EventId::VersionSkew, None, "fleet", number, |event| event.with_detail("versions", &skew));
        }
    }

    /// Whether a request is another instance's, since this one lacks what it needs and another one has that, had it lately, or may yet
    /// come: instances that start together see each other after a moment.
    pub(super) async fn is_for_others(&self, spec: &FlowSpec, route: Option<&Route>) -> bool {
        let Some(route) = route else { return false };
        if !self.is_fleet() || routes_of(spec).contains(route) {
            return false;
        }
        let now = self.monotonic();
        let (looked, joined) = {
            let state = self.fleet.state();
            (state.looked, state.joined)
        };
        if joined.is_none_or(|joined| now.saturating_sub(joined) < STARTING) || self.has_anybody(spec.flow(), route) {
            return true;
        }
        if looked.is_none_or(|looked| now.saturating_sub(looked) > FRESH) {
            self.look().await;
        }
        self.has_anybody(spec.flow(), route)
    }

    /// Whether an instance that runs, or did lately, can do a flow's requests with this route.
    pub(super) fn has_anybody(&self, flow: Flow, route: &Route) -> bool {
        let since = self.now().saturating_sub(RECENTLY);
        let state = self.fleet.state();
        state.members.iter().any(|member| member.can(flow, route) && (member.is_running || member.last_seen > since))
    }

    /// What an operator should know of the instances of the tenant.
    pub(super) fn fleet_findings(&self) -> Vec<String> {
        let state = self.fleet.state();
        let skew = state.skew.as_ref().map(|skew| format!("the instances of the tenant have different versions: {skew}"));
        state.refused.as_ref().map(ToString::to_string).into_iter().chain(skew).collect()
    }

    fn refused(&self, why: FleetRefused) {
        let is_new = self.fleet.state().refused.replace(why.clone()).as_ref() != Some(&why);
        if is_new {
            let number = self.control.next_number();
            self.emit(EventId::InstanceRefused, None, "fleet", number, |event| event.with_message(&why.to_string()));
        }
    }

    fn place(&self, row: &Row, numbers: &Numbers) -> Option<Place> {
        let incarnation: Option<Incarnation> = self.content_of(row).map(|content| content.incarnation);
        Some(Place { number: *numbers.get(&row.key.key)?, holder: row.owner.clone(), incarnation, version: row.version })
    }

    fn content_of(&self, row: &Row) -> Option<Content> {
        Content::decode(self.sealer.open(row).ok()?)
    }

    fn is_mine(&self, row: &Row) -> bool {
        row.owner.as_ref() == Some(&self.context.instance)
            && self.content_of(row).is_some_and(|content| content.incarnation == self.fleet.incarnation)
    }

    fn new_place(&self, key: RowKey) -> Row {
        let mut row = Row::new(key, FLOW, self.now(), SealedBlob::new(Vec::new()));
        // Whatever the journal's clock says, its turn has come.
        row.due = Timestamp::from_secs(0);
        row
    }

    /// Where to begin to look: the same for all processes with the name, so that only one of them gets it.
    fn preferred_place(&self) -> usize {
        let bytes = self.place_digest(self.context.instance.as_str().as_bytes()).unwrap_or([0; 32]);
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % MOST_INSTANCES
    }

    fn place_numbers(&self) -> Option<Numbers> {
        (0..MOST_INSTANCES).map(|number| Some((IdempotencyKey::new(self.place_digest(&[number as u8])?), number))).collect()
    }

    fn place_digest(&self, what: &[u8]) -> Option<[u8; 32]> {
        let tenant = self.context.tenant.as_str().as_bytes();
        let length = (tenant.len() as u64).to_be_bytes();
        let digest = self.context.provider.digest().ok()?.digest(DigestAlgorithm::Sha256, &[KEY_LABEL, &length, tenant, what]).ok()?;
        digest.as_ref().try_into().ok()
    }
}

/// What an instance has for a flow.
pub(super) fn routes_of(spec: &FlowSpec) -> Vec<Route> {
    spec.worker.authorities().into_iter().filter_map(|(ca, _)| route_of(&ca)).collect()
}

fn place_key(key: IdempotencyKey) -> RowKey {
    RowKey { kind: RowKind::Instance, key }
}

fn place_keys(numbers: &Numbers) -> Vec<RowKey> {
    numbers.keys().copied().map(place_key).collect()
}
