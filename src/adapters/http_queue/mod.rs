//! An `IntuneQueue` over an open HTTP protocol.
