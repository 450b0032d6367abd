//! Which session used which GPU, and how much: the agent's figures against a scenario of two GPUs that is
//! known to the last sample. The processes are real, in real cgroups; only the driver's library is not.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    findings::{causes, first_is},
    gpu::{
        CaptureSession, Device, EncoderSession, Event, GIB, Gpus, Kind, Process, RemappedRows,
        Sample, Utilization, busy, compute, device, memory,
    },
    kernel_log::KernelLog,
    prometheus::{self, Prometheus},
    wait::{self, patient},
    workload::{Workload, two_cpus},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const BUSY: &str = "vdi_session_gpu_busy_seconds_total";
const UTILIZATION: &str = "vdi_session_gpu_utilization_ratio";
const MIB: u64 = 1 << 20;

/// Two sessions and a process outside of both, on two GPUs.
///
/// | | GPU 0, a sample a second | GPU 1, four a second |
/// |---|---|---|
/// | desk | four processes that compute, one that only encodes | one of the four |
/// | lab | one process | the same |
/// | outside | one process | |
struct Node {
    agent: Agent,
    gpus: Gpus,
    desk: Vec<Workload>,
    _others: [Workload; 2],
    cgroups: [Cgroup; 3],
    _trees: [Tree; 2],
}

impl Node {
    fn start() -> Self {
        let tree = Tree::new();
        let mut gpus = Gpus::new(vec![device(0), device(1)]);
        let configuration = Configuration::of(&tree).set("gpu.period", "\"200ms\"");
        let agent = gpus.start(&configuration);
        // The rule takes the children of the first tree only.
        let elsewhere = Tree::new();
        let cgroups = [
            tree.child("desk"),
            tree.child("lab"),
            elsewhere.child("nobody"),
        ];
        agent.wait_for(&["desk", "lab"]);
        let idle = |cgroup| Workload::start(WORKLOAD, cgroup, &["idle"]);
        let desk: Vec<Workload> = (0..5).map(|_| idle(&cgroups[0])).collect();
        let (lab, outside) = (idle(&cgroups[1]), idle(&cgroups[2]));
        let pids = desk.iter().map(Workload::pid).collect();
        gpus.change(|scenario| scenario.devices = devices(&(pids, lab.pid(), outside.pid())));
        Self {
            agent,
            gpus,
            desk,
            _others: [lab, outside],
            cgroups,
            _trees: [tree, elsewhere],
        }
    }
}

/// Processes of desk, of lab, and outside.
type Pids = (Vec<u32>, u32, u32);

fn devices((desk, lab, outside): &Pids) -> Vec<Device> {
    let mut first = device(0);
    first.utilization = Some(Utilization {
        gpu: 80,
        memory: 40,
    });
    first.encoder_utilization = Some(35);
    first.memory = Some(memory(4 * GIB));
    first.processes = desk[..4]
        .iter()
        .map(|&pid| compute(pid, 256 * MIB))
        .collect();
    // In both lists, with the same memory in each: charged once.
    first.processes[0].kinds.push(Kind::Graphics);
    first.processes.push(Process {
        kinds: vec![Kind::Graphics],
        ..compute(desk[4], 128 * MIB)
    });
    first.processes.push(compute(*lab, GIB));
    first.processes.push(compute(*outside, GIB / 2));
    let with_memory = |pid, sm, memory| Sample {
        memory,
        ..busy(pid, sm)
    };
    first.samples = desk[..4]
        .iter()
        .map(|&pid| with_memory(pid, 5, 2))
        .collect();
    first.samples.push(Sample {
        encoder: 30,
        ..busy(desk[4], 0)
    });
    first.samples.push(with_memory(*lab, 35, 20));
    first.samples.push(busy(*outside, 10));
    first.encoder_sessions = vec![
        encoder(1, desk[4], 0, (1920, 1080), 60, 4_500),
        encoder(2, desk[4], 2, (3840, 2160), 30, 8_000),
        encoder(3, desk[4], 2, (1280, 720), 15, 2_000),
        // A guest's, whose process has the number of one of the node's by chance.
        EncoderSession {
            vgpu_instance: 7,
            ..encoder(4, desk[4], 1, (1280, 720), 99, 1)
        },
    ];
    first.capture_sessions = vec![CaptureSession {
        id: 1,
        pid: desk[4],
        kind: 1,
        // A flag that nobody knows.
        flags: 1 << 20,
        width: 1920,
        height: 1080,
        fps: 58,
        latency_us: 900,
        ..CaptureSession::default()
    }];

    let mut second = device(1);
    second.remapped_rows = Some(RemappedRows {
        corrected: 3,
        uncorrected: 1,
        pending: true,
        failed: false,
    });
    second.recovery_action = Some(4);
    second.utilization = Some(Utilization { gpu: 70, memory: 0 });
    second.memory = Some(memory(3 * GIB));
    second.processes = vec![compute(desk[0], GIB / 4), compute(*lab, 2 * GIB)];
    // Newer than those of the other GPU most of the time: whoever keeps one mark for both loses samples.
    let often = |pid, sm| Sample {
        every_ms: 250,
        ..busy(pid, sm)
    };
    second.samples = vec![often(desk[0], 8), often(*lab, 60)];
    vec![first, second]
}

