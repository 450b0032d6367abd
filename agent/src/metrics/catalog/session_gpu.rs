//! What a session's processes do on the GPUs. A series appears with a session's first use of a device.

use super::{
    buckets,
    labels::{ENGINE, GPU, XID},
    observed,
};
use crate::{
    gpu::model::{Codec, Engine},
    metrics::{
        family::{Buckets, Family, Kind, Out, Samples, Source, Unit},
        label::{OneOf, Pair, Text},
    },
    named::named,
    session::gpu::{DeviceUse, Streams},
    snapshot::SessionView,
};

use Kind::{Counter, Gauge, Histogram};
use Samples::Occasional;

const NS: f64 = 1e-9;
const US: f64 = 1e-6;

/// 6 %, a quarter, a half, all.
const UTILIZATION: Buckets = buckets(&[-4, -2, -1, 0]);

const USED_ENGINE: OneOf<Engine> = ENGINE.about("the last two from their first use on");
const GPU_INSTANCE: Text = Text::new("gpu_instance", "GPU instance, under MIG only");
const CODEC: OneOf<Codec> = OneOf::new("codec");

named! {
    /// Of a frame.
    enum Dimension {
        /// From left to right.
        Width = "width",
        /// From top to bottom.
        Height = "height",
    }
}
const DIMENSION: OneOf<Dimension> = OneOf::new("dimension");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_gpu_busy",
        help: "Utilisation of a GPU's engine by the session's processes, integrated over time: its rate is the share of the engine",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[GPU.label(), USED_ENGINE.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            by_engine(s, |labels, on_device, engine| {
                out.number(labels, on_device.busy_ns[engine as usize] as f64 * NS);
            });
        }),
    },
    Family {
        stem: "vdi_session_gpu_utilization",
        help: "Share of a GPU's engine that the session's processes used together, one observation for each round of the sampler",
        kind: Histogram(UTILIZATION),
        unit: Unit::Ratio,
        labels: &[GPU.label(), USED_ENGINE.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            by_engine(s, |labels, on_device, engine| {
                observed(out, labels, &on_device.utilization[engine as usize]);
            });
        }),
    },
    Family {
        stem: "vdi_session_gpu_memory",
        help: "GPU memory of the session's processes; absent where the driver cannot tell that of one of them",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU.label(), GPU_INSTANCE.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            for (gpu, on_device) in &s.counts.gpu.devices {
                for (instance, bytes) in &on_device.now.memory {
                    let Some(bytes) = bytes else { continue };
                    match instance {
                        Some(instance) => out.number(
                            &[
                                GPU.is(&gpu.to_string()),
                                GPU_INSTANCE.is(&instance.to_string()),
                            ],
                            *bytes as f64,
                        ),
                        None => out.number(&[GPU.is(&gpu.to_string())], *bytes as f64),
                    }
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_encoder_sessions",
        help: "Encoder sessions of the session's processes",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), CODEC.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| encoders(s, |l, e| out.number(l, f64::from(e.count)))),
    },
    Family {
        stem: "vdi_session_encoder_fps",
        help: "Frames a second that the session's encoders deliver, all together",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), CODEC.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| encoders(s, |l, e| out.number(l, f64::from(e.fps)))),
    },
    Family {
        stem: "vdi_session_encoder_latency",
        help: "Time to encode a frame, averaged by the driver, of the session's slowest encoder",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[GPU.label(), CODEC.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            encoders(s, |l, e| out.number(l, f64::from(e.latency_us) * US));
        }),
    },
    Family {
        stem: "vdi_session_encoder_resolution",
        help: "Frame of the session's largest encoder session",
        kind: Gauge,
        unit: Unit::Pixels,
        labels: &[GPU.label(), CODEC.label(), DIMENSION.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| encoders(s, |l, e| resolution(out, l, e))),
    },
    Family {
        stem: "vdi_session_capture_sessions",
        help: "Frame-capture sessions of the session's processes",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| captures(s, |l, c| out.number(l, f64::from(c.count)))),
    },
    Family {
        stem: "vdi_session_capture_fps",
        help: "New frames a second that the session's capture sessions deliver, all together",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| captures(s, |l, c| out.number(l, f64::from(c.fps)))),
    },
    Family {
        stem: "vdi_session_capture_latency",
        help: "Time to capture a frame, averaged by the driver, of the session's slowest capture session",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            captures(s, |l, c| out.number(l, f64::from(c.latency_us) * US));
        }),
    },
    Family {
        stem: "vdi_session_capture_resolution",
        help: "Frame of the session's largest capture session",
        kind: Gauge,
        unit: Unit::Pixels,
        labels: &[GPU.label(), DIMENSION.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| captures(s, |l, c| resolution(out, l, c))),
    },
    Family {
        stem: "vdi_session_gpu_xid_errors",
        help: "Xid errors for which the driver blames a process of the session; appears with the first",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU.label(), XID.label()],
        source: Source::Nvml,
        samples: Occasional(|s, out| {
            for ((gpu, xid), count) in &s.counts.gpu.xids {
                out.number(&[GPU.is(gpu), XID.is(&xid.to_string())], *count as f64);
            }
        }),
    },
];

/// Each engine of each device that the session has been measured on; encoder and decoder once it used them.
fn by_engine(session: &SessionView, mut f: impl FnMut(&[Pair<'_>], &DeviceUse, Engine)) {
    for (gpu, on_device) in &session.counts.gpu.devices {
        let measured = on_device.utilization[Engine::Sm as usize].count() > 0;
        for engine in Engine::ALL {
            let used = on_device.busy_ns[engine as usize] > 0;
            let always = matches!(engine, Engine::Sm | Engine::Memory);
            if used || (measured && always) {
                let gpu = gpu.to_string();
                f(&[GPU.is(&gpu), USED_ENGINE.is(engine)], on_device, engine);
            }
        }
    }
}

fn encoders(session: &SessionView, mut f: impl FnMut(&[Pair<'_>], &Streams)) {
    for (gpu, on_device) in &session.counts.gpu.devices {
        for (codec, streams) in &on_device.now.encoders {
            f(&[GPU.is(&gpu.to_string()), CODEC.is(*codec)], streams);
        }
    }
}

fn captures(session: &SessionView, mut f: impl FnMut(&[Pair<'_>], &Streams)) {
    for (gpu, on_device) in &session.counts.gpu.devices {
        if let Some(streams) = &on_device.now.captures {
            f(&[GPU.is(&gpu.to_string())], streams);
        }
    }
}

fn resolution(out: &mut dyn Out, labels: &[Pair<'_>], streams: &Streams) {
    for dimension in Dimension::ALL {
        let pixels = match dimension {
            Dimension::Width => streams.width,
            Dimension::Height => streams.height,
        };
        let labels = [labels, &[DIMENSION.is(dimension)]].concat();
        out.number(&labels, f64::from(pixels));
    }
}
