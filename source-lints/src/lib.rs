//! What the sources keep to and no tool knows: checks that read text. `cargo xtask lint` calls them.

mod layers;
mod log_events;
mod sources;
mod unit_tests;

use std::path::Path;

use anyhow::{Result, bail};

/// The folders with code that has unit tests.
const CRATES: [&str; 14] = [
    "agent/src",
    "agent-common/src",
    "bench/src",
    "dashboards/src",
    "debian-archive/src",
    "ebpf-build/src",
    "kernel-btf/src",
    "lab/src",
    "rules/checks",
    "rules/src",
    "source-lints/src",
    "tests/nvml/src",
    "tests/src",
    "xtask/src",
];

/// Checks the sources of a repository.
///
/// # Errors
///
/// When a file cannot be read, and when there is a finding: the error says where, and what to do.
pub fn check(repository: &Path) -> Result<()> {
    let agent = repository.join("agent/src");
    for (findings, what) in [
        (
            layers::check(&agent)?,
            "modules of the agent reach across its layers: move the code, or change the table in \
             source-lints/src/layers.rs if the layers themselves are wrong",
        ),
        (
            log_events::check(&agent)?,
            "what the agent logs is a row of agent/src/telemetry/event.rs, by log_event!",
        ),
        (
            unit_tests::check(repository, &CRATES)?,
            "unit tests are not where CONTRIBUTING.md says",
        ),
    ] {
        if !findings.is_empty() {
            bail!("{what}:\n{}", findings.join("\n"));
        }
    }
    Ok(())
}
