//! Reads an exposition as strictly as the formats are written down, stricter than scrapers are.
//!
//! The parser is our own because the ones to be had are lenient: it refuses a sample outside its family,
//! a family or a series that is there twice, an escape that does not exist, and anything after the
//! end mark of OpenMetrics. What a scraper thinks of the same text, `promtool` and Prometheus say in
//! tests of their own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

/// Which of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A sample: one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the family that it belongs to, as the comments spell it.
    pub family: String,
    /// Its own name.
    pub name: String,
    /// Its labels, unescaped.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A whole exposition.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Type of each family.
    pub types: BTreeMap<String, String>,
    /// All samples in their order.
    pub samples: Vec<Sample>,
}

impl Exposition {
    /// Parses `text`; an error names the line.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let body = match format {
            Format::Text => text.strip_suffix('\n').ok_or("no newline at the end")?,
            Format::OpenMetrics => text
                .strip_suffix("\n# EOF\n")
                .ok_or("no # EOF at the end")?,
        };
        let mut exposition = Self::default();
        let mut series = BTreeSet::new();
        let mut family = None;
        // Not `lines()`, which would take a carriage return away.
        for line in body.split('\n') {
            let parsed = match line.strip_prefix("# ") {
                Some(comment) => exposition.comment(comment, format, &mut family),
                None => exposition.sample(line, format, family.as_deref(), &mut series),
            };
            parsed.map_err(|error| format!("{error}: {line:?}"))?;
        }
        Ok(exposition)
    }

    fn comment(
        &mut self,
        comment: &str,
        format: Format,
        family: &mut Option<String>,
    ) -> Result<(), String> {
        let (keyword, rest) = comment.split_once(' ').ok_or("a comment without a name")?;
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match keyword {
            "HELP" | "UNIT" if keyword == "HELP" || format == Format::OpenMetrics => {
                // The name must be that of the family's TYPE, before or after it.
                if family.as_deref() != Some(name) && self.types.contains_key(name) {
                    return Err("a comment of an earlier family".to_owned());
                }
                *family = Some(name.to_owned());
                Ok(())
            }
            "TYPE" => {
                if !["counter", "gauge", "histogram"].contains(&rest) {
                    return Err(format!("unknown type {rest:?}"));
                }
                *family = Some(name.to_owned());
                match self.types.insert(name.to_owned(), rest.to_owned()) {
                    None => Ok(()),
                    Some(_) => Err("a family twice".to_owned()),
                }
            }
            _ => Err("a comment that means nothing in this format".to_owned()),
        }
    }

    fn sample(
        &mut self,
        line: &str,
        format: Format,
        family: Option<&str>,
        series: &mut BTreeSet<(String, BTreeMap<String, String>)>,
    ) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let value = value
            .parse::<f64>()
            .map_err(|error| format!("{error}: {value:?}"))?;
        let family = family.ok_or("a sample before any family")?;
        let kind = self.types.get(family).ok_or("a family without a type")?;
        let suffix = name
            .strip_prefix(family)
            .ok_or("a sample of another family")?;
        let suffixes: &[&str] = match (kind.as_str(), format) {
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", Format::OpenMetrics) => &["_total"],
            _ => &[""],
        };
        if !suffixes.contains(&suffix) {
            return Err(format!("a {kind} has no sample with the suffix {suffix:?}"));
        }
        if !series.insert((name.to_owned(), labels.clone())) {
            return Err("a series twice".to_owned());
        }
        self.samples.push(Sample {
            family: family.to_owned(),
            name: name.to_owned(),
            labels,
            value,
        });
        Ok(())
    }

    /// The samples of a name that have all these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).map(String::as_str) == Some(*value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The value of the one sample of a name that has these labels, if there is one.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.matching(name, labels);
        let first = found.next()?;
        assert!(
            found.next().is_none(),
            "{name} with {labels:?} is more than one series"
        );
        Some(first.value)
    }

    /// The same where there must be one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    /// The same for a number of things.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels);
        assert!(
            value >= 0.0 && value.fract() == 0.0,
            "{name} is {value}, which is no number of things"
        );
        value as u64
    }

    /// The same for a series that appears with the first of the things it counts.
    pub fn count_if_any(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.find(name, labels)
            .map_or(0, |_| self.count(name, labels))
    }

    /// The value of a metric that has one series; an error names it.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        self.find(name, &[])
            .with_context(|| format!("the agent's /metrics has no {name}"))
    }

    /// The sum of a name's samples that have all these labels, `None` where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.matching(name, labels).map(|sample| sample.value);
        values.reduce(|sum, value| sum + value)
    }

    /// The values of a name's samples by one of their labels.
    pub fn by_label<'a>(&'a self, name: &str, label: &str) -> Vec<(&'a str, f64)> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        samples
            .filter_map(|sample| Some((sample.labels.get(label)?.as_str(), sample.value)))
            .collect()
    }

    /// The values of a label.
    pub fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.matching(name, &[])
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect()
    }
}

