//! A dashboard as Grafana loads it ([`super::model`]), where each panel lies included. Grafana 10.4 and later load it
//! as it is.

use super::board::{Board, Variable};
use super::model::{
    Annotation, BoardsLink, Choice, Content, DataSource, List, Model, PanelModel, Place, TimeRange,
    VariableModel,
};
use super::panel::Panel;
use super::select::CLUSTERS;

/// A dashboard: rows of panels, each row under a heading.
pub(crate) struct Dashboard {
    pub(crate) board: Board,
    pub(crate) description: &'static str,
    pub(crate) variables: &'static [Variable],
    /// How far back it looks, such as `now-3h`.
    pub(crate) from: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// Panels under a heading, side by side as far as they fit.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) panels: Vec<Panel>,
}

/// Columns of Grafana's grid.
pub(crate) const COLUMNS: u32 = 24;
const TAG: &str = "sessionscope";

impl DataSource {
    /// What is chosen at the top.
    pub(crate) const PROMETHEUS: Self = Self {
        kind: "prometheus",
        uid: "${datasource}",
    };
    pub(crate) const LOKI: Self = Self {
        kind: "loki",
        uid: "${loki}",
    };
}

/// What has happened, as lines over all panels: name, colour, what of each, and the query.
const EVENTS: [(&str, &str, &str, &str); 4] = [
    (
        "Agents started",
        "blue",
        "{{cluster}}",
        r#"sum by (cluster, environment) (changes(process_start_time_seconds{job="sessionscope", CHOSEN}[2m])) > 0"#,
    ),
    (
        "New versions of the agent",
        "purple",
        "{{cluster}} {{version}}",
        "count by (cluster, environment, version) (vdi_agent_build_info{CHOSEN}) unless count by (cluster, environment, version) (vdi_agent_build_info{CHOSEN} offset 10m)",
    ),
    (
        "New templates",
        "yellow",
        "{{namespace}}/{{template}}",
        r#"count by (namespace, template) (ALERTS{alertname="VdiTemplateNew", alertstate="firing", CHOSEN})"#,
    ),
    (
        "Critical alerts",
        "dark-red",
        "{{alertname}} {{cluster}} {{instance}}",
        r#"count by (alertname, cluster, instance) (ALERTS{alertname=~"Vdi.+", alertstate="firing", severity="critical", CHOSEN})"#,
    ),
];

impl Dashboard {
    /// What Grafana loads.
    pub(crate) fn to_grafana(&self) -> Model {
        let data_source = VariableModel {
            name: "datasource",
            label: "Data Source",
            kind: Choice::Datasource {
                query: "prometheus",
            },
        };
        let others = self
            .variables
            .iter()
            .map(|variable| variable.to_grafana(self.variables));
        Model {
            uid: self.board.uid(),
            title: self.board.title(),
            description: self.description,
            tags: [TAG],
            schema_version: 39,
            editable: false,
            // A crosshair over all panels.
            graph_tooltip: 1,
            timezone: "browser",
            refresh: "30s",
            time: TimeRange {
                from: self.from,
                to: "now",
            },
            links: [BoardsLink {
                kind: "dashboards",
                title: "Sessionscope",
                tags: [TAG],
                as_dropdown: true,
                include_vars: true,
                keep_time: true,
                icon: "external link",
                tooltip: "",
                url: "",
            }],
            annotations: List {
                list: self.annotations(),
            },
            templating: List {
                list: std::iter::once(data_source).chain(others).collect(),
            },
            panels: self.panels(),
        }
    }

    /// What has happened in the chosen clusters, on a dashboard where clusters are chosen.
    fn annotations(&self) -> Vec<Annotation> {
        if !self.variables.contains(&Variable::Cluster) {
            return Vec::new();
        }
        EVENTS
            .iter()
            .map(|&(name, icon_color, text_format, query)| Annotation {
                name,
                datasource: DataSource::PROMETHEUS,
                enable: true,
                icon_color,
                expr: query.replace("CHOSEN", CLUSTERS),
                step: "60s",
                title_format: name,
                text_format,
            })
            .collect()
    }

    fn panels(&self) -> Vec<PanelModel> {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            panels.push(PanelModel {
                id: 0,
                kind: "row",
                title: row.title,
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
            });
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                let (w, h) = panel.size;
                if x + w > COLUMNS {
                    (x, y) = (0, y + height);
                    height = 0;
                }
                panels.push(panel.to_grafana(Place { x, y, w, h }, self.variables));
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
