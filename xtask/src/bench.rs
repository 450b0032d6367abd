//! `cargo xtask bench` and `cargo xtask demo`: builds what the program `bench` needs and becomes it.
//!
//! It has a package of its own and takes the same words, so that what they mean is said in one place.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use lab::programs::BENCH;

use crate::setup::{self, Purpose};
use crate::{build_ebpf, command};

/// The options of `bench` and of `demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// What the program `bench` understands: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Options {
    /// Whether they ask for help alone, for which nothing else need be built.
    fn ask_for_help(&self) -> bool {
        let help = |word: &OsString| ["help", "--help", "-h"].iter().any(|help| word == help);
        self.words.iter().any(help)
    }
}

/// Runs `cargo xtask bench`, which becomes root by itself where it measures.
pub(crate) fn bench(options: &Options) -> Result<()> {
    if !options.ask_for_help() {
        setup::prepare(Purpose::Bench)?;
        build_ebpf::build()?;
        ebpf_build::build_floor()?;
        command::build_agent()?;
        command::build_scenario_library()?;
    }
    replace_this(Command::new(program()?).arg("bench").args(&options.words))
}

/// Runs `cargo xtask demo`. Only what follows the build needs root, so that root owns nothing in `target/`.
pub(crate) fn demo(options: &Options) -> Result<()> {
    let mut demo = if options.ask_for_help() {
        Command::new(program()?)
    } else {
        setup::prepare(Purpose::Build)?;
        build_ebpf::build()?;
        command::build_agent()?;
        command::as_root(program()?)
    };
    replace_this(demo.arg("demo").args(&options.words))
}

/// The program, built.
pub(crate) fn program() -> Result<PathBuf> {
    command::build_quickly(BENCH, BENCH)
}

/// Becomes a command, so signals and the exit status are its own.
pub(crate) fn replace_this(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| command::cannot_start(command))
}
