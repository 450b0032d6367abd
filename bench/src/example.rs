//! What tests of this crate read figures from.

use std::collections::BTreeMap;
use std::fmt::Write;

use lab::exposition::{Exposition, Format};

/// An exposition of these lines, each name a family of its own.
pub(crate) fn exposition(lines: &str) -> Exposition {
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.lines() {
        let name = line.split(['{', ' ']).next().unwrap();
        families.entry(name).or_default().push(line);
    }
    if families.is_empty() {
        return Exposition::default();
    }
    let mut text = String::new();
    for (name, samples) in families {
        writeln!(text, "# TYPE {name} gauge\n{}", samples.join("\n")).unwrap();
    }
    Exposition::parse(&text, Format::Text).unwrap()
}
