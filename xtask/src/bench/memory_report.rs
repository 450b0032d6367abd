//! From the measurements of `bench memory` to its tables.

use serde::Serialize;
use serde_json::{Value, json};

use super::memory::{Exposition, Load, Measurements};
use super::table::table;
use super::{grouped, median, verdict};

/// What the design promises.
const LARGEST_RESIDENT_MIB: f64 = 40.0;
const LONGEST_SCRAPE_MS: f64 = 50.0;
const MOST_SERIES_A_SESSION: f64 = 60.0;

const MIB: f64 = 1024.0 * 1024.0;

/// The scrapes of one exposition.
#[derive(Debug, Serialize)]
struct ScrapeCost {
    sessions: usize,
    exposition: Exposition,
    median_bytes: f64,
    median_ms: f64,
    largest_ms: f64,
}

impl super::Measurements for Measurements {
    const NAME: &'static str = "memory";

    fn summary(&self) -> Value {
        json!({ "scrapes": self.scrape_costs(), "series_per_session": self.series_per_session() })
    }

    fn markdown(&self) -> String {
        let about = format!(
            "{}.\n`cargo xtask bench memory`: the agent's defaults, sessions of one process each that \
             wakes ten times a second, {} s of a scrape a second in turns of every format.",
            self.machine, self.seconds,
        );
        [
            about,
            memory_table(&self.loads),
            scrape_table(&self.scrape_costs()),
            self.expectations(),
            self.about_maps(),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    fn scrape_costs(&self) -> Vec<ScrapeCost> {
        let mut costs = Vec::new();
        for load in &self.loads {
            for exposition in Exposition::ALL {
                let scrapes = || load.scrapes.get(&exposition).into_iter().flatten();
                let ms = || scrapes().map(|scrape| scrape.seconds * 1000.0);
                costs.push(ScrapeCost {
                    sessions: load.sessions,
                    exposition,
                    median_bytes: median(scrapes().map(|scrape| scrape.bytes as f64)),
                    median_ms: median(ms()),
                    largest_ms: ms().fold(f64::NAN, f64::max),
                });
            }
        }
        costs
    }

    /// What one more session adds, from the smallest to the largest load.
    fn series_per_session(&self) -> f64 {
        let (Some(few), Some(many)) = (self.loads.first(), self.loads.last()) else {
            return f64::NAN;
        };
        (many.series as f64 - few.series as f64) / (many.sessions as f64 - few.sessions as f64)
    }

    fn expectations(&self) -> String {
        let Some(most) = self.loads.last() else {
            return String::new();
        };
        let resident = most.resident_bytes as f64 / MIB;
        let slowest = self
            .scrape_costs()
            .iter()
            .filter(|cost| cost.sessions == most.sessions)
            .fold(f64::NAN, |largest, cost| largest.max(cost.median_ms));
        let series = self.series_per_session();
        format!(
            "Expected with {} sessions:\n\n\
             - resident memory at most {LARGEST_RESIDENT_MIB} MiB: {resident:.1} MiB, {};\n\
             - a scrape in at most {LONGEST_SCRAPE_MS} ms: {slowest:.1} ms (median of the slowest \
             format), {};\n\
             - at most {MOST_SERIES_A_SESSION} series a session: {series:.1}, {}.",
            most.sessions,
            verdict(resident <= LARGEST_RESIDENT_MIB),
            verdict(slowest <= LONGEST_SCRAPE_MS),
            verdict(series <= MOST_SERIES_A_SESSION),
        )
    }

    fn about_maps(&self) -> String {
        let sizes = &self.sizes;
        format!(
            "The maps are sized when the agent starts, by `sessions.max_sessions`, not by the sessions \
             there are: {} bytes per session and CPU for the scheduler's figures, {} bytes per session \
             for the life cycle of processes, {} for the network. The state of threads takes {} bytes each: in task storage \
             for each thread there is, in the array for each pid there could be (`kernel.pid_max`, here \
             {}: {:.1} MiB).",
            grouped(sizes.sched_stats as u64),
            sizes.process_stats,
            grouped(sizes.net_stats as u64),
            sizes.task_state,
            grouped(self.machine.pid_max),
            (self.machine.pid_max * sizes.task_state as u64) as f64 / MIB,
        )
    }
}

fn memory_table(loads: &[Load]) -> String {
    let headings = [
        "sessions",
        "resident, MiB",
        "its peak, MiB",
        "maps in the kernel, MiB",
        "threads' state in",
        "series",
        "agent's CPU time, % of one CPU",
    ];
    let row = |load: &Load| {
        vec![
            load.sessions.to_string(),
            format!("{:.1}", load.resident_bytes as f64 / MIB),
            format!("{:.1}", load.peak_resident_bytes as f64 / MIB),
            format!("{:.2}", load.map_bytes as f64 / MIB),
            load.task_state.clone(),
            grouped(load.series),
            format!("{:.1}", load.cpus * 100.0),
        ]
    };
    table(&headings, &loads.iter().map(row).collect::<Vec<_>>())
}

fn scrape_table(costs: &[ScrapeCost]) -> String {
    let headings = [
        "sessions",
        "a scrape as",
        "bytes",
        "ms, median",
        "ms, largest",
    ];
    let row = |cost: &ScrapeCost| {
        vec![
            cost.sessions.to_string(),
            cost.exposition.label().to_owned(),
            grouped(cost.median_bytes as u64),
            format!("{:.1}", cost.median_ms),
            format!("{:.1}", cost.largest_ms),
        ]
    };
    table(&headings, &costs.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Measurements as _;
    use super::super::machine::Machine;
    use super::super::memory::{Exposition, Load, Measurements, Scrape, Sizes};

    fn load(sessions: usize, resident_mib: u64, seconds: f64) -> Load {
        let scrapes = Exposition::ALL.map(|exposition| {
            let scrape = Scrape {
                seconds,
                bytes: 1234,
            };
            (exposition, vec![scrape])
        });
        Load {
            sessions,
            task_state: "pid-array".into(),
            resident_bytes: resident_mib << 20,
            peak_resident_bytes: resident_mib << 20,
            map_bytes: 3 << 20,
            series: 100 + 50 * sessions as u64,
            cpus: 0.012,
            scrapes: BTreeMap::from(scrapes),
        }
    }

    fn markdown(resident_mib: u64, seconds: f64) -> String {
        let measurements = Measurements {
            machine: Machine {
                kernel: "6.1".into(),
                processor: "A processor".into(),
                cpus: 2,
                virtualized: false,
                pid_max: 32_768,
                date: "2026-01-02".into(),
            },
            seconds: 24,
            sizes: Sizes {
                sched_stats: 840,
                process_stats: 56,
                net_stats: 3328,
                task_state: 48,
            },
            loads: vec![load(3, 9, 0.001), load(250, resident_mib, seconds)],
        };
        measurements.markdown()
    }

    #[test]
    fn the_tables_have_a_row_per_load_and_format() {
        let text = markdown(12, 0.02);
        assert!(
            text.contains("| 250 | 12.0 | 12.0 | 3.00 | pid-array | 12,600 | 1.2 |"),
            "{text}"
        );
        assert!(
            text.contains("| 250 | text, gzip | 1,234 | 20.0 | 20.0 |"),
            "{text}"
        );
        assert!(text.contains("here 32,768: 1.5 MiB"), "{text}");
        assert!(!text.contains("not met"), "{text}");
    }

    #[test]
    fn what_is_not_met_is_said() {
        let text = markdown(41, 0.051);
        assert!(text.contains("41.0 MiB, **not met**"), "{text}");
        assert!(
            text.contains("51.0 ms (median of the slowest format), **not met**"),
            "{text}"
        );
        assert!(text.contains("session: 50.0, met"), "{text}");
    }
}
