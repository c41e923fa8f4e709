//! One request at the gates: what a queue-driven task keeps of it.

#![cfg_attr(not(any(feature = "pkcs", feature = "revoke")), allow(dead_code, reason = "only these flows ask CAs"))]

use core::time::Duration;

use super::{Entry, Permit};
use crate::flow::{Context, Job, Step};
use crate::ids::CaName;
use crate::ports::{Failure, PortError};
use crate::retry::ErrorClass;

/// So many vain probes cost a request no attempt. Were there no bound, one that a CA cannot take could try until its deadline.
const FREE_PROBES: u32 = 8;
/// After a vain probe others go first.
const AFTER_PROBE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Visitor {
    permit: Option<Permit>,
    /// The attempt that the retry budget has paid for.
    paid: u32,
    vain_probes: u32,
}

impl Visitor {
    /// Asks for one call of the CA.
    ///
    /// # Errors
    /// The step that the task must answer instead: it waits, or fails when the CA is misconfigured and not asked before the deadline.
    pub(crate) fn enter(&mut self, context: &Context, job: &Job, ca: &CaName) -> Result<(), Step> {
        // Whatever is left of an earlier call goes back first.
        self.leave();
        let repeat = job.attempt > 1 && self.paid != job.attempt;
        match context.gates.of(ca).ask(context, repeat) {
            Entry::Go(permit) => {
                if repeat {
                    self.paid = job.attempt;
                }
                self.permit = Some(permit);
                Ok(())
            }
            Entry::Wait { pause, misconfigured: true } if context.runtime.now().saturating_add(pause) >= job.deadline => {
                let message = format!("the CA {ca} is left alone since it said that it is misconfigured");
                Err(Step::Failed(Failure::new(ErrorClass::Configuration, message)))
            }
            Entry::Wait { pause, .. } => Err(Step::Wait(pause)),
        }
    }

    /// Tells the gate how the call ended.
    pub(crate) fn settle<T>(&self, answer: &Result<T, PortError>, cool_down: Duration) {
        if let Some(permit) = &self.permit {
            permit.settle(answer, Some(cool_down));
        }
    }

    /// The call is over, or was not made.
    pub(crate) fn leave(&mut self) {
        self.permit = None;
    }

    /// What a retry becomes: a vain probe says nothing about the request and costs it no attempt.
    pub(crate) fn excuse(&mut self, step: Step) -> Step {
        let is_vain = self.permit.as_ref().is_some_and(Permit::was_vain_probe);
        match step {
            Step::Retry { .. } if is_vain && self.vain_probes < FREE_PROBES => {
                self.vain_probes += 1;
                Step::Wait(AFTER_PROBE)
            }
            other => other,
        }
    }
}
