//! A driver that does not answer, or is not there for a while: the agent says since when and in which
//! call, goes on with everything else, ends when it is told to, and needs no restart.

#![expect(
    clippy::float_cmp,
    reason = "what stands still, or is of the scenario, is the same number"
)]

use std::time::{Duration, Instant};

use integration_tests::{
    agent::SHOW_LIMIT,
    capability,
    exposition::Exposition,
    gpu::{GIB, Gpus, busy, compute, device, hang},
    gpu_node::{Desk, Node, SESSION, busy_seconds},
    wait,
};
use nix::sys::signal::Signal;
use sessionscope::telemetry::Event;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const HANGS: &str = "nvmlDeviceGetUtilizationRates";
const NO_ANSWER: &str = "no answer from nvmlDeviceGetUtilizationRates";
/// Three rounds without an answer, the rest of the round before, a sample of the agent.
const NOTICED: Duration = Duration::from_millis(4500);
/// As in `lifecycle.rs`.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A node whose session uses 40 percent of one GPU.
fn node(prepare: impl FnOnce(&mut Gpus)) -> Node {
    let desk = Desk::new(WORKLOAD);
    let mut gpu = device(0);
    gpu.processes = vec![compute(desk.pid(), GIB)];
    gpu.samples = vec![busy(desk.pid(), 40)];
    let mut gpus = Gpus::new(vec![gpu]);
    prepare(&mut gpus);
    desk.start(gpus, &[])
}

fn assert_no_gpu_is_shown(metrics: &Exposition) {
    let gauges = metrics.samples.iter().filter(|sample| {
        let name = sample.family.as_str();
        let of_gpus = name.starts_with("vdi_gpu_") || name.starts_with("vdi_session_gpu_");
        of_gpus && metrics.types[name] == "gauge"
    });
    let shown: Vec<_> = gauges.collect();
    assert!(shown.is_empty(), "{shown:?}");
}

fn age(metrics: &Exposition) -> f64 {
    metrics.value("vdi_agent_gpu_sample_age_seconds", &[])
}

/// When the last round began, by its age now, in seconds since `began`; the earliest and the latest that it
/// can be, because the answer takes time.
fn last_round(node: &Node, began: Instant) -> (f64, f64) {
    let asked = began.elapsed();
    let age = age(&node.agent.metrics());
    let answered = began.elapsed();
    (asked.as_secs_f64() - age, answered.as_secs_f64() - age)
}

#[test]
fn a_call_that_hangs_stops_nothing_but_the_gpus() {
    if !capability::kernel() {
        return;
    }
    let mut node = node(|_| {});
    let pid = node.gpus.scenario().devices[0].processes[0].pid;
    node.until("a sample is charged", SHOW_LIMIT, |metrics| {
        busy_seconds(metrics, "0") > 0.0
    });
    // Nor does the driver take samples while it hangs.
    node.gpus.change(|scenario| {
        scenario.devices[0].samples.clear();
        scenario.faults = vec![hang(HANGS, 60.0)];
    });
    let began = Instant::now();
    let metrics = node.until_up_is(NO_ANSWER, NOTICED);
    eprintln!("noticed after {:?}", began.elapsed());
    assert_no_gpu_is_shown(&metrics);
    assert!(age(&metrics) >= 3.0, "{}", age(&metrics));
    // The age grows as time passes: it is always that of the same round.
    let before = last_round(&node, began);
    node.scrapes(5);
    let after = last_round(&node, began);
    let same = before.0 <= after.1 && after.0 <= before.1;
    assert!(same, "{before:?} is not {after:?}");
    let metrics = node.agent.metrics();
    assert_no_gpu_is_shown(&metrics);
    // The kernel's side is as it was.
    assert!(metrics.value("vdi_agent_sample_age_seconds", &[]) < 1.0);
    let forks = metrics.value("vdi_session_processes", &[("session", SESSION)]);
    assert_eq!(forks, 1.0);

    let stopped = busy_seconds(&metrics, "0");
    let resumed = Instant::now();
    node.gpus.change(|scenario| {
        scenario.devices[0].samples = vec![busy(pid, 40)];
        scenario.faults.clear();
    });
    let metrics = node.until_up_is("", Duration::from_secs(5));
    assert!(age(&metrics) < 3.0);
    let metrics = node.until("a sample is charged", SHOW_LIMIT, |metrics| {
        busy_seconds(metrics, "0") > stopped
    });
    let charged = busy_seconds(&metrics, "0") - stopped;
    let most = 0.4 * (1.5 + resumed.elapsed().as_secs_f64());
    eprintln!("{charged} s charged after the hang");
    assert!(charged <= most, "{charged} s, not {most} s");
    node.assert_always("vdi_gpu_temperature_celsius", 54.0);
    node.assert_always("vdi_session_gpu_memory_bytes", GIB as f64);
    node.assert_scrapes_were_prompt_and_right();

    node.gpus.fail(&[hang(HANGS, 60.0)]);
    node.until_up_is(NO_ANSWER, NOTICED);
    node.agent.signal(Signal::SIGTERM);
    let status = node
        .agent
        .ended(STOP_LIMIT)
        .expect("it ends during the hang");
    assert!(status.success(), "{status}");
}

