//! The measurement: a scrape of the agent each second, and beside it what `nvidia-smi` says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::agent::Agent;
use lab::exposition::{Exposition, Format};
use serde_json::Value;

use super::fault::Faulty;
use super::nvidia_smi::{Device, NvidiaSmi, ProcessMemory, ProcessUtilization};
use super::processes::{MANY, Processes, SESSIONS};
use super::rehearsal::Rehearsal;
use crate::interrupt::pause;

/// As often as a Prometheus in a hurry asks.
const PERIOD: Duration = Duration::from_secs(1);

/// What the agent answered a scrape with.
pub(super) struct Scrape {
    pub(super) begin: Instant,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    pub(super) metrics: Exposition,
}

/// What was answered again and again, and when; and the first failure, which ended the asking.
pub(super) struct Series<T> {
    pub(super) values: Vec<(Instant, T)>,
    pub(super) failure: Option<String>,
}

/// All that was seen.
pub(super) struct Recording {
    pub(super) scrapes: Vec<Scrape>,
    pub(super) devices: Series<Vec<Device>>,
    pub(super) memory: Series<Vec<ProcessMemory>>,
    pub(super) utilization: Series<Vec<ProcessUtilization>>,
    /// When a process of the session `many` was killed.
    pub(super) death: Instant,
    /// The p99 of the run-queue wait of each session over the last seconds, in seconds.
    pub(super) waits: BTreeMap<&'static str, f64>,
}

/// Watches for this long; in the middle a process is killed, and another makes an error of the GPU.
pub(super) fn watch(
    duration: Duration,
    agent: &mut Agent,
    processes: &mut Processes,
    faulty: &mut Faulty,
    nvidia_smi: &NvidiaSmi,
    rehearsal: Option<&Rehearsal>,
    interrupted: &Receiver<()>,
) -> Result<Recording> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each in a thread of its own: where drivers are slow to answer, none delays the others.
        let devices = scope.spawn(|| repeat(&over, || nvidia_smi.devices()));
        let memory = scope.spawn(|| repeat(&over, || nvidia_smi.process_memory()));
        let utilization = scope.spawn(|| repeat(&over, || nvidia_smi.process_utilization()));
        let seen = scrape(duration, agent, processes, faulty, rehearsal, interrupted);
        over.store(true, Ordering::Relaxed);
        let lost = || "a thread that asks nvidia-smi has panicked";
        let (devices, memory, utilization) = (devices.join(), memory.join(), utilization.join());
        let (scrapes, death) = seen?;
        Ok(Recording {
            scrapes,
            devices: devices.ok().with_context(lost)?,
            memory: memory.ok().with_context(lost)?,
            utilization: utilization.ok().with_context(lost)?,
            death,
            waits: waits(&agent.get("/api/v1/sessions")?)?,
        })
    })
}

fn repeat<T>(over: &AtomicBool, ask: impl Fn() -> Result<T>) -> Series<T> {
    let mut series = Series {
        values: Vec::new(),
        failure: None,
    };
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        match ask() {
            // When the answer was there: what it took may have an event in it.
            Ok(value) => series.values.push((Instant::now(), value)),
            Err(error) => {
                series.failure = Some(format!("{error:#}"));
                break;
            }
        }
        thread::sleep(PERIOD.saturating_sub(begin.elapsed()));
    }
    series
}

fn scrape(
    duration: Duration,
    agent: &mut Agent,
    processes: &mut Processes,
    faulty: &mut Faulty,
    rehearsal: Option<&Rehearsal>,
    interrupted: &Receiver<()>,
) -> Result<(Vec<Scrape>, Instant)> {
    let begin = Instant::now();
    let mut scrapes = Vec::new();
    let mut death = None;
    while begin.elapsed() < duration {
        if death.is_none() && begin.elapsed() >= duration / 2 {
            // Before the scrapes that follow, so that those before it know all processes alive.
            death = Some(Instant::now());
            processes.kill_one(MANY)?;
            if let Some(rehearsal) = rehearsal {
                rehearsal.write(processes)?;
                rehearsal.fault(processes, faulty)?;
            }
            faulty.fail(interrupted)?;
        }
        processes.check()?;
        let asked = Instant::now();
        let text = agent.get("/metrics")?;
        let seconds = asked.elapsed().as_secs_f64();
        scrapes.push(Scrape {
            begin: asked,
            seconds,
            metrics: Exposition::parse(&text, Format::Text).map_err(anyhow::Error::msg)?,
        });
        pause(PERIOD.saturating_sub(asked.elapsed()), interrupted)?;
    }
    Ok((scrapes, death.unwrap_or(begin)))
}

fn waits(text: &str) -> Result<BTreeMap<&'static str, f64>> {
    let report: Value =
        serde_json::from_str(text).context("the agent's /api/v1/sessions is not JSON")?;
    let sessions = report["sessions"].as_array();
    let sessions = sessions.context("the agent's /api/v1/sessions has no list of sessions")?;
    let wait = |name: &'static str| {
        let found = sessions
            .iter()
            .find(|session| session["namespace"] == "gpu" && session["session"] == name)?;
        Some((name, found["runqueue_wait"]["recent"]["p99"].as_f64()?))
    };
    Ok(SESSIONS.into_iter().filter_map(wait).collect())
}

#[cfg(test)]
mod tests {
    use super::waits;

    #[test]
    fn waits_are_those_of_the_test_s_own_sessions() {
        let text = r#"{"sessions":[
            {"session":"busy","namespace":"gpu","runqueue_wait":{"recent":{"p99":0.25}}},
            {"session":"light","namespace":"gpu","runqueue_wait":{"recent":null}},
            {"session":"many","namespace":"desktops","runqueue_wait":{"recent":{"p99":0.5}}}]}"#;
        let waits = waits(text).unwrap();
        assert_eq!(waits.into_iter().collect::<Vec<_>>(), [("busy", 0.25)]);
    }
}
