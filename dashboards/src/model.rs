//! Grafana's dashboard model, as far as the dashboards here need it, of schema version 39.

use std::collections::BTreeMap;

use serde::Serialize;

use super::looks::{FieldConfig, Options};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Model {
    pub(crate) uid: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) tags: [&'static str; 1],
    pub(crate) schema_version: u32,
    pub(crate) editable: bool,
    pub(crate) graph_tooltip: u32,
    pub(crate) timezone: &'static str,
    pub(crate) refresh: &'static str,
    pub(crate) time: TimeRange,
    pub(crate) links: [BoardsLink; 1],
    pub(crate) annotations: List<Annotation>,
    pub(crate) templating: List<VariableModel>,
    pub(crate) panels: Vec<PanelModel>,
}

#[derive(Serialize)]
pub(crate) struct TimeRange {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

#[derive(Serialize)]
pub(crate) struct List<T> {
    pub(crate) list: Vec<T>,
}

/// The menu of all dashboards with a tag.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BoardsLink {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) tags: [&'static str; 1],
    pub(crate) as_dropdown: bool,
    pub(crate) include_vars: bool,
    pub(crate) keep_time: bool,
    pub(crate) icon: &'static str,
    pub(crate) tooltip: &'static str,
    pub(crate) url: &'static str,
}

/// Vertical lines over all panels.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotation {
    pub(crate) name: &'static str,
    pub(crate) datasource: DataSource,
    pub(crate) enable: bool,
    pub(crate) icon_color: &'static str,
    pub(crate) expr: String,
    pub(crate) step: &'static str,
    pub(crate) title_format: &'static str,
    pub(crate) text_format: &'static str,
}

#[derive(Serialize)]
pub(crate) struct VariableModel {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    #[serde(flatten)]
    pub(crate) kind: Choice,
}

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Choice {
    Datasource {
        query: &'static str,
    },
    Query {
        datasource: DataSource,
        query: VariableQuery,
        /// What of an answer is a value, where the answer is not a list of them.
        regex: &'static str,
        refresh: u32,
        sort: u32,
        #[serde(flatten)]
        many: Many,
    },
    Custom {
        query: &'static str,
        #[serde(flatten)]
        many: Many,
    },
    Textbox {
        query: &'static str,
        current: Current<&'static str>,
    },
}

/// Whether several values may be chosen, or all.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Many {
    pub(crate) multi: bool,
    pub(crate) include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all_value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Current<[&'static str; 1]>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VariableQuery {
    pub(crate) query: String,
    pub(crate) ref_id: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Current<T> {
    pub(crate) text: T,
    pub(crate) value: T,
}

#[derive(Serialize, Clone, Copy)]
pub(crate) struct DataSource {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) uid: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PanelModel {
    pub(crate) id: u32,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) grid_pos: Place,
    #[serde(flatten)]
    pub(crate) content: Content,
}

#[derive(Serialize, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) w: u32,
    pub(crate) h: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Row {
        collapsed: bool,
        /// Only of a collapsed one; those of an open one follow it.
        panels: [(); 0],
    },
    Panel(Box<Body>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    pub(crate) description: &'static str,
    pub(crate) datasource: DataSource,
    pub(crate) targets: Vec<Target>,
    pub(crate) field_config: FieldConfig,
    pub(crate) options: Options,
    pub(crate) transformations: Vec<Transformation>,
    pub(crate) links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) ref_id: String,
    pub(crate) datasource: DataSource,
    pub(crate) expr: String,
    pub(crate) legend_format: &'static str,
    pub(crate) instant: bool,
    pub(crate) range: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<&'static str>,
    /// Of Loki alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(tag = "id", content = "options")]
pub(crate) enum Transformation {
    #[serde(rename = "filterFieldsByName")]
    Keep { include: Pattern },
    #[serde(rename = "merge")]
    Merge {},
    #[serde(rename = "organize", rename_all = "camelCase")]
    Organize {
        index_by_name: BTreeMap<String, usize>,
        rename_by_name: BTreeMap<String, &'static str>,
    },
}

#[derive(Serialize)]
pub(crate) struct Pattern {
    pub(crate) pattern: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) target_blank: bool,
}
