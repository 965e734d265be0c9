//! See `fuzz::mime_cache` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::mime_cache(data));
