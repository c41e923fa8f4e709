//! A clock that runs faster than the wall's, the same for connector and judges: a backoff of a second takes 1/30 of one.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use intune_connector::adapters::StdRuntime;
use intune_connector::ports::{Busy, Runtime};
use intune_connector::time::Timestamp;
use serde::{Deserialize, Serialize};

/// While requests are worked on.
pub const PACE: u32 = 30;
/// While it is waited for what is rare.
pub const HASTE: u32 = 600;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Clock {
    /// When it was set, by the wall and by itself.
    wall: Timestamp,
    own: Timestamp,
    pace: u32,
}

impl Clock {
    pub fn new() -> Self {
        let now = Timestamp::system_now();
        Self { wall: now, own: now, pace: PACE }
    }

    pub fn now(&self) -> Timestamp {
        self.own.saturating_add(Timestamp::system_now().since(self.wall).saturating_mul(self.pace))
    }

    /// The same clock at another pace from now on.
    pub fn at_pace(&self, pace: u32) -> Self {
        Self { wall: Timestamp::system_now(), own: self.now(), pace }
    }
}

/// Threads and timers by that clock.
#[derive(Debug)]
pub struct Fast {
    pub std: StdRuntime,
    pub clock: Clock,
}

impl Runtime for Fast {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.std.monotonic().saturating_mul(self.clock.pace)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.std.sleep(duration / self.clock.pace)
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        self.std.offload(job)
    }
}
