//! One snapshot in which every number that a family reads is there once, so that a family that reads another's field
//! shows a value that is not its own.
//!
//! Some fields that no family reads, or only of the other side, have a number too: whoever reads them is found by it.

mod gpus;
mod sessions;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use agent_common::histogram::{Histogram, bucket_of, long_bucket_of};

use crate::{
    discover::{
        directory::{Peer, Status},
        platform::{EndReason, ErrorType, ReconcileResult, Reconciles, Source},
    },
    kernel::{
        FilledMap,
        object::TaskStore,
        programs::{OffCode, ProgramStatus, name},
        ring::EventKind,
    },
    metrics::{
        family::Dropped,
        http::{Answers, AuthMethod, AuthReason, Cache, Http, Lookups, Method, Path, Sizes},
    },
    session::{
        audit::Account, ended::Ended, logon::LogonPhase, model::Milestone, past::Pasts,
        registry::Admission,
    },
    snapshot::{AgentView, Reloads, Snapshot, SpanCounts, TraceView},
    telemetry::AuditLines,
};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// Seconds since the sample was made.
const SAMPLE_AGE: u64 = 40_000;

/// So many observations of each length, nanoseconds; of a ratio, billionths.
fn observed(observations: [(u64, u64); 2]) -> Histogram {
    in_buckets(observations, bucket_of)
}

/// The same in a long histogram.
fn long_observed(observations: [(u64, u64); 2]) -> Histogram {
    in_buckets(observations, long_bucket_of)
}

fn in_buckets(observations: [(u64, u64); 2], bucket_of: fn(u64) -> usize) -> Histogram {
    let mut histogram = Histogram::default();
    for (count, ns) in observations {
        histogram.buckets[bucket_of(ns)] += count;
        histogram.sum_ns += count * ns;
    }
    histogram
}

