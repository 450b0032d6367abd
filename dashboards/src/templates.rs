//! Namespaces and templates: what does a template cost, how does it start and end?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::TEMPLATES;
use super::vocabulary::{
    Label,
    Thresholds::{Above, Plain},
    Unit::{Age, Bytes, Count, Ratio, Seconds},
};

/// Name of a template that no other has.
const NAME: &str = "{{namespace}}/{{template}}";
/// Sessions for which resources are held.
const ACTIVE: &str = r#"phase=~"Running|Idle""#;

/// `dashboards/templates.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Templates,
        description: "What does a template cost, and how does it start and end? Needs the recordings of templates in rules/.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::Template,
        ],
        from: "now-6h",
        rows: vec![
            Row {
                title: "Start and end",
                panels: life(),
            },
            Row {
                title: "What they cost",
                panels: cost(),
            },
            Row {
                title: "How they start",
                panels: starts(),
            },
            Row {
                title: "How they end",
                panels: ends(),
            },
        ],
    }
}

fn active() -> String {
    format!(
        "sum by (cluster, environment, namespace, template) (template_phase:vdi_sessions:sum{{{ACTIVE}, {TEMPLATES}}})"
    )
}

fn life() -> Vec<Panel> {
    vec![
        Panel::table(
            "Templates",
            &[Label::Namespace, Label::Template],
            "How each template starts and ends, and what it takes. A click leads to its sessions. Empty cells are figures that are not known.",
        )
        .column(
            format!("template:vdi_session_failures:ratio_1h{{{TEMPLATES}}}"),
            "Failed, 1 h",
            Ratio,
            Above(0.05, 0.25),
        )
        .column(
            format!("template:vdi_session_startup_seconds:above_64s_ratio_1h{{{TEMPLATES}}}"),
            "Slow starts",
            Ratio,
            Above(0.05, 0.25),
        )
        .column(active(), "Active", Count, Plain)
        .column(
            format!(r#"sum by (cluster, environment, namespace, template) (template_phase:vdi_sessions:sum{{phase=~"Pending|Starting", {TEMPLATES}}})"#),
            "Waiting",
            Count,
            Plain,
        )
        .column(
            format!("template:vdi_session_cpu_seconds:rate5m{{{TEMPLATES}}}"),
            "CPUs",
            Count,
            Plain,
        )
        .column(
            format!("template:vdi_session_memory_bytes:sum{{{TEMPLATES}}}"),
            "Memory",
            Bytes,
            Plain,
        )
        .column(
            format!("template:vdi_session_gpu_memory_bytes:sum{{{TEMPLATES}}}"),
            "GPU memory",
            Bytes,
            Plain,
        )
        .column(
            format!("template:vdi_session_duration_seconds:p95_1d{{{TEMPLATES}}}"),
            "Duration, p95",
            Age,
            Plain,
        )
        .links(&[Link::Template])
        .alerts(&["VdiSessionFailureRateHigh", "VdiSessionStartupSlow"])
        .size(24, 9),
        Panel::lines(
            "Failure rate",
            Ratio,
            "Share of the sessions of a template that ended within the last hour and failed.",
        )
        .query(
            format!("template:vdi_session_failures:ratio_1h{{{TEMPLATES}}}"),
            NAME,
        )
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Template])
        .alerts(&["VdiSessionFailureRateHigh", "VdiTemplateCrashLoop"]),
        Panel::lines(
            "Start-up milestones, mean",
            Seconds,
            "Time from the beginning of a session to each milestone of its start, over the last hour, the mean of the chosen templates. Each is counted from the beginning, so the largest says how long a start takes.",
        )
        .query(
            format!("avg by (milestone) (template_milestone:vdi_session_startup_seconds:mean_1h{{{TEMPLATES}}})"),
            "{{milestone}}",
        )
        .alerts(&["VdiSessionStartupSlow"]),
        Panel::pie("Ends of the last hour, by reason", Count, "Sessions that ended within the last hour, by why they ended.")
            .query(
                format!("sum by (reason) (template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) > 0"),
                "{{reason}}",
            )
            .nothing("no ends"),
    ]
}

