//! Markdown tables.

/// A table with these headings; each row has as many cells.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let heading = format!("| {} |", headings.join(" | "));
    let rule = format!("|{}", "---|".repeat(headings.len()));
    let mut lines = vec![heading, rule];
    lines.extend(
        rows.iter()
            .map(|cells| format!("| {} |", cells.join(" | "))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_table_has_a_heading_a_rule_and_rows() {
        let rows = [vec!["1".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["a", "b"], &rows), "| a | b |\n|---|---|\n| 1 | 2 |");
    }
}
