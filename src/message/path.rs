//! Chain validation (RFC 5280 section 6), a bounded subset.
