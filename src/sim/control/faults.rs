//! A plan of faults as JSON.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sim::{Endpoint, Fault, FaultPlan};

/// What is posted to `faults`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Plan {
    #[serde(default)]
    seed: Option<u64>,
    /// The preset to start from.
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    rate_per_mille: Option<u16>,
    #[serde(default)]
    rates_per_mille: BTreeMap<Endpoint, u16>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    longest_delay_millis: Option<u64>,
    #[serde(default)]
    most: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    endpoint: Endpoint,
    call: u64,
    fault: Fault,
}

/// Most steps of a plan.
const MOST_STEPS: usize = 100_000;

impl Plan {
    /// Seed and plan.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn read(self, seed: u64) -> Result<(u64, FaultPlan), String> {
        let name = self.preset.as_deref().unwrap_or("none");
        let mut plan = FaultPlan::named(name).ok_or_else(|| format!("there is no preset `{name}`; give none, mild or harsh"))?;
        if self.steps.len() > MOST_STEPS {
            return Err(format!("at most {MOST_STEPS} steps are taken"));
        }
        if let Some(rate) = self.rate_per_mille {
            plan = plan.with_rate(rate);
        }
        if let Some(millis) = self.longest_delay_millis {
            plan = plan.with_longest_delay(Duration::from_millis(millis));
        }
        if let Some(most) = self.most {
            plan = plan.with_most(most);
        }
        plan = self.rates_per_mille.into_iter().fold(plan, |plan, (endpoint, rate)| plan.with_rate_at(endpoint, rate));
        for Step { endpoint, call, fault } in self.steps {
            if call == 0 {
                return Err("calls are counted from 1".to_owned());
            }
            if matches!(fault, Fault::Status { status, .. } if !(200..=599).contains(&status)) {
                return Err("the status of a fault is none from 200 to 599".to_owned());
            }
            if !fault.applies_to(endpoint) {
                return Err(format!("that fault cannot happen at {endpoint}"));
            }
            plan = plan.with_fault(endpoint, call, fault);
        }
        Ok((self.seed.unwrap_or(seed), plan))
    }
}
