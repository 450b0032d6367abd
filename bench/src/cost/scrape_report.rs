//! From the measurements of `bench scrape` to its tables.

use serde::Serialize;
use serde_json::{Value, json};

use super::exposition::{Exposition, Scrape};
use super::node_exporter::Peer;
use super::scrape::{Load, Measurements};
use super::staging::per_session;
use crate::numbers::{grouped, median, p99, verdict};
use crate::table::table;

/// What the design promises.
const LONGEST_SCRAPE_MS: f64 = 50.0;
const MOST_SERIES_A_SESSION: f64 = 85.0;

/// The scrapes of one exposition.
#[derive(Debug, Serialize)]
struct Cost {
    sessions: usize,
    exposition: Exposition,
    median_bytes: f64,
    median_ms: f64,
    p99_ms: f64,
    /// What each session more than in the load before added.
    us_per_session: Option<f64>,
    bytes_per_session: Option<f64>,
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "scrape";

    fn summary(&self) -> Value {
        json!({ "scrapes": self.costs(), "series_per_session": self.series_per_session() })
    }

    fn markdown(&self) -> String {
        let about = format!(
            "{}.\n`{}`: the agent's defaults; each session has two processes, a listener, four \
             connections of which it holds both ends, one to a display, datagrams and a write to the drive. A scrape is timed by who asks, \
             over loopback.",
            self.machine, self.command,
        );
        [
            about,
            self.load_table(),
            scrape_table(&self.costs()),
            "\"Per session more\" is what each session adds over the row with fewer: where it stays the \
             same, cost grows with the sessions and not faster."
                .to_owned(),
            self.peer_table(),
            self.expectations(),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    fn costs(&self) -> Vec<Cost> {
        let mut costs: Vec<Cost> = Vec::new();
        for load in &self.loads {
            for exposition in Exposition::ALL {
                let scrapes = || load.scrapes.get(&exposition).into_iter().flatten();
                let ms = || scrapes().map(|scrape| scrape.seconds * 1000.0);
                let median_bytes = median(scrapes().map(|scrape| scrape.bytes as f64));
                let median_ms = median(ms());
                let fewer = costs.iter().rfind(|cost| cost.exposition == exposition);
                let more = |value: fn(&Cost) -> f64, now: f64| {
                    fewer.map(|fewer| {
                        per_session((fewer.sessions, value(fewer)), (load.sessions, now))
                    })
                };
                costs.push(Cost {
                    sessions: load.sessions,
                    exposition,
                    median_bytes,
                    median_ms,
                    p99_ms: p99(ms()),
                    us_per_session: more(|cost| cost.median_ms, median_ms).map(|ms| ms * 1000.0),
                    bytes_per_session: more(|cost| cost.median_bytes, median_bytes),
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
        let series = |load: &Load| (load.sessions, load.of_sessions as f64);
        per_session(series(few), series(many))
    }

    fn load_table(&self) -> String {
        let headings = [
            "sessions",
            "series",
            "agent's CPU time with a scrape a second, % of one CPU",
        ];
        let row = |load: &Load| {
            vec![
                load.sessions.to_string(),
                grouped(load.series),
                format!("{:.1}", load.cpus * 100.0),
            ]
        };
        table(&headings, &self.loads.iter().map(row).collect::<Vec<_>>())
    }

    /// The agent beside node_exporter, which reads all of its figures from files when it is asked.
    fn peer_table(&self) -> String {
        let headings = [
            "a scrape in text of",
            "series",
            "bytes",
            "ms, median",
            "ms, 99 in 100",
            "µs a series",
            "CPU time with a scrape a second, as protobuf with gzip, % of one CPU",
        ];
        let row = |what: String, series: u64, cpus: f64, scrapes: &[Scrape]| {
            let ms = || scrapes.iter().map(|scrape| scrape.seconds * 1000.0);
            let bytes = median(scrapes.iter().map(|scrape| scrape.bytes as f64));
            vec![
                what,
                grouped(series),
                grouped(bytes as u64),
                format!("{:.1}", median(ms())),
                format!("{:.1}", p99(ms())),
                format!("{:.1}", median(ms()) * 1000.0 / series as f64),
                format!("{:.1}", cpus * 100.0),
            ]
        };
        let mut rows: Vec<_> = self
            .loads
            .iter()
            .filter_map(|load| {
                let scrapes = load.scrapes.get(&Exposition::Text)?;
                let what = format!("the agent, sessions: {}", load.sessions);
                Some(row(what, load.series, load.cpus, scrapes))
            })
            .collect();
        let Peer {
            series,
            cpus,
            scrapes,
        } = &self.peer;
        let what = "node_exporter, as Debian packages it".to_owned();
        rows.push(row(what, *series, *cpus, scrapes));
        table(&headings, &rows)
    }

    fn expectations(&self) -> String {
        let Some(most) = self.loads.last() else {
            return String::new();
        };
        let costs = self.costs();
        let last = || costs.iter().filter(|cost| cost.sessions == most.sessions);
        let slowest = |value: fn(&Cost) -> f64| last().map(value).fold(f64::NAN, f64::max);
        let median = slowest(|cost| cost.median_ms);
        let p99 = slowest(|cost| cost.p99_ms);
        let series = self.series_per_session();
        format!(
            "Expected with {} sessions:\n\n\
             - a scrape in at most {LONGEST_SCRAPE_MS} ms, in the slowest format: median {median:.1} ms, \
             {}; 99 in 100 at most {p99:.1} ms, {};\n\
             - at most {MOST_SERIES_A_SESSION} series a session: {series:.1}, {}.",
            most.sessions,
            verdict(median <= LONGEST_SCRAPE_MS),
            verdict(p99 <= LONGEST_SCRAPE_MS),
            verdict(series <= MOST_SERIES_A_SESSION),
        )
    }
}

fn scrape_table(costs: &[Cost]) -> String {
    let headings = [
        "a scrape as",
        "sessions",
        "bytes",
        "per session more",
        "ms, median",
        "ms, 99 in 100",
        "µs per session more",
    ];
    let optional =
        |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0}"));
    let row = |cost: &Cost| {
        vec![
            cost.exposition.label().to_owned(),
            cost.sessions.to_string(),
            grouped(cost.median_bytes as u64),
            optional(cost.bytes_per_session),
            format!("{:.1}", cost.median_ms),
            format!("{:.1}", cost.p99_ms),
            optional(cost.us_per_session),
        ]
    };
    let mut sorted: Vec<&Cost> = costs.iter().collect();
    sorted.sort_by_key(|cost| cost.exposition);
    table(&headings, &sorted.into_iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::exposition::{Exposition, Scrape};
    use super::super::measuring::Measurements as _;
    use super::super::node_exporter::Peer;
    use super::super::scrape::{Load, Measurements};
    use crate::machine::Machine;

    fn load(sessions: usize, seconds: f64) -> Load {
        let scrapes = Exposition::ALL.map(|exposition| {
            let scrape = Scrape {
                seconds,
                bytes: 1000 * sessions,
            };
            (exposition, vec![scrape])
        });
        Load {
            sessions,
            // One of the agent's own has come in between.
            series: 100 + u64::from(sessions > 50) + 50 * sessions as u64,
            of_sessions: 50 * sessions as u64,
            cpus: 0.012,
            scrapes: BTreeMap::from(scrapes),
        }
    }

    fn markdown(seconds: f64) -> String {
        let measurements = Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench scrape".into(),
            loads: vec![load(1, 0.001), load(50, 0.005), load(250, seconds)],
            peer: Peer {
                series: 1_000,
                cpus: 0.02,
                scrapes: vec![Scrape {
                    seconds: 0.015,
                    bytes: 90_000,
                }],
            },
        };
        measurements.markdown()
    }

    #[test]
    fn each_session_more_has_a_price() {
        let text = markdown(0.025);
        assert!(text.contains("| 250 | 12,601 | 1.2 |"), "{text}");
        assert!(
            text.contains("| text, gzip | 250 | 250,000 | 1000 | 25.0 | 25.0 | 100 |"),
            "{text}"
        );
        assert!(
            text.contains("| text | 1 | 1,000 | – | 1.0 | 1.0 | – |"),
            "{text}"
        );
        assert!(text.contains("a session: 50.0, met"), "{text}");
        let peer =
            "| node_exporter, as Debian packages it | 1,000 | 90,000 | 15.0 | 15.0 | 15.0 | 2.0 |";
        assert!(text.contains(peer), "{text}");
        assert!(!text.contains("not met"), "{text}");
    }

    #[test]
    fn what_is_not_met_is_said() {
        let text = markdown(0.051);
        assert!(text.contains("median 51.0 ms, **not met**"), "{text}");
    }
}
