//! What each fuzz target checks: `check` takes any bytes and panics if a rule is broken. The targets call these, and so does
//! `tests/corpora` with the kept inputs, which needs no fuzzer.

pub mod compressed;
pub mod config;
pub mod control_decode;
pub mod frame_decode;
pub mod harbor;
pub mod registry;
pub mod seri_unpack;
pub mod split_streams;
