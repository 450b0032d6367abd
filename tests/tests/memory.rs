//! Page faults, stalls, limits and pressure of a session, against the kernel's own accounts.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    process::Command,
    time::{Duration, Instant},
};

use integration_tests::{
    accounts::Accounts,
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    disk,
    exposition::Exposition,
    sockets::inside,
    wait,
    workload::{Workload, binary, two_cpus},
};
use nix::sys::resource::{UsageWho, getrusage};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// Windows of four seconds that a busy machine may take to agree in one.
const WINDOWS: u32 = 6;

/// An agent that reads the cgroups' accounts at every sample, and the sessions `desk` and `other`.
fn stage(controllers: &[&str]) -> (Tree, Agent, Cgroup, Cgroup) {
    let tree = Tree::new();
    for controller in controllers {
        tree.enable(controller);
    }
    let agent = Agent::start(&Configuration::of(&tree).set("sampling.accounts", "\"200ms\""));
    let (desk, other) = (tree.child("desk"), tree.child("other"));
    agent.wait_for(&["desk", "other"]);
    (tree, agent, desk, other)
}

fn of(metrics: &Exposition, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    metrics.find(name, &[&[("session", "desk")], labels].concat())
}

fn major_faults(who: UsageWho) -> u64 {
    let usage = getrusage(who).expect("the kernel accounts its processes");
    usage.major_page_faults() as u64
}

