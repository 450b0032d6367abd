//! From the measurements of `bench memory` to its tables.

use agent_common::{MAX_CGROUPS, MAX_CONNECTIONS, MAX_PREEMPTION_PAIRS, MAX_RECLAIMING};
use serde_json::{Value, json};

use super::memory::{Load, Measurements};
use super::staging::per_session;
use crate::numbers::{grouped, verdict};
use crate::table::table;

/// What the design promises.
const LARGEST_RESIDENT_MIB: f64 = 40.0;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "memory";

    fn summary(&self) -> Value {
        json!({ "resident_bytes_per_session": self.resident_per_session() })
    }

    fn markdown(&self) -> String {
        let about = format!(
            "{}.\n`{}`: the agent's defaults and sessions as for scrapes, {} s of a scrape a second in \
             turns of every format.",
            self.machine, self.command, self.seconds,
        );
        [
            about,
            self.memory_table(),
            self.expectations(),
            self.about_maps(),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    /// Each load's resident bytes over those of the load before, per session.
    fn resident_per_session(&self) -> Vec<f64> {
        let resident = |load: &Load| (load.sessions, load.resident_bytes as f64);
        let pairs = self.loads.windows(2);
        pairs
            .map(|pair| per_session(resident(&pair[0]), resident(&pair[1])))
            .collect()
    }

    fn memory_table(&self) -> String {
        let headings = [
            "sessions",
            "resident, MiB",
            "KiB per session more",
            "its peak, MiB",
            "maps in the kernel, MiB",
            "threads' state in",
        ];
        let more = self.resident_per_session();
        let row = |(number, load): (usize, &Load)| {
            let more = number.checked_sub(1).and_then(|before| more.get(before));
            vec![
                load.sessions.to_string(),
                format!("{:.1}", load.resident_bytes as f64 / MIB),
                more.map_or("–".to_owned(), |bytes| format!("{:.0}", bytes / KIB)),
                format!("{:.1}", load.peak_resident_bytes as f64 / MIB),
                format!("{:.2}", load.map_bytes as f64 / MIB),
                load.task_state.clone(),
            ]
        };
        let mut rows: Vec<_> = self.loads.iter().enumerate().map(row).collect();
        let none = || "–".to_owned();
        rows.push(vec![
            "node_exporter, as Debian packages it".to_owned(),
            format!("{:.1}", self.peer.resident_bytes as f64 / MIB),
            none(),
            format!("{:.1}", self.peer.peak_resident_bytes as f64 / MIB),
            none(),
            none(),
        ]);
        table(&headings, &rows)
    }

    fn expectations(&self) -> String {
        let Some(most) = self.loads.last() else {
            return String::new();
        };
        let resident = most.resident_bytes as f64 / MIB;
        format!(
            "Expected with {} sessions:\n\n\
             - resident memory at most {LARGEST_RESIDENT_MIB} MiB: {resident:.1} MiB, {}.",
            most.sessions,
            verdict(resident <= LARGEST_RESIDENT_MIB),
        )
    }

    fn about_maps(&self) -> String {
        let sizes = &self.sizes;
        format!(
            "The maps are sized when the agent starts, by `sessions.max_sessions`, not by the sessions \
             there are: {} bytes per session and CPU for the scheduler's figures, {} bytes per session \
             for the life cycle of processes, {} for the network, {} for block I/O, {} for stalls. The state of threads takes {} bytes \
             each: in task storage for each thread there is, in the array for each pid there could be \
             (`kernel.pid_max`, here {}: {:.1} MiB). The hash maps are allocated whole whatever is set: {} cgroups, \
             {} connections, {} pairs of sessions and {} threads that reclaim memory find room.",
            grouped(sizes.sched_stats as u64),
            sizes.process_stats,
            grouped(sizes.net_stats as u64),
            grouped(sizes.block_stats as u64),
            sizes.memory_stats,
            sizes.task_state,
            grouped(self.machine.pid_max),
            (self.machine.pid_max * sizes.task_state as u64) as f64 / MIB,
            grouped(MAX_CGROUPS.into()),
            grouped(MAX_CONNECTIONS.into()),
            grouped(MAX_PREEMPTION_PAIRS.into()),
            grouped(MAX_RECLAIMING.into()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::measuring::Measurements as _;
    use super::super::memory::{Load, Measurements, Memory, Sizes};
    use crate::machine::Machine;

    fn load(sessions: usize, resident_mib: u64) -> Load {
        Load {
            sessions,
            task_state: "pid-array".into(),
            resident_bytes: resident_mib << 20,
            peak_resident_bytes: resident_mib << 20,
            map_bytes: 3 << 20,
        }
    }

    fn markdown(resident_mib: u64) -> String {
        let measurements = Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench memory".into(),
            seconds: 12,
            sizes: Sizes {
                sched_stats: 840,
                process_stats: 56,
                net_stats: 3328,
                block_stats: 1600,
                memory_stats: 792,
                task_state: 48,
            },
            loads: vec![load(50, 10), load(250, resident_mib)],
            peer: Memory {
                resident_bytes: 20 << 20,
                peak_resident_bytes: 21 << 20,
            },
        };
        measurements.markdown()
    }

    #[test]
    fn the_table_has_a_row_per_load() {
        let text = markdown(30);
        assert!(
            text.contains("| 250 | 30.0 | 102 | 30.0 | 3.00 | pid-array |"),
            "{text}"
        );
        let peer = "| node_exporter, as Debian packages it | 20.0 | – | 21.0 | – | – |";
        assert!(text.contains(peer), "{text}");
        assert!(text.contains("here 32,768: 1.5 MiB"), "{text}");
        assert!(!text.contains("not met"), "{text}");
    }

    #[test]
    fn what_is_not_met_is_said() {
        assert!(markdown(41).contains("41.0 MiB, **not met**"));
    }
}
