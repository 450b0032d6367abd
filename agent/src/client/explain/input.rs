//! What the user feels: how long input waits, and which applications do not take theirs.

use super::{
    super::{
        judge::{self, over},
        units::{bytes, count, or_absent, printable, time},
    },
    section::Section,
};
use crate::api::{self, Distribution, Session, UnresponsiveApplication};

pub(super) fn input(session: &Session) -> Section {
    let mut section = Section::new("Input");
    let Some(input) = &session.input else {
        section.line("delay", "not measured on this kernel (from Linux 6.3 on)");
        return section;
    };
    delay(
        &mut section,
        "at applications",
        input.application_delay,
        judge::INPUT_DELAY_P95,
    );
    delay(
        &mut section,
        "at the server",
        input.server_delay,
        judge::INPUT_DELAY_P95,
    );
    delay(
        &mut section,
        "response",
        input.response,
        judge::RESPONSE_P95,
    );
    if let Some(whole) = input.latency.whole {
        let api::Latency {
            round_trip,
            server,
            application,
            work,
            whole: _,
        } = input.latency;
        let stages = [
            ("to the client and back", round_trip),
            ("at the server", server),
            ("at applications", application),
            ("the work", work),
        ];
        let known = stages
            .iter()
            .filter_map(|(what, mean)| Some((what, (*mean)?)));
        let parts: Vec<_> = known
            .map(|(what, mean)| format!("{} {what}", time(mean)))
            .collect();
        let text = format!("{} on average: {}", time(whole), parts.join(", "));
        section.line("key to picture", text);
    }
    if input.unanswered > 0 {
        let text = format!(
            "{} inputs, after which nothing was sent for 2 s",
            count(input.unanswered)
        );
        section.line("unanswered", text);
    }
    for application in input.unresponsive.iter().flatten() {
        let warning = "its user clicks, and nothing happens".to_owned();
        section.judged("does not respond", unresponsive(application), Some(warning));
    }
    section
}

fn delay(section: &mut Section, what: &'static str, delay: Distribution, limit: f64) {
    if delay.count == 0 {
        return;
    }
    let text = format!(
        "p50 {}, p95 {}, p99 {}",
        or_absent(delay.p50, time),
        or_absent(delay.p95, time),
        or_absent(delay.p99, time)
    );
    let warning = over(delay.p95, limit, || {
        format!("p95 over {}: its user feels it", time(limit))
    });
    section.judged(what, text, warning);
}

fn unresponsive(application: &UnresponsiveApplication) -> String {
    let UnresponsiveApplication {
        pid,
        seconds,
        command,
        state,
        why,
        waits_in,
        swapped_bytes,
    } = application;
    let named = command.as_ref().map_or_else(
        || format!("pid {pid}"),
        |command| format!("{} (pid {pid})", printable(command)),
    );
    let mut parts = vec![format!("{named} for {}", time(*seconds))];
    parts.extend(why.clone());
    parts.extend(state.clone().filter(|state| Some(state) != why.as_ref()));
    parts.extend(waits_in.iter().map(|name| format!("waits in {name}")));
    let swapped = swapped_bytes.filter(|swapped| *swapped > 0);
    parts.extend(swapped.map(|swapped| format!("{} in swap", bytes(swapped))));
    parts.join(", ")
}
