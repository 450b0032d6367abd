//! A machine that is short of memory lives on with the agent.
//!
//! The programs run under locks that a thread needs which waits for memory: those of the run queues above
//! all. What allocates there may wake kswapd, and waking takes the lock of a run queue, so the machine
//! stops with both CPUs spinning and nothing on its console. It takes a kernel whose page cache turns over
//! and processes that come and go, and happens within seconds or never.
//!
//! In a guest of its own (`cargo xtask test --kernels --bed pressure`), because it may not survive.

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    accounts::Switches,
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    workload::Workload,
};
use serde_json::json;
use sessionscope::kernel::{btf::Btf, tracepoints_may_be_preemptible};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// systemd's default (`sysctl.d/50-pid-max.conf`), so what production has.
const PID_MAX: &str = "4194304";
/// A run that proves something.
const WHOLE: Duration = Duration::from_mins(3);
/// Times that kswapd wakes in it, at least.
const KSWAPD_RUNS: f64 = 500.0;
/// How often the guest says that it lives; the host takes one that is silent for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Kernel and agent may differ by that much in CPU time: what threads have run since their last tick.
const CPU_TOLERANCE: f64 = 0.01;

/// The share of switches that may go unmeasured with task storage where a tracepoint can be preempted (from 7.0 on), so
/// that the start of a thread can be missed: one in a thousand is. Anywhere else none may.
const UNMEASURED: f64 = 0.005;
/// How long the machine is under pressure before an agent starts, and after.
const START: Duration = Duration::from_secs(5);

/// Gives who reads most of a CPU: beside a storm of forks it would hardly come to read, and kswapd to nothing.
fn hurry(reader: &Workload) {
    let pid = reader.pid().to_string();
    let status = Command::new("renice")
        .args(["-n", "-10", "-p", &pid])
        .status();
    assert!(status.expect("renice is there").success(), "renice failed");
}

/// How often kswapd has found work (mm/vmscan.c, `balance_pgdat`).
fn kswapd_runs() -> u64 {
    let statistics = fs::read_to_string("/proc/vmstat").expect("/proc is mounted");
    let count = statistics
        .lines()
        .find_map(|line| line.strip_prefix("pageoutrun "))
        .expect("the kernel counts kswapd's runs");
    count.parse().expect("a number")
}

/// How long the test lasts: `SESSIONSCOPE_TEST_PRESSURE_SECONDS`, else three minutes.
fn duration() -> Duration {
    env::var("SESSIONSCOPE_TEST_PRESSURE_SECONDS").map_or(WHOLE, |seconds| {
        let seconds = seconds.parse();
        Duration::from_secs(seconds.expect("SESSIONSCOPE_TEST_PRESSURE_SECONDS is a whole number"))
    })
}

fn assert_production() {
    let pid_max = fs::read_to_string("/proc/sys/kernel/pid_max").expect("/proc is mounted");
    assert_eq!(pid_max.trim(), PID_MAX, "not what production has");
}

