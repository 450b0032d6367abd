//! From the measurements of `bench rules` to its tables.

use serde::Serialize;
use serde_json::{Value, json};

use super::rules::{Evaluations, FLEET, GPUS, Load, Measurements, NODES, SESSIONS, TEMPLATES};
use crate::numbers::{UNKNOWN, grouped, median, seconds, verdict};
use crate::table::table;

/// What a group may take of its interval: the rest is for a slower machine, for dashboards, and for what comes.
const SHARE: f64 = 1.0 / 3.0;
/// The one file that may be left out, as docs/alerts.md says.
const OPTIONAL: &str = "recordings/session.yml";
/// Twice as many nodes take twice as long, if what a group takes grows with them; the rest is the machine's variation.
const FASTER: f64 = 2.5;
const GIB: f64 = (1_u64 << 30) as f64;

/// A group in both parts of the fleet, and in all of it.
#[derive(Debug, Serialize)]
struct Cost {
    group: String,
    file: String,
    rules: usize,
    interval: f64,
    samples: f64,
    /// Of evaluations with few nodes and with many, in seconds.
    few: f64,
    many: f64,
    longest: f64,
    /// With the whole fleet, if all of it grows with the nodes.
    reckoned: f64,
    /// So many nodes it evaluates in the wanted share of its interval.
    most_nodes: u64,
    window: u64,
    /// Whether the first evaluations came sooner than that window was full: then they have read less than they will.
    is_partial: bool,
    slowest: (String, f64),
}

impl Cost {
    fn share(&self) -> f64 {
        self.reckoned / self.interval
    }

    fn is_met(&self) -> bool {
        self.share() <= SHARE
    }

    fn growth(&self) -> f64 {
        self.many / self.few
    }

    fn row(&self) -> Vec<String> {
        let at_least = if self.is_partial { "≥ " } else { "" };
        let share = |seconds: f64| format!("{:.2}", seconds / self.interval * 100.0);
        vec![
            format!("`{}`", self.group),
            self.rules.to_string(),
            grouped(self.samples as u64),
            seconds(Some(self.few)),
            seconds(Some(self.many)),
            seconds(Some(self.longest)),
            format!("{:.1}", self.growth()),
            share(self.many),
            format!("{at_least}{}", seconds(Some(self.reckoned))),
            format!("{at_least}{:.1}", self.share() * 100.0),
            verdict(self.is_met()).to_owned(),
            grouped(self.most_nodes),
            time(self.window),
            format!("`{}`, {:.0} %", self.slowest.0, self.slowest.1 * 100.0),
        ]
    }
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "rules";

    fn summary(&self) -> Value {
        json!({ "groups": self.costs(), "nodes": NODES, "fleet": FLEET })
    }

