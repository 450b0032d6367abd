//! What a panel is made of: its queries, and how they are shown.

use super::board::Link;
use super::vocabulary::{Label, Thresholds, Unit, Word};

/// Some queries and how they are shown.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) look: Look,
    pub(crate) unit: Unit,
    pub(crate) queries: Vec<Query>,
    pub(crate) thresholds: Thresholds,
    pub(crate) words: &'static [Word],
    /// What is shown where there is no answer.
    pub(crate) nothing: Option<&'static str>,
    /// Ends of the axis.
    pub(crate) lowest: Option<f64>,
    pub(crate) highest: Option<f64>,
    pub(crate) links: &'static [Link],
    /// Alerts that ask the same.
    pub(crate) alerts: &'static [&'static str],
    /// Columns and lines of the grid.
    pub(crate) size: (u32, u32),
    /// A time range of its own, and the least step in it.
    pub(crate) span: Option<(&'static str, &'static str)>,
    pub(crate) source: Source,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Prometheus,
    Loki,
}

/// A query.
pub(crate) struct Query {
    pub(crate) expr: String,
    /// Name of each series, with its labels in braces; of a table, the title of the column of its values.
    pub(crate) name: &'static str,
    /// What is different in a table's column.
    pub(crate) column: Option<(Unit, Thresholds)>,
}

/// How a panel shows its series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The value now, large.
    Number,
    /// The last value, large, before its course.
    Trend,
    /// Lines over time.
    Lines,
    /// Areas over time that add up.
    Stacked,
    /// The values now, a bar each.
    Bars,
    /// The value now, on a scale from 0.
    Gauge,
    /// The values now, as parts of their sum.
    Pie,
    /// How often values were within each bucket, over time: of a histogram with classic buckets.
    Buckets,
    /// How large each series was, over time: each is a line of cells.
    Cells,
    /// What state each series was in, over time.
    States,
    /// The values now, a row for each combination of these labels.
    Table(&'static [Label]),
    /// Lines of the log.
    Logs,
}

impl Panel {
    fn new(
        look: Look,
        title: &'static str,
        unit: Unit,
        size: (u32, u32),
        description: &'static str,
    ) -> Self {
        Self {
            title,
            description,
            look,
            unit,
            queries: Vec::new(),
            thresholds: Thresholds::Plain,
            words: &[],
            nothing: None,
            lowest: (!matches!(look, Look::Table(_) | Look::Logs)).then_some(0.0),
            highest: None,
            links: &[],
            alerts: &[],
            size,
            span: None,
            source: Source::Prometheus,
        }
    }

    pub(crate) fn number(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Number, title, unit, (4, 4), description)
    }

    pub(crate) fn trend(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Trend, title, unit, (4, 4), description)
    }

    pub(crate) fn lines(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Lines, title, unit, (8, 8), description)
    }

    pub(crate) fn stacked(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Stacked, title, unit, (8, 8), description)
    }

    pub(crate) fn bars(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Bars, title, unit, (8, 8), description)
    }

    pub(crate) fn gauge(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Gauge, title, unit, (4, 8), description)
    }

    pub(crate) fn pie(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Pie, title, unit, (8, 8), description)
    }

    pub(crate) fn buckets(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Buckets, title, unit, (8, 8), description)
    }

    pub(crate) fn cells(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Look::Cells, title, unit, (8, 8), description)
    }

    pub(crate) fn states(
        title: &'static str,
        words: &'static [Word],
        description: &'static str,
    ) -> Self {
        let panel = Self::new(Look::States, title, Unit::State, (12, 8), description);
        Self { words, ..panel }
    }

    pub(crate) fn table(
        title: &'static str,
        labels: &'static [Label],
        description: &'static str,
    ) -> Self {
        Self::new(
            Look::Table(labels),
            title,
            Unit::Count,
            (12, 9),
            description,
        )
    }

    pub(crate) fn logs(title: &'static str, description: &'static str) -> Self {
        Self::new(Look::Logs, title, Unit::Text, (24, 12), description).of_logs()
    }

    /// With a query, and the name of each of its series.
    pub(crate) fn query(mut self, expr: impl Into<String>, name: &'static str) -> Self {
        self.queries.push(Query {
            expr: expr.into(),
            name,
            column: None,
        });
        self
    }

    /// With a column of a table.
    pub(crate) fn column(
        mut self,
        expr: impl Into<String>,
        name: &'static str,
        unit: Unit,
        thresholds: Thresholds,
    ) -> Self {
        self.queries.push(Query {
            expr: expr.into(),
            name,
            column: Some((unit, thresholds)),
        });
        self
    }

    pub(crate) fn thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Says so where there is no answer.
    pub(crate) fn nothing(self, text: &'static str) -> Self {
        let nothing = Some(text);
        Self { nothing, ..self }
    }

    /// With an axis from 0 to all of it.
    pub(crate) fn of_all(self) -> Self {
        let highest = Some(1.0);
        Self { highest, ..self }
    }

    /// With values below 0.
    pub(crate) fn below_zero(self) -> Self {
        let lowest = None;
        Self { lowest, ..self }
    }

    pub(crate) fn links(self, links: &'static [Link]) -> Self {
        Self { links, ..self }
    }

    pub(crate) fn alerts(self, alerts: &'static [&'static str]) -> Self {
        Self { alerts, ..self }
    }

    /// So many columns of 24, and lines of the grid.
    pub(crate) fn size(self, columns: u32, lines: u32) -> Self {
        let size = (columns, lines);
        Self { size, ..self }
    }

    /// Of a time of its own, such as `24h`, in steps of at least, such as `15m`.
    pub(crate) fn span(self, time: &'static str, step: &'static str) -> Self {
        let span = Some((time, step));
        Self { span, ..self }
    }

    /// Asks Loki, and not Prometheus.
    pub(crate) fn of_logs(self) -> Self {
        let source = Source::Loki;
        Self { source, ..self }
    }
}
