//! Which compiler builds the kernel programs.
//!
//! There are two. Debian's `rustc-web` has a `core` for `bpfel-unknown-none` ready, needs no
//! nightly and comes from a signed archive, so it is preferred. Elsewhere a nightly toolchain
//! compiles `core` itself from `rust-src`. Both link with bpf-linker, which must be built against
//! an LLVM at least as new as the compiler's.

use std::env::{self, consts::ARCH};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{find_program, repository};

/// The target of the kernel programs: every machine the agent runs on is little-endian.
pub const TARGET: &str = "bpfel-unknown-none";

/// Debian's compiler, and the files that show that its package of the target is there too.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";
/// The same compiler with clippy's lints, in a package of its own.
const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";

/// The program that links them.
pub const LINKER: &str = "bpf-linker";

/// A compiler and a linker that together build the kernel programs.
#[derive(Debug)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

#[derive(Debug)]
enum Compiler {
    Debian,
    Nightly,
}

/// Which part of a toolchain is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Neither of the two compilers, or only without what they need for the target.
    Compiler,
    /// The linker, with a compiler there.
    Linker,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => write!(
                f,
                "no compiler for the kernel programs: neither Debian's rustc-web with its {TARGET} \
                 library nor a nightly toolchain with rust-src is installed"
            ),
            Self::Linker => write!(f, "no {LINKER} on PATH, which links the kernel programs"),
        }
    }
}

impl std::error::Error for Missing {}

/// Finds a complete toolchain.
pub fn find() -> Result<Toolchain, Missing> {
    let compiler = if has_debian_compiler() {
        Compiler::Debian
    } else if has_nightly() {
        Compiler::Nightly
    } else {
        return Err(Missing::Compiler);
    };
    let linker = find_linker().ok_or(Missing::Linker)?;
    Ok(Toolchain { compiler, linker })
}

/// Whether Debian's compiler can build for the target.
pub fn has_debian_compiler() -> bool {
    Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_CORE).is_dir()
}

/// The linker, if it is installed.
pub fn find_linker() -> Option<PathBuf> {
    find_program(LINKER)
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

impl Toolchain {
    /// A command of cargo for the target, to which the caller adds package, features and folder.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = match self.compiler {
            Compiler::Debian => {
                let own = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut cargo = Command::new(own);
                cargo
                    .arg(subcommand)
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Compiler::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo
                    .args(["run", "nightly", "cargo", subcommand, "-Zbuild-std=core"])
                    .env_remove("RUSTC");
                cargo
            }
        };
        cargo
            .current_dir(repository())
            .args(["--release", "--target", TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags().join("\x1f"))
            // Of the machine that compiles, for agents of other architectures too: it chooses among
            // bindings of registers, which no program reads, so the objects are the same.
            .env("CARGO_CFG_BPF_TARGET_ARCH", ARCH);
        // The cargo that runs this program or build script leaves these behind; they would choose
        // another compiler, or put that compiler's libraries under this one.
        for inherited in [
            "CARGO_BUILD_RUSTC",
            "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_RUSTC_WRAPPER",
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

    /// The compiler with clippy's lints that belongs to this one, if it is installed.
    pub fn clippy(&self) -> Option<PathBuf> {
        let driver = match self.compiler {
            Compiler::Debian => DEBIAN_CLIPPY.into(),
            Compiler::Nightly => quiet_output(Command::new("rustup").args([
                "which",
                "--toolchain",
                "nightly",
                "clippy-driver",
            ])),
        };
        Some(PathBuf::from(driver.trim())).filter(|driver| driver.is_file())
    }

    fn rustflags(&self) -> Vec<String> {
        vec![
            // Debug info is what the linker turns into BTF.
            "-Cdebuginfo=2".into(),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".into(),
            format!("--cfg=bpf_target_arch=\"{ARCH}\""),
        ]
    }
}
