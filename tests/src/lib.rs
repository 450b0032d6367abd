//! Harness of the end-to-end tests: real cgroups, real processes, a real agent, a real Prometheus.
//!
//! A test makes a [`cgroup::Tree`], starts an [`agent::Agent`] that takes the tree's children for
//! sessions, lets a [`workload::Workload`] run in one of them, and compares what the agent serves with
//! what the kernel itself says ([`accounts`]). Everything is undone by `Drop`, so also when a test
//! panics: variables are declared in the order tree, agent, workload, and dropped the other way round.
//!
//! The harness panics where it cannot go on: its callers are tests. What it shares with the benchmarks is
//! the crate `lab`.

pub mod accounts;
pub mod agent;
pub mod alertmanager;
pub mod capability;
pub mod certificates;
pub mod cgroup;
pub mod chain;
pub mod collector;
pub mod disk;
pub mod displays;
pub mod documents;
pub mod drawing;
pub mod empty_panels;
pub mod exporters;
pub mod findings;
pub mod gpu;
pub mod gpu_node;
pub mod helm;
pub mod instructions;
pub mod kernel_log;
pub mod kubernetes;
pub mod logind;
pub mod mount_namespace;
pub mod netns;
pub mod nvml_library;
pub mod operations;
pub mod peers;
pub mod pod;
pub mod process;
pub mod prometheus;
pub mod rdp;
pub mod rfb;
pub mod rtnetlink;
pub mod runtimes;
pub mod sockets;
pub mod stalls;
pub mod strace;
pub mod swap;
pub mod systemd;
pub mod tenant;
pub mod tls_front;
pub mod tmux;
pub mod tools;
pub mod victoria_metrics;
pub mod wait;
pub mod workload;

use std::{fs, path::PathBuf};

pub use lab::{
    exposition, http,
    programs::{repository, target_directory},
};

/// Path and content of each object of kernel programs, where the agent's build script looks for them.
pub fn objects() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = std::env::var_os("SESSIONSCOPE_BPF_DIR")
        .map_or_else(|| repository().join("target/bpf"), PathBuf::from);
    ["task-storage.o", "pid-array.o"]
        .map(|name| {
            let path = folder.join(name);
            let content = fs::read(&path).unwrap_or_else(|error| {
                panic!("{}: {error}: `cargo xtask build-ebpf`", path.display())
            });
            (path, content)
        })
        .into()
}
