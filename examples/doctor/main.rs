//! Is the connector's host fit for it, and does the way to Intune work? `doctor --help` tells what is looked at.

mod arguments;
#[path = "../support/tenant_file.rs"]
mod tenant_file;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arguments::{Arguments, USAGE};
use intune_connector::adapters::{SqliteJournal, StdRuntime};
use intune_connector::crypto::CryptoProvider;
use intune_connector::doctor::{Doctor, OnlineChecks, Report, SystemNetwork};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tenant_file::TenantFile;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `EX_USAGE`.
const WRONG_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Arguments { help: true, .. }) => {
            println!("{USAGE}\n\nThe tenant's file:\n\n{}", tenant_file::EXAMPLE);
            return ExitCode::SUCCESS;
        }
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let printed = examine(&arguments).and_then(|report| {
        if arguments.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{report}");
        }
        Ok(report.exit_code())
    });
    match printed {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

fn examine(arguments: &Arguments) -> Result<Report> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::with_threads(4, 256)?);
    let timeout = Duration::from_secs(arguments.timeout.unwrap_or(20));
    let mut doctor = Doctor::new(provider.clone(), runtime.clone()).timeout(timeout);

    if let Some(path) = &arguments.tenant {
        let file = TenantFile::load(path)?;
        let clients = file.clients(&provider, runtime.clone())?;
        let network = SystemNetwork::new(runtime.clone(), &file.network.trust()?, &file.proxy()?, timeout)?;
        let mut checks = OnlineChecks::new(&file.tenant, clients.tokens, clients.transport).cloud(clients.cloud).network(Arc::new(network));
        if arguments.import {
            checks = checks.with_import();
        }
        if arguments.no_scep {
            checks = checks.without_scep();
        }
        if arguments.no_revocation {
            checks = checks.without_revocation();
        }
        doctor = doctor.online(checks);
        doctor = file.secret_files().into_iter().fold(doctor, Doctor::secret_file);
        if let Some(service) = &file.service {
            doctor = doctor.folder(&service.dir);
        }
    }
    for path in &arguments.certificates {
        doctor = doctor.certificate(path.display().to_string(), certificate(path)?);
    }
    if let Some(path) = &arguments.journal {
        if !path.is_file() {
            return Err(format!("{}: there is no journal", path.display()).into());
        }
        doctor = doctor.journal(Arc::new(SqliteJournal::open(path)?));
    }
    doctor = arguments.folders.iter().fold(doctor, Doctor::folder);
    doctor = arguments.secrets.iter().fold(doctor, Doctor::secret_file);
    doctor = arguments.ca_hosts.iter().fold(doctor, Doctor::ca_host);
    let report = runtime.block_on(doctor.run());
    // A thread that hangs, in a dead mount or a name server, is told of in the report, and not waited for.
    core::mem::forget(runtime);
    Ok(report)
}

fn certificate(path: &Path) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))?)
}
