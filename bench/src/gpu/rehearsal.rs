//! The same without a GPU: the scenario library in the driver's place, and a script in that of
//! `nvidia-smi`, both of which say what the processes would have done.
//!
//! It shows that this command works from its start to its verdicts. What a driver does it cannot show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use lab::kernel_log::KernelLog;
use lab::programs::repository;
use nvml_scenario::library;
use tempfile::TempDir;

use super::fault::Faulty;
use super::nvidia_smi::NvidiaSmi;
use super::processes::{Load, Process, Processes};

const UUID: &str = "GPU-11111111-1111-1111-1111-111111111111";
/// A page fault of the GPU.
const XID: u32 = 31;
const TOTAL_MIB: u32 = 24_576;
/// What the driver would keep for itself.
const DRIVER_MIB: u32 = 300;

const SCRIPT: &str = "\
#!/bin/sh
folder=$(dirname \"$0\")
case \"$1\" in
  --query-gpu=*) cat \"$folder/devices\" ;;
  --query-compute-apps=*) cat \"$folder/memory\" ;;
  pmon) cat \"$folder/utilization\" ;;
  *) echo \"unknown query $1\" >&2; exit 2 ;;
esac
";

/// The files that answer.
pub(super) struct Rehearsal {
    folder: PathBuf,
    /// The folder of the library: the agent loads none from where others than root may write.
    library: TempDir,
    log: KernelLog,
}

impl Rehearsal {
    /// Makes the folder, the script and a copy of the library; there is a GPU, and nobody uses it yet.
    pub(super) fn prepare(library: &Path) -> Result<Self> {
        let folder = repository().join("target/gpu-rehearsal");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let place = tempfile::tempdir().context("cannot make a temporary folder")?;
        library::copy(library, place.path())
            .with_context(|| format!("cannot copy {}", library.display()))?;
        let rehearsal = Self {
            folder,
            library: place,
            log: KernelLog::create()?,
        };
        let script = rehearsal.folder.join("nvidia-smi");
        rehearsal.replace("nvidia-smi", SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} a program", script.display()))?;
        rehearsal.answer(&[])?;
        Ok(rehearsal)
    }

    /// The script.
    pub(super) fn nvidia_smi(&self) -> NvidiaSmi {
        NvidiaSmi::at(&self.folder.join("nvidia-smi"))
    }

    /// The scenario.
    pub(super) fn scenario(&self) -> PathBuf {
        self.folder.join("scenario.toml")
    }

    /// What the agent's configuration says of the library.
    pub(super) fn configuration(&self) -> String {
        let library = self.library.path().join(library::NAME);
        format!("\n[gpu]\nlibrary = \"{}\"\n", library.display())
    }

    /// What runs an agent to which the kernel's log is this one's.
    pub(super) fn command(&self, agent: &Path) -> Command {
        self.log.command(agent)
    }

    /// Says that these processes use the GPU, and no others.
    pub(super) fn write(&self, processes: &Processes) -> Result<()> {
        let of = |process: &Process| (process.pid(), process.load);
        self.answer(&processes.iter().map(of).collect::<Vec<_>>())
    }

    /// Says that a process has made an error: as an event, and with its pid in the kernel's log.
    pub(super) fn fault(&self, processes: &Processes, faulty: &Faulty) -> Result<()> {
        let of = |process: &Process| (process.pid(), process.load);
        let processes: Vec<_> = processes.iter().map(of).collect();
        let event = format!("\n[[devices.events]]\nsequence = 1\nvalue = {XID}\n");
        self.replace("scenario.toml", &(scenario(&processes) + &event))?;
        let pid = faulty.pid().to_string();
        self.log.blame("0000:3b:00", XID, &pid, "gpu-load")
    }

    fn answer(&self, processes: &[(u32, Load)]) -> Result<()> {
        self.replace("devices", &devices(processes))?;
        self.replace("memory", &memory(processes))?;
        self.replace("utilization", &utilization(processes))?;
        self.replace("scenario.toml", &scenario(processes))
    }

