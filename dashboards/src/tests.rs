use std::collections::BTreeSet;

use serde_json::Value;

use super::{all, dashboards};
use crate::board::{Board, Variable};
use crate::grafana::COLUMNS;
use crate::panel::{Look, Panel, Source};

/// Each dashboard as Grafana reads it.
fn read() -> Vec<(&'static str, Value)> {
    let files = all().expect("it can be written");
    let parse = |text: &str| serde_json::from_str(text).expect("it is JSON");
    files
        .iter()
        .map(|(file, text)| (*file, parse(text)))
        .collect()
}

fn items<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().expect("a list")
}

/// Calls a function with each panel and the name of its dashboard.
fn each(mut with: impl FnMut(&str, &Value)) {
    for (file, dashboard) in read() {
        for panel in items(&dashboard, "panels") {
            with(&format!("{file}: {}", panel["title"]), panel);
        }
    }
}

/// Calls a function with each panel of the description.
fn each_described(mut with: impl FnMut(&[Variable], &Panel)) {
    for dashboard in dashboards() {
        for row in &dashboard.rows {
            for panel in &row.panels {
                with(dashboard.variables, panel);
            }
        }
    }
}

fn number(of: &Value) -> u64 {
    of.as_u64().expect("a number")
}

#[test]
fn there_are_twelve_dashboards_with_names_of_their_own() {
    let dashboards = read();
    assert_eq!(dashboards.len(), 12);
    let mut names = BTreeSet::new();
    for (file, dashboard) in &dashboards {
        let stem = file.strip_prefix("dashboards/").expect("its folder");
        let stem = stem.strip_suffix(".json").expect("its kind");
        assert_eq!(dashboard["uid"], format!("sessionscope-{stem}"));
        for name in [&dashboard["uid"], &dashboard["title"]] {
            assert!(names.insert(name.to_string()), "{name} twice");
        }
        assert_eq!(dashboard["editable"], false);
        assert_eq!(dashboard["schemaVersion"], 39);
        assert_eq!(dashboard["refresh"], "30s");
    }
}

#[test]
fn there_are_more_than_eighty_panels() {
    let mut panels = 0;
    each_described(|_, _| panels += 1);
    assert!(panels >= 80, "{panels}");
}

#[test]
fn ids_are_unique_and_no_panel_lies_over_another() {
    for (file, dashboard) in read() {
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in items(&dashboard, "panels") {
            let title = &panel["title"];
            assert!(ids.insert(number(&panel["id"])), "{file}: {title}");
            let place = &panel["gridPos"];
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| number(&place[key]));
            assert!(w > 0 && h > 0, "{file}: {title}");
            assert!(x + w <= u64::from(COLUMNS), "{file}: {title}");
            for column in x..x + w {
                for line in y..y + h {
                    assert!(cells.insert((column, line)), "{file}: {title}");
                }
            }
        }
    }
}

#[test]
fn no_dashboard_has_a_hole() {
    for (file, dashboard) in read() {
        let (mut cells, mut lines) = (0, 0);
        for panel in items(&dashboard, "panels") {
            let place = &panel["gridPos"];
            let [y, w, h] = ["y", "w", "h"].map(|key| number(&place[key]));
            cells += w * h;
            lines = lines.max(y + h);
        }
        assert_eq!(cells, u64::from(COLUMNS) * lines, "{file}");
    }
}

#[test]
fn titles_are_unique_within_a_dashboard() {
    for (file, dashboard) in read() {
        let mut titles = BTreeSet::new();
        for panel in items(&dashboard, "panels") {
            let title = panel["title"].to_string();
            assert!(titles.insert(title.clone()), "{file}: {title} twice");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    each(|name, panel| {
        if panel["type"] == "row" {
            return;
        }
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{name}: {description:?}");
        assert!(!items(panel, "targets").is_empty(), "{name}");
        let defaults = &panel["fieldConfig"]["defaults"];
        let unit = defaults["unit"].as_str().unwrap_or_default();
        assert!(!unit.is_empty(), "{name}");
    });
}

#[test]
fn no_number_is_red_unless_its_panel_says_from_when_on() {
    each(|name, panel| {
        if panel["type"] == "row" {
            return;
        }
        let thresholds = &panel["fieldConfig"]["defaults"]["thresholds"];
        let steps = items(thresholds, "steps");
        assert_eq!(thresholds["mode"], "absolute", "{name}");
        assert!(steps[0]["value"].is_null(), "{name}");
        // Without any the value has one colour, and with some they rise.
        let values: Vec<f64> = steps[1..]
            .iter()
            .map(|step| step["value"].as_f64().expect("a value"))
            .collect();
        assert!(values.is_sorted_by(|one, other| one < other), "{name}");
        if steps.len() == 1 {
            assert_eq!(steps[0]["color"], "blue", "{name}");
        }
        for step in steps {
            let colour = step["color"].as_str().expect("a colour");
            assert!(["blue", "orange", "dark-red"].contains(&colour), "{name}");
        }
    });
}

/// The variables that a text asks for, without those of Grafana.
fn asked(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    text.split('$').skip(1).filter_map(move |rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|one| !is_part(one)).unwrap_or(rest.len());
        // What closes a pattern has no name.
        (end > 0 && !rest.starts_with("__")).then_some(&rest[..end])
    })
}

