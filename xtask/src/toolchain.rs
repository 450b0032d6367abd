//! What the compiler and the linker of the kernel programs are installed from. Which of them a machine has
//! is found by [`ebpf_build::toolchain`].

use anyhow::Result;
use ebpf_build::toolchain::LINKER;

use crate::command;

const LINKER_VERSION: &str = "0.13.0";

/// What Debian's compiler comes from.
pub(crate) const DEBIAN_COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// The same compiler with clippy's lints, for `lint`.
pub(crate) const DEBIAN_CLIPPY_PACKAGE: &str = "rust-web-clippy";
/// What bpf-linker is compiled against: the LLVM of Debian's compiler, and libstdc++ by way of g++.
pub(crate) const DEBIAN_LLVM_PACKAGES: [&str; 3] = ["g++", "llvm-22-dev", "libpolly-22-dev"];
/// Where these packages put LLVM.
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

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
           rustup toolchain install nightly --component rust-src --component clippy\n  \
           cargo install {LINKER}",
        DEBIAN_COMPILER_PACKAGES.join(" "),
        DEBIAN_LLVM_PACKAGES.join(" "),
    )
}
