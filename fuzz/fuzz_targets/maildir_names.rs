//! See `fuzz::maildir_names` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::maildir_names(data));
