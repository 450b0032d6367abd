//! Docker's API, which Podman has too: what containers there are, and what happens to them.
//!
//! Lists the containers that live, asks for each that is new or has changed, and follows the events; what was
//! missed is found at the next comparison. Containers that had ended before are nobody's session and are not
//! asked for, however many lie about.
//!
//! To follow the events keeps a Podman that systemd starts by its socket from ending when it is idle.

mod api;
mod container;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{interval_at, sleep},
};

use self::{
    api::{Api, Engine, Event, Failure},
    container::{Asked, Container, Heard},
};
use super::names;
use crate::{
    config::Watch,
    discover::{
        backoff::Backoff,
        platform::{Closed, ErrorType, Facts, Key, Outcome, Update},
        poll::{ABSENT, Listener},
    },
};

/// Between two comparisons while the events flow.
const COMPARE_EVERY: Duration = Duration::from_mins(1);
/// An engine that answers for less than this has not recovered.
const STEADY: Duration = Duration::from_secs(30);
/// Events that wait to be looked at.
const QUEUE: usize = 64;
/// Containers that live: states that both engines know. One between two restarts has none of them, and is asked
/// for because it was known.
const LIST: [&str; 3] = ["created", "running", "paused"];
/// Events that are looked at: as Docker calls them, and as Podman does.
const EVENTS: [&str; 13] = [
    "create",
    "start",
    "pause",
    "unpause",
    "rename",
    "health_status",
    "kill",
    "oom",
    "die",
    "died",
    "stop",
    "destroy",
    "remove",
];

/// Tells of an engine's containers until nobody listens any more.
pub(super) async fn run(
    socket: PathBuf,
    watch: Watch,
    listener: &impl Listener,
) -> Result<(), Closed> {
    let mut runtime = Runtime {
        api: Api::new(socket),
        listener,
        known: BTreeMap::new(),
        refused: BTreeSet::new(),
        was_up: false,
    };
    let mut backoff = Backoff::new();
    let mut said = None;
    loop {
        let began = Instant::now();
        let End { failure, compared } = runtime.follow().await?;
        let steady = compared && began.elapsed() >= STEADY;
        if steady {
            backoff = Backoff::new();
        }
        // That an engine is not on this node is no failure.
        let expected = failure.absent && watch == Watch::Auto && !runtime.was_up;
        if !compared && !expected {
            let reconciled = Update::Reconciled {
                took: began.elapsed(),
                outcome: Outcome::Error(failure.kind),
            };
            listener.send(reconciled).await?;
        }
        if compared || said.as_ref() != Some(&failure.reason) {
            said = Some(failure.reason.clone());
            listener.send(Update::Down(failure.reason)).await?;
        }
        sleep(if expected { ABSENT } else { backoff.pause() }).await;
    }
}

/// Why an engine is not followed any more.
struct End {
    failure: Failure,
    /// It has answered before.
    compared: bool,
}

/// Why something stops.
enum Stop {
    Failed(Failure),
    Closed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// An engine and what it has said.
struct Runtime<'a, L> {
    api: Api,
    listener: &'a L,
    known: BTreeMap<String, Known>,
    /// Containers whose description makes no sense, of which the log has been told.
    refused: BTreeSet<String>,
    /// It has answered once.
    was_up: bool,
}

/// A container.
struct Known {
    /// As the list had it when it was asked for.
    listed: Option<Listed>,
    heard: Heard,
    /// `None` for a part of a pod.
    facts: Option<Facts>,
}

/// A container of the list, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
    #[serde(default, rename = "Names")]
    names: Option<Vec<String>>,
    #[serde(default, rename = "State")]
    state: String,
}

