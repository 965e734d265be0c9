//! See `fuzz::mime_recode` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::mime_recode(data));
