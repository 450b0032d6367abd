//! What other exporters ask the driver in a poll, read off their sources, for `bench gpu`.
//!
//! Each is repeated by the hidden command `exporter`, a process of its own, through the library and
//! the wrapper that those in Rust use. What the scenario library does not have is left out, so they are
//! rather cheaper here than they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lab::command;
use lab::programs::{SCENARIO_LIBRARY, released};
use nvml_scenario::calls;
use nvml_wrapper::enum_wrappers::device::{Clock, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};

use super::gpu_node::{Node, PROCESSES};

/// One a second, as often as the agent makes a round.
const PERIOD: Duration = Duration::from_secs(1);
const POLLS: u32 = 5;

/// An exporter, at most what of it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exporter {
    /// `src/agent/samplers/gpu/linux/nvidia/mod.rs` of iopsystems/rezolus.
    Rezolus,
    /// `src/device/readers/nvidia.rs` of inureyes/all-smi: devices, then processes.
    AllSmi,
    /// `processUtilizationPoller` in `gpu/gpu_linux.go` of coroot/coroot-node-agent.
    Coroot,
}

impl Exporter {
    /// As tables name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Rezolus => "a refresh of Rezolus",
            Self::AllSmi => "a poll of all-smi",
            Self::Coroot => "a tick of coroot-node-agent",
        }
    }
}

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    exporter: Exporter,
    polls: u32,
}

/// What polls of an exporter were.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Polls {
    pub(super) exporter: Exporter,
    pub(super) gpus: usize,
    pub(super) count: u32,
    pub(super) seconds: f64,
    pub(super) calls: BTreeMap<String, u64>,
}

/// Has every exporter poll so many GPUs.
pub(super) fn measure(gpus: &[usize]) -> Result<Vec<Polls>> {
    let mut all = Vec::new();
    for &exporter in Exporter::value_variants() {
        for &gpus in gpus {
            eprintln!("{}, GPUs: {gpus}", exporter.label());
            all.push(polls(exporter, gpus)?);
        }
    }
    Ok(all)
}

fn polls(exporter: Exporter, gpus: usize) -> Result<Polls> {
    let node = Node::create(gpus)?;
    let pids: Vec<u32> = (1..).take(gpus * PROCESSES).collect();
    node.occupy(&pids)?;
    let run = |polls: u32| -> Result<_> {
        let mut command = Command::new("/proc/self/exe");
        let name = exporter.to_possible_value();
        command
            .arg("exporter")
            .arg(name.context("it has no name")?.get_name())
            .arg(polls.to_string())
            .envs(node.environment());
        let seconds: f64 = command::output(&mut command)?.trim().parse()?;
        let calls = calls::read(&node.calls()).context("the library wrote no table of calls")?;
        Ok((seconds, calls))
    };
    // What is done once, to begin and to end, is no poll.
    let (_, once) = run(0)?;
    let (seconds, mut calls) = run(POLLS)?;
    for (function, count) in once {
        if let Some(calls) = calls.get_mut(&function) {
            *calls -= count;
        }
    }
    Ok(Polls {
        exporter,
        gpus,
        count: POLLS,
        seconds,
        calls,
    })
}

/// Runs the hidden command: prints how long the polls took.
pub(crate) fn run(options: &Options) -> Result<()> {
    let library = released(SCENARIO_LIBRARY);
    // Kept also where a poll initialises the driver, so that the library counts on.
    let nvml = initialise(&library)?;
    let count = nvml.device_count()?;
    let mut taken = Duration::ZERO;
    for _ in 0..options.polls {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        thread::sleep(PERIOD);
        let begin = Instant::now();
        match options.exporter {
            Exporter::Rezolus => rezolus(&nvml, count)?,
            Exporter::AllSmi => all_smi(&library)?,
            Exporter::Coroot => coroot(&nvml, count, since.as_micros() as u64)?,
        }
        taken += begin.elapsed();
    }
    println!("{}", taken.as_secs_f64());
    Ok(())
}

fn initialise(library: &Path) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(library.as_os_str()).init()
}

fn rezolus(nvml: &Nvml, count: u32) -> Result<(), NvmlError> {
    for index in 0..count {
        let device = nvml.device_by_index(index)?;
        device.total_energy_consumption()?;
        device.power_usage()?;
        device.temperature(TemperatureSensor::Gpu)?;
        device.pcie_throughput(PcieUtilCounter::Receive)?;
        device.pcie_throughput(PcieUtilCounter::Send)?;
        device.current_pcie_link_width()?;
        device.current_pcie_link_gen()?;
        device.memory_info()?;
        for clock in [Clock::Graphics, Clock::SM, Clock::Memory, Clock::Video] {
            device.clock_info(clock)?;
        }
        device.utilization_rates()?;
    }
    Ok(())
}

fn all_smi(library: &Path) -> Result<(), NvmlError> {
    let nvml = initialise(library)?;
    nvml.sys_cuda_driver_version()?;
    nvml.sys_cuda_driver_version()?;
    nvml.sys_driver_version()?;
    for_each(&nvml, |device| {
        device.current_pcie_link_gen()?;
        device.current_pcie_link_width()?;
        device.performance_state()?;
        device.power_management_limit()?;
        device.mig_mode()?;
        device.uuid()?;
        device.name()?;
        device.utilization_rates()?;
        device.temperature(TemperatureSensor::Gpu)?;
        // Once for what is used and once for what there is.
        device.memory_info()?;
        device.memory_info()?;
        device.power_usage().map(drop)
    })?;
    drop(nvml);
    for_each(&initialise(library)?, |device| {
        device.uuid()?;
        device.running_compute_processes()?;
        device.running_graphics_processes().map(drop)
    })
}

fn coroot(nvml: &Nvml, count: u32, since_us: u64) -> Result<(), NvmlError> {
    for index in 0..count {
        match nvml
            .device_by_index(index)?
            .process_utilization_stats(since_us)
        {
            // All of them were idle.
            Ok(_) | Err(NvmlError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn for_each(
    nvml: &Nvml,
    ask: impl Fn(&Device<'_>) -> Result<(), NvmlError>,
) -> Result<(), NvmlError> {
    for index in 0..nvml.device_count()? {
        ask(&nvml.device_by_index(index)?)?;
    }
    Ok(())
}
