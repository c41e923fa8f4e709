//! An embedder that runs on a FIPS module: what `tests/` holds needs the module, `.ci/fips` runs it.
