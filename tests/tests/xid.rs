//! Xid errors: what the NVIDIA driver reports at its tracepoint reaches the agent's log, and the session of
//! the process that it blames in the kernel's.
//!
//! No machine of the tests has the driver. Guests of `cargo xtask test --kernels` have a module with the
//! same tracepoint (`tests/xid-module`), which reports what is written to it, and logs it.

use std::{
    ffi::CStr,
    fs::{self, File},
    path::PathBuf,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::Tree,
    kernel_log, wait,
    workload::Workload,
};
use nix::{
    errno::Errno,
    kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module},
};
use serde_json::{Value, json};
use sessionscope::telemetry::Event;

const NAME: &CStr = c"nvidia_xid_scenario";
const REPORT: &str = "/sys/module/nvidia_xid_scenario/parameters/report";
const LOG: &str = "/sys/module/nvidia_xid_scenario/parameters/log";
const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const PROBE: &str = "nvidia_dev_xid";
const LOGGED: Event = Event::GpuXid;
/// What the agent keeps of a message (`agent_common::event::XID_MESSAGE_BYTES` less its end).
const LONGEST: usize = 255;

/// The module. Dropping it unloads it, which the kernel refuses while an agent is attached: it is declared
/// before the agent.
struct Module(PathBuf);

impl Module {
    fn load(&self) {
        let file = File::open(&self.0).expect("the module is in the guest");
        finit_module(file, c"", ModuleInitFlags::empty()).expect("the module fits the kernel");
    }

    fn unload() -> Result<(), Errno> {
        delete_module(NAME, DeleteModuleFlags::O_NONBLOCK)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // A program is detached some time after its last descriptor is closed.
        wait::until("the module can be unloaded", SHOW_LIMIT, || {
            matches!(Self::unload(), Ok(()) | Err(Errno::ENOENT)).then_some(())
        });
    }
}

/// The module, where it is and can be loaded.
fn module() -> Option<Module> {
    if !capability::kernel() {
        return None;
    }
    capability::xid_module().map(Module)
}

fn report(pci: &str, code: u32, message: &str) {
    fs::write(REPORT, format!("{pci} {code} {message}")).expect("the module takes it");
}

fn blame(pci: &str, code: u32, pid: &str, command: &str) {
    let line = kernel_log::line(pci, code, pid, command);
    fs::write(LOG, line).expect("the module takes it");
}

/// Looks for the driver as often as the agent allows.
fn start() -> Agent {
    Agent::start(&Configuration::without_rules().set("sampling.rescan", "\"1s\""))
}

/// Why the program does not run; empty when it does.
fn reason(agent: &Agent) -> String {
    let metrics = agent.fresh_metrics();
    let mut samples = metrics.matching("vdi_agent_probe_up", &[("probe", PROBE)]);
    let (Some(sample), None) = (samples.next(), samples.next()) else {
        panic!("{PROBE} is not there, or more than once");
    };
    let reason = sample.labels["reason"].clone();
    assert_eq!(sample.value > 0.0, reason.is_empty(), "{reason:?}");
    reason
}

/// Waits for so many records; fails when there are more.
fn logged(agent: &Agent, count: usize) -> Vec<Value> {
    wait::until("the errors are logged", SHOW_LIMIT, || {
        (agent.logged(LOGGED).len() >= count).then_some(())
    });
    // One that is logged twice is so by the next sample.
    agent.fresh_metrics();
    let records = agent.logged(LOGGED);
    assert_eq!(records.len(), count, "{records:?}");
    let fields = |record: &Value| {
        let names = ["level", "pci", "code", "text"];
        names.map(|name| record[name].clone()).into()
    };
    records.iter().map(fields).collect()
}

#[test]
fn each_xid_is_logged_once_from_when_the_driver_is_loaded() {
    let Some(module) = module() else {
        return;
    };
    let agent = start();
    let absent = reason(&agent);
    assert!(
        absent.starts_with("no tracepoint nvidia:nvidia_dev_xid"),
        "{absent}"
    );
    module.load();
    wait::until("the program is attached", SHOW_LIMIT, || {
        reason(&agent).is_empty().then_some(())
    });
    let short = "channel 0x0000001e, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC0";
    let lost = "GPU has fallen off the bus.";
    let long = format!("channel 0x00000002, {}", "y".repeat(2 * LONGEST));
    report("0000:3b:00.0", 31, short);
    report("0000:af:00.0", 79, lost);
    report("0001:00:00.0", 13, &long);
    assert_eq!(
        logged(&agent, 3),
        [
            json!(["warn", "0000:3b:00.0", 31, short]),
            json!(["warn", "0000:af:00.0", 79, lost]),
            json!(["warn", "0001:00:00.0", 13, &long[..LONGEST]]),
        ]
    );
}

