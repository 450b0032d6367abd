//! What a session takes of memory, drive, network and GPUs.

use crate::panel::Panel;
use crate::select::SESSION;
use crate::vocabulary::{
    Thresholds::{Above, Any},
    Unit::{Bytes, BytesPerSecond, Count, FramesPerSecond, PerSecond, Pixels, Ratio, Seconds},
};

pub(super) fn memory() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Memory by kind",
            Bytes,
            "Memory of the session's cgroups. What is in swap comes on top of what is current. The limit is absent without one.",
        )
        .query(format!("sum by (kind) (vdi_session_memory_bytes{{{SESSION}}})"), "{{kind}}")
        .alerts(&["VdiSessionMemoryNearLimit"])
        .size(6, 8),
        Panel::lines(
            "Faults, stalls and kills",
            PerSecond,
            "Page faults that waited for a drive, threads that had to free memory themselves, how often the session was at memory.high or memory.max, and processes that were killed for want of memory.",
        )
        .query(format!("sum(rate(vdi_session_major_faults_total{{{SESSION}}}[$__rate_interval]))"), "major faults")
        .query(format!("sum(rate(vdi_session_reclaim_stall_seconds_count{{{SESSION}}}[$__rate_interval]))"), "reclaim stalls")
        .query(
            format!("sum by (event) (rate(vdi_session_memory_events_total{{{SESSION}}}[$__rate_interval]))"),
            "at memory.{{event}}",
        )
        .query(format!("sum(rate(vdi_session_oom_kills_total{{{SESSION}}}[$__rate_interval]))"), "killed")
        .alerts(&["VdiSessionReclaimStalls", "VdiSessionOomKilled"])
        .size(6, 8),
        Panel::lines(
            "Block I/O",
            BytesPerSecond,
            "Bytes read from and written to block devices. Absent where the cgroup has no io controller.",
        )
        .query(
            format!("sum by (operation) (rate(vdi_session_block_io_bytes_total{{{SESSION}}}[$__rate_interval]))"),
            "{{operation}}",
        )
        .size(6, 8),
        Panel::lines("Time of block I/O, mean", Seconds, "Time from the making of a request to its completion.")
            .query(
                format!("sum by (operation) (rate(vdi_session_block_io_seconds_sum{{{SESSION}}}[$__rate_interval])) / (sum by (operation) (rate(vdi_session_block_io_seconds_count{{{SESSION}}}[$__rate_interval])) > 0)"),
                "{{operation}}",
            )
            .alerts(&["VdiSessionBlockIoSlow"])
            .size(6, 8),
    ]
}

pub(super) fn network() -> Vec<Panel> {
    vec![
        Panel::lines("Bytes", BytesPerSecond, "Data of the session's sockets, sent again or not.")
            .query(
                format!("sum by (direction, protocol) (rate(vdi_session_network_bytes_total{{{SESSION}}}[$__rate_interval]))"),
                "{{direction}} {{protocol}}",
            )
            .size(6, 8),
        Panel::lines(
            "Round trips by side, mean",
            Seconds,
            "Round-trip time of the TCP connections: inbound are those of clients.",
        )
        .query(
            format!("sum by (side) (rate(vdi_session_tcp_rtt_seconds_sum{{{SESSION}}}[$__rate_interval])) / (sum by (side) (rate(vdi_session_tcp_rtt_seconds_count{{{SESSION}}}[$__rate_interval])) > 0)"),
            "{{side}}",
        )
        .thresholds(Above(0.06, 0.125))
        .size(6, 8),
        Panel::lines(
            "Segments sent again",
            Ratio,
            "Part of the TCP segments with data that was sent again: inbound are those to clients. Fewer than one a second count as one.",
        )
        .query(
            format!("sum by (side) (rate(vdi_session_tcp_retransmits_total{{{SESSION}}}[$__rate_interval])) / clamp_min(sum by (side) (rate(vdi_session_tcp_segments_total{{{SESSION}}}[$__rate_interval])), 1)"),
            "{{side}}",
        )
        .thresholds(Above(0.02, 0.1))
        .alerts(&["VdiSessionRetransmits"])
        .size(6, 8),
        Panel::lines(
            "Lost on the way",
            PerSecond,
            "Connections that were reset or failed, and datagrams that were dropped because nobody read them.",
        )
        .query(
            format!("sum by (side) (rate(vdi_session_tcp_resets_total{{{SESSION}}}[$__rate_interval]))"),
            "resets: {{side}}",
        )
        .query(
            format!("sum(rate(vdi_session_tcp_connect_failures_total{{{SESSION}}}[$__rate_interval]))"),
            "failed connections",
        )
        .query(
            format!("sum(rate(vdi_session_udp_drops_total{{{SESSION}}}[$__rate_interval]))"),
            "dropped datagrams",
        )
        .alerts(&["VdiSessionDatagramsDropped"])
        .size(6, 8),
    ]
}

pub(super) fn gpus() -> Vec<Panel> {
    vec![
        Panel::lines(
            "GPU engines",
            Ratio,
            "What the session uses of each engine. Absent under MIG, where the driver does not say.",
        )
        .query(
            format!("sum by (gpu, engine) (rate(vdi_session_gpu_busy_seconds_total{{{SESSION}}}[$__rate_interval]))"),
            "GPU {{gpu}} {{engine}}",
        )
        .of_all(),
        Panel::lines("GPU memory", Bytes, "GPU memory of the session's processes.").query(
            format!("sum by (gpu) (vdi_session_gpu_memory_bytes{{{SESSION}}})"),
            "GPU {{gpu}}",
        ),
        Panel::number(
            "Xid errors of the last day",
            Count,
            "Errors for which the driver blames a process of the session.",
        )
        .query(
            format!("sum by (xid) (increase(vdi_session_gpu_xid_errors_total{{{SESSION}}}[1d]))"),
            "Xid {{xid}}",
        )
        .thresholds(Any)
        .nothing("none")
        .alerts(&["VdiGpuXidError"])
        .size(8, 8),
        Panel::lines(
            "Frames",
            FramesPerSecond,
            "New frames that are captured, and frames that the encoders deliver.",
        )
        .query(format!("sum by (gpu) (vdi_session_capture_fps{{{SESSION}}})"), "captured, GPU {{gpu}}")
        .query(
            format!("sum by (gpu, codec) (vdi_session_encoder_fps{{{SESSION}}})"),
            "encoded, GPU {{gpu}} {{codec}}",
        )
        .alerts(&["VdiSessionFramesDropped", "VdiSessionFramesLow"]),
        Panel::lines("Time of a frame", Seconds, "Time to capture a frame, and to encode one.")
            .query(format!("max(vdi_session_capture_latency_seconds{{{SESSION}}})"), "capture")
            .query(
                format!("max by (codec) (vdi_session_encoder_latency_seconds{{{SESSION}}})"),
                "encode {{codec}}",
            )
            .thresholds(Above(0.016, 0.033))
            .alerts(&["VdiSessionEncoderSlow"]),
        Panel::lines("Size of the picture", Pixels, "Frame of the session's largest encoder session.").query(
            format!("max by (dimension) (vdi_session_encoder_resolution_pixels{{{SESSION}}})"),
            "{{dimension}}",
        ),
    ]
}
