//! Agents: do they see everything, and what do they cost?

mod work;

use super::board::{Board, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{NODES, SOURCES};
use super::vocabulary::{
    ANSWERS, Label,
    Thresholds::{Above, Any, Below, Plain},
    Unit::{Count, PerSecond, Ratio, Seconds},
};

/// `dashboards/agents.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Agents,
        description: "Do the agents see everything, and what do they cost? Look first at programs that do not run, and at what was left out. Source chooses where sessions come from.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Node,
            Variable::Source,
        ],
        from: "now-3h",
        rows: vec![
            Row {
                title: "Do they see everything?",
                panels: sight(),
            },
            Row {
                title: "Sources of sessions",
                panels: sources(),
            },
            Row {
                title: "Requests to them",
                panels: work::requests(),
            },
            Row {
                title: "What they cost",
                panels: work::cost(),
            },
            Row {
                title: "Driver, versions and configuration",
                panels: work::driver(),
            },
        ],
    }
}

fn sight() -> Vec<Panel> {
    vec![
        Panel::trend("Agents that answer", Ratio, "Part of the chosen agents that answer.")
            .query(format!(r#"avg(up{{job="sessionscope", {NODES}}})"#), "answer")
            .thresholds(Below(0.99, 0.9))
            .nothing("no agents")
            .alerts(&["VdiAgentsDown", "VdiAgentDown", "VdiAgentTargetsAbsent"]),
        Panel::number("Sessions tracked", Count, "Live sessions that are measured.")
            .query(format!("sum(vdi_agent_sessions_tracked{{{NODES}}})"), "tracked"),
        Panel::number(
            "Left out in the last hour",
            Count,
            "Sessions, series and events that found no room: what they would have shown is missing.",
        )
        .query(
            format!("sum(increase(vdi_agent_sessions_overflowed_total{{{NODES}}}[1h])) + (sum(increase(vdi_agent_series_dropped_total{{{NODES}}}[1h])) or vector(0)) + (sum(increase(vdi_agent_events_lost_total{{{NODES}}}[1h])) or vector(0))"),
            "left out",
        )
        .thresholds(Any)
        .alerts(&["VdiAgentSessionsOverflowed", "VdiAgentSeriesDropped", "VdiAgentEventsLost"]),
        Panel::number(
            "Programs off",
            Count,
            "Kernel programs that do not run, over all agents. On older kernels others stand in for a few.",
        )
        .query(format!("count(vdi_agent_probe_up{{{NODES}}} == 0)"), "off")
        .nothing("all run")
        .alerts(&["VdiAgentProbeDown"]),
        Panel::number(
            "Worst discrepancy",
            Ratio,
            "How far the agents' figures are from the kernel's own accounts, at worst.",
        )
        .query(format!("round(max(vdi_agent_audit_discrepancy_ratio{{{NODES}}}), 0.0001)"), "discrepancy")
        .thresholds(Above(0.02, 0.05))
        .nothing("not compared yet")
        .alerts(&["VdiAgentAuditDiscrepancy"]),
        Panel::number("Oldest sample", Seconds, "Age of the oldest figures that an agent shows.")
            .query(format!("max(vdi_agent_sample_age_seconds{{{NODES}}})"), "oldest")
            .thresholds(Above(10.0, 60.0))
            .alerts(&["VdiAgentSampleStale"]),
        Panel::table(
            "Programs that do not run, and why",
            &[Label::Probe, Label::Code],
            "Kernel programs that do not run, why, and on how many nodes. docs/kernels.md says what stands in for them.",
        )
        .column(
            format!("count by (probe, code) (vdi_agent_probe_up{{{NODES}}} == 0)"),
            "Nodes",
            Count,
            Plain,
        )
        .nothing("all run")
        .alerts(&["VdiAgentProbeDown"])
        .size(8, 9),
        Panel::lines(
            "Left out",
            Count,
            "Sessions over the limit, series over the limit, events that were lost and switches of which nothing was measured.",
        )
        .query(format!("sum(increase(vdi_agent_sessions_overflowed_total{{{NODES}}}[$__rate_interval]))"), "sessions")
        .query(format!("sum(increase(vdi_agent_templates_overflowed_total{{{NODES}}}[$__rate_interval]))"), "templates")
        .query(
            format!("sum by (family) (increase(vdi_agent_series_dropped_total{{{NODES}}}[$__rate_interval]))"),
            "series: {{family}}",
        )
        .query(
            format!("sum by (event) (increase(vdi_agent_events_lost_total{{{NODES}}}[$__rate_interval]))"),
            "events: {{event}}",
        )
        .query(format!("sum(increase(vdi_agent_unmeasured_switches_total{{{NODES}}}[$__rate_interval]))"), "switches")
        .size(8, 9),
        Panel::bars(
            "Nearest to a limit",
            Ratio,
            "Sessions, series, memory, events and maps of an agent, as a part of what it has room for. The highest of each.",
        )
        .query(format!("max(vdi_agent_sessions_tracked{{{NODES}}} / vdi_agent_sessions_limit{{{NODES}}})"), "sessions")
        .query(format!("max(vdi_agent_series{{{NODES}}} / (vdi_agent_series_limit{{{NODES}}} > 0))"), "series")
        .query(
            format!(r#"max(process_resident_memory_bytes{{job="sessionscope", {NODES}}} / vdi_agent_memory_limit_bytes{{{NODES}}})"#),
            "memory",
        )
        .query(format!("max(vdi_agent_ring_bytes{{{NODES}}} / vdi_agent_ring_limit_bytes{{{NODES}}})"), "events")
        .query(
            format!("max by (map) (vdi_agent_map_entries{{{NODES}}} / vdi_agent_map_limit{{{NODES}}})"),
            "map {{map}}",
        )
        .of_all()
        .thresholds(Above(0.8, 0.95))
        .alerts(&["VdiAgentSessionsNearLimit", "VdiAgentSeriesNearLimit", "VdiAgentMapNearlyFull"])
        .size(8, 9),
    ]
}

fn sources() -> Vec<Panel> {
    vec![
        Panel::states(
            "Sources that answer",
            ANSWERS,
            "Whether each platform answers the agent, in the cluster where it does so least: no answer means that one agent gets none.",
        )
        .query(
            format!(r#"min by (cluster, source) (max by (cluster, environment, instance, source) (vdi_agent_source_up{{reason!~"off|absent", {SOURCES}}}))"#),
            "{{cluster}} {{source}}",
        )
        .nothing("no platform is asked")
        .alerts(&["VdiAgentSourceDown"])
        .size(8, 8),
        Panel::lines("Comparisons", PerSecond, "Comparisons of what a source has with what is known, by result.").query(
            format!("sum by (source, result) (rate(vdi_agent_reconcile_total{{{SOURCES}}}[$__rate_interval]))"),
            "{{source}} {{result}}",
        ),
        Panel::gauge("Good comparisons", Ratio, "Part of the comparisons of the last hour that succeeded.")
            .query(
                format!(r#"sum(rate(vdi_agent_reconcile_total{{result="success", {SOURCES}}}[1h])) / (sum(rate(vdi_agent_reconcile_total{{{SOURCES}}}[1h])) > 0)"#),
                "succeed",
            )
            .of_all()
            .thresholds(Below(0.99, 0.9))
            .nothing("none")
            .alerts(&["VdiAgentReconcileErrors"]),
        Panel::gauge("Sessions taken", Ratio, "Part of the sessions that came within the last hour and were measured.")
            .query(
                format!(r#"sum(increase(vdi_agent_admissions_total{{result="admitted", {SOURCES}}}[1h])) / (sum(increase(vdi_agent_admissions_total{{{SOURCES}}}[1h])) > 0)"#),
                "taken",
            )
            .of_all()
            .thresholds(Below(0.99, 0.9))
            .nothing("none came"),
        Panel::lines("Time of a comparison, p95", Seconds, "19 in 20 comparisons were faster.").query(
            format!("histogram_quantile(0.95, sum by (source, le) (rate(vdi_agent_reconcile_duration_seconds_bucket{{{SOURCES}}}[5m])))"),
            "{{source}}",
        ),
        Panel::lines("Errors of comparisons", PerSecond, "Comparisons that failed, by kind of error.")
            .query(
                format!("sum by (source, error_type) (rate(vdi_agent_reconcile_errors_total{{{SOURCES}}}[$__rate_interval]))"),
                "{{source}} {{error_type}}",
            )
            .nothing("none"),
        Panel::lines(
            "Sessions that came",
            Count,
            "Sessions that came within the hour before, by who made them and what became of that.",
        )
        .query(
            format!("sum by (source, result) (increase(vdi_agent_admissions_total{{{SOURCES}}}[1h]))"),
            "{{source}} {{result}}",
        ),
    ]
}
