#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skyharbor_fuzz::seri_unpack::check(bytes));
