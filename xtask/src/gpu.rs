//! `cargo xtask test --gpu`: builds what the comparison with `nvidia-smi` needs and becomes the program
//! `bench`, which makes it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;
use lab::programs::BENCH;

use crate::bench::{program, replace_this};
use crate::setup::{self, Purpose};
use crate::{build_ebpf, command};

/// The options of `test --gpu`.
#[derive(Args)]
pub(crate) struct GpuOptions {
    /// Put what a machine without Rust needs into this folder, and do no more.
    #[arg(long, value_name = "FOLDER", requires = "gpu")]
    prepare: Option<PathBuf>,
    /// The agent's binary; without it, `SESSIONSCOPE_BIN`, and without that it is built.
    #[arg(long, value_name = "FILE", requires = "gpu")]
    agent: Option<PathBuf>,
    /// What works on the GPU; without it, `PyTorch` if python3 has it.
    #[arg(long, requires = "gpu", value_parser = ["torch", "driver"])]
    work: Option<String>,
    /// The GPU to use, by nvidia-smi's index.
    #[arg(long, value_name = "INDEX", default_value = "0", requires = "gpu")]
    device: String,
    /// How long to watch.
    #[arg(
        long = "for",
        value_name = "DURATION",
        default_value = "40s",
        requires = "gpu"
    )]
    duration: String,
    /// Go through it without a GPU, with the scenario library in the driver's place.
    #[arg(long, requires = "gpu", conflicts_with_all = ["prepare", "work", "write_docs"],
          value_name = "LIBRARY", num_args = 0..=1)]
    #[expect(
        clippy::option_option,
        reason = "not asked for, asked for, and from where"
    )]
    rehearse: Option<Option<PathBuf>>,
    /// Take the report that was printed on another machine; for --write-docs.
    #[arg(
        long,
        value_name = "FILE",
        requires = "write_docs",
        conflicts_with = "prepare"
    )]
    from: Option<PathBuf>,
}

/// Runs `cargo xtask test --gpu`.
pub(crate) fn run(options: &GpuOptions, write_docs: bool) -> Result<()> {
    if let Some(folder) = &options.prepare {
        let agent = build_agent()?;
        let bench = command::build_release(BENCH, BENCH)?;
        let mut bench = comparison(Command::new(bench), &agent);
        return replace_this(bench.arg("--prepare").arg(folder));
    }
    if let Some(file) = &options.from {
        let mut bench = Command::new(program()?);
        bench.args(["test", "--gpu", "--write-docs", "--from"]);
        return replace_this(bench.arg(file));
    }
    let given = options.agent.clone();
    let given = given.or_else(|| env::var_os("SESSIONSCOPE_BIN").map(PathBuf::from));
    let agent = given.map_or_else(build_agent, Ok)?;
    // Only what follows the build needs root, so that root owns nothing in `target/`.
    let mut bench = comparison(command::as_root(program()?), &agent);
    bench.args(["--device", &options.device, "--for", &options.duration]);
    if let Some(work) = &options.work {
        bench.args(["--work", work]);
    }
    if let Some(library) = &options.rehearse {
        let library = library.clone();
        let library = library.map_or_else(command::build_scenario_library, Ok)?;
        bench.arg("--rehearse").arg(library);
    }
    if write_docs {
        bench.arg("--write-docs");
    }
    replace_this(&mut bench)
}

fn build_agent() -> Result<PathBuf> {
    setup::prepare(Purpose::Build)?;
    build_ebpf::build()?;
    command::build_agent()
}

/// The program with what each comparison is given.
fn comparison(mut bench: Command, agent: &Path) -> Command {
    bench.args(["test", "--gpu", "--agent"]).arg(agent);
    bench
}
