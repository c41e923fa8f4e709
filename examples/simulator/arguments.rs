//! The command line.

use std::net::SocketAddr;

use intune_connector::sim::FaultPlan;

pub const USAGE: &str = "\
usage: simulator --listen ADDR [options]

  --listen ADDR               loopback address and port, such as 127.0.0.1:8080; port 0 takes a free one
  --seed N                    what chance gives the faults; the same seed gives the same faults. Default 0
  --faults none|mild|harsh    how much goes wrong. Default none
  --base-url URL              where clients reach it, when that is not http://ADDR: behind a proxy on this machine that adds TLS
  --user UPN                  a user of the tenant, to whom PFX files can be imported; may be given several times. Default none
  --record-bodies             keep the bodies of requests for /control/v1/arrivals; they hold secrets
  --help                      this text

Prints one line of JSON with all that a client needs, and serves until Ctrl-C or SIGTERM.
A simulated Intune, for development: nothing that it says is true anywhere else. See docs/simulator.md.
";

pub enum Command {
    Serve(Arguments),
    Help,
}

#[derive(Debug)]
pub struct Arguments {
    pub listen: SocketAddr,
    pub seed: u64,
    pub faults: FaultPlan,
    pub base_url: Option<String>,
    pub users: Vec<String>,
    pub record_bodies: bool,
}

/// Reads the command line.
///
/// # Errors
/// A sentence that says which argument is wrong.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut listen, mut base_url, mut seed, mut faults) = (None, None, 0, FaultPlan::none());
    let (mut users, mut record_bodies) = (Vec::new(), false);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--listen" => listen = Some(address(&value()?)?),
            "--seed" => seed = value()?.parse().map_err(|_| "--seed is no whole number from 0 to 2^64-1".to_owned())?,
            "--faults" => {
                let preset = value()?;
                faults = FaultPlan::named(&preset).ok_or_else(|| format!("--faults {preset}: give none, mild or harsh"))?;
            }
            "--base-url" => {
                let url = value()?;
                if !url.starts_with("https://") && !url.starts_with("http://") {
                    return Err(format!("--base-url {url}: give scheme and authority, such as https://localhost:8443"));
                }
                base_url = Some(url);
            }
            "--user" => users.push(value()?),
            "--record-bodies" => record_bodies = true,
            other => return Err(format!("there is no option {other}")),
        }
    }
    let listen = listen.ok_or("--listen is missing")?;
    Ok(Command::Serve(Arguments { listen, base_url, seed, faults, users, record_bodies }))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = text.parse().map_err(|_| format!("--listen {text}: give an address and a port, such as 127.0.0.1:8080"))?;
    if address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err(format!("--listen {address}: not a loopback address; the simulated Intune serves 127.0.0.0/8 and ::1 alone"))
    }
}
