//! One page on one session: who it is, how it started, and what the node did for it.

mod cpu;
mod findings;
mod gpu;
mod input;
mod life;
mod network;
mod node;
mod past;
mod section;
mod startup;

use super::{
    judge::{FAINT, HEADING, styled},
    table::lived,
    units::printable,
};
use crate::api::{Gpus, Session};
use section::Section;

pub(super) use node::page as page_of_node;
pub(super) use past::page as page_of_past;

/// The page, with colours; `now` in seconds since the epoch.
pub(super) fn page(session: &Session, gpus: &Gpus, now: f64) -> String {
    let life = lived(session, now);
    let mut sections = vec![
        findings::findings(session),
        life::identity(session),
        life::life(session, now),
        startup::startup(&session.startup_seconds),
    ];
    sections.extend(startup::logon(&session.logon_seconds));
    sections.extend([
        cpu::cpu(session, life),
        cpu::memory(session, life),
        network::network(session, now),
        input::input(session),
        cpu::disk(session, life),
    ]);
    sections.extend(gpu::gpus(session, gpus));
    sections.push(life::processes(session, now));
    let name = printable(&session.session);
    let title = styled(&format!("SESSION {name}"), HEADING);
    let sections = sections.iter().map(Section::render);
    let history = history(session);
    format!("{title}\n{}\n{history}\n", sections.collect::<String>())
}

/// Where there is more.
fn history(session: &Session) -> String {
    let selector = format!(
        "vdi_session_runqueue_wait_seconds_bucket{{session={:?},namespace={:?}}}",
        session.session, session.namespace
    );
    let text = format!(
        "Counters and quantiles are since the agent adopted the session, unless the line names a time. The agent \
         has a day of them (GET /api/v1/sessions/{}/history), Prometheus as much as it keeps:\n  \
         histogram_quantile(0.99, sum by (le) (rate({selector}[1h])))",
        session.id
    );
    styled(&text, FAINT)
}

#[cfg(test)]
mod tests;
