//! A report in Markdown.

use std::fmt::Write as _;

use super::{
    super::units::{clock, printable},
    document::{Document, Table},
};

pub(super) fn markdown(document: &Document) -> String {
    let mut text = format!(
        "# Sessions, {} to {}\n\nFrom {}.\n",
        clock(document.since),
        clock(document.until),
        escaped(&document.prometheus)
    );
    // Writing to a string cannot fail.
    for section in &document.sections {
        let _ = write!(text, "\n## {}\n\n{}\n", section.title, section.note);
        for table in &section.tables {
            let _ = write!(text, "\n### {}\n\n{}", table.title, rows(table));
        }
        for missing in &section.missing {
            let _ = write!(text, "\nNot known: {}.\n", escaped(missing));
        }
    }
    text
}

fn rows(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = table.names.iter().map(|name| (*name).to_owned());
    let mut text = line(names.chain(table.columns.iter().cloned()).collect());
    let names = table.names.iter().map(|_| "---".to_owned());
    let figures = table.columns.iter().map(|_| "---:".to_owned());
    text += &line(names.chain(figures).collect());
    for row in &table.rows {
        let names = row.names.iter().map(|name| escaped(name));
        let values = row.values.iter().map(|value| value.text());
        text += &line(names.chain(values).collect());
    }
    if table.more > 0 {
        let _ = writeln!(text, "\n{} more are not shown.", table.more);
    }
    text
}

/// What names from outside may not do to a table or a page.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for letter in printable(name).chars() {
        if "\\`*_[]<>|#!".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::document::{Row, Section, Unit, Value},
        *,
    };

    #[test]
    fn a_name_cannot_be_more_than_a_cell_and_what_is_not_known_is_a_dash() {
        let value = |value| Value {
            unit: Unit::Count,
            value,
        };
        let document = Document {
            prometheus: "http://127.0.0.1:9090".to_owned(),
            since: 0.0,
            until: 86_400.0,
            sections: vec![Section {
                title: "Sessions",
                note: "All.",
                tables: vec![Table {
                    title: "By template",
                    names: vec!["Template"],
                    columns: vec!["started".to_owned(), "failed".to_owned()],
                    rows: vec![Row {
                        names: vec!["a|b\n<i>".to_owned()],
                        values: vec![value(Some(1_200.0)), value(None)],
                    }],
                    more: 2,
                }],
                missing: vec!["GPUs".to_owned()],
                ..Section::default()
            }],
        };
        let text = markdown(&document);
        let expected = "### By template\n\n| Template | started | failed |\n| --- | ---: | ---: |\n\
                        | a\\|b\u{fffd}\\<i\\> | 1,200 | - |\n\n2 more are not shown.\n\nNot known: GPUs.\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
