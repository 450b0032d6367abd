//! A panel as Grafana loads it.

use std::collections::BTreeMap;

use super::board::{Clicked, Variable, runbook};
use super::looks::{Cell, Color, Defaults, FieldConfig, Matcher, Override, Property, Step, Steps};
use super::model::{
    Body, Content, DataSource, Link, PanelModel, Pattern, Place, Target, Transformation,
};
use super::panel::{Look, Panel, Query, Source};
use super::vocabulary::{Label, Thresholds, Unit};

impl Thresholds {
    fn to_grafana(self) -> Steps {
        let steps = self.steps().into_iter().map(|(colour, value)| Step {
            color: colour.id(),
            value,
        });
        Steps {
            mode: "absolute",
            steps: steps.collect(),
        }
    }
}

impl Look {
    /// As Grafana calls it.
    const fn id(self) -> &'static str {
        match self {
            Self::Number | Self::Trend => "stat",
            Self::Lines | Self::Stacked => "timeseries",
            Self::Bars => "bargauge",
            Self::Gauge => "gauge",
            Self::Pie => "piechart",
            Self::Buckets | Self::Cells => "heatmap",
            Self::States => "state-timeline",
            Self::Table(_) => "table",
            Self::Logs => "logs",
        }
    }

    /// Whether only the values of now are asked for.
    pub(crate) const fn is_instant(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Bars | Self::Gauge | Self::Pie | Self::Table(_)
        )
    }
}

/// The name of a query.
fn ref_id(number: usize) -> String {
    char::from(b'A' + number as u8).to_string()
}

/// What Grafana calls the values of a table's query: it numbers them where there are several queries.
fn values(number: usize) -> [String; 2] {
    let numbered = format!("Value #{}", ref_id(number));
    let alone = if number == 0 { "Value" } else { &numbered };
    [alone.to_owned(), numbered]
}

impl Panel {
    /// What Grafana loads, of a dashboard that has these variables.
    pub(crate) fn to_grafana(&self, grid_pos: Place, declared: &[Variable]) -> PanelModel {
        let labels = match self.look {
            Look::Table(labels) => labels,
            _ => &[],
        };
        let body = Body {
            description: self.description,
            datasource: self.datasource(),
            targets: self.targets(),
            field_config: FieldConfig {
                defaults: self.defaults(declared),
                overrides: self.overrides(labels, declared),
            },
            options: self.options(),
            transformations: self.transformations(labels),
            links: self.alerts.iter().map(|alert| runbook(alert)).collect(),
            time_from: self.span.map(|(time, _)| time),
            interval: self.span.map(|(_, step)| step),
        };
        PanelModel {
            id: 0,
            kind: self.look.id(),
            title: self.title,
            grid_pos,
            content: Content::Panel(Box::new(body)),
        }
    }

    const fn datasource(&self) -> DataSource {
        match self.source {
            Source::Prometheus => DataSource::PROMETHEUS,
            Source::Loki => DataSource::LOKI,
        }
    }

    fn targets(&self) -> Vec<Target> {
        let instant = self.look.is_instant();
        let query_type = match self.source {
            Source::Prometheus => None,
            Source::Loki => Some(if instant { "instant" } else { "range" }),
        };
        let format = match (self.source, self.look) {
            (Source::Loki, _) => None,
            (Source::Prometheus, Look::Table(_)) => Some("table"),
            (Source::Prometheus, Look::Buckets) => Some("heatmap"),
            (Source::Prometheus, _) => Some("time_series"),
        };
        let target = |(number, query): (usize, &Query)| Target {
            ref_id: ref_id(number),
            datasource: self.datasource(),
            expr: query.expr.clone(),
            legend_format: query.name,
            instant,
            range: !instant,
            format,
            query_type,
        };
        self.queries.iter().enumerate().map(target).collect()
    }

