//! Trees of files as the kernel has them.

use super::*;

/// A hierarchy with the cgroup `pod/container`.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("pod/container")).unwrap();
    for (path, content) in files {
        fs::write(root.path().join(path), content).unwrap();
    }
    root
}

fn read(root: &tempfile::TempDir) -> Option<CgroupAccounts> {
    CgroupAccounts::read(root.path(), &root.path().join("pod/container"))
}

#[test]
fn a_cgroup_with_all_controllers_is_read_in_full() {
    let psi = "some avg10=1.00 avg60=0.50 avg300=0.10 total=700\nfull avg10=0 avg60=0 avg300=0 total=30\n";
    let root = tree(&[
        (
            "pod/container/cpu.stat",
            "usage_usec 9\nnr_periods 90\nnr_throttled 8\nthrottled_usec 42\n",
        ),
        ("pod/container/cpu.max", "max 100000\n"),
        ("pod/cpu.max", "150000 100000\n"),
        ("pod/cpu.stat", "usage_usec 9\nthrottled_usec 7\n"),
        ("pod/container/memory.current", "4096\n"),
        ("pod/container/memory.swap.current", "8192\n"),
        (
            "pod/container/memory.events",
            "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
        ),
        ("pod/container/memory.max", "1000000\n"),
        ("pod/memory.max", "900000\n"),
        (
            "pod/container/memory.stat",
            "anon 1000\nfile 2000\nanon_thp 5\n",
        ),
        ("pod/container/memory.pressure", psi),
        (
            "pod/container/cpu.pressure",
            "some avg10=0 avg60=0 avg300=0 total=5\n",
        ),
        ("pod/container/io.stat", ""),
    ]);
    let accounts = read(&root).unwrap();
    let memory = accounts.memory.unwrap();
    assert_eq!(
        (memory.current, memory.anon, memory.file),
        (4096, 1000, 2000)
    );
    assert_eq!(memory.limit, Some(900_000));
    assert_eq!(memory.swap, Some(8192));
    let events = MemoryEvents { high: 2, max: 3 };
    assert_eq!(accounts.memory_events, Some(events));
    let periods = Periods {
        all: 90,
        throttled: 8,
    };
    assert_eq!(accounts.periods, Some(periods));
    let throttled = accounts.throttled;
    assert_eq!(throttled.own_us, Some(42));
    assert_eq!(throttled.by_those_above(), Some(7));
    assert_eq!(accounts.cpu_limit, Some(1.5));
    let Pressures { cpu, memory, io } = accounts.pressure;
    assert_eq!(
        memory,
        Some(Pressure {
            some_us: 700,
            full_us: Some(30)
        })
    );
    assert_eq!(
        cpu,
        Some(Pressure {
            some_us: 5,
            full_us: None
        })
    );
    assert_eq!(io, None);
    assert!(accounts.has_io);
}

#[test]
fn limits_of_a_sessions_containers_are_its_own_and_those_above_are_not() {
    let root = tree(&[
        ("pod/cpu.stat", "throttled_usec 100\n"),
        ("pod/cgroup.subtree_control", "cpu memory\n"),
        ("pod/container/cpu.stat", "throttled_usec 20\n"),
        ("cpu.stat", "throttled_usec 5000\n"),
    ]);
    let pod = || CgroupAccounts::read(root.path(), &root.path().join("pod")).unwrap();
    let both = |throttled: Throttled| (throttled.own_us, throttled.by_those_above());
    assert_eq!(both(pod().throttled), (Some(120), None));
    let container = || both(read(&root).unwrap().throttled);
    // The pod has had a limit.
    assert_eq!(container(), (Some(20), Some(100)));
    fs::write(root.path().join("pod/cpu.stat"), "throttled_usec 0\n").unwrap();
    assert_eq!(container(), (Some(20), None));
    fs::write(root.path().join("pod/cpu.max"), "5000 100000\n").unwrap();
    assert_eq!(container(), (Some(20), Some(0)));
    // A session without the controller is held back by a limit above as well.
    fs::write(root.path().join("pod/container/cpu.stat"), "usage_usec 1\n").unwrap();
    assert_eq!(container(), (None, Some(0)));
    // Without the controller below, nobody looks for containers.
    fs::write(root.path().join("pod/cgroup.subtree_control"), "memory\n").unwrap();
    assert_eq!(both(pod().throttled), (Some(0), None));
}

#[test]
fn without_controllers_nothing_is_known_and_nothing_is_zero() {
    let root = tree(&[("pod/container/cpu.stat", "usage_usec 9\n")]);
    assert_eq!(read(&root), Some(CgroupAccounts::default()));
}

#[test]
fn a_cgroup_that_is_gone_has_no_accounts() {
    assert_eq!(read(&tree(&[])), None);
}

