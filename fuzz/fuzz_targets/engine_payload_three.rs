//! `fuzzing::engine_payload_three` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::engine_payload_three(data));
