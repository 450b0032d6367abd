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
fn said(metrics: &Exposition, family: &str, session: &str) -> f64 {
    let of_session = [("session", session)];
    let matching = metrics.matching(family, &of_session);
    matching.map(|sample| sample.value).sum()
}

fn expect(agent: &Agent, what: &str, length: usize) {
    let one = mebibytes(0) * MIB;
    let many = (1..length).map(mebibytes).sum::<u64>() * MIB;
    wait::until(&format!("{length} {what}"), SOON, || {
        let metrics = agent.metrics();
        let is = |family: &str, of_one: u64, of_many: u64| {
            said(&metrics, family, "one") == of_one as f64
                && said(&metrics, family, "many") == of_many as f64
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

fn every_list_is_exact(driver: impl FnOnce(Vec<Device>) -> Gpus) {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut gpus = driver(vec![device(0)]);
    let agent = gpus.start(&Configuration::of(&tree).set("gpu.period", "\"200ms\""));
    let cgroups: [Cgroup; 2] = ["one", "many"].map(|name| tree.child(name));
    agent.wait_for(&["one", "many"]);
    let one = Workload::start(WORKLOAD, &cgroups[0], &["idle"]);
    let most = LENGTHS[LENGTHS.len() - 1].to_string();
    let _many = Workload::start(WORKLOAD, &cgroups[1], &["sleepers", "--count", &most]);
    let many = cgroups[1].processes();
    for kind in [Kind::Compute, Kind::Graphics, Kind::Mps] {
        for length in LENGTHS {
            gpus.change(|scenario| {
                filled(&mut scenario.devices[0], kind, one.pid(), &many, length);
            });
            expect(&agent, &format!("{kind:?}"), length);
        }
    }
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
