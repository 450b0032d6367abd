//! Sessions: which are worst, and what by?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{EACH, SESSIONS, TEMPLATES};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Any, Below, Plain},
    Unit::{Age, Bytes, BytesPerSecond, Count, PerSecond, Ratio, Seconds},
};

/// Name of a session that no other has.
const NAME: &str = "{{namespace}}/{{session}} on {{instance}}";

/// `dashboards/sessions.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Sessions,
        description: "Which sessions are worst, and what by? A session leads to its own dashboard. Needs the recordings of rules/, those of sessions among them. The text narrows the list of sessions by a regular expression.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::Template,
            Variable::Node,
            Variable::Find,
            Variable::Session,
        ],
        from: "now-1h",
        rows: vec![
            Row {
                title: "Worst first",
                panels: worst(),
            },
            Row {
                title: "What their users feel",
                panels: felt(),
            },
            Row {
                title: "What they wait for",
                panels: waits(),
            },
            Row {
                title: "What they take",
                panels: takes(),
            },
            Row {
                title: "How long they live",
                panels: life(),
            },
        ],
    }
}

/// Share of long waits of the chosen sessions.
fn long_waits() -> String {
    format!("session:vdi_session_runqueue_wait_seconds:above_16ms_ratio_5m{{{SESSIONS}}}")
}