fn encoder(
    id: u32,
    pid: u32,
    codec: u32,
    (width, height): (u32, u32),
    fps: u32,
    latency_us: u32,
) -> EncoderSession {
    EncoderSession {
        id,
        pid,
        codec,
        width,
        height,
        fps,
        latency_us,
        ..EncoderSession::default()
    }
}

fn of<'a>(session: &'a str, gpu: &'a str, engine: &'a str) -> [(&'a str, &'a str); 3] {
    [("session", session), ("gpu", gpu), ("engine", engine)]
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-6
}

/// Of two counters and a value, how often the value is in the difference, which must be a whole number.
fn times(before: f64, after: f64, each: f64) -> u64 {
    let times = (after - before) / each;
    assert!(
        near(times, times.round()),
        "{before} to {after} is {times} times {each}"
    );
    times.round() as u64
}

#[test]
fn every_session_has_what_the_scenario_implies_on_every_gpu() {
    if !capability::kernel() {
        return;
    }
    let mut node = Node::start();
    let outside = |m: &Exposition| {
        let labels = [("gpu", "0"), ("engine", "sm")];
        m.value("vdi_gpu_unattributed_busy_seconds_total", &labels)
    };
    let before = wait::until("both GPUs have samples of all", SHOW_LIMIT * 2, || {
        let m = node.agent.metrics();
        let there = [
            of("desk", "0", "encoder"),
            of("lab", "0", "sm"),
            of("desk", "1", "sm"),
            of("lab", "1", "sm"),
        ];
        // The first sample of a process covers the time since it could have been seen, so not the first.
        (there.iter().all(|labels| m.find(BUSY, labels).is_some())
            && m.value(BUSY, &of("lab", "0", "sm")) > 0.36)
            .then_some(m)
    });
    thread::sleep(Duration::from_secs(5));
    let after = node.agent.fresh_metrics();

    let busy = |labels: &[(&str, &str)], each: f64| {
        times(before.value(BUSY, labels), after.value(BUSY, labels), each)
    };
    // GPU 0: a sample a second. Four processes with 5 %, and one that only encodes.
    let samples = busy(&of("lab", "0", "sm"), 0.35);
    assert!((4..=7).contains(&samples), "{samples} samples in 5 s");
    assert_eq!(busy(&of("lab", "0", "memory"), 0.20), samples);
    assert_eq!(busy(&of("desk", "0", "sm"), 0.20), samples);
    assert_eq!(busy(&of("desk", "0", "memory"), 0.08), samples);
    assert_eq!(busy(&of("desk", "0", "encoder"), 0.30), samples);
    assert_eq!(times(outside(&before), outside(&after), 0.10), samples);
    assert_eq!(after.find(BUSY, &of("desk", "0", "decoder")), None);
    assert_eq!(after.find(BUSY, &of("lab", "0", "encoder")), None);
    // GPU 1: four samples a second.
    let samples = busy(&of("lab", "1", "sm"), 0.60 * 0.25);
    assert!((18..=26).contains(&samples), "{samples} samples in 5 s");
    assert_eq!(busy(&of("desk", "1", "sm"), 0.08 * 0.25), samples);

    // The histogram has the share of all processes of the session together, and nothing else.
    for (labels, share, bucket) in [
        (of("desk", "0", "sm"), 0.20, "0.25"),
        (of("lab", "0", "sm"), 0.35, "0.5"),
        (of("desk", "0", "encoder"), 0.30, "0.5"),
        (of("lab", "1", "sm"), 0.60, "1.0"),
    ] {
        let difference = |suffix: &str, more: &[(&str, &str)]| {
            let name = format!("{UTILIZATION}_{suffix}");
            let labels = [&labels[..], more].concat();
            after.value(&name, &labels) - before.value(&name, &labels)
        };
        let observations = difference("count", &[]);
        assert!(observations >= 4.0, "{observations} observations in 5 s");
        assert!(
            near(difference("sum", &[]), share * observations),
            "{labels:?}"
        );
        assert!(
            near(difference("bucket", &[("le", bucket)]), observations),
            "{labels:?}"
        );
    }

    wear_and_limits(&after);
    memory_and_remainder(&after);
    streams(&after);
    startup(&after);
    a_process_that_dies_is_charged_to_the_end(&mut node);
}

