//! What goes wrong between the agent and the driver shows as what it is: a reading that cannot be had is
//! absent, never 0 and never garbage, the others stay right, and all is well again when the driver is.

#![expect(
    clippy::float_cmp,
    reason = "what stands still, or is of the scenario, is the same number"
)]

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use integration_tests::{
    capability,
    exposition::Exposition,
    gpu::{
        Code, Fault, GIB, Gpus, Kind, MISSING_IN_470, Process, Sample, Utilization, busy, compute,
        device, memory, refusal,
    },
    gpu_node::{Desk, Node, SESSION, busy_seconds},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const LISTS: &str = "nvmlDeviceGetComputeRunningProcesses_v3";
const SAMPLES: &str = "nvmlDeviceGetProcessUtilization";
/// For what a few rounds and the next list show.
const SOON: Duration = Duration::from_secs(5);
/// The process is busy with 40 percent of a GPU, and has a sample each second.
const BUSY: u32 = 40;
const STEP: f64 = 0.4;
const GARBAGE: u32 = 2_147_483_632;

fn session_memory(metrics: &Exposition, gpu: &str) -> Option<f64> {
    let labels = [("gpu", gpu), ("session", SESSION)];
    metrics.find("vdi_session_gpu_memory_bytes", &labels)
}

fn errors(metrics: &Exposition, call: &str, error: &str) -> u64 {
    let labels = [("call", call), ("error", error)];
    metrics.count_if_any("vdi_agent_gpu_call_errors_total", &labels)
}

/// Asserts that what was charged since then is so many whole samples, as many as seconds have passed.
fn assert_exact(node: &Node, gpu: &str, before: f64, since: Instant) {
    let samples = |metrics: &Exposition| (busy_seconds(metrics, gpu) - before) / STEP;
    let metrics = node.until("every sample is charged", SOON, |metrics| {
        samples(metrics) >= since.elapsed().as_secs_f64() - 2.0
    });
    let (samples, seconds) = (samples(&metrics), since.elapsed().as_secs_f64());
    eprintln!("GPU {gpu}: {samples} samples in {seconds} s");
    assert!((samples - samples.round()).abs() < 1e-6, "{samples}");
    assert!(samples <= seconds + 1.0, "{samples} in {seconds} s");
}

/// Waits for the next sample of the process.
fn next_sample(node: &Node, gpu: &str) -> f64 {
    let before = busy_seconds(&node.agent.metrics(), gpu);
    let grown = |metrics: &Exposition| busy_seconds(metrics, gpu) > before;
    busy_seconds(&node.until("a sample is charged", SOON, grown), gpu)
}

#[test]
fn an_old_driver_is_measured_through_its_older_functions() {
    if !capability::kernel() {
        return;
    }
    let desk = Desk::new(WORKLOAD);
    let mut devices = vec![device(0), device(1)];
    devices[0].processes = vec![compute(desk.pid(), GIB)];
    devices[0].samples = vec![busy(desk.pid(), BUSY)];
    devices[1].processes = vec![Process {
        kinds: vec![Kind::Mps],
        ..compute(desk.pid(), 3 * GIB)
    }];
    let gpus = Gpus::without(MISSING_IN_470, devices);
    let node = desk.start(gpus, &[]);
    let metrics = node.until("both GPUs have a context of the session", SOON, |metrics| {
        ["0", "1"].map(|gpu| session_memory(metrics, gpu))
            == [Some(GIB as f64), Some(3.0 * GIB as f64)]
    });
    // Version 1 counts what is reserved as used.
    let used = metrics.value("vdi_gpu_memory_used_bytes", &[("gpu", "0")]);
    assert_eq!(used, (GIB + GIB / 2) as f64);
    let reserved = metrics.find("vdi_gpu_memory_reserved_bytes", &[("gpu", "0")]);
    assert_eq!(reserved, None);
    let held = [("gpu", "0"), ("reason", "sw_power_cap")];
    assert_eq!(metrics.value("vdi_gpu_throttled", &held), 0.0);
    let (since, before) = (Instant::now(), next_sample(&node, "0"));
    node.scrapes(3);
    assert_exact(&node, "0", before, since);
    let failed = node.agent.metrics();
    let failed: Vec<_> = failed
        .matching("vdi_agent_gpu_call_errors_total", &[])
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    node.assert_scrapes_were_prompt_and_right();
}

#[test]
fn what_is_wrong_with_one_reading_is_seen_in_no_other() {
    if !capability::kernel() {
        return;
    }
    let desk = Desk::new(WORKLOAD);
    let pid = desk.pid();
    let mut gpu = device(0);
    let utilization = Some(Utilization { gpu: 40, memory: 0 });
    gpu.utilization = utilization;
    gpu.memory = Some(memory(2 * GIB));
    gpu.processes = vec![compute(pid, GIB)];
    gpu.samples = vec![busy(pid, BUSY)];
    let mut node = desk.start(Gpus::new(vec![gpu]), &[("gpu.period", "\"200ms\"")]);
    node.until("the session's memory", SOON, |metrics| {
        session_memory(metrics, "0").is_some()
    });
    let (since, before) = (Instant::now(), next_sample(&node, "0"));

    // Lists that grow between two calls: nothing is lost.
    let grows = |function: &str| Fault {
        function: function.to_owned(),
        grows_by: 200,
        times: Some(2),
        ..Fault::default()
    };
    node.gpus.fail(&[grows(LISTS), grows(SAMPLES)]);
    node.scrapes(3);
    assert_exact(&node, "0", before, since);
    let metrics = node.agent.metrics();
    for call in [LISTS, SAMPLES] {
        assert_eq!(errors(&metrics, call, "insufficient_size"), 0, "{call}");
    }
    assert_eq!(session_memory(&metrics, "0"), Some(GIB as f64));

    refused_readings_are_absent(&mut node);
    garbage_is_in_no_series(&mut node, pid);

    // Idle: the driver finds no sample.
    node.gpus.change(|scenario| {
        scenario.devices[0].samples.clear();
        scenario.devices[0].utilization = Some(Utilization { gpu: 0, memory: 0 });
    });
    let idle = [("gpu", "0"), ("engine", "sm"), ("session", SESSION)];
    let observed = |metrics: &Exposition| {
        let value = |suffix: &str| {
            let name = format!("vdi_session_gpu_utilization_ratio_{suffix}");
            // The smallest bucket is the first.
            let first = metrics.matching(&name, &idle).next();
            first.expect("it is observed").value
        };
        (value("count"), value("bucket"))
    };
    node.scrapes(2);
    let before = node.agent.metrics();
    let lowest = observed(&before);
    let after = node.until("five more observations", SOON, |metrics| {
        observed(metrics).0 >= lowest.0 + 5.0
    });
    assert_eq!(busy_seconds(&after, "0"), busy_seconds(&before, "0"));
    let count = observed(&after);
    assert_eq!(count.0 - lowest.0, count.1 - lowest.1, "not observed as 0");
    let device = after.value("vdi_gpu_utilization_ratio", &[("gpu", "0")]);
    assert_eq!(device, 0.0);

    // A sample from before the agent asked.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    node.gpus.change(|scenario| {
        scenario.devices[0].samples = vec![Sample {
            timestamp_us: Some(now.as_micros() as u64 - 60_000_000),
            every_ms: 0,
            ..busy(pid, 100)
        }];
    });
    node.scrapes(2);
    let stale = node.agent.metrics();
    assert_eq!(busy_seconds(&stale, "0"), busy_seconds(&after, "0"));

    // Through all of this the readings that were not touched were there, and right.
    let used = 2.0 * GIB as f64;
    node.assert_always("vdi_gpu_memory_used_bytes", used);
    node.assert_always("vdi_session_gpu_memory_bytes", GIB as f64);
    node.assert_always("vdi_gpu_unattributed_memory_bytes", used - GIB as f64);
    node.assert_always("vdi_gpu_temperature_celsius", 54.0);
    node.assert_always("vdi_gpu_power_watts", 41.0);
    node.assert_always("vdi_agent_gpu_up{reason=\"\"}", 1.0);
    let shares = node.query(&format!(
        "max(max_over_time(vdi_gpu_utilization_ratio[{}]))",
        node.since()
    ));
    assert_eq!(shares, Some(0.4));
    node.assert_scrapes_were_prompt_and_right();
}