    fn markdown(&self) -> String {
        let [few, many] = NODES;
        let about = format!(
            "{}.\n`{}`: Prometheus {} scrapes {few} and then {many} nodes of {SESSIONS} sessions each, every 15 s, and has \
             all of `rules/recordings/` and `rules/alerts/`, at the intervals that they have; groups of alerts have \
             Prometheus's, a minute. A node is the exposition of a real agent, {} series in text, whose sessions are used as \
             for scrapes, of {TEMPLATES} templates, each on one of {GPUS} GPUs; its sessions have other names on each node, and \
             counters go on at the rate that they had. After {} minutes evaluations were read for {}.",
            self.machine,
            self.command,
            self.prometheus,
            grouped(self.series_of_node as u64),
            self.settle_minutes,
            self.minutes,
        );
        [
            about,
            self.load_table(),
            self.group_table(),
            self.how_to_read(),
            self.expectation(),
            self.advice(),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    fn costs(&self) -> Vec<Cost> {
        let [few, many] = self.loads.as_slice() else {
            return Vec::new();
        };
        let settled = 60 * u64::from(self.settle_minutes);
        let cost = |(name, now): (&String, &Evaluations)| {
            let before = few.groups.get(name)?;
            let of = |seconds: &[f64]| median(seconds.iter().copied());
            let of_many = of(&now.seconds);
            let nodes = many.nodes as f64;
            Some(Cost {
                group: name.clone(),
                file: now.file.clone(),
                rules: now.rules,
                interval: now.interval,
                samples: now.samples,
                few: of(&before.seconds),
                many: of_many,
                longest: now.seconds.iter().copied().fold(f64::NAN, f64::max),
                reckoned: of_many * FLEET as f64 / nodes,
                most_nodes: (nodes * now.interval * SHARE / of_many) as u64,
                window: now.window,
                is_partial: now.window > settled,
                slowest: now.slowest.clone(),
            })
        };
        let mut costs: Vec<Cost> = many.groups.iter().filter_map(cost).collect();
        costs.sort_by(|one, other| other.share().total_cmp(&one.share()));
        costs
    }

    fn load_table(&self) -> String {
        let headings = [
            "nodes",
            "sessions",
            "series in memory",
            "all groups together, CPUs",
            "Prometheus's CPU time, with its scrapes, CPUs",
            "resident, GiB",
        ];
        let row = |times: f64, load: &Load| {
            let nodes = (load.nodes as f64 * times).round() as u64;
            let reckoned = if times > 1.0 { ", reckoned" } else { "" };
            vec![
                format!("{}{reckoned}", grouped(nodes)),
                grouped(nodes * SESSIONS as u64),
                grouped((load.series * times) as u64),
                format!("{:.3}", load.evaluating() * times),
                format!("{:.3}", load.cpus * times),
                format!("{:.2}", load.resident_bytes as f64 / GIB * times),
            ]
        };
        let mut rows: Vec<_> = self.loads.iter().map(|load| row(1.0, load)).collect();
        let whole = self.loads.last();
        rows.extend(whole.map(|load| row(FLEET as f64 / load.nodes as f64, load)));
        table(&headings, &rows)
    }

    fn group_table(&self) -> String {
        let [few, many] = NODES;
        let headings = [
            "group".to_owned(),
            "rules".to_owned(),
            "samples".to_owned(),
            format!("median, {few} nodes"),
            format!("median, {many} nodes"),
            format!("longest, {many} nodes"),
            format!("{many} over {few}"),
            format!("% of the interval, {many} nodes"),
            format!("reckoned, {} nodes", grouped(FLEET as u64)),
            "% of the interval".to_owned(),
            "at most a third".to_owned(),
            "most nodes".to_owned(),
            "looks back".to_owned(),
            "slowest rule, of the group's time".to_owned(),
        ];
        let rows: Vec<_> = self.costs().iter().map(Cost::row).collect();
        table(&headings.each_ref().map(String::as_str), &rows)
    }

    fn how_to_read(&self) -> String {
        let [few, many] = NODES;
        let faster: Vec<String> = self
            .costs()
            .iter()
            .filter(|cost| cost.growth() > FASTER)
            .map(|cost| format!("`{}`", cost.group))
            .collect();
        let faster = if faster.is_empty() {
            format!("No group grew faster ({FASTER} and more).")
        } else {
            format!(
                "These grew faster ({FASTER} and more), and take longer than is reckoned: {}.",
                faster.join(", ")
            )
        };
        format!(
            "What is reckoned is {} times the median with {many} nodes. \"{many} over {few}\" says how far that can be \
             believed: 2 grows with the nodes, as all groups must that make or read a series of each session or node; 1 does \
             not grow, and {} times is too much. {faster} Times are the group's \
             `prometheus_rule_group_last_duration_seconds`. ≥ is for groups that look further back than the {} minutes \
             before: later they read more than they did here. \"Most nodes\" is how many one Prometheus of this machine \
             evaluates in a third of the group's interval. Where groups of alerts are evaluated each 30 s, as the \
             Prometheus operator has it, they may take half as long.",
            FLEET / many,
            FLEET / many,
            self.settle_minutes,
        )
    }

    fn expectation(&self) -> String {
        let costs = self.costs();
        let met = costs.iter().filter(|cost| cost.is_met()).count();
        format!(
            "Expected of a fleet of {} nodes of {SESSIONS} sessions:\n\n\
             - each group is evaluated in at most a third of its interval: {met} of {} groups, {}.",
            grouped(FLEET as u64),
            costs.len(),
            verdict(met == costs.len()),
        )
    }

    /// What to leave out, and where to divide.
    fn advice(&self) -> String {
        let costs = self.costs();
        let most = |among: &dyn Fn(&&Cost) -> bool| {
            let nodes = costs.iter().filter(among).map(|cost| cost.most_nodes);
            nodes.min().map_or(UNKNOWN.to_owned(), grouped)
        };
        let with_all = most(&|_| true);
        let without = most(&|cost| cost.file != OPTIONAL);
        let over: Vec<String> = costs
            .iter()
            .filter(|cost| !cost.is_met())
            .map(|cost| format!("`{}` of `{}`", cost.group, cost.file))
            .collect();
        let over = if over.is_empty() {
            format!("None takes more with {} nodes.", grouped(FLEET as u64))
        } else {
            format!(
                "Those that take more with {} are {}.",
                grouped(FLEET as u64),
                over.join(", ")
            )
        };
        format!(
            "**What to leave out, and where to divide.** One Prometheus of this machine evaluates all groups in a third of \
             their intervals up to {with_all} nodes, and without `{OPTIONAL}`, which may be left out (alerts.md), up to \
             {without}. {over} For more nodes each Prometheus gets a part of the clusters: all recordings keep `cluster` \
             and `environment`, so that none needs a series of another's. A cluster is never divided, because its groups \
             by cluster and template read all of its nodes."
        )
    }
}

impl Load {
    /// CPUs that evaluate if each group has one while it is evaluated: at most so many.
    fn evaluating(&self) -> f64 {
        let groups = self.groups.values();
        groups
            .map(|group| median(group.seconds.iter().copied()) / group.interval)
            .sum()
    }
}

/// How far back an expression looks, as expressions say it.
fn time(seconds: u64) -> String {
    match seconds {
        0 => UNKNOWN.to_owned(),
        days if days % 86_400 == 0 => format!("{}d", days / 86_400),
        hours if hours % 3_600 == 0 => format!("{}h", hours / 3_600),
        minutes if minutes % 60 == 0 => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::measuring::Measurements as _;
    use super::super::rules::{Evaluations, Load, Measurements, NODES};
    use super::time;
    use crate::machine::Machine;

    /// Groups of sessions, of nodes and of days, with what they take in seconds.
    fn load(nodes: usize, [session, node, days]: [f64; 3]) -> Load {
        let group = |file: &str, window, seconds: f64| Evaluations {
            file: file.to_owned(),
            rules: 3,
            interval: 60.0,
            window,
            samples: 1_200.0,
            seconds: vec![seconds, seconds * 3.0, seconds],
            slowest: ("slow".to_owned(), 0.5),
        };
        let groups = [
            ("session", group("recordings/session.yml", 300, session)),
            ("node", group("recordings/instance.yml", 300, node)),
            ("days", group("recordings/slo.yml", 259_200, days)),
        ];
        Load {
            nodes,
            series: 5_000.0 * nodes as f64,
            cpus: 0.02,
            resident_bytes: 1 << 28,
            groups: BTreeMap::from(groups.map(|(name, group)| (name.to_owned(), group))),
        }
    }

    fn markdown(few: [f64; 3], many: [f64; 3]) -> String {
        let measurements = Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench rules".into(),
            prometheus: "2.42.0".into(),
            settle_minutes: 6,
            minutes: 8,
            series_of_node: 4_400,
            loads: vec![load(NODES[0], few), load(NODES[1], many)],
        };
        measurements.markdown()
    }

    #[test]
    fn a_fleet_is_reckoned_from_the_larger_part() {
        let text = markdown([0.25, 0.1, 0.002], [0.5, 0.2, 0.002]);
        let session = "| `session` | 3 | 1,200 | 250 ms | 500 ms | 1.5 s | 2.0 | 0.83 | 25 s | 41.7 | **not met** | 800 | 5m | \
                       `slow`, 50 % |";
        assert!(text.contains(session), "{text}");
        let days = "| 1.0 | 0.00 | ≥ 100 ms | ≥ 0.2 | met | 200,000 | 3d |";
        assert!(text.contains(days), "{text}");
        assert!(
            text.contains("| 1,000, reckoned | 60,000 | 5,000,000 | 0.585 | 1.000 | 12.50 |"),
            "{text}"
        );
        assert!(text.contains("2 of 3 groups, **not met**"), "{text}");
        assert!(text.contains("up to 800 nodes"), "{text}");
        assert!(text.contains("up to 2,000. Those that take more"), "{text}");
        assert!(
            text.contains("`session` of `recordings/session.yml`"),
            "{text}"
        );
        assert!(text.contains("No group grew faster"), "{text}");
    }

    #[test]
    fn what_grows_faster_than_the_nodes_is_said() {
        let text = markdown([0.01, 0.01, 0.01], [0.02, 0.03, 0.02]);
        assert!(text.contains("than is reckoned: `node`."), "{text}");
        assert!(text.contains("3 of 3 groups, met"), "{text}");
        assert!(text.contains("None takes more"), "{text}");
    }

    #[test]
    fn times_are_as_expressions_have_them() {
        let all = [0, 300, 7_200, 259_200, 90].map(time);
        assert_eq!(all, ["–", "5m", "2h", "3d", "90s"]);
    }
}
