//! What a report says, before it has a form.

use serde::Serialize;

use super::super::units;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Document {
    /// Where it is from.
    pub(super) prometheus: String,
    /// Its first moment, seconds since the epoch.
    pub(super) since: f64,
    /// Its last.
    pub(super) until: f64,
    pub(super) sections: Vec<Section>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// How to read it.
    pub(super) note: &'static str,
    pub(super) tables: Vec<Table>,
    pub(super) plots: Vec<Plot>,
    /// What is not known, and what is not there.
    pub(super) missing: Vec<String>,
}

/// Figures, a row for each of what they are of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Table {
    pub(super) title: &'static str,
    /// Of the names.
    pub(super) names: Vec<&'static str>,
    /// Of the figures.
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Rows that are left out.
    pub(super) more: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) names: Vec<String>,
    /// One for each column.
    pub(super) values: Vec<Value>,
}

/// A figure; without a value it is not known, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Value {
    pub(super) unit: Unit,
    pub(super) value: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Count,
    Share,
    Seconds,
    Hours,
    KilowattHours,
    /// 0 to 1.
    Score,
}

impl Value {
    /// As a person reads it.
    pub(super) fn text(self) -> String {
        units::or_absent(self.value, |value| match self.unit {
            Unit::Count if value < 10.0 => format!("{}", (value * 10.0).round() / 10.0),
            Unit::Count => units::count(value.round() as u64),
            Unit::Share => units::percent(value),
            Unit::Seconds => units::time(value),
            Unit::Hours => format!("{value:.1} h"),
            Unit::KilowattHours => format!("{value:.2} kWh"),
            Unit::Score => format!("{value:.2}"),
        })
    }
}

/// Lines over the time of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    /// Seconds since the epoch, and what was then.
    pub(super) points: Vec<(f64, f64)>,
}

impl Document {
    /// What a chat is told: the first table of the first section.
    pub(super) fn summary(&self) -> String {
        let span = format!(
            "{} to {}",
            units::clock(self.since),
            units::clock(self.until)
        );
        let mut lines = vec![format!("Sessions, {span}")];
        let tables = self.sections.first().and_then(|s| s.tables.first());
        for row in tables.iter().flat_map(|table| &table.rows) {
            let now = row.values.first().map(|value| value.text());
            lines.push(format!(
                "{}: {}",
                row.names.join(" "),
                now.unwrap_or_default()
            ));
        }
        for section in &self.sections {
            lines.extend(
                section
                    .missing
                    .iter()
                    .map(|missing| format!("Not known: {missing}")),
            );
        }
        lines.join("\n")
    }
}