#[test]
fn a_driver_that_reports_xids_is_in_use_until_the_agent_ends() {
    let Some(module) = module() else {
        return;
    };
    module.load();
    let agent = start();
    assert_eq!(reason(&agent), "");
    report("0000:3b:00.0", 48, "An uncorrectable double bit error");
    assert_eq!(
        logged(&agent, 1),
        [json!([
            "warn",
            "0000:3b:00.0",
            48,
            "An uncorrectable double bit error"
        ])]
    );
    assert_eq!(Module::unload(), Err(Errno::EAGAIN));
    drop(agent);
    // Which the end of the module waits for.
    drop(module);
    assert_eq!(Module::unload(), Err(Errno::ENOENT));
}

#[test]
fn a_session_whose_process_fails_after_an_xid_ends_by_gpu_error() {
    let Some(module) = module() else {
        return;
    };
    module.load();
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let desk = tree.child("desk");
    agent.wait_for(&["desk"]);
    let workload = Workload::start(WORKLOAD, &desk, &["idle"]);
    // As the driver does it: the process is in the log, and not in what is at the tracepoint.
    blame("0000:3b:00", 31, &workload.pid().to_string(), "workload");
    report("0000:3b:00.0", 31, "channel 0x0000001e, intr 00000000.");
    blame("0000:3b:00", 79, "'<unknown>'", "<unknown>");
    report("0000:3b:00.0", 79, "GPU has fallen off the bus.");
    let session = [("session", "desk"), ("gpu", "0000:3b:00.0"), ("xid", "31")];
    let charged = "vdi_session_gpu_xid_errors_total";
    wait::until("the error is charged", SHOW_LIMIT, || {
        (agent.metrics().count_if_any(charged, &session) == 1).then_some(())
    });
    let metrics = agent.fresh_metrics();
    assert_eq!(metrics.matching(charged, &[]).count(), 1);
    let of_gpu = |xid| {
        let labels = [("gpu", "0000:3b:00.0"), ("xid", xid)];
        metrics.count("vdi_gpu_xid_errors_total", &labels)
    };
    assert_eq!((of_gpu("31"), of_gpu("79")), (1, 1));
    drop(workload);
    drop(desk);
    wait::until("the session has ended", SHOW_LIMIT * 2, || {
        let labels = [("template", "child"), ("reason", "gpu_error")];
        let ended = agent
            .metrics()
            .count_if_any("vdi_session_ended_total", &labels);
        (ended == 1).then_some(())
    });
}

#[test]
fn a_session_that_a_user_blames_in_the_drivers_words_is_charged_nothing() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let desk = tree.child("desk");
    agent.wait_for(&["desk"]);
    let workload = Workload::start(WORKLOAD, &desk, &["idle"]);
    let metrics = agent.fresh_metrics();
    assert_eq!(
        metrics.count("vdi_agent_kernel_log_up", &[("reason", "")]),
        1
    );
    kernel_log::blame_as_user("0000:3b:00", 31, &workload.pid().to_string(), "workload");
    // The log is read before each sample.
    let metrics = agent.fresh_metrics();
    let charged = metrics.matching("vdi_session_gpu_xid_errors_total", &[]);
    assert_eq!(charged.count(), 0);
    drop(workload);
    drop(desk);
    let ended = wait::until("the session has ended", SHOW_LIMIT * 2, || {
        let metrics = agent.metrics();
        let mut samples = metrics.matching("vdi_session_ended_total", &[]);
        samples
            .find(|sample| sample.value > 0.0)
            .map(|sample| sample.labels["reason"].clone())
    });
    assert_eq!(ended, "signal");
    assert_eq!(agent.logged(Event::ProcessXid).len(), 0);
}
