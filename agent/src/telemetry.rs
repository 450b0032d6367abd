//! What the agent says of itself: the log and the audit log.
//!
//! The log goes to stderr, because stdout belongs to what a subcommand prints: text for a terminal and the journal, JSON
//! or logfmt for a collector. What it can say is a closed list, [`Event`], and [`log_event`] is the only way to say it.

mod audit;
#[cfg(test)]
pub(crate) mod captured;
mod event;
mod lines;
mod reference;
pub mod settings;
mod trace_id;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

pub(crate) use self::event::log_event;
pub use self::{
    audit::{AuditLines, LineResult, audit_lines},
    event::{Event, SUBJECT, Subject},
    reference::markdown,
    settings::{AuditTo, AuditedProcesses, LogFormat, Settings},
    trace_id::{TraceId, begin_traces, session_id, trace_id},
};
use self::{
    audit::{Queue, Writer},
    lines::Lines,
};
use crate::error::Error;

/// How long the end of the agent waits for the last lines of the audit log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log, as long as the agent runs.
#[derive(Debug)]
#[must_use = "the last lines of the audit log are written when it is dropped"]
pub struct Log {
    audit: Option<Queue>,
    /// What takes the lines of the audit log, until a thread writes them.
    writer: Option<Writer>,
}

impl Log {
    /// Has a thread write the audit log. To be called when the agent has given up what it may do at its start alone: a
    /// thread would keep it.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub fn write_audit(&mut self) -> Result<(), Error> {
        self.writer.take().map_or(Ok(()), Writer::start)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The agent may end before there was a thread.
        if self.write_audit().is_ok()
            && let Some(queue) = &self.audit
        {
            queue.finish(LAST_LINES);
        }
    }
}

/// Starts the log. Called once, before the first task.
///
/// # Errors
///
/// When the file of the audit log cannot be opened, or a log has been started before.
pub fn start(settings: &Settings) -> Result<Log, Error> {
    let filter = filter(&settings.level).map_err(Error::Other)?;
    let (audit, opened) = match Queue::open(settings)? {
        Some((queue, writer)) => {
            let processes = settings.audit_processes;
            let layer = fmt::layer()
                .event_format(Lines::Json)
                .with_writer(queue.clone())
                .with_filter(filter_fn(move |metadata| {
                    audit::wants(metadata.name(), processes)
                }));
            (Some(layer), Some((queue, writer)))
        }
        None => (None, None),
    };
    let stderr = fmt::layer().with_writer(io::stderr);
    let log = match settings.format {
        LogFormat::Text => {
            // https://no-color.org: any value that is not empty.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            stderr
                .with_ansi(io::stderr().is_terminal() && !plain)
                .boxed()
        }
        LogFormat::Json => stderr.event_format(Lines::Json).boxed(),
        LogFormat::Logfmt => stderr.event_format(Lines::Logfmt).boxed(),
    };
    tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(audit)
        .try_init()
        .map_err(|error| Error::Other(format!("cannot start the log: {error}")))?;
    let (audit, writer) = opened.unzip();
    Ok(Log { audit, writer })
}

/// Libraries that log errors which the agent handles and reports itself.
const QUIET: &str = "kube_client=off,kube_runtime=off";
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Parses a filter such as `info` or `info,sessionscope::kernel=debug`.
///
/// The parser behind it takes any bare word for the name of a module to trace, so that a misspelt
/// `inof` would silence everything else; here a bare word must be a level.
pub fn filter(directives: &str) -> Result<EnvFilter, String> {
    let expected = || format!("expected {}, or target=level pairs", LEVELS.join(", "));
    if directives.trim().is_empty() {
        return Err(format!("{}, found nothing", expected()));
    }
    let bare = directives
        .split(',')
        .map(str::trim)
        .filter(|part| !part.contains(['=', '[']));
    for word in bare {
        if !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
            return Err(format!("{}, found \"{word}\"", expected()));
        }
    }
    // What is given later wins.
    EnvFilter::try_new(format!("{QUIET},{directives}"))
        .map_err(|error| format!("{}: {error}", expected()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_pairs_are_accepted() {
        for directives in ["info", "WARN", "off", "info,sessionscope::kernel=debug"] {
            assert!(filter(directives).is_ok(), "{directives}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for directives in [
            "inof",
            "",
            "info,",
            "info,debgu",
            "sessionscope=loud",
            "warn, a=off",
        ] {
            assert!(filter(directives).is_err(), "{directives}");
        }
        assert_eq!(
            filter("inof").unwrap_err(),
            "expected off, error, warn, info, debug, trace, or target=level pairs, found \"inof\""
        );
    }
}
