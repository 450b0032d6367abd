//! GPUs: does each answer; is it hot, full, held down, faulty?

mod hardware;

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::GPUS;
use super::vocabulary::{
    ANSWERS, HELD, Label,
    Thresholds::{Above, Any, Plain},
    Unit::{Bytes, Celsius, Count, Ratio},
};

/// Name of a GPU that no other has.
const NAME: &str = "{{instance}} GPU {{gpu}}";

/// `dashboards/gpus.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Gpus,
        description: "Does each GPU answer? Is it hot, full, held down, faulty? The lines are of every chosen GPU: choose a node where there are many.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Node,
            Variable::Gpu,
        ],
        from: "now-3h",
        rows: vec![
            Row {
                title: "Do they answer, and are they well?",
                panels: health(),
            },
            Row {
                title: "Use and memory",
                panels: memory(),
            },
            Row {
                title: "Heat, power and clocks",
                panels: hardware::heat(),
            },
            Row {
                title: "Errors",
                panels: hardware::errors(),
            },
        ],
    }
}

fn health() -> Vec<Panel> {
    vec![
        Panel::number("GPUs that answer", Count, "GPUs that answer.")
            .query(format!("sum(max without (reason) (vdi_gpu_up{{{GPUS}}}))"), "answer")
            .nothing("no GPUs"),
        Panel::number("GPUs lost", Count, "GPUs that are there and do not answer.")
            .query(format!("sum(vdi_gpu_up{{{GPUS}}} == bool 0)"), "lost")
            .thresholds(Any)
            .nothing("no GPUs")
            .alerts(&["VdiGpuLost"]),
        Panel::number(
            "GPUs to be reset",
            Count,
            "GPUs for which the driver wants something done: a reset, a restart of the node, no new sessions.",
        )
        .query(
            format!(r#"count(vdi_gpu_recovery_action{{action!="none", {GPUS}}} == 1)"#),
            "to be reset",
        )
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiGpuRecoveryNeeded"]),
        Panel::number(
            "GPUs held down",
            Count,
            "GPUs whose clocks were held down by heat or power for more than a tenth of the last five minutes.",
        )
        .query(
            format!(r#"count(max by (cluster, environment, instance, gpu) (gpu_policy:vdi_gpu_throttled_seconds:rate5m{{policy=~"power|thermal|board_limit|reliability", {GPUS}}}) > 0.1)"#),
            "held down",
        )
        .thresholds(Above(1.0, 10.0))
        .nothing("none")
        .alerts(&["VdiGpuThrottled"]),
        Panel::number("Hottest GPU", Celsius, "Temperature of the hottest GPU.")
            .query(format!("max(vdi_gpu_temperature_celsius{{{GPUS}}})"), "hottest")
            .thresholds(Above(85.0, 92.0))
            .nothing("not known")
            .alerts(&["VdiGpuTemperatureHigh"]),
        Panel::number(
            "GPUs full",
            Count,
            "GPUs of whose memory more than nine tenths are allocated.",
        )
        .query(format!("count(gpu:vdi_gpu_memory_used:ratio{{{GPUS}}} > 0.9)"), "full")
        .thresholds(Above(1.0, 10.0))
        .nothing("none")
        .alerts(&["VdiGpuMemoryNearlyFull", "VdiGpusFull"]),
        Panel::states("Answering", ANSWERS, "Whether each GPU answers the driver.")
            .query(
                format!("max by (instance, gpu) (vdi_gpu_up{{{GPUS}}})"),
                NAME,
            )
            .links(&[Link::Node])
            .nothing("no GPUs"),
        Panel::states(
            "Held down by",
            HELD,
            "Reasons for which the clocks of a GPU were held down. A power cap, which is normal under load, is left out.",
        )
        .query(
            format!(r#"max by (instance, gpu, reason) (vdi_gpu_throttled{{reason!="sw_power_cap", {GPUS}}}) > 0"#),
            "{{instance}} GPU {{gpu}}: {{reason}}",
        )
        .links(&[Link::Node])
        .nothing("nothing holds one down")
        .alerts(&["VdiGpuThrottled"]),
        Panel::table(
            "GPUs",
            &[
                Label::Node,
                Label::Gpu,
                Label::Product,
                Label::Driver,
                Label::Mig,
                Label::Uuid,
            ],
            "What each GPU is, and how many sessions it has.",
        )
        .column(
            format!("gpu:vdi_sessions:count{{{GPUS}}}"),
            "Sessions",
            Count,
            Plain,
        )
        .column(
            format!("gpu:vdi_gpu_memory_used:ratio{{{GPUS}}}"),
            "Memory",
            Ratio,
            Above(0.9, 0.97),
        )
        .query(format!("vdi_gpu_info{{{GPUS}}}"), "")
        .links(&[Link::Node, Link::Gpu])
        .nothing("no GPUs")
        .size(24, 8),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Utilisation",
            Ratio,
            "Share of time in which the multiprocessors were busy, whoever used them.",
        )
        .query(format!("vdi_gpu_utilization_ratio{{{GPUS}}}"), NAME)
        .of_all()
        .thresholds(Above(0.8, 0.95))
        .links(&[Link::Node])
        .alerts(&["VdiGpuUtilizationHigh"]),
        Panel::lines("Memory that is allocated", Ratio, "Part of a GPU's memory that is allocated.")
            .query(format!("gpu:vdi_gpu_memory_used:ratio{{{GPUS}}}"), NAME)
            .of_all()
            .thresholds(Above(0.9, 0.97))
            .links(&[Link::Node])
            .alerts(&["VdiGpuMemoryNearlyFull"]),
        Panel::cells(
            "GPUs by utilisation, last 24 hours",
            Ratio,
            "How many GPUs were as busy as that, in steps of a tenth.",
        )
        .query(
            format!(r#"count_values("busy", ceil(10 * vdi_gpu_utilization_ratio{{{GPUS}}}) / 10)"#),
            "{{busy}}",
        )
        .span("24h", "15m"),
        Panel::stacked(
            "Memory by who has it",
            Bytes,
            "GPU memory of sessions, of what is in no session, and of the driver.",
        )
        .query(format!("sum(vdi_session_gpu_memory_bytes{{{GPUS}}})"), "sessions")
        .query(format!("sum(vdi_gpu_unattributed_memory_bytes{{{GPUS}}})"), "no session")
        .query(format!("sum(vdi_gpu_memory_reserved_bytes{{{GPUS}}})"), "driver")
        .alerts(&["VdiGpuMemoryOutsideSessions"]),
        Panel::lines(
            "Use that no session explains",
            Ratio,
            "Utilisation of each engine by processes outside all sessions, the mean of the chosen GPUs.",
        )
        .query(
            format!("avg by (engine) (vdi_gpu_unattributed_utilization_ratio{{{GPUS}}})"),
            "{{engine}}",
        )
        .of_all(),
        Panel::lines(
            "Memory of MIG instances",
            Ratio,
            "Part of the memory of each GPU instance that is allocated.",
        )
        .query(
            format!("vdi_gpu_mig_memory_used_bytes{{{GPUS}}} / (vdi_gpu_mig_memory_total_bytes{{{GPUS}}} > 0)"),
            "{{instance}} GPU {{gpu}} instance {{gpu_instance}}",
        )
        .of_all()
        .thresholds(Above(0.9, 0.97))
        .links(&[Link::Node])
        .nothing("no GPU is cut"),
    ]
}
