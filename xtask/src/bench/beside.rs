//! What runs beside the load of `bench sched`.

use std::path::Path;
use std::process::{self, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inside::{self, Place, Running};
use super::programs;
use crate::agent_process::Agent;
use crate::command;

/// The cgroup above the session, and the session.
pub(super) const PARENT: &str = "sessionscope-bench";
pub(super) const SESSION: &str = "pipe";

/// Makes each child cgroup of a benchmark a session.
pub(super) const RULES: &str = r#"[[rules]]
name = "bench"
pattern = '^/sessionscope-bench/(?P<session>[^/]+)$'
template = "bench"
namespace = "bench"
"#;

/// Programs that runqlat attaches: two for wake-ups and one for switches.
const RUNQLAT_PROGRAMS: usize = 3;
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// What runs beside the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Condition {
    /// An empty program on the same tracepoint.
    Floor,
    /// The agent with the threads' state in an array indexed by pid.
    PidArray,
    /// The agent with the threads' state in task storage.
    TaskStorage,
    /// What libbpf-tools measure the same with.
    Runqlat,
}

impl Condition {
    /// Every condition.
    pub(super) const ALL: [Self; 4] = [
        Self::Floor,
        Self::PidArray,
        Self::TaskStorage,
        Self::Runqlat,
    ];
    /// The agent's.
    pub(super) const AGENT: [Self; 2] = [Self::PidArray, Self::TaskStorage];

    /// As tables name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Floor => "an empty program",
            Self::PidArray => "the agent, state in an array by pid",
            Self::TaskStorage => "the agent, state in task storage",
            Self::Runqlat => "libbpf-tools `runqlat`",
        }
    }
}

/// What is running; dropping it ends it.
pub(super) struct Beside {
    what: What,
}

enum What {
    /// Held because the program is detached with it.
    Floor(#[expect(dead_code, reason = "held for its drop")] Ebpf),
    Agent(Agent),
    Runqlat(Running),
}

impl Beside {
    /// Starts a condition and waits until it measures.
    pub(super) fn begin(
        condition: Condition,
        floor: &Path,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let what = match condition {
            Condition::Floor => What::Floor(attach_floor(floor)?),
            Condition::PidArray => What::Agent(start_agent("pid-array", interrupted)?),
            Condition::TaskStorage => What::Agent(start_agent("task-storage", interrupted)?),
            Condition::Runqlat => What::Runqlat(start_runqlat(interrupted)?),
        };
        Ok(Self { what })
    }

    /// The process that has the kernel programs.
    pub(super) fn pid(&self) -> u32 {
        match &self.what {
            What::Floor(_) => process::id(),
            What::Agent(agent) => agent.pid(),
            What::Runqlat(running) => running.0.id(),
        }
    }

    /// Fails unless the agent, if it is one, has counted so many switches of the session: a price for
    /// nothing is no price.
    pub(super) fn has_counted(&mut self, switches: u64) -> Result<()> {
        let What::Agent(agent) = &mut self.what else {
            return Ok(());
        };
        let begin = Instant::now();
        loop {
            let counted = session(agent)?.map(|session| switches_of(&session));
            if counted.is_some_and(|counted| counted >= switches) {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("the agent has counted {counted:?} of {switches} switches of the session");
            }
            thread::sleep(POLL);
        }
    }
}

fn attach_floor(object: &Path) -> Result<Ebpf> {
    let mut ebpf =
        Ebpf::load_file(object).with_context(|| format!("cannot load {}", object.display()))?;
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let program: &mut BtfTracePoint = ebpf
        .program_mut("floor")
        .context("the object has no program `floor`")?
        .try_into()?;
    program
        .load("sched_switch", &btf)
        .context("cannot load the empty program")?;
    program
        .attach()
        .context("cannot attach the empty program")?;
    Ok(ebpf)
}

fn start_agent(task_state: &str, interrupted: &Receiver<()>) -> Result<Agent> {
    let configuration = format!("[kernel]\ntask_state = \"{task_state}\"\n\n{RULES}");
    let mut agent = Agent::start("bench", &configuration, interrupted)?;
    wait_until("the agent knows the session", interrupted, || {
        Ok(session(&mut agent)?.is_some())
    })?;
    Ok(agent)
}

fn start_runqlat(interrupted: &Receiver<()>) -> Result<Running> {
    let program = command::find_program("runqlat").context("there is no program `runqlat`")?;
    let mut running = inside::start(Place::default(), &program, &["600"], Stdio::null())?;
    wait_until("runqlat has attached its programs", interrupted, || {
        if let Some(status) = running.0.try_wait()? {
            bail!("runqlat has ended ({status})");
        }
        Ok(programs::attached(running.0.id())?.len() >= RUNQLAT_PROGRAMS)
    })?;
    Ok(running)
}

/// Waits for something that takes at most seconds.
pub(super) fn wait_until(
    what: &str,
    interrupted: &Receiver<()>,
    mut reached: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    while !reached()? {
        if begin.elapsed() > LIMIT {
            bail!("{LIMIT:?} have passed and it is not so that {what}");
        }
        pause(POLL, interrupted)?;
    }
    Ok(())
}

/// Lets time pass, unless the benchmark is interrupted.
pub(super) fn pause(duration: Duration, interrupted: &Receiver<()>) -> Result<()> {
    if interrupted.recv_timeout(duration).is_ok() {
        bail!("interrupted");
    }
    Ok(())
}

fn session(agent: &mut Agent) -> Result<Option<Value>> {
    Ok(sessions(agent)?
        .into_iter()
        .find(|session| session["session"] == SESSION))
}

/// The agent's live sessions of the benchmark.
pub(super) fn sessions(agent: &mut Agent) -> Result<Vec<Value>> {
    let mut report: Value = serde_json::from_str(&agent.get("/api/v1/sessions")?)
        .context("the agent's /api/v1/sessions is not JSON")?;
    let Value::Array(mut sessions) = report["sessions"].take() else {
        bail!("the agent's /api/v1/sessions has no list of sessions");
    };
    sessions.retain(|session| session["namespace"] == "bench");
    Ok(sessions)
}

fn switches_of(session: &Value) -> u64 {
    ["voluntary", "involuntary"]
        .into_iter()
        .filter_map(|kind| session["context_switches"][kind].as_u64())
        .sum()
}
