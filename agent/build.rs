//! Compiles the kernel programs and tells the compiler where they are. `SESSIONSCOPE_BPF_DIR` names a folder
//! with objects that are to be embedded as they are; nothing is compiled then.

use std::path::PathBuf;
use std::{env, process};

fn main() {
    println!("cargo::rerun-if-env-changed=SESSIONSCOPE_BPF_DIR");
    let given = env::var_os("SESSIONSCOPE_BPF_DIR").map(PathBuf::from);
    let folder = given.clone().unwrap_or_else(|| {
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"))
    });
    if given.is_none() {
        for source in ebpf_build::SOURCES {
            let path = ebpf_build::repository().join(source);
            println!("cargo::rerun-if-changed={}", path.display());
        }
        if let Err(error) = ebpf_build::build(Some(&folder)) {
            println!("cargo::error={error:#}");
            if ebpf_build::toolchain::find().is_ok() {
                // What the compiler said is on stderr, which cargo shows of a script that fails.
                process::exit(1);
            }
            return;
        }
    }
    for variant in ebpf_build::VARIANTS {
        let object = ebpf_build::file(&folder, variant);
        if given.is_some() {
            println!("cargo::rerun-if-changed={}", object.display());
        }
        match object.canonicalize() {
            Ok(path) => println!(
                "cargo::rustc-env=SESSIONSCOPE_BPF_{}={}",
                variant.to_uppercase().replace('-', "_"),
                path.display()
            ),
            Err(error) => println!(
                "cargo::error=cannot embed {}: {error}: SESSIONSCOPE_BPF_DIR must name a folder with the \
                 objects that `cargo xtask build-ebpf` prints",
                object.display()
            ),
        }
    }
}
