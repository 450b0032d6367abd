//! The dashboard of the sessions: how many there are, how they start and end, and what they get of CPUs,
//! network and GPUs.

use super::grafana::{
    Dashboard,
    Look::{Lines, Number, Stacked},
    Panel, Row,
    Unit::{Bytes, Count, FramesPerSecond, Ratio, Seconds},
    Variable,
};

/// Of the chosen clusters, namespaces and templates. The recordings of templates know no node.
const TEMPLATES: &str = r#"cluster=~"$cluster", namespace=~"$namespace", template=~"$template""#;
/// And nodes and sessions.
const SESSIONS: &str = r#"cluster=~"$cluster", namespace=~"$namespace", template=~"$template", instance=~"$node", session=~"$session""#;
/// Of the chosen clusters and nodes.
const NODES: &str = r#"cluster=~"$cluster", instance=~"$node""#;

/// `dashboards/sessions.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "sessionscope-sessions",
        title: "Sessionscope / Sessions",
        description: "Sessions of all nodes: how many, how they start and end, and what they get of CPUs, network and GPUs. The row Sessions is of templates, whatever node and session are chosen. Needs the recordings of rules/.",
        variables: vec![
            // Empty where no Prometheus puts this label on its series.
            Variable {
                name: "cluster",
                label: "Cluster",
                values: "label_values(vdi_sessions, cluster)",
            },
            Variable {
                name: "namespace",
                label: "Namespace",
                values: r#"label_values(vdi_sessions{cluster=~"$cluster"}, namespace)"#,
            },
            Variable {
                name: "template",
                label: "Template",
                values: r#"label_values(vdi_sessions{cluster=~"$cluster", namespace=~"$namespace"}, template)"#,
            },
            Variable {
                name: "node",
                label: "Node",
                values: r#"label_values(vdi_agent_sessions_tracked{cluster=~"$cluster"}, instance)"#,
            },
            Variable {
                name: "session",
                label: "Session",
                values: r#"label_values(vdi_session_info{cluster=~"$cluster", namespace=~"$namespace", template=~"$template", instance=~"$node"}, session)"#,
            },
        ],
        rows: vec![
            Row {
                title: "Sessions",
                panels: sessions(),
            },
            Row {
                title: "CPUs",
                panels: cpus(),
            },
            Row {
                title: "Clients",
                panels: clients(),
            },
            Row {
                title: "GPUs",
                panels: gpus(),
            },
            Row {
                title: "Video encoders",
                panels: encoders(),
            },
        ],
    }
}

