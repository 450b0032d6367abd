//! `bench fork`: what starting and ending processes costs, and whether the agent still counts each
//! when there are as many as the machine can make.

use anyhow::{Context, Result};
use lab::agent::Agent;
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::beside;
use super::compare::Plan;
use super::comparison::Comparison;
use super::condition::{Condition, Peer};
use super::load::Load;
use super::measuring::Bench;
use super::sessions::{NAMESPACE, PARENT};
use super::shells::{Deed, Shells};
use crate::machine::process_cpu_time;
use crate::numbers::{grouped, verdict};
use crate::waiting::wait_until;

const SESSION: &str = "forking";
/// How long the storm is meant to be.
const STORM_SECONDS: u64 = 5;

const FORKS: &str = "vdi_session_process_forks_total";
const EXITS: &str = "vdi_session_process_exits_total";
const FAILED: (&str, &str) = ("reason", "error");
const LOST: &str = "vdi_agent_events_lost_total";

/// What `bench fork` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    comparison: Comparison,
    storm: Storm,
}

/// The agent while as many processes fail as the machine can make. Each failure is an event in the ring
/// buffer, each fork and exit is a count in a map.
#[derive(Debug, Serialize, Deserialize)]
struct Storm {
    processes: u64,
    seconds: f64,
    counted_forks: u64,
    counted_failures: u64,
    /// Of the ring buffer, which the agent says itself.
    events_lost: u64,
    agent_cpu_seconds: f64,
}

/// Takes all measurements.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let cpus = allowed()?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let shells = |deed, seconds| Shells::new(cgroups.path_of(SESSION), cpus.clone(), deed, seconds);
    let (fork, exec) = (shells(Deed::Fork, 1), shells(Deed::Exec, 1));
    let plan = Plan {
        loads: vec![&fork, &exec],
        conditions: vec![
            Condition::Agent,
            Condition::Peer(Peer::Execsnoop),
            Condition::Peer(Peer::Exitsnoop),
        ],
        cgroup: cgroups.path_of(""),
        sessions: 1,
        rounds: bench.rounds,
        statistics_rounds: 1,
        repetitions: bench.repetitions,
        command: bench.command("fork", &[]),
        interrupted: bench.interrupted,
    };
    let comparison = plan.run()?;
    eprintln!("a storm of processes that fail");
    let storm = storm(&shells(Deed::Fail, STORM_SECONDS), bench)?;
    Ok(Measurements { comparison, storm })
}

fn storm(shells: &Shells, bench: &Bench<'_>) -> Result<Storm> {
    let mut agent = beside::start_agent("auto", 1, bench.interrupted)?;
    let before = process_cpu_time(agent.pid())?;
    let run = shells.run(bench.interrupted)?;
    let agent_cpu = process_cpu_time(agent.pid())?.saturating_sub(before);
    let count = |agent: &mut Agent, name: &str, labels: &[(&str, &str)]| -> Result<u64> {
        Ok(agent.metrics()?.sum(name, labels).unwrap_or_default() as u64)
    };
    let failed = [NAMESPACE, FAILED];
    // What the agent shows is a sample old; what it lost never comes.
    let complete = wait_until("all processes are counted", bench.interrupted, || {
        Ok(count(&mut agent, EXITS, &failed)? >= run.operations)
    });
    if let Err(error) = complete {
        eprintln!("{error:#}");
    }
    let lost = agent.metrics()?.sum(LOST, &[]);
    Ok(Storm {
        processes: run.operations,
        seconds: run.seconds,
        counted_forks: count(&mut agent, FORKS, &[NAMESPACE])?,
        counted_failures: count(&mut agent, EXITS, &failed)?,
        events_lost: lost.context("the agent does not say what it lost")? as u64,
        agent_cpu_seconds: agent_cpu.as_secs_f64(),
    })
}

impl Storm {
    fn markdown(&self) -> String {
        format!(
            "A storm of processes that fail, each of which is an event for the agent: {} processes in \
             {:.1} s, {} a second. The agent took {:.2} s of CPU time, {:.1} % of one CPU.\n\n\
             - each fork and exit counted: {} forks, {} failures, {};\n\
             - events that found the ring buffer full, as the agent says itself: {}.",
            grouped(self.processes),
            self.seconds,
            grouped((self.processes as f64 / self.seconds) as u64),
            self.agent_cpu_seconds,
            self.agent_cpu_seconds / self.seconds * 100.0,
            grouped(self.counted_forks),
            grouped(self.counted_failures),
            // The shells start programs that tell the time, so there are a few forks more.
            verdict(
                self.counted_forks >= self.processes && self.counted_failures == self.processes
            ),
            grouped(self.events_lost),
        )
    }
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "fork";

    fn summary(&self) -> Value {
        json!({ "comparison": self.comparison.summary(None), "storm": self.storm })
    }

    fn markdown(&self) -> String {
        let tables = self.comparison.markdown(None, &[]);
        format!("{tables}\n\n{}", self.storm.markdown())
    }
}

#[cfg(test)]
mod tests {
    use super::Storm;

    #[test]
    fn a_lost_count_is_said() {
        let mut storm = Storm {
            processes: 50_000,
            seconds: 2.5,
            counted_forks: 50_004,
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
