//! Video streams: do the pictures come in time?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{EACH, NODES, SESSIONS};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Below, Plain},
    Unit::{BytesPerSecond, Count, FramesPerSecond, Pixels, Ratio, Seconds},
};

/// Name of an encoder that no other has.
const NAME: &str = "{{namespace}}/{{session}} on {{instance}} {{codec}}";

/// `dashboards/streams.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Streams,
        description: "Do the pictures come in time? What NVIDIA's encoders deliver: sessions that encode on the CPU are not here. Few frames are normal where nothing moves.",
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
                title: "In time?",
                panels: in_time(),
            },
            Row {
                title: "Encoders and the way out",
                panels: encoders(),
            },
        ],
    }
}

fn in_time() -> Vec<Panel> {
    let latency = format!("vdi_session_encoder_latency_seconds{{{SESSIONS}}}");
    let slowest = format!(
        "topk(30, max by ({EACH}, template) (vdi_session_encoder_latency_seconds{{{SESSIONS}}}))"
    );
    vec![
        Panel::trend("Streams", Count, "Encoder sessions of the chosen sessions.")
            .query(format!("sum(vdi_session_encoder_sessions{{{SESSIONS}}})"), "streams")
            .nothing("none"),
        Panel::trend(
            "Time to encode, mean",
            Seconds,
            "Mean over the slowest encoder of each session.",
        )
        .query(format!("avg({latency})"), "mean")
        .thresholds(Above(0.016, 0.033))
        .nothing("no stream"),
        Panel::trend("Time to encode, longest", Seconds, "The slowest encoder of all chosen sessions.")
            .query(format!("max({latency})"), "longest")
            .thresholds(Above(0.016, 0.033))
            .nothing("no stream")
            .alerts(&["VdiSessionEncoderSlow", "VdiGpuEncodersSlow"]),
        Panel::number(
            "Slower than a frame",
            Count,
            "Encoders that take longer than a frame at 60 Hz lasts.",
        )
        .query(format!("count({latency} > 0.0167)"), "slow")
        .thresholds(Above(1.0, 10.0))
        .nothing("none")
        .alerts(&["VdiSessionEncoderSlow"]),
        Panel::number(
            "Frames encoded",
            Ratio,
            "Frames that the encoders deliver, as a part of those that are captured.",
        )
        .query(
            format!("sum(vdi_session_encoder_fps{{{SESSIONS}}} and on ({EACH}, gpu) vdi_session_capture_fps{{{SESSIONS}}}) / (sum(vdi_session_capture_fps{{{SESSIONS}}} and on ({EACH}, gpu) vdi_session_encoder_fps{{{SESSIONS}}}) > 0)"),
            "encoded",
        )
        .thresholds(Below(0.9, 0.75))
        .nothing("no capture")
        .alerts(&["VdiSessionFramesDropped"]),
        Panel::number("Busiest encoders", Ratio, "The GPU whose video encoders are busiest.")
            .query(format!("max(vdi_gpu_encoder_utilization_ratio{{{NODES}}})"), "busiest")
            .thresholds(Above(0.8, 0.9))
            .nothing("no GPUs")
            .alerts(&["VdiGpuEncoderSaturated", "VdiGpuEncodersBusy"]),
        Panel::lines(
            "Frames captured and encoded",
            FramesPerSecond,
            "New frames that are captured, and frames that are delivered, of all chosen sessions together.",
        )
        .query(format!("sum(vdi_session_capture_fps{{{SESSIONS}}})"), "captured")
        .query(
            format!("sum by (codec) (vdi_session_encoder_fps{{{SESSIONS}}})"),
            "encoded {{codec}}",
        )
        .alerts(&["VdiSessionFramesDropped"])
        .size(12, 8),
        Panel::lines(
            "Time of a frame",
            Seconds,
            "Time to capture a frame and to encode one: the mean over sessions, and the longest.",
        )
        .query(format!("avg({latency})"), "encode, mean")
        .query(format!("max({latency})"), "encode, longest")
        .query(format!("max(vdi_session_capture_latency_seconds{{{SESSIONS}}})"), "capture, longest")
        .thresholds(Above(0.016, 0.033))
        .size(12, 8),
        Panel::table(
            "Streams, slowest first",
            &[Label::Namespace, Label::Session, Label::Template, Label::Node],
            "The thirty sessions whose encoders take longest for a frame, and the frames that they deliver.",
        )
        .column(slowest.clone(), "Time to encode", Seconds, Above(0.016, 0.033))
        .column(
            format!("sum by ({EACH}, template) (vdi_session_encoder_fps{{{SESSIONS}}}) and on ({EACH}) {slowest}"),
            "Encoded",
            FramesPerSecond,
            Plain,
        )
        .column(
            format!("sum by ({EACH}, template) (vdi_session_capture_fps{{{SESSIONS}}}) and on ({EACH}) {slowest}"),
            "Captured",
            FramesPerSecond,
            Plain,
        )
        .column(
            format!(r#"max by ({EACH}, template) (vdi_session_encoder_resolution_pixels{{dimension="width", {SESSIONS}}}) and on ({EACH}) {slowest}"#),
            "Width",
            Pixels,
            Plain,
        )
        .column(
            format!(r#"max by ({EACH}, template) (vdi_session_encoder_resolution_pixels{{dimension="height", {SESSIONS}}}) and on ({EACH}) {slowest}"#),
            "Height",
            Pixels,
            Plain,
        )
        .links(&[Link::Session, Link::Node])
        .nothing("no stream")
        .size(24, 9),
    ]
}

fn encoders() -> Vec<Panel> {
    vec![
        Panel::bars(
            "Fewest frames",
            FramesPerSecond,
            "Frames a second that the encoders of a session deliver. The ten lowest.",
        )
        .query(format!("bottomk(10, vdi_session_encoder_fps{{{SESSIONS}}})"), NAME)
        .thresholds(Below(30.0, 15.0))
        .links(&[Link::Session, Link::Node])
        .nothing("no stream")
        .alerts(&["VdiSessionFramesLow"]),
        Panel::stacked("Streams by codec", Count, "Encoder sessions of the chosen sessions, by codec.")
            .query(
                format!("sum by (codec) (vdi_session_encoder_sessions{{{SESSIONS}}})"),
                "{{codec}}",
            ),
        Panel::bars(
            "Busiest encoders by GPU",
            Ratio,
            "Share of time in which a GPU's video encoders are busy. The ten highest.",
        )
        .query(
            format!("topk(10, vdi_gpu_encoder_utilization_ratio{{{NODES}}})"),
            "{{instance}} GPU {{gpu}}",
        )
        .of_all()
        .thresholds(Above(0.8, 0.9))
        .links(&[Link::Gpu, Link::Node])
        .nothing("no GPUs")
        .alerts(&["VdiGpuEncoderSaturated"]),
        Panel::bars(
            "Streams by GPU",
            Count,
            "Encoder sessions of a GPU. Consumer boards take a few at most. The ten highest.",
        )
        .query(
            format!("topk(10, gpu:vdi_gpu_encoder_sessions:sum{{{NODES}}})"),
            "{{instance}} GPU {{gpu}}",
        )
        .links(&[Link::Gpu, Link::Node])
        .nothing("no stream"),
        Panel::lines(
            "Sent to clients",
            BytesPerSecond,
            "Bytes that the chosen sessions send, by template.",
        )
        .query(
            format!(r#"sum by (namespace, template) (rate(vdi_session_network_bytes_total{{direction="transmit", {SESSIONS}}}[$__rate_interval]))"#),
            "{{namespace}}/{{template}}",
        )
        .links(&[Link::Template])
        .size(16, 8),
    ]
}
