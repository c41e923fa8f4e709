//! The flows whose protocol is public, against a real tenant: SCEP and revocation. The CA is a throw-away one: put yours in its place.

#[path = "../scep_service/serve.rs"]
mod serve;
#[path = "../support/tenant_file.rs"]
pub mod tenant_file;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use intune_connector::adapters::intune::{IntuneRevocations, IntuneScep};
use intune_connector::adapters::{
    JsonLinesSink, LocalCa, ScepHttp, ScepTask, SealingKeyError, SealingKeyFile, SqliteJournal, TokioRuntime,
};
use intune_connector::connector::{Connector, QueueSettings};
use intune_connector::crypto::CryptoProvider;
use intune_connector::policy::IssuancePolicy;
use intune_connector::ports::{Journal, Runtime, SealingKeys};
use intune_connector::revoke::RevokeConfig;
use intune_connector::scep::Service;
use intune_connector::terms::{KeyAlgorithm, oids};
use intune_connector::time::Timestamp;

use crate::device::Checked;
use tenant_file::TenantFile;

/// Serves until Ctrl-C.
pub fn run(path: &Path) -> Checked<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve_tenant(path))
}

async fn serve_tenant(path: &Path) -> Checked<()> {
    let file = TenantFile::load(path)?;
    let service = file.service.as_ref().ok_or("the file has no section [service]; --help shows one")?;
    let provider = CryptoProvider::ring_and_aws_lc_rs();
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::with_work_on_the_workers(tokio::runtime::Handle::current()));
    let clients = file.clients(&provider, Arc::clone(&runtime))?;

    println!("Tenant {}: asking for a token and for the locations of its services ...", file.tenant);
    for name in [&clients.cloud.scep_service, &clients.cloud.revocation_service] {
        println!("  {name}: {}", clients.intune.location(name).await?);
    }

    fs::create_dir_all(&service.dir)?;
    let (ca, ra) = LocalCa::serving_scep(provider.clone(), service.ca_name.parse()?, KeyAlgorithm::Rsa2048)?;
    let ca = Arc::new(ca.ledger_file(service.dir.join("ledger.bin"))?);
    fs::write(service.dir.join("ca.cer"), ca.certificate().der())?;
    let sink = Arc::new(JsonLinesSink::new(&service.dir)?);
    // One file: the cool-down of revocation and what waits to be told to Intune survive a restart.
    let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(service.dir.join("journal.sqlite"))?);
    let sealing_keys = sealing_keys(&provider, &service.dir.join(tenant_file::SEALING_KEY))?;

    let intune = IntuneScep::new(clients.intune.clone())
        .with_provider_name(clients.provider_name.clone())
        .with_ca_configuration(ca.name().clone())
        .with_certificate_authority(ca.name().clone());
    let intune = Arc::new(intune);
    // Intune compares the whole CSR with the profile before it says yes; so the names need no second list here.
    let policy = IssuancePolicy::deny_all().accept_names_checked_by_validator().allow_extended_key_usage(oids::CLIENT_AUTH.parse()?);
    let scep = Service::builder(provider.clone(), Arc::clone(&journal), ca.name().clone(), ca.clone(), ra, intune.clone(), intune)
        .tenant(file.tenant.parse()?)
        .instance("connector-1".parse()?)
        .runtime(Arc::clone(&runtime))
        .sink(sink.clone())
        .policy(policy)
        .sealing_key(sealing_keys.clone())
        .build()
        .await?;

    let revocations =
        IntuneRevocations::builder(clients.intune.clone(), journal.clone(), file.tenant.parse()?, runtime.clone(), provider.clone())
            .sealing_key(sealing_keys.clone())
            .build()?;
    let revocations = Arc::new(revocations);
    // The queue itself downloads once an hour at most; between, it is asked for what is left of the last download.
    let settings = QueueSettings::new(revocations.clone()).with_poll_interval(Duration::from_secs(60));
    let tokens = clients.tokens.clone();
    let connector = Connector::builder(provider, journal)
        .tenant(file.tenant.parse()?)
        .instance("connector-1".parse()?)
        .runtime(runtime)
        .sink(sink.clone())
        .sealing_key(sealing_keys)
        .watch_credential("Entra credential", move || intune_connector::adapters::entra::TokenSource::credential_expires(&*tokens))
        .revoke(RevokeConfig::new(revocations.clone(), ca.name().clone(), ca.clone()).with_settings(settings))
        .build()?;

    let listener = tokio::net::TcpListener::bind(&service.scep_listen).await?;
    println!("  SCEP: http://{}/scep (put TLS in front); revocation: one download an hour", listener.local_addr()?);
    println!("  The CA is a throw-away one, its certificate is {}: for trials only.", service.dir.join("ca.cer").display());
    println!("  Events: {}/admin.jsonl, operational.jsonl. Ctrl-C stops.", service.dir.display());

    let (stop, stopped) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        drop(stop);
    });
    let until = || {
        let mut stopped = stopped.clone();
        async move { while stopped.changed().await.is_ok() {} }
    };
    let http = ScepHttp::new(scep.clone(), |task: ScepTask| drop(tokio::spawn(task)));
    let upkeep = async {
        loop {
            scep.maintain(Timestamp::system_now()).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    tokio::select! {
        () = async { tokio::join!(serve::serve(listener, None, http, until()), connector.run_until(until())); } => {}
        () = upkeep => {}
    }
    sink.flush();
    Ok(())
}

/// The keys that seal the journal: made once, readable for their owner alone. In earnest they live apart from the journal.
fn sealing_keys(provider: &CryptoProvider, path: &Path) -> Checked<SealingKeys> {
    match SealingKeyFile::create(path, provider) {
        Ok(file) => Ok(file.into()),
        Err(SealingKeyError::Exists(_)) => Ok(SealingKeyFile::new(path).into()),
        Err(error) => Err(error.into()),
    }
}
