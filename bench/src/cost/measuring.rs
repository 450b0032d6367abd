//! What every benchmark is given, and what each must make of it.

use std::sync::mpsc::Receiver;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every benchmark is given.
pub(crate) struct Bench<'a> {
    pub(crate) interrupted: &'a Receiver<()>,
}

/// The command that repeats a benchmark.
pub(crate) fn command(name: &str, arguments: &[String]) -> String {
    let words = ["cargo", "xtask", "bench", name].map(str::to_owned);
    [&words, arguments].concat().join(" ")
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
