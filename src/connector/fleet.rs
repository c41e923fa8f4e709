//! The instances of a tenant that share a journal: each that runs has one of 100 places there.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::item::{flow_number, flow_of};
use crate::flow::record::{RecordReader, RecordWriter};
use crate::ids::{InstanceId, Route, TenantId};
use crate::ports::Row;
use crate::secret::SecretBytes;
use crate::terms::Flow;
use crate::time::Timestamp;

/// So many instances of a tenant may run.
pub(super) const MOST_INSTANCES: usize = 100;

/// The numbers of the fields never change: instances of other versions read them.
mod field {
    pub(super) const NAME: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const FLOW: u8 = 3;
    pub(super) const ROUTE: u8 = 4;
    pub(super) const INCARNATION: u8 = 5;
    pub(super) const STARTED: u8 = 6;
}

/// Why an instance may not work beside the others of its tenant. It tries again by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetRefused {
    /// All places are taken.
    #[error(
        "{MOST_INSTANCES} instances of the tenant `{tenant}` are running, which is the most; stop one of them: this one tries again, and \
         does no work meanwhile"
    )]
    Full {
        /// The tenant.
        tenant: TenantId,
    },
    /// Another running process has this instance's name.
    #[error(
        "another running process has the instance name `{instance}`; stop it, or give each instance a name of its own: this one tries \
         again, and does no work meanwhile"
    )]
    SameName {
        /// The name.
        instance: InstanceId,
    },
}

/// An instance that shares the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub instance: InstanceId,
    /// The version of this crate that it runs.
    pub version: String,
    /// The flows that it serves.
    pub flows: Vec<Flow>,
    /// What it has that some requests need, such as their CA.
    pub routes: Vec<Route>,
    /// When it was built, by its own clock.
    pub started: Timestamp,
    /// Its last sign of life, by its own clock.
    pub last_seen: Timestamp,
    /// Whether it held its place when this instance last looked; otherwise it has ended or died.
    pub is_running: bool,
}

impl Member {
    /// Whether it can do a flow's requests with this route.
    pub(super) fn can(&self, flow: Flow, route: &Route) -> bool {
        self.flows.contains(&flow) && self.routes.contains(route)
    }
}

/// A running connector of this process, told apart from any other with the same name.
pub(super) type Incarnation = [u8; 16];

/// What the row of a place says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) instance: InstanceId,
    pub(super) version: String,
    pub(super) flows: Vec<Flow>,
    pub(super) routes: Vec<Route>,
    pub(super) incarnation: Incarnation,
    pub(super) started: Timestamp,
}

impl Content {
    pub(super) fn encode(&self) -> RecordWriter {
        let mut w = RecordWriter::with_capacity(1_024);
        w.field(field::NAME, self.instance.as_str().as_bytes())
            .field(field::VERSION, self.version.as_bytes())
            .field(field::INCARNATION, &self.incarnation)
            .field(field::STARTED, &self.started.as_micros().to_be_bytes());
        for flow in &self.flows {
            w.field(field::FLOW, &flow_number(*flow));
        }
        for route in &self.routes {
            w.field(field::ROUTE, route.as_str().as_bytes());
        }
        w
    }

    /// `None` when it is not whole. Flows that this version does not know are left out.
    pub(super) fn decode(opened: SecretBytes) -> Option<Self> {
        let r = RecordReader::new(opened);
        let all = |number| r.fields().filter(move |(found, _)| *found == number).map(|(_, value)| value);
        Some(Self {
            instance: r.text(field::NAME)?.parse().ok()?,
            version: crate::event::printable(r.text(field::VERSION)?),
            flows: all(field::FLOW).filter_map(flow_of).collect(),
            routes: all(field::ROUTE).filter_map(|route| core::str::from_utf8(route).ok()?.parse().ok()).collect(),
            incarnation: r.get(field::INCARNATION)?.try_into().ok()?,
            started: Timestamp::from_micros(r.integer(field::STARTED)?),
        })
    }
}

/// A place as it is in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: usize,
    /// Who has it, by the row's clear column; absent when it was given back.
    pub(super) holder: Option<InstanceId>,
    /// By its sealed content; absent when that does not open.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) version: u64,
}

/// Somebody else's place with this instance's name, as it was when it was first seen so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) number: usize,
    pub(super) version: u64,
    /// By the monotonic clock.
    pub(super) since: Duration,
}

/// What an instance does that wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Take this one: it is free, or this instance's.
    Take(usize),
    /// The place with this name is some other process's, which may be dead: look again.
    Watch(Watch),
    /// That process lives.
    Twin(Watch),
    /// None is free: only one whose lease has ended may be taken.
    TakeExpired,
}

