//! How much work is let in: a bound on requests in hand, and one on private-key operations with a bounded queue before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;

/// A counter of permits with a bounded, fair queue.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    max_waiting: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to work; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(Option<Gate>);

/// All permits are in use and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Gate {
    /// `permits` at once, `max_waiting` more in the queue.
    pub(crate) fn new(permits: usize, max_waiting: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: permits, max_waiting, waiting: VecDeque::new() })))
    }

    /// A permit now, or never.
    pub(crate) fn try_enter(&self) -> Result<Permit, Full> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free == 0 {
            return Err(Full);
        }
        state.free -= 1;
        Ok(Permit(Some(self.clone())))
    }

    /// A permit, in turn.
    pub(crate) async fn enter(&self) -> Result<Permit, Full> {
        let turn = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(Some(self.clone())));
            }
            state.waiting.retain(|waiting| !waiting.is_canceled());
            if state.waiting.len() >= state.max_waiting {
                return Err(Full);
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push_back(sender);
            turn
        };
        turn.await.map_err(|_| Full)
    }

    fn give_back(self) {
        let mut permit = Permit(Some(self.clone()));
        loop {
            let next = {
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match state.waiting.pop_front() {
                    Some(next) => next,
                    None => {
                        permit.0 = None;
                        state.free += 1;
                        return;
                    }
                }
            };
            match next.send(permit) {
                Ok(()) => return,
                // Whoever waited has left: the permit comes back, and goes to the next.
                Err(unclaimed) => permit = unclaimed,
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Poll};

    use super::*;

    fn poll<F: Future>(future: core::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(futures_util::task::noop_waker_ref()))
    }

    #[test]
    fn permits_go_round_in_turn_and_the_queue_is_bounded() {
        let gate = Gate::new(1, 1);
        let first = gate.try_enter().unwrap();
        let mut second = pin!(gate.enter());
        assert!(poll(second.as_mut()).is_pending());
        let mut third = pin!(gate.enter());
        assert!(matches!(poll(third.as_mut()), Poll::Ready(Err(Full))));
        assert_eq!(gate.try_enter().unwrap_err(), Full);
        drop(first);
        let Poll::Ready(Ok(held)) = poll(second.as_mut()) else { panic!("the permit did not go to who waited") };
        assert!(gate.try_enter().is_err());
        drop(held);
        assert!(gate.try_enter().is_ok());
    }

    #[test]
    fn who_leaves_the_queue_loses_no_permit() {
        let gate = Gate::new(1, 2);
        let first = gate.try_enter().unwrap();
        {
            let mut leaves = Box::pin(gate.enter());
            assert!(poll(leaves.as_mut()).is_pending());
        }
        drop(first);
        assert!(gate.try_enter().is_ok());
        let first = gate.try_enter().unwrap();
        let mut granted = Box::pin(gate.enter());
        assert!(poll(granted.as_mut()).is_pending());
        drop(first);
        drop(granted);
        assert!(gate.try_enter().is_ok(), "a permit granted to a dropped waiter was lost");
    }
}
