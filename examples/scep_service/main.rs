//! A SCEP server over HTTP or HTTPS in front of a CA of its own, with one challenge for all: to try clients against, not to enrol devices.
//!
//! `cargo run --features scep-http --example scep_service -- --listen 127.0.0.1:8080 --challenge SECRET --ca rsa --dir /tmp/scep`
//!
//! Prints one line `ready URL` when it serves, and then the command lines of clients to try. `--help` lists the options. Stops at Ctrl-C or
//! SIGTERM, after the requests in hand.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod arguments;
mod commands;
mod files;
mod serve;
mod service;
mod tls;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::{LocalCa, ScepHttp, ScepTask};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::CertificateAuthority as _;
use intune_connector::scep::Service;
use intune_connector::time::Timestamp;
use tokio::sync::mpsc;

use crate::arguments::{Arguments, Command, Tls};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(arguments)) => arguments,
        Ok(Command::Help) => {
            print!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprint!("scep_service: {wrong}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scep_service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.dir).map_err(|error| format!("{}: {error}", arguments.dir.display()))?;
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let (ca, authority) = service::certificate_authority(&provider, arguments)?;
    let service = service::service(provider.clone(), ca.clone(), authority, arguments).await?;
    write_crl(&ca, &arguments.dir).await?;

    let listener =
        tokio::net::TcpListener::bind(&arguments.listen).await.map_err(|error| format!("--listen {}: {error}", arguments.listen))?;
    let address = listener.local_addr()?;
    let tls = tls::acceptor(&arguments.tls, &provider, &ca, address)?;
    let url = format!("{}://{address}/scep", if arguments.tls == Tls::Off { "http" } else { "https" });
    let lines = commands::lines(&url, &std::path::absolute(&arguments.dir)?, arguments);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready {url}")?;
    // Whoever waits for the first line alone may have closed the pipe.
    let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());

    // Each task holds a sender: when the last is gone, so is the last request.
    let (working, mut all_done) = mpsc::channel::<()>(1);
    let spawn = move |task: ScepTask| {
        let working = working.clone();
        tokio::spawn(async move {
            task.await;
            drop(working);
        });
    };
    // Trials and loads come from this machine; other addresses are limited as in earnest.
    let http = ScepHttp::new(service.clone(), spawn).unlimited(["127.0.0.0/8".parse()?, "::1".parse()?]);
    let upkeep = tokio::spawn(maintain(service.clone(), ca.clone(), arguments.dir.clone()));
    serve::serve(listener, tls, http, stop()).await;
    let _ = tokio::time::timeout(Duration::from_secs(30), all_done.recv()).await;
    upkeep.abort();
    service.maintain(Timestamp::system_now()).await;
    write_crl(&ca, &arguments.dir).await
}

/// Stored notifications, orphans and the CRL, every ten seconds.
async fn maintain(service: Service, ca: Arc<LocalCa>, dir: PathBuf) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        service.maintain(Timestamp::system_now()).await;
        if let Err(error) = write_crl(&ca, &dir).await {
            eprintln!("the CRL was not written: {error}");
        }
    }
}

/// Ready at Ctrl-C or SIGTERM. Without a signal handler it serves until it is killed.
async fn stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => return,
            _ = terminate.recv() => return,
            else => {}
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn write_crl(ca: &LocalCa, dir: &Path) -> Result<()> {
    files::write_pem(&dir.join("crl.pem"), "X509 CRL", &ca.crl().await?)
}
