//! Which compiler builds the kernel programs.
//!
//! There are two. Debian's `rustc-web` has a `core` for `bpfel-unknown-none` ready, needs no
//! nightly and comes from a signed archive, so it is preferred. Elsewhere a nightly toolchain
//! compiles `core` itself from `rust-src`. Both link with bpf-linker, which must be built against
//! an LLVM at least as new as the compiler's.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::command;

/// The target of the kernel programs: every machine the agent runs on is little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Debian's compiler, and the files that show that its package of the target is there too.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// What Debian's compiler comes from.
pub(crate) const DEBIAN_COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// What bpf-linker is compiled against: the LLVM of Debian's compiler, and libstdc++ by way of g++.
pub(crate) const DEBIAN_LLVM_PACKAGES: [&str; 3] = ["g++", "llvm-22-dev", "libpolly-22-dev"];
/// Where these packages put LLVM.
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";

/// A compiler and a linker that together build the kernel programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

#[derive(Debug)]
enum Compiler {
    Debian,
    Nightly,
}

/// Finds a complete toolchain; the error says what to install.
pub(crate) fn find() -> Result<Toolchain> {
    let compiler = if has_debian_compiler() {
        Some(Compiler::Debian)
    } else if has_nightly() {
        Some(Compiler::Nightly)
    } else {
        None
    };
    match (compiler, find_linker()) {
        (Some(compiler), Some(linker)) => Ok(Toolchain { compiler, linker }),
        (None, _) => Err(anyhow!(
            "no compiler for the kernel programs: neither Debian's rustc-web with its {TARGET} \
             library nor a nightly toolchain with rust-src is installed.\n{}",
            remedies()
        )),
        (Some(_), None) => Err(anyhow!(
            "no bpf-linker on PATH, which links the kernel programs.\n{}",
            remedies()
        )),
    }
}

/// Whether Debian's compiler can build for the target.
pub(crate) fn has_debian_compiler() -> bool {
    Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_CORE).is_dir()
}

/// The linker, if it is installed.
pub(crate) fn find_linker() -> Option<PathBuf> {
    command::find_program(LINKER)
}

/// Whether rustup has a nightly toolchain that holds the sources of `core`.
fn has_nightly() -> bool {
    // rustup may install a toolchain that is merely mentioned, so the list comes first.
    let installed = quiet_output(Command::new("rustup").args(["toolchain", "list"]));
    if !installed.lines().any(|line| line.starts_with("nightly")) {
        return false;
    }
    let sysroot = quiet_output(
        Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]),
    );
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    !sysroot.trim().is_empty() && library.is_dir()
}

fn quiet_output(command: &mut Command) -> String {
    match command.env_remove("RUSTUP_TOOLCHAIN").output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into(),
        // Without rustup there is no nightly, which is all that the caller asks.
        _ => String::new(),
    }
}

/// Builds bpf-linker against Debian's LLVM.
pub(crate) fn install_linker() -> Result<()> {
    command::run(
        command::cargo()
            .args(["install", LINKER, "--version", LINKER_VERSION])
            .args(["--no-default-features", "--features", "llvm-22"])
            // bpf-linker's own build script reads the first, that of llvm-sys the second.
            .env("LLVM_PREFIX", DEBIAN_LLVM)
            .env("LLVM_SYS_221_PREFIX", DEBIAN_LLVM),
    )
}

/// The commands that install either toolchain by hand.
pub(crate) fn remedies() -> String {
    format!(
        "On Debian, as root, `cargo xtask setup` runs:\n  \
           apt-get install --no-install-recommends {} {}\n  \
           LLVM_PREFIX={DEBIAN_LLVM} LLVM_SYS_221_PREFIX={DEBIAN_LLVM} cargo install {LINKER} \
           --version {LINKER_VERSION} --no-default-features --features llvm-22\n\
         Elsewhere run:\n  \
           rustup toolchain install nightly --component rust-src\n  \
           cargo install {LINKER}",
        DEBIAN_COMPILER_PACKAGES.join(" "),
        DEBIAN_LLVM_PACKAGES.join(" "),
    )
}

impl Toolchain {
    /// `cargo build` for the target, to which the caller adds package, features and folder.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut cargo = match self.compiler {
            Compiler::Debian => {
                let mut cargo = command::cargo();
                cargo
                    .arg("build")
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Compiler::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo
                    .args(["run", "nightly", "cargo", "build", "-Zbuild-std=core"])
                    .current_dir(command::repository())
                    .env_remove("RUSTC");
                cargo
            }
        };
        cargo
            .args(["--release", "--target", TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags().join("\x1f"))
            .env("CARGO_CFG_BPF_TARGET_ARCH", ARCH);
        // The cargo that runs this program leaves these behind; they would choose another
        // compiler, or put that compiler's libraries under this one.
        for inherited in [
            "CARGO_BUILD_TARGET",
            "LD_LIBRARY_PATH",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            cargo.env_remove(inherited);
        }
        cargo
    }

    fn rustflags(&self) -> Vec<String> {
        vec![
            // Debug info is what the linker turns into BTF.
            "-Cdebuginfo=2".into(),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".into(),
            format!("--cfg=bpf_target_arch=\"{ARCH}\""),
            // There is no clippy for this compiler; that it has nothing to say is the check.
            "-Dwarnings".into(),
        ]
    }
}
