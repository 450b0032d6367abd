//! `bench gpu`: what the GPU sampler takes, and how often it asks the driver, with 1 and with 8 GPUs and
//! without any.
//!
//! The driver is the scenario library, so the agent is the production one but the driver's time is not.
//! The sessions are the same with and without GPUs; with them, eight sessions have a process on each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::exposition::{Exposition, Sample};
use serde::{Deserialize, Serialize};

use super::exporters::{self, Polls};
use super::exposition::{self, scrape};
use super::gpu_node::{CAPTURES, ENCODERS, Node, PROCESSES};
use super::measuring::{self, Bench};
use super::sessions::RULES;
use super::staging::{Stage, session_name};
use crate::agent;
use crate::interrupt::pause;
use crate::machine::{Machine, process_cpu_time, thread_cpu_time};
use crate::waiting::wait_until;

/// The condition to compare with is the first.
pub(super) const GPUS: [usize; 3] = [0, 1, 8];
/// As many as there are processes on the most GPUs.
pub(super) const SESSIONS: usize = 8 * PROCESSES;
/// Each condition, in turns: a machine is not the same for minutes.
const TURNS: usize = 4;
/// For the first reading of everything to be over.
const WARM_UP: Duration = Duration::from_secs(7);
/// Four of the slowest period.
pub(super) const WATCHED: Duration = Duration::from_secs(20);
const SCRAPES: usize = 20;
/// The name of the sampler's thread.
const SAMPLER: &str = "gpu-sampler";

/// What `bench gpu` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) turns: Vec<Turn>,
    pub(super) polls: Vec<Polls>,
}

/// The agent with so many GPUs, watched for a while.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) gpus: usize,
    pub(super) seconds: f64,
    /// CPU time of the agent's process, without a scrape.
    pub(super) cpu_seconds: f64,
    /// Of the sampler's thread, the library's included.
    pub(super) sampler_seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) calls: BTreeMap<String, Calls>,
    pub(super) series: Series,
    pub(super) scrape_seconds: Vec<f64>,
}

/// Calls of one function.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calls {
    pub(super) count: f64,
    pub(super) seconds: f64,
}

/// Series of an exposition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) all: u64,
    pub(super) of_gpus: u64,
    pub(super) of_sampler: u64,
    /// Of sessions with a process on a GPU: one that also encodes and captures, and one that does not.
    pub(super) of_streaming_session: u64,
    pub(super) of_session: u64,
}

impl Series {
    fn of(metrics: &Exposition) -> Self {
        let count = |wanted: &dyn Fn(&&Sample) -> bool| {
            metrics.samples.iter().filter(wanted).count() as u64
        };
        let prefixed = |prefix: &str| count(&|sample| sample.name.starts_with(prefix));
        let of_session = |number: usize| {
            let session = session_name(number);
            count(&|sample| sample.labels.get("session") == Some(&session))
        };
        Self {
            all: metrics.samples.len() as u64,
            of_gpus: prefixed("vdi_gpu_"),
            of_sampler: prefixed("vdi_agent_gpu_"),
            of_streaming_session: of_session(CAPTURES),
            of_session: of_session(ENCODERS + 1),
        }
    }
}

/// Takes all measurements.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        for gpus in GPUS {
            eprintln!("the agent, GPUs: {gpus}");
            turns.push(turn(gpus, bench)?);
        }
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("gpu", &[]),
        turns,
        polls: exporters::measure(&GPUS[1..])?,
    })
}

fn turn(gpus: usize, bench: &Bench<'_>) -> Result<Turn> {
    // The scenario outlives the agent.
    let node = Node::create(gpus)?;
    let configuration = format!("{RULES}{}", node.configuration());
    let mut stage = Stage::set_with(SESSIONS, bench.interrupted, || {
        let environment = node.environment();
        agent::start(&configuration, &environment, bench.interrupted)
    })?;
    node.occupy(&stage.pids())?;
    let agent = &mut stage.agent;
    wait_until(
        "the agent knows the processes on the GPUs",
        bench.interrupted,
        || {
            let metrics = agent.metrics()?;
            let using = metrics.matching("vdi_session_gpu_memory_bytes", &[]);
            Ok(using.count() == gpus * PROCESSES)
        },
    )?;
    pause(WARM_UP, bench.interrupted)?;

    let pid = agent.pid();
    let sampler = || -> Result<Duration> { Ok(thread_cpu_time(pid, SAMPLER)?.unwrap_or_default()) };
    let before = agent.metrics()?;
    let (cpu_before, sampler_before) = (process_cpu_time(pid)?, sampler()?);
    let begin = Instant::now();
    pause(WATCHED, bench.interrupted)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (cpu, sampler) = (process_cpu_time(pid)?, sampler()?);
    let after = agent.metrics()?;

    let mut scrape_seconds = Vec::new();
    for _ in 0..SCRAPES {
        scrape_seconds.push(scrape(agent, exposition::Exposition::ProtobufGzip)?.seconds);
    }
    Ok(Turn {
        gpus,
        seconds,
        cpu_seconds: cpu.saturating_sub(cpu_before).as_secs_f64(),
        sampler_seconds: sampler.saturating_sub(sampler_before).as_secs_f64(),
        resident_bytes: after.metric("process_resident_memory_bytes")?,
        calls: calls_between(&before, &after).context("the agent's calls are incomplete")?,
        series: Series::of(&after),
        scrape_seconds,
    })
}

/// The calls of the driver between two expositions.
fn calls_between(before: &Exposition, after: &Exposition) -> Option<BTreeMap<String, Calls>> {
    const NAMES: [&str; 2] = [
        "vdi_agent_gpu_call_seconds_count",
        "vdi_agent_gpu_call_seconds_sum",
    ];
    let [counts_before, seconds_before] = NAMES.map(|name| by_function(before, name));
    let [counts, seconds] = NAMES.map(|name| by_function(after, name));
    let calls = counts.into_iter().map(|(function, count)| {
        let less = |before: &BTreeMap<String, f64>| before.get(&function).copied();
        let calls = Calls {
            count: count - less(&counts_before).unwrap_or_default(),
            seconds: seconds.get(&function)? - less(&seconds_before).unwrap_or_default(),
        };
        Some((function, calls))
    });
    calls.collect()
}

/// The calls' series by the function that was called.
fn by_function(metrics: &Exposition, name: &str) -> BTreeMap<String, f64> {
    let series = metrics.by_label(name, "call").into_iter();
    series
        .map(|(function, value)| (function.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::calls_between;
    use crate::example::exposition;

    #[test]
    fn calls_are_those_since_then() {
        let metrics = |count: f64| {
            exposition(&format!(
                "vdi_agent_gpu_call_seconds_count{{call=\"a\"}} {count}\n\
                 vdi_agent_gpu_call_seconds_sum{{call=\"a\"}} {}\n",
                count * 0.5
            ))
        };
        let calls = calls_between(&metrics(2.0), &metrics(6.0)).unwrap();
        assert!((calls["a"].count - 4.0).abs() < f64::EPSILON);
        assert!((calls["a"].seconds - 2.0).abs() < f64::EPSILON);
    }
}
