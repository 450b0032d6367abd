//! Capacity: when does it run out, and what is held for nobody?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{CLUSTERS, TEMPLATES};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Plain},
    Unit::{Age, Bytes, Count, Ratio, Watts},
};

/// Name of a cluster that no other has.
const NAME: &str = "{{cluster}} {{environment}}";

/// `dashboards/capacity.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Capacity,
        description: "When does it run out, and what is held for nobody? Plan by the highest value of a working week, and leave room for one node that fails.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::Template,
        ],
        from: "now-2d",
        rows: vec![
            Row {
                title: "When does it run out?",
                panels: runs_out(),
            },
            Row {
                title: "What is held for nobody?",
                panels: held(),
            },
            Row {
                title: "Nodes and templates",
                panels: nodes(),
            },
        ],
    }
}

fn runs_out() -> Vec<Panel> {
    let active = r#"phase=~"Running|Idle""#;
    let most = |before: &str| {
        format!(
            "max_over_time(sum without (phase) (cluster_phase:vdi_sessions:sum{{{active}, {CLUSTERS}}})[7d:5m]{before})"
        )
    };
    let (week, before) = (most(""), most(" offset 7d"));
    vec![
        Panel::number("Most sessions of a week", Count, "Most sessions that were active at a time within seven days, clusters added up.")
            .query(format!("sum({week})"), "most"),
        Panel::number(
            "Growth in a week",
            Ratio,
            "Most sessions of the last seven days against the seven before: 10 % is a tenth more.",
        )
        .query(format!("sum({week}) / (sum({before}) > 0) - 1"), "growth")
        .below_zero()
        .thresholds(Above(0.1, 0.3))
        .nothing("no week before"),
        Panel::number(
            "GPU memory, 7 d peak",
            Ratio,
            "Highest part of the GPU memory that was allocated within seven days, in the fullest cluster.",
        )
        .query(format!("max(max_over_time(cluster:vdi_gpu_memory_used:ratio{{{CLUSTERS}}}[7d]))"), "most")
        .thresholds(Above(0.8, 0.9))
        .nothing("no GPUs")
        .alerts(&["VdiGpusFull"]),
        Panel::number(
            "GPU memory in 4 h",
            Ratio,
            "Part of the GPU memory that will be allocated in four hours if it goes on as in the last six, in the fullest cluster.",
        )
        .query(
            format!("max(predict_linear(cluster:vdi_gpu_memory_used:ratio{{{CLUSTERS}}}[6h], 14400))"),
            "in four hours",
        )
        .thresholds(Above(0.9, 1.0))
        .nothing("no GPUs")
        .alerts(&["VdiGpuMemoryRunsOut"]),
        Panel::number("GPUs without a session", Count, "GPUs that answer and that no session uses.")
            .query(
                format!("count(max without (reason) (vdi_gpu_up{{{CLUSTERS}}}) == 1 unless on (cluster, environment, job, instance, gpu) gpu:vdi_sessions:count{{{CLUSTERS}}})"),
                "free",
            )
            .nothing("none")
            .alerts(&["VdiGpuUnused"]),
        Panel::number(
            "Agents near their limit",
            Count,
            "Agents that measure more than eight tenths of the sessions that they may.",
        )
        .query(
            format!("count(vdi_agent_sessions_tracked{{{CLUSTERS}}} / vdi_agent_sessions_limit{{{CLUSTERS}}} > 0.8)"),
            "near",
        )
        .thresholds(Above(1.0, 5.0))
        .nothing("none")
        .alerts(&["VdiAgentSessionsNearLimit"]),
        Panel::lines(
            "GPU memory, now and four hours ahead",
            Ratio,
            "Part of the GPU memory that is allocated, and what it will be in four hours if it goes on as in the six before.",
        )
        .query(format!("cluster:vdi_gpu_memory_used:ratio{{{CLUSTERS}}}"), "{{cluster}} {{environment}}")
        .query(
            format!("predict_linear(cluster:vdi_gpu_memory_used:ratio{{{CLUSTERS}}}[6h], 14400)"),
            "{{cluster}} {{environment}} in 4 h",
        )
        .of_all()
        .thresholds(Above(0.9, 0.97))
        .alerts(&["VdiGpuMemoryRunsOut"])
        .size(12, 8),
        Panel::stacked("Sessions by cluster", Count, "Active sessions of each cluster.")
            .query(
                format!("sum by (cluster, environment) (cluster_phase:vdi_sessions:sum{{{active}, {CLUSTERS}}})"),
                NAME,
            )
            .size(12, 8),
        Panel::lines("GPU time", Ratio, "Mean utilisation of the GPUs that answer.")
            .query(format!("cluster:vdi_gpu_utilization:avg{{{CLUSTERS}}}"), NAME)
            .of_all()
            .thresholds(Above(0.8, 0.95))
            .alerts(&["VdiGpuUtilizationHigh"]),
        Panel::cells(
            "GPUs by number of sessions",
            Count,
            "How many GPUs had so many sessions. GPUs without any are not in it.",
        )
        .query(
            format!(r#"count_values("sessions", gpu:vdi_sessions:count{{{CLUSTERS}}})"#),
            "{{sessions}}",
        )
        .nothing("no GPU has a session"),
        Panel::bars("Fullest GPUs", Ratio, "Part of a GPU's memory that is allocated. The ten highest.")
            .query(
                format!("topk(10, gpu:vdi_gpu_memory_used:ratio{{{CLUSTERS}}})"),
                "{{instance}} GPU {{gpu}}",
            )
            .of_all()
            .thresholds(Above(0.9, 0.97))
            .links(&[Link::Gpu, Link::Node])
            .nothing("no GPUs")
            .alerts(&["VdiGpuMemoryNearlyFull"]),
    ]
}

fn held() -> Vec<Panel> {
    let each = "cluster, environment, instance, namespace, template, session";
    vec![
        Panel::table(
            "GPU memory of sessions that hardly use the GPU",
            &[Label::Namespace, Label::Session, Label::Template, Label::Node],
            "Sessions that have held GPU memory and used less than 1 % of the multiprocessors over the last hour. The twenty with most. Where use by session is not known, none is here.",
        )
        .column(
            format!(r#"topk(20, sum by ({each}) (vdi_session_gpu_memory_bytes{{{TEMPLATES}}}) and sum by ({each}) (rate(vdi_session_gpu_busy_seconds_total{{engine="sm", {TEMPLATES}}}[1h])) < 0.01)"#),
            "GPU memory",
            Bytes,
            Plain,
        )
        .links(&[Link::Session, Link::Node, Link::Template])
        .nothing("none")
        .alerts(&["VdiGpuHeldIdle"]),
        Panel::table(
            "Very old sessions",
            &[Label::Namespace, Label::Session, Label::Template, Label::Node],
            "Sessions that are older than a week. The twenty oldest.",
        )
        .column(
            format!("topk(20, time() - vdi_session_start_time_seconds{{{TEMPLATES}}} > 604800)"),
            "Age",
            Age,
            Above(1_209_600.0, 2_592_000.0),
        )
        .links(&[Link::Session, Link::Node, Link::Template])
        .nothing("none")
        .alerts(&["VdiSessionAbandoned"]),
        Panel::table(
            "Which GPUs have no session",
            &[Label::Node, Label::Gpu],
            "GPUs that answer and that no session uses.",
        )
        .column(
            format!("max without (reason) (vdi_gpu_up{{{CLUSTERS}}}) == 1 unless on (cluster, environment, job, instance, gpu) gpu:vdi_sessions:count{{{CLUSTERS}}}"),
            "Free",
            Count,
            Plain,
        )
        .links(&[Link::Gpu, Link::Node])
        .nothing("none")
        .alerts(&["VdiGpuUnused"]),
        Panel::table(
            "Longest not used",
            &[Label::Namespace, Label::Session, Label::Template, Label::Node],
            "Sessions that nobody has used for an hour: no client has sent anything, no GPU was used, and less than a twentieth of a CPU. The twenty that have rested longest.",
        )
        .column(
            format!("topk(20, vdi_session_idle_seconds{{{TEMPLATES}}} > 3600)"),
            "Not used for",
            Age,
            Above(14_400.0, 259_200.0),
        )
        .links(&[Link::Session, Link::Node, Link::Template])
        .nothing("none")
        .alerts(&["VdiSessionsIdle", "VdiSessionAbandoned"]),
        Panel::stacked("Idle sessions", Count, "Sessions that nobody uses, as far as their platform says so, by template.")
            .query(
                format!(r#"sum by (namespace, template) (template_phase:vdi_sessions:sum{{phase="Idle", {TEMPLATES}}})"#),
                "{{namespace}}/{{template}}",
            )
            .links(&[Link::Template])
            .alerts(&["VdiSessionsIdle"])
            .size(24, 9),
    ]
}

fn nodes() -> Vec<Panel> {
    vec![
        Panel::bars("Most sessions of a node", Count, "Active sessions of a node. The ten highest.")
            .query(
                format!(r#"topk(10, sum by (cluster, environment, instance) (instance_phase:vdi_sessions:sum{{phase=~"Running|Idle", {CLUSTERS}}}))"#),
                "{{cluster}} {{instance}}",
            )
            .links(&[Link::Node]),
        Panel::bars(
            "Nearest to the limit of sessions",
            Ratio,
            "Sessions that an agent measures, as a part of those that it may. The ten highest.",
        )
        .query(
            format!("topk(10, vdi_agent_sessions_tracked{{{CLUSTERS}}} / vdi_agent_sessions_limit{{{CLUSTERS}}})"),
            "{{cluster}} {{instance}}",
        )
        .of_all()
        .thresholds(Above(0.8, 0.95))
        .links(&[Link::Node])
        .alerts(&["VdiAgentSessionsNearLimit"]),
        Panel::lines("Power of GPUs", Watts, "Power that the boards of a cluster draw.").query(
            format!("sum by (cluster, environment) (vdi_gpu_power_watts{{{CLUSTERS}}})"),
            NAME,
        ),
    ]
}