fn refused_readings_are_absent(node: &mut Node) {
    let refused = |function| refusal(function, Some(0), Code::NO_PERMISSION);
    let temperature = "nvmlDeviceGetTemperature";
    node.gpus
        .fail(&[refused(LISTS), refused(SAMPLES), refused(temperature)]);
    let absent = [
        "vdi_session_gpu_memory_bytes",
        "vdi_gpu_unattributed_memory_bytes",
        "vdi_gpu_unattributed_utilization_ratio",
        "vdi_gpu_temperature_celsius",
    ];
    node.until("what is refused is absent", SOON, |metrics| {
        let there = |name: &&str| metrics.matching(name, &[]).next().is_some();
        !absent.iter().any(there)
    });
    let before = busy_seconds(&node.agent.metrics(), "0");
    node.scrapes(2);
    let metrics = node.agent.metrics();
    for call in [LISTS, SAMPLES, temperature] {
        assert!(errors(&metrics, call, "no_permission") > 0, "{call}");
    }
    assert_eq!(busy_seconds(&metrics, "0"), before);
    assert!(
        metrics
            .find("vdi_gpu_power_watts", &[("gpu", "0")])
            .is_some()
    );
    node.gpus.fail(&[]);
    node.until("all is there again", SOON, |metrics| {
        let there = |name: &&str| metrics.matching(name, &[]).next().is_some();
        absent.iter().all(there)
    });
    next_sample(node, "0");
}

