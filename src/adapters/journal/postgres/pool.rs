//! Connections that are kept, and a bound for those that there are.

use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::connect::{Link, SharedServer};
use super::error::{Fault, PostgresOpenErrorKind};

/// A connection that nobody needs for so long is closed.
const IDLE: Duration = Duration::from_secs(300);

pub(super) struct Pool {
    server: SharedServer,
    places: Semaphore,
    idle: Mutex<Vec<(Link, Instant)>>,
    patience: Duration,
}

/// A connection in use. Unless it is given back, it is closed.
pub(super) struct Lent<'p> {
    pub(super) link: Link,
    pool: &'p Pool,
    _place: SemaphorePermit<'p>,
}

impl Pool {
    pub(super) fn new(server: SharedServer, connections: usize, patience: Duration) -> Self {
        Self { server, places: Semaphore::new(connections), idle: Mutex::default(), patience }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Link, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, made when none waits; nothing was sent when it fails.
    pub(super) async fn take(&self) -> Result<Lent<'_>, Fault> {
        let place = match timeout(self.patience, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            _ => return Err(PostgresOpenErrorKind::CannotConnect { reason: "all connections are busy".to_owned() }.into()),
        };
        loop {
            let Some((link, _)) = self.idle().pop() else { break };
            if !link.is_closed() {
                return Ok(Lent { link, pool: self, _place: place });
            }
        }
        Ok(Lent { link: self.server.connect().await?, pool: self, _place: place })
    }
}

impl Lent<'_> {
    /// Keeps the connection for others, unless that fault has ended it.
    pub(super) fn give_back(self, fault: Option<&Fault>) {
        if self.link.is_closed() || fault.is_some_and(|fault| !fault.spares_connection()) {
            return;
        }
        let now = Instant::now();
        let mut idle = self.pool.idle();
        idle.push((self.link, now));
        // The last one given back is the first one taken: what is not needed gathers at the bottom.
        let old = idle.iter().take_while(|(_, since)| now.duration_since(*since) > IDLE).count();
        let closed: Vec<_> = idle.drain(..old).collect();
        drop(idle);
        drop(closed);
    }
}
