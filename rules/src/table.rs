//! A group of alerts as its file says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde::Deserialize;

/// A group of alerts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name: that of its file, and what is between `sessionscope.` and `.alerts` in Prometheus.
    pub group: String,
    /// What it is about, in a line.
    pub about: String,
    /// What must be scraped for its alerts, unless one says otherwise.
    pub needs: Need,
    /// Its alerts, in their order.
    #[serde(rename = "alert")]
    pub alerts: Vec<Alert>,
}

/// An alert of one severity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Who is to look, and how soon.
    pub severity: Severity,
    /// How long its cause must hold before it fires.
    #[serde(rename = "for")]
    pub pending: Option<String>,
    /// How long it goes on after its cause is over.
    pub keep_firing_for: Option<String>,
    /// Labels besides the severity: they tell rules of one name and severity apart.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The expression, with `<name>` in the place of each threshold.
    expr: String,
    /// Why it waits as long as it does, and what it makes of what is absent.
    pub why: String,
    /// What is wrong, in a sentence without variables.
    pub summary: String,
    /// The same of what it fires for.
    pub description: String,
    /// What must be scraped for it, where that is not what its group needs.
    pub needs: Option<Need>,
    /// Numbers that an operator may choose.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Threshold>,
}

/// A number that an operator may choose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Its default.
    pub value: f64,
    /// What it counts.
    pub unit: String,
    /// Why it is the default.
    pub why: String,
}

/// Who is to look at an alert, and how soon.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// People are hit now, or all measuring is gone: somebody is called.
    Critical,
    /// Somebody looks within the day.
    Warning,
    /// Worth knowing.
    Info,
    /// Not for people: that it fires shows that alerts arrive.
    None,
}

/// What must be scraped for an alert.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The agent alone.
    Agent,
    /// What Kubernetes says of pods and nodes.
    KubeStateMetrics,
    /// What the kernel says of the node.
    NodeExporter,
}

impl Severity {
    /// As the label has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::None => "none",
        }
    }
}

impl Need {
    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::KubeStateMetrics => "kube-state-metrics",
            Self::NodeExporter => "node-exporter",
        }
    }
}

/// A threshold in an expression or a text.
static PLACE: LazyLock<Regex> = LazyLock::new(|| regex(r"<([a-z][a-z0-9_]*)>"));
/// A duration as Prometheus takes it.
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    regex("^(?:[1-9][0-9]*d)?(?:[1-9][0-9]*h)?(?:[1-9][0-9]*m)?(?:[1-9][0-9]*s)?$")
});
static NAME: LazyLock<Regex> = LazyLock::new(|| regex("^Vdi[A-Z][A-Za-z]+$"));

fn regex(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns stand here")]
    Regex::new(pattern).expect("a pattern")
}

impl Table {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// When it is no table of alerts, or one of them says something that cannot be; the error names it.
    pub fn parse(text: &str) -> Result<Self> {
        let table: Self = toml::from_str(text)?;
        ensure!(!table.alerts.is_empty(), "it has no alert");
        for alert in &table.alerts {
            alert
                .check()
                .with_context(|| format!("the alert {}", alert.name))?;
        }
        Ok(table)
    }

    /// Its file in the repository.
    pub fn file(&self) -> String {
        format!("rules/table/{}.toml", self.group)
    }
}

impl Alert {
    fn check(&self) -> Result<()> {
        ensure!(NAME.is_match(&self.name), "its name is not Vdi and words");
        for duration in [&self.pending, &self.keep_firing_for].into_iter().flatten() {
            let is_one = !duration.is_empty() && DURATION.is_match(duration);
            ensure!(is_one, "{duration:?} is no duration, such as 1h30m");
        }
        let texts = [&self.expr, &self.summary, &self.description];
        let used: BTreeSet<&str> = texts.into_iter().flat_map(|text| places(text)).collect();
        for name in &used {
            ensure!(
                self.thresholds.contains_key(*name),
                "<{name}> is no threshold of it"
            );
        }
        let compared: BTreeSet<&str> = places(&self.expr).collect();
        for (name, threshold) in &self.thresholds {
            ensure!(
                compared.contains(name.as_str()),
                "its expression does not use <{name}>"
            );
            ensure!(threshold.value.is_finite(), "<{name}> is no number");
        }
        ensure!(
            !self.labels.contains_key("severity"),
            "its severity is no label"
        );
        for text in [&self.why, &self.summary, &self.description] {
            ensure!(text.ends_with(['.', '?']), "{text:?} is no sentence");
        }
        for (name, threshold) in &self.thresholds {
            ensure!(threshold.why.ends_with('.'), "<{name}> has no reason");
        }
        ensure!(
            !self.summary.contains("{{"),
            "its summary has a variable: it is the title of many at once"
        );
        Ok(())
    }

