//! `test --gpu`: the agent beside `nvidia-smi`, on a machine with an NVIDIA GPU.
//!
//! What the scenario library cannot show is whether the driver means by its figures what the agent makes
//! of them. So sessions work on a real GPU, and each of the agent's figures is compared with NVIDIA's own
//! tool. The machine needs neither Rust nor a checkout: `--prepare` makes a folder to carry there.

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

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::cgroup::Tree;
use nvml_scenario::SCENARIO;

use self::evaluation::{Evaluation, Pids};
use self::fault::Faulty;
use self::load::Work;
use self::processes::{PARENT, Processes, RULES, SESSIONS};
use self::rehearsal::Rehearsal;
use self::report::Report;
use crate::interrupt::pause;
use crate::machine::Machine;
use crate::steps::step;
use crate::{agent, interrupt, page};

const PAGE: &str = "docs/gpu.md";
const SECTION: &str = "test:gpu";
const STEPS: usize = 4;
/// Until the driver has utilisation of the processes, and the agent their first list.
const SETTLE: Duration = Duration::from_secs(5);

/// The options of `test --gpu`.
#[derive(Args)]
pub(crate) struct Options {
    /// Said because it is what the command is called; there is no other test here.
    #[arg(long, hide = true)]
    gpu: bool,
    /// Put what a machine without Rust needs into this folder, and do no more.
    #[arg(long, value_name = "FOLDER")]
    prepare: Option<PathBuf>,
    /// The agent's binary.
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    agent: Option<PathBuf>,
    /// What works on the GPU; without it, `PyTorch` if python3 has it.
    #[arg(long)]
    work: Option<Work>,
    /// The GPU to use, by nvidia-smi's index.
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    device: u32,
    /// How long to watch.
    #[arg(long = "for", value_name = "DURATION", default_value = "40s",
          value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Go through it without a GPU, with the scenario library in the driver's place.
    #[arg(long, value_name = "LIBRARY", conflicts_with_all = ["prepare", "work", "write_docs"])]
    rehearse: Option<PathBuf>,
    /// Write docs/gpu.md.
    #[arg(long)]
    write_docs: bool,
    /// Take the report that was printed on another machine; for --write-docs.
    #[arg(
        long,
        value_name = "FILE",
        requires = "write_docs",
        conflicts_with = "prepare"
    )]
    from: Option<PathBuf>,
}

/// Runs `test --gpu`, as root.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(file) = &options.from {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        return page::write(PAGE, SECTION, &text);
    }
    let agent = options.agent.as_deref().context("--agent is missing")?;
    if let Some(folder) = &options.prepare {
        return prepare::run(folder, agent);
    }
    let interrupted = interrupt::listen()?;
    let (markdown, failed) = compare(options, agent, &interrupted)?;
    println!("{markdown}");
    if options.write_docs {
        page::write(PAGE, SECTION, &markdown)?;
    }
    ensure!(
        failed == 0,
        "{failed} figures are not what they must be: the lines that say `fail`"
    );
    Ok(())
}

fn duration(options: &Options) -> String {
    humantime::format_duration(options.duration).to_string()
}

/// The command as one would type it in a checkout.
fn command_line(options: &Options, work: Work) -> String {
    let how = if options.rehearse.is_some() {
        "--rehearse".to_owned()
    } else {
        format!("--device {} --work {}", options.device, work.argument())
    };
    format!("cargo xtask test --gpu --for {} {how}", duration(options))
}

/// Compares, and returns the report with the number of lines that fail.
fn compare(
    options: &Options,
    binary: &Path,
    interrupted: &Receiver<()>,
) -> Result<(String, usize)> {
    step(1, STEPS, "what is needed");
    let rehearsal = match &options.rehearse {
        Some(library) => Some(Rehearsal::prepare(library)?),
        None => None,
    };
    let found = match &rehearsal {
        Some(rehearsal) => requirements::rehearse(binary, rehearsal.nvidia_smi())?,
        None => requirements::find(binary, options.work, options.device)?,
    };

    step(2, STEPS, "start of the agent");
    let cgroups = Tree::create::<&str>(PARENT, &[])?;
    let mut configuration = RULES.to_owned();
    let mut environment = Vec::new();
    let mut command = lab::agent::command(binary);
    if let Some(rehearsal) = &rehearsal {
        environment.push((SCENARIO, rehearsal.scenario()));
        configuration.push_str(&rehearsal.configuration());
        command = rehearsal.command(binary);
    }
    let mut agent = agent::start_by(command, &configuration, &environment, interrupted)?;

    step(3, STEPS, "sessions on the GPU");
    let mut processes = Processes::start(found.work, options.device, &cgroups, interrupted)?;
    if let Some(rehearsal) = &rehearsal {
        rehearsal.write(&processes)?;
    }
    let mut faulty = Faulty::start(found.work, options.device, &cgroups, interrupted)?;
    let before = SESSIONS.map(|session| processes.pids(Some(session)));
    pause(SETTLE, interrupted)?;

    step(4, STEPS, "comparison");
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
