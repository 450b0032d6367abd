//! The GPUs that a session has used.

use super::{
    super::{
        judge::{self, over},
        units::{bytes, count, or_absent, percent, printable, time},
    },
    section::Section,
};
use crate::api::{Device, Gpus, OnGpu, Session, Streams, XidErrors};

pub(super) fn gpus(session: &Session, gpus: &Gpus) -> Vec<Section> {
    let mut sections: Vec<Section> = session
        .gpus
        .iter()
        .map(|on_gpu| {
            let device = gpus.devices.iter().find(|d| d.gpu == on_gpu.gpu);
            one(session, on_gpu, device)
        })
        .collect();
    let shown = |xid: &&XidErrors| session.gpus.iter().any(|g| g.gpu.to_string() == xid.gpu);
    let elsewhere = session.gpu_xid_errors.iter().filter(|xid| !shown(xid));
    for xid in elsewhere {
        let mut section = Section::new(format!("GPU {}", printable(&xid.gpu)));
        xid_errors(&mut section, [xid].into_iter());
        sections.push(section);
    }
    if sections.is_empty() {
        let mut section = Section::new("GPU");
        let reason = gpus.reason.as_deref().filter(|_| !gpus.up);
        let reason = reason.map_or_else(String::new, |r| format!(" (not measured: {r})"));
        section.line("used", format!("none{reason}"));
        sections.push(section);
    }
    sections
}

fn one(session: &Session, on_gpu: &OnGpu, device: Option<&Device>) -> Section {
    let name = device.map_or_else(String::new, |d| format!(", {}", printable(&d.name)));
    let mut section = Section::new(format!("GPU {}{name}", on_gpu.gpu));
    let share = on_gpu.utilization;
    let all = device.and_then(|d| d.utilization.sm);
    let all = all.map_or_else(String::new, |all| {
        format!("; by everyone together {}", percent(all))
    });
    section.line(
        "share now",
        format!(
            "multiprocessors {}, memory controller {}, encoders {}, decoders {}{all}",
            or_absent(share.sm, percent),
            or_absent(share.memory, percent),
            or_absent(share.encoder, percent),
            or_absent(share.decoder, percent)
        ),
    );
    let (used, total) = device.map_or((None, None), |d| {
        (d.memory_used_bytes, d.memory_total_bytes)
    });
    let full = used
        .zip(total)
        .map(|(used, total)| used as f64 / total.max(1) as f64);
    let warning = over(full, judge::GPU_MEMORY_SHARE, || {
        let limit = percent(judge::GPU_MEMORY_SHARE);
        format!("over {limit} of the GPU's memory is in use: the next allocation may fail")
    });
    section.judged(
        "memory",
        format!(
            "{}; of the GPU {} of {} in use",
            or_absent(on_gpu.memory_bytes, bytes),
            or_absent(used, bytes),
            or_absent(total, bytes)
        ),
        warning,
    );
    for encoder in &on_gpu.encoders {
        let label = format!("encoder {}", encoder.codec);
        streams(&mut section, label, encoder.streams);
    }
    if let Some(capture) = on_gpu.capture {
        streams(&mut section, "capture".to_owned(), capture);
    }
    let here = on_gpu.gpu.to_string();
    let xids = session.gpu_xid_errors.iter().filter(|xid| xid.gpu == here);
    xid_errors(&mut section, xids);
    section
}

fn streams(section: &mut Section, label: String, streams: Streams) {
    let latency = Some(streams.latency_seconds);
    let warning = over(latency, judge::FRAME, || {
        let frame = time(judge::FRAME);
        format!("over {frame} a frame: it cannot keep up with 60 frames a second")
    });
    section.judged(
        label,
        format!(
            "{} at {}×{}, {} frames a second, {} a frame",
            streams.sessions,
            streams.width,
            streams.height,
            streams.fps,
            time(streams.latency_seconds)
        ),
        warning,
    );
}

fn xid_errors<'x>(section: &mut Section, xids: impl Iterator<Item = &'x XidErrors>) {
    for XidErrors { xid, count: n, .. } in xids {
        section.judged(
            "Xid error",
            format!("{xid}, {} times", count(*n)),
            Some("any is too much: its meaning is in NVIDIA's list of Xid errors".to_owned()),
        );
    }
}