    /// The expression with its thresholds' values.
    pub fn expression(&self) -> String {
        self.filled(self.pattern())
    }

    /// The expression with the names of its thresholds.
    pub(crate) fn pattern(&self) -> &str {
        self.expr.trim()
    }

    /// A text with the values of the thresholds that it names.
    pub(crate) fn filled(&self, text: &str) -> String {
        let value = |found: &regex::Captures<'_>| {
            let threshold = self.thresholds.get(&found[1]);
            threshold.map_or_else(|| found[0].to_owned(), |one| number(one.value))
        };
        PLACE.replace_all(text, value).into_owned()
    }

    /// What must be scraped for it.
    pub fn needs(&self, table: &Table) -> Need {
        self.needs.unwrap_or(table.needs)
    }
}

fn places(text: &str) -> impl Iterator<Item = &str> {
    let found = PLACE.captures_iter(text);
    found.filter_map(|found| Some(found.get(1)?.as_str()))
}

/// A number as people write it.
pub(crate) fn number(value: f64) -> String {
    let mut text = String::new();
    let _ = if value.abs() >= 1e15 {
        write!(text, "{value:e}")
    } else {
        write!(text, "{value}")
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: &str = r#"
group = "gpu"
about = "GPUs."
needs = "agent"

[[alert]]
name = "VdiGpuHot"
severity = "warning"
for = "5m"
expr = "celsius > <celsius>"
why = "Five minutes pass a peak."
summary = "A GPU is hot."
description = "GPU {{ $labels.gpu }} is above <celsius> degrees."
thresholds.celsius = { value = 85, unit = "°C", why = "Fans are at their most." }
"#;

    #[test]
    fn thresholds_stand_where_they_are_named() {
        let table = Table::parse(HOT).unwrap();
        let alert = &table.alerts[0];
        assert_eq!(alert.expression(), "celsius > 85");
        assert_eq!(
            alert.filled(&alert.description),
            "GPU {{ $labels.gpu }} is above 85 degrees."
        );
        assert_eq!(alert.needs(&table), Need::Agent);
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        for (right, wrong, said) in [
            ("> <celsius>", "> <kelvin>", "<kelvin> is no threshold"),
            ("name = \"VdiGpuHot\"", "name = \"hot\"", "not Vdi"),
            ("\"5m\"", "\"5 minutes\"", "no duration"),
            ("\"5m\"", "\"5m1h\"", "no duration"),
            ("> <celsius>", "> 85", "does not use <celsius>"),
            ("value = 85", "value = nan", "no number"),
            ("for =", "labels = { severity = \"a\" }\nfor =", "no label"),
            ("for =", "fore =", "unknown field `fore`"),
            ("pass a peak.", "pass a peak", "no sentence"),
            ("at their most.", "at their most", "<celsius> has no reason"),
            (
                "A GPU is hot",
                "A GPU {{ $labels.gpu }} is hot",
                "has a variable",
            ),
            ("\"warning\"", "\"urgent\"", "unknown variant `urgent`"),
        ] {
            assert!(HOT.contains(right), "{right}");
            let error = Table::parse(&HOT.replace(right, wrong)).unwrap_err();
            assert!(format!("{error:#}").contains(said), "{said}: {error:#}");
        }
    }

    #[test]
    fn numbers_are_as_people_write_them() {
        for (value, text) in [
            (85.0, "85"),
            (0.05, "0.05"),
            (2e9, "2000000000"),
            (1e18, "1e18"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
