//! See `fuzz::dns_resolver` in tests/.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hikyaku_tests::fuzz::dns_resolver(data));
