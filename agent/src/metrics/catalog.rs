//! THE list of metric families, in the order of `/metrics` and of `docs/metrics.md`.
//!
//! Everything else is derived from it: the exposition, the reference, which families vanish with which
//! program, and the check that every name in dashboards and rules exists. A new metric is a row here.

use std::time::UNIX_EPOCH;

use agent_common::{
    block::{READ, WRITE},
    histogram::LONG_SHIFT,
    net::{INBOUND, OUTBOUND, Traffic},
};

use super::family::{Buckets, Family, Kind, Out, Samples, Source, State, Unit};
use crate::{
    kernel::accounts::{CgroupAccounts, Pressure},
    session::{
        model::Phase,
        net::{Net, TcpSide},
    },
    snapshot::SessionView,
};

use Kind::{Counter, Gauge, Histogram};
use Samples::{Node, Occasional, PerSession};

const NS: f64 = 1e-9;
const US: f64 = 1e-6;

/// 0.24 ms to 0.25 s: from a wait that nobody notices to one that everybody does.
const RUNQUEUE_WAIT: Buckets = buckets(&[-12, -10, -8, -6, -4, -2]);
/// 16 ms and 125 ms: the next town, too far to work with.
const ROUND_TRIP: Buckets = buckets(&[-6, -3]);
/// Count and sum are enough for most; the native histogram has the rest.
const MEAN_ONLY: Buckets = buckets(&[]);
/// 0.24 ms, 4 ms, 62 ms: a cache, a flash disk, trouble.
const BLOCK_IO: Buckets = buckets(&[-12, -8, -4]);
/// 0.25 s to 17 min.
const STARTUP: Buckets = long(&[-2, 0, 1, 2, 3, 4, 5, 6, 8, 10]);
/// Of hours; count and sum are enough for most.
const LONG_MEAN_ONLY: Buckets = long(&[]);

const fn buckets(few: &'static [i32]) -> Buckets {
    Buckets { few, shift: 0 }
}

const fn long(few: &'static [i32]) -> Buckets {
    let shift = LONG_SHIFT as i32;
    Buckets { few, shift }
}

/// The two sides of a TCP connection.
const SIDE: &[(&str, &str)] = &[(
    "side",
    "inbound, outbound; each from its first connection on",
)];
const OPERATION: &[(&str, &str)] = &[("operation", "read, write; each from its first on")];

