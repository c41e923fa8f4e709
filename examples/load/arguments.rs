//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
usage: load [options]

what is done
  --requests N          so many requests, then the figures. Default 1000
  --seconds S           no longer than that, whatever is left
  --flow pkcs|revoke    certificates with key pair and PKCS#12 file, or revocations. Default pkcs
  --key p256|rsa2048    the key pairs of the PKCS flow. Default p256
  --key-pool N          so many key pairs are made ahead of their requests. Default 0
  --toy                 the same as --flow revoke with a CA that answers at once: journal and state machine alone
  --idle S              no request at all for that long, then the memory
  --soak S              --rate 10 --faults 1% for that long; one line a minute; fails when memory, descriptors or journal grow after the
                        first fifth of the time

how
  --journal memory | sqlite PATH | postgres URL     Default memory. PATH.key, or --sealing-key, has the sealing key; it is made when absent
  --sealing-key FILE    required with postgres
  --processes N         starts itself N times over one PostgreSQL journal; each process is fed its own share of the requests
  --after S             the first request comes after so many seconds: time to make ready keys. Default 0
  --rate R              so many requests a second, instead of all at once
  --in-flight N         requests that are worked on at a time, for each process. Default 64
  --batch N             requests in a download, and results in an upload. Default 100
  --ca-millis MS        how long the CA takes for each certificate. Default 0
  --faults P%           how often calls of the queue, the CA and the journal fail or lose their answer. Default 0%
  --retention S         how long finished requests are remembered. Default 86400; with --soak 30
  --help                this text

The queue and the CA are doubles in the process; the connector and the journal are real. Nothing is judged by time.
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalKind {
    Memory,
    Sqlite(PathBuf),
    Postgres(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    PkcsP256,
    PkcsRsa2048,
    Revoke,
}

/// What to do; defaults as the usage says.
#[derive(Debug, Clone)]
pub struct Arguments {
    pub journal: JournalKind,
    pub sealing_key: Option<PathBuf>,
    pub work: Work,
    pub key_pool: usize,
    pub requests: u64,
    pub seconds: Option<Duration>,
    pub idle: Option<Duration>,
    pub soak: Option<Duration>,
    pub processes: usize,
    pub after: Duration,
    pub rate: Option<u32>,
    pub in_flight: usize,
    pub batch: usize,
    pub ca_time: Duration,
    /// In ten thousand.
    pub faults: u64,
    pub retention: Duration,
    /// Of a process that another one started: which one it is.
    pub child: Option<usize>,
}

pub enum Command {
    Run(Box<Arguments>),
    Help,
}

/// Reads the command line.
///
/// # Errors
/// A sentence that says which argument is wrong.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    let mut read = Arguments {
        journal: JournalKind::Memory,
        sealing_key: None,
        work: Work::PkcsP256,
        key_pool: 0,
        requests: 1_000,
        seconds: None,
        idle: None,
        soak: None,
        processes: 1,
        after: Duration::ZERO,
        rate: None,
        in_flight: 64,
        batch: 100,
        ca_time: Duration::ZERO,
        faults: 0,
        retention: Duration::from_secs(86_400),
        child: None,
    };
    let (mut flow, mut key, mut faults, mut retention) = ("pkcs".to_owned(), "p256".to_owned(), None, None);
    let mut left = arguments.iter();
    while let Some(name) = left.next() {
        let mut value = || left.next().map(String::as_str).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--requests" => read.requests = number(name, value()?)?,
            "--seconds" => read.seconds = Some(Duration::from_secs(number(name, value()?)?)),
            "--idle" => read.idle = Some(Duration::from_secs(number(name, value()?)?)),
            "--soak" => read.soak = Some(Duration::from_secs(number(name, value()?)?)),
            "--flow" => flow = value()?.to_owned(),
            "--key" => key = value()?.to_owned(),
            "--key-pool" => read.key_pool = number(name, value()?)?,
            "--toy" => flow = "revoke".to_owned(),
            "--journal" => {
                read.journal = match value()? {
                    "memory" => JournalKind::Memory,
                    "sqlite" => JournalKind::Sqlite(value()?.into()),
                    "postgres" => JournalKind::Postgres(value()?.to_owned()),
                    other => return Err(format!("--journal {other}: give memory, sqlite PATH or postgres URL")),
                }
            }
            "--sealing-key" => read.sealing_key = Some(value()?.into()),
            "--processes" => read.processes = number(name, value()?)?,
            "--after" => read.after = Duration::from_secs(number(name, value()?)?),
            "--rate" => read.rate = Some(number(name, value()?)?),
            "--in-flight" => read.in_flight = number(name, value()?)?,
            "--batch" => read.batch = number(name, value()?)?,
            "--ca-millis" => read.ca_time = Duration::from_millis(number(name, value()?)?),
            "--faults" => faults = Some(percent(value()?)?),
            "--retention" => retention = Some(Duration::from_secs(number(name, value()?)?)),
            "--child" => read.child = Some(number(name, value()?)?),
            other => return Err(format!("there is no option {other}")),
        }
    }
    read.work = match (flow.as_str(), key.as_str()) {
        ("revoke", _) => Work::Revoke,
        ("pkcs", "p256") => Work::PkcsP256,
        ("pkcs", "rsa2048") => Work::PkcsRsa2048,
        ("pkcs", key) => return Err(format!("--key {key}: give p256 or rsa2048")),
        (flow, _) => return Err(format!("--flow {flow}: give pkcs or revoke")),
    };
    if read.soak.is_some() {
        (read.requests, read.rate) = (u64::MAX, read.rate.or(Some(10)));
        (faults, retention) = (faults.or(Some(100)), retention.or(Some(Duration::from_secs(30))));
    }
    read.faults = faults.unwrap_or(0);
    read.retention = retention.unwrap_or(read.retention);
    check(&read)?;
    Ok(Command::Run(Box::new(read)))
}

fn check(read: &Arguments) -> Result<(), String> {
    let wrong = |text: &str| Err(text.to_owned());
    let postgres = matches!(read.journal, JournalKind::Postgres(_));
    if postgres && read.sealing_key.is_none() {
        return wrong("--journal postgres needs --sealing-key FILE: the processes must seal with one key");
    }
    if read.processes > 1 && !postgres {
        return wrong("--processes needs --journal postgres: the other journals belong to one process");
    }
    if read.processes > 1 && (read.idle.is_some() || read.soak.is_some()) {
        return wrong("--processes goes with neither --idle nor --soak");
    }
    if read.processes == 0 || read.processes > 100 {
        return wrong("--processes: give 1 to 100");
    }
    if read.in_flight == 0 || read.batch == 0 || read.rate == Some(0) || read.retention.is_zero() {
        return wrong("--in-flight, --batch, --rate and --retention: give 1 or more");
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} {text}: give a whole number"))
}

/// In ten thousand.
fn percent(text: &str) -> Result<u64, String> {
    let share = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()).filter(|percent| (0.0..=50.0).contains(percent));
    share.map(|percent| (percent * 100.0) as u64).ok_or_else(|| format!("--faults {text}: give 0% to 50%"))
}
