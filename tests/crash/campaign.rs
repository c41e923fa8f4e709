//! Many runs: each point of a flow, or kills at random times, over all kinds of CA.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use intune_connector::ports::RowState;
use intune_connector::terms::Flow;

use crate::ca::CaKind;
use crate::layer::Layer;
use crate::play::{Kill, Plan, Played, describe, play};
use crate::random::Random;

pub const FLOWS: [Flow; 5] = [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep];
/// Runs for each point where nothing is said.
const QUICK: u64 = 2;
/// The least number of points that a flow must have.
const POINTS: usize = 14;
/// A campaign that has failed so often is broken off.
const ENOUGH: usize = 12;
/// A child mostly waits: two runs at a time for each test.
const WORKERS: usize = 2;

pub struct Campaign {
    flow: Flow,
    kinds: &'static [CaKind],
    runs: Option<u64>,
    skip: Option<RowState>,
}

/// What power cuts came to.
#[derive(Debug, Default)]
pub struct Cut {
    pub runs: u64,
    pub cuts: usize,
    /// Bytes that were written and not synced, and were gone.
    pub dropped: u64,
    pub wrong: Vec<String>,
}

#[derive(Default)]
struct Totals {
    runs: u64,
    kills: usize,
    missed: u64,
    requests: usize,
    certificates: usize,
    extras: usize,
    failed: Vec<String>,
    by_point: BTreeMap<String, (u64, u64)>,
}

impl Campaign {
    pub fn new(flow: Flow) -> Self {
        let kinds: &[CaKind] = match flow {
            // They ask no CA.
            Flow::PkcsRecrypt | Flow::PkcsImport => &[CaKind::Searchable],
            Flow::Revoke => &[CaKind::Searchable, CaKind::Blind],
            _ => &CaKind::ALL,
        };
        let runs = std::env::var("INTUNE_CONNECTOR_CRASH_RUNS").ok();
        let runs = runs.map(|text| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number of runs")));
        let skip = std::env::var("INTUNE_CONNECTOR_CRASH_SKIP").ok();
        let skip = skip.map(|text| serde_json::from_value(text.clone().into()).unwrap_or_else(|_| panic!("`{text}` is no state of a row")));
        Self { flow, kinds, runs, skip }
    }

    /// Each point that the flow passes, killed there in one run after the other.
    pub fn at_every_point(&self) {
        let mut seen: BTreeMap<String, Vec<(CaKind, u32)>> = BTreeMap::new();
        let mut totals = Totals::default();
        for kind in self.kinds {
            let mut plan = Plan::new(self.flow, *kind, 0);
            plan.skip = self.skip;
            let played = play(&mut plan);
            for (point, count) in &played.points {
                seen.entry(point.clone()).or_default().push((*kind, *count));
            }
            totals.take("none", &plan, played);
        }
        assert!(seen.len() >= POINTS, "{} has {} points: {:?}", self.flow, seen.len(), seen.keys());
        let mut plans = Vec::new();
        for run in 0..self.runs.unwrap_or(QUICK) {
            for (at, (point, kinds)) in seen.iter().enumerate() {
                let mut random = Random::new(run * 1_000 + at as u64 + 1);
                let (kind, most) = kinds[((run + at as u64) % kinds.len() as u64) as usize];
                let mut plan = Plan::new(self.flow, kind, random.below(u64::MAX));
                let nth = 1 + random.below(u64::from(most)) as u32;
                plan.kills.push(match random.below(4) {
                    0 => Kill::After(point.clone(), nth, Duration::from_micros(random.below(2_000))),
                    _ => Kill::At(point.clone(), nth),
                });
                // Its successor is killed as well, now and then, in what it has taken over.
                while random.below(3) == 0 && plan.kills.len() < 4 {
                    let (next, _) = seen.iter().nth(random.below(seen.len() as u64) as usize).unwrap();
                    plan.kills.push(match random.below(2) {
                        0 => Kill::At(next.clone(), 1),
                        _ => Kill::When(Duration::from_millis(20 + random.below(100))),
                    });
                }
                plan.skip = self.skip;
                plans.push((format!("{point} {run}"), plan));
            }
        }
        self.play_all("points", plans, totals);
    }

    /// Forty requests at once, killed up to four times.
    pub fn at_random_times(&self) {
        let mut plans = Vec::new();
        for run in 0..self.runs.map_or(1, |runs| runs.div_ceil(20)) * self.kinds.len() as u64 {
            let mut random = Random::new(run ^ 0xaced);
            let mut plan = Plan::new(self.flow, self.kinds[(run % self.kinds.len() as u64) as usize], run);
            plan.requests = 40;
            plan.kills = (0..1 + random.below(4)).map(|_| Kill::When(Duration::from_millis(40 + random.below(500)))).collect();
            plan.skip = self.skip;
            plans.push((format!("times {run}"), plan));
        }
        self.play_all("times", plans, Totals::default());
    }

    /// The power is cut at points and at times, up to three times in a run.
    pub fn cut_off(&self, layer: impl Fn() -> Layer, loses_the_last: bool) -> Cut {
        let mut cut = Cut::default();
        let seen = play(&mut Plan::new(self.flow, self.kinds[0], 0)).points;
        let runs = self.runs.map_or(10, |runs| runs.div_ceil(4));
        for run in 0..runs {
            let mut random = Random::new(run ^ 0xc07);
            let mut plan = Plan::new(self.flow, self.kinds[(run % self.kinds.len() as u64) as usize], run);
            plan.requests = 6;
            plan.kills = (0..1 + random.below(3))
                .map(|_| {
                    let (point, count) = seen.iter().nth(random.below(seen.len() as u64) as usize).unwrap();
                    let nth = 1 + random.below(u64::from(*count)) as u32;
                    match random.below(3) {
                        0 => Kill::When(Duration::from_millis(30 + random.below(150))),
                        1 => Kill::At(point.clone(), nth),
                        // In the middle of a commit, more often than not.
                        _ => Kill::After(point.replace(":after", ":before"), nth, Duration::from_micros(random.below(400))),
                    }
                })
                .collect();
            (plan.layer, plan.loses_the_last) = (Some(layer()), loses_the_last);
            let played = play(&mut plan);
            cut.runs += 1;
            cut.cuts += played.kills;
            cut.dropped += plan.layer.as_ref().map_or(0, |layer| layer.dropped);
            if !played.wrong.is_empty() {
                cut.wrong.push(format!("{}\n  {}", describe(&plan), played.wrong.join("\n  ")));
            }
        }
        println!(
            "{}: {} runs, {} power cuts, which took {} bytes; {} runs went wrong",
            self.flow,
            cut.runs,
            cut.cuts,
            cut.dropped,
            cut.wrong.len()
        );
        cut
    }

    fn play_all(&self, what: &str, plans: Vec<(String, Plan)>, totals: Totals) {
        let started = Instant::now();
        let progress = Progress::of(self.runs, self.flow, what);
        let (next, totals, all) = (AtomicUsize::new(0), Mutex::new(totals), plans.len());
        let plans: Vec<Mutex<(String, Plan)>> = plans.into_iter().map(Mutex::new).collect();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if totals.lock().unwrap().failed.len() >= ENOUGH {
                            return;
                        }
                        let (name, plan) = &mut *plan.lock().unwrap();
                        if progress.has(name) {
                            totals.lock().unwrap().runs += 1;
                            continue;
                        }
                        let mut played = play(plan);
                        if played.kills == 0
                            && let Some(Kill::At(_, nth) | Kill::After(_, nth, _)) = plan.kills.first_mut()
                        {
                            // Its requests went another way together than in the census.
                            *nth = 1;
                            played = play(plan);
                        }
                        if played.wrong.is_empty() {
                            progress.note(name);
                        }
                        totals.lock().unwrap().take(name.rsplit_once(' ').map_or("", |(point, _)| point), plan, played);
                    }
                });
            }
        });
        let totals = totals.into_inner().unwrap();
        println!(
            "{} {what}: {} runs in {} s, {} earlier: {} kills ({} runs ended before their point), {} requests, {} certificates, {} extra ones at a \
             blind CA, {} runs failed",
            self.flow,
            totals.runs,
            started.elapsed().as_secs(),
            progress.done.len(),
            totals.kills,
            totals.missed,
            totals.requests,
            totals.certificates,
            totals.extras,
            totals.failed.len()
        );
        for (point, (runs, failed)) in totals.by_point.iter().filter(|(_, (_, failed))| *failed > 0) {
            println!("  {point}: {failed} of {runs} runs failed");
        }
        let shown: Vec<&str> = totals.failed.iter().take(6).map(String::as_str).collect();
        assert!(totals.failed.is_empty(), "{} of {all} runs of {}:\n{}", totals.failed.len(), self.flow, shown.join("\n"));
        progress.finish();
    }
}

