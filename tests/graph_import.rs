//! The bulk import of PFX files: a folder and a list in, one result for each row out, whatever goes wrong.

#![cfg(all(feature = "graph", feature = "ring", feature = "aws-lc-rs", feature = "legacy-ciphers"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/graph_lab.rs"]
mod graph_lab;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/scan.rs"]
mod scan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use graph_lab::{Fault, GraphLab, Tokens, error};
use intune_connector::adapters::VirtualRuntime;
use intune_connector::adapters::graph::{
    BulkImport, GraphPfx, GraphSettings, ImportKey, ImportList, ImportSummary, IntendedPurpose, OnExisting, PfxChecks, PfxFolder,
    ResultFile, RowOutcome, RowResult,
};
use intune_connector::adapters::http::HttpMethod;
use intune_connector::crypto::CryptoProvider;
use intune_connector::message::pfx::PfxBuilder;
use intune_connector::message::public_key::RsaPublicKey;
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{KeyAlgorithm, KeyUsage, PfxProfile, SubjectAltName, oids};
use intune_connector::time::Timestamp;
use pki::Identity;
use scan::{Marker, Report};

const SECRET: &str = "hunter2-is-no-good-password";

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(CryptoProvider::ring_and_aws_lc_rs);
static ROOT: LazyLock<Identity> = LazyLock::new(|| pki::root(&PROVIDER, "Mail CA"));
static IMPORT_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (_, signer) = pki::new_key(&PROVIDER, KeyAlgorithm::Rsa2048);
    RsaPublicKey::from_spki(&signer.public_key()).unwrap().to_pem().into_bytes()
});

struct Bench {
    lab: Arc<GraphLab>,
    runtime: VirtualRuntime,
    folder: tempfile::TempDir,
    import: BulkImport,
}

type Outcome = (ImportSummary, Vec<RowResult>);

fn upn(number: usize) -> String {
    format!("user{number}@contoso.example")
}

/// A folder with the files of users 1 to `files`, all with the password `SECRET`.
fn bench(files: usize) -> Bench {
    let (lab, runtime) = (GraphLab::new(), VirtualRuntime::new(Timestamp::system_now()));
    let tokens = Arc::new(Tokens::default());
    let client = GraphPfx::new(lab.clone(), tokens, Arc::new(runtime.clone()), PROVIDER.clone(), GraphSettings::global()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=files {
        lab.user(&upn(number));
        std::fs::write(folder.path().join(format!("{number}.pfx")), pfx(number).secret_bytes()).unwrap();
    }
    let checks = PfxChecks::new(ImportKey::read(&IMPORT_KEY, "Contoso Provider", "import").unwrap());
    let import = BulkImport::new(client, checks, PfxFolder::new(folder.path()), PROVIDER.clone());
    Bench { lab, runtime, folder, import }
}

fn pfx(number: usize) -> SecretBytes {
    let leaf = pki::leaf(&PROVIDER, &ROOT, &format!("CN=User {number}"), KeyAlgorithm::EcP256, |builder| {
        builder
            .key_usage(KeyUsage { key_agreement: true, ..KeyUsage::SIGN_AND_ENCIPHER })
            .extended_key_usage(&[oids::EMAIL_PROTECTION.parse().unwrap()])
            .subject_alt_names(&[SubjectAltName::Email(upn(number))])
    });
    let builder = PfxBuilder::new(PfxProfile::Modern).key(&leaf.key).certificate(&leaf.certificate).iterations(2_000);
    builder.build(&Password::from(SECRET), &PROVIDER).unwrap()
}

fn list(rows: &str) -> ImportList {
    let text = format!("file,upn,password,password_env,password_file\n{rows}");
    ImportList::read(&SecretBytes::copy_from(text.as_bytes()), Some(IntendedPurpose::SmimeEncryption)).unwrap()
}

fn rows(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(|number| format!("{number}.pfx,{},{SECRET},,\n", upn(number))).collect()
}

impl Bench {
    fn result_path(&self) -> PathBuf {
        self.folder.path().join("results.csv")
    }

    fn run_with(&self, import: &BulkImport, rows: &str) -> Outcome {
        let list = list(rows);
        let total = list.rows().len();
        let mut file = ResultFile::open(&self.result_path()).unwrap();
        let mut results: Vec<RowResult> = Vec::new();
        let summary = self
            .runtime
            .block_on(import.run(list, Some(&mut file), |progress| {
                assert_eq!((progress.done, progress.total), (results.len() + 1, total));
                results.push(progress.last.clone());
            }))
            .unwrap()
            .unwrap();
        // Nothing lost: each row has exactly one result.
        let mut lines: Vec<usize> = results.iter().map(|result| result.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, (2..total + 2).collect::<Vec<_>>());
        assert_eq!(summary.total(), total);
        results.sort_by_key(|result| result.line);
        (summary, results)
    }

    fn run(&self, rows: &str) -> Outcome {
        self.run_with(&self.import, rows)
    }

    /// The lines of the result file: file and result.
    fn written(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.result_path()).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("file,upn,thumbprint,result,request_id,message"));
        lines.map(|line| line.split(',').collect::<Vec<_>>()).map(|fields| (fields[0].to_owned(), fields[3].to_owned())).collect()
    }
}