#[test]
fn an_initialisation_that_hangs_delays_nothing() {
    if !capability::kernel() {
        return;
    }
    // The agent is ready before the driver is.
    let mut node = node(|gpus| gpus.fail(&[hang("nvmlInit_v2", 60.0)]));
    let metrics = node.until_up_is("no answer from nvmlInit_v2", SHOW_LIMIT);
    assert_no_gpu_is_shown(&metrics);
    let age = metrics.find("vdi_agent_gpu_sample_age_seconds", &[]);
    assert_eq!(age, None);
    assert!(metrics.value("vdi_agent_sample_age_seconds", &[]) < 1.0);
    node.scrapes(2);
    node.gpus.fail(&[]);
    node.until_up_is("", SHOW_LIMIT);
    node.until("a sample is charged", SHOW_LIMIT, |metrics| {
        busy_seconds(metrics, "0") > 0.0
    });
    node.assert_scrapes_were_prompt_and_right();
}

#[test]
fn a_driver_that_is_loaded_again_is_initialised_again() {
    if !capability::kernel() {
        return;
    }
    let mut node = node(|_| {});
    let grows = |node: &Node| {
        let before = busy_seconds(&node.agent.metrics(), "0");
        let grown = |metrics: &Exposition| busy_seconds(metrics, "0") > before;
        node.until("a sample is charged", SHOW_LIMIT, grown)
    };
    grows(&node);
    // Between two calls.
    let times = node.agent.logged(Event::DriverInitialised).len();
    node.gpus.change(|scenario| scenario.driver_generation += 1);
    let metrics = node.until_up_is("the driver was unloaded", SHOW_LIMIT);
    assert_no_gpu_is_shown(&metrics);
    node.until_up_is("", SHOW_LIMIT);
    grows(&node);
    assert_eq!(node.agent.logged(Event::DriverInitialised).len(), times + 1);

    // For some seconds.
    node.gpus.change(|scenario| scenario.driver_loaded = false);
    let metrics = node.until_up_is("the NVIDIA driver is not loaded", Duration::from_secs(10));
    assert_no_gpu_is_shown(&metrics);
    let before = age(&metrics);
    wait::until("the age grows", SHOW_LIMIT, || {
        (age(&node.agent.metrics()) > before + 1.0).then_some(())
    });
    node.gpus.change(|scenario| {
        scenario.driver_loaded = true;
        scenario.driver_generation += 1;
    });
    // The waits double.
    node.until_up_is("", Duration::from_secs(20));
    grows(&node);
    node.assert_always("vdi_gpu_temperature_celsius", 54.0);
    node.assert_always("vdi_session_gpu_memory_bytes", GIB as f64);
    node.assert_scrapes_were_prompt_and_right();
}
