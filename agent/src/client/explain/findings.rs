//! What holds the session back, before all figures.

use super::{
    super::units::{count, percent, printable, time},
    section::Section,
};
use crate::api::{Finding, Preemptor, Session};

/// Sessions that are named as those that take the CPU.
const PREEMPTORS: usize = 3;

pub(super) fn findings(session: &Session) -> Section {
    let mut section = Section::new("Held back by");
    let Some(findings) = &session.findings else {
        section.line("", "not known: the agent keeps no history of it");
        return section;
    };
    lines(&mut section, findings, &session.preempted_by);
    section
}

/// A line for each finding; `by` are those that take the CPU.
pub(super) fn lines(section: &mut Section, findings: &[Finding], by: &[Preemptor]) {
    if findings.is_empty() {
        let text = "nothing: no figure of the last minute or of the last hour is over its limit";
        section.line("", text);
        return;
    }
    for (window, title) in [("minute", "the last minute"), ("hour", "the last hour")] {
        let of_window = findings.iter().filter(|finding| finding.window == window);
        for (place, finding) in of_window.enumerate() {
            let title = if place == 0 { title } else { "" };
            section.judged(title, said(finding, by), Some(finding.advice.clone()));
        }
    }
}

/// One finding, with its figure, the limit, and how often it was over that.
fn said(finding: &Finding, by: &[Preemptor]) -> String {
    let amount = |value: f64| match finding.unit.as_str() {
        "share" => percent(value),
        "seconds" => time(value),
        "count" if value.fract() < 0.05 => format!("{value:.0}"),
        _ if value < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    };
    let often = if finding.share_of_time > 0.99 {
        "all the time".to_owned()
    } else {
        format!("{} of the time", percent(finding.share_of_time))
    };
    let by: Vec<String> = by
        .iter()
        .take(PREEMPTORS)
        .map(|by| format!("{} ({} times)", printable(&by.session), count(by.count)))
        .collect();
    let by = if finding.cause == "cpu_contention" && !by.is_empty() {
        format!("; since the agent found it most often by {}", by.join(", "))
    } else {
        String::new()
    };
    format!(
        "{}: {} {} (much is {}), {often}{by}",
        finding.said,
        amount(finding.value),
        finding.figure,
        amount(finding.limit),
    )
}