/// What a GPU says of its memory's rows, of what is to be done with it, and of its temperatures.
fn wear_and_limits(m: &Exposition) {
    let of =
        |gpu, family: &str, label: &str, value| m.find(family, &[("gpu", gpu), (label, value)]);
    let rows = |gpu| {
        ["corrected", "uncorrected"].map(|kind| of(gpu, "vdi_gpu_remapped_rows", "kind", kind))
    };
    assert_eq!(rows("0"), [Some(0.0), Some(0.0)]);
    assert_eq!(rows("1"), [Some(3.0), Some(1.0)]);
    for (gpu, pending) in [("0", 0), ("1", 1)] {
        let label = [("gpu", gpu)];
        assert_eq!(m.count("vdi_gpu_row_remap_pending", &label), pending);
        assert_eq!(m.count("vdi_gpu_row_remap_failed", &label), 0);
    }
    let action = |gpu, action| of(gpu, "vdi_gpu_recovery_action", "action", action);
    assert_eq!(action("0", "none"), Some(1.0));
    assert_eq!(action("1", "none"), Some(0.0));
    assert_eq!(action("1", "drain_and_reset"), Some(1.0));
    let limit = |limit| of("0", "vdi_gpu_temperature_limit_celsius", "limit", limit);
    let limits = ["shutdown", "slowdown", "memory_max", "gpu_max"].map(limit);
    assert_eq!(limits, [Some(98.0), Some(95.0), None, Some(83.0)]);
}

fn memory_and_remainder(m: &Exposition) {
    let of_session = |session, gpu| {
        m.count(
            "vdi_session_gpu_memory_bytes",
            &[("session", session), ("gpu", gpu)],
        )
    };
    assert_eq!(of_session("desk", "0"), (4 * 256 + 128) * MIB);
    assert_eq!(of_session("lab", "0"), GIB);
    assert_eq!(of_session("desk", "1"), GIB / 4);
    assert_eq!(of_session("lab", "1"), 2 * GIB);
    for (gpu, used, sm) in [("0", 4 * GIB, 0.80), ("1", 3 * GIB, 0.70)] {
        let label = [("gpu", gpu)];
        let sessions = of_session("desk", gpu) + of_session("lab", gpu);
        let remainder = m.count("vdi_gpu_unattributed_memory_bytes", &label);
        assert_eq!(m.count("vdi_gpu_memory_used_bytes", &label), used);
        assert_eq!(sessions + remainder, used);
        let remainder = m.value(
            "vdi_gpu_unattributed_utilization_ratio",
            &[("gpu", gpu), ("engine", "sm")],
        );
        let sessions = if gpu == "0" { 0.20 + 0.35 } else { 0.08 + 0.60 };
        assert!(near(m.value("vdi_gpu_utilization_ratio", &label), sm));
        assert!(near(sessions + remainder, sm), "{sessions} + {remainder}");
    }
}

