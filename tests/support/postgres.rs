//! A PostgreSQL server of a test's own, from the binaries of the machine (Debian: package `postgresql`); without them the test is skipped.
//!
//! [`Server::start`] makes a database cluster in a scratch folder and starts a server that listens on a Unix socket in that folder (no
//! password) and on a loopback port (password [`PASSWORD`]). The server runs as the user `postgres` where the test runs as root, since
//! PostgreSQL refuses root. It ends when the `Server` is dropped, and also when the test's process ends in any other way: it is watched by a
//! shell that reads from a pipe of the test. Other processes of a test reach it by the connection string of [`Server::url`].

#![allow(dead_code, clippy::unwrap_used, reason = "support of tests, each of which uses a part of it")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support;

/// Of the user `postgres`, where one is asked for.
pub const PASSWORD: &str = "s3cr~t of the server";

/// A running server, or one that was stopped.
pub struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    watch: Option<Child>,
}

/// The folder of the newest version's binaries.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let number = |path: &Path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let found = versions.filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file()).max_by_key(|bin| number(bin));
    if found.is_none() {
        support::skip("PostgreSQL's server (initdb and postgres in /usr/lib/postgresql/*/bin)");
    }
    found
}

fn is_root() -> bool {
    let output = support::run(Command::new("id").arg("-u"));
    output.stdout.trim_ascii() == b"0"
}

/// A program, run as another user where this one is root.
fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

impl Server {
    /// A new one without databases of ours; `None` (after saying so) where there is no PostgreSQL.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same with further settings of the server, such as `ssl=on`.
    pub fn with(settings: &[&str]) -> Option<Self> {
        let bin = binaries()?;
        let folder = support::scratch();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if is_root() {
            support::run(Command::new("chown").arg("-R").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        support::run(
            as_server(&bin.join("initdb"))
                .args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256", "-D"])
                .arg(&data)
                .arg(format!("--pwfile={}", password.display()))
                .current_dir("/"),
        );
        // Free now; another program that takes it in the next moment makes the start fail.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { bin, folder, port, settings, watch: None };
        server.start_again();
        Some(server)
    }

    /// The folder of the cluster's files; the server's user owns what is in it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connects through the Unix socket, without a password.
    pub fn url(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.folder.path().display(), self.port)
    }

    /// Connects through the loopback port, with that password.
    pub fn url_with_password(&self, database: &str, password: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database} password='{password}'", self.port)
    }

    /// Starts it after [`stop`](Self::stop); returns when it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.watch.is_none(), "it runs");
        // The pipe closes with this process, however it ends; SIGQUIT is an end without tidying up. Unless something was written, nobody
        // else removes the folder.
        let watch =
            "folder=$1; shift; \"$@\" & server=$!; kept=$(cat); kill -QUIT $server; wait $server; [ -n \"$kept\" ] || rm -rf \"$folder\"";
        let mut command = as_server(Path::new("/bin/sh"));
        command.args(["-c", watch, "watch"]).arg(self.folder.path()).arg(self.bin.join("postgres")).arg("-D").arg(self.data());
        let socket = self.folder.path().display();
        for setting in [format!("unix_socket_directories={socket}"), "listen_addresses=127.0.0.1".to_owned(), format!("port={}", self.port)]
        {
            command.args(["-c", &setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.current_dir("/").stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.watch = Some(command.spawn().unwrap());
        for _ in 0..1_200 {
            let ready = Command::new(self.bin.join("pg_isready"))
                .args(["-q", "-h"])
                .arg(self.folder.path())
                .args(["-p", &self.port.to_string()])
                .status();
            if ready.unwrap().success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server does not start:\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }

    /// Ends it as a crash does: connections break, nothing is tidied up.
    pub fn stop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            if let Some(mut stdin) = watch.stdin.take() {
                let _ = stdin.write_all(b"kept");
            }
            let _ = watch.wait();
        }
    }

    /// Runs SQL in a database; gives what it answers, without headings.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", text]);
        let output = support::run(command.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A new, empty database.
    pub fn database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
