//! A new `userPFXCertificate`.

use super::PfxRecord;
use super::pfx::{bad, object, shown};
use crate::sim::Inner;
use crate::sim::reply::{self, Answered, gateway_error};
use crate::sim::request::Ask;
use crate::sim::state::State;

pub(super) fn create(inner: &Inner, state: &mut State, ask: &Ask<'_>) -> Answered {
    let mut record = PfxRecord::read(&object(ask)?, inner.runtime.now()).map_err(|text| bad(&text))?;
    let Some((name, id)) = state.pfx.user(&record.user_principal_name) else {
        return Err(bad("There is no user with that user principal name."));
    };
    record.user_principal_name = name.to_owned();
    record.id = format!("{}-{}", id.replace('-', ""), record.thumbprint).to_ascii_lowercase();
    if state.pfx.get(&record.id).is_some() {
        return Err(gateway_error(409, "Conflict", "The user has a userPFXCertificate with that thumbprint."));
    }
    if state.pfx.is_full_for(&record) {
        return Err(reply::full("certificates"));
    }
    let answer = shown(&state.base, &record, 201);
    state.pfx.put(record);
    Ok(answer)
}
