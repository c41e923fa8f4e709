//! One run: a world, and a connector that is killed in it and started again until all is done.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use intune_connector::ports::RowState;
use intune_connector::terms::Flow;

use crate::ca::CaKind;
use crate::clock::{HASTE, PACE};
use crate::fixture::FIXTURE;
use crate::judge;
use crate::layer::Layer;
use crate::life::{ORDERS, Orders};
use crate::random::Random;
use crate::world::World;

/// A run that takes longer has lost something.
const GIVE_UP: Duration = Duration::from_secs(15);

/// Lines of the connector's log that a failure shows.
const LAST_LINES: usize = 12;

#[derive(Debug, Clone)]
pub enum Kill {
    /// At that point, when it is passed for the so many-th time.
    At(String, u32),
    /// A moment after it.
    After(String, u32, Duration),
    /// So long after the start.
    When(Duration),
}

/// What happens to the folder of the journal before a life, by the life's number.
pub type Between = Box<dyn FnMut(usize, &Path) + Send>;

pub struct Plan {
    pub flow: Flow,
    pub kind: CaKind,
    pub seed: u64,
    pub requests: usize,
    /// One for each life but the last.
    pub kills: Vec<Kill>,
    pub skip: Option<RowState>,
    pub layer: Option<Layer>,
    pub loses_the_last: bool,
    /// Where the journal is to be, when not in a folder of the run.
    pub folder: Option<PathBuf>,
    pub between: Option<Between>,
}

impl Plan {
    pub fn new(flow: Flow, kind: CaKind, seed: u64) -> Self {
        Self {
            flow,
            kind,
            seed,
            requests: 3,
            kills: Vec::new(),
            skip: None,
            layer: None,
            loses_the_last: false,
            folder: None,
            between: None,
        }
    }
}

#[derive(Debug, Default)]
pub struct Played {
    pub wrong: Vec<String>,
    /// Kills that took place.
    pub kills: usize,
    pub requests: usize,
    pub uploads: u32,
    pub certificates: usize,
    /// How opening the journal was refused.
    pub refusals: Vec<String>,
    /// Certificates that live beside those that were delivered, at a blind CA.
    pub extras: usize,
    pub points: std::collections::BTreeMap<String, u32>,
}

/// In memory where there is such a place: a kill does not need a disk, and 14,000 runs would wear one out.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// What no run changes.
static CONFIGURATION: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&FIXTURE.configuration()).unwrap());

struct Run<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    journal: PathBuf,
    world: Arc<World>,
    points: mpsc::Receiver<String>,
    ends: Instant,
    notify_first: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    Over,
    Refused,
    Late,
}

pub fn play(plan: &mut Plan) -> Played {
    let scratch = scratch();
    let folder = fs::canonicalize(scratch.path()).unwrap();
    let mut random = Random::new(plan.seed ^ 0xc4a5);
    let (world, points) = World::new(plan.flow, plan.kind, plan.seed, plan.requests, random.below(2) == 0);
    let socket = folder.join("judges");
    world.serve(&socket);
    let journal = plan.folder.clone().unwrap_or_else(|| folder.join("journal"));
    fs::create_dir_all(&journal).unwrap();
    let mut between = plan.between.take();
    fs::write(folder.join("configuration"), &*CONFIGURATION).unwrap();
    let mut layer = plan.layer.take();
    let mut played = Played { requests: plan.requests, ..Played::default() };
    let run = Run {
        plan,
        folder: &folder,
        journal: journal.join("journal.db"),
        world: Arc::clone(&world),
        points,
        ends: Instant::now() + GIVE_UP,
        notify_first: random.below(2) == 0,
    };
    let mut kills = plan.kills.iter();
    let mut wrong = Vec::new();
    for number in 0.. {
        let kill = kills.next();
        if let Some(between) = &mut between {
            between(number, &journal);
        }
        match run.life(kill, layer.as_ref()) {
            End::Killed => {
                played.kills += 1;
                world.state().after_death(random.below(2) == 0);
                if let Some(layer) = layer.as_mut().filter(|layer| layer.cuts_power()) {
                    layer.cut_power(&journal, &mut random);
                }
                wrong.extend(run.forgotten());
                if let Some(layer) = &mut layer {
                    layer.heal();
                }
            }
            End::Over => {
                wrong.extend(run.forgotten());
                let mut state = world.state();
                if state.begin_sweep() {
                    state.clock = state.clock.at_pace(HASTE);
                } else {
                    break;
                }
            }
            End::Refused => {
                played.refusals.append(&mut world.state().refusals);
                if let Some(layer) = &mut layer {
                    layer.heal();
                }
                if kill.is_none() {
                    wrong.push(format!("the journal was refused at last: {:?}", played.refusals.last()));
                    break;
                }
            }
            End::Late => {
                wrong.push("it was not over in time".to_owned());
                break;
            }
        }
    }
    world.close(&socket);
    let state = world.state();
    wrong.extend(judge::wrong(&state, &run.journal));
    played.uploads = state.requests.iter().map(|request| request.uploads).sum();
    played.certificates = state.ca.ledger.len();
    played.extras = state.undelivered().len();
    played.points.clone_from(&state.census);
    if !wrong.is_empty() {
        let log = fs::read_to_string(run.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || line.starts_with("event")).collect();
        wrong.extend(lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("  {line}")));
    }
    played.wrong = wrong;
    drop(state);
    plan.layer = layer;
    played
}

