#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skyharbor_fuzz::frame_decode::check(bytes));
