//! Lists that the driver fills, of every length that matters: exact, and never past the room that there is.
//!
//! The agent makes room for 128 entries. A driver whose entries are longer than the agent's header says
//! writes past that room from 97 on, into the heap of a root process, and from the second entry on every
//! pid is another's.

use std::time::Duration;

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    gpu::{
        CaptureSession, Device, EncoderSession, Gpus, Kind, Process, busy, compute, device, memory,
    },
    wait,
    workload::Workload,
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// Around the room for a list, around the first length that overran it, and the short ones.
const LENGTHS: [usize; 7] = [1, 2, 3, 97, 128, 129, 200];
const SOON: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;
/// What the driver's ring of samples holds here, so that a list of those is as long as the others.
const RING: usize = 256;

/// What is on the GPU when each list has so many entries: the first of the session `one`, the others of
/// `many`.
fn filled(gpu: &mut Device, kind: Kind, one: u32, many: &[u32], length: usize) {
    let pids = || [one].into_iter().chain(many.iter().copied()).take(length);
    gpu.processes = pids()
        .enumerate()
        .map(|(place, pid)| Process {
            kinds: vec![kind],
            ..compute(pid, mebibytes(place) * MIB)
        })
        .collect();
    gpu.memory = Some(memory((0..length).map(mebibytes).sum::<u64>() * MIB));
    gpu.samples = pids().map(|pid| busy(pid, 1)).collect();
    gpu.sample_ring = RING;
    gpu.encoder_sessions = pids()
        .enumerate()
        .map(|(place, pid)| EncoderSession {
            id: place as u32,
            pid,
            width: 1920,
            height: 1080,
            fps: 60,
            latency_us: 1000,
            ..EncoderSession::default()
        })
        .collect();
    gpu.capture_sessions = pids()
        .enumerate()
        .map(|(place, pid)| CaptureSession {
            id: place as u32,
            pid,
            width: 1920,
            height: 1080,
            fps: 60,
            latency_us: 1000,
            ..CaptureSession::default()
        })
        .collect();
}

/// Of the process at a place: each has another.
fn mebibytes(place: usize) -> u64 {
    place as u64 + 1
}

/// What the agent says, which is absent where there is nothing.
fn said(metrics: &Exposition, family: &str, session: &str) -> u64 {
    let of_session = [("session", session)];
    let matching = metrics.matching(family, &of_session);
    matching.map(|sample| sample.value as u64).sum()
}

fn expect(agent: &Agent, what: &str, length: usize) {
    let one = mebibytes(0) * MIB;
    let many = (1..length).map(mebibytes).sum::<u64>() * MIB;
    wait::until(&format!("{length} {what}"), SOON, || {
        let metrics = agent.metrics();
        let is = |family: &str, of_one: u64, of_many: u64| {
            said(&metrics, family, "one") == of_one && said(&metrics, family, "many") == of_many
        };
        let unattributed = metrics.find("vdi_gpu_unattributed_memory_bytes", &[("gpu", "0")]);
        let others = length as u64 - 1;
        let all = is("vdi_session_gpu_memory_bytes", one, many)
            && unattributed == Some(0.0)
            && is("vdi_session_encoder_sessions", 1, others)
            && is("vdi_session_capture_sessions", 1, others);
        all.then_some(())
    });
}

/// A session with one process and one with many, before a driver.
struct Node {
    agent: Agent,
    gpus: Gpus,
    one: Workload,
    many: Vec<u32>,
    _many: Workload,
    _cgroups: [Cgroup; 2],
    _tree: Tree,
}

impl Node {
    fn start(gpus: Gpus) -> Self {
        let tree = Tree::new();
        let agent = gpus.start(&Configuration::of(&tree).set("gpu.period", "\"200ms\""));
        let cgroups = ["one", "many"].map(|name| tree.child(name));
        agent.wait_for(&["one", "many"]);
        let one = Workload::start(WORKLOAD, &cgroups[0], &["idle"]);
        let most = LENGTHS[LENGTHS.len() - 1].to_string();
        let sleepers = Workload::start(WORKLOAD, &cgroups[1], &["sleepers", "--count", &most]);
        Self {
            agent,
            gpus,
            one,
            many: cgroups[1].processes(),
            _many: sleepers,
            _cgroups: cgroups,
            _tree: tree,
        }
    }

    /// Has every list so long, and waits until the agent says exactly that.
    fn is_exact_with(&mut self, kind: Kind, length: usize) {
        let (one, many) = (self.one.pid(), &self.many);
        self.gpus.change(|scenario| {
            filled(&mut scenario.devices[0], kind, one, many, length);
        });
        expect(&self.agent, &format!("{kind:?}"), length);
    }

    /// What the agent says of the use of the multiprocessors, one process beside many.
    fn busy(&self) -> [f64; 2] {
        let metrics = self.agent.metrics();
        ["one", "many"].map(|session| {
            let labels = [("session", session), ("engine", "sm")];
            metrics.value("vdi_session_gpu_busy_seconds_total", &labels)
        })
    }
}

#[test]
fn samples_of_many_processes_are_charged_to_each() {
    if !capability::kernel() {
        return;
    }
    let mut node = Node::start(Gpus::new(vec![device(0)]));
    let length = LENGTHS[LENGTHS.len() - 1];
    node.is_exact_with(Kind::Compute, length);
    // Each process has a sample a second, of the same share.
    let before = node.busy();
    wait::until("three seconds of samples", SOON, || {
        let grown = node.busy()[0] - before[0];
        (grown >= 0.03).then_some(())
    });
    let after = node.busy();
    let [one, many] = [after[0] - before[0], after[1] - before[1]];
    let expected = (length - 1) as f64;
    assert!(
        (many / one - expected).abs() < 0.01 * expected,
        "{many} s for {expected} processes where one has {one} s"
    );
}

#[test]
fn a_driver_that_writes_past_the_room_is_found_out_and_its_older_lists_are_read() {
    if !capability::kernel() {
        return;
    }
    // Long entries, from a driver that nothing else gives away.
    let mut gpus = Gpus::new(vec![device(0)]);
    gpus.change(|scenario| scenario.version_3_has_protected_memory = true);
    let mut node = Node::start(gpus);
    node.is_exact_with(Kind::Compute, 128);
    for kind in [Kind::Graphics, Kind::Mps] {
        node.is_exact_with(kind, 3);
    }
    let metrics = node.agent.metrics();
    let failed = [
        ("call", "nvmlDeviceGetComputeRunningProcesses_v3"),
        ("error", "overrun"),
    ];
    let errors = "vdi_agent_gpu_call_errors_total";
    assert_eq!(metrics.count(errors, &failed), 1);
    assert_eq!(metrics.matching(errors, &[]).count(), 1);
}

fn every_list_is_exact(driver: impl FnOnce(Vec<Device>) -> Gpus) {
    if !capability::kernel() {
        return;
    }
    let mut node = Node::start(driver(vec![device(0)]));
    for kind in [Kind::Compute, Kind::Graphics, Kind::Mps] {
        for length in LENGTHS {
            node.is_exact_with(kind, length);
        }
    }
    let agent = &node.agent;
    let failed = agent.metrics();
    let failed: Vec<_> = failed
        .matching("vdi_agent_gpu_call_errors_total", &[])
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let log = agent.log();
    assert!(!log.contains("written past"), "{log}");
}

#[test]
fn every_list_is_exact_with_entries_of_24_bytes() {
    every_list_is_exact(Gpus::new);
}

#[test]
fn every_list_is_exact_with_entries_of_32_bytes() {
    every_list_is_exact(Gpus::of_535_86);
}
