//! What can be set of the kernel border.

use std::path::PathBuf;

use crate::named::named;
use crate::setting::{Field, Key, Table, form};

/// The kernel border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The kernel's type information.
    pub btf: PathBuf,
    /// The mount point of cgroup v2; `None` looks for it.
    pub cgroup_root: Option<PathBuf>,
    /// Where per-thread state lives.
    pub task_state: TaskState,
    /// Whether log records of the programs are forwarded.
    pub debug_log: bool,
    /// Whether the kernel's BPF statistics are on while the agent runs.
    pub statistics: bool,
    /// Whether the agent keeps capabilities that it does not need once the programs are attached.
    pub keep_capabilities: bool,
}

named! {
    /// Where the programs keep their state of each thread.
    pub enum TaskState {
        /// What the kernel allows.
        Auto = "auto",
        /// BPF task storage.
        TaskStorage = "task-storage",
        /// An array indexed by pid.
        PidArray = "pid-array",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            btf: PathBuf::from("/sys/kernel/btf/vmlinux"),
            cgroup_root: None,
            task_state: TaskState::Auto,
            debug_log: false,
            statistics: false,
            keep_capabilities: false,
        }
    }
}

/// The table `kernel`.
pub const TABLE: Table<Settings> = Table {
    name: "kernel",
    about: "What the kernel programs need, and what they tell of themselves.",
    keys: &[
        Key {
            name: "btf",
            flag: None,
            doc: "The kernel's type information.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| Some(form::path_text(&settings.btf)),
                set: |settings, text| {
                    settings.btf = form::absolute(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "cgroup_root",
            flag: None,
            doc: "Mount point of the cgroup v2 hierarchy. Without it, the one in /proc/self/mounts.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.cgroup_root.as_ref()),
                set: |settings, text| {
                    settings.cgroup_root = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "task_state",
            flag: None,
            doc: "Where the programs keep their state of each thread: task storage, which follows the number of threads (a kernel that can create it without a lock: 5.18 and later), or an array indexed by pid, which takes 64 bytes for each of kernel.pid_max. By itself the agent takes the array up to a pid limit of 131,072, and beyond it where there is no such task storage.",
            field: Field::Text {
                form: "`auto`, `task-storage` or `pid-array`",
                get: |settings| Some(settings.task_state.name().to_owned()),
                set: |settings, text| {
                    settings.task_state = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "debug_log",
            flag: None,
            doc: "Forward the log records of the kernel programs to the log.",
            field: Field::Boolean {
                get: |settings| settings.debug_log,
                set: |settings, value| settings.debug_log = value,
            },
        },
        Key {
            name: "statistics",
            flag: None,
            doc: "Turn on the kernel's run-time statistics of BPF programs while the agent runs. They cost about 60 ns a program run, for all programs of the node.",
            field: Field::Boolean {
                get: |settings| settings.statistics,
                set: |settings, value| settings.statistics = value,
            },
        },
        Key {
            name: "keep_capabilities",
            flag: None,
            doc: "Keep the capabilities that nothing needs once the kernel programs are attached. Otherwise they are given up; sessionscope check --security says which.",
            field: Field::Boolean {
                get: |settings| settings.keep_capabilities,
                set: |settings, value| settings.keep_capabilities = value,
            },
        },
    ],
};