    /// Under another name first, so that nobody reads half of it.
    fn replace(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let new = self.folder.join(format!("{name}.new"));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// All of them together take no more than the GPU has.
fn percent(load: &Load) -> u32 {
    (load.duty * 60.0).round() as u32
}

fn used_mib(processes: &[(u32, Load)]) -> u32 {
    let of_processes: u32 = processes.iter().map(|(_, load)| load.mebibytes).sum();
    DRIVER_MIB + of_processes
}

fn busy_percent(processes: &[(u32, Load)]) -> u32 {
    processes.iter().map(|(_, load)| percent(load)).sum()
}

fn devices(processes: &[(u32, Load)]) -> String {
    let (busy, used) = (busy_percent(processes), used_mib(processes));
    format!("0, {UUID}, Scenario, 550.163.01, {busy}, {used}, {TOTAL_MIB}\n")
}

fn memory(processes: &[(u32, Load)]) -> String {
    let line = |(pid, load): &(u32, Load)| format!("{UUID}, {pid}, {}\n", load.mebibytes);
    processes.iter().map(line).collect()
}

fn utilization(processes: &[(u32, Load)]) -> String {
    let line = |(pid, load): &(u32, Load)| {
        let (sm, memory) = (percent(load), load.mebibytes);
        format!("    0 {pid:>10}     C {sm:>6}      -      -      - {memory:>6}    gpu-load\n")
    };
    let heading = "# gpu        pid  type     sm    mem    enc    dec     fb   command\n\
                   # Idx          #   C/G      %      %      %      %     MB   name\n";
    let lines: String = processes.iter().map(line).collect();
    format!("{heading}{lines}")
}

fn scenario(processes: &[(u32, Load)]) -> String {
    let bytes = |mib: u32| u64::from(mib) << 20;
    let used = used_mib(processes);
    let device = format!(
        "driver_version = \"550.163.01\"\n\n[[devices]]\nuuid = \"{UUID}\"\nname = \"Scenario\"\n\
         pci_bus_id = \"00000000:3B:00.0\"\nminor_number = 0\n\
         utilization = {{ gpu = {}, memory = 0 }}\n\
         memory = {{ total = {}, used = {}, free = {}, reserved = 0 }}\n",
        busy_percent(processes),
        bytes(TOTAL_MIB),
        bytes(used),
        bytes(TOTAL_MIB - used),
    );
    let of_process = |(pid, load): &(u32, Load)| {
        let (bytes, sm) = (bytes(load.mebibytes), percent(load));
        format!(
            "\n[[devices.processes]]\npid = {pid}\nmemory_bytes = {bytes}\nkinds = [\"compute\"]\n\
             \n[[devices.samples]]\npid = {pid}\nevery_ms = 1000\nsm = {sm}\n"
        )
    };
    let processes: String = processes.iter().map(of_process).collect();
    device + &processes
}

#[cfg(test)]
mod tests {
    use super::{Load, devices, memory, scenario, utilization};

    #[test]
    fn all_answers_are_of_the_same_processes() {
        let load = Load {
            session: Some("busy"),
            duty: 0.5,
            mebibytes: 100,
        };
        let processes = [(7, load), (8, load)];
        assert!(devices(&processes).ends_with(", 60, 500, 24576\n"));
        assert_eq!(memory(&processes).lines().count(), 2);
        assert_eq!(utilization(&processes).lines().count(), 4);
        let scenario = scenario(&processes);
        assert!(scenario.contains("used = 524288000"), "{scenario}");
        assert!(
            scenario.contains("pid = 8\nmemory_bytes = 104857600"),
            "{scenario}"
        );
        assert!(
            scenario.contains("pid = 8\nevery_ms = 1000\nsm = 30\n"),
            "{scenario}"
        );
    }
}
