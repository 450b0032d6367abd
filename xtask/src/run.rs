//! `cargo xtask run`: builds the agent and becomes it, as root.
//!
//! The agent replaces this process, so signals and the exit status are the agent's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Args;

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
    let mut command = command::as_root(agent);
    command.args(&options.arguments);
    let error = command.exec();
    Err(error).with_context(|| command::cannot_start(&command))
}
