//! Grafana's dashboard model, as far as the dashboards here need it, of schema version 39.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Model {
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) tags: [&'static str; 1],
    pub(super) schema_version: u32,
    pub(super) editable: bool,
    pub(super) graph_tooltip: u32,
    pub(super) timezone: &'static str,
    pub(super) refresh: &'static str,
    pub(super) time: TimeRange,
    pub(super) templating: Templating,
    pub(super) panels: Vec<PanelModel>,
}

#[derive(Serialize)]
pub(super) struct TimeRange {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

#[derive(Serialize)]
pub(super) struct Templating {
    pub(super) list: Vec<VariableModel>,
}

#[derive(Serialize)]
pub(super) struct VariableModel {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    #[serde(flatten)]
    pub(super) kind: Choice,
}

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum Choice {
    Datasource {
        query: &'static str,
    },
    Query {
        datasource: DataSource,
        query: VariableQuery,
        refresh: u32,
        sort: u32,
        multi: bool,
        include_all: bool,
        all_value: &'static str,
        current: Current,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariableQuery {
    pub(super) query: &'static str,
    pub(super) ref_id: &'static str,
}

#[derive(Serialize)]
pub(super) struct Current {
    pub(super) text: [&'static str; 1],
    pub(super) value: [&'static str; 1],
}

#[derive(Serialize)]
pub(super) struct DataSource {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) uid: &'static str,
}

impl DataSource {
    pub(super) const CHOSEN: Self = Self {
        kind: "prometheus",
        uid: "${datasource}",
    };
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PanelModel {
    pub(super) id: u32,
    pub(super) title: &'static str,
    pub(super) grid_pos: Place,
    #[serde(flatten)]
    pub(super) content: Content,
}

#[derive(Serialize)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) w: u32,
    pub(super) h: u32,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Content {
    Row {
        collapsed: bool,
        /// Only of a collapsed one; those of an open one follow it.
        panels: [(); 0],
    },
    Stat {
        #[serde(flatten)]
        body: Body,
        options: StatOptions,
    },
    Timeseries {
        #[serde(flatten)]
        body: Body,
        options: TimeseriesOptions,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) description: &'static str,
    pub(super) datasource: DataSource,
    pub(super) targets: [Target; 1],
    pub(super) field_config: FieldConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) ref_id: &'static str,
    pub(super) datasource: DataSource,
    pub(super) expr: String,
    pub(super) legend_format: &'static str,
}

#[derive(Serialize)]
pub(super) struct FieldConfig {
    pub(super) defaults: Defaults,
    pub(super) overrides: [(); 0],
}

#[derive(Serialize)]
pub(super) struct Defaults {
    pub(super) unit: &'static str,
    pub(super) min: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<Custom>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Custom {
    pub(super) fill_opacity: u32,
    pub(super) show_points: &'static str,
    pub(super) stacking: Stacking,
}

impl Custom {
    pub(super) fn new(fill_opacity: u32, stacking: &'static str) -> Self {
        Self {
            fill_opacity,
            show_points: "never",
            stacking: Stacking { mode: stacking },
        }
    }
}

#[derive(Serialize)]
pub(super) struct Stacking {
    pub(super) mode: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatOptions {
    pub(super) color_mode: &'static str,
    pub(super) graph_mode: &'static str,
    pub(super) justify_mode: &'static str,
    pub(super) orientation: &'static str,
    pub(super) percent_change_color_mode: &'static str,
    pub(super) reduce_options: Reduce,
    pub(super) show_percent_change: bool,
    pub(super) text_mode: &'static str,
    pub(super) wide_layout: bool,
}

#[derive(Serialize)]
pub(super) struct Reduce {
    pub(super) calcs: [&'static str; 1],
}

#[derive(Serialize)]
pub(super) struct TimeseriesOptions {
    pub(super) legend: Legend,
    pub(super) tooltip: Tooltip,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Legend {
    pub(super) calcs: [&'static str; 2],
    pub(super) display_mode: &'static str,
    pub(super) placement: &'static str,
    #[serde(rename = "showLegend")]
    pub(super) shown: bool,
}

#[derive(Serialize)]
pub(super) struct Tooltip {
    pub(super) mode: &'static str,
    pub(super) sort: &'static str,
}
