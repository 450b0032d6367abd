//! The GPUs of the node, and the sampler that reads them. A reading that a GPU does not have is absent, and
//! all of them are while the driver does not answer.

use std::time::UNIX_EPOCH;

use super::MEAN_ONLY;
use crate::{
    gpu::model::{Device, Engine, Instance, Memory, Readings},
    metrics::family::{Family, Kind, Out, Samples, Source, State, Unit},
    session::gpu::{Remainder, XidCount},
};

use Kind::{Counter, Gauge, Histogram};
use Samples::Node;

const NS: f64 = 1e-9;

const GPU: (&str, &str) = ("gpu", "index of the GPU");
const GPU_OR_ADDRESS: (&str, &str) = (
    "gpu",
    "index of the GPU, or the PCI address of one that has not answered yet",
);
const GPU_INSTANCE: (&str, &str) = ("gpu_instance", "GPU instance");
const ENGINE: (&str, &str) = ("engine", "sm, memory, encoder, decoder");
const DOMAIN: (&str, &str) = ("domain", "graphics, sm, memory, video");
const CALL: (&str, &str) = ("call", "function of the library");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_gpu_info",
        help: "A GPU and what it is; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            GPU,
            ("uuid", "UUID"),
            ("name", "product"),
            ("pci_address", "PCI address as the kernel writes it"),
            ("driver_version", "version of the driver"),
            ("mig", "on, off; empty for a GPU that cannot be cut"),
            (
                "virtualization",
                "none, passthrough, vgpu, vgpu_host, vsga_host; empty when not known",
            ),
        ],
        source: Source::Nvml,
        samples: Node(info),
    },
    Family {
        stem: "vdi_gpu_up",
        help: "Whether a GPU answers; the reason is empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU, ("reason", "why it does not answer")],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                let up = device.down.is_none();
                let labels = [("gpu", gpu), ("reason", device.down.unwrap_or_default())];
                out.number(&labels, f64::from(u8::from(up)));
            });
        }),
    },
    Family {
        stem: "vdi_gpu_utilization",
        help: "Share of the driver's last sampling period in which the multiprocessors were busy",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.utilization[Engine::Sm as usize])),
    },
    Family {
        stem: "vdi_gpu_memory_controller_utilization",
        help: "Share of the driver's last sampling period in which GPU memory was read or written",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            readings(state, out, |r| r.utilization[Engine::Memory as usize]);
        }),
    },
    Family {
        stem: "vdi_gpu_encoder_utilization",
        help: "Share of time in which the video encoders were busy",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            readings(state, out, |r| r.utilization[Engine::Encoder as usize]);
        }),
    },
    Family {
        stem: "vdi_gpu_decoder_utilization",
        help: "Share of time in which the video decoders were busy",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            readings(state, out, |r| r.utilization[Engine::Decoder as usize]);
        }),
    },
    Family {
        stem: "vdi_gpu_memory_used",
        help: "GPU memory that is allocated",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory.map(|m| m.used as f64))),
    },
    Family {
        stem: "vdi_gpu_memory_total",
        help: "GPU memory",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory.map(|m| m.total as f64))),
    },
    Family {
        stem: "vdi_gpu_memory_reserved",
        help: "GPU memory kept by driver and firmware",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            readings(state, out, |r| r.memory?.reserved.map(|bytes| bytes as f64));
        }),
    },
    Family {
        stem: "vdi_gpu_temperature",
        help: "Temperature of the GPU",
        kind: Gauge,
        unit: Unit::Celsius,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.temperature)),
    },
    Family {
        stem: "vdi_gpu_memory_temperature",
        help: "Temperature of the GPU's memory",
        kind: Gauge,
        unit: Unit::Celsius,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory_temperature)),
    },
    Family {
        stem: "vdi_gpu_power",
        help: "Power that the board draws",
        kind: Gauge,
        unit: Unit::Watts,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.power)),
    },
    Family {
        stem: "vdi_gpu_power_limit",
        help: "Power that the board may draw",
        kind: Gauge,
        unit: Unit::Watts,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.power_limit)),
    },
    Family {
        stem: "vdi_gpu_energy",
        help: "Energy that the board has used since the driver was loaded",
        kind: Counter,
        unit: Unit::Joules,
        labels: &[GPU],
        source: Source::NvmlCounter,
        samples: Node(|state, out| readings(state, out, |r| r.energy)),
    },
    Family {
        stem: "vdi_gpu_fan_speed",
        help: "Speed of the first fan as a share of its highest",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.fan_speed)),
    },
    Family {
        stem: "vdi_gpu_clock",
        help: "Clock of a domain",
        kind: Gauge,
        unit: Unit::Hertz,
        labels: &[GPU, DOMAIN],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, "domain", |r| &r.clocks)),
    },
    Family {
        stem: "vdi_gpu_clock_max",
        help: "Highest clock of a domain",
        kind: Gauge,
        unit: Unit::Hertz,
        labels: &[GPU, DOMAIN],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, "domain", |r| &r.max_clocks)),
    },
    Family {
        stem: "vdi_gpu_performance_state",
        help: "Performance state: 0 is the fastest, 15 the slowest",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.performance_state.map(f64::from))),
    },
    Family {
        stem: "vdi_gpu_throttled",
        help: "Whether a reason holds the clocks down",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            GPU,
            (
                "reason",
                "applications_clocks_setting, sw_power_cap, hw_slowdown, sync_boost, sw_thermal_slowdown, hw_thermal_slowdown, hw_power_brake_slowdown, display_clock_setting",
            ),
        ],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                for (reason, holds) in &device.readings.throttled {
                    let labels = [("gpu", gpu), ("reason", *reason)];
                    out.number(&labels, f64::from(u8::from(*holds)));
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_throttled",
        help: "Time that a policy has held the clocks down",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[
            GPU,
            (
                "policy",
                "power, thermal, sync_boost, board_limit, low_utilization, reliability, application_clocks, base_clocks",
            ),
        ],
        source: Source::NvmlCounter,
        samples: Node(|state, out| listed(state, out, "policy", |r| &r.throttled_seconds)),
    },
    Family {
        stem: "vdi_gpu_ecc_errors",
        help: "Memory errors since the driver was loaded",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU, ("kind", "corrected, uncorrected")],
        source: Source::NvmlCounter,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                for (kind, errors) in &device.readings.ecc_errors {
                    out.number(&[("gpu", gpu), ("kind", *kind)], *errors as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_pcie_replays",
        help: "PCI Express packets that were sent again",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU],
        source: Source::NvmlCounter,
        samples: Node(|state, out| readings(state, out, |r| r.pcie_replays.map(|n| n as f64))),
    },
    Family {
        stem: "vdi_gpu_pcie_throughput",
        help: "PCI Express throughput over 20 ms, while gpu.pcie is not 0s",
        kind: Gauge,
        unit: Unit::BytesPerSecond,
        labels: &[GPU, ("direction", "transmit, receive; of the GPU")],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, "direction", |r| &r.pcie_throughput)),
    },
    Family {
        stem: "vdi_gpu_xid_errors",
        help: "Xid errors of a GPU; a number appears with its first",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU_OR_ADDRESS, ("xid", "number of the error")],
        source: Source::Nvml,
        samples: Node(|state, out| xids(state, out, |xid| xid.count as f64)),
    },
    Family {
        stem: "vdi_gpu_xid_last_timestamp",
        help: "When the last Xid error with a number was, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[GPU_OR_ADDRESS, ("xid", "number of the error")],
        source: Source::Nvml,
        samples: Node(|state, out| {
            xids(state, out, |xid| {
                let since = xid.last.duration_since(UNIX_EPOCH);
                since.unwrap_or_default().as_secs_f64()
            });
        }),
    },
    Family {
        stem: "vdi_gpu_mig_instance_info",
        help: "A MIG instance and what it is; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            GPU,
            GPU_INSTANCE,
            ("compute_instance", "compute instance within it"),
            ("uuid", "UUID"),
            ("profile", "such as 1g.10gb"),
        ],
        source: Source::Nvml,
        samples: Node(|state, out| {
            instances(state, |labels, instance| {
                let compute = instance.compute_instance.to_string();
                let more = [
                    ("compute_instance", &*compute),
                    ("uuid", &*instance.uuid),
                    ("profile", &*instance.profile),
                ];
                out.number(&[labels, &more].concat(), 1.0);
            });
        }),
    },
    Family {
        stem: "vdi_gpu_mig_memory_used",
        help: "Memory of a GPU instance that is allocated",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU, GPU_INSTANCE],
        source: Source::Nvml,
        samples: Node(|state, out| {
            instance_memory(state, |labels, memory| {
                out.number(labels, memory.used as f64);
            });
        }),
    },
    Family {
        stem: "vdi_gpu_mig_memory_total",
        help: "Memory of a GPU instance",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU, GPU_INSTANCE],
        source: Source::Nvml,
        samples: Node(|state, out| {
            instance_memory(state, |labels, memory| {
                out.number(labels, memory.total as f64);
            });
        }),
    },
    Family {
        stem: "vdi_gpu_process_utilization_supported",
        help: "Whether the driver accounts utilisation by process; under MIG it does not",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                if let Some(supported) = device.usage_supported {
                    out.number(&[("gpu", gpu)], f64::from(u8::from(supported)));
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_unattributed_utilization",
        help: "Utilisation of a GPU that no session explains",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU, ENGINE],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remainders(state, |gpu, remainder| {
                for engine in Engine::ALL {
                    if let Some(share) = remainder.share[engine as usize] {
                        out.number(&[("gpu", gpu), ("engine", engine.name())], share);
                    }
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_unattributed_memory",
        help: "Allocated memory of a GPU that no session explains",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remainders(state, |gpu, remainder| {
                if let Some(bytes) = remainder.memory {
                    out.number(&[("gpu", gpu)], bytes as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_unattributed_busy",
        help: "Utilisation of a GPU's engine by processes outside all sessions, integrated over time",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[GPU, ENGINE],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (gpu, remainder) in &state.snapshot.gpu.remainders {
                for engine in Engine::ALL {
                    let busy_ns = remainder.busy_ns[engine as usize];
                    if busy_ns > 0 {
                        let labels = [("gpu", &*gpu.to_string()), ("engine", engine.name())];
                        out.number(&labels, busy_ns as f64 * NS);
                    }
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_gpu_up",
        help: "Whether the NVIDIA driver answers; the reason is empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[("reason", "why it does not")],
        source: Source::Agent,
        samples: Node(|state, out| {
            let status = &state.snapshot.gpu.status;
            let reason = status.reason.as_deref().unwrap_or_default();
            out.number(&[("reason", reason)], f64::from(u8::from(status.up)));
        }),
    },
    Family {
        stem: "vdi_agent_gpu_sample_age",
        help: "Time since the last round of the GPU sampler began; absent before the first",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Nvml,
        samples: Node(|state, out| {
            if let Some(taken) = state.snapshot.gpu.status.taken {
                out.number(&[], taken.elapsed().as_secs_f64());
            }
        }),
    },
    Family {
        stem: "vdi_agent_gpu_call",
        help: "Time that calls of the NVIDIA driver's library took",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[CALL],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (function, stats) in &state.snapshot.gpu.calls {
                out.histogram(&[("call", *function)], &stats.duration);
            }
        }),
    },
    Family {
        stem: "vdi_agent_gpu_call_errors",
        help: "Calls of the NVIDIA driver's library that failed; what a GPU does not support is asked once and is no error",
        kind: Counter,
        unit: Unit::None,
        labels: &[CALL, ("error", "error as nvml.h calls it")],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (function, stats) in &state.snapshot.gpu.calls {
                for (error, count) in &stats.errors {
                    out.number(&[("call", *function), ("error", *error)], *count as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_host_pid_namespace",
        help: "Whether the agent is in the host's pid namespace, without which the driver hides the processes of others",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| {
            out.number(&[], f64::from(u8::from(state.snapshot.gpu.host_pids)));
        }),
    },
    Family {
        stem: "vdi_agent_kernel_log_up",
        help: "Whether the agent reads the kernel's log, in which the driver names the processes of Xid errors",
        kind: Gauge,
        unit: Unit::None,
        labels: &[("reason", "why not; empty while it does")],
        source: Source::Agent,
        samples: Node(|state, out| {
            let down = state.snapshot.gpu.kernel_log_down.as_deref();
            let up = f64::from(u8::from(down.is_none()));
            out.number(&[("reason", down.unwrap_or_default())], up);
        }),
    },
];

/// Every GPU with its label, while the driver answers.
fn for_each(state: &State<'_>, mut f: impl FnMut(&str, &Device)) {
    if let Some(report) = &state.snapshot.gpu.report {
        for device in &report.devices {
            f(&device.identity.index.to_string(), device);
        }
    }
}

fn info(state: &State<'_>, out: &mut dyn Out) {
    let report = state.snapshot.gpu.report.as_ref();
    let driver_version = report.map_or("", |report| &*report.driver_version);
    for_each(state, |gpu, device| {
        let identity = &device.identity;
        // A GPU that has never answered has no name.
        if identity.uuid.is_empty() {
            return;
        }
        let mig = match identity.mig {
            Some(true) => "on",
            Some(false) => "off",
            None => "",
        };
        out.number(
            &[
                ("gpu", gpu),
                ("uuid", &identity.uuid),
                ("name", &identity.name),
                ("pci_address", &identity.pci_address),
                ("driver_version", driver_version),
                ("mig", mig),
                (
                    "virtualization",
                    identity.virtualization.unwrap_or_default(),
                ),
            ],
            1.0,
        );
    });
}

fn readings(state: &State<'_>, out: &mut dyn Out, value: fn(&Readings) -> Option<f64>) {
    for_each(state, |gpu, device| {
        if let Some(value) = value(&device.readings) {
            out.number(&[("gpu", gpu)], value);
        }
    });
}

fn listed(
    state: &State<'_>,
    out: &mut dyn Out,
    label: &str,
    values: fn(&Readings) -> &[(&'static str, f64)],
) {
    for_each(state, |gpu, device| {
        for (name, value) in values(&device.readings) {
            out.number(&[("gpu", gpu), (label, name)], *value);
        }
    });
}

fn xids(state: &State<'_>, out: &mut dyn Out, value: fn(&XidCount) -> f64) {
    for ((gpu, xid), count) in &state.snapshot.gpu.xids {
        out.number(&[("gpu", gpu), ("xid", &xid.to_string())], value(count));
    }
}

fn instances(state: &State<'_>, mut f: impl FnMut(&[(&str, &str)], &Instance)) {
    for_each(state, |gpu, device| {
        for instance in &device.instances {
            let number = instance.gpu_instance.to_string();
            f(&[("gpu", gpu), ("gpu_instance", &number)], instance);
        }
    });
}

/// Compute instances share the memory of their GPU instance, which is told once.
fn instance_memory(state: &State<'_>, mut f: impl FnMut(&[(&str, &str)], &Memory)) {
    let mut told = Vec::new();
    instances(state, |labels, instance| {
        let key = labels.iter().map(|(_, value)| (*value).to_owned());
        let key: Vec<String> = key.collect();
        if let Some(memory) = &instance.memory
            && !told.contains(&key)
        {
            f(labels, memory);
            told.push(key);
        }
    });
}

/// While the driver answers.
fn remainders(state: &State<'_>, mut f: impl FnMut(&str, &Remainder)) {
    for_each(state, |gpu, device| {
        if let Some(remainder) = state.snapshot.gpu.remainders.get(&device.identity.index) {
            f(gpu, remainder);
        }
    });
}
