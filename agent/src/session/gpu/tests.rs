use super::*;
use crate::gpu::model::{Identity, Memory, ProcessUse, Readings};

/// Sessions of processes, by hand.
#[derive(Default)]
struct Scripted {
    processes: HashMap<u32, Option<Serial>>,
    gpus: BTreeMap<Serial, Gpu>,
}

impl Sessions for Scripted {
    fn of_process(&self, pid: u32) -> Result<Option<Serial>, Unknown> {
        self.processes.get(&pid).copied().ok_or(Unknown)
    }
    fn gpu(&mut self, session: Serial) -> Option<&mut Gpu> {
        self.gpus.get_mut(&session)
    }
    fn all(&mut self) -> impl Iterator<Item = (Serial, &mut Gpu)> {
        self.gpus.iter_mut().map(|(serial, gpu)| (*serial, gpu))
    }
}

/// Session 1 with processes 11 and 12, session 2 with 21, and 31 outside.
fn scripted() -> Scripted {
    Scripted {
        processes: HashMap::from([(11, Some(1)), (12, Some(1)), (21, Some(2)), (31, None)]),
        gpus: BTreeMap::from([(1, Gpu::default()), (2, Gpu::default())]),
    }
}

fn used(pid: u32, percent: u64) -> ProcessUse {
    ProcessUse {
        pid,
        busy_ns: [percent * 10_000_000, 0, 0, 0],
        share: [percent * WHOLE / 100, 0, 0, 0],
        first_us: 0,
    }
}

fn context(pid: u32, memory: Option<u64>) -> Context {
    Context {
        pid,
        memory,
        gpu_instance: None,
        mps: false,
    }
}

fn client(pid: u32, memory: Option<u64>) -> Context {
    Context {
        mps: true,
        ..context(pid, memory)
    }
}

fn device(usage: Usage, contexts: Vec<Context>) -> Device {
    Device {
        identity: Identity {
            pci_address: "0000:3b:00.0".to_owned(),
            ..Identity::default()
        }
        .into(),
        readings: Readings {
            utilization: [Some(0.9), None, None, None],
            memory: Some(Memory {
                total: 1000,
                used: 600,
                reserved: None,
            }),
            ..Readings::default()
        },
        contexts: Some(contexts),
        usage_supported: Some(true),
        usage: Some(usage),
        ..Device::default()
    }
}

fn report(device: Device) -> Report {
    Report {
        taken: Instant::now(),
        at: SystemTime::now(),
        driver_version: "1".into(),
        devices: vec![device],
        xids: Vec::new(),
    }
}

fn usage(processes: Vec<ProcessUse>) -> Usage {
    Usage {
        processes,
        pending: Vec::new(),
    }
}

#[test]
fn sessions_and_remainder_are_the_device() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let processes = vec![used(11, 20), used(12, 10), used(21, 40), used(31, 5)];
    let contexts = vec![
        context(11, Some(100)),
        context(12, Some(50)),
        context(21, Some(200)),
        context(31, Some(70)),
    ];
    join.take(&report(device(usage(processes), contexts)), &mut sessions);
    let on_device = |serial| &sessions.gpus[&serial].devices[&0];
    assert_eq!(on_device(1).busy_ns[0], 300_000_000);
    assert_eq!(on_device(1).utilization[0].sum_ns, 300_000_000);
    assert_eq!(on_device(1).utilization[0].count(), 1);
    assert_eq!(on_device(1).now.memory, BTreeMap::from([(None, Some(150))]));
    assert_eq!(on_device(2).busy_ns[0], 400_000_000);
    let remainder = join.remainders()[&0];
    assert_eq!(remainder.memory, Some(600 - 150 - 200));
    assert!((remainder.share[0].unwrap() - 0.2).abs() < 1e-9);
    assert_eq!(remainder.busy_ns[0], 50_000_000);
}

#[test]
fn a_device_that_several_share_and_that_has_nothing_left_is_full_for_each_of_them() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let mut round = |processes: Vec<u32>, busy: f64| {
        let contexts = processes
            .iter()
            .map(|pid| context(*pid, Some(10)))
            .collect();
        let used = processes.iter().map(|pid| used(*pid, 40)).collect();
        let mut device = device(usage(used), contexts);
        device.readings.utilization[0] = Some(busy);
        join.take(&report(device), &mut sessions);
        std::thread::sleep(Duration::from_millis(2));
        [1, 2].map(|session| {
            let gpu = &sessions.gpus[&session];
            gpu.devices.get(&0).map_or(0, |device| device.full_ns)
        })
    };
    // Nobody knows since when.
    assert_eq!(round(vec![11, 21], 0.99), [0, 0]);
    let [one, other] = round(vec![11, 21], 0.99);
    assert!(one >= 1_000_000 && one == other, "{one} ns, {other} ns");
    // It has time left, and then it is one session's alone.
    assert_eq!(round(vec![11, 21], 0.94), [one, other]);
    assert_eq!(round(vec![11, 12], 0.99), [one, other]);
}

#[test]
fn a_process_is_remembered_past_its_death() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let alive = device(usage(vec![used(11, 20)]), vec![context(11, Some(100))]);
    join.take(&report(alive), &mut sessions);
    sessions.processes.remove(&11);
    join.take(
        &report(device(usage(vec![used(11, 20)]), vec![])),
        &mut sessions,
    );
    assert_eq!(sessions.gpus[&1].devices[&0].busy_ns[0], 400_000_000);
    // Of a process that nobody has ever known, only the device can tell.
    join.take(
        &report(device(usage(vec![used(99, 20)]), vec![])),
        &mut sessions,
    );
    assert_eq!(join.remainders()[&0].busy_ns[0], 200_000_000);
}

