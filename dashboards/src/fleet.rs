//! Fleet: is everything all right, how many sessions are there, and who is worst off?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{CLUSTERS, TEMPLATES};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Any, Below, Plain},
    Unit::{Age, Count, Ratio, Seconds},
};

/// `dashboards/fleet.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Fleet,
        description: "Is everything all right? How many sessions are there, and who is worst off? Needs the recordings of rules/. Namespace and template narrow down what is of sessions; agents, GPUs, nodes and alerts are those of the clusters.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::Template,
        ],
        from: "now-3h",
        rows: vec![
            Row {
                title: "At a glance",
                panels: glance(),
            },
            Row {
                title: "What users feel",
                panels: felt(),
            },
            Row {
                title: "Sessions",
                panels: sessions(),
            },
            Row {
                title: "Nodes, GPUs and alerts",
                panels: nodes(),
            },
        ],
    }
}

fn glance() -> Vec<Panel> {
    vec![
        Panel::trend(
            "Active sessions",
            Count,
            "Sessions that are there for their users: running or idle.",
        )
        .query(
            format!(r#"sum(template_phase:vdi_sessions:sum{{phase=~"Running|Idle", {TEMPLATES}}})"#),
            "active",
        )
        .alerts(&["VdiSessionsCollapsed"]),
        Panel::trend(
            "Waiting to start",
            Count,
            "Sessions that are pending or starting. Pods that no node has taken are not among them.",
        )
        .query(
            format!(r#"sum(template_phase:vdi_sessions:sum{{phase=~"Pending|Starting", {TEMPLATES}}})"#),
            "waiting",
        )
        .alerts(&["VdiSessionsDoNotStart", "VdiSessionPending"]),
        Panel::number(
            "Failed in the last hour",
            Ratio,
            "Share of the sessions that ended within the last hour and failed: by an error, for want of memory, by eviction or by a GPU error.",
        )
        .query(
            format!("sum(template:vdi_session_failures:increase_1h{{{TEMPLATES}}}) / (sum(template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) > 0)"),
            "failed",
        )
        .thresholds(Above(0.05, 0.25))
        .nothing("no ends")
        .alerts(&["VdiSessionFailureRateHigh"]),
        Panel::trend(
            "Watched, stuttering",
            Ratio,
            "Of the sessions that have a client, the part in which more than one wait in a hundred for a CPU was longer than a frame.",
        )
        .query(
            format!("sum(cluster:vdi_sessions_stuttering:sum{{{CLUSTERS}}}) / (sum(cluster:vdi_sessions_watched:sum{{{CLUSTERS}}}) > 0)"),
            "stuttering",
        )
        .thresholds(Above(0.01, 0.05))
        .nothing("nobody watches")
        .alerts(&["VdiStutterBudgetBurn", "VdiNodeStutters"]),
        Panel::trend(
            "Agents that answer",
            Ratio,
            "Part of the agents that answer, in the cluster where it is least. Below 90 % all other figures are those of the rest.",
        )
        .query(
            format!("min(cluster:vdi_agent_up:ratio{{{CLUSTERS}}})"),
            "answering",
        )
        .thresholds(Below(0.99, 0.9))
        .nothing("no agents")
        .alerts(&["VdiAgentsDown", "VdiAgentDown"]),
        Panel::number("GPUs lost", Count, "GPUs that are there and do not answer.")
            .query(format!("sum(vdi_gpu_up{{{CLUSTERS}}} == bool 0)"), "lost")
            .thresholds(Any)
            .nothing("no GPUs")
            .alerts(&["VdiGpuLost"]),
        Panel::stacked(
            "Sessions by template",
            Count,
            "Active sessions of each template. A click leads to the sessions.",
        )
        .query(
            format!(r#"sum by (namespace, template) (template_phase:vdi_sessions:sum{{phase=~"Running|Idle", {TEMPLATES}}})"#),
            "{{namespace}}/{{template}}",
        )
        .links(&[Link::Template])
        .size(10, 8),
        Panel::gauge(
            "GPU utilisation",
            Ratio,
            "Mean over all GPUs that answer, whoever used them.",
        )
        .query(format!("avg(vdi_gpu_utilization_ratio{{{CLUSTERS}}})"), "all GPUs")
        .of_all()
        .thresholds(Above(0.8, 0.95))
        .nothing("no GPUs")
        .alerts(&["VdiGpuUtilizationHigh"]),
        Panel::lines(
            "Session duration, p95",
            Age,
            "How long the sessions that ended within the last day had lasted: 19 in 20 were shorter. It is interpolated between two bounds, so it is a hint.",
        )
        .query(
            format!("template:vdi_session_duration_seconds:p95_1d{{{TEMPLATES}}}"),
            "{{namespace}}/{{template}}",
        )
        .links(&[Link::Template])
        .size(10, 8),
        Panel::table(
            "Firing alerts",
            &[
                Label::Severity,
                Label::Alert,
                Label::Node,
                Label::Namespace,
                Label::Session,
            ],
            "Alerts that fire now. The name leads to the page that says what to do.",
        )
        .column(
            format!(r#"count by (alertname, severity, instance, namespace, session) (ALERTS{{alertname=~"Vdi.+", alertname!="VdiWatchdog", alertstate="firing", severity=~"critical|warning", {CLUSTERS}}})"#),
            "Alerts",
            Count,
            Plain,
        )
        .links(&[Link::Alert, Link::Node, Link::Session])
        .nothing("nothing fires")
        .size(14, 8),
        Panel::bars(
            "Nodes whose sessions stutter",
            Ratio,
            "Of the watched sessions of a node, the part that stutters. The ten highest of those that have any.",
        )
        .query(
            format!("topk(10, instance:vdi_sessions_stuttering:ratio{{{CLUSTERS}}} > 0)"),
            "{{cluster}} {{instance}}",
        )
        .of_all()
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Node])
        .nothing("no node")
        .alerts(&["VdiNodeStutters"])
        .size(10, 8),
    ]
}

fn felt() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Input answered late or not at all",
            Ratio,
            "Of the inputs after a pause, the part that was not answered within half a second. It is exact. Streams over UDP have none.",
        )
        .query(
            format!("cluster:vdi_session_inputs_late:ratio_5m{{{CLUSTERS}}}"),
            "{{cluster}} {{environment}}",
        )
        .thresholds(Above(0.05, 0.25))
        .alerts(&["VdiSessionScreenFrozen"]),
        Panel::stacked(
            "From key to answer",
            Seconds,
            "Where the time goes, the mean of each stage, and of the clusters: the way to the client and back, until the display server reads, until the application reads, and the work of both.",
        )
        .query(
            format!("avg by (stage) (cluster_stage:vdi_session_latency_seconds:mean_5m{{{CLUSTERS}}})"),
            "{{stage}}",
        )
        .thresholds(Above(0.2, 0.5))
        .alerts(&["VdiSessionInputDelayHigh"]),
        Panel::bars(
            "Templates answered late or not at all",
            Ratio,
            "Of the inputs after a pause to sessions of a template, the part that was not answered within half a second. The ten highest of those that have any.",
        )
        .query(
            format!("topk(10, template:vdi_session_inputs_late:ratio_5m{{{TEMPLATES}}} > 0)"),
            "{{namespace}}/{{template}}",
        )
        .of_all()
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Template])
        .nothing("no template"),
        Panel::lines(
            "Logon by phase, slowest template",
            Seconds,
            "Mean time that each phase of a logon took over the last hour, in the template where it is longest.",
        )
        .query(
            format!("max by (phase) (template_phase:vdi_session_logon_seconds:mean_1h{{{TEMPLATES}}})"),
            "{{phase}}",
        )
        .thresholds(Above(10.0, 20.0))
        .alerts(&["VdiSessionLogonSlow"]),
        Panel::lines(
            "Clients gone, each minute",
            Count,
            "Clients that left, by how: one of the sides closed, or broke off, nobody answered any more, or the session closed because nothing came.",
        )
        .query(
            format!("60 * sum by (how) (cluster_how:vdi_session_client_disconnects:rate5m{{{CLUSTERS}}})"),
            "{{how}}",
        )
        .alerts(&["VdiSessionClientsCutOff"]),
        Panel::lines(
            "Hung applications",
            Count,
            "Applications that have left what their display sends them unread for more than five seconds.",
        )
        .query(
            format!("cluster:vdi_session_unresponsive_applications:sum{{{CLUSTERS}}}"),
            "{{cluster}} {{environment}}",
        )
        .alerts(&["VdiSessionApplicationHangs"]),
    ]
}

