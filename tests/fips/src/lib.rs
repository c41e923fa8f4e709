//! An embedder that runs on a FIPS module: what `tests/` holds needs the module, `.ci/fips` runs it.

/// Whether the module counts what `work` does on this thread as an approved service, by its own service indicator (FIPS 140-3 IG 2.4.C).
///
/// Give it one operation: the indicator is a counter that any approved service moves.
pub fn counts_as_approved<T>(work: impl FnOnce() -> T) -> (T, bool) {
    // SAFETY: both functions read a counter of the calling thread, and have no precondition.
    let before = unsafe { aws_lc_fips_sys::FIPS_service_indicator_before_call() };
    let done = work();
    // SAFETY: as above.
    let after = unsafe { aws_lc_fips_sys::FIPS_service_indicator_after_call() };
    (done, before != after)
}
