//! From the measurements of `bench gpu` to its tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::gpu::{GPUS, Measurements, SESSIONS, Turn, WATCHED};
use super::gpu_node::{CAPTURES, ENCODERS, PROCESSES};
use super::gpu_rhythms::Rhythm;
use crate::numbers::{Spread, grouped, lower_quartile, median};
use crate::table::table;

const MIB: f64 = 1_048_576.0;

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "gpu";

    fn summary(&self) -> Value {
        let rates = GPUS.map(|gpus| (gpus.to_string(), self.rates(gpus)));
        json!({ "calls_per_second": BTreeMap::from(rates) })
    }

    fn markdown(&self) -> String {
        let about = format!(
            "{}.\n`{}`: the agent's defaults, {SESSIONS} sessions as for scrapes. Each GPU has every reading, \
             {PROCESSES} processes with utilisation samples, {ENCODERS} encoder sessions and {CAPTURES} \
             capture session; a session has one process on one GPU. Without GPUs is with `gpu.enabled = \
             false`. Each condition was watched {} times for {} s, in turns. Times of the agent are the lower quartile of its turns, because what \
             others do on the machine only ever adds; the rest are medians.",
            self.machine,
            self.command,
            self.turns.len() / GPUS.len(),
            WATCHED.as_secs(),
        );
        [
            about,
            self.call_table(),
            self.cost_table(),
            "CPU time is that of sampling alone: nobody scrapes meanwhile. Where the spreads overlap, the \
             ratio is the machine's variation and says nothing; the time of the sampler's thread is the \
             kernel's own account of it, and includes the library, which looks at its file in every call. \
             The time in the library is that of the clock, so it includes what the thread waits for a CPU."
                .to_owned(),
            self.about_series(),
            self.about_driver(),
            self.peer_table(),
            "A row of a peer is a single poll, made once a second here; how often it is made is a matter \
             of their configuration. Calls that the scenario library does not have are left out of the \
             peers' rows."
                .to_owned(),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    fn of(&self, gpus: usize) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| turn.gpus == gpus)
    }

    fn median(&self, gpus: usize, value: impl Fn(&Turn) -> f64) -> f64 {
        median(self.of(gpus).map(value))
    }

    /// The same where what others do only ever adds.
    fn quiet(&self, gpus: usize, value: impl Fn(&Turn) -> f64) -> f64 {
        lower_quartile(self.of(gpus).map(value))
    }

    /// Calls a second by function, over all turns.
    fn rates(&self, gpus: usize) -> BTreeMap<String, f64> {
        let seconds: f64 = self.of(gpus).map(|turn| turn.seconds).sum();
        let mut rates = BTreeMap::new();
        for (function, calls) in self.of(gpus).flat_map(|turn| &turn.calls) {
            *rates.entry(function.clone()).or_default() += calls.count / seconds;
        }
        rates
    }

    fn call_table(&self) -> String {
        let headings = GPUS.map(|gpus| format!("GPUs: {gpus}"));
        let headings = ["driver calls a second", &headings[1], &headings[2]];
        let rates = GPUS.map(|gpus| self.rates(gpus));
        let row = |label: &str, wanted: &dyn Fn(&str) -> bool| {
            let cells = rates[1..].iter().map(|rates| {
                let rates = rates.iter().filter(|(function, _)| wanted(function));
                format!("{:.1}", rates.map(|(_, rate)| rate).sum::<f64>())
            });
            [label.to_owned()].into_iter().chain(cells).collect()
        };
        let mut rows: Vec<Vec<String>> = Rhythm::ALL
            .iter()
            .map(|rhythm| row(rhythm.label(), &|f| Rhythm::of(f) == *rhythm))
            .collect();
        rows.push(row("all", &|_| true));
        table(&headings, &rows)
    }

    fn cost_table(&self) -> String {
        let headings = [
            "GPUs",
            "agent's CPU time, % of one CPU (least–largest)",
            "of that without GPUs",
            "sampler's thread, µs of CPU time a round",
            "µs in the library a round",
            "resident, MiB",
            "series",
            "a scrape, ms",
        ];
        let cpus = |gpus| self.quiet(gpus, |turn| turn.cpu_seconds / turn.seconds);
        let row = |gpus: usize| {
            let percent = |turn: &Turn| turn.cpu_seconds / turn.seconds * 100.0;
            let spread = Spread::of(self.of(gpus).map(percent));
            let per_round = |value: fn(&Turn) -> f64| {
                let us = self.quiet(gpus, |turn| value(turn) / turn.rounds() * 1e6);
                if gpus == 0 {
                    "–".to_owned()
                } else {
                    grouped(us.round() as u64)
                }
            };
            vec![
                gpus.to_string(),
                format!(
                    "{:.2} ({:.2}–{:.2})",
                    cpus(gpus) * 100.0,
                    spread.least,
                    spread.largest
                ),
                format!("{:.2}", cpus(gpus) / cpus(GPUS[0])),
                per_round(|turn| turn.sampler_seconds),
                per_round(Turn::library_seconds),
                format!("{:.1}", self.median(gpus, |turn| turn.resident_bytes) / MIB),
                grouped(self.median(gpus, |turn| turn.series.all as f64) as u64),
                format!(
                    "{:.1}",
                    self.median(gpus, |turn| median(turn.scrape_seconds.iter().copied())) * 1e3
                ),
            ]
        };
        table(&headings, &GPUS.map(row))
    }

    fn about_series(&self) -> String {
        let more = |value: fn(&Turn) -> u64, many: usize, few: usize| {
            self.median(many, |turn| value(turn) as f64)
                - self.median(few, |turn| value(turn) as f64)
        };
        let [none, one, eight] = GPUS;
        let of_gpus: fn(&Turn) -> u64 = |turn| turn.series.of_gpus;
        format!(
            "Of the series, a GPU has {:.0}, the sampler's own figures of the driver's functions are {:.0}, a \
             session with a process on a GPU has {:.0} more than without and one that also encodes and \
             captures {:.0}.",
            more(of_gpus, eight, one) / (eight - one) as f64,
            more(|turn| turn.series.of_sampler, one, none),
            more(|turn| turn.series.of_session, one, none),
            more(|turn| turn.series.of_streaming_session, one, none),
        )
    }

    /// What the scenario library cannot say.
    fn about_driver(&self) -> String {
        let us = self.quiet(GPUS[1], |turn| turn.library_seconds() / turn.calls() * 1e6);
        format!(
            "**A real driver takes longer.** The scenario library answered a call in {us:.0} µs, waits for a \
             CPU included; of a driver's calls some take milliseconds, with its global lock held, which the \
             sessions' own calls wait for: [gpu.md](gpu.md) has each as it was measured. A list is read by \
             the agent in one call, by the others in two, the first of them for its length. No figure of \
             this section is from a real GPU.",
        )
    }

    /// The agent beside others, in calls and in time of the library.
    fn peer_table(&self) -> String {
        let headings = ["a second of", "GPUs", "calls", "ms in the scenario library"];
        let row = |label: &str, gpus: usize, calls: f64, seconds: f64| {
            vec![
                label.to_owned(),
                gpus.to_string(),
                format!("{calls:.1}"),
                format!("{:.1}", seconds * 1e3),
            ]
        };
        let agent = GPUS[1..].iter().map(|&gpus| {
            let seconds = self.quiet(gpus, |turn| turn.library_seconds() / turn.seconds);
            row("the agent", gpus, self.rates(gpus).values().sum(), seconds)
        });
        let peers = self.polls.iter().map(|polls| {
            let number = f64::from(polls.count);
            let calls = polls.calls.values().sum::<u64>() as f64 / number;
            row(
                polls.exporter.label(),
                polls.gpus,
                calls,
                polls.seconds / number,
            )
        });
        table(&headings, &agent.chain(peers).collect::<Vec<_>>())
    }
}

