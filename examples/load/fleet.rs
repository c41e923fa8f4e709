//! Several processes over one journal: this one starts them, lets them go at the same time, and adds up.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;

/// What a process says when it is ready to begin, and before its figures.
pub const READY: &str = "ready";
pub const DONE: &str = "done";

pub fn run(arguments: &Arguments, line: &[String]) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for number in 0..arguments.processes {
        let mut command = Command::new(&program);
        command.args(line).args(["--child", &number.to_string()]);
        children.push(Guard(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?));
    }
    let mut outputs = Vec::new();
    for child in &mut children {
        let mut lines = BufReader::new(child.0.stdout.take().ok_or("no output")?).lines();
        match lines.next() {
            Some(Ok(line)) if line == READY => outputs.push(lines),
            _ => return Err("a process ended before it was ready; what it said stands above".into()),
        }
    }
    let start = Instant::now();
    for child in &mut children {
        child.0.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    }
    let (mut total, mut processor) = (0, Duration::ZERO);
    for mut lines in outputs {
        let told = lines.find_map(|line| {
            let line = line.ok()?;
            let mut parts = line.strip_prefix(DONE)?.trim_start().splitn(3, ' ');
            Some((parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?, parts.next()?.to_owned()))
        });
        let (requests, millis, figures) = told.ok_or("a process ended without figures")?;
        println!("  {figures}");
        total += requests;
        processor += Duration::from_millis(millis);
    }
    let took = start.elapsed();
    let rate = total as f64 / took.as_secs_f64();
    let load = processor.as_secs_f64() / took.as_secs_f64();
    println!(
        "{} processes: {total} requests in {:.2} s: {rate:.1}/s; processors used by the processes: {load:.2}",
        arguments.processes,
        took.as_secs_f64()
    );
    Ok(())
}

/// Ends a process that is left over.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}