fn garbage_is_in_no_series(node: &mut Node, pid: u32) {
    let garbage = Sample {
        memory: GARBAGE,
        encoder: 101,
        ..busy(pid, GARBAGE)
    };
    node.gpus.change(|scenario| {
        scenario.devices[0].samples = vec![garbage];
        scenario.devices[0].utilization = Some(Utilization {
            gpu: GARBAGE,
            memory: 101,
        });
    });
    node.until("garbage is absent", SOON, |metrics| {
        metrics
            .find("vdi_gpu_utilization_ratio", &[("gpu", "0")])
            .is_none()
    });
    let before = busy_seconds(&node.agent.metrics(), "0");
    node.scrapes(3);
    assert_eq!(busy_seconds(&node.agent.metrics(), "0"), before);
    node.gpus.change(|scenario| {
        scenario.devices[0].samples = vec![busy(pid, BUSY)];
        scenario.devices[0].utilization = Some(Utilization { gpu: 40, memory: 0 });
    });
    next_sample(node, "0");
}

#[test]
fn a_device_that_is_lost_is_down_alone_and_comes_back() {
    // Over some attempts to have it back.
    let long = Duration::from_secs(8);
    one_of_two_fails(Code::GPU_IS_LOST, "the device is lost", long);
}

#[test]
fn a_device_that_answers_nothing_is_down_alone_and_comes_back() {
    let long = Duration::from_secs(3);
    one_of_two_fails(Code::UNKNOWN, "the device answers nothing", long);
}

/// The second device answers everything with a code for so long, and then it is well again.
fn one_of_two_fails(code: Code, reason: &str, long: Duration) {
    if !capability::kernel() {
        return;
    }
    let desk = Desk::new(WORKLOAD);
    let devices = [0, 1].map(|index| {
        let mut gpu = device(index);
        gpu.processes = vec![compute(desk.pid(), GIB)];
        gpu.samples = vec![busy(desk.pid(), BUSY)];
        gpu
    });
    let mut node = desk.start(Gpus::new(devices.into()), &[]);
    let (since, before) = (Instant::now(), next_sample(&node, "0"));
    node.gpus.fail(&[refusal("", Some(1), code)]);
    let lost = [("gpu", "1"), ("reason", reason)];
    let began = Instant::now();
    let mut seen = false;
    while began.elapsed() < long {
        let metrics = node.agent.metrics();
        let down = metrics.find("vdi_gpu_up", &lost) == Some(0.0);
        assert!(down || !seen, "up without a reason");
        if down {
            seen = true;
            let told = metrics.samples.iter().filter(|sample| {
                let name = sample.family.as_str();
                let gauge = metrics.types[name] == "gauge";
                gauge && sample.labels.get("gpu").is_some_and(|gpu| gpu == "1")
            });
            for sample in told {
                let name = sample.family.as_str();
                assert!(["vdi_gpu_up", "vdi_gpu_info"].contains(&name), "{sample:?}");
            }
            assert_eq!(session_memory(&metrics, "0"), Some(GIB as f64));
        }
        let other = metrics.find("vdi_gpu_up", &[("gpu", "0"), ("reason", "")]);
        assert_eq!(other, Some(1.0), "the other GPU is not up");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(seen, "not down");
    assert_exact(&node, "0", before, since);
    node.gpus.fail(&[]);
    // The waits double: after 8 s the next attempt is within 8 s.
    node.until("GPU 1 is up again", Duration::from_secs(15), |metrics| {
        metrics.find("vdi_gpu_up", &[("gpu", "1"), ("reason", "")]) == Some(1.0)
            && session_memory(metrics, "1") == Some(GIB as f64)
    });
    next_sample(&node, "1");
    node.scrapes(2);
    assert_exact(&node, "0", before, since);
    for gpu in ["0", "1"] {
        node.assert_always(
            &format!("vdi_gpu_temperature_celsius{{gpu=\"{gpu}\"}}"),
            54.0,
        );
        let memory = format!("vdi_session_gpu_memory_bytes{{gpu=\"{gpu}\"}}");
        node.assert_always(&memory, GIB as f64);
    }
    node.assert_scrapes_were_prompt_and_right();
}
