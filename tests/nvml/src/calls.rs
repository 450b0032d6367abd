//! How often each function was called: a table in a file, so that a test can state the driver calls
//! per second of a process that it only started.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, io, path::Path, path::PathBuf, time::Instant,
};

/// The table is written at most this often, and by `nvmlShutdown`.
const PERIOD_SECONDS: f64 = 1.0;

/// Counts since the library was loaded.
pub(crate) struct Calls {
    counts: BTreeMap<&'static str, u64>,
    path: Option<PathBuf>,
    written: Option<Instant>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let path = std::env::var_os(crate::CALLS).map(PathBuf::from);
        Self {
            counts: BTreeMap::new(),
            path,
            written: None,
        }
    }

    pub(crate) fn count(&mut self, function: &'static str) {
        *self.counts.entry(function).or_default() += 1;
        let due = self
            .written
            .is_none_or(|then| then.elapsed().as_secs_f64() >= PERIOD_SECONDS);
        if due || function == "nvmlShutdown" {
            self.write();
            self.written = Some(Instant::now());
        }
    }

    fn write(&mut self) {
        let Some(path) = &self.path else { return };
        let mut table = String::new();
        for (function, count) in &self.counts {
            let _ = writeln!(table, "{function} {count}");
        }
        let beside = path.with_extension("new");
        if let Err(error) = fs::write(&beside, table).and_then(|()| fs::rename(&beside, path)) {
            eprintln!("nvml scenario: {}: {error}", path.display());
        }
    }
}

/// Reads the table that the library wrote: calls by C symbol since the library was loaded.
pub fn read(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    fs::read_to_string(path)?
        .lines()
        .map(|line| {
            line.split_once(' ')
                .and_then(|(function, count)| Some((function.to_owned(), count.parse().ok()?)))
                .ok_or_else(|| io::Error::other(format!("not a line of a call table: {line}")))
        })
        .collect()
}
