//! How each kind of panel looks in Grafana.

use super::looks::{
    AtLeast, Axis, Cell, Custom, HeatmapTooltip, Legend, Mappings, Mode, Options, PieLegend,
    Reduce, Scheme, Shown, SortBy, Tooltip, Word,
};
use super::panel::{Look, Panel};
use super::vocabulary::{Thresholds, Unit};

const fn reduce() -> Reduce {
    Reduce {
        calcs: ["lastNotNull"],
        values: false,
    }
}

const fn tooltip() -> Tooltip {
    Tooltip {
        mode: "multi",
        sort: "desc",
    }
}

impl Panel {
    pub(crate) fn mappings(&self) -> Vec<Mappings> {
        if self.words.is_empty() {
            return self.said_of_nothing().into_iter().collect();
        }
        let words = self.words.iter().enumerate().map(|(index, word)| {
            let color = word.colour.id();
            let text = word.text;
            (word.value, Word { text, color, index })
        });
        vec![Mappings::Value(words.collect())]
    }

    /// Where less is worse, Grafana shows what is said of no answer in the colour of the worst.
    fn said_of_nothing(&self) -> Option<Mappings> {
        if !matches!(self.thresholds, Thresholds::Below(..)) {
            return None;
        }
        let result = Word {
            text: self.nothing?,
            color: "text",
            index: 0,
        };
        let matches = "null+nan";
        Some(Mappings::Special { matches, result })
    }

    pub(crate) fn custom(&self) -> Option<Custom> {
        let (fill_opacity, stacking) = match self.look {
            Look::Lines => (0, "none"),
            Look::Stacked => (30, "normal"),
            Look::States => {
                return Some(Custom::Timeline {
                    fill_opacity: 80,
                    line_width: 0,
                });
            }
            Look::Table(_) => {
                return Some(Custom::Cells {
                    align: "auto",
                    filterable: true,
                    // With Grafana's own 150 the last columns of a narrow table are out of sight.
                    min_width: 80,
                    cell_options: Cell { kind: "auto" },
                });
            }
            _ => return None,
        };
        Some(Custom::Lines {
            fill_opacity,
            line_width: 1,
            show_points: "auto",
            // Nothing but zeros has an axis to 10,000 % otherwise.
            axis_soft_max: match self.unit {
                Unit::Ratio => Some(0.1),
                _ => None,
            },
            stacking: Mode { mode: stacking },
            thresholds_style: Mode {
                mode: match self.thresholds {
                    Thresholds::Plain => "off",
                    _ => "dashed",
                },
            },
        })
    }

    pub(crate) fn options(&self) -> Options {
        match self.look {
            Look::Number | Look::Trend => Options::Stat {
                color_mode: "value",
                graph_mode: if self.look == Look::Trend {
                    "area"
                } else {
                    "none"
                },
                justify_mode: "auto",
                orientation: "auto",
                reduce_options: reduce(),
                // What it is the value of, where the query does not say it.
                text_mode: if self.queries.iter().any(|query| query.name.contains("{{")) {
                    "value_and_name"
                } else {
                    "value"
                },
                wide_layout: true,
            },
            Look::Gauge => Options::Gauge {
                orientation: "auto",
                reduce_options: reduce(),
                show_threshold_labels: false,
                // Where less is worse, nearly all of the ring is red.
                show_threshold_markers: !matches!(self.thresholds, Thresholds::Below(..)),
            },
            Look::Bars => Options::Bars {
                display_mode: "basic",
                orientation: "horizontal",
                reduce_options: reduce(),
                show_unfilled: true,
                value_mode: "color",
                // One bar alone fills the panel otherwise.
                sizing: "manual",
                min_viz_height: 16,
                max_viz_height: 28,
            },
            Look::Pie => Options::Pie {
                pie_type: "donut",
                display_labels: ["percent"],
                reduce_options: reduce(),
                legend: PieLegend {
                    values: ["value", "percent"],
                    display_mode: "table",
                    placement: "right",
                    shown: true,
                },
                tooltip: tooltip(),
            },
            Look::Lines | Look::Stacked => Options::Lines {
                legend: Legend {
                    calcs: vec!["lastNotNull", "max"],
                    // What is large is seen without scrolling.
                    sort_by: Some("Max"),
                    sort_desc: Some(true),
                    display_mode: "table",
                    placement: "bottom",
                    shown: true,
                },
                tooltip: tooltip(),
            },
            Look::States => Options::Timeline {
                align_value: "left",
                merge_values: true,
                row_height: 0.9,
                show_value: "never",
                legend: Legend {
                    calcs: Vec::new(),
                    sort_by: None,
                    sort_desc: None,
                    display_mode: "list",
                    placement: "bottom",
                    shown: true,
                },
                tooltip: tooltip(),
            },
            Look::Buckets | Look::Cells => Options::Heatmap {
                calculate: false,
                cell_gap: 1,
                // From dark to light for everybody's eyes.
                color: Scheme {
                    mode: "scheme",
                    name: "Viridis",
                    steps: 64,
                    exponent: 0.5,
                },
                filter_values: AtLeast { le: 1e-9 },
                y_axis: Axis {
                    unit: self.unit.id(),
                    axis_placement: "left",
                },
                legend: Shown { show: true },
                tooltip: HeatmapTooltip {
                    mode: "single",
                    histogram: false,
                },
            },
            Look::Table(_) => Options::Table {
                show_header: true,
                cell_height: "sm",
                sort_by: self.order().into_iter().collect(),
            },
            Look::Logs => Options::Logs {
                show_time: true,
                wrap_log_message: true,
                enable_log_details: true,
                sort_order: "Descending",
                dedup_strategy: "none",
            },
        }
    }

    /// A table begins with the worst of its first column of values.
    fn order(&self) -> Option<SortBy> {
        let query = self.queries.first()?;
        let (_, thresholds) = query.column?;
        Some(SortBy {
            display_name: query.name,
            desc: !matches!(thresholds, Thresholds::Below(..)),
        })
    }
}