#[test]
fn periods_are_of_limits_of_the_session_and_of_its_containers_alone() {
    let stat = |periods, throttled| {
        format!("nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 1\n")
    };
    let root = tree(&[
        ("cpu.stat", &stat(900, 800)),
        ("cpu.max", "1000 100000\n"),
        ("pod/cpu.stat", &stat(0, 0)),
        ("pod/cpu.max", "max 100000\n"),
        ("pod/cgroup.subtree_control", "cpu\n"),
        ("pod/container/cpu.stat", &stat(0, 0)),
    ]);
    let periods = || {
        let pod = CgroupAccounts::read(root.path(), &root.path().join("pod"));
        pod.unwrap().periods.map(|p| (p.all, p.throttled))
    };
    assert_eq!(periods(), None);
    let container = root.path().join("pod/container/cpu.stat");
    fs::write(container, stat(20, 5)).unwrap();
    assert_eq!(periods(), Some((20, 5)));
    fs::write(root.path().join("pod/cpu.stat"), stat(7, 1)).unwrap();
    assert_eq!(periods(), Some((27, 6)));
    // A limit that has not been of any consequence yet.
    fs::write(root.path().join("pod/cgroup.subtree_control"), "").unwrap();
    fs::write(root.path().join("pod/cpu.stat"), stat(0, 0)).unwrap();
    fs::write(root.path().join("pod/cpu.max"), "5000 100000\n").unwrap();
    assert_eq!(periods(), Some((0, 0)));
    // Without CFS bandwidth control the file has none.
    fs::write(root.path().join("pod/cpu.stat"), "throttled_usec 3\n").unwrap();
    assert_eq!(periods(), None);
}

#[test]
fn forks_are_refused_by_a_limit_of_the_sessions_own() {
    let root = tree(&[
        ("pod/container/cpu.stat", "usage_usec 9\n"),
        ("pod/container/pids.max", "max\n"),
        ("pod/container/pids.events", "max 4\n"),
        ("pod/pids.max", "300\n"),
    ]);
    let processes = || {
        let processes = read(&root).unwrap().processes;
        (processes.most, processes.refused_forks)
    };
    // What a limit above refuses is counted there, or on older kernels by others as well.
    assert_eq!(processes(), (Some(300), None));
    fs::write(root.path().join("pod/container/pids.max"), "400\n").unwrap();
    assert_eq!(processes(), (Some(300), Some(4)));
    fs::remove_file(root.path().join("pod/pids.max")).unwrap();
    assert_eq!(processes(), (Some(400), Some(4)));
    fs::remove_file(root.path().join("pod/container/pids.events")).unwrap();
    assert_eq!(processes(), (Some(400), None));
}

#[test]
fn cgroups_below_are_asked_for_refused_forks_where_the_kernel_counts_in_each() {
    let root = tree(&[
        ("pod/cpu.stat", "usage_usec 9\n"),
        ("pod/pids.max", "50\n"),
        ("pod/pids.events", "max 1\n"),
        ("pod/cgroup.subtree_control", "memory pids\n"),
        ("pod/container/pids.events", "max 20\n"),
        ("pod/container/cgroup.subtree_control", "pids\n"),
    ]);
    let pod = root.path().join("pod");
    fs::create_dir(pod.join("container/init")).unwrap();
    fs::write(pod.join("container/init/pids.events"), "max 300\n").unwrap();
    let refused = || {
        let accounts = CgroupAccounts::read(root.path(), &pod).unwrap();
        accounts.processes.refused_forks
    };
    assert_eq!(refused(), Some(321));
    // Since 6.11 the first of them has it all.
    let local = pod.join("pids.events.local");
    fs::write(&local, "max 0\n").unwrap();
    assert_eq!(refused(), Some(1));
    fs::remove_file(local).unwrap();
    // More than are asked: what the others had is not known.
    for number in 2..=CONTAINERS {
        fs::create_dir(pod.join(format!("container/{number}"))).unwrap();
        let known = (number < CONTAINERS).then_some(321);
        assert_eq!(refused(), known, "{number}");
    }
}

#[test]
fn of_two_cgroups_a_limit_of_one_is_none_of_both() {
    let limited = CgroupAccounts {
        memory_events: Some(MemoryEvents { high: 1, max: 10 }),
        periods: Some(Periods {
            all: 5,
            throttled: 2,
        }),
        processes: ProcessLimit {
            most: Some(100),
            refused_forks: Some(7),
        },
        ..CgroupAccounts::default()
    };
    let both = limited.with(limited);
    let events = MemoryEvents { high: 2, max: 20 };
    assert_eq!(both.memory_events, Some(events));
    assert_eq!(both.processes.most, Some(200));
    assert_eq!(both.processes.refused_forks, Some(14));
    let with_free = limited.with(CgroupAccounts::default());
    assert_eq!(with_free.processes, ProcessLimit::default());
    assert_eq!(with_free.memory_events, None);
    // The other one has no periods, whatever it does.
    assert_eq!(with_free.periods, limited.periods);
}

#[test]
fn two_cgroups_add_up_and_counters_never_decrease() {
    let one = |current, throttled, some_us| CgroupAccounts {
        memory: Some(Memory {
            current,
            limit: Some(10),
            anon: 1,
            file: 2,
            swap: Some(3),
        }),
        throttled: Throttled {
            own_us: Some(throttled),
            above_us: Some(throttled),
            is_limited_above: true,
        },
        pressure: Pressures {
            io: Some(Pressure {
                some_us,
                full_us: Some(some_us),
            }),
            ..Pressures::default()
        },
        ..CgroupAccounts::default()
    };
    let both = one(5, 7, 100).with(one(6, 1, 40));
    let memory = both.memory.unwrap();
    assert_eq!((memory.current, memory.limit), (11, Some(20)));
    assert_eq!(memory.swap, Some(6));
    let throttled = |of: CgroupAccounts| (of.throttled.own_us, of.throttled.above_us);
    // What is above them may be the same.
    assert_eq!(throttled(both), (Some(8), Some(7)));
    assert_eq!(both.pressure.io.unwrap().some_us, 100);
    let later = one(5, 7, 90).not_below(&both);
    assert_eq!(later.pressure.io.unwrap().full_us, Some(100));
    assert_eq!(later.memory.unwrap().current, 5);
}
