//! What a dashboard is made of here, and what Grafana loads of it ([`super::model`]), where each panel lies
//! included. Grafana 10.4 and later load it as it is.

use super::model::{
    Body, Choice, Content, Current, Custom, DataSource, Defaults, FieldConfig, Legend, Model,
    PanelModel, Place, Reduce, StatOptions, Target, Templating, TimeRange, TimeseriesOptions,
    Tooltip, VariableModel, VariableQuery,
};

/// A dashboard: rows of panels, each row under a heading.
pub(super) struct Dashboard {
    /// Name in links, which must not change.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Variable>,
    pub(super) rows: Vec<Row>,
}

/// A choice at the top of the dashboard: several values of a label, or all.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The query that lists its values.
    pub(super) values: &'static str,
}

/// Panels under a heading, side by side as far as they fit.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// One query and how it is shown.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) look: Look,
    pub(super) unit: Unit,
    pub(super) query: String,
    /// Name of each series, with its labels in braces.
    pub(super) legend: &'static str,
}

/// How a panel shows its series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The last value, large.
    Number,
    /// Lines over time.
    Lines,
    /// Areas over time that add up.
    Stacked,
}

/// Unit of a panel's values.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Count,
    /// 0 to 1, shown as percent.
    Ratio,
    Seconds,
    Bytes,
    FramesPerSecond,
}

impl Unit {
    /// As Grafana calls it.
    fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::Ratio => "percentunit",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            // Grafana has none of its own.
            Self::FramesPerSecond => "suffix: fps",
        }
    }
}

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

impl Look {
    /// Columns and lines of the grid.
    fn size(self) -> (u32, u32) {
        match self {
            Self::Number => (COLUMNS / 6, 8),
            Self::Lines | Self::Stacked => (COLUMNS / 3, 8),
        }
    }
}

impl Dashboard {
    /// What Grafana loads.
    pub(super) fn to_grafana(&self) -> Model {
        let data_source = VariableModel {
            name: "datasource",
            label: "Data Source",
            kind: Choice::Datasource {
                query: "prometheus",
            },
        };
        let others = self.variables.iter().map(|variable| VariableModel {
            name: variable.name,
            label: variable.label,
            kind: Choice::Query {
                datasource: DataSource::CHOSEN,
                query: VariableQuery {
                    query: variable.values,
                    ref_id: variable.name,
                },
                // When the time range changes: sessions come and go.
                refresh: 2,
                sort: 1,
                multi: true,
                include_all: true,
                // Also what has no value for the label.
                all_value: ".*",
                current: Current {
                    text: ["All"],
                    value: ["$__all"],
                },
            },
        });
        Model {
            uid: self.uid,
            title: self.title,
            description: self.description,
            tags: ["sessionscope"],
            schema_version: 39,
            editable: false,
            // A crosshair over all panels.
            graph_tooltip: 1,
            timezone: "browser",
            refresh: "30s",
            time: TimeRange {
                from: "now-3h",
                to: "now",
            },
            templating: Templating {
                list: std::iter::once(data_source).chain(others).collect(),
            },
            panels: self.panels(),
        }
    }

    fn panels(&self) -> Vec<PanelModel> {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            panels.push(PanelModel::heading(row.title, y));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                let (w, h) = panel.look.size();
                if x + w > COLUMNS {
                    (x, y) = (0, y + height);
                    height = 0;
                }
                panels.push(PanelModel::of(panel, Place { x, y, w, h }));
                x += w;
                height = height.max(h);
            }
            y += height;
        }
        for (id, panel) in (1..).zip(&mut panels) {
            panel.id = id;
        }
        panels
    }
}

impl PanelModel {
    fn heading(title: &'static str, y: u32) -> Self {
        Self {
            id: 0,
            title,
            grid_pos: Place {
                x: 0,
                y,
                w: COLUMNS,
                h: 1,
            },
            content: Content::Row {
                collapsed: false,
                panels: [],
            },
        }
    }

    fn of(panel: &Panel, grid_pos: Place) -> Self {
        let body = Body {
            description: panel.description,
            datasource: DataSource::CHOSEN,
            targets: [Target {
                ref_id: "A",
                datasource: DataSource::CHOSEN,
                expr: panel.query.clone(),
                legend_format: panel.legend,
            }],
            field_config: FieldConfig {
                defaults: Defaults {
                    unit: panel.unit.id(),
                    min: 0,
                    custom: match panel.look {
                        Look::Number => None,
                        Look::Lines => Some(Custom::new(0, "none")),
                        Look::Stacked => Some(Custom::new(30, "normal")),
                    },
                },
                overrides: [],
            },
        };
        let content = match panel.look {
            Look::Number => Content::Stat {
                body,
                options: StatOptions {
                    color_mode: "value",
                    graph_mode: "area",
                    justify_mode: "auto",
                    orientation: "auto",
                    percent_change_color_mode: "standard",
                    reduce_options: Reduce {
                        calcs: ["lastNotNull"],
                    },
                    show_percent_change: false,
                    text_mode: "auto",
                    wide_layout: true,
                },
            },
            Look::Lines | Look::Stacked => Content::Timeseries {
                body,
                options: TimeseriesOptions {
                    legend: Legend {
                        calcs: ["lastNotNull", "max"],
                        display_mode: "table",
                        placement: "bottom",
                        shown: true,
                    },
                    tooltip: Tooltip {
                        mode: "multi",
                        sort: "desc",
                    },
                },
            },
        };
        Self {
            id: 0,
            title: panel.title,
            grid_pos,
            content,
        }
    }
}
