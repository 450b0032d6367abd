//! THE list of metric families, in the order of `/metrics` and of `docs/metrics.md`; each section has a file.
//!
//! Everything else is derived from it: the exposition, the reference, which families vanish with which
//! program, and the check that every name in dashboards and rules exists. A new metric is a row in the file
//! of its section.

mod agent;
mod configuration;
mod disk;
mod experience;
mod gpu;
mod http;
mod labels;
mod memory;
mod network;
mod node;
mod own_process;
mod processes;
mod scheduler;
mod session_gpu;
mod sessions;
mod sources;

use agent_common::histogram::{Histogram, LONG_SHIFT};

use super::{
    family::{Buckets, Family, Out},
    label::Pair,
};

/// Families of one concern.
pub struct Section {
    /// What the reference calls it.
    pub title: &'static str,
    /// Its families.
    pub families: &'static [Family],
}

/// Every section, in order.
pub const SECTIONS: &[Section] = &[
    section("Sessions", sessions::FAMILIES),
    section("CPU and scheduling of a session", scheduler::FAMILIES),
    section("Processes of a session", processes::FAMILIES),
    section("Network of a session", network::FAMILIES),
    section("Input of a session", experience::FAMILIES),
    section("Block I/O of a session", disk::FAMILIES),
    section("Memory of a session", memory::FAMILIES),
    section("GPUs of a session", session_gpu::FAMILIES),
    section("GPUs of the node", gpu::FAMILIES),
    section("The node", node::FAMILIES),
    section("Sources of sessions", sources::FAMILIES),
    section("The agent", agent::FAMILIES),
    section("Requests to the agent", http::FAMILIES),
    section("Configuration of the agent", configuration::FAMILIES),
    section("The agent's process", own_process::FAMILIES),
    section("The exposition", &[agent::SERIES]),
];

const fn section(title: &'static str, families: &'static [Family]) -> Section {
    Section { title, families }
}

/// Every family.
pub fn families() -> impl Iterator<Item = &'static Family> + Clone {
    SECTIONS.iter().flat_map(|section| section.families)
}

/// Count and sum are enough for most; the native histogram has the rest.
const MEAN_ONLY: Buckets = buckets(&[]);

const fn buckets(few: &'static [i32]) -> Buckets {
    Buckets { few, shift: 0 }
}

const fn long(few: &'static [i32]) -> Buckets {
    let shift = LONG_SHIFT as i32;
    Buckets { few, shift }
}

/// A histogram that appears with its first observation.
fn observed(out: &mut dyn Out, labels: &[Pair<'_>], histogram: &Histogram) {
    if histogram.count() > 0 {
        out.histogram(labels, histogram);
    }
}

#[cfg(test)]
mod tests {
    mod expected;
    mod meaning;
    mod snapshot;

    use std::collections::{BTreeSet, HashSet};

    use super::{Family, families};
    use crate::{
        kernel::programs::PROGRAMS,
        metrics::family::{
            Kind::{BoundedHistogram, Counter, Gauge, Histogram},
            Since, Source, Unit,
        },
        metrics::settings::ClassicBuckets,
    };

    #[test]
    fn names_are_unique_prefixed_and_without_a_suffix_typed_by_hand() {
        let mut seen = HashSet::new();
        for family in families() {
            let name = family.name();
            assert!(seen.insert(name.clone()), "{name} is there twice");
            assert!(
                name.starts_with("vdi_") || name.starts_with("process_"),
                "{name}"
            );
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            // Before a unit it is a word like any other: the total memory.
            assert!(
                !name.ends_with("_total"),
                "{name}: _total is appended, not typed"
            );
            for suffix in ["_seconds", "_bytes", "_ratio", "_count", "_sum", "_bucket"] {
                assert!(
                    !family.stem.ends_with(suffix),
                    "{name}: {suffix} is appended, not typed"
                );
            }
        }
    }

    #[test]
    fn help_is_one_sentence_without_a_full_stop() {
        for family in families() {
            assert!(!family.help.ends_with('.'), "{}", family.stem);
            assert!(
                family.help.starts_with(char::is_uppercase),
                "{}",
                family.stem
            );
            assert!(!family.help.contains(['\n', '\\', '"']), "{}", family.stem);
        }
    }

    #[test]
    fn what_others_have_counted_before_the_agent_came_has_no_beginning() {
        let counts = |f: &&Family| f.kind != Gauge;
        let of = |since| -> BTreeSet<String> {
            let all = families().filter(counts).filter(|f| f.since() == since);
            all.map(Family::sample_name).collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected: BTreeSet<String> = names(&[
            "process_cpu_seconds_total",
            "vdi_gpu_ecc_errors_total",
            "vdi_gpu_energy_joules_total",
            "vdi_gpu_pcie_replays_total",
            "vdi_gpu_throttled_seconds_total",
            "vdi_node_cpu_steal_seconds_total",
        ]);
        assert_eq!(of(Since::NotTold), expected);
        let expected: BTreeSet<String> = names(&[
            "vdi_session_cpu_periods_total",
            "vdi_session_cpu_throttled_periods_total",
            "vdi_session_cpu_throttled_seconds_total",
            "vdi_session_forks_refused_total",
            "vdi_session_memory_events_total",
            "vdi_session_pressure_seconds_total",
        ]);
        assert_eq!(of(Since::Making), expected);
        // Of templates and of the node.
        assert!(of(Since::Start).contains("vdi_session_ended_total"));
        assert!(of(Since::Start).contains("vdi_gpu_xid_errors_total"));
        assert!(of(Since::Adoption).contains("vdi_session_cpu_seconds_total"));
    }

    #[test]
    fn every_program_that_a_family_names_is_in_the_table() {
        for family in families() {
            if let Source::Program(name) = family.source {
                assert!(
                    PROGRAMS.iter().any(|p| p.name == name),
                    "{}: {name}",
                    family.stem
                );
            }
        }
    }

    #[test]
    fn a_histogram_has_six_classic_bounds_at_most_unless_all_are_wanted() {
        for family in families() {
            let bounds = match family.kind {
                Histogram(buckets) => buckets.few.len(),
                BoundedHistogram(bounds) => {
                    assert!(bounds.all.is_sorted() && bounds.few.is_sorted());
                    let is_counted = |bound| bounds.all.contains(bound);
                    assert!(bounds.few.iter().all(is_counted), "{}", family.stem);
                    bounds.few.len()
                }
                Counter | Gauge => 0,
            };
            assert!(bounds <= 6, "{}: {bounds}", family.stem);
        }
    }

    #[test]
    fn a_histogram_is_of_time_or_a_ratio_and_its_bounds_are_bounds_of_the_kernel() {
        for family in families() {
            let Histogram(buckets) = family.kind else {
                continue;
            };
            assert!(
                matches!(family.unit, Unit::Seconds | Unit::Ratio),
                "{}",
                family.stem
            );
            let full = buckets.classic(ClassicBuckets::Full);
            let (first, last) = (full[0], full[full.len() - 1]);
            // From the kernel's first bound to its last, with the few between them.
            assert_eq!(last - first, 24, "{}", family.stem);
            let powers_of_four = (first..=last).step_by(2);
            let expected = powers_of_four.chain(buckets.few.iter().copied());
            assert_eq!(
                BTreeSet::from_iter(full),
                expected.collect(),
                "{}",
                family.stem
            );
            assert!(buckets.few.is_sorted(), "{}", family.stem);
            assert!(
                buckets
                    .few
                    .iter()
                    .all(|octave| (first..=last).contains(octave)),
                "{}",
                family.stem
            );
        }
    }
}