fn streams(m: &Exposition) {
    let stream = |family: &str, more: &[(&str, &str)]| {
        let name = format!("vdi_session_{family}");
        m.value(
            &name,
            &[&[("session", "desk"), ("gpu", "0")], more].concat(),
        )
    };
    for (codec, count, fps, latency, width) in [
        ("h264", 1.0, 60.0, 0.0045, 1920.0),
        ("av1", 2.0, 45.0, 0.008, 3840.0),
    ] {
        let codec = [("codec", codec)];
        assert!(near(stream("encoder_sessions", &codec), count));
        assert!(near(stream("encoder_fps", &codec), fps));
        assert!(near(stream("encoder_latency_seconds", &codec), latency));
        let wide = [codec[0], ("dimension", "width")];
        assert!(near(stream("encoder_resolution_pixels", &wide), width));
    }
    let of_guest = [("session", "desk"), ("codec", "hevc")];
    assert_eq!(m.find("vdi_session_encoder_sessions", &of_guest), None);
    assert!(near(stream("capture_sessions", &[]), 1.0));
    assert!(near(stream("capture_fps", &[]), 58.0));
    assert!(near(stream("capture_latency_seconds", &[]), 0.0009));
    assert_eq!(
        m.matching("vdi_session_encoder_fps", &[("session", "lab")])
            .count(),
        0
    );
}

fn startup(m: &Exposition) {
    let reached = |milestone| {
        m.count(
            "vdi_session_startup_seconds_count",
            &[("template", "child"), ("milestone", milestone)],
        )
    };
    assert_eq!(reached("first_gpu_context"), 2);
    assert_eq!(reached("first_encoder"), 1);
}

/// One of desk's processes ends; the driver hands its last sample out afterwards.
fn a_process_that_dies_is_charged_to_the_end(node: &mut Node) {
    // None of it repeats any more, so that what is charged from here on is the last sample alone.
    node.gpus
        .change(|scenario| scenario.devices[0].samples.clear());
    thread::sleep(Duration::from_secs(2));
    let before = node.agent.fresh_metrics();
    let dead = node.desk.remove(0);
    let pid = dead.pid();
    drop(dead);
    thread::sleep(Duration::from_millis(500));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    node.gpus.change(|scenario| {
        let device = &mut scenario.devices[0];
        device.processes.retain(|process| process.pid != pid);
        device.samples = vec![
            Sample {
                timestamp_us: Some(now.as_micros() as u64 + 300_000),
                every_ms: 0,
                ..busy(pid, 100)
            },
            Sample {
                timestamp_us: Some(now.as_micros() as u64 + 800_000),
                every_ms: 0,
                ..busy(pid, 40)
            },
        ];
    });
    let labels = of("desk", "0", "sm");
    let charged = |m: &Exposition| m.value(BUSY, &labels) - before.value(BUSY, &labels);
    let after = wait::until("both samples are charged", SHOW_LIMIT, || {
        let m = node.agent.metrics();
        (charged(&m) >= 0.20).then_some(m)
    });
    // The second covers the half second since the first, which covers the time since the round before it.
    let of_first = charged(&after) - 0.5 * 0.40;
    assert!((0.0..=0.25).contains(&of_first), "{of_first}");
    let left = [("session", "desk"), ("gpu", "0")];
    wait::until("its memory is given back", SHOW_LIMIT, || {
        let m = node.agent.metrics();
        let bytes = m.find("vdi_session_gpu_memory_bytes", &left)?;
        near(bytes, ((3 * 256 + 128) * MIB) as f64).then_some(())
    });
}

/// A GPU that both have and that has nothing left, and then an encoder that cannot keep up.
#[test]
fn a_full_gpu_and_a_slow_encoder_are_what_is_concluded() {
    if !capability::kernel() {
        return;
    }
    let mut node = Node::start();
    let busy_by = |gpus: &mut Gpus, percent| {
        gpus.change(|scenario| {
            for device in &mut scenario.devices {
                device.utilization = Some(Utilization {
                    gpu: percent,
                    memory: 0,
                });
            }
        });
    };
    busy_by(&mut node.gpus, 99);
    for session in ["desk", "lab"] {
        first_is(&node.agent, session, "gpu_full");
    }
    busy_by(&mut node.gpus, 50);
    node.gpus.change(|scenario| {
        for encoder in &mut scenario.devices[0].encoder_sessions {
            encoder.latency_us = 40_000;
        }
    });
    // The last minute has both.
    wait::until(
        "the encoder is found",
        patient(Duration::from_secs(40)),
        || {
            let causes = causes(&node.agent, "desk");
            causes
                .iter()
                .any(|cause| cause == "encoder_slow")
                .then_some(())
        },
    );
    let other = causes(&node.agent, "lab");
    assert!(other.iter().all(|cause| cause == "gpu_full"), "{other:?}");
}

