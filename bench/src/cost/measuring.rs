//! What every benchmark is given, and what each must make of it.

use std::sync::mpsc::Receiver;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every benchmark is given.
pub(crate) struct Bench<'a> {
    pub(crate) rounds: u32,
    pub(crate) repetitions: u32,
    pub(crate) interrupted: &'a Receiver<()>,
}

impl Bench<'_> {
    /// The command that repeats a benchmark.
    pub(crate) fn command(&self, name: &str, arguments: &[String]) -> String {
        let mut words = vec!["cargo xtask bench".to_owned(), name.to_owned()];
        if ["net", "block", "fork"].contains(&name) {
            words.push(format!("--rounds {}", self.rounds));
        }
        words.extend_from_slice(arguments);
        words.join(" ")
    }
}

/// What a benchmark has measured.
pub(crate) trait Measurements: Serialize + DeserializeOwned {
    /// Name of the benchmark: of its subcommand, its file in `target/bench` and its section.
    const NAME: &'static str;

    /// The figures that follow from the measurements.
    fn summary(&self) -> serde_json::Value;

    /// The section of `docs/measurements.md`.
    fn markdown(&self) -> String;
}
