//! Asks Prometheus, and makes a document of the answers.

use std::collections::BTreeMap;

use super::{
    ReportOptions,
    document::{Document, Line, Plot, Row, Section, Table, Unit, Value},
    prometheus::{Prometheus, Series},
    questions::{
        AGENTS, ENDS, FIGURES, FIRING, Figure, GPUS, Grouped, NEIGHBOURS, OBJECTIVES,
        SESSIONS_OVER_TIME, TEMPLATES, WORST, filled,
    },
};
use crate::error::Error;

const DAY: f64 = 86_400.0;
/// Points of a line: one for each two columns of a screen.
const POINTS: f64 = 288.0;
/// Most rules are evaluated each minute. Prometheus answers with 11,000 points of a series at most, so a longer time has
/// longer steps.
const MINUTE: f64 = 60.0;
const MOST_POINTS: f64 = 10_000.0;
/// An alert that fires for less is over before somebody looks.
const SHORT: f64 = 600.0;

/// All of it.
pub(super) fn gather(options: &ReportOptions, until: f64) -> Result<Document, Error> {
    let prometheus = Prometheus::of(options)?;
    let window = options.since.as_secs_f64();
    let asked = Asked {
        prometheus: &prometheus,
        window,
        until,
    };
    let mut document = Document {
        prometheus: options.prometheus.clone(),
        since: until - window,
        until,
        sections: vec![
            asked.sessions()?,
            asked.objectives()?,
            asked.grouped(
                "How it felt",
                "The score is 0 to 1, the least of its parts: docs/experience.md. A part that is not known changes nothing.",
                &[&WORST],
            )?,
            asked.grouped(
                "Neighbours",
                "CPU time that a session wanted and others had. Who they are `sessionscope explain` says, while the session lives.",
                &[&NEIGHBOURS],
            )?,
            asked.grouped(
                "GPUs",
                "A GPU that is hardly in use could be another's. Energy by template is divided as the time on a GPU is.",
                &[&GPUS],
            )?,
            asked.alerts()?,
            asked.grouped("The agents", "What an agent did not see is in no figure above.", &[&AGENTS])?,
        ],
    };
    let warnings = prometheus.warnings();
    let warnings = warnings
        .iter()
        .map(|said| format!("what Prometheus warns of: {said}"));
    document.sections[0].missing.extend(warnings);
    Ok(document)
}

struct Asked<'a> {
    prometheus: &'a Prometheus,
    window: f64,
    until: f64,
}

