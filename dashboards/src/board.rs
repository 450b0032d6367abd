//! The dashboards there are, what of them can be chosen, and the ways from one to another.

use super::model::{
    Choice, Current, DataSource, Link as LinkModel, Many, VariableModel, VariableQuery,
};

/// A dashboard. Its name in links must not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Board {
    Fleet,
    Sessions,
    Session,
    Gpus,
    Streams,
    Node,
    Network,
    Templates,
    Slo,
    Agents,
    Capacity,
    Logs,
}

impl Board {
    /// Its file in the repository, its name in links, and its title.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        macro_rules! names {
            ($name:literal, $title:literal) => {
                (
                    concat!("dashboards/", $name, ".json"),
                    concat!("sessionscope-", $name),
                    concat!("Sessionscope / ", $title),
                )
            };
        }
        match self {
            Self::Fleet => names!("fleet", "Fleet"),
            Self::Sessions => names!("sessions", "Sessions"),
            Self::Session => names!("session", "Session"),
            Self::Gpus => names!("gpus", "GPUs"),
            Self::Streams => names!("streams", "Video streams"),
            Self::Node => names!("node", "Node and neighbours"),
            Self::Network => names!("network", "Network"),
            Self::Templates => names!("templates", "Namespaces and templates"),
            Self::Slo => names!("slo", "SLO"),
            Self::Agents => names!("agents", "Agents"),
            Self::Capacity => names!("capacity", "Capacity"),
            Self::Logs => names!("logs", "Logs"),
        }
    }

    pub(crate) const fn file(self) -> &'static str {
        self.names().0
    }

    pub(crate) const fn uid(self) -> &'static str {
        self.names().1
    }

    pub(crate) const fn title(self) -> &'static str {
        self.names().2
    }
}

/// A choice at the top of a dashboard. The data source of Prometheus is on every one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variable {
    Cluster,
    Environment,
    Namespace,
    Template,
    Node,
    /// One node, and not several or all.
    OneNode,
    Gpu,
    Source,
    /// A text that narrows the list of sessions. No panel asks for it.
    Find,
    Session,
    /// One session, and not several or all.
    OneSession,
    /// The data source of the logs.
    Loki,
    Level,
}

/// What is chosen for a variable before anybody chooses.
const ALL: Many = Many {
    multi: true,
    include_all: true,
    // Also what has no value for the label.
    all_value: Some(".*"),
    current: Some(Current {
        text: ["All"],
        value: ["$__all"],
    }),
};

const ONE: Many = Many {
    multi: false,
    include_all: false,
    all_value: None,
    current: None,
};

impl Variable {
    /// Its name in queries and links.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Environment => "environment",
            Self::Namespace => "namespace",
            Self::Template => "template",
            Self::Node | Self::OneNode => "node",
            Self::Gpu => "gpu",
            Self::Source => "source",
            Self::Find => "find",
            Self::Session | Self::OneSession => "session",
            Self::Loki => "loki",
            Self::Level => "level",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Environment => "Environment",
            Self::Namespace => "Namespace",
            Self::Template => "Template",
            Self::Node | Self::OneNode => "Node",
            Self::Gpu => "GPU",
            Self::Source => "Source",
            Self::Find => "Find session",
            Self::Session | Self::OneSession => "Session",
            Self::Loki => "Logs",
            Self::Level => "Level",
        }
    }

    /// The label of series that it chooses by.
    pub(crate) const fn series_label(self) -> &'static str {
        match self {
            Self::Node | Self::OneNode => "instance",
            _ => self.name(),
        }
    }

    /// What Grafana loads, on a dashboard that has these variables.
    pub(crate) fn to_grafana(self, declared: &[Self]) -> VariableModel {
        let kind = match self {
            Self::Loki => Choice::Datasource { query: "loki" },
            Self::Find => Choice::Textbox {
                query: ".*",
                current: Current {
                    text: ".*",
                    value: ".*",
                },
            },
            Self::Level => Choice::Custom {
                query: "error,warn,info,debug,trace",
                many: ALL,
            },
            _ => {
                let (query, regex) = self.values(declared);
                Choice::Query {
                    datasource: DataSource::PROMETHEUS,
                    query: VariableQuery {
                        query,
                        ref_id: self.name(),
                    },
                    regex,
                    // When the time range changes: sessions come and go.
                    refresh: 2,
                    sort: 1,
                    many: match self {
                        Self::OneNode | Self::OneSession => ONE,
                        _ => ALL,
                    },
                }
            }
        };
        VariableModel {
            name: self.name(),
            label: self.label(),
            kind,
        }
    }

    /// The query that lists its values, and what of its answer is one where it is not a list already.
    fn values(self, declared: &[Self]) -> (String, &'static str) {
        use Variable::{Cluster, Environment, Namespace, Node, OneNode, Template};
        let (metric, by): (_, &[Self]) = match self {
            // Each agent has one of these. `cluster` is empty where no Prometheus puts it on its series.
            Self::Cluster => ("vdi_agent_build_info", &[]),
            Self::Environment => ("vdi_agent_build_info", &[Cluster]),
            Self::Node | Self::OneNode => ("vdi_agent_build_info", &[Cluster, Environment]),
            Self::Namespace => ("vdi_sessions", &[Cluster, Environment]),
            Self::Template => ("vdi_sessions", &[Cluster, Environment, Namespace]),
            Self::Gpu => ("vdi_gpu_info", &[Cluster, Environment, Node]),
            Self::Source => ("vdi_agent_reconcile_total", &[Cluster, Environment, Node]),
            Self::Session | Self::OneSession | Self::Find | Self::Loki | Self::Level => (
                "vdi_session_info",
                &[Cluster, Environment, Namespace, Template, Node, OneNode],
            ),
        };
        let mut matchers: Vec<String> = by
            .iter()
            .filter(|one| declared.contains(one))
            .map(|one| format!("{}=~\"${}\"", one.series_label(), one.name()))
            .collect();
        if matches!(self, Self::Session | Self::OneSession) {
            // A fleet has tens of thousands: the answer has 500 at most, and the text finds the others.
            matchers.push("session=~\"$find\"".to_owned());
            let chosen = matchers.join(", ");
            let query = format!(
                "query_result(topk(500, count by (session) (vdi_session_info{{{chosen}}})))"
            );
            return (query, "/session=\"([^\"]+)\"/");
        }
        let chosen = matchers.join(", ");
        let label = self.series_label();
        let query = if chosen.is_empty() {
            format!("label_values({metric}, {label})")
        } else {
            format!("label_values({metric}{{{chosen}}}, {label})")
        };
        (query, "")
    }
}