fn sessions() -> Vec<Panel> {
    vec![
        Panel::stacked("Sessions by phase", Count, "Live sessions in each phase of their life.")
            .query(
                format!("sum by (phase) (template_phase:vdi_sessions:sum{{{TEMPLATES}}})"),
                "{{phase}}",
            ),
        Panel::lines(
            "Failures by template",
            Ratio,
            "Share of the sessions of a template that ended within the last hour and failed.",
        )
        .query(
            format!("template:vdi_session_failures:ratio_1h{{{TEMPLATES}}}"),
            "{{namespace}}/{{template}}",
        )
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Template])
        .alerts(&["VdiSessionFailureRateHigh"]),
        Panel::pie(
            "Ends of the last hour, by reason",
            Count,
            "Sessions that ended within the last hour, by why they ended.",
        )
        .query(
            format!("sum by (reason) (template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) > 0"),
            "{{reason}}",
        )
        .nothing("no ends"),
        Panel::lines(
            "Starts and ends, each minute",
            Count,
            "Sessions that got a listener, those of them that took longer than 64 s, and sessions that ended, all of them the mean of the time before.",
        )
        .query(format!("60 * sum(cluster:vdi_session_startups:rate5m{{{CLUSTERS}}})"), "starts")
        .query(format!("60 * sum(cluster:vdi_session_startups_slow:rate5m{{{CLUSTERS}}})"), "slow starts")
        .query(format!("sum(template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) / 60"), "ends")
        .alerts(&["VdiStartupBudgetBurn"]),
        Panel::lines(
            "Start to the first listener, mean",
            Seconds,
            "Time from the beginning of a session until something in it takes connections, over the last hour.",
        )
        .query(
            format!(r#"template_milestone:vdi_session_startup_seconds:mean_1h{{milestone="first_listener", {TEMPLATES}}}"#),
            "{{namespace}}/{{template}}",
        )
        .thresholds(Above(32.0, 64.0))
        .links(&[Link::Template])
        .alerts(&["VdiSessionStartupSlow"]),
        Panel::lines("Clients", Count, "Established inbound connections of all sessions.")
            .query(
                format!("cluster:vdi_session_clients:sum{{{CLUSTERS}}}"),
                "{{cluster}} {{environment}}",
            )
            .alerts(&["VdiClientsCollapsed"]),
    ]
}

