//! `bench storm`: whether the agent still counts each process when as many fail as the machine can make.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::agent::Agent;
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exchange::Exchange;
use super::operations::Kind;
use crate::cost::beside::start_agent;
use crate::cost::measuring::{self, Bench};
use crate::cost::sessions::{NAMESPACE, PARENT};
use crate::interrupt::Interrupted;
use crate::machine::{Machine, process_cpu_time};
use crate::numbers::{grouped, verdict};
use crate::waiting::wait_until;

const SESSION: &str = "storm";
const LENGTH: Duration = Duration::from_secs(5);

const FORKS: &str = "vdi_session_process_forks_total";
const EXITS: &str = "vdi_session_process_exits_total";
const FAILED: (&str, &str) = ("reason", "error");
const LOST: &str = "vdi_agent_events_lost_total";

/// What `bench storm` measures. Each failure is an event in the ring buffer, each fork and exit is a count in a map.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    processes: u64,
    seconds: f64,
    counted_forks: u64,
    counted_failures: u64,
    /// Of the ring buffer, which the agent says itself.
    events_lost: u64,
    agent_cpu_seconds: f64,
}

/// Takes the measurement: a load on each CPU.
pub(crate) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let mut agent = start_agent("auto", 1, bench.interrupted)?;
    let session = cgroups.path_of(SESSION);
    let loads = allowed()?
        .into_iter()
        .map(|cpu| Exchange::start(Kind::Failures, Some(&session), cpu))
        .collect::<Result<Vec<_>>>()?;
    let (begin, before) = (Instant::now(), process_cpu_time(agent.pid())?);
    let running: Vec<_> = loads
        .into_iter()
        .map(|mut load| thread::spawn(move || load.run(LENGTH).map(|slice| (slice, load))))
        .collect();
    let mut processes = 0;
    for load in running {
        let ended = load.join().ok().context("a load of the storm failed")?;
        // It stays until the agent has been asked.
        let (slice, _load) = ended?;
        processes += slice.operations;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let agent_cpu = process_cpu_time(agent.pid())?.saturating_sub(before);
    let count = |agent: &mut Agent, name: &str, labels: &[(&str, &str)]| -> Result<u64> {
        Ok(agent.metrics()?.sum(name, labels).unwrap_or_default() as u64)
    };
    let failed = [NAMESPACE, FAILED];
    // What the agent shows is a sample old; what it lost never comes.
    let complete = wait_until("all processes are counted", bench.interrupted, || {
        Ok(count(&mut agent, EXITS, &failed)? >= processes)
    });
    if let Err(error) = complete {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        eprintln!("{error:#}");
    }
    let lost = agent.metrics()?.sum(LOST, &[]);
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("storm", &[]),
        processes,
        seconds,
        counted_forks: count(&mut agent, FORKS, &[NAMESPACE])?,
        counted_failures: count(&mut agent, EXITS, &failed)?,
        events_lost: lost.context("the agent does not say what it lost")? as u64,
        agent_cpu_seconds: agent_cpu.as_secs_f64(),
    })
}

impl measuring::Measurements for Measurements {
    const NAME: &'static str = "storm";

    fn summary(&self) -> Value {
        serde_json::json!({ "complete": self.is_complete() })
    }

    fn markdown(&self) -> String {
        format!(
            "{}. `{}`\n\n\
             A storm of processes that fail, each of which is an event for the agent: {} processes in \
             {:.1} s, {} a second. The agent took {:.2} s of CPU time, {:.1} % of one CPU.\n\n\
             - each fork and exit counted: {} forks, {} failures, {};\n\
             - events that found the ring buffer full, as the agent says itself: {}.",
            self.machine,
            self.command,
            grouped(self.processes),
            self.seconds,
            grouped((self.processes as f64 / self.seconds) as u64),
            self.agent_cpu_seconds,
            self.agent_cpu_seconds / self.seconds * 100.0,
            grouped(self.counted_forks),
            grouped(self.counted_failures),
            verdict(self.is_complete()),
            grouped(self.events_lost),
        )
    }
}

impl Measurements {
    fn is_complete(&self) -> bool {
        // The loads are forked outside of the session and enter it.
        self.counted_forks == self.processes && self.counted_failures == self.processes
    }
}

#[cfg(test)]
mod tests {
    use super::Measurements;
    use crate::cost::measuring::Measurements as _;
    use crate::machine::Machine;

    #[test]
    fn a_lost_count_is_said() {
        let mut storm = Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench storm".into(),
            processes: 50_000,
            seconds: 2.5,
            counted_forks: 50_000,
            counted_failures: 50_000,
            events_lost: 7,
            agent_cpu_seconds: 0.25,
        };
        let text = storm.markdown();
        assert!(text.contains("20,000 a second"), "{text}");
        assert!(text.contains("10.0 % of one CPU"), "{text}");
        assert!(text.contains("50,000 failures, met"), "{text}");
        assert!(
            text.contains("full, as the agent says itself: 7."),
            "{text}"
        );
        storm.counted_failures -= 1;
        assert!(storm.markdown().contains("**not met**"));
    }
}
