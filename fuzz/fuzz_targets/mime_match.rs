//! See `fuzz::mime_match` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::mime_match(data));