impl Run<'_> {
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What was answered as stored and is gone. A copy is looked at: the next life shall find the files as the cut left them.
    fn forgotten(&self) -> Vec<String> {
        let copy = tempfile::tempdir_in(self.folder).unwrap();
        for entry in fs::read_dir(self.journal.parent().unwrap()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("journal.db") {
                fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        judge::forgotten(&mut self.world.state(), &copy.path().join("journal.db"))
    }

    fn life(&self, kill: Option<&Kill>, layer: Option<&Layer>) -> End {
        let stop = match kill {
            Some(Kill::At(point, nth)) => Some((point.clone(), *nth, false)),
            Some(Kill::After(point, nth, _)) => Some((point.clone(), *nth, true)),
            _ => None,
        };
        let clock = self.world.state().clock;
        let orders = Orders {
            configuration: self.folder.join("configuration"),
            socket: self.folder.join("judges"),
            journal: self.journal.clone(),
            flow: self.plan.flow,
            kind: self.plan.kind,
            clock,
            stop,
            skip: self.plan.skip,
            loses_the_last: self.plan.loses_the_last,
            notify_first: self.notify_first,
        };
        let file = self.folder.join("orders");
        fs::write(&file, serde_json::to_vec(&orders).unwrap()).unwrap();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "in_another_process", "--nocapture"]).env(ORDERS, &file);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        if let Some(layer) = layer {
            layer.under(&mut command, self.journal.parent().unwrap());
        }
        let child = Killed(command.spawn().unwrap());
        let end = self.watch(child, kill);
        // A point that was reached after the decision to kill says nothing about the next life.
        while self.points.try_recv().is_ok() {}
        end
    }

    fn watch(&self, mut child: Killed, kill: Option<&Kill>) -> End {
        let started = Instant::now();
        loop {
            if self.points.recv_timeout(Duration::from_millis(2)).is_ok() {
                if let Some(Kill::After(_, _, after)) = kill {
                    std::thread::sleep(*after);
                }
                return End::Killed;
            }
            if let Some(status) = child.0.try_wait().unwrap() {
                if status.code() != Some(3) && !status.success() {
                    self.world.state().odd.push(format!("the connector's process ended by itself: {status}"));
                }
                return if status.success() { End::Over } else { End::Refused };
            }
            if matches!(kill, Some(Kill::When(after)) if started.elapsed() >= *after) {
                return End::Killed;
            }
            if Instant::now() > self.ends {
                return End::Late;
            }
        }
    }
}

/// Killed, by SIGKILL, when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So that a failure can be played again.
pub fn describe(plan: &Plan) -> String {
    let pace = PACE;
    format!("{} at a CA that is {:?}, seed {}, {:?} (clock at {pace} times the wall's)", plan.flow, plan.kind, plan.seed, plan.kills)
}