fn worst() -> Vec<Panel> {
    let waits = long_waits();
    let those = format!("and on ({EACH}) topk(30, {waits})");
    vec![
        Panel::trend(
            "Active sessions",
            Count,
            "Sessions that are there for their users: running or idle, whatever node and session are chosen.",
        )
        .query(
            format!(r#"sum(template_phase:vdi_sessions:sum{{phase=~"Running|Idle", {TEMPLATES}}})"#),
            "active",
        ),
        Panel::number(
            "Sessions that stutter",
            Count,
            "Sessions in which more than one wait in a hundred for a CPU is longer than 15.6 ms, watched or not.",
        )
        .query(format!("count({waits} > 0.01)"), "stuttering")
        .nothing("none")
        .thresholds(Any)
        .alerts(&["VdiSessionRunQueueWaitHigh"]),
        Panel::number(
            "Sessions held back",
            Count,
            "Sessions that spend more than 5 % of their time in a stage where nothing gets done.",
        )
        .query(
            format!("count(session_stage:vdi_session_bottleneck:ratio_5m{{{SESSIONS}}})"),
            "held back",
        )
        .nothing("none"),
        Panel::number(
            "Slow to reach",
            Count,
            "Sessions of which more than half of the round-trip times to their clients are above 125 ms, when input feels late.",
        )
        .query(
            format!("count(session:vdi_session_client_rtt_seconds:above_125ms_ratio_5m{{{SESSIONS}}} > 0.5)"),
            "slow",
        )
        .nothing("none")
        .thresholds(Any)
        .alerts(&["VdiSessionClientRttHigh"]),
        Panel::number(
            "Failed in the last hour",
            Ratio,
            "Share of the sessions that ended within the last hour and failed, whatever node and session are chosen.",
        )
        .query(
            format!("sum(template:vdi_session_failures:increase_1h{{{TEMPLATES}}}) / (sum(template:vdi_session_ended:increase_1h{{{TEMPLATES}}}) > 0)"),
            "failed",
        )
        .thresholds(Above(0.05, 0.25))
        .nothing("no ends")
        .alerts(&["VdiSessionFailureRateHigh"]),
        Panel::number(
            "Killed for memory",
            Count,
            "Processes of the chosen sessions that the kernel killed within the last hour because memory was used up.",
        )
        .query(
            format!("sum(increase(vdi_session_oom_kills_total{{{SESSIONS}}}[1h]))"),
            "killed",
        )
        .nothing("none")
        .thresholds(Any)
        .alerts(&["VdiSessionOomKilled"]),
        Panel::table(
            "Sessions, worst first",
            &[
                Label::Namespace,
                Label::Session,
                Label::Template,
                Label::Node,
                Label::Stage,
            ],
            "The thirty sessions with the largest share of waits for a CPU longer than 15.6 ms, and what else is wrong with them. Empty cells are figures that are not known. Needs the recordings of sessions.",
        )
        .column(format!("topk(30, {waits})"), "Long waits", Ratio, Above(0.01, 0.05))
        .column(
            format!("session_stage:vdi_session_bottleneck:ratio_5m{{{SESSIONS}}} {those}"),
            "Held back for",
            Ratio,
            Above(0.2, 0.5),
        )
        .column(
            format!("session:vdi_session_neighbour_preemptions:per_cpu_second_5m{{{SESSIONS}}} {those}"),
            "Preempted /CPU s",
            Count,
            Above(100.0, 500.0),
        )
        .column(
            format!("session:vdi_session_client_rtt_seconds:mean_5m{{{SESSIONS}}} {those}"),
            "Round trip",
            Seconds,
            Above(0.06, 0.125),
        )
        .column(
            format!("rate(vdi_session_cpu_seconds_total{{{SESSIONS}}}[5m]) {those}"),
            "CPUs",
            Count,
            Plain,
        )
        .links(&[Link::Session, Link::Logs, Link::Node, Link::Template])
        .size(24, 11),
    ]
}

fn felt() -> Vec<Panel> {
    vec![
        Panel::bars(
            "Sessions that feel worst",
            Ratio,
            "The ten lowest scores of those that are not perfect, from 0 to 1. The score is of input and its answers, and says nothing of picture and sound.",
        )
        .query(
            format!("bottomk(10, session:vdi_session_experience:score_5m{{{SESSIONS}}} < 1)"),
            NAME,
        )
        .of_all()
        .thresholds(Below(0.7, 0.4))
        .links(&[Link::Session, Link::Node])
        .nothing("no session")
        .alerts(&["VdiSessionScreenFrozen"]),
        Panel::bars(
            "Slowest to respond",
            Seconds,
            "Mean time from input after a pause until the first bytes of an answer are sent. The ten longest.",
        )
        .query(
            format!("topk(10, session:vdi_session_response_seconds:mean_5m{{{SESSIONS}}})"),
            NAME,
        )
        .thresholds(Above(0.2, 0.5))
        .links(&[Link::Session, Link::Node])
        .nothing("no answers")
        .alerts(&["VdiSessionInputDelayHigh"]),
        Panel::bars(
            "Hung applications",
            Count,
            "Applications that have left what their display sends them unread for more than five seconds. The ten sessions that have most.",
        )
        .query(
            format!("topk(10, vdi_session_unresponsive_applications{{{SESSIONS}}} > 0)"),
            NAME,
        )
        .thresholds(Any)
        .links(&[Link::Session, Link::Node])
        .nothing("none")
        .alerts(&["VdiSessionApplicationHangs"]),
    ]
}

fn waits() -> Vec<Panel> {
    let waits = long_waits();
    vec![
        Panel::bars(
            "Sessions by what holds them back",
            Count,
            "Sessions by the stage in which they lose most of their time: waiting for a CPU, a CPU limit, a drive, or memory that they free themselves.",
        )
        .query(
            format!("count by (stage) (session_stage:vdi_session_bottleneck:ratio_5m{{{SESSIONS}}})"),
            "{{stage}}",
        )
        .nothing("none is held back"),
        Panel::lines(
            "Sessions that stutter, by template",
            Count,
            "Sessions in which more than one wait in a hundred for a CPU is longer than 15.6 ms.",
        )
        .query(
            format!("count by (namespace, template) ({waits} > 0.01)"),
            "{{namespace}}/{{template}}",
        )
        .links(&[Link::Template])
        .nothing("none"),
        Panel::bars(
            "Preempted by neighbours",
            Count,
            "How often other sessions took the CPU, for each second that the session ran. The ten highest.",
        )
        .query(
            format!("topk(10, session:vdi_session_neighbour_preemptions:per_cpu_second_5m{{{SESSIONS}}})"),
            NAME,
        )
        .thresholds(Above(100.0, 500.0))
        .links(&[Link::Session, Link::Node])
        .alerts(&["VdiSessionPreemptedByNeighbours"]),
    ]
}

fn takes() -> Vec<Panel> {
    let most = |title, unit, description, query: String| {
        Panel::bars(title, unit, description)
            .query(format!("topk(10, {query})"), NAME)
            .links(&[Link::Session, Link::Node])
    };
    vec![
        most(
            "CPUs",
            Count,
            "CPU time of a session for each second. The ten highest.",
            format!("rate(vdi_session_cpu_seconds_total{{{SESSIONS}}}[5m])"),
        ),
        most(
            "Memory",
            Bytes,
            "Memory that is charged to a session's cgroups. The ten highest.",
            format!(r#"vdi_session_memory_bytes{{kind="current", {SESSIONS}}}"#),
        ),
        most(
            "Block I/O",
            BytesPerSecond,
            "Bytes that a session reads from and writes to block devices. The ten highest.",
            format!(
                "sum without (operation) (rate(vdi_session_block_io_bytes_total{{{SESSIONS}}}[5m]))"
            ),
        ),
        most(
            "GPU time",
            Ratio,
            "What a session uses of the multiprocessors, of all its GPUs together. The ten highest. Absent under MIG.",
            format!(
                r#"sum without (gpu, engine) (rate(vdi_session_gpu_busy_seconds_total{{engine="sm", {SESSIONS}}}[5m]))"#
            ),
        ),
        most(
            "GPU memory",
            Bytes,
            "GPU memory of a session's processes, on all its GPUs together. The ten highest.",
            format!("sum without (gpu, gpu_instance) (vdi_session_gpu_memory_bytes{{{SESSIONS}}})"),
        ),
        most(
            "Network",
            BytesPerSecond,
            "Bytes that a session sends and receives. The ten highest.",
            format!(
                "sum without (direction, protocol) (rate(vdi_session_network_bytes_total{{{SESSIONS}}}[5m]))"
            ),
        ),
    ]
}

fn life() -> Vec<Panel> {
    vec![
        Panel::table(
            "Oldest sessions",
            &[Label::Namespace, Label::Session, Label::Node],
            "The thirty sessions that have lived longest, how long nobody has used them, and how many clients they have.",
        )
        .column(
            format!("topk(30, time() - vdi_session_start_time_seconds{{{SESSIONS}}})"),
            "Age",
            Age,
            Above(604_800.0, 2_592_000.0),
        )
        .column(
            format!("vdi_session_idle_seconds{{{SESSIONS}}} and on ({EACH}) topk(30, time() - vdi_session_start_time_seconds{{{SESSIONS}}})"),
            "Not used for",
            Age,
            Plain,
        )
        .column(
            format!("vdi_session_clients{{{SESSIONS}}} and on ({EACH}) topk(30, time() - vdi_session_start_time_seconds{{{SESSIONS}}})"),
            "Clients",
            Count,
            Plain,
        )
        .links(&[Link::Session, Link::Node])
        .alerts(&["VdiSessionAbandoned"]),
        Panel::bars(
            "Started processes",
            PerSecond,
            "Processes that a session starts by fork, for each second. The ten highest.",
        )
        .query(
            format!("topk(10, rate(vdi_session_process_forks_total{{{SESSIONS}}}[5m]))"),
            NAME,
        )
        .links(&[Link::Session, Link::Node])
        .size(12, 9),
    ]
}
