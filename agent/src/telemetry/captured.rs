//! What a unit test has the agent say.

use std::{
    env,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

use super::{Event, lines::Lines};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What `log` says on this thread, in a form.
pub(super) fn written(form: Lines, log: impl FnOnce()) -> String {
    let written = Written::default();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(form)
        .with_writer(written.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The records of what `work` causes on this thread, read back. They are noted where `cargo xtask test` gathers which
/// events of the list have been caused.
pub(crate) fn caused(work: impl FnOnce()) -> Vec<Value> {
    let lines = written(Lines::Json, work);
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    if let Some(path) = env::var_os("AGENT_EVENTS_SEEN") {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        for record in &records {
            let event = Event::named(record["event"].as_str().unwrap()).unwrap();
            writeln!(file, "{}", event.name()).unwrap();
        }
    }
    records
}
