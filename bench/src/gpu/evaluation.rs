//! From what was recorded to the lines of the comparison.

use std::time::Instant;

use super::comparison::{Expectation, Line, Unit};
use super::fault::FAULTY;
use super::nvidia_smi::{Device, ProcessMemory, ProcessUtilization};
use super::processes::SESSIONS;
use super::watch::{Recording, Scrape, Series};

const MIB: f64 = 1_048_576.0;
/// `nvidia-smi` prints whole MiB; one for that and one for what a context takes meanwhile.
const MEMORY_PER_PROCESS: f64 = 2.0 * MIB;
/// The agent's own figures are of one moment.
const MEMORY_SUM: f64 = MIB;
/// Both average the driver's samples, over seconds that are not the same.
const BUSY: f64 = 0.1;

/// The processes of a session, or those outside, before and after one has died.
pub(super) struct Pids {
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

/// What is compared.
pub(super) struct Evaluation<'a> {
    pub(super) recording: &'a Recording,
    /// The GPU in use.
    pub(super) device: &'a Device,
    /// Of each session, in the order of [`SESSIONS`].
    pub(super) sessions: [Pids; SESSIONS.len()],
    /// Of the processes outside of any session.
    pub(super) outside: Vec<u32>,
}

impl Evaluation<'_> {
    /// All lines.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (session, pids) in SESSIONS.into_iter().zip(&self.sessions) {
            let memory = |figure, at: Option<&Scrape>, until, pids: &[u32]| Line {
                subject: session.to_owned(),
                figure,
                agent: at.and_then(|scrape| self.session_memory(scrape, session)),
                reference: self.memory_of(pids, until),
                unit: Unit::Bytes,
                expectation: Expectation::Within(MEMORY_PER_PROCESS * pids.len() as f64),
            };
            lines.push(memory(
                "memory before a process dies",
                self.last_before_death(),
                Some(self.recording.death),
                &pids.before,
            ));
            lines.push(memory("memory at the end", self.last(), None, &pids.after));
            lines.push(Line {
                subject: session.to_owned(),
                figure: "busy ratio",
                agent: self.busy(session),
                reference: mean_busy(&self.recording.utilization, self.device.index, &pids.before),
                unit: Unit::Ratio,
                expectation: Expectation::Within(BUSY),
            });
            lines.push(Line {
                subject: session.to_owned(),
                figure: "first GPU context after the start",
                agent: self
                    .last()
                    .and_then(|scrape| first_context(scrape, session)),
                reference: None,
                unit: Unit::Seconds,
                expectation: Expectation::Present,
            });
        }
        lines.extend(self.device_lines());
        lines.extend(self.fault_lines());
        lines
    }

    /// One process has made one error, and its session ended with it.
    fn fault_lines(&self) -> [Line; 3] {
        let line = |subject: String, figure, name, labels: &[(&str, &str)]| Line {
            subject,
            figure,
            agent: self
                .last()
                .and_then(|scrape| scrape.metrics.sum(name, labels)),
            reference: Some(1.0),
            unit: Unit::Count,
            expectation: Expectation::Within(0.0),
        };
        let index = self.index();
        let gpu = ("gpu", index.as_str());
        [
            line(
                format!("GPU {}", self.device.index),
                "Xid errors",
                "vdi_gpu_xid_errors_total",
                &[gpu],
            ),
            line(
                FAULTY.to_owned(),
                "Xid errors that its process is blamed for",
                "vdi_session_gpu_xid_errors_total",
                &[("session", FAULTY), gpu],
            ),
            line(
                FAULTY.to_owned(),
                "ends by `gpu_error`",
                "vdi_session_ended_total",
                &[("template", FAULTY), ("reason", "gpu_error")],
            ),
        ]
    }

    fn device_lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line = |figure, agent, reference, unit, expectation| {
            lines.push(Line {
                subject: format!("GPU {}", self.device.index),
                figure,
                agent,
                reference,
                unit,
                expectation,
            });
        };
        for (figure, scrape) in [
            (
                "sessions and the rest, of all memory, before",
                self.last_before_death(),
            ),
            (
                "sessions and the rest, of all memory, at the end",
                self.last(),
            ),
        ] {
            let parts = scrape.and_then(|scrape| {
                let sessions = self.of_device(scrape, "vdi_session_gpu_memory_bytes")?;
                Some(sessions + self.of_device(scrape, "vdi_gpu_unattributed_memory_bytes")?)
            });
            let whole =
                scrape.and_then(|scrape| self.of_device(scrape, "vdi_gpu_memory_used_bytes"));
            line(
                figure,
                parts,
                whole,
                Unit::Bytes,
                Expectation::Within(MEMORY_SUM),
            );
        }
        let unattributed = self
            .last()
            .and_then(|scrape| self.of_device(scrape, "vdi_gpu_unattributed_memory_bytes"));
        line(
            "memory outside of sessions, beside the process outside",
            unattributed,
            self.memory_of(&self.outside, None),
            Unit::Bytes,
            Expectation::AtLeast(MEMORY_PER_PROCESS * self.outside.len() as f64),
        );
        let devices = || {
            let values = self.recording.devices.values.iter();
            values
                .filter_map(|(_, devices)| devices.iter().find(|one| one.uuid == self.device.uuid))
        };
        line(
            "memory in use",
            self.last()
                .and_then(|scrape| self.of_device(scrape, "vdi_gpu_memory_used_bytes")),
            devices().next_back().and_then(|device| device.memory_used),
            Unit::Bytes,
            Expectation::Within(MEMORY_PER_PROCESS),
        );
        let scrapes = self.recording.scrapes.iter();
        line(
            "utilization, mean",
            mean(scrapes.filter_map(|scrape| self.of_device(scrape, "vdi_gpu_utilization_ratio"))),
            mean(devices().filter_map(|device| device.utilization)),
            Unit::Ratio,
            Expectation::Within(BUSY),
        );
        lines
    }

    fn last(&self) -> Option<&Scrape> {
        self.recording.scrapes.last()
    }

    fn last_before_death(&self) -> Option<&Scrape> {
        let mut scrapes = self.recording.scrapes.iter();
        scrapes.rfind(|scrape| scrape.begin < self.recording.death)
    }

    /// The GPU's index, which is its label.
    fn index(&self) -> String {
        self.device.index.to_string()
    }

    fn of_device(&self, scrape: &Scrape, name: &str) -> Option<f64> {
        scrape.metrics.sum(name, &[("gpu", &self.index())])
    }

    fn session_memory(&self, scrape: &Scrape, session: &str) -> Option<f64> {
        let index = self.index();
        let labels = [("session", session), ("gpu", &index)];
        scrape.metrics.sum("vdi_session_gpu_memory_bytes", &labels)
    }

    /// The sum over processes as `nvidia-smi` has it, in its last answer until then.
    fn memory_of(&self, pids: &[u32], until: Option<Instant>) -> Option<f64> {
        let mut asked = self.recording.memory.values.iter();
        let (_, processes) = asked.rfind(|(at, _)| until.is_none_or(|until| *at < until))?;
        memory_of(processes, &self.device.uuid, pids)
    }

    /// The rate of a session's busy seconds over the whole recording.
    fn busy(&self, session: &str) -> Option<f64> {
        const BUSY_SECONDS: &str = "vdi_session_gpu_busy_seconds_total";
        let index = self.index();
        let labels = [("session", session), ("gpu", &index), ("engine", "sm")];
        let total = |scrape: &Scrape| scrape.metrics.sum(BUSY_SECONDS, &labels);
        let (first, last) = (self.recording.scrapes.first()?, self.last()?);
        let seconds = last.begin.duration_since(first.begin).as_secs_f64();
        (seconds > 0.0).then_some((total(last)? - total(first)?) / seconds)
    }
}

