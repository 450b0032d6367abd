//! The GPUs of the node, and the sampler that reads them. A reading that a GPU does not have is absent, and
//! all of them are while the driver does not answer.

use std::time::UNIX_EPOCH;

use super::{
    MEAN_ONLY,
    labels::{DIRECTION, ENGINE, GPU, XID},
};
use crate::{
    gpu::{
        down::DownCode,
        model::{
            ClockDomain, Device, Direction, EccError, Engine, Instance, Memory, Readings,
            RecoveryAction, RemappedRows, TemperatureLimit, ThrottlePolicy, ThrottleReason,
            Virtualization,
        },
    },
    metrics::{
        family::{Family, Kind, Out, Samples, Source, State, Unit},
        label::{OneOf, Pair, Text},
    },
    named::{Named, named},
    session::gpu::{Remainder, XidCount},
};

use Kind::{Counter, Gauge, Histogram};
use Samples::Node;

const NS: f64 = 1e-9;

const GPU_OR_ADDRESS: Text = Text::new(
    "gpu",
    "index of the GPU, or the PCI address of one that has not answered yet",
);
const UUID: Text = Text::new("uuid", "UUID");
const NAME: Text = Text::new("name", "product");
const PCI_ADDRESS: Text = Text::new("pci_address", "PCI address as the kernel writes it");
const DRIVER_VERSION: Text = Text::new("driver_version", "version of the driver");
const MIG: OneOf<Mig> = OneOf::new("mig").about("empty for a GPU that cannot be cut");
const VIRTUALIZATION: OneOf<Virtualization> =
    OneOf::new("virtualization").about("empty when not known");
const DOWN: Text = Text::new("reason", "why it does not answer");
const GPU_INSTANCE: Text = Text::new("gpu_instance", "GPU instance");
const COMPUTE_INSTANCE: Text = Text::new("compute_instance", "compute instance within it");
const PROFILE: Text = Text::new("profile", "such as 1g.10gb");
const DOMAIN: OneOf<ClockDomain> = OneOf::new("domain");
const THROTTLE_REASON: OneOf<ThrottleReason> = OneOf::new("reason");
const POLICY: OneOf<ThrottlePolicy> = OneOf::new("policy");
const ECC: OneOf<EccError> = OneOf::new("kind");
const ACTION: OneOf<RecoveryAction> = OneOf::new("action");
const TEMPERATURE_LIMIT: OneOf<TemperatureLimit> = OneOf::new("limit");
const OF_THE_GPU: OneOf<Direction> = DIRECTION.about("of the GPU");
const DOWN_CODE: OneOf<DownCode> = OneOf::new("code").about("why it does not");
const DRIVER_DOWN: Text = Text::new("reason", "why it does not, in words");
const LOG_DOWN: Text = Text::new("reason", "why not; empty while it does");
const CALL: Text = Text::new("call", "function of the library");
const ERROR: Text = Text::new("error", "error as nvml.h calls it");