fn lives(task_state: &str) {
    let Some(disk) = capability::large_disk() else {
        return;
    };
    let duration = duration();
    let seconds = duration.as_secs_f64();
    assert_production();
    let tree = Tree::new();
    let configuration = Configuration::of(&tree);
    let agent = Agent::start(&configuration.set("kernel.task_state", &format!("\"{task_state}\"")));
    let [forks, reads] = ["forks", "reads"].map(|name| tree.child(name));
    agent.wait_for(&["forks", "reads"]);

    let before = kswapd_runs();
    let disk = Path::new(&disk).to_str().expect("a plain path");
    let for_long = seconds.to_string();
    let read = ["reread", "--path", disk, "--seconds", &for_long];
    let storm = ["storm", "--seconds", &for_long];
    let mut read = Workload::start(WORKLOAD, &reads, &read);
    let mut storm = Workload::start(WORKLOAD, &forks, &storm);
    let usage = forks.cpu_usage();
    let counted = |metrics: &integration_tests::exposition::Exposition, name: &str| {
        metrics.value(name, &[("session", "forks")])
    };
    let cpu_before = counted(&agent.fresh_metrics(), "vdi_session_cpu_seconds_total");
    hurry(&read);
    read.go();
    storm.go();
    let began = Instant::now();
    while began.elapsed() < duration {
        thread::sleep(SIGN_OF_LIFE);
        let runs = kswapd_runs() - before;
        println!(
            "{task_state}: alive after {:.0?}, kswapd ran {runs} times",
            began.elapsed()
        );
    }
    let did = storm.finish();
    let read = read.finish();
    let runs = kswapd_runs() - before;
    // For the host, which shows lines with this mark.
    println!("\n@@ said {task_state}: kswapd ran {runs} times in {seconds} s; {did}, {read}");

    let metrics = agent.fresh_metrics();
    let labels = [("session", "forks")];
    let exits = |reason: &str| {
        let labels = [("session", "forks"), ("reason", reason)];
        metrics.count("vdi_session_process_exits_total", &labels)
    };
    let missed = metrics.matching("vdi_agent_probe_missed_total", &[]);
    let missed: Vec<String> = missed
        .filter(|sample| sample.value > 0.0)
        .map(|sample| format!("{} of {}", sample.value, sample.labels["probe"]))
        .collect();
    let forks_counted = metrics.count("vdi_session_process_forks_total", &labels);
    assert_eq!(
        json!({"forks": forks_counted, "success": exits("success"), "error": exits("error")}),
        json!({"forks": did["forks"], "success": did["success"], "error": did["error"]}),
        "runs that programs missed: {missed:?}"
    );
    let truth = forks.cpu_usage().saturating_sub(usage).as_secs_f64();
    let said = counted(&metrics, "vdi_session_cpu_seconds_total") - cpu_before;
    assert!(
        (said - truth).abs() <= CPU_TOLERANCE * truth,
        "{said} s of CPU where the kernel has {truth} s"
    );
    let btf = Btf::from_file(Path::new("/sys/kernel/btf/vmlinux")).expect("the kernel's types");
    let may_miss = task_state == "task-storage" && tracepoints_may_be_preemptible(&btf);
    let unmeasured = metrics.count("vdi_agent_unmeasured_switches_total", &[]);
    let switches = Switches::of("forks", &metrics);
    let switches = (switches.voluntary + switches.involuntary()) as f64;
    println!("\n@@ said {task_state}: {unmeasured} switches of {switches} were not measured");
    assert!(
        unmeasured as f64 <= if may_miss { UNMEASURED * switches } else { 0.0 },
        "{unmeasured} switches of {switches} were not measured"
    );
    let least = KSWAPD_RUNS * seconds / WHOLE.as_secs_f64();
    assert!(
        runs as f64 >= least,
        "kswapd ran {runs} times, which proves nothing: {least} wanted"
    );
}

/// An agent that starts when there is no memory makes the states of all threads at once.
fn starts(task_state: &str) {
    let Some(disk) = capability::large_disk() else {
        return;
    };
    assert_production();
    let tree = Tree::new();
    let [forks, reads] = ["forks", "reads"].map(|name| tree.child(name));
    let disk = Path::new(&disk).to_str().expect("a plain path");
    let seconds = "30";
    let mut read = Workload::start(
        WORKLOAD,
        &reads,
        &["reread", "--path", disk, "--seconds", seconds],
    );
    let mut storm = Workload::start(WORKLOAD, &forks, &["storm", "--seconds", seconds]);
    let _sleepers = Workload::start(WORKLOAD, &reads, &["sleepers", "--count", "200"]);
    let before = kswapd_runs();
    hurry(&read);
    read.go();
    storm.go();
    thread::sleep(START);
    let configuration = Configuration::of(&tree);
    let agent = Agent::start(&configuration.set("kernel.task_state", &format!("\"{task_state}\"")));
    agent.wait_for(&["forks", "reads"]);
    // The sleepers, who starts them, who reads, and nobody twice.
    let labels = [("session", "reads")];
    assert_eq!(
        agent
            .fresh_metrics()
            .count("vdi_session_processes", &labels),
        202
    );
    let said = || {
        agent
            .fresh_metrics()
            .value("vdi_session_cpu_seconds_total", &labels)
    };
    let said_before = said();
    let usage = reads.cpu_usage();
    thread::sleep(START);
    let truth = reads.cpu_usage().saturating_sub(usage).as_secs_f64();
    let said = said() - said_before;
    let runs = kswapd_runs() - before;
    println!(
        "\n@@ said {task_state}: started under pressure, kswapd ran {runs} times; {said:.2} s of CPU where the kernel \
         has {truth:.2} s"
    );
    let least = KSWAPD_RUNS * 2.0 * START.as_secs_f64() / WHOLE.as_secs_f64();
    assert!(
        runs as f64 >= least,
        "kswapd ran {runs} times, which proves nothing: {least:.0} wanted"
    );
    assert!(
        said >= 0.5 * truth,
        "{said} s of CPU where the kernel has {truth} s"
    );
}

#[test]
fn an_agent_starts_with_the_pid_array() {
    starts("pid-array");
}

#[test]
fn an_agent_starts_with_task_storage() {
    if capability::task_storage() {
        starts("task-storage");
    }
}

#[test]
fn the_machine_lives_with_the_pid_array() {
    lives("pid-array");
}

#[test]
fn the_machine_lives_with_task_storage() {
    if capability::task_storage() {
        lives("task-storage");
    }
}
