//! Checks an installation, and says for each finding how to cure it.
