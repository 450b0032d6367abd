//! What an agent concludes of a session.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{agent::Agent, wait::patient};

/// Two steps of five seconds, one that had begun before, and a sample.
const SOON: Duration = Duration::from_secs(25);

/// What held a session back over its last minute, by name, the first one first.
pub fn causes(agent: &Agent, session: &str) -> Vec<String> {
    let session = agent.session(session).expect("the session is there");
    let findings = session["findings"]
        .as_array()
        .expect("a history is kept of it");
    let last = findings.iter().filter(|one| one["window"] == "minute");
    last.map(|one| one["cause"].as_str().expect("a name").to_owned())
        .collect()
}

/// Waits until a cause is the first one.
pub fn first_is(agent: &Agent, session: &str, cause: &str) {
    let end = Instant::now() + patient(SOON);
    let mut said = causes(agent, session);
    while said.first().is_none_or(|first| first != cause) && Instant::now() < end {
        thread::sleep(Duration::from_millis(200));
        said = causes(agent, session);
    }
    let first = said.first().map(String::as_str);
    assert_eq!(first, Some(cause), "{session}: {said:?}");
}
