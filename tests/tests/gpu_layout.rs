//! Devices and MIG instances that come and go while the agent runs.

#![expect(
    clippy::float_cmp,
    reason = "what stands still, or is of the scenario, is the same number"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::SHOW_LIMIT,
    capability,
    exposition::Exposition,
    gpu::{Device, GIB, Gpus, Memory, MigDevice, Process, Utilization, busy, compute, device},
    gpu_node::{Desk, Node, SESSION, busy_seconds},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// A look for other devices each 30 s, and the driver's initialisation.
const RESCAN: Duration = Duration::from_secs(35);

/// A device that the process uses 40 percent of.
fn used(index: u32, pid: u32) -> Device {
    Device {
        utilization: Some(Utilization { gpu: 40, memory: 0 }),
        processes: vec![compute(pid, GIB)],
        samples: vec![busy(pid, 40)],
        mig_enabled: Some(false),
        max_mig_devices: 7,
        ..device(index)
    }
}

fn instance(number: u32) -> MigDevice {
    let (total, used) = (10 * GIB, GIB);
    MigDevice {
        index: number,
        uuid: format!("MIG-11111111-0000-0000-0000-{number:012}"),
        name: "NVIDIA H100 80GB HBM3 MIG 1g.10gb".to_owned(),
        gpu_instance: number,
        compute_instance: 0,
        memory: Some(Memory {
            total,
            used,
            free: total - used,
            reserved: 0,
        }),
        ..MigDevice::default()
    }
}

/// Cuts GPU 0 into instances, with the process on the last of them; none is MIG off.
fn cut(node: &mut Node, instances: &[u32]) {
    node.gpus.change(|scenario| {
        let gpu = &mut scenario.devices[0];
        gpu.mig_enabled = Some(!instances.is_empty());
        gpu.mig_devices = instances.iter().map(|number| instance(*number)).collect();
        let process = gpu.processes[0].clone();
        gpu.processes = vec![Process {
            gpu_instance: instances.last().copied(),
            compute_instance: instances.last().map(|_| 0),
            ..process
        }];
    });
}

fn instances(metrics: &Exposition) -> BTreeSet<String> {
    metrics.values_of("vdi_gpu_mig_instance_info", "gpu_instance")
}

/// The one series of the session's memory on GPU 0: its instance, and the bytes.
fn memory(metrics: &Exposition) -> Option<(Option<String>, f64)> {
    let labels = [("gpu", "0"), ("session", SESSION)];
    let mut found = metrics.matching("vdi_session_gpu_memory_bytes", &labels);
    let first = found.next()?;
    assert!(found.next().is_none(), "memory of two instances");
    Some((first.labels.get("gpu_instance").cloned(), first.value))
}

fn mig_is_followed(node: &mut Node) {
    for layout in [&[1, 2][..], &[2, 5], &[6]] {
        cut(node, layout);
        let expected: BTreeSet<String> = layout.iter().map(ToString::to_string).collect();
        let on = layout.last().map(ToString::to_string);
        let metrics = node.until("the layout is followed", SHOW_LIMIT, |metrics| {
            instances(metrics) == expected && memory(metrics) == Some((on.clone(), GIB as f64))
        });
        for name in [
            "vdi_gpu_utilization_ratio",
            "vdi_gpu_unattributed_utilization_ratio",
        ] {
            let found = metrics.matching(name, &[("gpu", "0")]).count();
            assert_eq!(found, 0, "{name} under MIG");
        }
        let supported = metrics.value("vdi_gpu_process_utilization_supported", &[("gpu", "0")]);
        assert_eq!(supported, 0.0);
        let info = metrics.matching("vdi_gpu_info", &[("gpu", "0"), ("mig", "on")]);
        assert_eq!(info.count(), 1);
        let used = metrics.matching("vdi_gpu_mig_memory_used_bytes", &[("gpu", "0")]);
        assert_eq!(used.count(), layout.len());
        // Neither is it charged, nor observed as idle.
        let count = |metrics: &Exposition| {
            let labels = [("gpu", "0"), ("engine", "sm"), ("session", SESSION)];
            metrics.value("vdi_session_gpu_utilization_ratio_count", &labels)
        };
        node.scrapes(2);
        let later = node.agent.metrics();
        assert_eq!(count(&later), count(&metrics));
        assert_eq!(busy_seconds(&later, "0"), busy_seconds(&metrics, "0"));
    }
    cut(node, &[]);
    node.until("MIG is off", SHOW_LIMIT, |metrics| {
        let gpu = [("gpu", "0")];
        instances(metrics).is_empty()
            && memory(metrics) == Some((None, GIB as f64))
            && metrics.find("vdi_gpu_utilization_ratio", &gpu) == Some(0.4)
            && metrics.find("vdi_gpu_process_utilization_supported", &gpu) == Some(1.0)
    });
}

#[test]
fn devices_and_instances_are_followed() {
    if !capability::kernel() {
        return;
    }
    let desk = Desk::new(WORKLOAD);
    let pid = desk.pid();
    let mut node = desk.start(Gpus::new(vec![used(0, pid)]), &[]);
    node.until("a sample is charged", SHOW_LIMIT, |metrics| {
        busy_seconds(metrics, "0") > 0.0
    });
    node.gpus
        .change(|scenario| scenario.devices.push(used(1, pid)));
    let added = Instant::now();
    // Until it is looked for, there is time for this.
    mig_is_followed(&mut node);
    let left = RESCAN.saturating_sub(added.elapsed());
    node.until("GPU 1 is found", left, |metrics| {
        metrics.find("vdi_gpu_up", &[("gpu", "1"), ("reason", "")]) == Some(1.0)
            && busy_seconds(metrics, "1") > 0.0
    });
    eprintln!("GPU 1 is found after {:?}", added.elapsed());

    node.gpus.change(|scenario| {
        scenario.devices.pop();
    });
    let metrics = node.until("GPU 1 is gone", RESCAN, |metrics| {
        metrics.matching("vdi_gpu_up", &[("gpu", "1")]).count() == 0
    });
    for name in ["vdi_gpu_info", "vdi_session_gpu_memory_bytes"] {
        assert_eq!(metrics.matching(name, &[("gpu", "1")]).count(), 0, "{name}");
    }
    let before = busy_seconds(&metrics, "0");
    node.until("GPU 0 goes on", SHOW_LIMIT, |metrics| {
        busy_seconds(metrics, "0") > before
    });
    // It was 0.4 or absent, never 0.
    node.assert_always("vdi_gpu_utilization_ratio{gpu=\"0\"}", 0.4);
    node.assert_always("vdi_gpu_temperature_celsius{gpu=\"0\"}", 54.0);
    node.assert_scrapes_were_prompt_and_right();
}
