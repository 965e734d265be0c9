//! See `fuzz::imap_message` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::imap_message(data));
