//! `cargo xtask build-ebpf`: compiles the kernel programs into `target/bpf`, as the agent's build script does,
//! and installs a toolchain first if there is none.

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Purpose};

/// The options of `build-ebpf`.
#[derive(Args)]
pub(crate) struct Options {}

/// Runs `cargo xtask build-ebpf`.
pub(crate) fn run(_options: &Options) -> Result<()> {
    build()?;
    for object in ebpf_build::objects() {
        println!("{}", object.display());
    }
    Ok(())
}

/// Builds every object.
pub(crate) fn build() -> Result<()> {
    setup::prepare(Purpose::Build)?;
    ebpf_build::build(None)
}
