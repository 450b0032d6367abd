//! Tells the compiler where the kernel programs are. They are built by `cargo xtask build-ebpf` with a
//! compiler and linker of their own, so this only looks for the result.

use std::{env, path::PathBuf};

fn main() {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-env-changed=SESSIONSCOPE_BPF_DIR");
    let objects = env::var_os("SESSIONSCOPE_BPF_DIR")
        .map_or_else(|| manifest.join("../target/bpf"), PathBuf::from);
    for (variable, file) in [
        ("SESSIONSCOPE_BPF_TASK_STORAGE", "task-storage.o"),
        ("SESSIONSCOPE_BPF_PID_ARRAY", "pid-array.o"),
    ] {
        let object = objects.join(file);
        println!("cargo::rerun-if-changed={}", object.display());
        match object.canonicalize() {
            Ok(path) => println!("cargo::rustc-env={variable}={}", path.display()),
            Err(_) => {
                println!(
                    "cargo::error=no kernel programs at {}: run `cargo xtask build-ebpf` first",
                    object.display()
                );
            }
        }
    }
}
