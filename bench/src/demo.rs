//! `demo`: the agent beside three small sessions, and what it sees of them.
//!
//! Nothing but a Linux machine is needed: the sessions are cgroups with known behaviour, so
//! whoever watches can tell that the numbers are right. A desktop that wakes often runs alone
//! first and then beside a session that wants all of its CPU; a third crashes all the time.
//! Whatever the demo makes it also removes, on Ctrl-C and on errors too.

mod sessions;
mod summary;
mod table;

use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::agent::Agent;
use lab::cgroup::Tree;
use lab::cpus;

use self::sessions::{Quantiles, Report};
use self::table::Screen;
use crate::steps::step;
use crate::workload::{self, Kind};
use crate::{agent, interrupt};

/// The options of `demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the workloads run, such as `30s`; without it, until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

const PARENT: &str = "sessionscope-demo";
/// Makes each child cgroup of the demo a session.
const CONFIGURATION: &str = r#"[[rules]]
name = "demo"
pattern = '^/sessionscope-demo/(?P<session>[^/]+)$'
template = "demo"
namespace = "demo"
"#;

const HOG: &str = "cpu-hog";
const LATENCY: &str = "latency-desktop";
const CRASH_LOOP: &str = "crash-loop";

/// Longer says no more: the agent's recent quantiles reach back this far.
const LONGEST_ALONE: Duration = Duration::from_secs(10);
const REDRAW: Duration = Duration::from_secs(1);
const STEPS: usize = 2;

/// What is running; fields are dropped in this order, so that nothing is removed while in use.
struct Stage {
    workloads: Workloads,
    agent: Agent,
    cgroups: Tree,
}

/// Runs `demo`, as root.
pub(crate) fn run(options: &Options) -> Result<()> {
    let duration = options.duration;
    let interrupted = interrupt::listen()?;

    step(1, STEPS, "start of the agent");
    let cgroups = Tree::create(PARENT, &[HOG, LATENCY, CRASH_LOOP])?;
    let agent = agent::start(CONFIGURATION, &[], &interrupted)?;
    let url = format!("http://{}/", agent.address());
    println!("status page: {url}, metrics: {url}metrics");

    step(2, STEPS, "workloads");
    let mut stage = Stage {
        workloads: Workloads::new()?,
        agent,
        cgroups,
    };
    let ending = play(&mut stage, duration, &interrupted, &url);
    drop(stage);
    println!("{}the status page was at {url}", ending?);
    Ok(())
}

/// Runs the demo to its end and returns the summary.
fn play(
    stage: &mut Stage,
    duration: Option<Duration>,
    interrupted: &Receiver<()>,
    url: &str,
) -> Result<String> {
    let alone_for = duration.map_or(LONGEST_ALONE, |total| LONGEST_ALONE.min(total / 3));
    stage
        .workloads
        .start(Kind::Latency, &stage.cgroups, LATENCY)?;
    stage
        .workloads
        .start(Kind::CrashLoop, &stage.cgroups, CRASH_LOOP)?;

    let begin = Instant::now();
    let mut screen = Screen::new();
    let mut alone: Option<Quantiles> = None;
    let mut next_draw = begin;
    loop {
        let hog_at = alone.is_none().then(|| begin + alone_for);
        let end_at = duration.map(|total| begin + total);
        let wake = [Some(next_draw), hog_at, end_at]
            .into_iter()
            .flatten()
            .min();
        let pause = wake.map_or(REDRAW, |at| at.saturating_duration_since(Instant::now()));
        let over = match interrupted.recv_timeout(pause) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => end_at.is_some_and(|at| at <= Instant::now()),
            Err(RecvTimeoutError::Disconnected) => bail!("the signal handler has ended"),
        };
        stage.workloads.check()?;
        let report = Report::parse(&stage.agent.get("/api/v1/sessions")?)?;
        if !over && hog_at.is_some_and(|at| at <= Instant::now()) {
            alone = Some(
                report
                    .find(LATENCY)
                    .map(sessions::Session::wait)
                    .unwrap_or_default(),
            );
            stage.workloads.start(Kind::CpuHog, &stage.cgroups, HOG)?;
        }
        if over || next_draw <= Instant::now() {
            let heading = heading(begin.elapsed(), duration, alone.is_some(), url);
            screen.show(&heading, &report, over)?;
            next_draw += REDRAW;
        }
        if over {
            return Ok(format!("\n{}", summary::render(alone, &report)));
        }
    }
}

fn heading(elapsed: Duration, duration: Option<Duration>, hog: bool, url: &str) -> String {
    let limit = duration
        .map(|total| format!(" of {}", total.as_secs()))
        .unwrap_or_default();
    let act = if hog {
        format!("beside {HOG}")
    } else {
        "alone".into()
    };
    let stop = if duration.is_some() {
        ""
    } else {
        ", Ctrl-C ends it"
    };
    format!(
        "{}{limit} s, {LATENCY} {act}{stop} · {url}",
        elapsed.as_secs()
    )
}

/// The running workloads; dropping them ends them. What they have started ends with the cgroups.
struct Workloads {
    cpu: usize,
    running: Vec<(&'static str, Child)>,
}

impl Workloads {
    fn new() -> Result<Self> {
        Ok(Self {
            cpu: first_cpu()?,
            running: Vec::new(),
        })
    }

    fn start(&mut self, kind: Kind, cgroups: &Tree, session: &'static str) -> Result<()> {
        self.running.push((
            session,
            workload::start(kind, &cgroups.path_of(session), self.cpu)?,
        ));
        Ok(())
    }

    /// A workload has no end of its own; one that ended has said why on standard error.
    fn check(&mut self) -> Result<()> {
        for (session, child) in &mut self.running {
            if let Some(status) = child.try_wait().context("cannot ask after a workload")? {
                bail!("the workload {session} has ended ({status})");
            }
        }
        Ok(())
    }
}

impl Drop for Workloads {
    fn drop(&mut self) {
        for (session, child) in &mut self.running {
            // They hold nothing that an orderly end would save.
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("warning: cannot end the workload {session}: {error}");
            }
        }
    }
}

fn first_cpu() -> Result<usize> {
    let allowed = cpus::allowed()?;
    allowed
        .first()
        .copied()
        .context("no CPU is allowed to this process")
}
