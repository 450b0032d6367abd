//! What the comparison needs of a machine; all that is missing is said at once.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::command;

use super::cuda;
use super::load::{self, Work};
use super::nvidia_smi::{Device, NvidiaSmi};

/// Where containers and drivers that are mounted have it, which is not in every `PATH`.
const FOLDERS: [&str; 2] = ["/usr/local/nvidia/bin", "/run/nvidia/driver/usr/bin"];

/// What was found.
pub(super) struct Found {
    pub(super) nvidia_smi: NvidiaSmi,
    /// The GPU of the given index.
    pub(super) device: Device,
    pub(super) work: Work,
}

/// Looks for everything on a machine with a GPU.
pub(super) fn find(agent: &Path, work: Option<Work>, index: u32) -> Result<Found> {
    let mut missing = Vec::new();
    missing.extend(host(agent).err());
    for library in [cuda::LIBRARY, cuda::NVML] {
        missing.extend(cuda::open(library).err());
    }
    let found = nvidia_smi().and_then(|program| {
        let nvidia_smi = NvidiaSmi::at(&program);
        let device = device(&nvidia_smi, index)?;
        Ok((nvidia_smi, device))
    });
    if work == Some(Work::Torch) && !load::has_torch() {
        missing.push(anyhow::anyhow!(
            "python3 has no PyTorch that sees a GPU: install it, or choose --work driver"
        ));
    }
    match found {
        Ok((nvidia_smi, device)) if missing.is_empty() => Ok(Found {
            nvidia_smi,
            device,
            work: work.unwrap_or_else(choose),
        }),
        found => {
            missing.extend(found.err());
            for error in &missing {
                eprintln!("missing: {error:#}");
            }
            bail!(
                "the comparison needs what is missing above; `cargo xtask test --gpu --rehearse` \
                 goes through it without a GPU"
            )
        }
    }
}

/// The same for a rehearsal, which brings its own GPU.
pub(super) fn rehearse(agent: &Path, nvidia_smi: NvidiaSmi) -> Result<Found> {
    host(agent)?;
    Ok(Found {
        device: device(&nvidia_smi, 0)?,
        nvidia_smi,
        work: Work::Nothing,
    })
}

fn host(agent: &Path) -> Result<()> {
    ensure!(
        command::is_root(),
        "not root: the agent loads kernel programs, and sessions are cgroups; run it as root"
    );
    ensure!(
        agent.is_file(),
        "there is no agent at {}: name its binary with --agent",
        agent.display()
    );
    let mut check = Command::new(agent);
    check.arg("check");
    let output = check
        .output()
        .with_context(|| command::cannot_start(&check))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!(
            "a kernel that the agent can run on: `{} check` says above what to do",
            agent.display()
        );
    }
    Ok(())
}

fn nvidia_smi() -> Result<PathBuf> {
    let elsewhere = FOLDERS.map(|folder| Path::new(folder).join("nvidia-smi"));
    command::find_program("nvidia-smi")
        .or_else(|| elsewhere.into_iter().find(|path| path.is_file()))
        .with_context(|| {
            let path = env::var("PATH").unwrap_or_default();
            format!(
                "there is no nvidia-smi in {path}, {}, so there is nothing to compare the agent \
                 with: install it with the driver's programs",
                FOLDERS.join(", ")
            )
        })
}

fn device(nvidia_smi: &NvidiaSmi, index: u32) -> Result<Device> {
    let devices = nvidia_smi.devices().context("nvidia-smi has no answer")?;
    let count = devices.len();
    let mut devices = devices.into_iter();
    devices
        .find(|device| device.index == index)
        .with_context(|| format!("nvidia-smi lists {count} GPUs, none with the index {index}"))
}

fn choose() -> Work {
    if load::has_torch() {
        Work::Torch
    } else {
        Work::Driver
    }
}
