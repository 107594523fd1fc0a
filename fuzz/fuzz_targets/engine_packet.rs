//! `fuzzing::engine_packet` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::engine_packet(data));