/// `None` if one of the processes is not listed, or listed without its memory.
fn memory_of(processes: &[ProcessMemory], uuid: &str, pids: &[u32]) -> Option<f64> {
    let of = |pid: &u32| {
        let mut listed = processes.iter();
        listed
            .find(|process| process.pid == *pid && process.uuid == uuid)?
            .memory
    };
    pids.iter().map(of).sum()
}

/// The mean of the sums over processes. A process that is listed without a figure has none of the driver's
/// samples, which is how the driver says that it is idle; where no process ever had one, the driver has no
/// samples at all, and the mean is `None`. So it is where none of the processes was listed.
fn mean_busy(asked: &Series<Vec<ProcessUtilization>>, gpu: u32, pids: &[u32]) -> Option<f64> {
    let (mut sampled, mut listed) = (false, false);
    let mut sums = Vec::new();
    for (_, processes) in &asked.values {
        let on_gpu = || processes.iter().filter(|process| process.gpu == gpu);
        sampled |= on_gpu().any(|process| process.sm.is_some());
        let of_session = || on_gpu().filter(|process| pids.contains(&process.pid));
        listed |= of_session().next().is_some();
        sums.push(of_session().filter_map(|process| process.sm).sum());
    }
    if sampled && listed { mean(sums) } else { None }
}

/// A histogram of the template, which is the session's own.
fn first_context(scrape: &Scrape, session: &str) -> Option<f64> {
    let labels = [("template", session), ("milestone", "first_gpu_context")];
    let of = |suffix| {
        let name = format!("vdi_session_startup_seconds{suffix}");
        scrape.metrics.sum(&name, &labels)
    };
    let count = of("_count")?;
    (count > 0.0).then_some(of("_sum")? / count)
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests;