fn outcomes((_, results): &Outcome) -> Vec<RowOutcome> {
    results.iter().map(|result| result.outcome).collect()
}

use RowOutcome::{Checked, Created, DoneBefore, Failed, Kept, NotTried, Refused, Updated};

#[test]
fn each_row_has_one_result_in_the_callback_and_in_the_file() {
    let bench = bench(9);
    let outcome = bench.run(&rows(1..=9));
    assert_eq!(outcome.0.count(Created), 9);
    assert!(outcome.0.is_clean());
    assert_eq!(bench.lab.records().len(), 9);
    let written: BTreeMap<String, String> = bench.written().into_iter().collect();
    assert_eq!((written.len(), bench.written().len()), (9, 9));
    assert!(written.values().all(|result| result == "created"));
    for result in &outcome.1 {
        let record = bench.lab.records().into_iter().find(|record| record["userPrincipalName"] == *result.upn).unwrap();
        assert_eq!(record["thumbprint"], result.thumbprint.unwrap().to_string().to_ascii_lowercase());
        assert!(result.request_id.as_ref().unwrap().starts_with("request-"));
    }
}

#[test]
fn rows_fail_alone_and_say_why() {
    let bench = bench(2);
    std::fs::write(bench.folder.path().join("text.pfx"), "no PFX").unwrap();
    std::fs::write(bench.folder.path().join("large.pfx"), vec![0; 2 << 20]).unwrap();
    let rows = format!(
        "1.pfx,{0},{SECRET},,\nmissing.pfx,{0},{SECRET},,\n../x.pfx,{0},{SECRET},,\n/etc/passwd,{0},{SECRET},,\ntext.pfx,{0},{SECRET},,\n\
         large.pfx,{0},{SECRET},,\n2.pfx,{0},wrong-password-of-2,,\n2.pfx,nobody@contoso.example,{SECRET},,\n.,{0},{SECRET},,\n2.pfx,{1},{SECRET},,\n",
        upn(1),
        upn(2)
    );
    let outcome = bench.run(&rows);
    assert_eq!(outcomes(&outcome), [Created, Refused, Refused, Refused, Refused, Refused, Refused, Refused, Refused, Created]);
    let words = [
        "",
        "cannot be read",
        "leads out",
        "leads out",
        "not a PFX",
        "longer than",
        "password is wrong",
        "no user with the UPN",
        "leads out",
        "",
    ];
    for (result, word) in outcome.1.iter().zip(words) {
        assert!(result.message.contains(word), "{result:?}");
    }
    assert_eq!(bench.written().len(), 10);
    assert!(!outcome.0.is_clean());
}