named! {
    /// Whether a GPU is cut into instances.
    enum Mig {
        /// It is.
        On = "on",
        /// It could be.
        Off = "off",
    }
}

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_gpu_info",
        help: "A GPU and what it is; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            GPU.label(),
            UUID.label(),
            NAME.label(),
            PCI_ADDRESS.label(),
            DRIVER_VERSION.label(),
            MIG.label(),
            VIRTUALIZATION.label(),
        ],
        source: Source::Nvml,
        samples: Node(info),
    },
    Family {
        stem: "vdi_gpu_up",
        help: "Whether a GPU answers; the reason is empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), DOWN.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                let up = device.down.is_none();
                let labels = [GPU.is(gpu), DOWN.is(device.down.unwrap_or_default())];
                out.number(&labels, f64::from(u8::from(up)));
            });
        }),
    },
    Family {
        stem: "vdi_gpu_utilization",
        help: "Share of the driver's last sampling period in which the multiprocessors were busy",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.utilization[Engine::Sm as usize])),
    },
    Family {
        stem: "vdi_gpu_memory_controller_utilization",
        help: "Share of the driver's last sampling period in which GPU memory was read or written",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU.label()],
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
        labels: &[GPU.label()],
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
        labels: &[GPU.label()],
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
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory.map(|m| m.used as f64))),
    },
    Family {
        stem: "vdi_gpu_memory_total",
        help: "GPU memory",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory.map(|m| m.total as f64))),
    },
    Family {
        stem: "vdi_gpu_memory_reserved",
        help: "GPU memory kept by driver and firmware",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[GPU.label()],
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
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.temperature)),
    },
    Family {
        stem: "vdi_gpu_memory_temperature",
        help: "Temperature of the GPU's memory",
        kind: Gauge,
        unit: Unit::Celsius,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.memory_temperature)),
    },
    Family {
        stem: "vdi_gpu_temperature_limit",
        help: "Temperature at which something happens: shutdown of the GPU, slowdown by the hardware, by the driver for memory_max or gpu_max",
        kind: Gauge,
        unit: Unit::Celsius,
        labels: &[GPU.label(), TEMPERATURE_LIMIT.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            listed(state, out, &TEMPERATURE_LIMIT, |r| &r.temperature_limits);
        }),
    },
    Family {
        stem: "vdi_gpu_power",
        help: "Power that the board draws",
        kind: Gauge,
        unit: Unit::Watts,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.power)),
    },
    Family {
        stem: "vdi_gpu_power_limit",
        help: "Power that the board may draw",
        kind: Gauge,
        unit: Unit::Watts,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.power_limit)),
    },
    Family {
        stem: "vdi_gpu_energy",
        help: "Energy that the board has used since the driver was loaded",
        kind: Counter,
        unit: Unit::Joules,
        labels: &[GPU.label()],
        source: Source::NvmlCounter,
        samples: Node(|state, out| readings(state, out, |r| r.energy)),
    },
    Family {
        stem: "vdi_gpu_fan_speed",
        help: "Speed of the first fan as a share of its highest",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.fan_speed)),
    },
    Family {
        stem: "vdi_gpu_clock",
        help: "Clock of a domain",
        kind: Gauge,
        unit: Unit::Hertz,
        labels: &[GPU.label(), DOMAIN.label()],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, &DOMAIN, |r| &r.clocks)),
    },
    Family {
        stem: "vdi_gpu_clock_max",
        help: "Highest clock of a domain",
        kind: Gauge,
        unit: Unit::Hertz,
        labels: &[GPU.label(), DOMAIN.label()],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, &DOMAIN, |r| &r.max_clocks)),
    },
    Family {
        stem: "vdi_gpu_performance_state",
        help: "Performance state: 0 is the fastest, 15 the slowest",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| readings(state, out, |r| r.performance_state.map(f64::from))),
    },
    Family {
        stem: "vdi_gpu_throttled",
        help: "Whether a reason holds the clocks down",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), THROTTLE_REASON.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                for (reason, holds) in &device.readings.throttled {
                    let labels = [GPU.is(gpu), THROTTLE_REASON.is(*reason)];
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
        labels: &[GPU.label(), POLICY.label()],
        source: Source::NvmlCounter,
        samples: Node(|state, out| listed(state, out, &POLICY, |r| &r.throttled_seconds)),
    },
    Family {
        stem: "vdi_gpu_ecc_errors",
        help: "Memory errors since the driver was loaded",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU.label(), ECC.label()],
        source: Source::NvmlCounter,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                for (kind, errors) in &device.readings.ecc_errors {
                    out.number(&[GPU.is(gpu), ECC.is(*kind)], *errors as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_remapped_rows",
        help: "Rows of GPU memory that were replaced by spare ones because of errors, over the life of the board",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), ECC.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remapped_rows(state, |gpu, rows| {
                for kind in EccError::ALL {
                    let count = match kind {
                        EccError::Corrected => rows.corrected,
                        EccError::Uncorrected => rows.uncorrected,
                    };
                    out.number(&[GPU.is(gpu), ECC.is(kind)], count as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_row_remap_pending",
        help: "Whether a row of GPU memory is to be replaced at the next reset of the GPU",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remapped_rows(state, |gpu, rows| {
                out.number(&[GPU.is(gpu)], f64::from(u8::from(rows.is_pending)));
            });
        }),
    },
    Family {
        stem: "vdi_gpu_row_remap_failed",
        help: "Whether a row of GPU memory could not be replaced, so that the board is to be",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remapped_rows(state, |gpu, rows| {
                out.number(&[GPU.is(gpu)], f64::from(u8::from(rows.has_failed)));
            });
        }),
    },
    Family {
        stem: "vdi_gpu_recovery_action",
        help: "What the driver wants done with a GPU after an error: 1 for that, 0 for all others",
        kind: Gauge,
        unit: Unit::None,
        labels: &[GPU.label(), ACTION.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                let Some(wanted) = device.readings.recovery_action else {
                    return;
                };
                for action in RecoveryAction::ALL {
                    let labels = [GPU.is(gpu), ACTION.is(action)];
                    out.number(&labels, f64::from(u8::from(action == wanted)));
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_pcie_replays",
        help: "PCI Express packets that were sent again",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU.label()],
        source: Source::NvmlCounter,
        samples: Node(|state, out| readings(state, out, |r| r.pcie_replays.map(|n| n as f64))),
    },
    Family {
        stem: "vdi_gpu_pcie_throughput",
        help: "PCI Express throughput over 20 ms, while gpu.pcie is not 0s",
        kind: Gauge,
        unit: Unit::BytesPerSecond,
        labels: &[GPU.label(), OF_THE_GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| listed(state, out, &OF_THE_GPU, |r| &r.pcie_throughput)),
    },
    Family {
        stem: "vdi_gpu_xid_errors",
        help: "Xid errors of a GPU; a number appears with its first",
        kind: Counter,
        unit: Unit::None,
        labels: &[GPU_OR_ADDRESS.label(), XID.label()],
        source: Source::Nvml,
        samples: Node(|state, out| xids(state, out, |xid| xid.count as f64)),
    },
    Family {
        stem: "vdi_gpu_xid_last_timestamp",
        help: "When the last Xid error with a number was, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[GPU_OR_ADDRESS.label(), XID.label()],
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
            GPU.label(),
            GPU_INSTANCE.label(),
            COMPUTE_INSTANCE.label(),
            UUID.label(),
            PROFILE.label(),
        ],
        source: Source::Nvml,
        samples: Node(|state, out| {
            instances(state, |labels, instance| {
                let compute = instance.compute_instance.to_string();
                let more = [
                    COMPUTE_INSTANCE.is(&compute),
                    UUID.is(&instance.uuid),
                    PROFILE.is(&instance.profile),
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
        labels: &[GPU.label(), GPU_INSTANCE.label()],
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
        labels: &[GPU.label(), GPU_INSTANCE.label()],
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
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for_each(state, |gpu, device| {
                if let Some(supported) = device.usage_supported {
                    out.number(&[GPU.is(gpu)], f64::from(u8::from(supported)));
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_unattributed_utilization",
        help: "Utilisation of a GPU that no session explains",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[GPU.label(), ENGINE.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remainders(state, |gpu, remainder| {
                for engine in Engine::ALL {
                    if let Some(share) = remainder.share[engine as usize] {
                        out.number(&[GPU.is(gpu), ENGINE.is(engine)], share);
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
        labels: &[GPU.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            remainders(state, |gpu, remainder| {
                if let Some(bytes) = remainder.memory {
                    out.number(&[GPU.is(gpu)], bytes as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_gpu_unattributed_busy",
        help: "Utilisation of a GPU's engine by processes outside all sessions, integrated over time",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[GPU.label(), ENGINE.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (gpu, remainder) in &state.snapshot.gpu.remainders {
                for engine in Engine::ALL {
                    let busy_ns = remainder.busy_ns[engine as usize];
                    if busy_ns > 0 {
                        let gpu = gpu.to_string();
                        let labels = [GPU.is(&gpu), ENGINE.is(engine)];
                        out.number(&labels, busy_ns as f64 * NS);
                    }
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_gpu_up",
        help: "Whether the NVIDIA driver answers; code and reason are empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[DOWN_CODE.label(), DRIVER_DOWN.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            let down = state.snapshot.gpu.status.down.as_ref();
            let labels = [
                DOWN_CODE.is_or_empty(down.map(|down| down.code)),
                DRIVER_DOWN.is(down.map_or("", |down| &down.reason)),
            ];
            out.number(&labels, f64::from(u8::from(down.is_none())));
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
        labels: &[CALL.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (function, stats) in &state.snapshot.gpu.calls {
                out.histogram(&[CALL.is(function)], &stats.duration);
            }
        }),
    },
    Family {
        stem: "vdi_agent_gpu_call_errors",
        help: "Calls of the NVIDIA driver's library that failed; what a GPU does not support is asked once and is no error",
        kind: Counter,
        unit: Unit::None,
        labels: &[CALL.label(), ERROR.label()],
        source: Source::Nvml,
        samples: Node(|state, out| {
            for (function, stats) in &state.snapshot.gpu.calls {
                for (error, count) in &stats.errors {
                    out.number(&[CALL.is(function), ERROR.is(error)], *count as f64);
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
        labels: &[LOG_DOWN.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            let down = state.snapshot.gpu.kernel_log_down.as_deref();
            let up = f64::from(u8::from(down.is_none()));
            out.number(&[LOG_DOWN.is(down.unwrap_or_default())], up);
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
        let mig = identity.mig.map(|on| if on { Mig::On } else { Mig::Off });
        out.number(
            &[
                GPU.is(gpu),
                UUID.is(&identity.uuid),
                NAME.is(&identity.name),
                PCI_ADDRESS.is(&identity.pci_address),
                DRIVER_VERSION.is(driver_version),
                MIG.is_or_empty(mig),
                VIRTUALIZATION.is_or_empty(identity.virtualization),
            ],
            1.0,
        );
    });
}

fn readings(state: &State<'_>, out: &mut dyn Out, value: fn(&Readings) -> Option<f64>) {
    for_each(state, |gpu, device| {
        if let Some(value) = value(&device.readings) {
            out.number(&[GPU.is(gpu)], value);
        }
    });
}

fn remapped_rows(state: &State<'_>, mut f: impl FnMut(&str, &RemappedRows)) {
    for_each(state, |gpu, device| {
        if let Some(rows) = &device.readings.remapped_rows {
            f(gpu, rows);
        }
    });
}

fn listed<T: Named>(
    state: &State<'_>,
    out: &mut dyn Out,
    label: &OneOf<T>,
    values: fn(&Readings) -> &[(T, f64)],
) {
    for_each(state, |gpu, device| {
        for (of, value) in values(&device.readings) {
            out.number(&[GPU.is(gpu), label.is(*of)], *value);
        }
    });
}

fn xids(state: &State<'_>, out: &mut dyn Out, value: fn(&XidCount) -> f64) {
    for ((gpu, xid), count) in &state.snapshot.gpu.xids {
        out.number(
            &[GPU_OR_ADDRESS.is(gpu), XID.is(&xid.to_string())],
            value(count),
        );
    }
}

fn instances(state: &State<'_>, mut f: impl FnMut(&[Pair<'_>], &Instance)) {
    for_each(state, |gpu, device| {
        for instance in &device.instances {
            let number = instance.gpu_instance.to_string();
            f(&[GPU.is(gpu), GPU_INSTANCE.is(&number)], instance);
        }
    });
}

/// Compute instances share the memory of their GPU instance, which is told once.
fn instance_memory(state: &State<'_>, mut f: impl FnMut(&[Pair<'_>], &Memory)) {
    let mut told = Vec::new();
    instances(state, |labels, instance| {
        let key = labels.iter().map(|label| label.parts().1.to_owned());
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