fn sessions() -> Vec<Panel> {
    vec![
        Panel {
            title: "Active sessions",
            description: "Sessions that are there for their users: running or idle.",
            look: Number,
            unit: Count,
            query: format!(r#"sum(vdi_sessions{{phase=~"Running|Idle", {TEMPLATES}}})"#),
            legend: "active",
        },
        Panel {
            title: "Failed in the last hour",
            description: "Share of the sessions that ended within the last hour and failed: by an error, for want of memory, by eviction or by a GPU error.",
            look: Number,
            unit: Ratio,
            query: format!(
                "sum(template:vdi_session_failures:increase_1h{{{TEMPLATES}}}) / (sum(template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) > 0)"
            ),
            legend: "failed",
        },
        Panel {
            title: "Sessions by phase",
            description: "Live sessions in each phase of their life.",
            look: Stacked,
            unit: Count,
            query: format!("sum by (phase) (vdi_sessions{{{TEMPLATES}}})"),
            legend: "{{phase}}",
        },
        Panel {
            title: "Sessions by template",
            description: "Live sessions of each template.",
            look: Stacked,
            unit: Count,
            query: format!("sum by (template) (vdi_sessions{{{TEMPLATES}}})"),
            legend: "{{template}}",
        },
        Panel {
            title: "Failure rate by template",
            description: "Share of the sessions that ended within the last hour and failed.",
            look: Lines,
            unit: Ratio,
            query: format!("template:vdi_session_failures:ratio_1h{{{TEMPLATES}}}"),
            legend: "{{namespace}}/{{template}}",
        },
        Panel {
            title: "Start-up milestones, p95",
            description: "Time from the making of a session's cgroup to each milestone of its start, over the last hour: 19 in 20 sessions were faster.",
            look: Lines,
            unit: Seconds,
            query: format!("template:vdi_session_startup_seconds:p95_1h{{{TEMPLATES}}}"),
            legend: "{{template}} {{milestone}}",
        },
        Panel {
            title: "Session duration, p95",
            description: "How long the sessions that ended within the last day had lasted: 19 in 20 were shorter.",
            look: Lines,
            unit: Seconds,
            query: format!("template:vdi_session_duration_seconds:p95_1d{{{TEMPLATES}}}"),
            legend: "{{namespace}}/{{template}}",
        },
    ]
}

fn cpus() -> Vec<Panel> {
    vec![
        Panel {
            title: "Run-queue wait, p99",
            description: "How long runnable threads of a session waited for a CPU: 99 in 100 waits were shorter. The twenty longest.",
            look: Lines,
            unit: Seconds,
            query: format!(
                "topk(20, session:vdi_session_runqueue_wait_seconds:p99_5m{{{SESSIONS}}})"
            ),
            legend: "{{session}}",
        },
        Panel {
            title: "Why threads wait for a CPU",
            description: "Time for which runnable threads of all sessions waited, for each second: others had the CPU (contention), a CPU limit was used up (throttling), the thread had given the CPU up itself (yield).",
            look: Lines,
            unit: Seconds,
            query: format!(
                "sum by (cause) (rate(vdi_session_cpu_wait_seconds_total{{{SESSIONS}}}[$__rate_interval]))"
            ),
            legend: "{{cause}}",
        },
        Panel {
            title: "Preemptions by neighbours",
            description: "How often other sessions took the CPU, for each second that the session ran. The twenty highest.",
            look: Lines,
            unit: Count,
            query: format!(
                "topk(20, session:vdi_session_neighbour_preemptions:per_cpu_second_5m{{{SESSIONS}}})"
            ),
            legend: "{{session}}",
        },
        Panel {
            title: "CPUs in use",
            description: "CPU time of each session for each second. The twenty highest.",
            look: Lines,
            unit: Count,
            query: format!(
                "topk(20, rate(vdi_session_cpu_seconds_total{{{SESSIONS}}}[$__rate_interval]))"
            ),
            legend: "{{session}}",
        },
    ]
}

fn clients() -> Vec<Panel> {
    vec![
        Panel {
            title: "Client round trips",
            description: "Mean round-trip time to the clients of a session (inbound TCP connections). The twenty longest.",
            look: Lines,
            unit: Seconds,
            query: format!(
                "topk(20, session:vdi_session_client_rtt_seconds:mean_5m{{{SESSIONS}}})"
            ),
            legend: "{{session}}",
        },
        Panel {
            title: "Client round trips above 125 ms",
            description: "Share of the round-trip times to the clients that were above 125 ms, when input feels late. The twenty highest.",
            look: Lines,
            unit: Ratio,
            query: format!(
                "topk(20, session:vdi_session_client_rtt_seconds:above_125ms_ratio_5m{{{SESSIONS}}})"
            ),
            legend: "{{session}}",
        },
        Panel {
            title: "Clients",
            description: "Established inbound connections of each template.",
            look: Stacked,
            unit: Count,
            query: format!("sum by (template) (vdi_session_clients{{{SESSIONS}}})"),
            legend: "{{template}}",
        },
    ]
}

fn gpus() -> Vec<Panel> {
    vec![
        Panel {
            title: "GPU utilisation",
            description: "Share of time in which each GPU's multiprocessors were busy, whoever used them.",
            look: Lines,
            unit: Ratio,
            query: format!("vdi_gpu_utilization_ratio{{{NODES}}}"),
            legend: "{{instance}} GPU {{gpu}}",
        },
        Panel {
            title: "GPU utilisation by session",
            description: "What each session used of the multiprocessors, of all its GPUs together. The twenty highest.",
            look: Lines,
            unit: Ratio,
            query: format!(
                r#"topk(20, sum by (instance, session) (rate(vdi_session_gpu_busy_seconds_total{{engine="sm", {SESSIONS}}}[$__rate_interval])))"#
            ),
            legend: "{{session}}",
        },
        Panel {
            title: "GPU memory by session",
            description: "GPU memory of each session's processes, on all its GPUs together. The twenty highest.",
            look: Lines,
            unit: Bytes,
            query: format!(
                "topk(20, sum by (instance, session) (vdi_session_gpu_memory_bytes{{{SESSIONS}}}))"
            ),
            legend: "{{session}}",
        },
    ]
}

fn encoders() -> Vec<Panel> {
    vec![
        Panel {
            title: "Encoder frames",
            description: "Frames a second that the encoders of each session deliver. The twenty lowest.",
            look: Lines,
            unit: FramesPerSecond,
            query: format!("bottomk(20, vdi_session_encoder_fps{{{SESSIONS}}})"),
            legend: "{{session}} {{codec}}",
        },
        Panel {
            title: "Encoder latency",
            description: "Time to encode a frame, of each session's slowest encoder. The twenty longest.",
            look: Lines,
            unit: Seconds,
            query: format!("topk(20, vdi_session_encoder_latency_seconds{{{SESSIONS}}})"),
            legend: "{{session}} {{codec}}",
        },
        Panel {
            title: "Encoder utilisation",
            description: "Share of time in which each GPU's video encoders were busy.",
            look: Lines,
            unit: Ratio,
            query: format!("vdi_gpu_encoder_utilization_ratio{{{NODES}}}"),
            legend: "{{instance}} GPU {{gpu}}",
        },
    ]
}
