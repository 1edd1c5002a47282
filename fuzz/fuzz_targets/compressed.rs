#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skyharbor_fuzz::compressed::check(bytes));
