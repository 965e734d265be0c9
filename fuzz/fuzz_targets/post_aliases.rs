//! See `fuzz::post_aliases` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::post_aliases(data));
