//! Why a simulator does not start.

use std::net::SocketAddr;

use crate::adapters::LocalCaError;
use crate::crypto::{CryptoError, MissingSlot};
use crate::message::X509Error;

/// Why a [`SimulatedIntune`](super::SimulatedIntune) was not made or does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The provider lacks a slot.
    #[error(transparent)]
    MissingSlot(#[from] MissingSlot),
    /// A key was not made or used.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The CA or a certificate of it was not made.
    #[error("the simulator's CA: {0}")]
    Ca(#[from] LocalCaError),
    /// A certificate cannot be read or made.
    #[error(transparent)]
    X509(#[from] X509Error),
    /// The address is not a loopback address.
    #[error("{0} is not a loopback address: the simulated Intune serves 127.0.0.0/8 and ::1 alone; listen on 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The network does not let it serve.
    #[error("the simulated Intune cannot serve: {0}")]
    Io(#[from] std::io::Error),
    /// Something given cannot be used.
    #[error("{0}")]
    Invalid(String),
}
