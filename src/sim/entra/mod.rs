//! The authority: tokens, and the metadata by which clients find where to ask.

mod assertion;
mod jwt;
mod metadata;
mod role;
mod token;

pub(super) use assertion::{Credentials, Federation};
pub(super) use metadata::{instance_discovery, keys, open_id_configuration};
pub use role::Role;
pub(super) use token::{Audience, Unauthorised, authorise, token};