#[test]
fn nothing_asks_for_a_variable_that_is_not_there() {
    for (file, dashboard) in read() {
        let variables = items(&dashboard["templating"], "list");
        let declared: BTreeSet<&str> = variables
            .iter()
            .map(|variable| variable["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(declared.len(), variables.len(), "{file}");
        // All of it: queries, annotations, links, lists of values and data sources.
        let text = dashboard.to_string();
        for name in asked(&text) {
            assert!(declared.contains(name), "{file}: {name}");
        }
        for variable in declared {
            let is_used = asked(&text).any(|name| name == variable);
            assert!(is_used, "{file}: {variable} chooses nothing");
        }
    }
}

#[test]
fn no_panel_asks_for_the_text_that_narrows_a_list() {
    each_described(|_, panel| {
        for query in &panel.queries {
            assert!(!query.expr.contains("$find"), "{}", panel.title);
        }
    });
}

/// What is asked for without the chosen clusters and environments.
fn unchosen(expr: &str) -> Vec<&str> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == ':';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|one| !is_part(one)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        rest = after;
        let is_metric = word.starts_with("vdi")
            || word.contains(":vdi")
            || word.starts_with("process")
            || ["up", "ALERTS"].contains(&word);
        let labels = after
            .strip_prefix('{')
            .and_then(|text| text.split('}').next());
        let is_chosen = labels.is_some_and(|labels| {
            labels.contains(r#"cluster=~"$cluster""#)
                && labels.contains(r#"environment=~"$environment""#)
        });
        if is_metric && !is_chosen {
            found.push(word);
        }
    }
    found
}

#[test]
fn every_query_is_of_the_chosen_clusters_and_environments() {
    assert_eq!(unchosen("sum(vdi_sessions) by (phase)"), ["vdi_sessions"]);
    each_described(|variables, panel| {
        if !variables.contains(&Variable::Cluster) {
            return;
        }
        for query in &panel.queries {
            let found = unchosen(&query.expr);
            assert!(found.is_empty(), "{}: {found:?}", panel.title);
        }
    });
}

#[test]
fn worst_ones_are_chosen_of_now_and_not_anew_at_each_step() {
    each_described(|_, panel| {
        let chooses = |expr: &str| ["topk", "bottomk"].iter().any(|one| expr.contains(one));
        if panel.queries.iter().any(|query| chooses(&query.expr)) {
            assert!(panel.look.is_instant(), "{}", panel.title);
        }
    });
    each(|name, panel| {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_ne!(target["instant"], target["range"], "{name}");
        }
    });
}

#[test]
fn heat_maps_of_histograms_are_made_of_their_buckets() {
    each_described(|_, panel| {
        let buckets = panel.look == Look::Buckets;
        for query in &panel.queries {
            let by_bucket = query.expr.starts_with("sum by (le) (");
            assert_eq!(buckets, by_bucket, "{}", panel.title);
        }
    });
}

#[test]
fn a_link_of_a_table_has_the_column_that_it_is_on_and_all_that_it_says() {
    each_described(|_, panel| {
        let Look::Table(labels) = panel.look else {
            return;
        };
        for link in panel.links {
            let has = |name| labels.iter().any(|label| label.names().0 == name);
            assert!(has(link.column()), "{}", panel.title);
            let chosen = link.target().map_or(&[][..], |(_, chosen)| chosen);
            for variable in chosen {
                assert!(has(variable.series_label()), "{}", panel.title);
            }
        }
    });
}

#[test]
fn columns_of_a_table_have_titles_of_their_own() {
    each_described(|_, panel| {
        let Look::Table(labels) = panel.look else {
            return;
        };
        let mut titles: Vec<&str> = labels.iter().map(|label| label.names().1).collect();
        let columns = panel.queries.iter().filter(|one| one.column.is_some());
        titles.extend(columns.map(|query| query.name));
        let unique: BTreeSet<&str> = titles.iter().copied().collect();
        assert_eq!(unique.len(), titles.len(), "{}: {titles:?}", panel.title);
    });
}

#[test]
fn logs_are_asked_of_loki_and_all_else_of_prometheus() {
    for dashboard in dashboards() {
        let is_logs = dashboard.board == Board::Logs;
        for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
            let of_loki = panel.source == Source::Loki;
            assert_eq!(of_loki, is_logs, "{}", panel.title);
        }
    }
}

#[test]
fn every_dashboard_answers_on_the_first_screen() {
    // 1,600 by 900 pixels: 22 lines of the grid, of which the heading takes one.
    for dashboard in dashboards() {
        let title = dashboard.board.title();
        let cells = dashboard.rows[0].panels.iter();
        let cells: u32 = cells.map(|panel| panel.size.0 * panel.size.1).sum();
        assert!(cells.div_ceil(COLUMNS) < 22, "{title}");
    }
}
