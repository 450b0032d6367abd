//! The sessions of the snapshot: one of which everything is known, one of which little is, and one that has ended.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agent_common::{
    block::{BlockStats, OperationStats},
    histogram::Histogram,
    memory::MemoryStats,
    net::{Traffic, UdpStats, UnknownSideStats},
    process::ProcessStats,
    sched::SchedStats,
};

use super::{MS, S, after_epoch, long_observed, observed};
use crate::{
    discover::platform::{EndReason, Facts, Source},
    gpu::model::Codec,
    kernel::{
        Census, ThreadStates,
        accounts::{
            CgroupAccounts, Memory, MemoryEvents, Periods, Pressure, Pressures, ProcessLimit,
            Throttled,
        },
    },
    session::{
        budget::Resource,
        experience::{Experience, Looked, Unresponsive},
        gpu::{DeviceUse, Gpu, Now, Streams},
        model::{Counts, Logoff, Milestone},
        net::{Net, TcpSide},
        phase::Phase,
        presence::{Absences, Presence},
    },
    snapshot::SessionView,
    telemetry::session_id,
};

/// What a module closed to this one has a type for: the identity of a session.
fn empty<T: Default>() -> T {
    T::default()
}

fn session(names: [&str; 3], cgroup: &str, phase: Option<Phase>, counts: Counts) -> SessionView {
    let mut session = SessionView {
        id: session_id(cgroup, 0),
        trace: None,
        identity: empty(),
        cgroup: cgroup.to_owned(),
        roots: Vec::new(),
        phase,
        phase_since: None,
        started: None,
        adopted: SystemTime::UNIX_EPOCH,
        made: None,
        ended: None,
        end_reason: None,
        idle_for: None,
        startup: BTreeMap::new(),
        logon: BTreeMap::new(),
        logoff: Logoff::default(),
        counts,
        recent: None,
        history: None,
        preempted_by: Vec::new(),
        platform: None,
    };
    let identity = &mut session.identity;
    let names = names.map(ToOwned::to_owned);
    [identity.session, identity.namespace, identity.template] = names;
    session
}

/// A session of which everything is known.
pub(super) fn desktop() -> SessionView {
    let counts = Counts {
        sched: SchedStats {
            runqueue_wait: observed([(201, 2 * MS), (202, 50 * MS)]),
            cpu_ns: 203 * S,
            major_faults: 204,
            voluntary_switches: 205,
            waited_ns: [5 * S, 3_259 * MS, 2_260 * MS, 502 * MS],
            yields: 206,
            throttles: 258,
            preempted_by_self: 207,
            preempted_by_session: 208,
            preempted_by_system: 209,
        },
        process: ProcessStats {
            forks: 210,
            execs: 211,
            exits_success: 212,
            exits_error: 213,
            exits_signal: 214,
            exits_oom_killed: 215,
            threads_started: 216,
            threads_ended: 217,
            processes_entered: 218,
            processes_left: 219,
            moved_cpu_ns: 220 * S,
            last_exit: 0,
        },
        census: Some(Census {
            processes: 221,
            threads: 222,
            by_state: Some(ThreadStates {
                runnable: 561,
                uninterruptible: 562,
            }),
        }),
        cpu_ns: 223_250 * MS,
        net: Some(net()),
        block: Some(BlockStats {
            operations: [
                OperationStats {
                    latency: observed([(42, MS), (43, 20 * MS)]),
                    bytes: 247_007,
                },
                OperationStats {
                    latency: observed([(44, 2 * MS), (45, 40 * MS)]),
                    bytes: 248_008,
                },
            ],
        }),
        memory: Some(MemoryStats {
            reclaim_stall: observed([(46, MS), (47, 500 * MS)]),
        }),
        experience: Some(Experience {
            application_delay: observed([(50, MS), (51, 300 * MS)]),
            server_delay: observed([(52, MS), (53, 700 * MS)]),
            response: observed([(54, 20 * MS), (55, 100 * MS)]),
            unanswered: 298,
            unresponsive: Some(vec![
                Unresponsive {
                    process: 1,
                    unread_for: Duration::from_secs(6),
                    standing: None,
                    why: None,
                };
                7
            ]),
            unresponsive_for: Duration::from_millis(299_500),
            begun: None,
            looked: Looked::default(),
        }),
        accounts: Some(accounts()),
        gpu: gpu_use(),
        exceeded: [
            (Resource::Sessions, 293),
            (Resource::LogLines, 294),
            (Resource::Cgroups, 295),
            (Resource::Connections, 296),
            (Resource::InputSockets, 297),
        ]
        .into(),
        ..Counts::default()
    };
    let names = ["desktop", "studio", "blender"];
    let mut session = session(names, "/pods/desktop", Some(Phase::Idle), counts);
    session.counts.utilization.histogram = observed([(48, S / 5), (49, S * 9 / 10)]);
    let identity = &mut session.identity;
    identity.runtime = Some("containerd".to_owned());
    identity.rule = "pods".to_owned();
    identity.pod = Some("3f9a".to_owned());
    identity.container = Some("c0ffee".to_owned());
    identity.machine = Some("qemu-3".to_owned());
    identity.user = Some("ada".to_owned());
    identity.source = Some(Source::Kubernetes);
    session.started = Some(after_epoch(1_700_000_297_500));
    session.phase_since = Some(after_epoch(1_700_000_298_500));
    session.idle_for = Some(Duration::from_secs(299));
    session.startup = [(Milestone::FirstClient, Duration::from_secs(302))].into();
    session.platform = Some(Arc::new(Facts {
        created: Some(after_epoch(1_700_000_201_500)),
        scheduled: Some(after_epoch(1_700_000_202_500)),
        details: [
            ("image", "blender:4".to_owned()),
            ("pod", "desktop-0".to_owned()),
        ]
        .into(),
        ..Facts::default()
    }));
    session
}

