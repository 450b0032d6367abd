//! Session: what does this one session wait for, how long has it lived, who uses its GPU?

mod experience;
mod resources;

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::SESSION;
use super::vocabulary::{
    Label,
    Thresholds::Above,
    Unit::{Age, Count, PerSecond, Ratio, Seconds},
};

/// `dashboards/session.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Session,
        description: "What does this one session wait for? How long has it lived, who uses its GPU? Look first at the waits for a CPU, then at pressure, then at the network. The text narrows the list of sessions by a regular expression.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::OneNode,
            Variable::Find,
            Variable::OneSession,
        ],
        from: "now-1h",
        rows: vec![
            Row {
                title: "What it waits for",
                panels: waits(),
            },
            Row {
                title: "What the user feels",
                panels: experience::felt(),
            },
            Row {
                title: "CPUs and processes",
                panels: cpus(),
            },
            Row {
                title: "Memory and drive",
                panels: resources::memory(),
            },
            Row {
                title: "Network",
                panels: resources::network(),
            },
            Row {
                title: "GPUs and video",
                panels: resources::gpus(),
            },
        ],
    }
}

fn waits() -> Vec<Panel> {
    vec![
        Panel::number("Age", Age, "Time since the session began.")
            .query(format!("time() - vdi_session_start_time_seconds{{{SESSION}}}"), "age"),
        Panel::trend("Clients", Count, "Established inbound connections of the session.")
            .query(format!("sum(vdi_session_clients{{{SESSION}}})"), "clients")
            .nothing("not measured"),
        Panel::trend(
            "Long waits for a CPU",
            Ratio,
            "Share of the waits that were longer than 15.6 ms, which is a frame. It is exact. Absent where the session does next to nothing.",
        )
        .query(
            format!("max(session:vdi_session_runqueue_wait_seconds:above_16ms_ratio_5m{{{SESSION}}})"),
            "long waits",
        )
        .thresholds(Above(0.01, 0.05))
        .nothing("does next to nothing")
        .alerts(&["VdiSessionRunQueueWaitHigh"]),
        Panel::number(
            "Held back by",
            Ratio,
            "The stage in which the session loses most of its time, and the part of the time that it loses there.",
        )
        .query(
            format!(r#"label_replace(session_stage:vdi_session_bottleneck:ratio_5m{{{SESSION}}}, "stage", "CPU wait", "stage", "wait")"#),
            "{{stage}}",
        )
        .thresholds(Above(0.2, 0.5))
        .nothing("nothing"),
        Panel::trend(
            "Round trip to clients",
            Seconds,
            "Mean round-trip time of the inbound TCP connections.",
        )
        .query(
            format!("max(session:vdi_session_client_rtt_seconds:mean_5m{{{SESSION}}})"),
            "round trip",
        )
        .thresholds(Above(0.06, 0.125))
        .nothing("no TCP client")
        .alerts(&["VdiSessionClientRttHigh"]),
        Panel::number(
            "Memory, of the limit",
            Ratio,
            "What the session has of the memory that it may have at most.",
        )
        .query(
            format!(r#"sum(vdi_session_memory_bytes{{kind="current", {SESSION}}}) / sum(vdi_session_memory_bytes{{kind="limit", {SESSION}}})"#),
            "memory",
        )
        .thresholds(Above(0.9, 0.97))
        .nothing("no limit")
        .alerts(&["VdiSessionMemoryNearLimit"]),
        Panel::stacked(
            "Where its time goes",
            Ratio,
            "Of the time in which threads of the session ran or wanted to, the part in each stage. Time in which they sleep is in none.",
        )
        .query(
            format!("sum by (stage) (session_stage:vdi_session_time:ratio_5m{{{SESSION}}})"),
            "{{stage}}",
        )
        .of_all()
        .size(8, 9),
        Panel::buckets(
            "Waits for a CPU",
            Seconds,
            "How long runnable threads waited for a CPU: how often, in each bucket.",
        )
        .query(
            format!("sum by (le) (increase(vdi_session_runqueue_wait_seconds_bucket{{{SESSION}}}[$__rate_interval]))"),
            "{{le}}",
        )
        .size(8, 9),
        Panel::lines(
            "Pressure",
            Ratio,
            "Time lost for want of a resource: some, when a thread waited; full, when all did.",
        )
        .query(
            format!("sum by (resource, kind) (rate(vdi_session_pressure_seconds_total{{{SESSION}}}[$__rate_interval]))"),
            "{{resource}} {{kind}}",
        )
        .of_all()
        .size(8, 9),
        Panel::table(
            "Who it is",
            &[
                Label::Namespace,
                Label::Session,
                Label::Template,
                Label::Node,
                Label::Source,
                Label::Runtime,
                Label::Pod,
                Label::User,
                Label::Cgroup,
            ],
            "What is known of the session. The node leads to its neighbours, the name to what was logged of it.",
        )
        .query(format!("vdi_session_info{{{SESSION}}}"), "")
        .links(&[Link::Logs, Link::Node, Link::Template])
        .nothing("there is no such session now")
        .size(24, 4),
    ]
}

fn cpus() -> Vec<Panel> {
    vec![
        Panel::lines(
            "CPU time, and time lost",
            Count,
            "CPUs that the session uses, and threads that wait for one, by why: others have it, a limit is used up, the thread gave it up itself.",
        )
        .query(format!("sum(rate(vdi_session_cpu_seconds_total{{{SESSION}}}[$__rate_interval]))"), "used")
        .query(
            format!("sum by (cause) (rate(vdi_session_cpu_wait_seconds_total{{{SESSION}}}[$__rate_interval]))"),
            "waits: {{cause}}",
        )
        .query(
            format!("sum by (by) (rate(vdi_session_cpu_throttled_seconds_total{{{SESSION}}}[$__rate_interval]))"),
            "limit used up: {{by}}",
        )
        .alerts(&["VdiSessionThrottledByLimit", "VdiSessionThrottledAbove"]),
        Panel::lines(
            "Who takes the CPU",
            PerSecond,
            "Switches away from threads of the session: voluntary, or to another of its threads, another session or the system.",
        )
        .query(
            format!("sum by (kind) (rate(vdi_session_context_switches_total{{{SESSION}}}[$__rate_interval]))"),
            "{{kind}}",
        )
        .alerts(&["VdiSessionPreemptedByNeighbours"]),
        Panel::lines(
            "Share of its CPUs",
            Ratio,
            "What part of the CPUs that it may use the session used, the mean of its seconds.",
        )
        .query(
            format!("sum(rate(vdi_session_cpu_utilization_ratio_sum{{{SESSION}}}[$__rate_interval])) / (sum(rate(vdi_session_cpu_utilization_ratio_count{{{SESSION}}}[$__rate_interval])) > 0)"),
            "used",
        )
        .of_all(),
        Panel::lines(
            "CPUs in use, and the limit",
            Count,
            "CPUs that the session uses, and those that it may use by its limit or one above. Without a limit there is no second line.",
        )
        .query(format!("sum(rate(vdi_session_cpu_seconds_total{{{SESSION}}}[$__rate_interval]))"), "used")
        .query(format!("sum(vdi_session_cpu_limit_cores{{{SESSION}}})"), "limit"),
        Panel::lines(
            "Throttled periods",
            Ratio,
            "Of the periods of the session's own CPU limit, and of those of its containers, the part in which it was used up. Absent without such a limit, and while nothing wants to run.",
        )
        .query(
            format!("sum(rate(vdi_session_cpu_throttled_periods_total{{{SESSION}}}[$__rate_interval])) / (sum(rate(vdi_session_cpu_periods_total{{{SESSION}}}[$__rate_interval])) > 0)"),
            "throttled",
        )
        .of_all()
        .thresholds(Above(0.25, 0.5))
        .nothing("no limit")
        .alerts(&["VdiSessionThrottledByLimit"]),
        Panel::lines("Processes and threads", Count, "Processes and threads that are alive.")
            .query(format!("sum(vdi_session_processes{{{SESSION}}})"), "processes")
            .query(format!("sum(vdi_session_threads{{{SESSION}}})"), "threads"),
        Panel::lines(
            "Processes started and ended",
            PerSecond,
            "Processes that are started, programs that are executed, and processes that end, by reason.",
        )
        .query(format!("sum(rate(vdi_session_process_forks_total{{{SESSION}}}[$__rate_interval]))"), "started")
        .query(format!("sum(rate(vdi_session_process_execs_total{{{SESSION}}}[$__rate_interval]))"), "executed")
        .query(
            format!("sum by (reason) (rate(vdi_session_process_exits_total{{{SESSION}}}[$__rate_interval]))"),
            "ended: {{reason}}",
        ),
        Panel::lines(
            "Threads, of the limit",
            Ratio,
            "Threads of the session, as a part of those that it may have by its limit of processes or one above, which counts every thread. Absent without one.",
        )
        .query(
            format!("sum(vdi_session_threads{{{SESSION}}}) / sum(vdi_session_processes_limit{{{SESSION}}})"),
            "threads",
        )
        .of_all()
        .thresholds(Above(0.8, 0.95))
        .nothing("no limit"),
        Panel::lines(
            "Forks refused",
            PerSecond,
            "Processes and threads that were not made, because the session's limit of processes was used up. Absent where it has no limit of its own.",
        )
        .query(format!("sum(rate(vdi_session_forks_refused_total{{{SESSION}}}[$__rate_interval]))"), "refused")
        .nothing("no limit")
        .alerts(&["VdiSessionForksRefused"]),
    ]
}
