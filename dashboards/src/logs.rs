//! Logs: what did the agents say, and of which session?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::vocabulary::{
    Thresholds::{Above, Any},
    Unit::Count,
};

/// The lines of the agents, by their fields (docs/log.md). Collectors have other labels besides `job`, or none.
const LINES: &str = r#"{job="sessionscope"} | json"#;
/// Those of the chosen levels and sessions. A line that is of no session is among those of all.
const CHOSEN: &str = r#"{job="sessionscope"} | json | level=~"$level" | session=~"$session""#;

/// `dashboards/logs.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Logs,
        description: "What did the agents say, and of which session? Needs Loki, agents that log in JSON, and a collector that sets the label job to sessionscope. The data source of Prometheus lists the sessions.",
        variables: &[
            Variable::Loki,
            Variable::Level,
            Variable::Find,
            Variable::Session,
        ],
        from: "now-3h",
        rows: vec![
            Row {
                title: "What was said",
                panels: said(),
            },
            Row {
                title: "What is wrong",
                panels: wrong(),
            },
        ],
    }
}

/// How many lines there were with some events, within the chosen sessions.
fn count(window: &str, events: &str) -> String {
    format!(r#"count_over_time({CHOSEN} | event=~"{events}" [{window}])"#)
}

fn said() -> Vec<Panel> {
    vec![
        Panel::number("Errors of the last hour", Count, "Lines of the level error, of all agents.")
            .query(
                format!(r#"sum(count_over_time({LINES} | level="error" [1h]))"#),
                "errors",
            )
            .of_logs()
            .thresholds(Any)
            .nothing("none"),
        Panel::number("Warnings of the last hour", Count, "Lines of the level warn, of all agents.")
            .query(
                format!(r#"sum(count_over_time({LINES} | level="warn" [1h]))"#),
                "warnings",
            )
            .of_logs()
            .thresholds(Above(1.0, 100.0))
            .nothing("none"),
        Panel::number(
            "Xid errors of the last day",
            Count,
            "Errors of GPUs, and processes that the driver blames for them.",
        )
        .query(format!("sum({})", count("1d", "(gpu|process)_xid")), "Xid errors")
        .of_logs()
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiGpuXidError"]),
        Panel::number(
            "Killed for memory, 1 d",
            Count,
            "Processes of the chosen sessions that the kernel killed because memory was used up.",
        )
        // In brackets, because a word that begins like this is taken for a metric of the agent's process.
        .query(format!("sum({})", count("1d", "(process)_oom_killed")), "killed")
        .of_logs()
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiSessionOomKilled"]),
        Panel::number(
            "Not measured, 1 d",
            Count,
            "Sessions, programs and events of which something is not measured, and platforms that do not answer any more.",
        )
        .query(
            format!("sum({})", count("1d", "platform_lost|session_limit_reached|session_unmeasured|program_off|events_lost")),
            "not measured",
        )
        .of_logs()
        .thresholds(Above(1.0, 100.0))
        .nothing("none"),
        Panel::number(
            "Settings refused, 1 d",
            Count,
            "Changes of the configuration that did not come into effect.",
        )
        .query(
            format!("sum({})", count("1d", "configuration_refused|restart_wanted")),
            "refused",
        )
        .of_logs()
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiAgentReloadFailed"]),
        Panel::stacked("Lines by level", Count, "Lines of the chosen levels and sessions within each five minutes.")
            .query(
                format!("sum by (level) (count_over_time({CHOSEN} [5m]))"),
                "{{level}}",
            )
            .of_logs()
            .size(12, 7),
        Panel::stacked("Lines by event", Count, "What was said, within each five minutes. docs/log.md lists the events.")
            .query(
                format!("sum by (event) (count_over_time({CHOSEN} [5m]))"),
                "{{event}}",
            )
            .of_logs()
            .size(12, 7),
        Panel::logs("Lines", "What was said of the chosen sessions, newest first. A trace_id is the trace of the session.")
            .query(CHOSEN, "")
            .size(24, 10),
    ]
}

fn wrong() -> Vec<Panel> {
    vec![
        Panel::bars(
            "Killed and failed processes by session, last hour",
            Count,
            "Lines about processes that were killed or failed. The ten sessions with most. Failures are of the level debug.",
        )
        .query(
            format!("topk(10, sum by (namespace, session) ({}))", count("1h", "process(es)?_(oom_)?(killed|failed)")),
            "{{namespace}}/{{session}}",
        )
        .of_logs()
        .links(&[Link::Logs])
        .nothing("none")
        .size(8, 10),
        Panel::logs("Xid errors", "Errors of GPUs, and the processes that the driver blames.")
            .query(format!(r#"{CHOSEN} | event=~"(gpu|process)_xid""#), "")
            .size(16, 10),
        Panel::logs("Errors and warnings", "Lines of the levels error and warn of all agents, newest first.")
            .query(format!(r#"{LINES} | level=~"error|warn""#), "")
            .size(12, 10),
        Panel::logs("Settings", "Settings that came into effect, and those that were refused.")
            .query(
                format!(r#"{LINES} | event=~"configuration_reloaded|configuration_refused|restart_wanted""#),
                "",
            )
            .size(12, 10),
    ]
}