fn net() -> Net {
    let inbound = TcpSide {
        opened: 224,
        connect_failures: 225,
        resets: 226,
        traffic: Traffic {
            sent_bytes: 227_001,
            received_bytes: 228_002,
            retransmits: 229,
            segments: 1_307_229,
        },
        connections: Some(230),
        min_rtt_us: Some(575_000),
        unsent_bytes: Some(576_000),
        rtt: observed([(31, 10 * MS), (32, 200 * MS)]),
        connect: observed([(33, 3 * MS), (33, 4 * MS)]),
        duration: long_observed([(34, 30 * S), (35, 2_000 * S)]),
    };
    let outbound = TcpSide {
        opened: 231,
        connect_failures: 232,
        resets: 233,
        traffic: Traffic {
            sent_bytes: 234_003,
            received_bytes: 235_004,
            retransmits: 236,
            segments: 1_308_236,
        },
        connections: Some(237),
        min_rtt_us: Some(577_000),
        unsent_bytes: Some(578_000),
        rtt: observed([(36, 12 * MS), (37, 220 * MS)]),
        connect: observed([(38, MS), (39, 200 * MS)]),
        duration: long_observed([(40, 40 * S), (41, 3_000 * S)]),
    };
    let transmit = UdpStats {
        datagrams: 241,
        bytes: 242_005,
        drops: 243,
    };
    let receive = UdpStats {
        datagrams: 244,
        bytes: 245_006,
        drops: 246,
    };
    Net {
        tcp: [inbound, outbound],
        unknown: UnknownSideStats {
            resets: 247,
            closed: Traffic {
                sent_bytes: 248_000_000,
                received_bytes: 249_000_000,
                retransmits: 257,
                segments: 1_309_257,
            },
        },
        clients: Some(583),
        client_bytes: 580,
        presence: Presence {
            ended: [1_301, 1_302, 1_303, 1_304],
            absences: Some(Absences {
                reconnects: 1_305,
                lasted_ns: 1_306_250 * MS,
                since_ns: None,
            }),
            ..Presence::default()
        },
        counts_segments: true,
        udp: Some([transmit, receive]),
    }
}