fn cost() -> Vec<Panel> {
    vec![
        Panel::stacked("Active sessions", Count, "Sessions of each template that are running or idle.")
            .query(
                format!("sum by (namespace, template) (template_phase:vdi_sessions:sum{{{ACTIVE}, {TEMPLATES}}})"),
                NAME,
            )
            .links(&[Link::Template]),
        Panel::stacked("CPUs", Count, "CPU time of a template's sessions for each second.")
            .query(format!("template:vdi_session_cpu_seconds:rate5m{{{TEMPLATES}}}"), NAME)
            .links(&[Link::Template]),
        Panel::stacked("Memory", Bytes, "Memory that is charged to a template's sessions.")
            .query(format!("template:vdi_session_memory_bytes:sum{{{TEMPLATES}}}"), NAME)
            .links(&[Link::Template]),
        Panel::stacked("GPU time", Count, "GPUs whose multiprocessors a template keeps busy. Absent under MIG.")
            .query(
                format!(r#"template_engine:vdi_session_gpu_busy_seconds:rate5m{{engine="sm", {TEMPLATES}}}"#),
                NAME,
            )
            .links(&[Link::Template]),
        Panel::stacked("GPU memory", Bytes, "GPU memory of a template's sessions.")
            .query(format!("template:vdi_session_gpu_memory_bytes:sum{{{TEMPLATES}}}"), NAME)
            .links(&[Link::Template]),
        Panel::lines("CPUs of a session", Count, "CPU time of a template for each of its active sessions.")
            .query(
                format!("template:vdi_session_cpu_seconds:rate5m{{{TEMPLATES}}} / on (cluster, environment, namespace, template) ({} > 0)", active()),
                NAME,
            )
            .links(&[Link::Template]),
        Panel::lines(
            "Idle",
            Ratio,
            "Part of the active sessions of a template that nobody uses, as far as their platform says so.",
        )
        .query(
            format!(r#"sum by (cluster, environment, namespace, template) (template_phase:vdi_sessions:sum{{phase="Idle", {TEMPLATES}}}) / ({} > 0)"#, active()),
            NAME,
        )
        .of_all()
        .links(&[Link::Template])
        .alerts(&["VdiSessionsIdle"])
        .size(12, 8),
        Panel::stacked("Sessions by namespace", Count, "Live sessions of each namespace, in all phases.")
            .query(
                format!("sum by (namespace) (template_phase:vdi_sessions:sum{{{TEMPLATES}}})"),
                "{{namespace}}",
            )
            .size(12, 8),
    ]
}

fn starts() -> Vec<Panel> {
    vec![
        Panel::buckets(
            "Start to the first listener",
            Seconds,
            "Time from the beginning of a session until something in it takes connections: how often, in each bucket.",
        )
        .query(
            format!(r#"sum by (le) (increase(vdi_session_startup_seconds_bucket{{milestone="first_listener", {TEMPLATES}}}[$__rate_interval]))"#),
            "{{le}}",
        )
        .nothing("no starts"),
        Panel::lines(
            "Start to each milestone, p95",
            Seconds,
            "19 in 20 sessions of the last hour were faster. It is interpolated between two bounds, so it is a hint.",
        )
        .query(
            format!("template:vdi_session_startup_seconds:p95_1h{{{TEMPLATES}}}"),
            "{{namespace}}/{{template}} {{milestone}}",
        )
        .thresholds(Above(32.0, 64.0))
        .links(&[Link::Template]),
        Panel::lines(
            "Slow starts",
            Ratio,
            "Share of the starts of the last hour that took longer than 64 s to a listener. It is exact.",
        )
        .query(
            format!("template:vdi_session_startup_seconds:above_64s_ratio_1h{{{TEMPLATES}}}"),
            NAME,
        )
        .of_all()
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Template])
        .alerts(&["VdiSessionStartupSlow", "VdiStartupBudgetBurn"]),
    ]
}

fn ends() -> Vec<Panel> {
    let of_day = |share: &str| {
        format!(
            "histogram_quantile({share}, sum by (le) (sum_over_time(template_le:vdi_session_duration_seconds_bucket:rate5m{{{TEMPLATES}}}[1d]))) >= 0"
        )
    };
    vec![
        Panel::stacked("Ends by reason", Count, "Sessions that ended within the hour before, by reason.").query(
            format!("sum by (reason) (template:vdi_session_ended:increase_1h{{{TEMPLATES}}})"),
            "{{reason}}",
        )
        .alerts(&["VdiSessionsEvicted", "VdiSessionsEndedByGpu"])
        .size(6, 8),
        Panel::buckets(
            "Durations",
            Age,
            "How long the sessions that ended had lasted: how often, in each bucket.",
        )
        .query(
            format!("sum by (le) (increase(vdi_session_duration_seconds_bucket{{{TEMPLATES}}}[$__rate_interval]))"),
            "{{le}}",
        )
        .nothing("no ends")
        .size(6, 8),
        Panel::bars(
            "Durations of the last day",
            Age,
            "Half, 19 in 20 and 99 in 100 of the sessions that ended within the last day were shorter. It is interpolated between two bounds, so it is a hint.",
        )
        .query(of_day("0.5"), "p50")
        .query(of_day("0.95"), "p95")
        .query(of_day("0.99"), "p99")
        .nothing("no ends")
        .size(6, 8),
        Panel::lines(
            "Session duration, p95",
            Age,
            "How long the sessions that ended within the day before had lasted: 19 in 20 were shorter. It is a hint.",
        )
        .query(
            format!("template:vdi_session_duration_seconds:p95_1d{{{TEMPLATES}}}"),
            NAME,
        )
        .links(&[Link::Template])
        .size(6, 8),
    ]
}
