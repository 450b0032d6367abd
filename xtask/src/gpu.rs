//! `cargo xtask test --gpu`: the agent beside `nvidia-smi`, on a machine with an NVIDIA GPU.
//!
//! What the scenario library cannot show is whether the driver means by its figures what the agent makes
//! of them. So sessions work on a real GPU, and each of the agent's figures is compared with NVIDIA's own
//! tool. The machine needs no Rust: `--prepare` makes a folder to carry there.

mod comparison;
mod cuda;
mod evaluation;
mod fault;
pub(crate) mod load;
mod nvidia_smi;
mod prepare;
mod processes;
mod rehearsal;
mod report;
mod requirements;
mod watch;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::evaluation::{Evaluation, Pids};
use self::fault::Faulty;
use self::load::Work;
use self::processes::{PARENT, Processes, RULES, SESSIONS};
use self::rehearsal::Rehearsal;
use self::report::Report;
use crate::agent_process::Agent;
use crate::cgroup::Tree;
use crate::interrupt::pause;
use crate::machine::Machine;
use crate::setup::{self, Purpose};
use crate::{build_ebpf, command, interrupt, page};

const PAGE: &str = "docs/gpu.md";
const SECTION: &str = "test:gpu";
const STEPS: usize = 4;
/// Until the driver has utilisation of the processes, and the agent their first list.
const SETTLE: Duration = Duration::from_secs(5);

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
    #[arg(long, requires = "gpu")]
    work: Option<Work>,
    /// The GPU to use, by nvidia-smi's index.
    #[arg(long, value_name = "INDEX", default_value_t = 0, requires = "gpu")]
    device: u32,
    /// How long to watch.
    #[arg(long = "for", value_name = "DURATION", default_value = "40s", requires = "gpu",
          value_parser = humantime::parse_duration)]
    duration: Duration,
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
        return prepare::run(folder);
    }
    if let Some(file) = &options.from {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        return page::write(PAGE, SECTION, &text);
    }
    let given = options.agent.clone();
    let given = given.or_else(|| env::var_os("SESSIONSCOPE_BIN").map(PathBuf::from));
    let (agent, library) = match given {
        Some(agent) => (agent, options.rehearse.clone().flatten()),
        None => build(options)?,
    };
    if !command::is_root() && options.agent.is_none() {
        return continue_as_root(options, &agent, library.as_deref(), write_docs);
    }
    let interrupted = interrupt::listen()?;
    let (markdown, failed) = compare(options, &agent, library.as_deref(), &interrupted)?;
    println!("{markdown}");
    if write_docs {
        page::write(PAGE, SECTION, &markdown)?;
    }
    ensure!(
        failed == 0,
        "{failed} figures are not what they must be: the lines that say `fail`"
    );
    Ok(())
}

fn build(options: &GpuOptions) -> Result<(PathBuf, Option<PathBuf>)> {
    setup::prepare(Purpose::Build)?;
    build_ebpf::build()?;
    let agent = command::build_agent()?;
    let library = match &options.rehearse {
        Some(None) => Some(rehearsal::build_library()?),
        Some(given) => given.clone(),
        None => None,
    };
    Ok((agent, library))
}

/// Only what follows the build needs root, so that root owns nothing in `target/`.
fn continue_as_root(
    options: &GpuOptions,
    agent: &Path,
    library: Option<&Path>,
    write_docs: bool,
) -> Result<()> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut test = command::as_root(program);
    test.args(["test", "--gpu", "--agent"]).arg(agent);
    test.args(["--device", &options.device.to_string()]);
    test.args(["--for", &duration(options)]);
    if let Some(work) = options.work {
        test.args(["--work", work.argument()]);
    }
    if let Some(library) = library {
        test.arg("--rehearse").arg(library);
    }
    if write_docs {
        test.arg("--write-docs");
    }
    command::run(&mut test)
}

fn duration(options: &GpuOptions) -> String {
    humantime::format_duration(options.duration).to_string()
}

/// The command as one would type it in a checkout.
fn command_line(options: &GpuOptions, work: Work) -> String {
    let how = if options.rehearse.is_some() {
        "--rehearse".to_owned()
    } else {
        format!("--device {} --work {}", options.device, work.argument())
    };
    format!("cargo xtask test --gpu --for {} {how}", duration(options))
}

/// Compares, and returns the report with the number of lines that fail.
fn compare(
    options: &GpuOptions,
    binary: &Path,
    library: Option<&Path>,
    interrupted: &Receiver<()>,
) -> Result<(String, usize)> {
    command::step(1, STEPS, "what is needed");
    let rehearsal = match &options.rehearse {
        Some(_) => Some(Rehearsal::prepare()?),
        None => None,
    };
    let found = match &rehearsal {
        Some(rehearsal) => requirements::rehearse(binary, rehearsal.nvidia_smi())?,
        None => requirements::find(binary, options.work, options.device)?,
    };

    command::step(2, STEPS, "start of the agent");
    let cgroups = Tree::create::<&str>(PARENT, &[])?;
    let mut agent = Command::new(binary);
    let mut configuration = RULES.to_owned();
    if let Some(rehearsal) = &rehearsal {
        let library = library
            .context("--rehearse needs the path of the scenario library where nothing is built")?;
        agent.env(rehearsal::SCENARIO_VARIABLE, rehearsal.scenario());
        configuration.push_str(&rehearsal::configuration(library));
    }
    let mut agent = Agent::start_binary(agent, "gpu", &configuration, interrupted)?;

    command::step(3, STEPS, "sessions on the GPU");
    let mut processes = Processes::start(found.work, options.device, &cgroups, interrupted)?;
    if let Some(rehearsal) = &rehearsal {
        rehearsal.write(&processes)?;
    }
    let mut faulty = Faulty::start(found.work, options.device, &cgroups, interrupted)?;
    let before = SESSIONS.map(|session| processes.pids(Some(session)));
    pause(SETTLE, interrupted)?;

    command::step(4, STEPS, "comparison");
    let recording = watch::watch(
        options.duration,
        &mut agent,
        &mut processes,
        &mut faulty,
        &found.nvidia_smi,
        rehearsal.as_ref(),
        interrupted,
    )?;
    let after = SESSIONS.map(|session| processes.pids(Some(session)));
    let outside = processes.pids(None);
    // In this order, so that no cgroup is removed while it is in use.
    drop((processes, faulty));
    drop(agent);
    drop(cgroups);

    let mut after = after.into_iter();
    let evaluation = Evaluation {
        recording: &recording,
        device: &found.device,
        sessions: before.map(|before| Pids {
            before,
            after: after.next().unwrap_or_default(),
        }),
        outside,
    };
    let lines = evaluation.lines();
    let report = Report {
        machine: &Machine::read()?,
        device: &found.device,
        work: found.work,
        command: &command_line(options, found.work),
        rehearsed: rehearsal.is_some(),
        recording: &recording,
        lines: &lines,
    };
    let failed = lines.iter().filter(|line| !line.passes()).count();
    Ok((report.markdown(), failed))
}
