//! Heat, power, clocks and errors of GPUs.

use super::NAME;
use crate::board::Link;
use crate::panel::Panel;
use crate::select::{GPUS, NODES};
use crate::vocabulary::{
    Label,
    Thresholds::{Above, Plain},
    Unit::{Ago, Celsius, Count, PerSecond, Ratio, Watts},
};

pub(super) fn heat() -> Vec<Panel> {
    vec![
        Panel::lines("Temperature", Celsius, "Temperature of each GPU, and of its memory where it is known.")
            .query(format!("vdi_gpu_temperature_celsius{{{GPUS}}}"), NAME)
            .query(
                format!("vdi_gpu_memory_temperature_celsius{{{GPUS}}}"),
                "{{instance}} GPU {{gpu}} memory",
            )
            .thresholds(Above(85.0, 92.0))
            .links(&[Link::Node])
            .alerts(&["VdiGpuTemperatureHigh", "VdiGpuMemoryTemperatureHigh"]),
        Panel::lines("Power, of the limit", Ratio, "Power that a board draws, as a part of what it may draw.")
            .query(format!("gpu:vdi_gpu_power:ratio{{{GPUS}}}"), NAME)
            .of_all()
            .links(&[Link::Node]),
        Panel::lines("Power of all", Watts, "Power that the chosen boards draw together, by their own counters of energy.")
            .query(
                format!("sum by (cluster) (rate(vdi_gpu_energy_joules_total{{{GPUS}}}[$__rate_interval]))"),
                "{{cluster}}",
            ),
        Panel::lines(
            "Time held down, by policy",
            Ratio,
            "Part of the time for which each policy held the clocks of a GPU down, the highest of the chosen GPUs.",
        )
        .query(
            format!("max by (policy) (gpu_policy:vdi_gpu_throttled_seconds:rate5m{{{GPUS}}})"),
            "{{policy}}",
        )
        .of_all()
        .alerts(&["VdiGpuThrottled"])
        .size(12, 8),
        Panel::lines("Clocks, of the highest", Ratio, "Clock of the multiprocessors as a part of the highest.")
            .query(
                format!(r#"vdi_gpu_clock_hertz{{domain="sm", {GPUS}}} / (vdi_gpu_clock_max_hertz{{domain="sm", {GPUS}}} > 0)"#),
                NAME,
            )
            .of_all()
            .links(&[Link::Node])
            .size(12, 8),
    ]
}

pub(super) fn errors() -> Vec<Panel> {
    vec![
        Panel::table(
            "Xid errors",
            &[Label::Node, Label::Gpu, Label::Xid],
            "When each error of a GPU was seen last. The page of the alert says what a number means. A GPU that has not answered yet is called by its PCI address.",
        )
        .column(
            format!("1000 * vdi_gpu_xid_last_timestamp_seconds{{{NODES}}}"),
            "Seen last",
            Ago,
            Plain,
        )
        .links(&[Link::Node])
        .nothing("none")
        .alerts(&["VdiGpuXidError"])
        .size(8, 9),
        Panel::table(
            "What the driver wants done",
            &[Label::Node, Label::Gpu, Label::Action],
            "GPUs after an error, and what the driver wants done with them.",
        )
        .query(
            format!(r#"vdi_gpu_recovery_action{{action!="none", {GPUS}}} == 1"#),
            "",
        )
        .links(&[Link::Node])
        .nothing("nothing")
        .alerts(&["VdiGpuRecoveryNeeded", "VdiGpuRowRemapPending"])
        .size(8, 9),
        Panel::bars(
            "Memory errors of the last day",
            Count,
            "Errors of GPU memory, corrected and not. The ten GPUs with most.",
        )
        .query(
            format!("topk(10, increase(vdi_gpu_ecc_errors_total{{{GPUS}}}[1d]) > 0)"),
            "{{instance}} GPU {{gpu}} {{kind}}",
        )
        .links(&[Link::Node])
        .nothing("none")
        .alerts(&["VdiGpuMemoryErrors", "VdiGpuCorrectedErrors"])
        .size(8, 9),
        Panel::bars(
            "Packets sent again",
            PerSecond,
            "PCI Express packets that were sent again. The ten GPUs with most.",
        )
        .query(
            format!("topk(10, rate(vdi_gpu_pcie_replays_total{{{GPUS}}}[5m]) > 0)"),
            NAME,
        )
        .thresholds(Above(1.0, 10.0))
        .links(&[Link::Node])
        .nothing("none")
        .alerts(&["VdiGpuPcieReplays"])
        .size(12, 7),
        Panel::bars(
            "Rows replaced",
            Count,
            "Rows of GPU memory that were replaced by spare ones because of errors, over the life of the board.",
        )
        .query(
            format!("topk(10, vdi_gpu_remapped_rows{{{GPUS}}} > 0)"),
            "{{instance}} GPU {{gpu}} {{kind}}",
        )
        .links(&[Link::Node])
        .nothing("none")
        .alerts(&["VdiGpuRowRemapFailed"])
        .size(12, 7),
    ]
}