impl Asked<'_> {
    fn scalar(&self, query: &str, ago: f64) -> Result<Option<f64>, Error> {
        let found = self
            .prometheus
            .instant(&filled(query, self.window, ago), self.until)?;
        Ok(found.first().and_then(Series::value))
    }

    /// The same time before, and a week before.
    fn earlier(&self) -> Vec<(String, f64)> {
        let mut all = vec![("this time".to_owned(), 0.0)];
        if (self.window - DAY).abs() < 1.0 {
            all.push(("the day before".to_owned(), DAY));
        } else if (self.window - 7.0 * DAY).abs() >= 1.0 {
            all.push(("the time before".to_owned(), self.window));
        }
        all.push(("a week before".to_owned(), 7.0 * DAY));
        all
    }

    fn sessions(&self) -> Result<Section, Error> {
        let times = self.earlier();
        let mut section = Section {
            title: "Sessions",
            note: "A dash is not known, and never 0.",
            ..Section::default()
        };
        let mut table = Table {
            title: "In all",
            names: vec![""],
            columns: times.iter().map(|(name, _)| name.clone()).collect(),
            rows: Vec::new(),
            more: 0,
        };
        for Figure { name, unit, query } in FIGURES {
            let mut values = Vec::new();
            for (_, ago) in &times {
                let value = self.scalar(query, *ago)?;
                values.push(Value { unit: *unit, value });
            }
            if values[0].value.is_none() {
                section.missing.push(format!("\"{name}\" of this time"));
            }
            table.rows.push(Row {
                names: vec![(*name).to_owned()],
                values,
            });
        }
        section.tables.push(table);
        for grouped in [&TEMPLATES, &ENDS] {
            self.add(grouped, &mut section)?;
        }
        let step = (self.window / POINTS).max(MINUTE).round();
        let series = self.prometheus.range(
            SESSIONS_OVER_TIME,
            self.until - self.window,
            self.until,
            step,
        )?;
        let lines: Vec<Line> = series
            .iter()
            .map(|series| Line {
                name: series.label("template").to_owned(),
                points: series.points(),
            })
            .collect();
        if lines.is_empty() {
            section
                .missing
                .push("sessions over time (vdi_sessions)".to_owned());
        } else {
            section.plots.push(Plot {
                title: "Sessions by template",
                lines,
            });
        }
        Ok(section)
    }

    fn objectives(&self) -> Result<Section, Error> {
        let mut section = Section {
            title: "Objectives",
            note: "Above 100 % of the budget more was bad than may be: rules/recordings/slo.yml.",
            ..Section::default()
        };
        let mut rows = Vec::new();
        for objective in OBJECTIVES {
            let events = self.scalar(objective.events, 0.0)?;
            let bad = self.scalar(objective.bad, 0.0)?;
            // Without an event nothing was good or bad.
            let part = events
                .zip(bad)
                .filter(|(events, _)| *events > 0.0)
                .map(|(events, bad)| bad / events);
            if part.is_none() {
                section
                    .missing
                    .push(format!("\"{}\": there was no event of it", objective.name));
            }
            let share = |value| Value {
                unit: Unit::Share,
                value,
            };
            rows.push(Row {
                names: vec![objective.name.to_owned()],
                values: vec![
                    share(part.map(|part| 1.0 - part)),
                    share(Some(1.0 - objective.allowed)),
                    share(part.map(|part| part / objective.allowed)),
                ],
            });
        }
        section.tables.push(Table {
            title: "Attained",
            names: vec!["Objective"],
            columns: ["good", "wanted", "of the budget used"]
                .map(str::to_owned)
                .into(),
            rows,
            more: 0,
        });
        Ok(section)
    }

    fn grouped(
        &self,
        title: &'static str,
        note: &'static str,
        all: &[&Grouped],
    ) -> Result<Section, Error> {
        let mut section = Section {
            title,
            note,
            ..Section::default()
        };
        for grouped in all {
            self.add(grouped, &mut section)?;
        }
        Ok(section)
    }

    fn add(&self, grouped: &Grouped, section: &mut Section) -> Result<(), Error> {
        let key = |series: &Series| -> Vec<String> {
            grouped
                .by
                .iter()
                .map(|(label, _)| series.label(label).to_owned())
                .collect()
        };
        let mut columns: Vec<BTreeMap<Vec<String>, f64>> = Vec::new();
        for figure in grouped.columns {
            let found = self
                .prometheus
                .instant(&filled(figure.query, self.window, 0.0), self.until)?;
            let known = found
                .iter()
                .filter_map(|series| Some((key(series), series.value()?)));
            columns.push(known.collect());
        }
        let mut rows: Vec<(f64, Row)> = columns[0]
            .iter()
            .map(|(names, first)| {
                let units = grouped.columns.iter().map(|figure| figure.unit);
                let values = columns.iter().zip(units).map(|(column, unit)| Value {
                    unit,
                    value: column.get(names).copied(),
                });
                let names = names
                    .iter()
                    .map(|name| if name.is_empty() { "-" } else { name });
                let row = Row {
                    names: names.map(str::to_owned).collect(),
                    values: values.collect(),
                };
                (*first, row)
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| {
            if grouped.ascending {
                a.total_cmp(b)
            } else {
                b.total_cmp(a)
            }
        });
        if rows.is_empty() {
            section.missing.push(grouped.none.to_owned());
            return Ok(());
        }
        let left = rows.len().saturating_sub(grouped.most);
        rows.truncate(grouped.most);
        section.tables.push(Table {
            title: grouped.title,
            names: grouped.by.iter().map(|(_, name)| *name).collect(),
            columns: grouped
                .columns
                .iter()
                .map(|figure| figure.name.to_owned())
                .collect(),
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            more: left,
        });
        Ok(())
    }

    fn alerts(&self) -> Result<Section, Error> {
        let step = (self.window / MOST_POINTS).max(MINUTE).ceil();
        let series = self
            .prometheus
            .range(FIRING, self.until - self.window, self.until, step)?;
        let mut section = Section {
            title: "Alerts",
            note: "Firings that were over within ten minutes are noise more often than not: a threshold to look at.",
            ..Section::default()
        };
        if series.is_empty() {
            section.missing.push(
                "alerts that fired (ALERTS): none did, or the rules are not loaded".to_owned(),
            );
            return Ok(section);
        }
        let mut fired: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        for one in &series {
            let name = (
                one.label("alertname").to_owned(),
                one.label("severity").to_owned(),
            );
            fired
                .entry(name)
                .or_default()
                .extend(firings(&one.points(), step));
        }
        let mut rows: Vec<(f64, Row)> = fired
            .into_iter()
            .map(|((name, severity), lengths)| {
                let all: f64 = lengths.iter().sum();
                let short = lengths.iter().filter(|length| **length < SHORT).count();
                let figure = |unit, value| Value {
                    unit,
                    value: Some(value),
                };
                let row = Row {
                    names: vec![name, severity],
                    values: vec![
                        figure(Unit::Count, lengths.len() as f64),
                        Value {
                            unit: Unit::Count,
                            value: (step * 2.0 <= SHORT).then_some(short as f64),
                        },
                        figure(Unit::Seconds, all),
                    ],
                };
                (all, row)
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        section.tables.push(Table {
            title: "Fired",
            names: vec!["Alert", "Severity"],
            columns: ["times", "for less than ten minutes", "for"]
                .map(str::to_owned)
                .into(),
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            more: 0,
        });
        Ok(section)
    }
}

/// How long each firing of an alert was, of the points at which it fired.
fn firings(points: &[(f64, f64)], step: f64) -> Vec<f64> {
    let mut lengths: Vec<f64> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for (at, _) in points {
        match lengths.last_mut() {
            Some(length) if at - last < 1.5 * step => *length += at - last,
            _ => lengths.push(step),
        }
        last = *at;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_follow_each_other_are_one_firing() {
        let points = [0.0, 60.0, 120.0, 300.0, 420.0].map(|at| (at, 1.0));
        assert_eq!(firings(&points, 60.0), [180.0, 60.0, 60.0]);
        assert_eq!(firings(&[], 60.0), [0.0; 0]);
    }
}
