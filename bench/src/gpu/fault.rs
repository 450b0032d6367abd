//! The session whose process makes an error of the GPU: the driver counts it, blames the process in the
//! kernel's log, and takes its context away.

use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::cgroup::Tree;

use super::load::Work;
use super::processes::{Load, announce, command, spawn, wait_for_one};
use crate::interrupt::pause;

/// The session, and its template.
pub(super) const FAULTY: &str = "faulty";

/// Taking a context away takes the driver a second.
const END_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Its process.
pub(super) struct Faulty<'a> {
    child: Child,
    cgroups: &'a Tree,
}

impl<'a> Faulty<'a> {
    /// Starts it and waits until it has a context. Whatever the others work with, it uses the driver alone.
    pub(super) fn start(
        work: Work,
        device: u32,
        cgroups: &'a Tree,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        cgroups.add(FAULTY)?;
        let work = match work {
            Work::Torch | Work::Driver => Work::Driver,
            Work::Nothing => Work::Nothing,
        };
        let load = Load {
            session: Some(FAULTY),
            duty: 0.0,
            mebibytes: 0,
        };
        let mut command = command(work, device, load, cgroups);
        command.arg("--fault").stdin(Stdio::piped());
        let child = spawn(&mut command)?;
        let mut faulty = Self { child, cgroups };
        let stdout = faulty.child.stdout.take();
        let (sender, ready) = channel();
        announce(
            stdout.context("a process on the GPU has no output")?,
            sender,
        );
        wait_for_one(&ready, Instant::now(), interrupted)?;
        Ok(faulty)
    }

    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes the error, waits until the process has failed of it, and ends the session.
    pub(super) fn fail(&mut self, interrupted: &Receiver<()>) -> Result<()> {
        // The end of its input is what it waits for.
        drop(self.child.stdin.take());
        let begin = Instant::now();
        let asking = "cannot ask after the process that makes an error";
        let status = loop {
            if let Some(status) = self.child.try_wait().context(asking)? {
                break status;
            }
            ensure!(
                begin.elapsed() < END_LIMIT,
                "the process that makes an error of the GPU has not ended within {END_LIMIT:?}"
            );
            pause(POLL, interrupted)?;
        };
        ensure!(
            !status.success(),
            "the process that makes an error of the GPU has not failed"
        );
        self.cgroups.remove(FAULTY)
    }
}

impl Drop for Faulty<'_> {
    fn drop(&mut self) {
        // It has ended already, unless the comparison was given up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
