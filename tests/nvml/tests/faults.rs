//! What goes wrong: codes, hangs, lost devices, and a driver that goes and comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use nvml_scenario::{
    Code,
    scenario::{Fault, Utilization},
};
use nvml_wrapper::error::NvmlError;

use self::node::{FIRST, Node, SECOND, two_devices};

mod node;

fn busy_devices() -> Node {
    let mut scenario = two_devices();
    for device in &mut scenario.devices {
        device.utilization = Some(Utilization { gpu: 50, memory: 5 });
        device.power_milliwatts = Some(1000);
    }
    Node::new(scenario)
}

#[test]
fn a_lost_device_leaves_the_other_alone() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let first = nvml.device_by_index(0).unwrap();
    let second = nvml.device_by_index(1).unwrap();
    node.fail(Fault {
        device: Some(SECOND.to_owned()),
        returns: Some(Code::GPU_IS_LOST),
        ..Fault::default()
    });
    assert_eq!(first.utilization_rates().unwrap().gpu, 50);
    assert!(matches!(
        second.utilization_rates(),
        Err(NvmlError::GpuLost)
    ));
    assert!(matches!(second.uuid(), Err(NvmlError::GpuLost)));
    assert!(matches!(nvml.device_by_index(1), Err(NvmlError::GpuLost)));
    assert_eq!(nvml.device_by_index(0).unwrap().uuid().unwrap(), FIRST);
    node.change(|scenario| scenario.faults.clear());
    assert_eq!(second.utilization_rates().unwrap().gpu, 50);
}

#[test]
fn a_device_that_vanishes_is_lost() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let second = nvml.device_by_index(1).unwrap();
    node.change(|scenario| scenario.devices.truncate(1));
    assert_eq!(nvml.device_count().unwrap(), 1);
    assert!(matches!(
        second.utilization_rates(),
        Err(NvmlError::GpuLost)
    ));
}

#[test]
fn one_function_can_lack_permission_and_fail_only_so_often() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let device = nvml.device_by_uuid(FIRST).unwrap();
    node.fail(Fault {
        function: "nvmlDeviceGetPowerUsage".to_owned(),
        returns: Some(Code::NO_PERMISSION),
        times: Some(2),
        ..Fault::default()
    });
    for _ in 0..2 {
        assert!(matches!(device.power_usage(), Err(NvmlError::NoPermission)));
        assert_eq!(device.utilization_rates().unwrap().gpu, 50);
    }
    assert_eq!(device.power_usage().unwrap(), 1000);
}

#[test]
fn a_call_hangs_as_long_as_it_is_told() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    let hang = |hang_seconds| Fault {
        function: "nvmlDeviceGetUtilizationRates".to_owned(),
        hang_seconds,
        ..Fault::default()
    };
    node.fail(hang(0.2));
    let begun = Instant::now();
    assert_eq!(device.utilization_rates().unwrap().gpu, 50);
    assert!(begun.elapsed() >= Duration::from_millis(200));

    node.fail(hang(60.0));
    let begun = Instant::now();
    thread::scope(|scope| {
        let stuck = scope.spawn(|| device.utilization_rates().unwrap().gpu);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(
            nvml.device_by_index(1).unwrap().power_usage().unwrap(),
            1000
        );
        assert!(!stuck.is_finished());
        node.change(|scenario| scenario.faults.clear());
        assert_eq!(stuck.join().unwrap(), 50);
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_driver_that_is_not_loaded_comes_back_and_old_handles_do_not() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    node.change(|scenario| scenario.driver_loaded = false);
    assert!(matches!(
        device.utilization_rates(),
        Err(NvmlError::Uninitialized)
    ));
    assert!(matches!(node.init(), Err(NvmlError::DriverNotLoaded)));
    node.change(|scenario| scenario.driver_loaded = true);
    assert!(matches!(
        device.utilization_rates(),
        Err(NvmlError::Uninitialized)
    ));
    let again = node.init().unwrap();
    assert!(matches!(
        device.utilization_rates(),
        Err(NvmlError::Uninitialized)
    ));
    assert_eq!(
        again
            .device_by_index(0)
            .unwrap()
            .utilization_rates()
            .unwrap()
            .gpu,
        50
    );
}

#[test]
fn a_driver_reloaded_between_two_calls_is_noticed() {
    let mut node = busy_devices();
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    node.change(|scenario| scenario.driver_generation += 1);
    assert!(matches!(
        device.utilization_rates(),
        Err(NvmlError::Uninitialized)
    ));
    assert_eq!(node.init().unwrap().device_count().unwrap(), 2);
}

#[test]
fn nothing_works_but_the_library_can_be_initialised() {
    let mut node = busy_devices();
    node.fail(Fault {
        returns: Some(Code(23)),
        ..Fault::default()
    });
    let nvml = node.init().unwrap();
    assert!(matches!(
        nvml.device_count(),
        Err(NvmlError::UnexpectedVariant(23))
    ));
}