#[test]
fn an_xid_event_is_counted_once() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut gpus = Gpus::new(vec![device(0), device(1)]);
    let agent = gpus.start(&Configuration::of(&tree));
    let event = |sequence, value| Event {
        sequence,
        value,
        ..Event::default()
    };
    gpus.change(|s| s.devices[1].events = vec![event(1, 31), event(2, 31), event(3, 79)]);
    let count = |m: &Exposition, gpu, xid| {
        m.count_if_any("vdi_gpu_xid_errors_total", &[("gpu", gpu), ("xid", xid)])
    };
    wait::until("the events are counted", SHOW_LIMIT, || {
        (count(&agent.metrics(), "1", "79") > 0).then_some(())
    });
    thread::sleep(Duration::from_secs(2));
    let m = agent.fresh_metrics();
    assert_eq!((count(&m, "1", "31"), count(&m, "1", "79")), (2, 1));
    assert_eq!(
        m.matching("vdi_gpu_xid_errors_total", &[("gpu", "0")])
            .count(),
        0
    );
    let last = m.value(
        "vdi_gpu_xid_last_timestamp_seconds",
        &[("gpu", "1"), ("xid", "79")],
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!((0.0..30.0).contains(&(now.as_secs_f64() - last)), "{last}");
}

/// As seen with 580.159.04: the driver lists the clients with their memory, and samples name the server.
#[test]
fn what_clients_of_the_multi_process_service_use_is_absent_and_unattributed() {
    if !capability::kernel() {
        return;
    }
    let (tree, elsewhere) = (Tree::new(), Tree::new());
    let mut gpus = Gpus::new(vec![device(0)]);
    let agent = gpus.start(&Configuration::of(&tree));
    let (desk, outside) = (tree.child("desk"), elsewhere.child("nobody"));
    agent.wait_for(&["desk"]);
    let client = Workload::start(WORKLOAD, &desk, &["idle"]);
    let server = Workload::start(WORKLOAD, &outside, &["idle"]);
    gpus.change(|s| {
        s.devices[0].utilization = Some(Utilization { gpu: 60, memory: 0 });
        s.devices[0].processes = vec![
            Process {
                kinds: vec![Kind::Compute, Kind::Mps],
                ..compute(client.pid(), GIB)
            },
            compute(server.pid(), 66 * MIB),
        ];
        s.devices[0].samples = vec![busy(server.pid(), 60)];
    });
    let gpu = [("gpu", "0")];
    let rest = [("gpu", "0"), ("engine", "sm")];
    let m = wait::until("the server's samples are unattributed", SHOW_LIMIT, || {
        let m = agent.metrics();
        let busy = m.find("vdi_gpu_unattributed_busy_seconds_total", &rest)?;
        (busy > 1.0 && m.find("vdi_session_gpu_memory_bytes", &gpu).is_some()).then_some(m)
    });
    let bytes = m.value("vdi_session_gpu_memory_bytes", &gpu);
    assert!(near(bytes, GIB as f64), "{bytes}");
    assert!(near(
        m.value("vdi_gpu_unattributed_utilization_ratio", &rest),
        0.6
    ));
    for series in [BUSY, "vdi_session_gpu_utilization_ratio_count"] {
        assert_eq!(m.matching(series, &[]).count(), 0, "{series}");
    }
}

