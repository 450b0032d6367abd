//! Processes and the samples of their utilisation.

use std::time::{SystemTime, UNIX_EPOCH};

use nvml_scenario::{
    library,
    scenario::{Fault, Kind, Sample},
};
use nvml_wrapper::{enums::device::UsedGpuMemory, error::NvmlError};

use self::node::{Node, computing, two_devices};

mod node;

fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64
}

fn sample(pid: u32, timestamp_us: u64) -> Sample {
    Sample {
        pid,
        timestamp_us: Some(timestamp_us),
        sm: pid,
        ..Sample::default()
    }
}

#[test]
fn a_process_is_in_the_lists_of_its_kinds() {
    let mut scenario = two_devices();
    let mut both = computing(7);
    both.kinds.push(Kind::Graphics);
    both.memory_bytes = None;
    let mut mps = computing(8);
    mps.kinds = vec![Kind::Mps];
    scenario.devices[0].processes = vec![both, mps];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    for list in [
        device.running_compute_processes(),
        device.running_graphics_processes(),
    ] {
        let list = list.unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].pid, 7);
        assert!(matches!(
            list[0].used_gpu_memory,
            UsedGpuMemory::Unavailable
        ));
        assert_eq!(list[0].gpu_instance_id, None);
    }
    assert_eq!(device.mps_running_compute_processes().unwrap()[0].pid, 8);
    let idle = nvml.device_by_index(1).unwrap();
    assert_eq!(idle.running_compute_processes().unwrap().len(), 0);
}

#[test]
fn a_list_that_grows_between_count_and_fill_is_too_large_once() {
    let mut scenario = two_devices();
    scenario.devices[0].processes = (1..=20).map(computing).collect();
    scenario.faults = vec![Fault {
        function: "nvmlDeviceGetComputeRunningProcesses_v3".to_owned(),
        grows_by: 10,
        times: Some(1),
        ..Fault::default()
    }];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    assert!(matches!(
        device.running_compute_processes(),
        Err(NvmlError::InsufficientSize(_))
    ));
    assert_eq!(device.running_compute_processes().unwrap().len(), 20);
}

#[test]
fn a_process_appears_while_the_library_is_in_use() {
    let mut node = Node::new(two_devices());
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    assert_eq!(device.running_compute_processes_count().unwrap(), 0);
    node.change(|scenario| scenario.devices[0].processes.push(computing(5)));
    assert_eq!(device.running_compute_processes().unwrap()[0].pid, 5);
    std::fs::write(node.scenario_path(), "devices = 3").unwrap();
    assert_eq!(
        device.running_compute_processes().unwrap()[0].pid,
        5,
        "the last good one stays"
    );
    node.change(|scenario| scenario.devices[0].processes.clear());
    assert_eq!(device.running_compute_processes().unwrap().len(), 0);
}

#[test]
fn samples_are_those_newer_than_the_last_seen_of_their_device() {
    let now = now_us();
    let mut scenario = two_devices();
    scenario.devices[0].samples = vec![sample(1, now - 8_000_000), sample(2, now - 1_000_000)];
    scenario.devices[1].samples = vec![sample(3, now - 5_000_000)];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let first = nvml.device_by_index(0).unwrap();
    let second = nvml.device_by_index(1).unwrap();
    let pids = |samples: Vec<nvml_wrapper::struct_wrappers::device::ProcessUtilizationSample>| {
        samples
            .iter()
            .map(|sample| (sample.pid, sample.sm_util))
            .collect::<Vec<_>>()
    };
    // All that is in the ring, stale ones too.
    assert_eq!(
        pids(first.process_utilization_stats(0).unwrap()),
        [(1, 1), (2, 2)]
    );
    assert_eq!(
        pids(first.process_utilization_stats(now - 8_000_000).unwrap()),
        [(2, 2)]
    );
    assert!(matches!(
        first.process_utilization_stats(now - 1_000_000),
        Err(NvmlError::NotFound)
    ));
    assert_eq!(pids(second.process_utilization_stats(0).unwrap()), [(3, 3)]);
}

#[test]
fn repeated_samples_go_on_and_garbage_is_handed_out_as_it_is() {
    let mut scenario = two_devices();
    let garbage = Sample {
        pid: 1,
        every_ms: 10,
        sm: 2_147_483_632,
        ..Sample::default()
    };
    scenario.devices[0].samples = vec![garbage];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    let mut last_seen = now_us();
    let mut seen = 0;
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(30));
        for sample in device.process_utilization_stats(last_seen).unwrap() {
            assert_eq!(sample.sm_util, 2_147_483_632);
            assert_eq!(sample.timestamp % 10_000, 0);
            assert!(sample.timestamp > last_seen);
            last_seen = sample.timestamp;
            seen += 1;
        }
    }
    assert!(seen >= 11, "{seen} samples in 120 ms of one every 10 ms");
}

#[test]
fn an_old_driver_lacks_symbols() {
    let mut scenario = two_devices();
    scenario.devices[0].processes = vec![computing(5)];
    let node = Node::without(scenario, library::MISSING_IN_470);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    assert!(matches!(
        device.running_compute_processes(),
        Err(NvmlError::FailedToLoadSymbol(_))
    ));
    assert!(matches!(
        device.memory_info(),
        Err(NvmlError::FailedToLoadSymbol(_))
    ));
    assert_eq!(device.uuid().unwrap(), node::FIRST);
    assert!(!node.resolves("nvmlDeviceGetComputeRunningProcesses_v3"));
    assert!(node.resolves("nvmlDeviceGetComputeRunningProcesses_v2"));
}
