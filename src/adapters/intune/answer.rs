//! What an answer of the service means. Any doubt is an error: nothing but 200 with `Success` is a yes.

use serde_json::Value;

use super::actions::{HttpAnswer, ScepAction};
use super::codes::{self, SUCCESS, UNKNOWN};
use super::fault::Asked;
use super::wire::Answer;
use crate::adapters::http::{fit, quoted, says};
use crate::ports::PortError;

/// The service's verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Success,
    /// It refuses, by this code.
    No {
        code: String,
        description: String,
    },
}

fn asked(action: ScepAction) -> Asked {
    Asked {
        call: action.to_string(),
        outcome: "verdict",
        holds: "the call holds the challenge",
        too_large: "the CSR is larger than the service takes",
        max_body: HttpAnswer::MAX_BODY,
    }
}

/// Reads an answer.
pub(super) fn read(action: ScepAction, answer: &HttpAnswer) -> Result<Said, PortError> {
    let asked = asked(action);
    asked.check(answer)?;
    // serde takes an array for an object. Its error is not shown: it quotes what it reads.
    let object = Some(&answer.body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let Some(said) = object.and_then(|body| serde_json::from_slice::<Answer>(body).ok()) else {
        let problem = format!("the body is no JSON object with one text `code`{}", quoted(&answer.body));
        return Err(asked.no_answer(answer, &problem));
    };
    let text = said.error_description.as_ref().and_then(Value::as_str).map(fit).unwrap_or_default();
    match said.code.as_str() {
        SUCCESS => Ok(Said::Success),
        UNKNOWN => {
            let problem = format!("it answers `{UNKNOWN}`{}; try again later", says(&text));
            Err(asked.no_answer(answer, &problem).with_code(UNKNOWN))
        }
        code => Ok(Said::No { code: fit(code), description: format!("{}{}.", codes::explain(code), says(&text)) }),
    }
}
