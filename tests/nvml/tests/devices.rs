//! Devices and their readings, as the safe wrapper of the agent sees them.

use nvml_scenario::scenario::{
    Attributes, Clocks, Ecc, ErrorCounts, Memory, MigDevice, Utilization, Violations,
};
use nvml_wrapper::{
    enum_wrappers::device::{
        Clock, EccCounter, MemoryError, PerformancePolicy, PerformanceState, TemperatureSensor,
    },
    error::NvmlError,
};

use self::node::{FIRST, Node, SECOND, computing, two_devices};

mod node;

#[test]
fn a_device_is_found_by_index_uuid_and_bus() {
    let node = Node::new(two_devices());
    let nvml = node.init().unwrap();
    assert_eq!(nvml.sys_driver_version().unwrap(), "550.163.01");
    assert_eq!(nvml.sys_cuda_driver_version().unwrap(), 12040);
    assert_eq!(nvml.device_count().unwrap(), 2);
    let second = nvml.device_by_index(1).unwrap();
    assert_eq!(second.uuid().unwrap(), SECOND);
    assert_eq!(second.index().unwrap(), 1);
    let pci = second.pci_info().unwrap();
    assert_eq!((pci.domain, pci.bus, pci.device), (0, 0xaf, 0));
    assert_eq!(pci.bus_id, "00000000:AF:00.0");
    assert_eq!(nvml.device_by_uuid(FIRST).unwrap().index().unwrap(), 0);
    assert_eq!(
        nvml.device_by_pci_bus_id("0000:af:00.0")
            .unwrap()
            .index()
            .unwrap(),
        1
    );
    assert!(matches!(
        nvml.device_by_index(2),
        Err(NvmlError::InvalidArg)
    ));
    assert!(matches!(
        nvml.device_by_uuid("GPU-3"),
        Err(NvmlError::NotFound)
    ));
}

#[test]
fn readings_are_those_of_the_scenario_and_absent_ones_are_not_supported() {
    let mut scenario = two_devices();
    let device = &mut scenario.devices[0];
    device.utilization = Some(Utilization {
        gpu: 37,
        memory: 12,
    });
    device.encoder_utilization = Some(8);
    device.memory = Some(Memory {
        total: 1000,
        used: 300,
        free: 600,
        reserved: 100,
    });
    device.temperature_celsius = Some(61);
    device.power_milliwatts = Some(123_456);
    device.energy_millijoules = Some(5000);
    device.clocks_mhz = Clocks {
        sm: Some(1410),
        ..Clocks::default()
    };
    device.performance_state = Some(2);
    device.clocks_event_reasons = Some(4);
    device.violation_nanoseconds = Violations {
        power: Some(77),
        ..Violations::default()
    };
    let volatile = ErrorCounts {
        corrected: 3,
        uncorrected: 1,
    };
    device.ecc = Some(Ecc {
        enabled: true,
        volatile,
        ..Ecc::default()
    });
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();

    let device = nvml.device_by_index(0).unwrap();
    let busy = device.utilization_rates().unwrap();
    assert_eq!((busy.gpu, busy.memory), (37, 12));
    assert_eq!(device.encoder_utilization().unwrap().utilization, 8);
    let memory = device.memory_info().unwrap();
    assert_eq!(
        (memory.total, memory.used, memory.free, memory.reserved),
        (1000, 300, 600, 100)
    );
    assert_eq!(device.temperature(TemperatureSensor::Gpu).unwrap(), 61);
    assert_eq!(device.power_usage().unwrap(), 123_456);
    assert_eq!(device.total_energy_consumption().unwrap(), 5000);
    assert_eq!(device.clock_info(Clock::SM).unwrap(), 1410);
    assert_eq!(device.performance_state().unwrap(), PerformanceState::Two);
    assert_eq!(device.current_throttle_reasons().unwrap().bits(), 4);
    let violation = device.violation_status(PerformancePolicy::Power).unwrap();
    assert_eq!(violation.violation_time, 77);
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).unwrap();
    assert_eq!(
        (
            errors(MemoryError::Corrected),
            errors(MemoryError::Uncorrected)
        ),
        (3, 1)
    );

    let bare = nvml.device_by_index(1).unwrap();
    assert!(matches!(
        bare.utilization_rates(),
        Err(NvmlError::NotSupported)
    ));
    assert!(matches!(bare.memory_info(), Err(NvmlError::NotSupported)));
    assert!(matches!(
        bare.is_ecc_enabled(),
        Err(NvmlError::NotSupported)
    ));
    assert!(matches!(
        bare.clock_info(Clock::SM),
        Err(NvmlError::NotSupported)
    ));
}

