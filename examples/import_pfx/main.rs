//! Imports a folder of PFX files into Intune by a list: checks each, encrypts its password to the connector's key, and uploads it to Graph.
//!
//! `import_pfx --help` says how. Passwords and tokens are never printed and never stand in the result file.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod arguments;
mod progress;
mod tokens;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arguments::{Access, Arguments, Source, USAGE};
use intune_connector::adapters::StdRuntime;
use intune_connector::adapters::entra::{ClientCredentials, Credential, SecretSource, TokenSource};
use intune_connector::adapters::graph::{
    BulkImport, GraphPfx, GraphSettings, ImportKey, ImportList, ImportSummary, PfxChecks, PfxFolder, ResultFile, RowOutcome,
};
use intune_connector::adapters::http::{HttpClient, HttpTransport, ProxySetting, TrustAnchors};
use intune_connector::crypto::CryptoProvider;
use intune_connector::ports::Runtime;
use intune_connector::secret::SecretBytes;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(summary) => {
            let counts = RowOutcome::ALL.into_iter().filter(|outcome| summary.count(*outcome) > 0);
            let counts: Vec<String> = counts.map(|outcome| format!("{} {outcome}", summary.count(outcome))).collect();
            println!("{} rows: {}", summary.total(), counts.join(", "));
            if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ImportSummary, Box<dyn Error>> {
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime = Arc::new(StdRuntime::new()?);
    let checks = checks(arguments)?;
    let csv = SecretBytes::new(read(&arguments.csv)?);
    let list = ImportList::read(&csv, arguments.purpose).map_err(|error| format!("{}:\n{error}", arguments.csv.display()))?;
    drop(csv);
    warn_of_unlisted(&arguments.folder, &list);
    let mut http = HttpClient::builder();
    if arguments.is_plain_alone() {
        // A proxy of the environment would be in the way to this machine.
        http = http.trust(TrustAnchors::Only(Vec::new())).proxy(ProxySetting::Direct);
    }
    let transport: Arc<dyn HttpTransport> = Arc::new(http.build()?);
    let tokens = tokens(arguments, &transport, runtime.clone(), &provider)?;
    let client = GraphPfx::new(transport, tokens, runtime.clone(), provider.clone(), graph(arguments))?;
    let import = BulkImport::new(client, checks, PfxFolder::new(&arguments.folder), provider)
        .with_on_existing(arguments.existing)
        .with_concurrency(arguments.concurrency)
        .with_dry_run(arguments.dry_run);
    let mut results = match &arguments.result {
        Some(path) if !arguments.dry_run => Some(ResultFile::open(path).map_err(|error| format!("{}: {error}", path.display()))?),
        _ => None,
    };
    let mut bar = progress::Bar::new();
    Ok(runtime.block_on(import.run(list, results.as_mut(), |progress| bar.show(&progress)))?)
}

fn checks(arguments: &Arguments) -> Result<PfxChecks, Box<dyn Error>> {
    let file = read(&arguments.public_key)?;
    let padding = arguments.padding.as_deref().unwrap_or("oaepSha512");
    let key = ImportKey::read_with_padding(&file, &arguments.provider_name, &arguments.key_name, padding)?;
    Ok(PfxChecks::new(key).with_expired(arguments.expired).with_password_encoding(arguments.encoding))
}

fn tokens(
    arguments: &Arguments,
    transport: &Arc<dyn HttpTransport>,
    runtime: Arc<dyn Runtime>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn TokenSource>, Box<dyn Error>> {
    Ok(match &arguments.access {
        Access::Nowhere => Arc::new(tokens::Given::nothing()),
        Access::Token { variable } => {
            let token = std::env::var(variable).map_err(|_| format!("the variable {variable} holds no token"))?;
            Arc::new(tokens::Given::new(token.trim().to_owned()))
        }
        Access::Secret { tenant, client_id, source } => {
            let secret = match source {
                Source::Variable(name) => SecretSource::variable(name),
                Source::File(path) => SecretSource::file(path),
            };
            let mut builder = ClientCredentials::builder(tenant, client_id, Credential::client_secret(secret));
            builder = builder.dangerous_plain_http_on_loopback(arguments.plain);
            if let Some(authority) = &arguments.authority {
                builder = builder.authority(authority);
            }
            Arc::new(builder.build(transport.clone(), runtime, provider.clone())?)
        }
    })
}

fn graph(arguments: &Arguments) -> GraphSettings {
    let mut settings = arguments.graph.as_deref().map_or_else(GraphSettings::global, GraphSettings::at);
    if arguments.plain {
        // A simulator goes by the public cloud's names.
        settings = settings.dangerously_plain_http_on_loopback().with_scope(GraphSettings::global().scope);
    }
    match &arguments.scope {
        Some(scope) => settings.with_scope(scope),
        None => settings,
    }
}

fn warn_of_unlisted(folder: &Path, list: &ImportList) {
    let listed: BTreeSet<&str> = list.rows().iter().map(|row| row.file.as_str()).collect();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_pfx = |name: &str| [".pfx", ".p12"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let unlisted = names.filter(|name| is_pfx(name) && !listed.contains(name.as_str())).count();
    if unlisted > 0 {
        eprintln!("{unlisted} PFX files in {} are not in the list and are left alone", folder.display());
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