fn after_epoch(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// The state of an agent of which everything is known.
pub(super) fn snapshot() -> Snapshot {
    let now = Instant::now();
    Snapshot {
        ended_unseen: Vec::new(),
        pasts: Pasts::default(),
        taken: now.checked_sub(Duration::from_secs(SAMPLE_AGE)).unwrap(),
        sessions: vec![
            sessions::desktop(),
            sessions::terminal(),
            sessions::departed(),
        ],
        programs: programs(),
        gpu: gpus::gpus(now),
        agent: agent(),
    }
}

/// What expositions have left out so far.
pub(super) fn dropped() -> Dropped {
    [
        ("vdi_session_memory_bytes", 481),
        ("vdi_session_pressure_seconds_total", 482),
    ]
    .map(|(family, series)| (family.to_owned(), series))
    .into()
}

/// How long scrapes took.
pub(super) fn scrapes() -> Histogram {
    observed([(91, MS), (92, 650 * MS)])
}

/// What has been asked over HTTP.
pub(super) fn http() -> Http {
    let sizes = |observations: [(u64, u64); 2]| {
        let mut sizes = Sizes::default();
        for (count, bytes) in observations {
            (0..count).for_each(|_| sizes.add(bytes));
        }
        sizes
    };
    let answers = Answers {
        took: observed([(95, MS), (96, 700 * MS)]),
        requests: sizes([(97, 700), (98, 20_000)]),
        bodies: sizes([(99, 900), (101, 300_000)]),
    };
    Http {
        requests: [
            ((Method::Get, Path::Metrics, 200), 501),
            ((Method::Other, Path::Other, 431), 502),
        ]
        .into(),
        answers: [((Method::Get, Path::Metrics), answers)].into(),
        connections: 503,
        handshakes_failed: 507,
        attempts: [(AuthMethod::Basic, 508), (AuthMethod::Bearer, 509)].into(),
        failures: [
            ((AuthMethod::Basic, AuthReason::Invalid), 510),
            ((AuthMethod::None, AuthReason::Missing), 511),
        ]
        .into(),
        expiries: [("/etc/tls.crt".to_owned(), after_epoch(512_500))].into(),
        reloads: BTreeMap::new(),
        caches: [
            (
                Cache::Renderings,
                Lookups {
                    hits: 519,
                    misses: 520,
                    entries: 521,
                },
            ),
            (
                Cache::Passwords,
                Lookups {
                    hits: 522,
                    misses: 523,
                    entries: 524,
                },
            ),
        ]
        .into(),
    }
}

/// Those that a family is from run, so that every family is there; one besides does not.
fn programs() -> Vec<ProgramStatus> {
    let running = [
        name::SCHED_SWITCH,
        name::SCHED_WAKEUP_NEW,
        name::SCHED_PROCESS_EXEC,
        name::SCHED_PROCESS_EXIT,
        name::CENSUS,
        name::CGROUP_MKDIR,
        name::INET_SOCK_SET_STATE,
        name::CONNECTIONS,
        name::TCP_RECEIVE_RESET,
        name::SOCK_SEND_LENGTH,
        name::UDP_FAIL_QUEUE_RCV_SKB,
        name::SK_DATA_READY,
        name::CLIENT_CONNECTS,
        name::MARKED_SOCKETS,
        name::BLOCK_RQ_COMPLETE,
        name::CGROUP_RECLAIM_END,
    ];
    let status = |name| ProgramStatus {
        name,
        required: true,
        stands_in_for: None,
        up: true,
        code: None,
        reason: None,
        missed: None,
        verified_instructions: None,
        runs: None,
        seconds: None,
    };
    let mut programs: Vec<ProgramStatus> = running.map(status).into();
    let switch = &mut programs[0];
    switch.verified_instructions = Some(404);
    (switch.missed, switch.runs, switch.seconds) = (Some(401), Some(402), Some(403.25));
    let exit = &mut programs[3];
    (exit.missed, exit.runs, exit.seconds) = (Some(405), Some(406), Some(407.25));
    programs.push(ProgramStatus {
        required: false,
        up: false,
        code: Some(OffCode::NoDriver),
        reason: Some("nvidia is not loaded".to_owned()),
        ..status(name::NVIDIA_DEV_XID)
    });
    programs
}

fn agent() -> AgentView {
    let template = |namespace: &str, template: &str| (namespace.to_owned(), template.to_owned());
    let (shell, blender) = (template("lab", "shell"), template("studio", "blender"));
    let old = template("archive", "old");
    let started = |milestone, observations| {
        let (namespace, template) = blender.clone();
        let key = (namespace, template, milestone);
        (key, long_observed(observations))
    };
    AgentView {
        started: SystemTime::UNIX_EPOCH,
        kernel_release: "6.12.9-arch".to_owned(),
        cpus: 2,
        task_store: TaskStore::PidArray,
        map_fills: FilledMap::ALL.into_iter().zip([513, 514, 515]).collect(),
        ring_bytes: Some(541),
        traces: Some(TraceView {
            spans: SpanCounts {
                sent: 551,
                dropped: 552,
                over_limit: 553,
            },
            failures: 554,
            waiting: 555,
            ratios: [0.556, 0.557],
        }),
        audit_lines: Some(AuditLines {
            counts: [542, 543, 544],
        }),
        max_series: 516,
        admissions: [
            ((None, Admission::Admitted), 517),
            ((Some(Source::Kubernetes), Admission::LimitReached), 518),
        ]
        .into(),
        config_hash: "0123456789abcdef".to_owned(),
        reloads: [(
            "/etc/sessionscope.toml".to_owned(),
            Reloads {
                success: 504,
                errors: 505,
                last_success: after_epoch(506_500),
            },
        )]
        .into(),
        max_sessions: 411,
        live_sessions: 412,
        overflowed_total: 413,
        templates_overflowed_total: 414,
        events_lost: vec![
            (EventKind::CgroupMade, 415),
            (EventKind::CgroupRemoved, 416),
            (EventKind::ProcessFailed, 417),
            (EventKind::ProcessExecuted, 558),
            (EventKind::ProcessMoved, 418),
            (EventKind::GpuXid, 419),
        ],
        unmeasured_switches: 420,
        map_bytes: 421_000_017,
        audit: [(Account::Cpu, 0.004_22)].into(),
        adoption: observed([(67, MS), (68, 500 * MS)]),
        begun: [(blender.clone(), 579), (old.clone(), 580)].into(),
        startup: [
            started(Milestone::Scheduled, [(71, 3 * S), (72, 100 * S)]),
            started(Milestone::FirstProcess, [(73, 5 * S), (74, 110 * S)]),
            started(Milestone::FirstListener, [(75, 6 * S), (76, 120 * S)]),
            started(Milestone::FirstClient, [(77, 7 * S), (78, 130 * S)]),
            started(Milestone::FirstGpuContext, [(79, 8 * S), (80, 140 * S)]),
            started(Milestone::FirstEncoder, [(81, 9 * S), (82, 150 * S)]),
            started(Milestone::Sandbox, [(601, 3 * S), (602, 100 * S)]),
            started(Milestone::Pulled, [(603, 3 * S), (604, 100 * S)]),
            started(Milestone::Started, [(605, 3 * S), (606, 100 * S)]),
            started(Milestone::Ready, [(607, 3 * S), (608, 100 * S)]),
            started(Milestone::UserManager, [(609, 3 * S), (610, 100 * S)]),
            started(Milestone::HomeMounted, [(611, 3 * S), (612, 100 * S)]),
            started(Milestone::Settled, [(613, 8 * S), (614, 130 * S)]),
        ]
        .into(),
        logons: LogonPhase::ALL
            .into_iter()
            .zip(621..)
            .map(|(phase, n)| {
                let (namespace, template) = blender.clone();
                let observations = [(n, 3 * S), (n + 20, 100 * S)];
                ((namespace, template, phase), long_observed(observations))
            })
            .collect(),
        logoffs: [(shell.clone(), long_observed([(661, S), (662, 30 * S)]))].into(),
        ended: [
            (
                &blender,
                EndReason::Completed,
                ended([(5, 500), (4, 20_000)], 430),
            ),
            (
                &blender,
                EndReason::Error,
                ended([(6, 1_000), (7, 100_000)], 431),
            ),
            (&blender, EndReason::Signal, ended([], 445)),
            (&blender, EndReason::OomKilled, ended([], 446)),
            (&blender, EndReason::Evicted, ended([], 447)),
            (&blender, EndReason::GpuError, ended([], 448)),
            (&blender, EndReason::Unknown, ended([], 449)),
            (&old, EndReason::Unknown, ended([(8, 700)], 442)),
        ]
        .map(|((namespace, template), reason, ended)| {
            ((namespace.clone(), template.clone(), reason), ended)
        })
        .into(),
        reconciles: Reconciles {
            durations: [(
                ReconcileResult::Success,
                observed([(83, MS), (84, 600 * MS)]),
            )]
            .into(),
            success: 451,
            requeue: 452,
            errors: ErrorType::ALL.into_iter().zip(453..).collect(),
        },
        peers: peers(),
        awaited: vec![blender.clone(); 3],
        templates: [shell, blender, old].into(),
    }
}

/// Sessions that lasted so many seconds each, and so many of which nobody knows the beginning.
fn ended<const LENGTHS: usize>(lasted: [(u32, u64); LENGTHS], not_known: u64) -> Ended {
    let mut ended = Ended {
        count: not_known,
        ..Ended::default()
    };
    for (count, seconds) in lasted {
        for _ in 0..count {
            ended.add(Some(Duration::from_secs(seconds)));
        }
    }
    ended
}

fn peers() -> BTreeMap<Source, Peer> {
    let peer = |status, durations, success, requeue, errors: [(ErrorType, u64); 2]| {
        let mut peer = Peer::new(status);
        peer.reconciles = Reconciles {
            durations: [(ReconcileResult::Error, observed(durations))].into(),
            success,
            requeue,
            errors: errors.into(),
        };
        peer
    };
    let why = || "nobody is there".to_owned();
    [
        (
            Source::Kubernetes,
            peer(
                Status::Up,
                [(85, 2 * MS), (86, 700 * MS)],
                465,
                466,
                [(ErrorType::Timeout, 467), (ErrorType::Conflict, 468)],
            ),
        ),
        (
            Source::Logind,
            peer(
                Status::Down(why()),
                [(87, MS), (88, 800 * MS)],
                469,
                470,
                [(ErrorType::Unavailable, 471), (ErrorType::Internal, 472)],
            ),
        ),
        (
            Source::Containers,
            peer(
                Status::Absent(why()),
                [(89, 2 * MS), (90, 900 * MS)],
                475,
                476,
                [(ErrorType::NotFound, 473), (ErrorType::Forbidden, 474)],
            ),
        ),
        (
            Source::Libvirt,
            peer(
                Status::Off(why()),
                [(93, MS), (94, MS)],
                477,
                478,
                [(ErrorType::NotFound, 479), (ErrorType::Forbidden, 480)],
            ),
        ),
    ]
    .into()
}