impl Totals {
    fn take(&mut self, point: &str, plan: &Plan, played: Played) {
        self.runs += 1;
        self.kills += played.kills;
        self.missed += u64::from(played.kills == 0 && !plan.kills.is_empty());
        self.requests += played.requests;
        self.certificates += played.certificates;
        self.extras += played.extras;
        let (runs, failed) = self.by_point.entry(point.to_owned()).or_default();
        *runs += 1;
        if !played.wrong.is_empty() {
            *failed += 1;
            self.failed.push(format!("{}\n  {}", describe(plan), played.wrong.join("\n  ")));
        }
    }
}

/// What was played already, when a long campaign was interrupted.
struct Progress {
    done: BTreeSet<String>,
    file: Option<(PathBuf, Mutex<File>)>,
}

impl Progress {
    fn of(runs: Option<u64>, flow: Flow, what: &str) -> Self {
        let Some(runs) = runs else { return Self { done: BTreeSet::new(), file: None } };
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{flow}-{what}-{runs}"));
        let done = fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
        let file = File::options().create(true).append(true).open(&path).unwrap();
        Self { done, file: Some((path, Mutex::new(file))) }
    }

    fn has(&self, name: &str) -> bool {
        self.done.contains(name)
    }

    fn note(&self, name: &str) {
        if let Some((_, file)) = &self.file {
            writeln!(file.lock().unwrap(), "{name}").unwrap();
        }
    }

    /// The next campaign begins anew.
    fn finish(self) {
        if let Some((path, _)) = self.file {
            fs::remove_file(path).unwrap();
        }
    }
}