#[test]
fn major_faults_are_exact() {
    if !capability::kernel() {
        return;
    }
    let (_tree, agent, desk, _other) = stage(&[]);
    // A program that is not in memory: each of its pages that is touched is a fault that waits for the disk.
    let folder = disk::folder();
    let program = folder.path().join("program");
    fs::copy(binary(WORKLOAD), &program).unwrap();
    let both = || [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(major_faults);
    let truth = inside(&desk, || {
        let before = both();
        for _ in 0..5 {
            disk::evict(&program);
            let status = Command::new(&program).args(["child", "exit", "0"]).status();
            assert!(status.unwrap().success());
        }
        let after = both();
        after[0] + after[1] - before[0] - before[1]
    });
    let metrics = agent.fresh_metrics();
    let said = of(&metrics, "vdi_session_major_faults_total", &[]);
    eprintln!("{said:?} where the kernel has {truth}");
    assert!(truth >= 5, "only {truth} faults");
    assert_eq!(said, Some(truth as f64));
}

#[test]
fn reclaim_at_a_memory_limit_is_a_stall_of_the_session_that_has_it() {
    if !capability::kernel() {
        return;
    }
    let (tree, agent, desk, _other) = stage(&[]);
    let limited = tree.limit_memory(&desk, 32 << 20);
    let mut arguments = vec!["script".into(), "--hungry".into(), "1".into()];
    arguments.extend(["--memory-cgroup".into(), limited.path().into()]);
    let mut hungry = Workload::start_with(WORKLOAD, &desk, arguments);
    let began = Instant::now();
    hungry.run();
    let took = began.elapsed();
    let metrics = agent.fresh_metrics();
    let stalls = |part: &str| {
        let name = format!("vdi_session_reclaim_stall_seconds_{part}");
        of(&metrics, &name, &[]).unwrap_or(0.0)
    };
    let (count, sum) = (stalls("count"), stalls("sum"));
    eprintln!("{count} stalls of {sum} s in {took:?}");
    assert!(count >= 1.0 && sum > 0.0 && sum <= took.as_secs_f64());
    // Each time that a charge would have been over the limit the kernel counts it and reclaims, except for
    // one that may not wait, which it lets over the limit (mm/memcontrol.c, `try_charge_memcg`). v1 does not
    // count them.
    if desk.path().join("memory.events").exists() {
        let events = desk.read("memory.events");
        let truth = events.lines().find_map(|line| line.strip_prefix("max "));
        let truth: f64 = truth.unwrap().parse().unwrap();
        eprintln!("the kernel was at the limit {truth} times");
        assert!(count <= truth, "{count} stalls at {truth} times");
    }
    let other = [("session", "other")];
    assert!(
        metrics
            .find("vdi_session_reclaim_stall_seconds_count", &other)
            .is_none()
    );
}

/// `total=` of a line of a pressure file, seconds.
fn pressure_of(cgroup: &Cgroup, file: &str, kind: &str) -> f64 {
    let text = cgroup.read(file);
    let line = text.lines().find(|line| line.starts_with(kind));
    let total = line.and_then(|line| line.rsplit_once("total=")).unwrap().1;
    total.parse::<f64>().unwrap() / 1e6
}

#[test]
fn pressure_is_that_of_the_cgroups_files() {
    if !capability::kernel() {
        return;
    }
    let (_tree, agent, desk, _other) = stage(&[]);
    let name = "vdi_session_pressure_seconds_total";
    if !desk.path().join("cpu.pressure").exists() {
        // A kernel without PSI: absent, not 0.
        assert!(agent.fresh_metrics().find(name, &[]).is_none());
        return;
    }
    let [cpu, _] = two_cpus();
    let fight = ["spin", "--threads", "3", "--seconds", "1.5", "--cpu", &cpu];
    Workload::start(WORKLOAD, &desk, &fight).run();
    let said = || {
        let metrics = agent.fresh_metrics();
        of(&metrics, name, &[("resource", "cpu"), ("kind", "some")]).unwrap()
    };
    let (truth, said) = (pressure_of(&desk, "cpu.pressure", "some"), said());
    eprintln!("{said} s where the kernel has {truth} s");
    assert!(
        truth > 0.5,
        "three threads on one CPU waited {truth} s only"
    );
    assert!((said - truth).abs() <= 0.01 * truth);
}

#[test]
fn memory_and_throttled_time_are_those_of_the_cgroups_files() {
    if !capability::kernel() || !capability::controller("cpu") || !capability::controller("memory")
    {
        return;
    }
    let (tree, agent, desk, _other) = stage(&["cpu", "memory"]);
    desk.write("cpu.max", "20000 100000");
    desk.write("memory.max", "100000000");
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--seconds", "2", "--cpu", &cpu];
    let mut spin = Workload::start(WORKLOAD, &desk, &spin);
    spin.run();
    let metrics = agent.fresh_metrics();
    throttled_as(&metrics, "own", &desk.read("cpu.stat"));
    let by_above = [("by", "above")];
    let above = |metrics: &Exposition| {
        of(
            metrics,
            "vdi_session_cpu_throttled_seconds_total",
            &by_above,
        )
    };
    assert_eq!(above(&metrics), None);

    let memory = |kind| of(&metrics, "vdi_session_memory_bytes", &[("kind", kind)]);
    let current: f64 = desk.read("memory.current").trim().parse().unwrap();
    // The kernel rounds a limit down to pages.
    let limit: f64 = desk.read("memory.max").trim().parse().unwrap();
    assert_eq!(memory("limit"), Some(limit));
    // Charged in batches per CPU of up to 64 pages.
    let said = memory("current").unwrap();
    assert!(
        (said - current).abs() <= 1_048_576.0,
        "{said} where the kernel has {current}"
    );
    // Not how much: before 5.16 the kernel sums them up every two seconds or every 64 pages of a CPU.
    assert!(memory("anon").is_some() && memory("file").is_some());

    // Of the fifth of a CPU that it may have it used all.
    let utilization = |part: &str| {
        let name = format!("vdi_session_cpu_utilization_ratio_{part}");
        of(&metrics, &name, &[]).unwrap()
    };
    assert!(utilization("count") >= 1.0);
    let mean = utilization("sum") / utilization("count");
    assert!((0.2..=1.6).contains(&mean), "used {mean} of what it may");

    // A limit of the slice above throttles the session as well, and is none of its own.
    let own = desk.read("cpu.stat");
    desk.write("cpu.max", "max 100000");
    tree.write("cpu.max", "20000 100000");
    Workload::start(WORKLOAD, &desk, &["spin", "--seconds", "2", "--cpu", &cpu]).run();
    let metrics = agent.fresh_metrics();
    throttled_as(&metrics, "above", &tree.read("cpu.stat"));
    throttled_as(&metrics, "own", &own);
    // A session that comes later has nothing of that.
    let _late = tree.child("late");
    let of_late = [("session", "late"), ("by", "above")];
    let throttled = wait::until("its accounts", SHOW_LIMIT, || {
        agent
            .metrics()
            .find("vdi_session_cpu_throttled_seconds_total", &of_late)
    });
    assert!(throttled < 0.001, "{throttled}");
}

/// Compares a session's throttled time with what a cgroup's `cpu.stat` has.
fn throttled_as(metrics: &Exposition, by: &str, stat: &str) {
    let mut lines = stat.lines();
    let throttled = lines.find_map(|line| line.strip_prefix("throttled_usec "));
    let truth = throttled.unwrap().parse::<f64>().unwrap() / 1e6;
    let name = "vdi_session_cpu_throttled_seconds_total";
    let said = of(metrics, name, &[("by", by)]).unwrap();
    eprintln!("{said} s throttled by {by} where the kernel has {truth} s");
    assert!(
        truth > 0.5,
        "a thread with a fifth of a CPU was throttled {truth} s only"
    );
    assert!((said - truth).abs() <= 0.01 * truth);
}

/// A number of a file with a number in each line.
fn number_of(file: &str, key: &str) -> f64 {
    let mut lines = file.lines().filter_map(|line| line.split_once(' '));
    let line = lines.find(|(name, _)| *name == key);
    line.unwrap_or_else(|| panic!("no {key} in {file}"))
        .1
        .parse()
        .unwrap()
}

#[test]
fn periods_of_a_cpu_limit_are_those_of_the_cgroups_file() {
    if !capability::kernel() || !capability::controller("cpu") {
        return;
    }
    let (_tree, agent, desk, _other) = stage(&["cpu"]);
    let names = [
        "vdi_session_cpu_periods_total",
        "vdi_session_cpu_throttled_periods_total",
        "vdi_session_cpu_limit_cores",
    ];
    let all = |metrics: &Exposition| names.map(|name| of(metrics, name, &[]));
    // Without a limit there are none, and not 0.
    assert_eq!(all(&agent.fresh_metrics()), [None; 3]);
    desk.write("cpu.max", "20000 100000");
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--seconds", "2", "--cpu", &cpu];
    Workload::start(WORKLOAD, &desk, &spin).run();
    // The last period ends after the last thread.
    let stat = wait::until("the end of the last period", SHOW_LIMIT, || {
        let stat = desk.read("cpu.stat");
        std::thread::sleep(Duration::from_millis(300));
        (stat == desk.read("cpu.stat")).then_some(stat)
    });
    let truth = ["nr_periods", "nr_throttled"].map(|key| number_of(&stat, key));
    let said = all(&agent.fresh_metrics());
    eprintln!("{said:?} where the kernel has {truth:?}");
    assert!(truth[0] > 5.0 && truth[1] > 5.0);
    assert_eq!(said, [Some(truth[0]), Some(truth[1]), Some(0.2)]);
    let session = agent.session("desk").unwrap();
    assert_eq!(session["cpu_periods"]["all"].as_f64(), Some(truth[0]));
    let other = [("session", "other")];
    let metrics = agent.fresh_metrics();
    assert!(names.iter().all(|n| metrics.find(n, &other).is_none()));
    // What was counted stays when the limit is taken away.
    desk.write("cpu.max", "max 100000");
    let said = all(&agent.fresh_metrics());
    assert_eq!(said, [Some(truth[0]), Some(truth[1]), None]);
}

#[test]
fn swap_and_events_at_a_memory_limit_are_those_of_the_cgroups_files() {
    if !capability::kernel() || !capability::controller("memory") {
        return;
    }
    let (tree, agent, desk, other) = stage(&["memory"]);
    let limited = tree.limit_memory(&desk, 32 << 20);
    let mut arguments = vec!["script".into(), "--hungry".into(), "1".into()];
    arguments.extend(["--memory-cgroup".into(), limited.path().into()]);
    Workload::start_with(WORKLOAD, &desk, arguments).run();
    // Page cache can be reclaimed, so that whoever has too much of it is not held up for long.
    let folder = disk::folder();
    let path = folder.path().join("file");
    fs::write(&path, vec![1; 8 << 20]).unwrap();
    disk::evict(&path);
    desk.write("memory.high", "4194304");
    inside(&desk, || {
        let mut file = File::open(&path).unwrap();
        io::copy(&mut file, &mut io::sink()).unwrap();
    });
    let name = "vdi_session_memory_events_total";
    for event in ["high", "max"] {
        let truth = || number_of(&desk.read("memory.events"), event);
        let before = truth();
        let said = of(&agent.fresh_metrics(), name, &[("event", event)]);
        let after = truth();
        eprintln!("{event}: {said:?} where the kernel has {before} to {after}");
        assert!(before > 0.0, "it was never at its {event}");
        assert!(said.is_some_and(|said| (before..=after).contains(&said)));
    }
    let metrics = agent.fresh_metrics();
    let of_other = |event| {
        let labels = [("session", "other"), ("event", event)];
        metrics.find(name, &labels)
    };
    assert_eq!(["high", "max"].map(of_other), [Some(0.0); 2]);
    // Swap is off there: what counts is that it is known to be none where the kernel accounts it.
    for (session, cgroup) in [("desk", &desk), ("other", &other)] {
        let file = cgroup.path().join("memory.swap.current");
        let truth = fs::read_to_string(file).ok();
        let truth = truth.map(|bytes| bytes.trim().parse::<f64>().unwrap());
        let labels = [("session", session), ("kind", "swap")];
        assert_eq!(metrics.find("vdi_session_memory_bytes", &labels), truth);
    }
}

#[test]
fn forks_that_a_limit_of_processes_refuses_are_counted() {
    if !capability::kernel() || !capability::controller("pids") {
        return;
    }
    let (_tree, agent, desk, _other) = stage(&["pids"]);
    let names = [
        "vdi_session_processes_limit",
        "vdi_session_forks_refused_total",
    ];
    let all = |metrics: &Exposition| names.map(|name| of(metrics, name, &[]));
    assert_eq!(all(&agent.fresh_metrics()), [None; 2]);
    // This process, with all its threads, may enter all the same: the limit is for what forks.
    desk.write("pids.max", "1");
    let child = || {
        let mut child = Command::new(binary(WORKLOAD));
        child.args(["child", "exit", "0"]).status()
    };
    let tried = inside(&desk, || [child(), child(), child()]);
    for one in tried {
        let error = one.expect_err("nothing more may be made");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    }
    let truth = number_of(&desk.read("pids.events"), "max");
    let metrics = agent.fresh_metrics();
    eprintln!("{:?} where the kernel has {truth}", all(&metrics));
    assert!(truth >= 3.0);
    assert_eq!(all(&metrics), [Some(1.0), Some(truth)]);
    let other = [("session", "other")];
    assert!(names.iter().all(|n| metrics.find(n, &other).is_none()));
}

#[test]
fn utilization_is_observed_each_second_as_a_share_of_the_cpus() {
    if !capability::kernel() {
        return;
    }
    let (_tree, agent, desk, _other) = stage(&[]);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--real-time", "1", "--seconds", "60", "--cpu", &cpu];
    let mut spin = Workload::start(WORKLOAD, &desk, &spin);
    spin.go();
    let state = || {
        let metrics = agent.fresh_metrics();
        ["count", "sum"].map(|part| {
            let name = format!("vdi_session_cpu_utilization_ratio_{part}");
            of(&metrics, &name, &[]).unwrap_or(0.0)
        })
    };
    // Without the second in which it began.
    std::thread::sleep(Duration::from_millis(1300));
    // A machine that others keep busy takes time from the agent and from the workload unevenly: a wrong
    // figure is wrong in each window.
    let agrees = (0..WINDOWS).any(|_| {
        // The first waits for a sample: what the kernel has is of the time after it.
        let before = state();
        let (began, used) = (Instant::now(), Accounts::now(&desk));
        std::thread::sleep(Duration::from_secs(4));
        let (after, used) = (state(), Accounts::now(&desk).since(&used));
        let seconds = began.elapsed().as_secs_f64();
        let [count, sum] = [after[0] - before[0], after[1] - before[1]];
        let (mean, truth) = (sum / count * cpus, used.cpu_ns as f64 / 1e9 / seconds);
        eprintln!("{count} observations of {mean} CPUs, where it used {truth} for {seconds} s");
        (count - seconds).abs() <= 1.5 && (mean - truth).abs() <= 0.1
    });
    assert!(agrees, "no window of {WINDOWS} is as the kernel has it");
}
