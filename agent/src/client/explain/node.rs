//! One page on the node: which of its sessions are held back, by what, and who has what there is.

use super::{
    super::{
        judge::{HEADING, styled},
        units::{bytes, count, cpus, or_absent, percent, printable},
    },
    section::Section,
};
use crate::api::{Finding, Gpus, Node, Report, Session};

/// Sessions that a line names.
const NAMED: usize = 3;
/// From where on time that is lost for want of memory or a disk is felt: `VdiNodeMemoryPressure` and `VdiNodeIoPressure`.
const PRESSURE: f64 = 0.2;

/// The page, with colours.
pub(in super::super) fn page(report: &Report) -> String {
    let living: Vec<&Session> = report.sessions.iter().filter(|s| !s.ended).collect();
    let mut sections = vec![held_back(&living)];
    if let Some(node) = &report.node {
        sections.extend([cpu(node, &living), memory(node, &living), disk(node)]);
    }
    sections.push(gpus(&report.gpus));
    sections.push(agent(report, &living));
    let sections = sections.iter().map(Section::render);
    format!(
        "{}\n{}\n",
        styled("NODE", HEADING),
        sections.collect::<String>()
    )
}

/// The last minute's causes, of the most sessions first.
fn held_back(living: &[&Session]) -> Section {
    let mut section = Section::new("Held back, in the last minute");
    let mut causes: Vec<(&Finding, Vec<&str>)> = Vec::new();
    let mut known = 0;
    for session in living {
        let Some(findings) = &session.findings else {
            continue;
        };
        known += 1;
        let of_minute = findings
            .iter()
            .filter(|f| f.window == "minute" && !f.follows);
        for finding in of_minute {
            let at = causes
                .iter_mut()
                .find(|(one, _)| one.cause == finding.cause);
            match at {
                Some((_, names)) => names.push(&session.session),
                None => causes.push((finding, vec![&session.session])),
            }
        }
    }
    causes.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    if known == 0 && !living.is_empty() {
        section.line("", "not known: the agent keeps no history of them");
    } else if causes.is_empty() {
        let text = "nothing: no figure of a session's last minute is over its limit";
        section.line("", text);
    }
    for (finding, names) in causes {
        let of = format!("{} of {}", names.len(), living.len());
        let text = format!(
            "{}: {}",
            finding.said,
            listed(names.into_iter().map(printable))
        );
        section.judged(of, text, Some(finding.advice.clone()));
    }
    section
}

/// Some of them, and how many more there are.
fn listed(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let text = all.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        return format!("{text} and {more} more");
    }
    text
}

/// Those that have the most of something.
fn most(
    living: &[&Session],
    of: impl Fn(&Session) -> Option<f64>,
    form: impl Fn(f64) -> String,
) -> String {
    let known = living
        .iter()
        .filter_map(|session| Some((of(session)?, *session)));
    let mut known: Vec<_> = known.filter(|(value, _)| *value > 0.0).collect();
    known.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    if known.is_empty() {
        return "nobody".to_owned();
    }
    let named = known.iter().take(NAMED);
    let named =
        named.map(|(value, session)| format!("{} {}", printable(&session.session), form(*value)));
    named.collect::<Vec<_>>().join(", ")
}

fn cpu(node: &Node, living: &[&Session]) -> Section {
    let mut section = Section::new("CPU");
    let used: f64 = living.iter().filter_map(|session| session.cpu_ratio).sum();
    section.line(
        "in use",
        format!("{} of {} by sessions", cpus(used), node.cpus),
    );
    let waited = node.pressure.cpu_some.map(|share| {
        format!(
            "{} of the last minute a thread waited for one",
            percent(share)
        )
    });
    section.known("pressure", waited);
    section.line("most by", most(living, |session| session.cpu_ratio, cpus));
    section
}

fn memory(node: &Node, living: &[&Session]) -> Section {
    let mut section = Section::new("Memory");
    let available = or_absent(node.memory_available_bytes, bytes);
    let total = or_absent(node.memory_total_bytes, bytes);
    section.line("available", format!("{available} of {total}"));
    pressure(
        &mut section,
        node.pressure.memory_some,
        node.pressure.memory_full,
    );
    let of = |session: &Session| session.memory_bytes.map(|memory| memory.current as f64);
    section.line("most by", most(living, of, |value| bytes(value as u64)));
    section
}

fn disk(node: &Node) -> Section {
    let mut section = Section::new("Disk");
    pressure(&mut section, node.pressure.io_some, node.pressure.io_full);
    section
}

