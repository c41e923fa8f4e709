//! A long run with faults: memory, descriptors and journal must not grow.

use std::error::Error;
use std::time::{Duration, Instant};

use intune_connector::adapters::StdRuntime;
use intune_connector::ports::Runtime as _;

use crate::arguments::Arguments;
use crate::queue::LoadQueue;
use crate::{journal, measure};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory: u64,
    descriptors: usize,
    journal: u64,
}

/// Looks every minute (every twentieth of a run that is shorter than 20 minutes), and ends when the time is over.
#[derive(Debug, Default)]
pub struct Watch {
    samples: Vec<(Duration, Sample)>,
}

impl Watch {
    pub async fn until_the_end(&mut self, arguments: &Arguments, time: Duration, queue: &LoadQueue, runtime: &StdRuntime) {
        let pause = Duration::from_secs(60).min(time / 10);
        let start = Instant::now();
        while start.elapsed() < time {
            runtime.sleep(pause.min(time.saturating_sub(start.elapsed()))).await;
            let account = queue.account();
            let (Some(memory), Some(descriptors)) = (measure::memory(), measure::descriptors()) else { continue };
            let size = journal::size(&arguments.journal).unwrap_or(0);
            let sample = Sample { memory: memory.now, descriptors, journal: size };
            println!(
                "{:5} s: {} requests, {} done, {} of them failed, {} again; memory {}, descriptors {descriptors}, journal {}",
                start.elapsed().as_secs(),
                account.made,
                account.accepted,
                account.failed,
                account.again,
                measure::mib(memory.now),
                measure::mib(size / 1_024),
            );
            self.samples.push((start.elapsed(), sample));
        }
    }

    /// Holds what came after the first fifth against what stood at its end.
    ///
    /// # Errors
    /// What grew.
    pub fn judge(&self, time: Duration) -> Result<(), Box<dyn Error>> {
        let warm = time / 5;
        let Some((_, base)) = self.samples.iter().find(|(at, _)| *at >= warm) else {
            return Err("nothing was measured: this needs /proc".into());
        };
        let after: Vec<&Sample> = self.samples.iter().filter(|(at, _)| *at >= warm).map(|(_, sample)| sample).collect();
        let most = |part: fn(&Sample) -> u64| after.iter().map(|sample| part(sample)).max().unwrap_or(0);
        let (memory, descriptors, size) = (most(|s| s.memory), most(|s| s.descriptors as u64), most(|s| s.journal));
        println!(
            "after {} s: memory {} to {} ({:+.1} %), descriptors {} to {descriptors}, journal {} to {}",
            warm.as_secs(),
            measure::mib(base.memory),
            measure::mib(memory),
            (memory as f64 / base.memory as f64 - 1.0) * 100.0,
            base.descriptors,
            measure::mib(base.journal / 1_024),
            measure::mib(size / 1_024),
        );
        if memory * 100 > base.memory * 105 {
            return Err("the memory grew by more than 5 %".into());
        }
        if descriptors > base.descriptors as u64 {
            return Err("descriptors are left open".into());
        }
        // One page of growth in ten: the file keeps its largest size, which chance still pushes a little.
        if size * 10 > base.journal * 11 {
            return Err("the journal grew by more than a tenth".into());
        }
        Ok(())
    }
}
