//! `cargo xtask run`: builds the agent and becomes it, as root.
//!
//! The agent replaces this process, so signals and the exit status are the agent's own.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::bench::replace_this;
use crate::{build_ebpf, command};

/// The options of `run`.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments of the agent, after `--`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs `cargo xtask run`.
pub(crate) fn run(options: &Options) -> Result<()> {
    build_ebpf::build()?;
    let agent = command::build_agent()?;
    replace_this(command::as_root(agent).args(&options.arguments))
}
