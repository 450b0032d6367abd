//! How long calls of a real driver take, as others have published it, and what follows for `bench gpu`.

use std::collections::BTreeMap;

use super::gpu::{GPUS, Measurements, Turn};
use crate::table::table;

/// Where the durations are from.
const SOURCES: &str = "MangoHud's pull request 2104 (medians on an RTX 4090 for laptops, driver \
     610.57.04: `nvmlDeviceGetGraphicsRunningProcesses` 4,491 µs, `nvmlDeviceGetFanSpeed` 137 µs, \
     `nvmlDeviceGetMemoryInfo` 11.6 µs, `nvmlDeviceGetUtilizationRates` 2.5 µs), and nvml.h, by which a \
     direction of `nvmlDeviceGetPcieThroughput` is measured for 20 ms";

/// Microseconds of a call; every list of processes counts as the one that was measured.
fn published_us(function: &str) -> Option<f64> {
    let known = [
        ("RunningProcesses", 4491.4),
        ("GetFanSpeed", 137.1),
        ("GetMemoryInfo", 11.6),
        ("GetUtilizationRates", 2.5),
        ("GetPcieThroughput", 20_000.0),
    ];
    known
        .into_iter()
        .find_map(|(part, us)| function.contains(part).then_some(us))
}

/// What calls a second would be with those durations.
#[derive(Debug, Default)]
struct Estimate {
    calls: f64,
    /// Calls that nobody has published a duration of.
    unpriced: f64,
    /// Of the others.
    milliseconds: f64,
}

impl Estimate {
    /// Of calls by function. `calls_per_list` is how many a caller makes for a list, 2 if it asks for the
    /// length first: what was published may be the duration of both, so it is that of the list here.
    fn of(calls: &BTreeMap<String, f64>, calls_per_list: f64) -> Self {
        let mut estimate = Self::default();
        for (function, count) in calls {
            estimate.calls += count;
            let Some(us) = published_us(function) else {
                estimate.unpriced += count;
                continue;
            };
            let share = if function.contains("RunningProcesses") {
                calls_per_list
            } else {
                1.0
            };
            estimate.milliseconds += count * us / share / 1000.0;
        }
        estimate
    }
}

impl Measurements {
    /// What the estimates are made of.
    pub(super) fn about_prices(&self) -> String {
        let calls = |turn: &Turn| turn.calls.values().map(|calls| calls.count).sum::<f64>();
        let us = self.quiet(GPUS[1], |turn| turn.library_seconds() / calls(turn) * 1e6);
        format!(
            "**A real driver takes longer.** The scenario library answered a call in {us:.0} µs, waits for a CPU included; of a driver's \
             calls some take milliseconds, with its global lock held, which the sessions' own calls wait \
             for. What has been published: {SOURCES}. The table multiplies calls, counted by the agent and \
             by the library, with these durations, and leaves calls without one out of the estimate. A list \
             is read by the agent in one call, by the others in two, the first of them for its length: \
             either counts once. No figure of this section is from a real GPU.",
        )
    }

    /// The agent beside others, in calls and in time of a driver.
    pub(super) fn estimate_table(&self) -> String {
        let headings = [
            "a second of",
            "GPUs",
            "calls",
            "ms in the scenario library",
            "ms in a driver, estimated",
            "calls not in the estimate",
        ];
        let row = |label: &str, gpus: usize, library_ms: f64, estimate: &Estimate| {
            vec![
                label.to_owned(),
                gpus.to_string(),
                format!("{:.1}", estimate.calls),
                format!("{library_ms:.1}"),
                format!("{:.1}", estimate.milliseconds),
                format!("{:.1}", estimate.unpriced),
            ]
        };
        let agent = GPUS[1..].iter().map(|&gpus| {
            let library = self.quiet(gpus, |turn| turn.library_seconds() / turn.seconds);
            let estimate = Estimate::of(&self.rates(gpus), 1.0);
            row("the agent", gpus, library * 1e3, &estimate)
        });
        let peers = self.polls.iter().map(|polls| {
            let number = f64::from(polls.count);
            let calls = polls.calls.iter();
            let calls = calls.map(|(function, count)| (function.clone(), *count as f64 / number));
            let estimate = Estimate::of(&calls.collect(), 2.0);
            let library_ms = polls.seconds / number * 1e3;
            row(polls.exporter.label(), polls.gpus, library_ms, &estimate)
        });
        table(&headings, &agent.chain(peers).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::Estimate;

    #[test]
    fn a_list_in_two_calls_is_one_list() {
        let calls = [
            ("nvmlDeviceGetGraphicsRunningProcesses_v3".into(), 2.0),
            ("nvmlDeviceGetPcieThroughput".into(), 2.0),
            ("nvmlDeviceGetName".into(), 3.0),
        ];
        let estimate = Estimate::of(&calls.into(), 2.0);
        assert!((estimate.calls - 7.0).abs() < 1e-9);
        assert!((estimate.unpriced - 3.0).abs() < 1e-9);
        assert!((estimate.milliseconds - 44.4914).abs() < 1e-9);
    }
}