fn nodes() -> Vec<Panel> {
    vec![
        Panel::lines(
            "GPUs by cluster",
            Ratio,
            "Mean utilisation of the GPUs that answer, and the part of their memory that is allocated.",
        )
        .query(
            format!("cluster:vdi_gpu_utilization:avg{{{CLUSTERS}}}"),
            "{{cluster}} utilisation",
        )
        .query(
            format!("cluster:vdi_gpu_memory_used:ratio{{{CLUSTERS}}}"),
            "{{cluster}} memory",
        )
        .of_all()
        .alerts(&["VdiGpusFull"]),
        Panel::lines(
            "Firing alerts by severity",
            Count,
            "How many alerts fire, by severity.",
        )
        .query(
            format!(r#"count by (severity) (ALERTS{{alertname=~"Vdi.+", alertname!="VdiWatchdog", alertstate="firing", {CLUSTERS}}})"#),
            "{{severity}}",
        ),
        Panel::table(
            "Alerts of the last week",
            &[Label::Severity, Label::Alert],
            "For how long each alert fired within seven days, all its series together, if rules are evaluated each minute. One that nobody acts on has a wrong threshold.",
        )
        .column(
            format!(r#"60 * sum by (alertname, severity) (count_over_time(ALERTS{{alertname=~"Vdi.+", alertname!="VdiWatchdog", alertstate="firing", {CLUSTERS}}}[7d]))"#),
            "Fired for",
            Age,
            Plain,
        )
        .links(&[Link::Alert])
        .nothing("nothing fired")
        .size(8, 8),
    ]
}
