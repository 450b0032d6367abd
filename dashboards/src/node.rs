//! Node and neighbours: who takes the CPU, the memory and the drive from whom?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{EACH, NODES};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Any, Plain},
    Unit::{Bytes, BytesPerSecond, Count, PerSecond, Ratio, Seconds},
};

/// Name of a session that no other has.
const NAME: &str = "{{namespace}}/{{session}} on {{instance}}";

/// `dashboards/node.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Node,
        description: "Who takes the CPU, the memory and the drive from whom? Choose a node: with all of them the lines are one a node, and the worst are those of the fleet.",
        variables: &[Variable::Cluster, Variable::Environment, Variable::Node],
        from: "now-1h",
        rows: vec![
            Row {
                title: "Who suffers, and who takes?",
                panels: who(),
            },
            Row {
                title: "CPUs",
                panels: cpus(),
            },
            Row {
                title: "Memory and drive",
                panels: memory(),
            },
        ],
    }
}

fn who() -> Vec<Panel> {
    let takers = format!("topk(20, rate(vdi_session_cpu_seconds_total{{{NODES}}}[5m]))");
    vec![
        Panel::trend("Active sessions", Count, "Sessions that are running or idle.")
            .query(
                format!(r#"sum(instance_phase:vdi_sessions:sum{{phase=~"Running|Idle", {NODES}}})"#),
                "active",
            )
            .nothing("none"),
        Panel::trend("Sessions with a client", Count, "Sessions that somebody watches.")
            .query(format!("sum(instance:vdi_sessions_watched:count{{{NODES}}})"), "watched")
            .nothing("none"),
        Panel::trend(
            "Watched, stuttering",
            Ratio,
            "Of the sessions that have a client, the part that stutters, on the node where it is most.",
        )
        .query(format!("max(instance:vdi_sessions_stuttering:ratio{{{NODES}}})"), "stuttering")
        .thresholds(Above(0.05, 0.25))
        .nothing("nobody watches")
        .alerts(&["VdiNodeStutters"]),
        Panel::trend("CPUs in use by sessions", Count, "CPU time of all sessions for each second.")
            .query(format!("sum(instance:vdi_session_cpu_seconds:rate5m{{{NODES}}})"), "in use"),
        Panel::trend(
            "Waiting for a CPU",
            Count,
            "Threads of sessions that wait while others have the CPU, on the average of a second.",
        )
        .query(
            format!(r#"sum(instance_cause:vdi_session_cpu_wait_seconds:rate5m{{cause="contention", {NODES}}})"#),
            "waiting",
        )
        .alerts(&["VdiNodeCpuContention"]),
        Panel::trend(
            "Taken by the hypervisor",
            Count,
            "CPUs that had something to run while the hypervisor ran something else.",
        )
        .query(
            format!("sum(rate(vdi_node_cpu_steal_seconds_total{{{NODES}}}[$__rate_interval]))"),
            "taken",
        )
        .thresholds(Above(0.2, 1.0))
        .alerts(&["VdiNodeCpuSteal"]),
        Panel::table(
            "Who takes the CPU, and who waits for it",
            &[Label::Namespace, Label::Session, Label::Node],
            "The twenty sessions that use most CPU, and what they suffer themselves. One session alone with many CPUs is a build; many with a little are too many.",
        )
        .column(takers.clone(), "CPUs", Count, Plain)
        .column(
            format!("session:vdi_session_runqueue_wait_seconds:above_16ms_ratio_5m{{{NODES}}} and on ({EACH}) {takers}"),
            "Long waits",
            Ratio,
            Above(0.01, 0.05),
        )
        .column(
            format!("session:vdi_session_neighbour_preemptions:per_cpu_second_5m{{{NODES}}} and on ({EACH}) {takers}"),
            "Preempted /CPU s",
            Count,
            Above(100.0, 500.0),
        )
        .column(
            format!(r#"vdi_session_memory_bytes{{kind="current", {NODES}}} and on ({EACH}) {takers}"#),
            "Memory",
            Bytes,
            Plain,
        )
        .links(&[Link::Session, Link::Node])
        .size(14, 10),
        Panel::bars(
            "Worst pressure by resource",
            Ratio,
            "Time that the session which is worst off loses for want of a resource: some, when a thread waited; full, when all did.",
        )
        .query(
            format!("max by (resource, kind) (instance_resource_kind:vdi_session_pressure_seconds:max_rate5m{{{NODES}}})"),
            "{{resource}} {{kind}}",
        )
        .of_all()
        .thresholds(Above(0.2, 0.5))
        .nothing("not measured")
        .alerts(&["VdiNodeMemoryPressure", "VdiNodeIoPressure", "VdiNodeMemoryStalls"])
        .size(10, 10),
    ]
}

fn cpus() -> Vec<Panel> {
    vec![
        Panel::lines("Stutter by node", Ratio, "Of the watched sessions of a node, the part that stutters.")
            .query(
                format!("instance:vdi_sessions_stuttering:ratio{{{NODES}}}"),
                "{{cluster}} {{instance}}",
            )
            .of_all()
            .thresholds(Above(0.05, 0.25))
            .links(&[Link::Node])
            .alerts(&["VdiNodeStutters"]),
        Panel::buckets(
            "Waits for a CPU",
            Seconds,
            "How long threads of the sessions waited for a CPU: how often a second, in each bucket.",
        )
        .query(
            format!("sum by (le) (instance_le:vdi_session_runqueue_wait_seconds_bucket:rate5m{{{NODES}}})"),
            "{{le}}",
        )
        .alerts(&["VdiNodeRunQueueWaitHigh"]),
        Panel::stacked(
            "Why threads wait for a CPU",
            Count,
            "Threads that wait, by why: others have the CPU, a CPU limit is used up, the thread gave it up itself.",
        )
        .query(
            format!("sum by (cause) (instance_cause:vdi_session_cpu_wait_seconds:rate5m{{{NODES}}})"),
            "{{cause}}",
        )
        .alerts(&["VdiNodeCpuContention"]),
        Panel::stacked(
            "Who preempts",
            PerSecond,
            "Switches away from threads of sessions, by what came next: another of its threads, another session, the system.",
        )
        .query(
            format!(r#"sum by (kind) (instance_kind:vdi_session_context_switches:rate5m{{kind!="voluntary", {NODES}}})"#),
            "{{kind}}",
        ),
        Panel::lines("CPUs in use by node", Count, "CPU time of a node's sessions for each second.")
            .query(
                format!("instance:vdi_session_cpu_seconds:rate5m{{{NODES}}}"),
                "{{cluster}} {{instance}}",
            )
            .links(&[Link::Node]),
        Panel::stacked("Sessions by phase", Count, "Live sessions in each phase of their life.").query(
            format!("sum by (phase) (instance_phase:vdi_sessions:sum{{{NODES}}})"),
            "{{phase}}",
        ),
    ]
}

fn memory() -> Vec<Panel> {
    let most = |title, unit, description, query: String| {
        Panel::bars(title, unit, description)
            .query(format!("topk(10, {query})"), NAME)
            .links(&[Link::Session, Link::Node])
    };
    vec![
        Panel::lines("Memory of sessions", Bytes, "Memory that is charged to the sessions of a node.")
            .query(
                format!("instance:vdi_session_memory_bytes:sum{{{NODES}}}"),
                "{{cluster}} {{instance}}",
            )
            .links(&[Link::Node]),
        Panel::lines(
            "Worst pressure over time",
            Ratio,
            "Time that the session which is worst off loses for want of a resource.",
        )
        .query(
            format!(r#"max by (resource, kind) (instance_resource_kind:vdi_session_pressure_seconds:max_rate5m{{resource!="cpu", {NODES}}})"#),
            "{{resource}} {{kind}}",
        )
        .of_all()
        .thresholds(Above(0.2, 0.5))
        .alerts(&["VdiNodeMemoryStalls", "VdiNodeIoPressure"]),
        most(
            "Most memory",
            Bytes,
            "Memory that is charged to a session's cgroups. The ten highest.",
            format!(r#"vdi_session_memory_bytes{{kind="current", {NODES}}}"#),
        ),
        most(
            "Most block I/O",
            BytesPerSecond,
            "Bytes that a session reads from and writes to block devices. The ten highest.",
            format!("sum without (operation) (rate(vdi_session_block_io_bytes_total{{{NODES}}}[5m]))"),
        ),
        most(
            "Most time reclaiming memory",
            Ratio,
            "Time that threads of a session spend freeing memory for themselves. The ten highest.",
            format!("rate(vdi_session_reclaim_stall_seconds_sum{{{NODES}}}[5m]) > 0"),
        )
        .thresholds(Above(0.05, 0.3))
        .nothing("none")
        .alerts(&["VdiSessionReclaimStalls"]),
        most(
            "Killed for want of memory, last hour",
            Count,
            "Processes of a session that the kernel killed because memory was used up. The ten highest.",
            format!("increase(vdi_session_oom_kills_total{{{NODES}}}[1h]) > 0"),
        )
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiSessionOomKilled", "VdiSessionOomKills"]),
    ]
}