/// The driver counts an error by its event and names the process in the kernel's log.
#[test]
fn a_session_whose_process_the_driver_blames_ends_by_gpu_error() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut gpus = Gpus::new(vec![device(0)]);
    let log = KernelLog::new();
    let configuration = gpus.configure(Configuration::of(&tree));
    let agent = log.start(&configuration, &gpus.environment());
    let (desk, lab) = (tree.child("desk"), tree.child("lab"));
    agent.wait_for(&["desk", "lab"]);
    let workload = Workload::start(WORKLOAD, &desk, &["idle"]);
    let neighbour = Workload::start(WORKLOAD, &lab, &["idle"]);
    let metrics = agent.fresh_metrics();
    let up = metrics.value("vdi_agent_kernel_log_up", &[("reason", "")]);
    assert!(up > 0.0, "{up}");
    // A process that fails without an error of the GPU, and one that is blamed and goes on.
    log.blame("0000:3b:00", 43, &neighbour.pid().to_string(), "workload");
    log.blame("0000:3b:00", 79, "'<unknown>'", "<unknown>");
    log.blame("0000:3b:00", 31, &workload.pid().to_string(), "workload");
    gpus.change(|s| {
        let event = |sequence, value| Event {
            sequence,
            value,
            ..Event::default()
        };
        s.devices[0].events = vec![event(1, 43), event(2, 79), event(3, 31)];
    });
    let charged = "vdi_session_gpu_xid_errors_total";
    let count = |m: &Exposition, session, xid| {
        m.count_if_any(charged, &[("session", session), ("gpu", "0"), ("xid", xid)])
    };
    // At once: the process is gone before the next sample.
    drop(workload);
    drop(desk);
    wait::until("the session has ended", SHOW_LIMIT * 2, || {
        let labels = [("template", "child"), ("reason", "gpu_error")];
        let ended = agent
            .metrics()
            .count_if_any("vdi_session_ended_total", &labels);
        (ended == 1).then_some(())
    });
    let m = agent.fresh_metrics();
    assert_eq!((count(&m, "desk", "31"), count(&m, "lab", "43")), (1, 1));
    assert_eq!(m.matching(charged, &[]).count(), 2);
    for xid in ["31", "43", "79"] {
        let of_gpu = [("gpu", "0"), ("xid", xid)];
        assert_eq!(m.count("vdi_gpu_xid_errors_total", &of_gpu), 1, "{xid}");
    }
    // Its process was blamed, but ended well after that.
    drop(neighbour);
    drop(lab);
}

/// Whoever can change the library has what the agent may do.
#[test]
fn a_library_that_others_can_change_is_not_loaded_until_they_cannot() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let gpus = Gpus::new(vec![device(0)]);
    let library = gpus.library();
    let set = |mode| fs::set_permissions(library, Permissions::from_mode(mode)).unwrap();
    set(0o666);
    let agent = gpus.start(&Configuration::of(&tree));
    let up = |m: &Exposition| {
        let mut samples = m.matching("vdi_agent_gpu_up", &[]);
        let sample = samples.next().expect("the agent says how the GPUs are");
        (sample.value > 0.0, sample.labels["reason"].clone())
    };
    let named = format!("others than root can change {}", library.display());
    let m = wait::until("the library is refused", SHOW_LIMIT, || {
        let m = agent.metrics();
        up(&m).1.contains(&named).then_some(m)
    });
    assert!(!up(&m).0);
    // Nothing of it has run.
    assert_eq!(gpus.calls().values().sum::<u64>(), 0);
    assert_eq!(m.matching("vdi_gpu_up", &[]).count(), 0);
    set(0o644);
    wait::until("the library is loaded", Duration::from_secs(20), || {
        let m = agent.metrics();
        (up(&m) == (true, String::new())).then_some(())
    });
}

/// The question that one agent for both answers: are this session's slow frames the GPU's or the CPU's?
#[test]
fn prometheus_joins_run_queue_waits_with_encoder_latency() {
    if !capability::kernel() {
        return;
    }
    let node = Node::start();
    let [cpu, _] = two_cpus();
    let fight = ["spin", "--threads", "2", "--seconds", "60", "--cpu", &cpu];
    let mut fight = Workload::start(WORKLOAD, &node.cgroups[0], &fight);
    fight.go();
    let prometheus = prometheus::installed("prometheus").expect("prometheus is installed");
    let prometheus = Prometheus::start(&prometheus, &[], "", node.agent.address());
    let wait_p99 = "histogram_quantile(0.99, sum by (session, namespace, template, le) \
                    (rate(vdi_session_runqueue_wait_seconds_bucket[10s])))";
    let slowest = "max by (session, namespace, template) (vdi_session_encoder_latency_seconds)";
    let join = format!("{wait_p99} + on (session, namespace, template) {slowest}");
    let joined = wait::until("the join has a result", SHOW_LIMIT * 4, || {
        let results = prometheus.query(&join);
        // Not a number where nothing waited in the range.
        let known = results
            .first()
            .is_some_and(|(_, seconds)| !seconds.is_nan());
        known.then_some(results)
    });
    let [(labels, seconds)] = &joined[..] else {
        panic!("one session encodes: {joined:?}");
    };
    assert_eq!(labels["session"], "desk");
    assert_eq!(
        (&*labels["namespace"], &*labels["template"]),
        ("tests", "child")
    );
    // The latency is 8 ms; the rest is the wait.
    assert!(*seconds > 0.008, "{seconds}");
}