/// Pure: what to do by the places that exist. `preferred` is where to begin to look for a free one; `now` is of the monotonic clock.
///
/// A process with the same name is dead when it gives no sign of life for half a lease; a living one gives one each quarter. What was its may
/// then be taken without harm even if it was only paused, since its place and its requests have other versions and epochs from then on.
pub(super) fn decide(
    places: &[Place],
    me: (&InstanceId, Incarnation),
    preferred: usize,
    watch: Option<Watch>,
    now: Duration,
    lease: Duration,
) -> Decision {
    let mut named = places.iter().filter(|place| place.holder.as_ref() == Some(me.0));
    if let Some(own) = named.clone().find(|place| place.incarnation == Some(me.1)) {
        return Decision::Take(own.number);
    }
    if let Some(other) = named.next() {
        let fresh = Watch { number: other.number, version: other.version, since: now };
        return match watch {
            Some(watch) if watch.number == other.number && watch.version == other.version => {
                if now.saturating_sub(watch.since) >= lease / 2 { Decision::Take(other.number) } else { Decision::Watch(watch) }
            }
            Some(watch) if watch.number == other.number => Decision::Twin(fresh),
            _ => Decision::Watch(fresh),
        };
    }
    let taken: Vec<usize> = places.iter().filter(|place| place.holder.is_some()).map(|place| place.number).collect();
    let free = (0..MOST_INSTANCES).map(|step| (preferred + step) % MOST_INSTANCES).find(|number| !taken.contains(number));
    free.map_or(Decision::TakeExpired, Decision::Take)
}

/// How many instances run each version, when it is more than one version.
pub(super) fn skew(members: &[Member]) -> Option<String> {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members.iter().filter(|member| member.is_running) {
        *versions.entry(&member.version).or_default() += 1;
    }
    let text = || versions.iter().map(|(version, count)| format!("{version} ({count})")).collect::<Vec<_>>().join(", ");
    (versions.len() > 1).then(text)
}

/// What this instance knows of the others, and its own place.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) incarnation: Incarnation,
    pub(super) version: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The row of its place, as it was last stored.
    pub(super) place: Option<Row>,
    pub(super) watch: Option<Watch>,
    pub(super) refused: Option<FleetRefused>,
    pub(super) members: Vec<Member>,
    /// When they were last read, by the monotonic clock.
    pub(super) looked: Option<Duration>,
    /// When it first had a place, by the monotonic clock.
    pub(super) joined: Option<Duration>,
    /// The skew that was told.
    pub(super) skew: Option<String>,
}

impl Fleet {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, version: env!("CARGO_PKG_VERSION").to_owned(), state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places by the numbers in their keys.
pub(super) type Numbers = HashMap<crate::ids::IdempotencyKey, usize>;

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);
    const ME: Incarnation = [1; 16];
    const OTHER: Incarnation = [2; 16];

    fn name(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    fn place(number: usize, holder: Option<&str>, incarnation: Incarnation) -> Place {
        Place { number, holder: holder.map(name), incarnation: Some(incarnation), version: 5 }
    }

    fn decided(places: &[Place], watch: Option<Watch>, now: u64) -> Decision {
        decide(places, (&name("me"), ME), 98, watch, Duration::from_secs(now), LEASE)
    }

    #[test]
    fn its_own_place_comes_first_then_a_free_one_from_the_preferred_on_then_an_expired_one() {
        assert_eq!(decided(&[], None, 0), Decision::Take(98));
        let mut places = vec![place(98, Some("a"), OTHER), place(99, Some("b"), OTHER), place(0, None, OTHER)];
        assert_eq!(decided(&places, None, 0), Decision::Take(0), "given back, and the numbers go round");
        places.push(place(50, Some("me"), ME));
        assert_eq!(decided(&places, None, 0), Decision::Take(50));
        let full: Vec<Place> = (0..100).map(|number| place(number, Some("x"), OTHER)).collect();
        assert_eq!(decided(&full, None, 0), Decision::TakeExpired);
    }

    #[test]
    fn a_process_with_its_name_is_refused_when_that_is_seen_to_live_and_followed_when_it_shows_no_life() {
        let mut places = vec![place(7, Some("me"), OTHER)];
        let watch = Watch { number: 7, version: 5, since: Duration::from_secs(100) };
        assert_eq!(decided(&places, None, 100), Decision::Watch(watch));
        assert_eq!(decided(&places, Some(watch), 129), Decision::Watch(watch));
        assert_eq!(decided(&places, Some(watch), 130), Decision::Take(7));
        places[0].version = 6;
        let again = Watch { version: 6, since: Duration::from_secs(115), ..watch };
        assert_eq!(decided(&places, Some(watch), 115), Decision::Twin(again));
        assert_eq!(decided(&places, Some(again), 145), Decision::Take(7), "it has ended since");
        // A row that does not open is somebody's, too.
        places[0].incarnation = None;
        assert!(matches!(decided(&places, None, 0), Decision::Watch(_)));
    }

    #[test]
    fn what_a_place_says_reads_back_and_damage_is_none() {
        let content = Content {
            instance: name("one"),
            version: "1.2.3".into(),
            flows: vec![Flow::Pkcs, Flow::Revoke],
            routes: vec!["ca A".parse().unwrap(), "ca B".parse().unwrap()],
            incarnation: ME,
            started: Timestamp::from_secs(9),
        };
        let bytes = content.encode().bytes().to_vec();
        assert_eq!(Content::decode(SecretBytes::copy_from(&bytes)).unwrap(), content);
        for cut in 0..40 {
            assert_eq!(Content::decode(SecretBytes::copy_from(&bytes[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn versions_are_compared_among_those_that_run() {
        let member = |version: &str, is_running| Member {
            instance: name("x"),
            version: version.into(),
            flows: Vec::new(),
            routes: Vec::new(),
            started: Timestamp::from_secs(0),
            last_seen: Timestamp::from_secs(0),
            is_running,
        };
        assert_eq!(skew(&[member("1", true), member("1", true), member("2", false)]), None);
        assert_eq!(skew(&[member("1", true), member("2", true), member("1", true)]).unwrap(), "1 (2), 2 (1)");
    }
}
