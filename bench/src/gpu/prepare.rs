//! `test --gpu --prepare <folder>`: what a machine with a GPU needs to run the comparison
//! without Rust, a compiler or a network.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lab::command;
use lab::programs::{AGENT, BENCH};

const SCRIPT: &str = "\
#!/bin/sh
# Compares the agent with nvidia-smi on this machine; as root. The report is on standard output, so
# `./run.sh > gpu.md` is what `cargo xtask test --gpu --from gpu.md --write-docs` takes.
folder=$(cd \"$(dirname \"$0\")\" && pwd)
exec \"$folder/bench\" test --gpu --agent \"$folder/sessionscope\" \"$@\"
";

/// Puts this agent and this program into a folder.
pub(super) fn run(folder: &Path, agent: &Path) -> Result<()> {
    let bench = env::current_exe().context("cannot find this program's own file")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    copy(agent, &folder.join(AGENT))?;
    copy(&bench, &folder.join(BENCH))?;
    let script = folder.join("run.sh");
    fs::write(&script, SCRIPT)
        .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", script.display()))?;
    let glibc = [agent, bench.as_path()].into_iter().map(glibc);
    let glibc = glibc.collect::<Result<Vec<_>>>()?.into_iter().max();
    let (major, minor) = glibc.context("there are no binaries")?;
    println!(
        "{} has what a machine with an NVIDIA GPU needs: {}, glibc {major}.{minor} or later, and \
         NVIDIA's driver with nvidia-smi. Run run.sh there, as root.",
        folder.display(),
        env::consts::ARCH,
    );
    Ok(())
}

/// Without what only a debugger reads.
fn copy(binary: &Path, to: &Path) -> Result<()> {
    let stripped = command::find_program("strip").is_some_and(|strip| {
        let mut strip = Command::new(strip);
        strip.arg("-o").arg(to).arg(binary);
        command::run(&mut strip).is_ok()
    });
    if !stripped {
        fs::copy(binary, to)
            .with_context(|| format!("cannot copy {} to {}", binary.display(), to.display()))?;
    }
    Ok(())
}

/// The version of glibc that a binary asks the dynamic linker for, from the names in it.
fn glibc(binary: &Path) -> Result<(u32, u32)> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let version = newest(&bytes);
    ensure!(
        version.is_some(),
        "{} asks for no version of glibc: is it linked against another C library?",
        binary.display()
    );
    Ok(version.unwrap_or_default())
}

fn newest(bytes: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"\0GLIBC_";
    let names = bytes
        .windows(PREFIX.len())
        .enumerate()
        .filter(|(_, window)| *window == PREFIX);
    let versions = names.filter_map(|(at, _)| {
        let name = &bytes[at + PREFIX.len()..];
        let end = name.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&name[..end]).ok()?;
        let mut numbers = text.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_version_is_found_by_number_and_not_by_letter() {
        let bytes = b"x\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0NOT_GLIBC_9.9\0";
        assert_eq!(newest(bytes), Some((2, 34)));
        assert_eq!(newest(b"GLIBC"), None);
    }
}
