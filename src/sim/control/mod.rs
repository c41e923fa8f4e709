//! The control endpoint, `/control/v1`: plain JSON, for whoever has the key. `docs/simulator.md` lists what it takes.

mod faults;
mod read;
mod write;

use serde_json::{Value, json};

use super::reply::{self, Answered};
use super::request::Ask;
use super::state::State;
use super::{Inner, OpenQueue};
use crate::adapters::http::{HttpMethod, HttpResponse};
use crate::crypto::constant_time_eq;

/// The header that carries the key.
pub(super) const KEY_HEADER: &str = "x-control-key";

pub(super) fn control(inner: &Inner, state: &mut State, ask: &Ask<'_>, path: &[String]) -> Answered {
    let key = ask.header(KEY_HEADER).unwrap_or_default();
    if !constant_time_eq(key.as_bytes(), inner.identity.control_key.secret_bytes()) {
        return Err(refuse(401, "the header x-control-key is missing or wrong; the simulator printed the key when it started"));
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match ask.method() {
        HttpMethod::Get => {
            super::tenant::settle(inner, state);
            read::read(inner, state, &path)
        }
        HttpMethod::Post => write::write(inner, state, ask, &path),
        _ => Err(refuse(405, "the control endpoint takes GET and POST")),
    }
}

fn own_queue(inner: &Inner) -> Result<&OpenQueue, HttpResponse> {
    inner.open_queue.own().map(AsRef::as_ref).ok_or_else(|| refuse(404, "another open queue is mounted than the simulator's own"))
}

fn refuse(status: u16, text: &str) -> HttpResponse {
    reply::json(status, &json!({ "error": text }))
}

fn fine(body: &Value) -> Answered {
    Ok(reply::json(200, body))
}
