//! The `scep_service` example, running as a program of its own.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "support of tests, each of which uses a part of it")]

#[path = "example.rs"]
pub mod example;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const CHALLENGE: &str = "lab-challenge-1";

/// The example, running; stopped on drop.
pub struct Server {
    child: Child,
    pub url: String,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// With `--ca` that, and the options after it.
    pub fn start(ca: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(example::example("scep_service"))
            .args(["--listen", "127.0.0.1:0", "--challenge", CHALLENGE, "--ca", ca, "--dir"])
            .arg(dir.path())
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line:?}")).to_owned();
        Self { child, url, dir }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    pub fn address(&self) -> &str {
        self.url.split("//").nth(1).unwrap().split('/').next().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// One request over HTTP/1.0 without a Host header, as old devices send it; gives head and body.
    pub fn raw(&self, request_line: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        write!(stream, "{request_line}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    }
}