#[test]
fn energy_grows_with_time() {
    let mut scenario = two_devices();
    scenario.devices[0].energy_millijoules = Some(0);
    scenario.devices[0].energy_millijoules_per_second = 1e6;
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    let before = device.total_energy_consumption().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let grown = device.total_energy_consumption().unwrap() - before;
    assert!(
        (50_000..1_000_000).contains(&grown),
        "{grown} mJ in 50 ms of 1 kW"
    );
}

#[test]
fn a_mig_device_has_its_own_memory_and_processes_but_no_utilisation() {
    let mut scenario = two_devices();
    let device = &mut scenario.devices[0];
    device.utilization = Some(Utilization {
        gpu: 37,
        memory: 12,
    });
    device.mig_enabled = Some(true);
    device.max_mig_devices = 7;
    device.mig_devices = vec![MigDevice {
        index: 1,
        uuid: "MIG-1".to_owned(),
        name: "MIG 1g.10gb".to_owned(),
        gpu_instance: 9,
        compute_instance: 0,
        memory: Some(Memory {
            total: 10,
            used: 4,
            free: 6,
            reserved: 0,
        }),
        attributes: Some(Attributes {
            multiprocessors: 16,
            ..Attributes::default()
        }),
    }];
    let mut inside = computing(10);
    inside.gpu_instance = Some(9);
    inside.compute_instance = Some(0);
    let mut elsewhere = computing(11);
    elsewhere.gpu_instance = Some(8);
    elsewhere.compute_instance = Some(0);
    device.processes = vec![inside, elsewhere];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();

    let gpu = nvml.device_by_index(0).unwrap();
    assert_eq!(gpu.mig_mode().unwrap().current, 1);
    assert_eq!(gpu.mig_device_count().unwrap(), 7);
    assert!(matches!(
        gpu.mig_device_by_index(0),
        Err(NvmlError::NotFound)
    ));
    assert!(matches!(
        gpu.mig_device_by_index(7),
        Err(NvmlError::InvalidArg)
    ));
    assert!(matches!(
        gpu.utilization_rates(),
        Err(NvmlError::NotSupported)
    ));
    assert!(matches!(
        gpu.process_utilization_stats(0),
        Err(NvmlError::NotSupported)
    ));
    assert_eq!(gpu.running_compute_processes().unwrap().len(), 2);

    let mig = gpu.mig_device_by_index(1).unwrap();
    assert_eq!(mig.uuid().unwrap(), "MIG-1");
    assert_eq!(mig.memory_info().unwrap().used, 4);
    assert_eq!(mig.attributes().unwrap().multiprocessor_count, 16);
    assert_eq!(mig.mig_parent_device().unwrap().uuid().unwrap(), FIRST);
    assert!(matches!(
        mig.utilization_rates(),
        Err(NvmlError::NotSupported)
    ));
    let processes = mig.running_compute_processes().unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!(
        (processes[0].pid, processes[0].gpu_instance_id),
        (10, Some(9))
    );
    assert!(matches!(
        nvml.device_by_index(1).unwrap().mig_mode(),
        Err(NvmlError::NotSupported)
    ));
}
