//! See `fuzz::maildir_texts` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::maildir_texts(data));