#[cfg(unix)]
#[test]
fn a_named_pipe_in_the_folder_is_not_waited_for() {
    let bench = bench(1);
    let made = std::process::Command::new("mkfifo").arg(bench.folder.path().join("pipe.pfx")).status().unwrap();
    assert!(made.success());
    let outcome = bench.run(&format!("pipe.pfx,{0},{SECRET},,\n1.pfx,{0},,,pipe.pfx\n", upn(1)));
    assert_eq!(outcomes(&outcome), [Refused, Refused]);
    assert!(outcome.1.iter().all(|result| result.message.contains("it is no file")), "{outcome:?}");
}

#[test]
fn passwords_come_from_the_list_a_variable_or_a_file() {
    let bench = bench(3);
    std::fs::write(bench.folder.path().join("1.txt"), format!("{SECRET}\r\n")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let absolute = elsewhere.path().join("2.txt");
    std::fs::write(&absolute, SECRET).unwrap();
    let rows = format!(
        "1.pfx,{},,,1.txt\n2.pfx,{},,,{}\n3.pfx,{},,CARGO_PKG_NAME,\n3.pfx,x@contoso.example,,NO_SUCH_VARIABLE_HERE,\n3.pfx,y@contoso.example,,,no.txt\n",
        upn(1),
        upn(2),
        absolute.display(),
        upn(3)
    );
    let outcome = bench.run(&rows);
    // The variable is set by cargo, and holds another password.
    assert_eq!(outcomes(&outcome), [Created, Created, Refused, Refused, Refused]);
    assert!(outcome.1[2].message.contains("password is wrong"));
    assert!(outcome.1[3].message.contains("NO_SUCH_VARIABLE_HERE"));
    assert!(outcome.1[4].message.contains("`password_file` names cannot be read"));
    let swapped = bench.run(&format!("3.pfx,a@contoso.example,,{SECRET},\n3.pfx,b@contoso.example,,,{SECRET}\n"));
    assert_eq!(outcomes(&swapped), [Refused, Refused]);
    let written = std::fs::read_to_string(bench.result_path()).unwrap();
    assert!(!written.contains("hunter2") && written.contains("that `password_env` names"), "{written}");
}

#[test]
fn a_second_run_passes_over_what_succeeded_and_tries_the_rest_again() {
    let bench = bench(4);
    std::fs::remove_file(bench.folder.path().join("3.pfx")).unwrap();
    let first = bench.run(&rows(1..=4));
    assert_eq!(outcomes(&first), [Created, Created, Refused, Created]);
    let requests = bench.lab.seen().len();
    std::fs::write(bench.folder.path().join("3.pfx"), pfx(3).secret_bytes()).unwrap();
    let second = bench.run(&rows(1..=4));
    assert_eq!(outcomes(&second), [DoneBefore, DoneBefore, Created, DoneBefore]);
    assert_eq!(bench.lab.seen().len(), requests + 2, "a search and a create");
    let third = bench.run(&rows(1..=4));
    assert_eq!(outcomes(&third), [DoneBefore; 4]);
    assert_eq!(bench.written().len(), 5, "what was done before has its line already");
}

#[test]
fn a_record_that_is_there_is_kept_or_updated_as_configured() {
    let bench = bench(1);
    bench.run(&rows([1]));
    std::fs::remove_file(bench.result_path()).unwrap();
    let kept = bench.run(&rows([1]));
    assert_eq!(outcomes(&kept), [Kept]);
    assert_eq!(bench.lab.count(HttpMethod::Patch), 0);

    std::fs::remove_file(bench.result_path()).unwrap();
    let signing = ImportList::read(
        &SecretBytes::new(format!("file,upn,password,purpose\n1.pfx,USER1@contoso.example,{SECRET},smimeSigning\n").into_bytes()),
        None,
    );
    let mut results = Vec::new();
    let run = bench.import.run(signing.unwrap(), None, |progress| results.push(progress.last.clone()));
    bench.runtime.block_on(run).unwrap().unwrap();
    assert!(results[0].outcome == Kept && results[0].message.contains("purpose smimeEncryption instead of smimeSigning"), "{results:?}");

    let before = bench.lab.records()[0]["encryptedPfxPassword"].clone();
    let updated = bench.run_with(&bench.import.clone().with_on_existing(OnExisting::Update), &rows([1]));
    assert_eq!(outcomes(&updated), [Updated]);
    assert_ne!(bench.lab.records()[0]["encryptedPfxPassword"], before);
    assert_eq!(bench.lab.records().len(), 1);
}

#[test]
fn a_renewed_certificate_of_the_same_user_is_a_record_of_its_own() {
    let bench = bench(1);
    bench.run(&rows([1]));
    std::fs::write(bench.folder.path().join("1-new.pfx"), pfx(1).secret_bytes()).unwrap();
    let outcome = bench.run(&format!("1-new.pfx,{},{SECRET},,\n", upn(1)));
    assert_eq!(outcomes(&outcome), [Created]);
    assert_eq!(bench.lab.records().len(), 2);
}

#[test]
fn a_missing_permission_stops_the_run_and_the_rest_is_not_tried() {
    let bench = bench(9);
    for _ in 0..40 {
        bench.lab.then(HttpMethod::Get, Fault::Answer(error(403, "Forbidden", "no")));
    }
    let outcome = bench.run(&rows(1..=9));
    assert!(outcome.0.count(Failed) >= 1 && outcome.0.count(Failed) <= 4, "{:?}", outcome.0);
    assert_eq!(outcome.0.count(Failed) + outcome.0.count(NotTried), 9);
    for result in &outcome.1 {
        assert!(result.message.contains("DeviceManagementConfiguration.ReadWrite.All"), "{result:?}");
    }
    assert_eq!(bench.lab.count(HttpMethod::Post), 0);
    assert_eq!(bench.written().len(), 9);
}

#[test]
fn lost_answers_and_throttling_lead_to_one_record_a_row() {
    let bench = bench(6);
    for _ in 0..3 {
        bench.lab.then(HttpMethod::Post, Fault::LoseAnswer);
        bench.lab.then(HttpMethod::Post, Fault::LoseRequest);
        bench.lab.then(HttpMethod::Post, Fault::Answer(error(429, "TooManyRequests", "no").with_header("Retry-After", "30")));
        bench.lab.then(HttpMethod::Get, Fault::LoseRequest);
    }
    let outcome = bench.run(&rows(1..=6));
    assert_eq!(outcomes(&outcome), [Created; 6]);
    let mut ids: Vec<String> = bench.lab.records().iter().map(|record| record["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), bench.lab.records().len()), (6, 6));
}

#[test]
fn a_run_that_is_broken_off_is_resumed_without_a_double() {
    let mut cuts = 0;
    let mut found = 0;
    for (concurrency, polls) in (0..20).map(|polls| (4, polls)).chain((0..60).map(|polls| (1, polls))) {
        let bench = bench(5);
        let import = bench.import.clone().with_concurrency(concurrency);
        bench.lab.then(HttpMethod::Post, Fault::Answer(error(429, "TooManyRequests", "no").with_header("Retry-After", "30")));
        bench.lab.then(HttpMethod::Post, Fault::LoseAnswer);
        bench.lab.then(HttpMethod::Get, Fault::LoseRequest);
        {
            let mut file = ResultFile::open(&bench.result_path()).unwrap();
            let mut run = Box::pin(import.run(list(&rows(1..=5)), Some(&mut file), |_| {}));
            let mut left = polls;
            let until = std::future::poll_fn(|context| {
                if left == 0 {
                    cuts += 1;
                    return Poll::Ready(());
                }
                left -= 1;
                run.as_mut().poll(context).map(|_| ())
            });
            bench.runtime.block_on(until).unwrap();
        }
        let resumed = bench.run(&rows(1..=5));
        assert!(resumed.0.is_clean(), "{polls}: {:?}", resumed.1);
        found += resumed.0.count(Kept);
        assert_eq!(bench.lab.records().len(), 5, "{polls}");
        let done: BTreeMap<String, String> = bench.written().into_iter().collect();
        assert_eq!(done.len(), 5, "{polls}");
    }
    assert!(cuts > 30, "the cuts fall into the run: {cuts}");
    assert!(found > 5, "and between a create and its line: {found}");
}

#[test]
fn two_lines_for_one_record_do_not_race() {
    let bench = bench(1);
    std::fs::copy(bench.folder.path().join("1.pfx"), bench.folder.path().join("copy.pfx")).unwrap();
    let outcome =
        bench.run(&format!("1.pfx,{0},{SECRET},,\n1.pfx,{1},{SECRET},,\ncopy.pfx,{0},{SECRET},,\n", upn(1), upn(1).to_uppercase()));
    assert_eq!(outcomes(&outcome), [Created, Refused, Refused]);
    assert!(outcome.1[1].message.contains("line 2") && outcome.1[2].message.contains("line 2"), "{outcome:?}");
    assert_eq!(bench.lab.records().len(), 1);
}

#[test]
fn a_dry_run_sends_and_writes_nothing() {
    let bench = bench(2);
    let outcome = bench.run_with(&bench.import.clone().with_dry_run(true), &(rows([1, 2]) + &format!("3.pfx,{},{SECRET},,\n", upn(1))));
    assert_eq!(outcomes(&outcome), [Checked, Checked, Refused]);
    assert_eq!((bench.lab.seen().len(), bench.written().len()), (0, 0));
}

#[test]
fn two_runs_cannot_have_one_result_file() {
    let bench = bench(0);
    let first = ResultFile::open(&bench.result_path()).unwrap();
    assert!(ResultFile::open(&bench.result_path()).unwrap_err().to_string().contains("another run"));
    drop(first);
    ResultFile::open(&bench.result_path()).unwrap();
    std::fs::write(bench.result_path(), "an important letter\n").unwrap();
    assert!(ResultFile::open(&bench.result_path()).unwrap_err().to_string().contains("not one of this program's"));
    assert_eq!(std::fs::read_to_string(bench.result_path()).unwrap(), "an important letter\n");
}

#[test]
fn no_password_is_in_the_result_file_in_a_debug_text_or_in_an_error() {
    let bench = bench(3);
    let mut report = Report::new(vec![Marker::new("password", SECRET), Marker::new("token", "token-1-of-the-tests")]);
    report.marker(Marker::new("PFX", &std::fs::read(bench.folder.path().join("1.pfx")).unwrap()[60..100]));
    let rows = rows(1..=3) + &format!("1.pfx,x@contoso.example,{SECRET}x,,\nnone.pfx,{},{SECRET},,\n", upn(1));
    let text = format!("file,upn,password,password_env,password_file\n{rows}");
    let echo = bench.lab.clone();
    echo.then(
        HttpMethod::Post,
        Fault::Answer(error(400, "BadRequest", &scan::base64(&std::fs::read(bench.folder.path().join("1.pfx")).unwrap()))),
    );
    report.bytes("list", format!("{:?} {:?}", list(&rows), bench.import).as_bytes());
    let broken = text.replace("\n2.pfx", "\n2\".pfx").replace("3.pfx,", "3.pfx,,");
    report.error("list", &ImportList::read(&SecretBytes::new(broken.into_bytes()), None).unwrap_err());
    report.error("list", &ImportList::read(&SecretBytes::new(rows.clone().into_bytes()), None).unwrap_err());
    let (summary, results) = bench.run(&rows);
    assert_eq!((summary.count(Created), summary.count(Refused)), (2, 3));
    report.bytes("results", format!("{summary:?} {results:?}").as_bytes());
    for result in &results {
        report.text("message", &result.message);
    }
    report.bytes("result file", &std::fs::read(bench.result_path()).unwrap());
    report.finish();
}
