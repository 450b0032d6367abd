#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sessionscope::fuzz_targets::run("libvirt", bytes));
