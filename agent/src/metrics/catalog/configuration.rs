//! The configuration that is in effect, and the files that are read again while the agent runs.

use std::time::UNIX_EPOCH;

use super::labels::FILE;
use crate::{
    metrics::{
        family::{
            Family,
            Kind::{Counter, Gauge},
            Samples::Node,
            Source, State, Unit,
        },
        label::{OneOf, Text},
    },
    named::named,
    snapshot::Reloads,
};

named! {
    /// What came of a reload.
    enum Outcome {
        /// The file is in effect.
        Success = "success",
        /// What was in effect before still is.
        Error = "error",
    }
}
const RESULT: OneOf<Outcome> = OneOf::new("result");
const HASH: Text = Text::new("hash", "16 hexadecimal digits of its SHA-256");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_config_info",
        help: "The configuration in effect, as --print-config prints it; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[HASH.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            let agent = &state.snapshot.agent;
            out.number(&[HASH.is(&agent.config_hash)], 1.0);
        }),
    },
    Family {
        stem: "vdi_agent_reloads",
        help: "Times that a file was read again, by result; after an error what was in effect stays",
        kind: Counter,
        unit: Unit::None,
        labels: &[FILE.label(), RESULT.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (file, reloads) in files(state) {
                for outcome in Outcome::ALL {
                    let count = match outcome {
                        Outcome::Success => reloads.success,
                        Outcome::Error => reloads.errors,
                    };
                    out.number(&[FILE.is(file), RESULT.is(outcome)], count as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_reload_success_timestamp",
        help: "When a file was read last without an error, since 1970",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[FILE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (file, reloads) in files(state) {
                let since = reloads.last_success.duration_since(UNIX_EPOCH);
                out.number(&[FILE.is(file)], since.unwrap_or_default().as_secs_f64());
            }
        }),
    },
];

/// The files that are read again: on SIGHUP, and whenever they change.
fn files<'s>(state: &'s State<'_>) -> impl Iterator<Item = (&'s String, &'s Reloads)> {
    let on_signal = &state.snapshot.agent.reloads;
    on_signal.iter().chain(&state.http.reloads)
}