/// Parses `a="b",c="d"} …` and returns what follows the brace.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) {
            return Err(format!("no name of a label: {name:?}"));
        }
        let (value, after) = quoted(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        rest = match after.strip_prefix(',') {
            Some(after) if !after.starts_with('}') => after,
            None if after.starts_with('}') => after,
            _ => return Err("no comma between labels".to_owned()),
        };
    }
}

/// Unescapes up to the closing quote and returns what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                other => return Err(format!("no escape: {other:?}")),
            }),
            plain => value.push(plain),
        }
    }
    Err("a value without its closing quote".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped_whatever_is_in_them() {
        let text = "# HELP a x\n# TYPE a gauge\na{b=\"\\\\ \\\" \\n } # EOF\",c=\"\"} 2\n";
        let exposition = Exposition::parse(text, Format::Text).unwrap();
        assert_eq!(exposition.samples[0].labels["b"], "\\ \" \n } # EOF");
        assert_eq!(exposition.find("a", &[("c", "")]), Some(2.0));
    }

    #[test]
    fn series_are_summed_and_told_apart_by_their_labels() {
        let text = "# TYPE a gauge\na 2.5\n# TYPE c gauge\n\
                    c{x=\"1\",y=\"2\"} 3\nc{x=\"1\",y=\"3\"} 4\nc{x=\"2\",y=\"3\"} 5\n";
        let exposition = Exposition::parse(text, Format::Text).unwrap();
        assert!((exposition.metric("a").unwrap() - 2.5).abs() < f64::EPSILON);
        assert!(exposition.metric("b").is_err());
        assert_eq!(exposition.sum("c", &[("x", "1")]), Some(7.0));
        assert_eq!(exposition.sum("c", &[("x", "1"), ("y", "3")]), Some(4.0));
        assert_eq!(exposition.sum("c", &[("x", "3")]), None);
        assert_eq!(
            exposition.by_label("c", "y"),
            [("2", 3.0), ("3", 4.0), ("3", 5.0)]
        );
        assert_eq!(exposition.by_label("c", "z"), []);
    }

    #[test]
    fn a_counter_has_its_suffix_where_the_format_wants_it() {
        let text = "# TYPE a counter\na_total 1\n# EOF\n";
        assert!(Exposition::parse(text, Format::OpenMetrics).is_ok());
        let text = "# TYPE a_total counter\na_total 1\n";
        assert!(Exposition::parse(text, Format::Text).is_ok());
        assert!(Exposition::parse(text, Format::OpenMetrics).is_err());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "# TYPE a gauge\na 1",
            "# TYPE a gauge\na 1\na 2\n",
            "# TYPE a gauge\na{b=\"1\"} 1\na{b=\"1\"} 1\n",
            "# TYPE a gauge\nb 1\n",
            "# TYPE a gauge\n# TYPE a gauge\n",
            "# TYPE a gauge\na{b=\"\\x\"} 1\n",
            "# TYPE a gauge\na{b=\"1\",} 1\n",
            "# TYPE a gauge\na{b=\"1\"c=\"2\"} 1\n",
            "# TYPE a gauge\na one\n",
            "# TYPE a gauge\n\na 1\n",
            "# TYPE a gauge\na 1\n# EOF\n",
            "a 1\n",
        ] {
            assert!(Exposition::parse(wrong, Format::Text).is_err(), "{wrong:?}");
        }
    }
}
