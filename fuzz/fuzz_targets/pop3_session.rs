//! See `fuzz::pop3_session` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::pop3_session(data));