fn accounts() -> CgroupAccounts {
    let pressure = |some_ms: u64, full_ms: u64| {
        Some(Pressure {
            some_us: some_ms * 1_000,
            full_us: Some(full_ms * 1_000),
        })
    };
    CgroupAccounts {
        memory: Some(Memory {
            current: 251_000_001,
            limit: Some(252_000_002),
            anon: 253_000_003,
            file: 254_000_004,
            swap: Some(1_401_000_005),
        }),
        memory_events: Some(MemoryEvents {
            high: 1_402,
            max: 1_403,
        }),
        throttled: Throttled {
            own_us: Some(255_500_000),
            above_us: Some(277_500_000),
            is_limited_above: true,
        },
        periods: Some(Periods {
            all: 1_404,
            throttled: 1_405,
        }),
        cpu_limit: Some(256.5),
        processes: ProcessLimit {
            most: Some(1_406),
            refused_forks: Some(1_407),
        },
        pressure: Pressures {
            cpu: pressure(257_250, 258_250),
            memory: pressure(259_250, 260_250),
            io: pressure(261_250, 262_250),
        },
        has_io: true,
    }
}

/// On two GPUs, of which one says only how busy it was and how much memory two of its instances have.
fn gpu_use() -> Gpu {
    let cut = DeviceUse {
        busy_ns: [287_500 * MS, 288_500 * MS, 0, 0],
        full_ns: 581,
        utilization: Box::new([
            observed([(59, S / 50), (60, S / 2)]),
            observed([(61, S / 100), (62, S * 2 / 5)]),
            Histogram::default(),
            Histogram::default(),
        ]),
        now: Now {
            // Of one process on the other instance the driver cannot tell.
            memory: [(Some(5), Some(289_000_006)), (Some(7), None)].into(),
            ..Now::default()
        },
    };
    Gpu {
        devices: [(3, whole_gpu_use()), (8, cut)].into(),
        xids: [(("3".to_owned(), 79), 291), (("8".to_owned(), 31), 292)].into(),
        first_context_ns: 0,
        first_encoder_ns: 0,
    }
}

fn whole_gpu_use() -> DeviceUse {
    let streams = |[count, fps, latency_us, width, height]: [u32; 5]| Streams {
        count,
        fps,
        latency_us,
        width,
        height,
    };
    DeviceUse {
        busy_ns: [263_500 * MS, 264_500 * MS, 265_500 * MS, 266_500 * MS],
        full_ns: 582,
        utilization: Box::new([
            observed([(51, S * 3 / 100), (52, S * 6 / 10)]),
            observed([(53, S * 4 / 100), (54, S * 7 / 10)]),
            observed([(55, S * 5 / 100), (56, S * 8 / 10)]),
            observed([(57, S * 6 / 100), (58, S * 9 / 10)]),
        ]),
        now: Now {
            share: Some([267 * MS, 268 * MS, 269 * MS, 270 * MS]),
            memory: [(None, Some(271_000_005))].into(),
            encoders: [
                (Codec::H264, streams([272, 273, 274_000, 275, 276])),
                (Codec::Hevc, streams([277, 278, 279_000, 280, 281])),
            ]
            .into(),
            captures: Some(streams([282, 283, 284_000, 285, 286])),
        },
    }
}

/// A session of which only what every session has is known.
pub(super) fn terminal() -> SessionView {
    let counts = Counts {
        sched: SchedStats {
            runqueue_wait: observed([(21, MS), (22, 30 * MS)]),
            cpu_ns: 1_101 * S,
            major_faults: 1_102,
            voluntary_switches: 1_103,
            waited_ns: [480 * MS, 203 * MS, 0, 0],
            yields: 0,
            throttles: 0,
            preempted_by_self: 1_105,
            preempted_by_session: 1_106,
            preempted_by_system: 1_107,
        },
        process: ProcessStats {
            forks: 1_108,
            execs: 1_109,
            ..ProcessStats::default()
        },
        census: Some(Census {
            processes: 1_111,
            threads: 1_112,
            by_state: None,
        }),
        cpu_ns: 1_113_500 * MS,
        ..Counts::default()
    };
    let names = ["terminal", "lab", "shell"];
    let mut session = session(names, "/logins/terminal", Some(Phase::Running), counts);
    session.started = Some(after_epoch(1_700_001_113_500));
    session
}

/// A session that has ended and never ran anything.
pub(super) fn departed() -> SessionView {
    let names = ["departed", "studio", "blender"];
    let mut session = session(names, "/pods/departed", None, Counts::default());
    session.started = Some(after_epoch(1_600_000_000_500));
    session.ended = Some(after_epoch(1_600_009_999_500));
    session.end_reason = Some(EndReason::Evicted);
    session
}
