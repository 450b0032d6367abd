//! Lines for programs: one event each, as JSON or as logfmt, with the fields that `docs/log.md` names.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::{
    Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::event::{Event, OF_LIBRARY};

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// A JSON object.
    Json,
    /// `key=value`, separated by blanks.
    Logfmt,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        // Of a record of the `log` crate, which some libraries use, this is where it is from.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let known = Event::named(metadata.name());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.message.unwrap_or_default();
        let head = [
            ("ts", format!("{:.6}", Timestamp::now())),
            ("level", metadata.level().as_str().to_ascii_lowercase()),
            ("target", metadata.target().to_owned()),
            ("event", known.map_or(OF_LIBRARY, Event::name).to_owned()),
            ("message", message),
        ];
        let head = head
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Value::String(text)));
        let all = Line(head.chain(fields.others).collect());
        match self {
            Self::Json => {
                let text = serde_json::to_string(&all).map_err(|_| fmt::Error)?;
                write_plain(&mut writer, &text)?;
                writeln!(writer)
            }
            Self::Logfmt => {
                for (number, (name, value)) in all.0.iter().enumerate() {
                    let blank = if number == 0 { "" } else { " " };
                    write!(writer, "{blank}{name}=")?;
                    write_plain(&mut writer, &Logfmt(value).to_string())?;
                }
                writeln!(writer)
            }
        }
    }
}

/// Writes text in which JSON has left control characters alone that a terminal obeys: DEL, and those from 0x80 on. They are
/// within quotes, where an escape means the same.
fn write_plain(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for one in text.chars() {
        if one.is_control() {
            write!(writer, "\\u{:04x}", u32::from(one))?;
        } else {
            writer.write_char(one)?;
        }
    }
    Ok(())
}

/// The fields of a line, which an object keeps in this order.
struct Line(Vec<(String, Value)>);

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A value as logfmt has it: in quotes, with JSON's escapes, where it could not be told from what stands beside it.
struct Logfmt<'a>(&'a Value);

impl fmt::Display for Logfmt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Value::String(text) = self.0 else {
            return write!(formatter, "{}", self.0);
        };
        let is_plain =
            |one: char| !one.is_whitespace() && !one.is_control() && !"\"=\\".contains(one);
        if !text.is_empty() && text.chars().all(is_plain) {
            formatter.write_str(text)
        } else {
            write!(formatter, "{}", self.0)
        }
    }
}

/// The fields of an event, in their order.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        // Those of a record of the `log` crate are in its metadata.
        if !name.starts_with("log.") {
            self.others.push((name.to_owned(), value.into()));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.add(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string does not fail; a value that cannot be shown is shown as far as it can.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests;
