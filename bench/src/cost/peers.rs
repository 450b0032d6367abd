//! The programs of others that the agent is compared with, started so that they measure until they
//! are ended.
//!
//! What they print goes nowhere, which flatters them. Not every kernel lets every one of them in;
//! then its row of a table says why, in its own words.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use lab::command;

use super::inside::{self, Place, Running};
use super::programs;
use crate::waiting::wait_until;

/// Lines of its complaints that are kept.
const COMPLAINTS: usize = 20;

/// Programs of others that Debian has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Runqlat,
    RunqlatBt,
    Tcprtt,
    Tcpconnlat,
    Tcplife,
    Biolatency,
    Execsnoop,
    Exitsnoop,
}

impl Peer {
    /// As tables name it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Runqlat => "libbpf-tools `runqlat`",
            Self::RunqlatBt => "bpftrace `runqlat.bt`",
            Self::Tcprtt => "libbpf-tools `tcprtt`",
            Self::Tcpconnlat => "libbpf-tools `tcpconnlat`",
            Self::Tcplife => "libbpf-tools `tcplife`",
            Self::Biolatency => "libbpf-tools `biolatency`",
            Self::Execsnoop => "libbpf-tools `execsnoop`",
            Self::Exitsnoop => "libbpf-tools `exitsnoop`",
        }
    }

    /// Its program, and how many kernel programs it loads at least.
    fn program(self) -> (&'static str, usize) {
        match self {
            Self::Runqlat => ("runqlat", 3),
            Self::RunqlatBt => ("bpftrace", 3),
            Self::Tcprtt => ("tcprtt", 1),
            Self::Tcpconnlat => ("tcpconnlat", 2),
            Self::Tcplife => ("tcplife", 1),
            Self::Biolatency => ("biolatency", 2),
            Self::Execsnoop => ("execsnoop", 2),
            Self::Exitsnoop => ("exitsnoop", 1),
        }
    }
}

/// Starts a peer and waits until its programs are in the kernel.
pub(crate) fn start(peer: Peer, interrupted: &Receiver<()>) -> Result<Running> {
    let (name, programs) = peer.program();
    let program =
        command::find_program(name).with_context(|| format!("there is no program `{name}`"))?;
    let script = match peer {
        Peer::RunqlatBt => Some(runqlat_script()?),
        _ => None,
    };
    let arguments: Vec<&str> = match (&script, peer) {
        (Some(script), _) => vec!["-e", script],
        // It prints its histogram after so many seconds, and ends.
        (None, Peer::Runqlat | Peer::Biolatency) => vec!["3600"],
        (None, _) => Vec::new(),
    };
    let place = Place {
        tracing: true,
        ..Place::default()
    };
    let mut running = inside::start(place, &program, &arguments, Stdio::null(), Stdio::piped())?;
    let mut complaints = running.0.stderr.take().map(|stderr| {
        thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            // Read to the end, so that it never waits for a reader.
            lines
                .enumerate()
                .fold(Vec::new(), |mut kept, (number, line)| {
                    if number < COMPLAINTS {
                        kept.push(line);
                    }
                    kept
                })
        })
    });
    wait_until(
        &format!("{name} has attached its programs"),
        interrupted,
        || {
            if let Some(status) = running.0.try_wait()? {
                let said = said(complaints.take());
                bail!("it ended with {status}: {said}");
            }
            Ok(programs::held(running.0.id())?.len() >= programs)
        },
    )?;
    Ok(running)
}

fn said(complaints: Option<JoinHandle<Vec<String>>>) -> String {
    let lines = complaints.and_then(|thread| thread.join().ok());
    reason(&lines.unwrap_or_default())
}

/// The first thing that failed; what follows are consequences.
fn reason(lines: &[String]) -> String {
    let failed = |line: &&String| {
        let line = line.to_lowercase();
        let warning = line.contains("rlimit_memlock");
        !warning && (line.contains("fail") || line.contains("error"))
    };
    let line = lines.iter().find(failed).or(lines.last());
    line.map_or_else(
        || "it said nothing".to_owned(),
        |line| line.trim().to_owned(),
    )
}

/// Debian's script without what it includes from kernel headers, which is one constant; later versions
/// of the script do the same where the kernel has BTF.
fn runqlat_script() -> Result<String> {
    const PATH: &str = "/usr/sbin/runqlat.bt";
    let script =
        fs::read_to_string(Path::new(PATH)).with_context(|| format!("cannot read {PATH}"))?;
    Ok(without_headers(&script))
}

fn without_headers(script: &str) -> String {
    let lines = script.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.replace("TASK_RUNNING", "0") + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{reason, without_headers};

    #[test]
    fn a_script_needs_no_headers() {
        let script =
            "#!/usr/bin/env bpftrace\n#include <linux/sched.h>\nif (a == TASK_RUNNING) {\n";
        assert_eq!(without_headers(script), "if (a == 0) {\n");
    }

    #[test]
    fn the_reason_is_the_first_failure() {
        let lines = [
            "ERROR: couldn't set RLIMIT_MEMLOCK",
            "libbpf: failed to add a kprobe",
            "failed to attach",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(reason(&lines), "libbpf: failed to add a kprobe");
        assert_eq!(reason(&[]), "it said nothing");
    }
}
