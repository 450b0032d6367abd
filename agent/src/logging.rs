//! The log: text for a terminal and the journal, JSON for a collector, always to stderr, because
//! stdout belongs to what a subcommand prints.

pub mod settings;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

pub use self::settings::{LogFormat, Settings};
use crate::error::Error;

/// Starts the log. Called once, before the first task.
pub fn init(log: &Settings) -> Result<(), Error> {
    let filter = filter(&log.level).map_err(Error::Other)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Text => {
            // https://no-color.org: any value that is not empty.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            builder
                .with_ansi(io::stderr().is_terminal() && !plain)
                .try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::Other(format!("cannot start the log: {error}")))
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
