//! Tests of the engine with a toy flow on a clock that is moved by hand.

mod backpressure;
mod faults;
mod fleet;
mod poison;
mod restart;
mod rig;
mod scenarios;
