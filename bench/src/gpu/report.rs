//! The comparison as Markdown: for a terminal, for a file that is carried home, for `docs/gpu.md`.

use super::comparison::{HEADINGS, Line};
use super::load::Work;
use super::nvidia_smi::Device;
use super::processes::SESSIONS;
use super::watch::{Recording, Scrape};
use crate::machine::Machine;
use crate::numbers::{grouped, median, p99, seconds};
use crate::table::table;

/// The section of `docs/gpu.md`.
pub(super) struct Report<'a> {
    pub(super) machine: &'a Machine,
    pub(super) device: &'a Device,
    pub(super) work: Work,
    /// As one would type it.
    pub(super) command: &'a str,
    /// Whether there was no GPU.
    pub(super) rehearsed: bool,
    pub(super) recording: &'a Recording,
    pub(super) lines: &'a [Line],
}

impl Report<'_> {
    /// All of it.
    pub(super) fn markdown(&self) -> String {
        let rows: Vec<_> = self.lines.iter().map(Line::cells).collect();
        let mut parts = vec![self.about(), table(&HEADINGS, &rows)];
        parts.extend(self.failures());
        parts.push(self.waits());
        parts.push(self.calls());
        parts.push(self.scrapes());
        parts.join("\n\n")
    }

    fn about(&self) -> String {
        let rehearsed = if self.rehearsed {
            "**A rehearsal without a GPU: the scenario library in the driver's place.** "
        } else {
            ""
        };
        let total = self.device.memory_total.map_or_else(String::new, |bytes| {
            format!(", {} MiB", grouped((bytes / f64::from(1 << 20)) as u64))
        });
        format!(
            "{rehearsed}{}.\nGPU {}: {}{total}, driver {}.\n`{}`: the work is {}.",
            self.machine,
            self.device.index,
            self.device.name,
            self.device.driver,
            self.command,
            self.work.label(),
        )
    }

    /// What `nvidia-smi` could not be asked to the end.
    fn failures(&self) -> Option<String> {
        let recording = self.recording;
        let failures = [
            &recording.devices.failure,
            &recording.memory.failure,
            &recording.utilization.failure,
        ];
        let lines: Vec<_> = failures
            .into_iter()
            .flatten()
            .map(|failure| format!("- {failure}"))
            .collect();
        let intro = "What is compared with `nvidia-smi` lacks what it did not answer:";
        (!lines.is_empty()).then(|| format!("{intro}\n\n{}", lines.join("\n")))
    }

    fn waits(&self) -> String {
        let row = |session: &str| {
            let wait = self.recording.waits.get(session).copied();
            vec![session.to_owned(), seconds(wait)]
        };
        let rows: Vec<_> = SESSIONS.into_iter().map(row).collect();
        let headings = ["session", "p99 of the run-queue wait, last seconds"];
        format!(
            "What the same sessions waited for a CPU:\n\n{}",
            table(&headings, &rows)
        )
    }

    fn calls(&self) -> String {
        const CALLS: &str = "vdi_agent_gpu_call_seconds";
        let by_call = |suffix: &str| -> Vec<(&str, f64)> {
            let last = self.recording.scrapes.last();
            let name = format!("{CALLS}_{suffix}");
            last.map_or_else(Vec::new, |last| last.metrics.by_label(&name, "call"))
        };
        let (sums, counts) = (by_call("sum"), by_call("count"));
        let rows: Vec<_> = counts
            .into_iter()
            .map(|(call, count)| {
                let sum = sums.iter().find(|(of, _)| *of == call);
                let mean = sum
                    .filter(|_| count > 0.0)
                    .map(|(_, seconds)| seconds / count);
                vec![format!("`{call}`"), grouped(count as u64), seconds(mean)]
            })
            .collect();
        if rows.is_empty() {
            return format!("What the agent's calls take is absent: it has no `{CALLS}`.");
        }
        let headings = ["call", "times", "mean"];
        format!(
            "What the agent's calls of NVML take (`{CALLS}`):\n\n{}",
            table(&headings, &rows)
        )
    }

    fn scrapes(&self) -> String {
        let times = || self.recording.scrapes.iter().map(|scrape| scrape.seconds);
        format!(
            "{} scrapes, one a second: median {}, p99 {}. The agent used {} of CPU a second in all.",
            self.recording.scrapes.len(),
            seconds(Some(median(times()))),
            seconds(Some(p99(times()))),
            seconds(self.cpu()),
        )
    }

    /// CPU seconds of the agent per second, from the first scrape to the last.
    fn cpu(&self) -> Option<f64> {
        let scrapes = &self.recording.scrapes;
        let (first, last) = (scrapes.first()?, scrapes.last()?);
        let total = |scrape: &Scrape| scrape.metrics.find("process_cpu_seconds_total", &[]);
        let passed = last.begin.duration_since(first.begin).as_secs_f64();
        (passed > 0.0).then_some((total(last)? - total(first)?) / passed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use super::super::comparison::{Expectation, Line, Unit};
    use super::super::load::Work;
    use super::super::nvidia_smi::Device;
    use super::super::watch::{Recording, Scrape, Series};
    use super::Report;
    use crate::example::exposition;
    use crate::machine::Machine;

    fn series<T>(failure: Option<&str>) -> Series<T> {
        Series {
            values: Vec::new(),
            failure: failure.map(str::to_owned),
        }
    }

    fn markdown(lines: &str, failure: Option<&str>) -> String {
        let begin = Instant::now();
        let recording = Recording {
            scrapes: vec![Scrape {
                begin,
                seconds: 0.002,
                metrics: exposition(lines),
            }],
            devices: series(None),
            memory: series(None),
            utilization: series(failure),
            death: begin,
            waits: BTreeMap::from([("busy", 0.0031)]),
        };
        let line = Line {
            subject: "busy".into(),
            figure: "busy ratio",
            agent: Some(0.5),
            reference: Some(0.52),
            unit: Unit::Ratio,
            expectation: Expectation::Within(0.1),
        };
        let report = Report {
            machine: &Machine {
                kernel: "6.1".into(),
                processor: "A processor".into(),
                cpus: 16,
                virtualized: true,
                pid_max: 32_768,
                date: "2026-01-02".into(),
            },
            device: &Device {
                index: 0,
                uuid: "GPU-1".into(),
                name: "NVIDIA L4".into(),
                driver: "580.1".into(),
                utilization: None,
                memory_used: None,
                memory_total: Some(24_147_656_704.0),
            },
            work: Work::Driver,
            command: "cargo xtask test --gpu",
            rehearsed: false,
            recording: &recording,
            lines: &[line],
        };
        report.markdown()
    }

    #[test]
    fn the_report_names_the_machine_and_has_a_row_per_line() {
        let text = markdown(
            "vdi_agent_gpu_call_seconds_sum{call=\"memory\"} 0.004\n\
             vdi_agent_gpu_call_seconds_count{call=\"memory\"} 40\n",
            None,
        );
        assert!(
            text.starts_with("2026-01-02: Linux 6.1, A processor"),
            "{text}"
        );
        assert!(
            text.contains("GPU 0: NVIDIA L4, 23,029 MiB, driver 580.1."),
            "{text}"
        );
        let row = "| busy | busy ratio | 0.500 | 0.520 | within 0.100 | pass |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| busy | 3.1 ms |\n| light | – |"), "{text}");
        assert!(text.contains("| `memory` | 40 | 100 µs |"), "{text}");
        assert!(
            text.contains("1 scrapes, one a second: median 2.0 ms"),
            "{text}"
        );
        assert!(!text.contains("did not answer"), "{text}");
    }

    #[test]
    fn what_could_not_be_asked_is_said() {
        let text = markdown("", Some("pmon: Not supported"));
        assert!(text.contains("- pmon: Not supported"), "{text}");
        assert!(text.contains("calls take is absent"), "{text}");
    }
}