/// Every family.
pub const FAMILIES: &[Family] = &[
    // Sessions.
    Family {
        stem: "vdi_sessions",
        help: "Live sessions by phase; every phase of a known template is present",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("phase", "Pending, Starting, Running, Idle, Terminating"),
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
        ],
        source: Source::Registry,
        samples: Node(sessions_by_phase),
    },
    Family {
        stem: "vdi_session_info",
        help: "Identity of a session; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("cgroup", "path of its cgroup"),
            ("source", "what named it"),
            ("runtime", "what runs it; empty when not known"),
            ("pod", "uid of its pod; empty without one"),
            ("container", "id of its container; empty without one"),
        ],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            let text = |v: &Option<String>| v.clone().unwrap_or_default();
            let (runtime, pod, container) = (
                text(&s.identity.runtime),
                text(&s.identity.pod),
                text(&s.identity.container),
            );
            out.number(
                &[
                    ("cgroup", &s.cgroup),
                    ("source", "cgroup"),
                    ("runtime", &runtime),
                    ("pod", &pod),
                    ("container", &container),
                ],
                1.0,
            );
        }),
    },
    Family {
        stem: "vdi_session_start_time",
        help: "When the session began, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            if let Some(since) = s.started.and_then(|t| t.duration_since(UNIX_EPOCH).ok()) {
                out.number(&[], since.as_secs_f64());
            }
        }),
    },
    Family {
        stem: "vdi_session_startup",
        help: "Time from the making of a session's cgroup to a milestone of its start, for sessions made while the agent ran",
        kind: Histogram(STARTUP),
        unit: Unit::Seconds,
        labels: &[
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
            ("milestone", "first_process, first_listener, first_client"),
        ],
        source: Source::Program("cgroup_mkdir"),
        samples: Node(|state, out| {
            for ((namespace, template, milestone), histogram) in &state.snapshot.agent.startup {
                out.histogram(
                    &[
                        ("namespace", namespace),
                        ("template", template),
                        ("milestone", milestone.name()),
                    ],
                    histogram,
                );
            }
        }),
    },
    // Scheduler.
    Family {
        stem: "vdi_session_runqueue_wait",
        help: "Time a runnable thread waited for a CPU, one observation per slice on a CPU",
        kind: Histogram(RUNQUEUE_WAIT),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program("sched_switch"),
        samples: PerSession(|s, out| out.histogram(&[], &s.counts.sched.runqueue_wait)),
    },
    Family {
        stem: "vdi_session_cpu",
        help: "CPU time of the session's threads",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program("sched_switch"),
        samples: PerSession(|s, out| out.number(&[], s.counts.cpu_ns as f64 * NS)),
    },
    Family {
        stem: "vdi_session_context_switches",
        help: "Switches away from a thread of the session: voluntary when it blocked, involuntary when the CPU was taken",
        kind: Counter,
        unit: Unit::None,
        labels: &[("kind", "voluntary, involuntary")],
        source: Source::Program("sched_switch"),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            out.number(&[("kind", "voluntary")], sched.voluntary_switches as f64);
            out.number(
                &[("kind", "involuntary")],
                sched.involuntary_switches as f64,
            );
        }),
    },
    Family {
        stem: "vdi_session_preemptions",
        help: "Involuntary switches by who took the CPU: the same session, another session, or the system",
        kind: Counter,
        unit: Unit::None,
        labels: &[("by", "self, session, system")],
        source: Source::Program("sched_switch"),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            out.number(&[("by", "self")], sched.preempted_by_self as f64);
            out.number(&[("by", "session")], sched.preempted_by_session as f64);
            out.number(&[("by", "system")], sched.preempted_by_system as f64);
        }),
    },
    // Processes.
    Family {
        stem: "vdi_session_processes",
        help: "Processes alive in the session",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("census"),
        samples: PerSession(|s, out| {
            if let Some(census) = s.counts.census {
                out.number(&[], census.processes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_threads",
        help: "Threads alive in the session",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("census"),
        samples: PerSession(|s, out| {
            if let Some(census) = s.counts.census {
                out.number(&[], census.threads as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_process_forks",
        help: "Processes started in the session by fork, vfork or clone; threads are not counted",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("sched_wakeup_new"),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.forks as f64)),
    },
    Family {
        stem: "vdi_session_process_execs",
        help: "Programs executed in the session",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("sched_process_exec"),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.execs as f64)),
    },
    Family {
        stem: "vdi_session_process_exits",
        help: "Processes of the session that ended, by reason; a reason appears with its first exit",
        kind: Counter,
        unit: Unit::None,
        labels: &[("reason", "success, error, signal, oom_killed")],
        source: Source::Program("sched_process_exit"),
        samples: Occasional(|s, out| {
            let process = &s.counts.process;
            for (reason, exits) in [
                ("success", process.exits_success),
                ("error", process.exits_error),
                ("signal", process.exits_signal),
                ("oom_killed", process.exits_oom_killed),
            ] {
                if exits > 0 {
                    out.number(&[("reason", reason)], exits as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_oom_kills",
        help: "Processes of the session that the out-of-memory killer killed",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("sched_process_exit"),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.exits_oom_killed as f64)),
    },
    Family {
        stem: "vdi_session_major_faults",
        help: "Page faults of the session that waited for I/O",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("sched_switch"),
        samples: PerSession(|s, out| out.number(&[], s.counts.sched.major_faults as f64)),
    },
    // Network.
    Family {
        stem: "vdi_session_network",
        help: "Data bytes of the session's sockets; a retransmitted TCP byte counts once, and UDP appears with its first datagram",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[("direction", "transmit, receive"), ("protocol", "tcp, udp")],
        source: Source::Program("inet_sock_set_state"),
        samples: PerSession(|s, out| {
            let Some(net) = &s.counts.net else { return };
            let sum =
                |f: fn(&Traffic) -> u64| net.tcp.iter().map(|side| f(&side.traffic)).sum::<u64>();
            let mut number = |direction, protocol, bytes: u64| {
                out.number(
                    &[("direction", direction), ("protocol", protocol)],
                    bytes as f64,
                );
            };
            number("transmit", "tcp", sum(|t| t.sent_bytes));
            number("receive", "tcp", sum(|t| t.received_bytes));
            if let Some([transmit, receive]) = net.used_udp() {
                number("transmit", "udp", transmit.bytes);
                number("receive", "udp", receive.bytes);
            }
        }),
    },
    Family {
        stem: "vdi_session_clients",
        help: "Established inbound connections: the session's clients",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program("connections"),
        samples: PerSession(|s, out| {
            if let Some(clients) = s.counts.net.as_ref().and_then(Net::clients) {
                out.number(&[], clients as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connections",
        help: "Established TCP connections",
        kind: Gauge,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program("connections"),
        samples: Occasional(|s, out| {
            by_side(s, |labels, side| {
                if let Some(connections) = side.connections {
                    out.number(labels, connections as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_session_tcp_connections_opened",
        help: "TCP connections that were established",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program("inet_sock_set_state"),
        samples: Occasional(|s, out| by_side(s, |l, side| out.number(l, side.opened as f64))),
    },
    Family {
        stem: "vdi_session_tcp_connect_failures",
        help: "TCP connections that could not be opened: refused, unreachable, timed out or given up; appears with the first",
        kind: Counter,
        unit: Unit::None,
        labels: &[("side", "outbound")],
        source: Source::Program("inet_sock_set_state"),
        samples: Occasional(|s, out| {
            let failures = s
                .counts
                .net
                .as_ref()
                .map_or(0, |n| n.tcp[OUTBOUND].connect_failures);
            if failures > 0 {
                out.number(&[("side", "outbound")], failures as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_resets",
        help: "Resets sent and received on the session's TCP connections",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program("tcp_receive_reset"),
        samples: Occasional(|s, out| by_side(s, |l, side| out.number(l, side.resets as f64))),
    },
    Family {
        stem: "vdi_session_tcp_retransmits",
        help: "TCP segments sent again",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program("inet_sock_set_state"),
        samples: Occasional(|s, out| {
            by_side(s, |l, side| out.number(l, side.traffic.retransmits as f64));
        }),
    },
    Family {
        stem: "vdi_session_tcp_rtt",
        help: "Smoothed round-trip time of each live TCP connection at each sample; a side appears with its first connection",
        kind: Histogram(ROUND_TRIP),
        unit: Unit::Seconds,
        labels: SIDE,
        source: Source::Program("connections"),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.rtt))),
    },
    Family {
        stem: "vdi_session_tcp_connect",
        help: "Time from SYN to established of the session's outbound TCP connections; appears with the first",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[("side", "outbound")],
        source: Source::Program("inet_sock_set_state"),
        samples: Occasional(|s, out| {
            if let Some(net) = &s.counts.net {
                observed(out, &[("side", "outbound")], &net.tcp[OUTBOUND].connect);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connection_duration",
        help: "Time from established to closed of the session's TCP connections; appears with the first that closes",
        kind: Histogram(LONG_MEAN_ONLY),
        unit: Unit::Seconds,
        labels: SIDE,
        source: Source::Program("inet_sock_set_state"),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.duration))),
    },
    Family {
        stem: "vdi_session_udp_datagrams",
        help: "UDP datagrams of the session; with segmentation offload the messages handed to it",
        kind: Counter,
        unit: Unit::None,
        labels: &[("direction", "transmit, receive")],
        source: Source::Program("sock_send_length"),
        samples: Occasional(|s, out| {
            if let Some([transmit, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                out.number(&[("direction", "transmit")], transmit.datagrams as f64);
                out.number(&[("direction", "receive")], receive.datagrams as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_udp_drops",
        help: "UDP datagrams dropped because a receive queue of the session was full",
        kind: Counter,
        unit: Unit::None,
        labels: &[("direction", "receive")],
        source: Source::Program("udp_fail_queue_rcv_skb"),
        samples: Occasional(|s, out| {
            if let Some([_, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                out.number(&[("direction", "receive")], receive.drops as f64);
            }
        }),
    },
    // Disk.
    Family {
        stem: "vdi_session_block_io",
        help: "Time from the making of a block I/O request to its completion; only of cgroups with the io controller",
        kind: Histogram(BLOCK_IO),
        unit: Unit::Seconds,
        labels: OPERATION,
        source: Source::Program("block_rq_complete"),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                observed(
                    out,
                    &[("operation", "read")],
                    &block.operations[READ].latency,
                );
                observed(
                    out,
                    &[("operation", "write")],
                    &block.operations[WRITE].latency,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_block_io",
        help: "Bytes read from and written to block devices; only of cgroups with the io controller",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[("operation", "read, write")],
        source: Source::Program("block_rq_complete"),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                let [read, write] = &block.operations;
                out.number(&[("operation", "read")], read.bytes as f64);
                out.number(&[("operation", "write")], write.bytes as f64);
            }
        }),
    },
    // Memory, CPU limits and pressure.
    Family {
        stem: "vdi_session_memory",
        help: "Memory of the session's cgroups; limit is absent without one, and all of it without the memory controller",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[("kind", "current, limit, anon, file")],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(memory) = accounts(s).and_then(|a| a.memory) else {
                return;
            };
            out.number(&[("kind", "current")], memory.current as f64);
            out.number(&[("kind", "anon")], memory.anon as f64);
            out.number(&[("kind", "file")], memory.file as f64);
            if let Some(limit) = memory.limit {
                out.number(&[("kind", "limit")], limit as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_reclaim_stall",
        help: "Time a thread spent reclaiming memory itself, because the node had none or the cgroup was at its limit; appears with the first stall",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program("cgroup_reclaim_end"),
        samples: Occasional(|s, out| {
            if let Some(memory) = &s.counts.memory {
                observed(out, &[], &memory.reclaim_stall);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_throttled",
        help: "Time in which the session was not let run because it had used up the CPU time of its limit",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            if let Some(us) = accounts(s).and_then(|a| a.throttled_us) {
                out.number(&[], us as f64 * US);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_utilization",
        help: "Share of the CPUs that the session may use (its limit, else the node's) in each second",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Ratio,
        labels: &[],
        source: Source::Program("sched_switch"),
        samples: Occasional(|s, out| observed(out, &[], &s.counts.utilization.histogram)),
    },
    Family {
        stem: "vdi_session_pressure",
        help: "Time lost for want of a resource: some, when a thread waited, full, when all did (PSI)",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[
            ("resource", "cpu, memory, io"),
            ("kind", "some, full; of cpu some only"),
        ],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(accounts) = accounts(s) else { return };
            let mut number = |resource, kind, us: Option<u64>| {
                if let Some(us) = us {
                    out.number(&[("resource", resource), ("kind", kind)], us as f64 * US);
                }
            };
            let some = |pressure: Option<Pressure>| pressure.map(|p| p.some_us);
            let full = |pressure: Option<Pressure>| pressure.and_then(|p| p.full_us);
            let pressure = accounts.pressure;
            number("cpu", "some", some(pressure.cpu));
            number("memory", "some", some(pressure.memory));
            number("memory", "full", full(pressure.memory));
            number("io", "some", some(pressure.io));
            number("io", "full", full(pressure.io));
        }),
    },
    // The agent.
    Family {
        stem: "vdi_agent_build_info",
        help: "Version of the agent and what it runs on; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("version", "version of the agent"),
            ("kernel", "release of the running kernel"),
            ("task_state", "task-storage or pid-array"),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            let agent = &state.snapshot.agent;
            out.number(
                &[
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("kernel", &agent.kernel_release),
                    ("task_state", agent.task_store.name()),
                ],
                1.0,
            );
        }),
    },
    Family {
        stem: "vdi_agent_probe_up",
        help: "Whether a kernel program runs; the reason is empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("probe", "name of the program"),
            ("reason", "why it does not run"),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                let reason = program.reason.as_deref().unwrap_or_default();
                out.number(
                    &[("probe", program.name), ("reason", reason)],
                    f64::from(u8::from(program.up)),
                );
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_missed",
        help: "Times that the kernel passed a program over because it was running on that CPU already",
        kind: Counter,
        unit: Unit::None,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(missed) = program.missed {
                    out.number(&[("probe", program.name)], missed as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_runs",
        help: "Runs of a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::None,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(runs) = program.runs {
                    out.number(&[("probe", program.name)], runs as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe",
        help: "Time spent in a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(seconds) = program.seconds {
                    out.number(&[("probe", program.name)], seconds);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_sessions_tracked",
        help: "Live sessions that are measured",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.live_sessions as f64)),
    },
    Family {
        stem: "vdi_agent_sessions_limit",
        help: "Most sessions that can be measured at once (sessions.max_sessions)",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], f64::from(state.snapshot.agent.max_sessions))),
    },
    Family {
        stem: "vdi_agent_sessions_overflowed",
        help: "Sessions that were not measured when they came because the limit was reached",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.overflowed_total as f64)),
    },
    Family {
        stem: "vdi_agent_session_adoption",
        help: "Time from the making of a session's cgroup until it is measured; what happens in between is not counted",
        kind: Histogram(Buckets::FULL),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program("cgroup_mkdir"),
        samples: Node(|state, out| out.histogram(&[], &state.snapshot.agent.adoption)),
    },
    Family {
        stem: "vdi_agent_events_lost",
        help: "Events of the kernel programs lost because the ring buffer was full; counters do not go through it",
        kind: Counter,
        unit: Unit::None,
        labels: &[(
            "event",
            "cgroup_made, cgroup_removed, process_failed, process_moved",
        )],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (event, lost) in &state.snapshot.agent.events_lost {
                out.number(&[("event", event)], *lost as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_map_memory",
        help: "Kernel memory of the programs' maps; task storage, which grows with the threads, is not in it",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.map_bytes as f64)),
    },
    Family {
        stem: "vdi_agent_sample_age",
        help: "Age of the sample that this exposition shows",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.snapshot.taken.elapsed().as_secs_f64())),
    },
    Family {
        stem: "vdi_agent_reconcile_duration",
        help: "Time a comparison of what a source has with what is known took",
        kind: Histogram(Buckets::FULL),
        unit: Unit::Seconds,
        labels: &[("source", "cgroup")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in &state.snapshot.agent.reconciles {
                out.histogram(&[("source", source)], &reconciles.duration);
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile",
        help: "Comparisons of what a source has with what is known, by result",
        kind: Counter,
        unit: Unit::None,
        labels: &[("source", "cgroup"), ("result", "success, error")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in &state.snapshot.agent.reconciles {
                out.number(
                    &[("source", source), ("result", "success")],
                    reconciles.success as f64,
                );
                let errors: u64 = reconciles.errors.values().sum();
                out.number(&[("source", source), ("result", "error")], errors as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile_errors",
        help: "Comparisons that failed, by kind of error",
        kind: Counter,
        unit: Unit::None,
        labels: &[("source", "cgroup"), ("error_type", "io")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in &state.snapshot.agent.reconciles {
                for (kind, count) in &reconciles.errors {
                    out.number(&[("source", source), ("error_type", kind)], *count as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_scrape_duration",
        help: "Time the agent took to answer a scrape",
        kind: Histogram(Buckets::FULL),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.histogram(&[], state.scrapes)),
    },
    // The agent's process, under the names that every Prometheus client library uses.
    Family {
        stem: "process_cpu",
        help: "CPU time of the agent in user and kernel mode",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.cpu_seconds))),
    },
    Family {
        stem: "process_resident_memory",
        help: "Resident memory of the agent",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.resident_bytes))),
    },
    Family {
        stem: "process_virtual_memory",
        help: "Virtual memory of the agent",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.virtual_bytes))),
    },
    Family {
        stem: "process_open_fds",
        help: "Open file descriptors of the agent",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.open_fds)),
    },
    Family {
        stem: "process_max_fds",
        help: "Most file descriptors the agent may open",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.max_fds)),
    },
    Family {
        stem: "process_threads",
        help: "Threads of the agent",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.threads))),
    },
    Family {
        stem: "process_start_time",
        help: "When the agent started, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.start_seconds)),
    },
    // Last, so that it counts the others.
    Family {
        stem: "vdi_agent_series",
        help: "Series in this exposition",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.series as f64 + 1.0)),
    },
];

fn sessions_by_phase(state: &State<'_>, out: &mut dyn Out) {
    let mut counts = std::collections::BTreeMap::<(&str, &str), [u64; Phase::ALL.len()]>::new();
    for session in &state.snapshot.sessions {
        let identity = &session.identity;
        let row = counts
            .entry((&identity.namespace, &identity.template))
            .or_default();
        if let Some(phase) = session.phase {
            row[phase as usize] += 1;
        }
    }
    for ((namespace, template), row) in counts {
        for phase in Phase::ALL {
            out.number(
                &[
                    ("phase", phase.name()),
                    ("namespace", namespace),
                    ("template", template),
                ],
                row[phase as usize] as f64,
            );
        }
    }
}

/// Each side of a session's TCP with its label, from its first connection on: most sessions have one.
fn by_side(session: &SessionView, mut f: impl FnMut(&[(&str, &str)], &TcpSide)) {
    if let Some(net) = &session.counts.net {
        for (name, side) in [("inbound", INBOUND), ("outbound", OUTBOUND)] {
            if net.tcp[side].is_used() {
                f(&[("side", name)], &net.tcp[side]);
            }
        }
    }
}

/// The kernel's own accounts of the session's cgroups.
fn accounts(session: &SessionView) -> Option<&CgroupAccounts> {
    session.counts.accounts.as_ref()
}

/// A histogram that appears with its first observation.
fn observed(
    out: &mut dyn Out,
    labels: &[(&str, &str)],
    histogram: &agent_common::histogram::Histogram,
) {
    if histogram.count() > 0 {
        out.histogram(labels, histogram);
    }
}

fn own_process(
    state: &State<'_>,
    out: &mut dyn Out,
    value: fn(&super::process::OwnProcess) -> Option<f64>,
) {
    if let Some(value) = state.process.and_then(value) {
        out.number(&[], value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{config::ClassicBuckets, kernel::programs::PROGRAMS};

    #[test]
    fn names_are_unique_prefixed_and_without_a_suffix_typed_by_hand() {
        let mut seen = HashSet::new();
        for family in FAMILIES {
            let name = family.name();
            assert!(seen.insert(name.clone()), "{name} is there twice");
            assert!(
                name.starts_with("vdi_") || name.starts_with("process_"),
                "{name}"
            );
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            for suffix in [
                "_total", "_seconds", "_bytes", "_ratio", "_count", "_sum", "_bucket",
            ] {
                assert!(
                    !family.stem.ends_with(suffix),
                    "{name}: {suffix} is appended, not typed"
                );
            }
        }
    }

    #[test]
    fn help_is_one_sentence_without_a_full_stop() {
        for family in FAMILIES {
            assert!(!family.help.ends_with('.'), "{}", family.stem);
            assert!(
                family.help.starts_with(char::is_uppercase),
                "{}",
                family.stem
            );
            assert!(!family.help.contains(['\n', '\\', '"']), "{}", family.stem);
        }
    }

    #[test]
    fn every_program_that_a_family_names_is_in_the_table() {
        for family in FAMILIES {
            if let Source::Program(name) = family.source {
                assert!(
                    PROGRAMS.iter().any(|p| p.name == name),
                    "{}: {name}",
                    family.stem
                );
            }
        }
    }

    #[test]
    fn a_histogram_is_of_time_or_a_ratio_and_its_bounds_are_bounds_of_the_kernel() {
        for family in FAMILIES {
            let Histogram(buckets) = family.kind else {
                continue;
            };
            assert!(
                matches!(family.unit, Unit::Seconds | Unit::Ratio),
                "{}",
                family.stem
            );
            let full = buckets.classic(ClassicBuckets::Full);
            let (first, last) = (full[0], full[full.len() - 1]);
            assert_eq!(full.len(), 13, "{}", family.stem);
            assert!(buckets.few.is_sorted(), "{}", family.stem);
            assert!(
                buckets
                    .few
                    .iter()
                    .all(|octave| (first..=last).contains(octave)),
                "{}",
                family.stem
            );
        }
    }
}