#[test]
fn an_idle_context_is_observed_as_zero_and_a_pending_one_not_at_all() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let contexts = || vec![context(11, None), context(21, None)];
    let pending = Usage {
        processes: vec![used(11, 50)],
        pending: vec![12],
    };
    join.take(&report(device(pending, contexts())), &mut sessions);
    let utilization =
        |sessions: &Scripted, serial| sessions.gpus[&serial].devices[&0].utilization[0];
    assert_eq!(utilization(&sessions, 1).count(), 0);
    assert_eq!(utilization(&sessions, 2).buckets[0], 1);
    join.take(&report(device(Usage::default(), contexts())), &mut sessions);
    assert_eq!(utilization(&sessions, 1).buckets[0], 1);
    assert_eq!(utilization(&sessions, 2).buckets[0], 2);
}

#[test]
fn what_one_process_hides_is_not_known_of_its_session_nor_of_the_remainder() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let contexts = vec![
        context(11, Some(100)),
        context(12, None),
        context(21, Some(1)),
    ];
    join.take(&report(device(Usage::default(), contexts)), &mut sessions);
    let memory = |serial| sessions.gpus[&serial].devices[&0].now.memory[&None];
    assert_eq!((memory(1), memory(2)), (None, Some(1)));
    assert_eq!(join.remainders()[&0].memory, None);
}

#[test]
fn a_device_without_accounts_by_process_has_no_remainder() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let mig = Device {
        usage_supported: Some(false),
        usage: None,
        ..device(Usage::default(), vec![context(11, Some(100))])
    };
    join.take(&report(mig), &mut sessions);
    assert_eq!(join.remainders()[&0].share, [None; 4]);
    assert_eq!(join.remainders()[&0].memory, Some(500));
    let on_device = &sessions.gpus[&1].devices[&0];
    assert_eq!(
        (on_device.now.share, on_device.utilization[0].count()),
        (None, 0)
    );
}

#[test]
fn without_an_answer_about_the_processes_there_is_no_remainder() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let silent = Device {
        usage: None,
        contexts: None,
        ..device(Usage::default(), Vec::new())
    };
    join.take(&report(silent), &mut sessions);
    let remainder = join.remainders()[&0];
    assert_eq!((remainder.share, remainder.memory), ([None; 4], None));
}

#[test]
fn a_device_that_has_vanished_is_used_no_more() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let there = device(usage(vec![used(11, 50)]), vec![context(11, Some(100))]);
    join.take(&report(there.clone()), &mut sessions);
    let none = Report {
        devices: Vec::new(),
        ..report(there)
    };
    join.take(&none, &mut sessions);
    let on_device = &sessions.gpus[&1].devices[&0];
    assert_eq!(on_device.now, Now::default());
    assert_eq!(on_device.busy_ns[0], 500_000_000);
}

#[test]
fn what_clients_of_the_multi_process_service_use_is_not_known() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    // 31 is the server, outside of both sessions.
    let contexts = vec![client(11, Some(100)), client(21, Some(200))];
    let device = device(usage(vec![used(31, 60)]), contexts);
    join.take(&report(device), &mut sessions);
    for (serial, memory) in [(1, 100), (2, 200)] {
        let on_device = &sessions.gpus[&serial].devices[&0];
        assert_eq!(on_device.now.share, None);
        assert_eq!(on_device.now.memory[&None], Some(memory));
        assert_eq!(on_device.utilization[0].count(), 0);
    }
    let share = join.remainders()[&0].share[0].unwrap();
    assert!((share - 0.9).abs() < 1e-9, "{share}");
}

#[test]
fn a_session_with_a_server_of_its_own_is_known_by_the_server() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let contexts = vec![context(11, Some(10)), client(12, Some(100))];
    let device = device(usage(vec![used(11, 60)]), contexts);
    join.take(&report(device), &mut sessions);
    let on_device = &sessions.gpus[&1].devices[&0];
    assert_eq!(on_device.utilization[0].count(), 1);
    assert_eq!(on_device.busy_ns[0], 600_000_000);
}

#[test]
fn an_xid_goes_to_its_device_and_to_the_session_of_the_process_that_is_blamed() {
    let (mut join, mut sessions) = (Join::default(), scripted());
    let pci = "0000:3b:00.0".to_owned();
    let error = |code| XidError {
        pci: pci.clone(),
        code,
        message: String::new(),
    };
    let blame = |pid| Blame {
        pci: pci.clone(),
        code: 31,
        pid,
        command: String::new(),
    };
    let at = SystemTime::now();
    join.xid(&error(79), at);
    join.take(&report(device(Usage::default(), vec![])), &mut sessions);
    join.xid(&error(31), at);
    join.xid(&error(31), at);
    let now = Instant::now();
    assert_eq!(join.blame(&blame(21), now, &mut sessions), Some(2));
    assert_eq!(join.blame(&blame(31), now, &mut sessions), None);
    let label = |gpu: &str, xid| (gpu.to_owned(), xid);
    assert_eq!(join.xids()[&label("0000:3b:00.0", 79)].count, 1);
    assert_eq!(join.xids()[&label("0", 31)].count, 2);
    assert_eq!(
        sessions.gpus[&2].xids,
        BTreeMap::from([(label("0", 31), 1)])
    );
    assert!(sessions.gpus[&1].xids.is_empty());
}
