//! The kept inputs of the fuzz targets, without a fuzzer: `fuzz/corpus` has a folder for each target.
//!
//! `FUZZ_INPUT=path` runs a single input instead, for example one that a fuzzer found.
#![expect(unreachable_pub, reason = "the fuzzer's targets use these files as modules of a library")]

#[path = "../../fuzz/src/compressed.rs"]
mod compressed;
#[path = "../../fuzz/src/config.rs"]
mod config;
#[path = "../../fuzz/src/control_decode.rs"]
mod control_decode;
#[path = "../../fuzz/src/frame_decode.rs"]
mod frame_decode;
#[path = "../../fuzz/src/harbor.rs"]
mod harbor;
#[path = "../../fuzz/src/registry.rs"]
mod registry;
#[path = "../../fuzz/src/seri_unpack.rs"]
mod seri_unpack;
#[path = "../../fuzz/src/split_streams.rs"]
mod split_streams;

use std::fs;
use std::path::{Path, PathBuf};

/// Every input of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs: Vec<PathBuf> = match std::env::var_os("FUZZ_INPUT") {
        Some(path) => vec![path.into()],
        None => {
            let entries =
                fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            entries.map(|entry| entry.unwrap().path()).collect()
        }
    };
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let bytes = fs::read(&input).unwrap();
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{target} fails on {}", input.display());
    }
}

#[test]
fn compressed_inputs() {
    replay("compressed", compressed::check);
}

#[test]
fn config_inputs() {
    replay("config", config::check);
}

#[test]
fn control_decode_inputs() {
    replay("control_decode", control_decode::check);
}

#[test]
fn frame_decode_inputs() {
    replay("frame_decode", frame_decode::check);
}

#[test]
fn harbor_inputs() {
    replay("harbor", harbor::check);
}

#[test]
fn registry_inputs() {
    replay("registry", registry::check);
}

#[test]
fn seri_unpack_inputs() {
    replay("seri_unpack", seri_unpack::check);
}

#[test]
fn split_streams_inputs() {
    replay("split_streams", split_streams::check);
}
