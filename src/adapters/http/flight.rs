//! One fetch for all who wait for the same thing.

use core::fmt::{self, Debug};
use core::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::lock::Mutex as Gate;

use super::Failure;

/// Lets one caller at a time fetch. Who waited meanwhile takes what was fetched, or fails with the same failure. When the fetching caller is
/// dropped, the next one fetches.
#[derive(Default)]
pub(crate) struct Flight {
    gate: Gate<()>,
    failed: Mutex<(u64, Option<Failure>)>,
}

impl Flight {
    /// What `kept` has, else what `fetch` brings. `fetch` itself keeps its result where `kept` finds it.
    pub(crate) async fn join<V>(
        &self,
        kept: impl Fn() -> Option<V>,
        fetch: impl Future<Output = Result<V, Failure>>,
    ) -> Result<V, Failure> {
        if let Some(value) = kept() {
            return Ok(value);
        }
        let (failures, _) = *self.failed();
        let _fetching = self.gate.lock().await;
        if let Some(value) = kept() {
            return Ok(value);
        }
        if let Some(failure) = self.failed_since(failures) {
            return Err(failure);
        }
        let outcome = fetch.await;
        if let Err(failure) = &outcome {
            let mut failed = self.failed();
            *failed = (failed.0.wrapping_add(1), Some(failure.clone()));
        }
        outcome
    }

    /// Whether somebody is fetching.
    pub(crate) fn is_busy(&self) -> bool {
        self.gate.try_lock().is_none()
    }

    fn failed_since(&self, count: u64) -> Option<Failure> {
        let failed = self.failed();
        failed.1.clone().filter(|_| failed.0 != count)
    }

    fn failed(&self) -> MutexGuard<'_, (u64, Option<Failure>)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("busy", &self.is_busy()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_channel::oneshot;
    use futures_util::FutureExt as _;
    use futures_util::future::{join_all, pending};

    use super::*;
    use crate::ports::PortErrorKind;

    #[derive(Default)]
    struct Shelf(Mutex<Option<u32>>, AtomicU32);

    impl Shelf {
        async fn fetch(&self, released: oneshot::Receiver<bool>) -> Result<u32, Failure> {
            let number = self.1.fetch_add(1, Ordering::SeqCst);
            match released.await {
                Ok(true) => {
                    *self.0.lock().unwrap() = Some(number);
                    Ok(number)
                }
                _ => Err(Failure::new(PortErrorKind::Transient, format!("fetch {number}"))),
            }
        }

        fn kept(&self) -> Option<u32> {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn many_who_wait_share_one_fetch_and_one_failure() {
        for good in [true, false] {
            let (flight, shelf) = (Flight::default(), Shelf::default());
            let (releases, waits): (Vec<_>, Vec<_>) = (0..20).map(|_| oneshot::channel()).unzip();
            let mut all = join_all(waits.into_iter().map(|released| flight.join(|| shelf.kept(), shelf.fetch(released)))).boxed_local();
            assert!(all.as_mut().now_or_never().is_none());
            for release in releases {
                let _ = release.send(good);
            }
            let outcomes = all.now_or_never().unwrap();
            assert_eq!(shelf.1.load(Ordering::SeqCst), 1);
            let expected = if good { Ok(0) } else { Err(Failure::new(PortErrorKind::Transient, "fetch 0")) };
            assert!(outcomes.iter().all(|outcome| *outcome == expected), "{outcomes:?}");
        }
    }

    #[test]
    fn a_failure_is_not_for_those_who_come_later() {
        let (flight, shelf) = (Flight::default(), Shelf::default());
        for number in 0..3 {
            let (release, released) = oneshot::channel();
            release.send(false).unwrap();
            let outcome = flight.join(|| shelf.kept(), shelf.fetch(released)).now_or_never().unwrap();
            assert_eq!(outcome.unwrap_err().message, format!("fetch {number}"));
        }
    }

    #[test]
    fn when_the_one_who_fetches_is_dropped_the_next_fetches() {
        let (flight, shelf) = (Flight::default(), Shelf::default());
        let mut first = flight.join(|| shelf.kept(), pending::<Result<u32, Failure>>()).boxed_local();
        assert!(first.as_mut().now_or_never().is_none());
        let (release, released) = oneshot::channel();
        let mut second = flight.join(|| shelf.kept(), shelf.fetch(released)).boxed_local();
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        release.send(true).unwrap();
        assert_eq!(second.now_or_never(), Some(Ok(0)));
        assert!(!flight.is_busy());
    }
}