impl Turn {
    fn calls(&self) -> f64 {
        self.calls.values().map(|calls| calls.count).sum()
    }

    /// Rounds of the sampler, in each of which every GPU is asked for its memory once.
    fn rounds(&self) -> f64 {
        let calls = self.calls.get("nvmlDeviceGetMemoryInfo_v2");
        calls.map_or(f64::NAN, |calls| calls.count / self.gpus as f64)
    }

    fn library_seconds(&self) -> f64 {
        self.calls.values().map(|calls| calls.seconds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::exporters::{Exporter, Polls};
    use super::super::gpu::{Calls, GPUS, Measurements, Series, Turn};
    use super::super::measuring::Measurements as _;
    use crate::machine::Machine;

    fn turn(gpus: usize, cpu_seconds: f64) -> Turn {
        let calls = |count: usize, seconds: f64| Calls {
            count: (count * gpus) as f64,
            seconds,
        };
        let series = |each: u64| each * gpus as u64;
        Turn {
            gpus,
            seconds: 10.0,
            cpu_seconds,
            sampler_seconds: 0.02,
            resident_bytes: 10_485_760.0,
            calls: [
                ("nvmlDeviceGetMemoryInfo_v2".into(), calls(10, 0.001)),
                ("nvmlDeviceGetFBCSessions".into(), calls(10, 0.001)),
                (
                    "nvmlDeviceGetGraphicsRunningProcesses_v3".into(),
                    calls(2, 0.001),
                ),
            ]
            .into(),
            series: Series {
                all: 1000 + series(40),
                of_gpus: series(40),
                of_sampler: 7,
                of_streaming_session: series(3),
                of_session: series(2),
            },
            scrape_seconds: vec![0.002, 0.003, 0.004],
        }
    }

    #[test]
    fn calls_and_costs_are_told_by_the_number_of_gpus() {
        let measurements = Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench gpu".into(),
            turns: GPUS.map(|gpus| turn(gpus, 0.1 + 0.1 * gpus as f64)).into(),
            polls: vec![Polls {
                exporter: Exporter::AllSmi,
                gpus: 1,
                count: 5,
                seconds: 0.5,
                calls: [("nvmlDeviceGetComputeRunningProcesses_v3".into(), 10)].into(),
            }],
        };
        let text = measurements.markdown();
        for expected in [
            "encoder and capture sessions | 1.0 | 8.0 |",
            "| all | 2.2 | 17.6 |",
            "| 0 | 1.00 (1.00–1.00) | 1.00 | – | – | 10.0 | 1,000 | 3.0 |",
            "| 1 | 2.00 (2.00–2.00) | 2.00 | 2,000 | 300 | 10.0 | 1,040 | 3.0 |",
            "a GPU has 40, ",
            "| the agent | 1 | 2.2 | 0.3 |",
            "| a poll of all-smi | 1 | 2.0 | 100.0 |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
