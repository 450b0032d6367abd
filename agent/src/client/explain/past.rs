//! One page on a session that has ended and left the list.

use super::{
    super::{
        judge::{HEADING, styled},
        units::{age, bytes, clock, count, or_absent, printable, time},
    },
    findings::lines,
    section::Section,
};
use crate::api::PastSession;

/// Ends of others of the same name that are listed.
const LISTED: usize = 5;

/// The page on the latest of those that had one name, with colours; `now` in seconds since the epoch.
pub(in super::super) fn page(latest: &PastSession, earlier: &[&PastSession], now: f64) -> String {
    let name = printable(&latest.session);
    let title = styled(&format!("SESSION {name}, which has ended"), HEADING);
    let mut sections = vec![end(latest, earlier, now)];
    if let Some(findings) = &latest.findings {
        let mut section = Section::new("Held back by, before it ended");
        lines(&mut section, findings, &[]);
        sections.push(section);
    }
    sections.push(figures(latest));
    let sections = sections.iter().map(Section::render);
    format!("{title}\n{}\n", sections.collect::<String>())
}

fn end(latest: &PastSession, earlier: &[&PastSession], now: f64) -> Section {
    let mut section = Section::new("End");
    let moment = |at: f64| format!("{}, {} ago", clock(at), age(now - at));
    let ended = or_absent(latest.end_time, moment);
    section.line("ended", format!("{ended}: {}", reason(&latest.end_reason)));
    section.known("", latest.why.as_deref().map(printable));
    section.line("began", or_absent(latest.start_time, moment));
    section.known("lasted", latest.duration_seconds.map(age));
    for (label, name) in [
        ("namespace", &latest.namespace),
        ("template", &latest.template),
        ("cgroup", &latest.cgroup),
    ] {
        section.line(
            label,
            or_absent(Some(name).filter(|n| !n.is_empty()), |n| printable(n)),
        );
    }
    section.known("user", latest.user.as_deref().map(printable));
    for (place, other) in earlier.iter().take(LISTED).enumerate() {
        let label = if place == 0 { "ended before" } else { "" };
        let ended = or_absent(other.end_time, moment);
        section.line(label, format!("{ended}: {}", reason(&other.end_reason)));
    }
    section
}

/// As the metric has it, in words.
fn reason(name: &str) -> String {
    name.replace('_', " ")
}

fn figures(past: &PastSession) -> Section {
    let mut section = Section::new("In all");
    section.line("CPU", time(past.cpu_seconds));
    let both = |p50: Option<f64>, high: Option<f64>, name: &str| {
        let (p50, high) = (or_absent(p50, time), or_absent(high, time));
        format!("p50 {p50}, {name} {high}")
    };
    let waits = both(past.runqueue_wait_p50, past.runqueue_wait_p99, "p99");
    section.line("waits for a CPU", waits);
    section.known("throttled", past.cpu_throttled_seconds.map(time));
    section.known(
        "memory, most",
        past.memory_most_bytes.map(|most| bytes(most as u64)),
    );
    if let (Some(sent), Some(received)) = (past.tcp_transmit_bytes, past.tcp_receive_bytes) {
        let text = format!("{} sent, {} received", bytes(sent), bytes(received));
        section.line("TCP", text);
    }
    if past.rtt_p50.is_some() {
        section.line("round trips", both(past.rtt_p50, past.rtt_p95, "p95"));
    }
    let exits = &past.exits;
    section.line(
        "processes ended",
        format!(
            "{} well, {} with an error, {} by a signal, {} for want of memory",
            count(exits.success),
            count(exits.error),
            count(exits.signal),
            count(exits.oom_killed)
        ),
    );
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Exits;

    #[test]
    fn the_page_says_when_and_why_it_ended_and_what_it_came_to() {
        let latest = PastSession {
            session: "desk".to_owned(),
            template: "desktop".to_owned(),
            start_time: Some(1_763_738_642.0),
            end_time: Some(1_763_742_242.0),
            duration_seconds: Some(3_600.0),
            end_reason: "oom_killed".to_owned(),
            why: Some("the out-of-memory killer killed chrome (7) in it".to_owned()),
            cpu_seconds: 12.5,
            runqueue_wait_p99: Some(0.02),
            exits: Exits {
                oom_killed: 1,
                ..Exits::default()
            },
            findings: Some(Vec::new()),
            ..PastSession::default()
        };
        let earlier = PastSession {
            end_time: Some(1_763_700_000.0),
            end_reason: "error".to_owned(),
            ..PastSession::default()
        };
        let page = page(&latest, &[&earlier], 1_763_742_342.0);
        let page = anstream::adapter::strip_str(&page).to_string();
        for said in [
            "SESSION desk, which has ended\n",
            ": oom killed\n",
            "the out-of-memory killer killed chrome (7) in it\n",
            "ended before",
            ": error\n",
            "nothing: no figure of the last minute",
            "p50 -, p99 20 ms",
            "1 for want of memory",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains("round trips"), "{page}");
    }
}
