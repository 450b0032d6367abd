//! Grafana's dashboard model: how panels look, and what is said of their series.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Link;

#[derive(Serialize)]
pub(crate) struct FieldConfig {
    pub(crate) defaults: Defaults,
    pub(crate) overrides: Vec<Override>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Defaults {
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_value: Option<&'static str>,
    pub(crate) color: Color,
    pub(crate) thresholds: Steps,
    pub(crate) mappings: Vec<Mappings>,
    pub(crate) links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<Custom>,
}

#[derive(Serialize)]
pub(crate) struct Color {
    pub(crate) mode: &'static str,
}

/// Colours from values on.
#[derive(Serialize)]
pub(crate) struct Steps {
    pub(crate) mode: &'static str,
    pub(crate) steps: Vec<Step>,
}

#[derive(Serialize)]
pub(crate) struct Step {
    pub(crate) color: &'static str,
    /// None for what is below all others.
    pub(crate) value: Option<f64>,
}

/// Words for values.
#[derive(Serialize)]
#[serde(tag = "type", content = "options", rename_all = "lowercase")]
pub(crate) enum Mappings {
    Value(BTreeMap<&'static str, Word>),
    Special {
        #[serde(rename = "match")]
        matches: &'static str,
        result: Word,
    },
}

#[derive(Serialize)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) color: &'static str,
    pub(crate) index: usize,
}

/// What is different for one column.
#[derive(Serialize)]
pub(crate) struct Override {
    pub(crate) matcher: Matcher,
    pub(crate) properties: Vec<Property>,
}

#[derive(Serialize)]
pub(crate) struct Matcher {
    pub(crate) id: &'static str,
    pub(crate) options: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "id", content = "value")]
pub(crate) enum Property {
    #[serde(rename = "unit")]
    Unit(&'static str),
    #[serde(rename = "thresholds")]
    Thresholds(Steps),
    #[serde(rename = "links")]
    Links(Vec<Link>),
    #[serde(rename = "custom.cellOptions")]
    Cell(Cell),
    #[serde(rename = "custom.width")]
    Width(u32),
    #[serde(rename = "noValue")]
    NoValue(&'static str),
}

#[derive(Serialize)]
pub(crate) struct Cell {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

/// What each kind of panel has of its own for its series.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Custom {
    Lines {
        fill_opacity: u32,
        line_width: u32,
        show_points: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        axis_soft_max: Option<f64>,
        stacking: Mode,
        thresholds_style: Mode,
    },
    Timeline {
        fill_opacity: u32,
        line_width: u32,
    },
    Cells {
        align: &'static str,
        filterable: bool,
        min_width: u32,
        cell_options: Cell,
    },
}

#[derive(Serialize)]
pub(crate) struct Mode {
    pub(crate) mode: &'static str,
}

/// How each kind of panel looks.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Options {
    Stat {
        color_mode: &'static str,
        graph_mode: &'static str,
        justify_mode: &'static str,
        orientation: &'static str,
        reduce_options: Reduce,
        text_mode: &'static str,
        wide_layout: bool,
    },
    Gauge {
        orientation: &'static str,
        reduce_options: Reduce,
        show_threshold_labels: bool,
        show_threshold_markers: bool,
    },
    Bars {
        display_mode: &'static str,
        orientation: &'static str,
        reduce_options: Reduce,
        show_unfilled: bool,
        value_mode: &'static str,
        sizing: &'static str,
        min_viz_height: u32,
        max_viz_height: u32,
    },
    Pie {
        pie_type: &'static str,
        display_labels: [&'static str; 1],
        reduce_options: Reduce,
        legend: PieLegend,
        tooltip: Tooltip,
    },
    Lines {
        legend: Legend,
        tooltip: Tooltip,
    },
    Timeline {
        align_value: &'static str,
        merge_values: bool,
        row_height: f64,
        show_value: &'static str,
        legend: Legend,
        tooltip: Tooltip,
    },
    Heatmap {
        calculate: bool,
        cell_gap: u32,
        color: Scheme,
        filter_values: AtLeast,
        y_axis: Axis,
        legend: Shown,
        tooltip: HeatmapTooltip,
    },
    Table {
        show_header: bool,
        cell_height: &'static str,
        sort_by: Vec<SortBy>,
    },
    Logs {
        show_time: bool,
        wrap_log_message: bool,
        enable_log_details: bool,
        sort_order: &'static str,
        dedup_strategy: &'static str,
    },
}

#[derive(Serialize)]
pub(crate) struct Reduce {
    pub(crate) calcs: [&'static str; 1],
    pub(crate) values: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Legend {
    pub(crate) calcs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sort_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sort_desc: Option<bool>,
    pub(crate) display_mode: &'static str,
    pub(crate) placement: &'static str,
    #[serde(rename = "showLegend")]
    pub(crate) shown: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PieLegend {
    pub(crate) values: [&'static str; 2],
    pub(crate) display_mode: &'static str,
    pub(crate) placement: &'static str,
    #[serde(rename = "showLegend")]
    pub(crate) shown: bool,
}

#[derive(Serialize)]
pub(crate) struct Tooltip {
    pub(crate) mode: &'static str,
    pub(crate) sort: &'static str,
}

#[derive(Serialize)]
pub(crate) struct HeatmapTooltip {
    pub(crate) mode: &'static str,
    #[serde(rename = "yHistogram")]
    pub(crate) histogram: bool,
}

#[derive(Serialize)]
pub(crate) struct Scheme {
    pub(crate) mode: &'static str,
    #[serde(rename = "scheme")]
    pub(crate) name: &'static str,
    pub(crate) steps: u32,
    pub(crate) exponent: f64,
}

/// Cells below are left empty.
#[derive(Serialize)]
pub(crate) struct AtLeast {
    pub(crate) le: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Axis {
    pub(crate) unit: &'static str,
    pub(crate) axis_placement: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Shown {
    pub(crate) show: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SortBy {
    pub(crate) display_name: &'static str,
    pub(crate) desc: bool,
}
