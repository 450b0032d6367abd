//! A finding, and how findings are shown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::{Error, OK};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// The agent starts, and something is missing or slower.
    Warning,
    /// The agent does not start.
    Failure,
}

/// One judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How grave it is.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What the agent would exit with because of it; 0 if it would start.
    pub exit_code: u8,
}

impl Finding {
    pub(crate) fn ok(subject: &'static str, detail: impl Into<String>) -> Self {
        Self {
            subject,
            status: Status::Ok,
            detail: detail.into(),
            remedy: None,
            exit_code: OK,
        }
    }

    pub(crate) fn warning(subject: &'static str, detail: impl Into<String>, remedy: &str) -> Self {
        let remedy = Some(remedy.to_owned());
        Self {
            status: Status::Warning,
            remedy,
            ..Self::ok(subject, detail)
        }
    }

    pub(crate) fn failure(
        subject: &'static str,
        detail: String,
        remedy: &str,
        error: &Error,
    ) -> Self {
        let exit_code = error.exit_code();
        Self {
            status: Status::Failure,
            exit_code,
            ..Self::warning(subject, detail, remedy)
        }
    }
}

/// What `check` exits with: 0, or the code of the first failure.
pub fn exit_code(findings: &[Finding]) -> u8 {
    findings
        .iter()
        .find(|finding| finding.status == Status::Failure)
        .map_or(OK, |finding| finding.exit_code)
}

/// The findings for a terminal: one line each, the remedy below it.
pub fn render_text(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.subject.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for Finding {
        subject,
        status,
        detail,
        remedy,
        exit_code: _,
    } in findings
    {
        let status = match status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failure => "FAILURE",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{status:7}  {subject:width$}  {detail}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "{:7}  {:width$}  → {remedy}", "", "");
        }
    }
    text
}

/// The findings as a JSON array.
pub fn render_json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(findings).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_remedy_below_its_finding() {
        let findings = [
            Finding::ok("kernel", "6.12.0"),
            Finding::warning("BPF JIT", "off", "turn it on"),
        ];
        assert_eq!(
            render_text(&findings),
            "ok       kernel   6.12.0\nwarning  BPF JIT  off\n                  → turn it on\n"
        );
    }

    #[test]
    fn json_has_the_remedy_only_where_there_is_one() {
        let findings = [
            Finding::ok("kernel", "6.12.0"),
            Finding::warning("BPF JIT", "off", "turn it on"),
        ];
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&render_json(&findings)).unwrap(),
            serde_json::json!([
                {"subject": "kernel", "status": "ok", "detail": "6.12.0", "exit_code": 0},
                {"subject": "BPF JIT", "status": "warning", "detail": "off",
                 "remedy": "turn it on", "exit_code": 0},
            ])
        );
    }

    #[test]
    fn the_first_failure_decides_the_exit_code() {
        let failure = |error: &Error| Finding::failure("x", String::new(), "", error);
        let findings = [
            Finding::warning("x", "", ""),
            failure(&Error::Layout {
                reason: String::new(),
            }),
            failure(&Error::Other(String::new())),
        ];
        assert_eq!(exit_code(&findings), 9);
        assert_eq!(exit_code(&findings[..1]), 0);
    }
}
