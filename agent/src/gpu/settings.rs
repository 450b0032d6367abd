//! What can be set of the GPUs.

use std::{path::PathBuf, time::Duration};

use crate::setting::{Field, Key, Table, form};

/// The GPUs. A period of zero is never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether they are measured.
    pub enabled: bool,
    /// The driver's library; `None` looks for it.
    pub library: Option<PathBuf>,
    /// Time between two rounds: utilisation and memory.
    pub period: Duration,
    /// Time between two readings of the encoder and capture sessions.
    pub streams: Duration,
    /// Time between two readings of the lists of processes and of the MIG instances.
    pub processes: Duration,
    /// Time between two readings of temperature, power, clocks and errors.
    pub health: Duration,
    /// Time between two measurements of PCI Express throughput.
    pub pcie: Duration,
    /// Time without a process on any GPU after which the driver is let go, so that the kernel can suspend them.
    pub release: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            library: None,
            period: Duration::from_secs(1),
            streams: Duration::from_secs(1),
            processes: Duration::from_secs(5),
            health: Duration::from_secs(5),
            pcie: Duration::ZERO,
            release: Duration::from_mins(1),
        }
    }
}

/// The table `gpu`.
pub const TABLE: Table<Settings> = Table {
    name: "gpu",
    about: "What is read of NVIDIA GPUs, and how often.",
    keys: &[
        Key {
            name: "enabled",
            flag: None,
            doc: "Measure NVIDIA GPUs. Where there is none the agent says so once and looks again every minute.",
            field: Field::Boolean {
                get: |settings| settings.enabled,
                set: |settings, value| settings.enabled = value,
            },
        },
        Key {
            name: "library",
            flag: None,
            doc: "The driver's library libnvidia-ml.so.1. Without it, the usual places are searched, here and in the host's file system: the driver container, GKE's installer, the distributions' folders. It must be root's, with every folder and link on the way, and nobody else's to write: otherwise it is not loaded.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.library.as_ref()),
                set: |settings, text| {
                    settings.library = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "period",
            flag: None,
            doc: "How often utilisation and memory are read. The driver keeps few utilisation samples: with more than 5s some are lost.",
            field: Field::Duration {
                range: Duration::from_millis(200)..=Duration::from_mins(10),
                get: |settings| settings.period,
                set: |settings, value| settings.period = value,
            },
        },
        Key {
            name: "streams",
            flag: None,
            doc: "How often encoder and frame-capture sessions are read; 0s never.",
            field: Field::Duration {
                range: Duration::ZERO..=Duration::from_mins(10),
                get: |settings| settings.streams,
                set: |settings, value| settings.streams = value,
            },
        },
        Key {
            name: "processes",
            flag: None,
            doc: "How often the processes on each GPU are listed, and its MIG instances; 0s never. A list was measured at 4.5 ms with the driver's global lock held, so not often; a change of the memory in use brings one reading forward.",
            field: Field::Duration {
                range: Duration::ZERO..=Duration::from_mins(10),
                get: |settings| settings.processes,
                set: |settings, value| settings.processes = value,
            },
        },
        Key {
            name: "health",
            flag: None,
            doc: "How often temperature, power, clocks, throttling and errors are read; 0s never.",
            field: Field::Duration {
                range: Duration::ZERO..=Duration::from_mins(10),
                get: |settings| settings.health,
                set: |settings, value| settings.health = value,
            },
        },
        Key {
            name: "pcie",
            flag: None,
            doc: "How often PCI Express throughput is measured; 0s never. The driver takes 20 ms for each direction.",
            field: Field::Duration {
                range: Duration::ZERO..=Duration::from_mins(10),
                get: |settings| settings.pcie,
                set: |settings, value| settings.pcie = value,
            },
        },
        Key {
            name: "release",
            flag: None,
            doc: "After how long without a process on any GPU the driver is let go, where the kernel may suspend all GPUs; 0s never.",
            field: Field::Duration {
                range: Duration::ZERO..=Duration::from_hours(24),
                get: |settings| settings.release,
                set: |settings, value| settings.release = value,
            },
        },
    ],
};