    fn series_links(&self, declared: &[Variable]) -> Vec<Link> {
        let links = self.links.iter();
        links
            .map(|link| link.to_grafana(Clicked::Series, declared))
            .collect()
    }

    fn defaults(&self, declared: &[Variable]) -> Defaults {
        let is_table = matches!(self.look, Look::Table(_));
        let is_heat = matches!(self.look, Look::Buckets | Look::Cells);
        let by_threshold =
            self.look.is_instant() || matches!(self.look, Look::Trend | Look::States);
        Defaults {
            // The cells of a heat map count.
            unit: match self.look {
                Look::Buckets => Unit::Count.id(),
                // An axis of days and hours has no even steps.
                Look::Lines if self.unit == Unit::Age => Unit::Seconds.id(),
                _ => self.unit.id(),
            },
            min: self.lowest.filter(|_| !is_heat),
            max: self.highest,
            no_value: self.nothing.or(Some("not measured")),
            color: Color {
                mode: if by_threshold && self.look != Look::Pie {
                    "thresholds"
                } else {
                    "palette-classic-by-name"
                },
            },
            thresholds: self.thresholds.to_grafana(),
            mappings: self.mappings(),
            links: if is_table {
                Vec::new()
            } else {
                self.series_links(declared)
            },
            custom: self.custom(),
        }
    }

    fn overrides(&self, labels: &[Label], declared: &[Variable]) -> Vec<Override> {
        let of_column = |options, properties| Override {
            matcher: Matcher {
                id: "byName",
                options,
            },
            properties,
        };
        let mut overrides = Vec::new();
        for label in labels {
            let (name, title) = label.names();
            let links = self.links.iter().filter(|link| link.column() == name);
            let links: Vec<Link> = links
                .map(|link| link.to_grafana(Clicked::Row, declared))
                .collect();
            let mut properties = Vec::new();
            if !links.is_empty() {
                properties.push(Property::Links(links));
            }
            properties.extend(label.width().map(Property::Width));
            if !properties.is_empty() {
                overrides.push(of_column(title, properties));
            }
        }
        for query in &self.queries {
            let Some((unit, thresholds)) = query.column else {
                continue;
            };
            let mut properties = vec![
                Property::Unit(unit.id()),
                Property::Thresholds(thresholds.to_grafana()),
            ];
            if thresholds != Thresholds::Plain {
                properties.push(Property::Cell(Cell { kind: "color-text" }));
            }
            overrides.push(of_column(query.name, properties));
        }
        if !labels.is_empty() {
            // What is said of no answer is not said of each cell without one.
            overrides.push(Override {
                matcher: Matcher {
                    id: "byRegexp",
                    options: "/.*/",
                },
                properties: vec![Property::NoValue("")],
            });
        }
        overrides
    }

    /// The rows of a table are those of all its queries, each with the labels that are shown and no others.
    fn transformations(&self, labels: &[Label]) -> Vec<Transformation> {
        if labels.is_empty() {
            return Vec::new();
        }
        let mut index_by_name = BTreeMap::new();
        let mut rename_by_name = BTreeMap::new();
        let mut place = |name: String, title| {
            let index = index_by_name.len();
            rename_by_name.insert(name.clone(), title);
            index_by_name.insert(name, index);
        };
        for label in labels {
            let (name, title) = label.names();
            place(name.to_owned(), title);
        }
        let names = labels.iter().map(|label| label.names().0.to_owned());
        let mut names: Vec<String> = names.collect();
        for (number, query) in self.queries.iter().enumerate() {
            if query.column.is_some() {
                for name in values(number) {
                    names.push(name.clone());
                    place(name, query.name);
                }
            }
        }
        vec![
            Transformation::Keep {
                include: Pattern {
                    pattern: format!("^({})$", names.join("|")),
                },
            },
            Transformation::Merge {},
            Transformation::Organize {
                index_by_name,
                rename_by_name,
            },
        ]
    }
}
