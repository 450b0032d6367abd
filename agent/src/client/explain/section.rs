//! Titled lines.

use std::fmt::Write as _;

use super::super::judge::{HEADING, WARNING, styled};

/// Columns of a line's label.
const LABEL: usize = 17;

/// A part of the page.
pub(super) struct Section {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    label: String,
    text: String,
    warning: Option<String>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub(super) fn line(&mut self, label: impl Into<String>, text: impl Into<String>) {
        self.judged(label, text, None);
    }

    /// Adds a line with what is wrong with it, if something is.
    pub(super) fn judged(
        &mut self,
        label: impl Into<String>,
        text: impl Into<String>,
        warning: Option<String>,
    ) {
        self.lines.push(Line {
            label: label.into(),
            text: text.into(),
            warning,
        });
    }

    /// Adds a line if there is something to say.
    pub(super) fn known(&mut self, label: &str, text: Option<String>) {
        if let Some(text) = text {
            self.line(label, text);
        }
    }

    pub(super) fn render(&self) -> String {
        let mut text = format!("\n{}\n", styled(&self.title, HEADING));
        // Writing to a string cannot fail.
        for line in &self.lines {
            let Line {
                label, text: said, ..
            } = line;
            let _ = writeln!(text, "  {label:LABEL$} {said}");
            if let Some(warning) = &line.warning {
                let warning = styled(&format!("! {warning}"), WARNING);
                let _ = writeln!(text, "  {:LABEL$} {warning}", "");
            }
        }
        text
    }
}