/// A way from a series, or from a row of a table, to what says more of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// From a session to its dashboard.
    Session,
    /// From a session to what was said of it.
    Logs,
    /// From a node to its dashboard.
    Node,
    /// From a GPU to the dashboard of the GPUs.
    Gpu,
    /// From a template to its sessions.
    Template,
    /// From an alert to its page.
    Alert,
}

/// Where a link takes the labels of what was clicked on from.
#[derive(Clone, Copy)]
pub(crate) enum Clicked {
    Series,
    Row,
}

impl Link {
    /// The label that a table has to show for the link to be on it.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::Session | Self::Logs => "session",
            Self::Node => "instance",
            Self::Gpu => "gpu",
            Self::Template => "template",
            Self::Alert => "alertname",
        }
    }

    /// The dashboard, and what is chosen there by which label.
    pub(crate) const fn target(self) -> Option<(Board, &'static [Variable])> {
        match self {
            Self::Session => Some((
                Board::Session,
                &[Variable::Namespace, Variable::Node, Variable::Session],
            )),
            Self::Logs => Some((Board::Logs, &[Variable::Session])),
            Self::Node => Some((Board::Node, &[Variable::Node])),
            Self::Gpu => Some((Board::Gpus, &[Variable::Node, Variable::Gpu])),
            Self::Template => Some((Board::Sessions, &[Variable::Namespace, Variable::Template])),
            Self::Alert => None,
        }
    }

    /// What Grafana loads, on a dashboard that has these variables.
    pub(crate) fn to_grafana(self, clicked: Clicked, declared: &[Variable]) -> LinkModel {
        let of_clicked = |label| match clicked {
            Clicked::Series => format!("${{__field.labels.{label}:percentencode}}"),
            Clicked::Row => format!("${{__data.fields.{label}:percentencode}}"),
        };
        let Some((board, chosen)) = self.target() else {
            return LinkModel {
                title: "Runbook".to_owned(),
                url: format!("{}{}", runbooks(), of_clicked(self.column())),
                target_blank: true,
            };
        };
        let kept = [Variable::Cluster, Variable::Environment]
            .iter()
            .filter(|one| declared.contains(one))
            .map(|one| format!("${{{}:queryparam}}", one.name()));
        let mut parts = vec![
            "${__url_time_range}".to_owned(),
            "${datasource:queryparam}".to_owned(),
        ];
        parts.extend(kept);
        parts.extend(
            chosen
                .iter()
                .map(|one| format!("var-{}={}", one.name(), of_clicked(one.series_label()))),
        );
        let title = board.title().rsplit(" / ").next().unwrap_or_default();
        LinkModel {
            title: title.to_owned(),
            url: format!("/d/{}?{}", board.uid(), parts.join("&")),
            target_blank: false,
        }
    }
}

/// Where runbooks are served, as the alerts have it.
fn runbooks() -> &'static str {
    include_str!("../../rules/runbooks").trim_end()
}

/// The way from a panel to the page of an alert that asks the same.
pub(crate) fn runbook(alert: &str) -> LinkModel {
    LinkModel {
        title: alert.to_owned(),
        url: format!("{}{alert}", runbooks()),
        target_blank: true,
    }
}