impl<L: Listener> Runtime<'_, L> {
    /// Until it fails.
    async fn follow(&mut self) -> Result<End, Closed> {
        let mut compared = false;
        match self.try_follow(&mut compared).await {
            Ok(()) | Err(Stop::Closed) => Err(Closed),
            Err(Stop::Failed(failure)) => Ok(End { failure, compared }),
        }
    }

    async fn try_follow(&mut self, compared: &mut bool) -> Result<(), Stop> {
        // Events are asked for from here on, so that none is missed between them and the list; and not waited
        // for, because Podman answers only when there is one.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default().as_secs();
        self.compare(true, compared).await?;
        let (sender, mut events) = mpsc::channel(QUEUE);
        let mut stream = JoinSet::new();
        stream.spawn(pump(self.api.clone(), since, sender));
        let start = tokio::time::Instant::now() + COMPARE_EVERY;
        let mut again = interval_at(start, COMPARE_EVERY);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event?).await?,
                    // It sends why it ends, so it does not get here.
                    None => return Err(Stop::Closed),
                },
                _ = again.tick() => self.compare(false, &mut true).await?,
            }
        }
    }

    /// Compares what it has with what is known; `anew` asks also for those that have ended.
    async fn compare(&mut self, anew: bool, compared: &mut bool) -> Result<(), Stop> {
        let began = Instant::now();
        let listed = match self.list_and_ask(anew).await {
            Ok(()) => Outcome::Success,
            // Who calls tells of the first.
            Err(failure) if !*compared => return Err(failure.into()),
            Err(failure) => {
                let outcome = Outcome::Error(failure.kind);
                let took = began.elapsed();
                let reconciled = Update::Reconciled { took, outcome };
                self.listener.send(reconciled).await?;
                return Err(failure.into());
            }
        };
        if !*compared {
            (*compared, self.was_up) = (true, true);
            self.listener.send(Update::Up).await?;
        }
        let facts = self
            .known
            .iter()
            .filter_map(|(id, known)| Some((Key::Container(id.clone()), known.facts.clone()?)));
        self.listener.send(Update::All(facts.collect())).await?;
        let reconciled = Update::Reconciled {
            took: began.elapsed(),
            outcome: listed,
        };
        Ok(self.listener.send(reconciled).await?)
    }

    async fn list_and_ask(&mut self, anew: bool) -> Result<(), Failure> {
        let filters = filters(&[("status", &LIST)]);
        let path = format!("/containers/json?filters={filters}");
        let (_, listed): (Engine, Vec<Value>) = self.api.get(&path).await?;
        let mut present = BTreeSet::new();
        for one in listed {
            match Listed::deserialize(&one) {
                Ok(listed) if names::is_id(&listed.id) => {
                    present.insert(listed.id.clone());
                    let known = self.known.get(&listed.id);
                    if known.is_none_or(|known| known.listed.as_ref() != Some(&listed)) {
                        let id = listed.id.clone();
                        self.ask(&id, Some(listed), None).await?;
                    }
                }
                Ok(listed) => self.refuse(&listed.id, "its id is none"),
                Err(error) => self.refuse("of the list", error),
            }
        }
        let gone = |(id, known): (&String, &Known)| {
            let over = known.facts.as_ref().is_none_or(|facts| facts.end.is_some());
            (!present.contains(id) && (anew || !over)).then(|| id.clone())
        };
        let gone: Vec<String> = self.known.iter().filter_map(gone).collect();
        for id in gone {
            if !self.ask(&id, None, None).await? {
                self.known.remove(&id);
            }
        }
        Ok(())
    }

    /// Asks for a container, and whether there is one. `code` is the status with which it has just ended.
    async fn ask(
        &mut self,
        id: &str,
        listed: Option<Listed>,
        code: Option<i64>,
    ) -> Result<bool, Failure> {
        let answer = self.api.get(&format!("/containers/{id}/json")).await;
        let (engine, container): (Engine, Container) = match answer {
            Ok(answer) => answer,
            Err(failure) if failure.kind == ErrorType::NotFound && !failure.absent => {
                return Ok(false);
            }
            Err(failure) if failure.kind == ErrorType::Validation => {
                self.refuse(id, failure);
                return Ok(true);
            }
            Err(failure) => return Err(failure),
        };
        let before = self.known.get(id);
        let mut heard = before.map(|known| known.heard).unwrap_or_default();
        if listed.is_some() && heard.code.is_some() {
            // It was started again, unheard.
            heard = Heard::default();
        }
        heard.code = code.or(heard.code);
        let mut facts = container.facts(engine, heard);
        // While it is removed it does not say how it ended.
        if let (Some(now), Some(before)) = (&mut facts, before.and_then(|it| it.facts.as_ref()))
            && now.phase == before.phase
        {
            now.end = now.end.or(before.end);
        }
        let known = Known {
            listed,
            heard,
            facts,
        };
        self.known.insert(id.to_owned(), known);
        Ok(true)
    }

    /// Costs the container, and not the others.
    fn refuse(&mut self, id: &str, reason: impl std::fmt::Display) {
        if self.refused.insert(id.to_owned()) {
            tracing::warn!(
                socket = %self.api.socket().display(),
                container = id,
                %reason,
                "a container keeps the name of its cgroup: see what the engine's inspect says of it"
            );
        }
    }

    /// Takes an event.
    async fn take(&mut self, event: Event) -> Result<(), Stop> {
        let Event { action, actor } = event;
        let id = actor.id;
        if !names::is_id(&id) {
            return Ok(());
        }
        let attribute = |name: &str| actor.attributes.get(name).map(String::as_str);
        // Some have more to say behind a colon.
        let action = action.split(':').next().unwrap_or_default();
        let before = self.known.get(&id).and_then(|known| known.facts.clone());
        match action {
            "destroy" | "remove" => {
                let known = self.known.remove(&id);
                if known.is_some_and(|known| known.facts.is_some()) {
                    self.listener.send(Update::Gone(Key::Container(id))).await?;
                }
                return Ok(());
            }
            "kill" => self.hear(&id, |heard| {
                heard.asked = heard.asked.max(Asked::by_signal(attribute("signal")));
            }),
            // Docker tells of it when the container has ended.
            "stop" => self.hear(&id, |heard| heard.asked = Asked::Yes),
            "oom" => self.hear(&id, |heard| heard.oom = true),
            "die" | "died" => {
                let code = attribute("exitCode").or_else(|| attribute("containerExitCode"));
                let code = code.and_then(|code| code.parse().ok()).unwrap_or(0);
                // One that removes itself may be gone already.
                if !self.ask(&id, None, Some(code)).await? {
                    self.hear(&id, |heard| heard.code = Some(code));
                }
            }
            "start" => {
                if let Some(known) = self.known.get_mut(&id) {
                    known.heard = Heard::default();
                }
                self.ask(&id, None, None).await?;
            }
            "create" | "pause" | "unpause" | "rename" | "health_status" => {
                self.ask(&id, None, None).await?;
            }
            _ => return Ok(()),
        }
        let now = self.known.get(&id).and_then(|known| known.facts.as_ref());
        if let Some(now) = now
            && before.as_ref() != Some(now)
        {
            let changed = Update::Changed(Key::Container(id), now.clone());
            self.listener.send(changed).await?;
        }
        Ok(())
    }

    /// Keeps what an event says, and what follows of it.
    fn hear(&mut self, id: &str, hear: impl FnOnce(&mut Heard)) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        hear(&mut known.heard);
        if let Some(facts) = &mut known.facts {
            known.heard.apply(facts);
        }
    }
}

/// Sends events until there are none, and then why.
async fn pump(api: Api, since: u64, sender: mpsc::Sender<Result<Event, Failure>>) {
    let filters = filters(&[("type", &["container"]), ("event", &EVENTS)]);
    let path = format!("/events?since={since}&filters={filters}");
    let end = async {
        let mut events = api.events(&path).await?;
        loop {
            let event = events.next().await?;
            if sender.send(Ok(event)).await.is_err() {
                return Ok::<(), Failure>(());
            }
        }
    };
    if let Err(failure) = end.await {
        // Nobody may listen any more.
        let _closed = sender.send(Err(failure)).await;
    }
}

/// Filters as a query has them: JSON, encoded.
fn filters(filters: &[(&str, &[&str])]) -> String {
    let json: serde_json::Map<String, Value> = filters
        .iter()
        .map(|(name, values)| ((*name).to_owned(), Value::from(values.to_vec())))
        .collect();
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    Value::from(json).to_string().bytes().map(encode).collect()
}

#[cfg(test)]
mod tests;
