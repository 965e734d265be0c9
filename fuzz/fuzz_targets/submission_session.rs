//! See `fuzz::submission_session` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::submission_session(data));