fn pressure(section: &mut Section, some: Option<f64>, full: Option<f64>) {
    let (Some(some), Some(full)) = (some, full) else {
        section.line("pressure", "not known: the kernel does not tell it");
        return;
    };
    let text = format!(
        "{} of the last minute a thread waited, {} all of them",
        percent(some),
        percent(full)
    );
    let much = some > PRESSURE;
    section.judged(
        "pressure",
        text,
        much.then(|| format!("much is {}", percent(PRESSURE))),
    );
}

fn gpus(gpus: &Gpus) -> Section {
    let mut section = Section::new("GPUs");
    if !gpus.up {
        section.line(
            "",
            or_absent(gpus.reason.as_ref(), |reason| printable(reason)),
        );
    }
    for device in &gpus.devices {
        let used = or_absent(device.utilization.sm, percent);
        let memory = or_absent(device.memory_used_bytes, bytes);
        let total = or_absent(device.memory_total_bytes, bytes);
        let text = format!("{used} in use, {memory} of {total}");
        section.line(format!("GPU {}", device.gpu), text);
    }
    section
}

fn agent(report: &Report, living: &[&Session]) -> Section {
    let mut section = Section::new("Sessions and agent");
    let mut phases: Vec<(&str, usize)> = Vec::new();
    for phase in living.iter().filter_map(|session| session.phase.as_deref()) {
        match phases.iter_mut().find(|(name, _)| *name == phase) {
            Some((_, many)) => *many += 1,
            None => phases.push((phase, 1)),
        }
    }
    let phases = phases.iter().map(|(name, many)| format!("{many} {name}"));
    let phases = phases.collect::<Vec<_>>().join(", ");
    section.line(
        "sessions",
        if phases.is_empty() {
            "none".to_owned()
        } else {
            phases
        },
    );
    let Some(agent) = &report.agent else {
        return section;
    };
    if agent.sessions_overflowed > 0 {
        let text = format!("{} did not fit", count(agent.sessions_overflowed));
        let advice = "raise sessions.max_sessions: what did not fit is not measured";
        section.judged("", text, Some(advice.to_owned()));
    }
    let off = agent.programs.iter().filter(|program| !program.up);
    let off: Vec<String> = off.map(|program| program.name.clone()).collect();
    let text = if off.is_empty() {
        "none".to_owned()
    } else {
        off.join(", ")
    };
    section.line("programs off", text);
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MemoryBytes, NodePressure};

    fn session(name: &str, cpu_ratio: f64, causes: &[&str]) -> Session {
        let finding = |cause: &&str| Finding {
            cause: (*cause).to_owned(),
            window: "minute".to_owned(),
            said: format!("it is {cause}"),
            advice: "Do something.".to_owned(),
            ..Finding::default()
        };
        Session {
            session: name.to_owned(),
            phase: Some("Running".to_owned()),
            cpu_ratio: Some(cpu_ratio),
            memory_bytes: Some(MemoryBytes {
                current: 1 << 30,
                ..MemoryBytes::default()
            }),
            findings: Some(causes.iter().map(finding).collect()),
            ..Session::default()
        }
    }

    #[test]
    fn causes_are_counted_over_the_sessions_and_who_has_most_is_named() {
        let report = Report {
            node: Some(Node {
                cpus: 2,
                memory_total_bytes: Some(8 << 30),
                memory_available_bytes: None,
                pressure: NodePressure {
                    memory_some: Some(0.3),
                    memory_full: Some(0.1),
                    ..NodePressure::default()
                },
            }),
            sessions: vec![
                session("quiet", 0.1, &[]),
                session("desk", 0.5, &["b", "a"]),
                session("hog", 1.25, &["a"]),
            ],
            ..Report::default()
        };
        let page = page(&report);
        let page = anstream::adapter::strip_str(&page).to_string();
        for said in [
            "2 of 3            it is a: desk, hog\n",
            "1 of 3            it is b: desk\n",
            "1.85 of 2 by sessions",
            "most by           hog 1.25, desk 0.50, quiet 0.10",
            "available         - of 8 GiB",
            "30 % of the last minute a thread waited, 10 % all of them",
            "much is 20 %",
            "pressure          not known",
            "3 Running",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(page.find("it is a") < page.find("it is b"), "{page}");
        let calm = super::page(&Report::default());
        assert!(calm.contains("nothing: no figure"), "{calm}");
    }
}
