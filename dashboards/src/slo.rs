//! SLO: how much of the month's budget is left, and where did it go?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::CLUSTERS;
use super::vocabulary::{
    Thresholds::{Above, Below},
    Unit::{Count, Ratio},
};

/// Name of a cluster that no other has.
const NAME: &str = "{{cluster}} {{environment}}";

/// `dashboards/slo.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Slo,
        description: "How much of the month's budget is left, and where did it go? 95 % of the starts have a listener within 64 s, and 99 % of the minutes of watched sessions do not stutter. Prometheus has to keep 30 days; with less the figures are of what it has.",
        variables: &[Variable::Cluster, Variable::Environment],
        from: "now-1d",
        rows: vec![
            Row {
                title: "What is left of 30 days",
                panels: left(),
            },
            Row {
                title: "How fast it goes",
                panels: burns(),
            },
            Row {
                title: "Where it went",
                panels: causes(),
            },
        ],
    }
}

/// The part of the starts of 30 days that were slow.
fn slow() -> String {
    format!(
        "sum(sum_over_time(cluster:vdi_session_startups_slow:rate5m{{{CLUSTERS}}}[30d])) / (sum(sum_over_time(cluster:vdi_session_startups:rate5m{{{CLUSTERS}}}[30d])) > 0)"
    )
}

/// The part of the minutes of watched sessions within 30 days that stuttered.
fn stuttering() -> String {
    format!(
        "sum(sum_over_time(cluster:vdi_sessions_stuttering:sum{{{CLUSTERS}}}[30d])) / (sum(sum_over_time(cluster:vdi_sessions_watched:sum{{{CLUSTERS}}}[30d])) > 0)"
    )
}

fn left() -> Vec<Panel> {
    let (slow, stuttering) = (slow(), stuttering());
    vec![
        Panel::gauge("Starts within 64 s", Ratio, "Part of the starts of the last 30 days that had a listener within 64 s. The target is 95 %.")
            .query(format!("1 - {slow}"), "in time")
            .of_all()
            .thresholds(Below(0.975, 0.95))
            .nothing("no starts")
            .size(6, 7),
        Panel::number(
            "Start budget left",
            Ratio,
            "What is left of the slow starts that 30 days may have: all is 100 %, and less than 0 is overdrawn.",
        )
        .query(format!("1 - {slow} / 0.05"), "left")
        .below_zero()
        .thresholds(Below(0.5, 0.25))
        .nothing("no starts")
        .alerts(&["VdiStartupBudgetBurn"])
        .size(6, 7),
        Panel::gauge(
            "Minutes without stutter",
            Ratio,
            "Part of the minutes of watched sessions within the last 30 days that did not stutter. The target is 99 %.",
        )
        .query(format!("1 - {stuttering}"), "smooth")
        .of_all()
        .thresholds(Below(0.995, 0.99))
        .nothing("nobody watched")
        .size(6, 7),
        Panel::number(
            "Stutter budget left",
            Ratio,
            "What is left of the minutes that may stutter within 30 days: all is 100 %, and less than 0 is overdrawn.",
        )
        .query(format!("1 - {stuttering} / 0.01"), "left")
        .below_zero()
        .thresholds(Below(0.5, 0.25))
        .nothing("nobody watched")
        .alerts(&["VdiStutterBudgetBurn"])
        .size(6, 7),
        Panel::bars(
            "Templates by slow starts",
            Ratio,
            "Share of the starts of the last hour that took longer than 64 s. The ten highest.",
        )
        .query(
            format!("topk(10, template:vdi_session_startup_seconds:above_64s_ratio_1h{{{CLUSTERS}}} > 0)"),
            "{{namespace}}/{{template}}",
        )
        .of_all()
        .thresholds(Above(0.05, 0.25))
        .links(&[Link::Template])
        .nothing("none")
        .alerts(&["VdiSessionStartupSlow"])
        .size(12, 9),
        Panel::bars(
            "Nodes by stutter, last day",
            Count,
            "Minutes of watched sessions that stuttered within the last day. The ten nodes with most.",
        )
        .query(
            format!("topk(10, sum_over_time((instance:vdi_sessions_stuttering:ratio{{{CLUSTERS}}} * instance:vdi_sessions_watched:count{{{CLUSTERS}}})[1d:1m]) > 0)"),
            "{{cluster}} {{instance}}",
        )
        .thresholds(Above(10.0, 100.0))
        .links(&[Link::Node])
        .nothing("none")
        .alerts(&["VdiNodeStutters"])
        .size(12, 9),
    ]
}

fn burns() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Start burn rates",
            Count,
            "How many times faster than it may the start budget goes. Above 14.4 over an hour it is gone within two days.",
        )
        .query(format!("cluster:vdi_session_startup:burnrate1h{{{CLUSTERS}}} / 0.05"), "1 h {{cluster}} {{environment}}")
        .query(format!("cluster:vdi_session_startup:burnrate6h{{{CLUSTERS}}} / 0.05"), "6 h {{cluster}} {{environment}}")
        .query(format!("cluster:vdi_session_startup:burnrate3d{{{CLUSTERS}}} / 0.05"), "3 d {{cluster}} {{environment}}")
        .thresholds(Above(1.0, 14.4))
        .alerts(&["VdiStartupBudgetBurn"])
        .size(12, 9),
        Panel::lines(
            "Stutter burn rates",
            Count,
            "How many times faster than it may the stutter budget goes. Above 14.4 over an hour it is gone within two days.",
        )
        .query(format!("cluster:vdi_session_stutter:burnrate1h{{{CLUSTERS}}} / 0.01"), "1 h {{cluster}} {{environment}}")
        .query(format!("cluster:vdi_session_stutter:burnrate6h{{{CLUSTERS}}} / 0.01"), "6 h {{cluster}} {{environment}}")
        .query(format!("cluster:vdi_session_stutter:burnrate3d{{{CLUSTERS}}} / 0.01"), "3 d {{cluster}} {{environment}}")
        .thresholds(Above(1.0, 14.4))
        .alerts(&["VdiStutterBudgetBurn"])
        .size(12, 9),
    ]
}

fn causes() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Watched sessions that stutter",
            Ratio,
            "Of the sessions that have a client, the part that stutters.",
        )
        .query(
            format!("cluster:vdi_sessions_stuttering:ratio{{{CLUSTERS}}}"),
            NAME,
        )
        .thresholds(Above(0.01, 0.05))
        .size(12, 8),
        Panel::lines(
            "Watched sessions",
            Count,
            "Sessions that have a client and whose waits are known: what the stutter budget is of.",
        )
        .query(
            format!("cluster:vdi_sessions_watched:sum{{{CLUSTERS}}}"),
            NAME,
        )
        .size(12, 8),
    ]
}
