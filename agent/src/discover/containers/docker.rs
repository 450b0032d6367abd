//! Docker's API, which Podman has too: what containers there are, and what happens to them.
//!
//! Lists the containers that live, asks for each that is new or has changed, and follows the events; what was
//! missed is found at the next comparison. Containers that had ended before are nobody's session and are not
//! asked for, however many lie about.
//!
//! An answer that is of no use is about the container that was asked for: it may be gone, or being removed, and is
//! then what its events say of it. Only where no answer comes is the engine away.
//!
//! To follow the events keeps a Podman that systemd starts by its socket from ending when it is idle.

mod api;
pub(crate) mod container;
mod events;
mod heard;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, de::IgnoredAny};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{interval_at, sleep},
};

use self::{
    api::{Api, Engine, Failure, LONGEST, LONGEST_LIST, filters},
    container::Container,
    events::{Event, Said, instant, past, pump},
    heard::{Asked, Heard},
};
use super::names;
use crate::{
    discover::settings::Watch,
    discover::{
        bounded::bounded,
        peer::{self, Peer, Setback},
        platform::{Closed, ErrorType, Facts, Key, Outcome, PlatformPhase, Update},
        poll::Listener,
    },
    telemetry::log_event,
};

/// Between two comparisons while the events flow.
const COMPARE_EVERY: Duration = Duration::from_mins(1);
/// Until the second comparison: an engine that has just started may have told of a change neither in its list nor in its
/// events (Docker 26.1, of a rename).
const COMPARE_AGAIN: Duration = Duration::from_secs(5);
/// An engine that answers for less than this has not recovered.
const STEADY: Duration = Duration::from_secs(30);
/// Events that wait to be looked at.
const QUEUE: usize = 64;
/// Removed containers that are remembered. Docker tells that one was stopped when it has waited for its end, and one
/// that removes itself may be gone before.
const REMOVED_KEPT: usize = 256;
/// What Podman says of a container that it is removing (`ErrCtrRemoved`, `libpod/define/errors.go`), with the
/// status 500.
const REMOVED: &str = "container has already been removed";
/// Containers that live: states that both engines know. One between two restarts has none of them, and is asked
/// for because it was known.
const LIST: [&str; 3] = ["created", "running", "paused"];

/// Tells of an engine's containers until nobody listens any more.
pub(super) async fn run(
    socket: PathBuf,
    watch: Watch,
    listener: &impl Listener,
) -> Result<(), Closed> {
    let mut runtime = Runtime {
        api: Api::new(socket),
        engine: Engine::Docker,
        listener,
        known: BTreeMap::new(),
        removed: VecDeque::new(),
        refused: BTreeSet::new(),
        peer: Peer::here(watch),
        followed_until: None,
        missed: Vec::new(),
    };
    loop {
        let began = Instant::now();
        let End { failure, compared } = runtime.follow().await?;
        if compared && began.elapsed() >= STEADY {
            runtime.peer.is_steady();
        }
        let failure = peer::Failure {
            absent: failure.absent,
            ..peer::Failure::new(failure.kind, failure.reason)
        };
        let took = (!compared).then(|| began.elapsed());
        let Setback { updates, wait } = runtime.peer.failed(failure, took);
        for update in updates {
            listener.send(update).await?;
        }
        sleep(wait).await;
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
    /// Who has answered last.
    engine: Engine,
    listener: &'a L,
    known: BTreeMap<String, Known>,
    /// The last ids that were removed, at most [`REMOVED_KEPT`]: an event that comes late brings none back.
    removed: VecDeque<String>,
    /// Containers whose description makes no sense, of which the log has been told.
    refused: BTreeSet<String>,
    peer: Peer,
    /// Up to when the events have been taken, by the engine's clock, which is the agent's; `None` before they have been
    /// followed.
    followed_until: Option<SystemTime>,
    /// How those ended that were removed while nobody followed, until it is told.
    missed: Vec<Update>,
}

/// A container.
struct Known {
    /// As the list had it when it was asked for.
    listed: Option<Listed>,
    heard: Heard,
    /// As it was described last.
    container: Container,
    /// What that makes of it; `None` for a part of a pod.
    facts: Option<Facts>,
    /// The last comparison did not have it.
    is_missing: bool,
}

/// A member of the list. Its labels, which may be long, are gone before the next is read.
#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Container(Listed),
    Other(IgnoredAny),
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

/// What came of a question for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is described.
    Described,
    /// There is none, or it is being removed.
    Absent,
    /// It is not described, or of no use is how.
    Refused,
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
        let began = SystemTime::now();
        self.compare(true, compared).await?;
        let since = *self.followed_until.get_or_insert(began);
        let since = match self.engine {
            Engine::Docker => instant(since),
            // It knows seconds. What happened while nobody followed is told again.
            Engine::Podman => seconds(since).to_string(),
        };
        let (sender, mut events) = mpsc::channel(QUEUE);
        let mut stream = JoinSet::new();
        stream.spawn(pump(self.api.clone(), since, sender));
        let start = tokio::time::Instant::now() + COMPARE_AGAIN;
        let mut again = interval_at(start, COMPARE_EVERY);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(said) => match said? {
                        Said::Event(event) => self.take(&event).await?,
                        Said::TooLong => {
                            self.refuse("of an event", "it is longer than 4 MiB: shorten the labels");
                            self.compare(false, &mut true).await?;
                        }
                    },
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
                // One container that is being removed makes Podman refuse the whole list. The events go on.
                return if failure.answered {
                    Ok(())
                } else {
                    Err(failure.into())
                };
            }
        };
        if !*compared {
            *compared = true;
            if let Some(up) = self.peer.up() {
                self.listener.send(up).await?;
            }
        }
        for update in std::mem::take(&mut self.missed) {
            self.listener.send(update).await?;
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

    /// Brings what is known up to date.
    async fn list_and_ask(&mut self, anew: bool) -> Result<(), Failure> {
        let filters = filters(&[("status", &LIST)]);
        let path = format!("/containers/json?filters={filters}");
        let (engine, listed): (Engine, Vec<Member>) = self.api.get(&path, LONGEST_LIST).await?;
        self.engine = engine;
        let mut present = BTreeSet::new();
        for one in listed {
            match one {
                Member::Container(mut listed) if names::is_id(&listed.id) => {
                    // They are kept.
                    for name in listed.names.iter_mut().flatten() {
                        *name = bounded(name);
                    }
                    present.insert(listed.id.clone());
                    let known = self.known.get(&listed.id);
                    if known.is_none_or(|known| known.listed.as_ref() != Some(&listed)) {
                        let id = listed.id.clone();
                        self.ask(&id, Some(listed), None).await?;
                    }
                }
                Member::Container(listed) => self.refuse(&listed.id, "its id is none"),
                Member::Other(_) => self.refuse("of the list", "it has no id"),
            }
        }
        let missing = |(id, known): (&String, &mut Known)| {
            let over = known.facts.as_ref().is_none_or(|facts| facts.end.is_some());
            let was_missing = std::mem::replace(&mut known.is_missing, !present.contains(id));
            // Of one that has just ended the events tell first, and more: whether somebody stopped it.
            let ask = known.is_missing && (anew || !over && was_missing);
            ask.then(|| id.clone())
        };
        let missing: Vec<String> = self.known.iter_mut().filter_map(missing).collect();
        for id in missing {
            if self.ask(&id, None, None).await? == Answer::Absent {
                self.known.remove(&id);
            }
        }
        if anew { self.catch_up().await } else { Ok(()) }
    }

    /// Takes what has happened while nobody followed the events, before anything is told of the list: a session of
    /// which its platform says that it is over is counted at once, and Docker's descriptions do not say that
    /// somebody stopped the container. Podman's do.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let (Engine::Docker, Some(since)) = (self.engine, self.followed_until) else {
            return Ok(());
        };
        let until = SystemTime::now();
        // The clock may have been set back.
        let since = instant(since.min(until));
        let events = match past(&self.api, &since, &instant(until)).await {
            Err(failure) if failure.answered => {
                log_event!(PlatformDetail, source = "containers", what = "events of before", reason = %failure);
                Vec::new()
            }
            events => events?,
        };
        for event in events {
            self.replay(&event).await?;
        }
        self.followed_until = Some(until);
        Ok(())
    }

    /// Takes an event of before the list was made, which has what those are like that it lists.
    async fn replay(&mut self, event: &Event) -> Result<(), Failure> {
        let id = event.id();
        let before = self.known.get(id).and_then(|known| known.facts.clone());
        let phase = before.as_ref().and_then(|facts| facts.phase);
        let lives = phase.is_some_and(|phase| phase != PlatformPhase::Terminating);
        let is_known = self.known.contains_key(id);
        match event.kind() {
            // It began another life since.
            "start" => self.hear(id, |heard| *heard = Heard::default()),
            "die" if lives => {}
            "die" if is_known => {
                let code = event.exit_code();
                self.hear(id, |heard| heard.code = code.or(heard.code));
            }
            "die" | "kill" | "stop" | "oom" | "destroy" => {
                if let Some(gone @ Update::Gone(_)) = self.apply(event).await? {
                    let key = Key::Container(id.to_owned());
                    let last = before.map(|facts| Update::Changed(key, facts));
                    self.missed.extend(last.into_iter().chain([gone]));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks for a container. `code` is the status with which it has just ended.
    async fn ask(
        &mut self,
        id: &str,
        listed: Option<Listed>,
        code: Option<i64>,
    ) -> Result<Answer, Failure> {
        let path = match self.engine {
            Engine::Docker => format!("/containers/{id}/json"),
            // Its own API says more, in the same words. Every Podman since 4 has this version of it.
            Engine::Podman => format!("/v4.0.0/libpod/containers/{id}/json"),
        };
        let container: Container = match self.api.get(&path, LONGEST).await {
            Ok((engine, container)) => {
                self.engine = engine;
                container
            }
            Err(failure) if failure.answered => {
                return Ok(match failure.kind {
                    ErrorType::NotFound => Answer::Absent,
                    _ if failure.reason.contains(REMOVED) => Answer::Absent,
                    ErrorType::Validation => {
                        self.refuse(id, failure);
                        Answer::Refused
                    }
                    _ => {
                        log_event!(PlatformDetail, source = "containers", what = "a container", reason = %failure);
                        Answer::Refused
                    }
                });
            }
            // Somebody else may do something with it that takes long, while all others are well.
            Err(failure) if failure.kind == ErrorType::Timeout => {
                self.api.ping().await?;
                self.refuse(id, failure);
                return Ok(Answer::Refused);
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
        self.know(id, listed, heard, container);
        Ok(Answer::Described)
    }

    /// Keeps what is known of a container now.
    fn know(&mut self, id: &str, listed: Option<Listed>, heard: Heard, container: Container) {
        let mut facts = container.facts(self.engine, heard);
        let before = self.known.get(id).and_then(|known| known.facts.as_ref());
        // While it is removed it does not say how it ended.
        if let (Some(now), Some(before)) = (&mut facts, before)
            && now.phase == before.phase
        {
            now.end = now.end.or(before.end);
        }
        let was_missing = self.known.get(id).is_some_and(|known| known.is_missing);
        let known = Known {
            is_missing: was_missing && listed.is_none(),
            listed,
            heard,
            container,
            facts,
        };
        self.known.insert(id.to_owned(), known);
    }

    /// Asks for a container to which something has happened. One that is not described is what the event says
    /// of it.
    async fn ask_after(&mut self, event: &Event, code: Option<i64>) -> Result<Answer, Failure> {
        let id = event.id();
        let answer = self.ask(id, None, code).await?;
        if answer != Answer::Described {
            let known = self.known.get(id);
            let mut container =
                known.map_or_else(|| Container::unknown(id), |known| known.container.clone());
            let mut heard = known.map(|known| known.heard).unwrap_or_default();
            heard.code = code.or(heard.code);
            container.take(event);
            self.know(id, None, heard, container);
        }
        Ok(answer)
    }

    /// Its first process has ended.
    async fn died(&mut self, event: &Event) -> Result<(), Failure> {
        let answer = self.ask_after(event, event.exit_code()).await?;
        // Of a removal by force Docker tells before it ends the container; Podman does not, and nobody else removes
        // one so soon but itself.
        if answer == Answer::Absent && self.engine == Engine::Podman {
            let known = self.known.get(event.id());
            let by_itself = known.is_none_or(|known| known.container.may_remove_itself());
            let asked = if by_itself {
                Asked::Perhaps
            } else {
                Asked::Yes
            };
            self.hear(event.id(), |heard| heard.asked = heard.asked.max(asked));
        }
        Ok(())
    }

    /// Costs the container, and not the others.
    fn refuse(&mut self, id: &str, reason: impl std::fmt::Display) {
        if self.refused.insert(id.to_owned()) {
            log_event!(
                DescriptionRefused,
                source = "containers",
                file = %self.api.socket().display(),
                container = id,
                %reason,
                remedy = "see what the engine's inspect says of it"
            );
        }
    }

    /// Takes an event, and tells what it changes.
    async fn take(&mut self, event: &Event) -> Result<(), Stop> {
        let update = self.apply(event).await?;
        let until = event.time().map(|time| time + Duration::from_nanos(1));
        self.followed_until = until.max(self.followed_until);
        if let Some(update) = update {
            self.listener.send(update).await?;
        }
        Ok(())
    }

    /// What an event changes.
    async fn apply(&mut self, event: &Event) -> Result<Option<Update>, Failure> {
        let id = event.id();
        if !names::is_id(id) || self.removed.iter().any(|removed| removed == id) {
            return Ok(None);
        }
        let before = self.known.get(id).and_then(|known| known.facts.clone());
        let is_new = !self.known.contains_key(id);
        match event.kind() {
            // What is heard of a container is kept with it.
            "kill" | "stop" | "oom" if is_new => {
                self.ask_after(event, None).await?;
            }
            _ => {}
        }
        match event.kind() {
            "destroy" | "remove" => {
                self.refused.remove(id);
                self.removed.push_back(id.to_owned());
                if self.removed.len() > REMOVED_KEPT {
                    self.removed.pop_front();
                }
                let known = self.known.remove(id);
                let was_told = known.is_some_and(|known| known.facts.is_some());
                return Ok(was_told.then(|| Update::Gone(Key::Container(id.to_owned()))));
            }
            "kill" => {
                let asked = Asked::by_signal(event.attribute("signal"));
                self.hear(id, |heard| heard.asked = heard.asked.max(asked));
            }
            // Docker tells of it when the container has ended, and Podman seldom.
            "stop" => self.hear(id, |heard| heard.asked = Asked::Yes),
            "oom" => self.hear(id, |heard| heard.oom = true),
            "die" | "died" => self.died(event).await?,
            "start" => {
                if let Some(known) = self.known.get_mut(id) {
                    known.heard = Heard::default();
                }
                self.ask_after(event, None).await?;
            }
            "create" | "pause" | "unpause" | "rename" | "health_status" => {
                self.ask_after(event, None).await?;
            }
            _ => return Ok(None),
        }
        let now = self.known.get(id).and_then(|known| known.facts.clone());
        let changed = now.filter(|now| before.as_ref() != Some(now));
        Ok(changed.map(|now| Update::Changed(Key::Container(id.to_owned()), now)))
    }

    /// Keeps what an event says, and what follows of it.
    fn hear(&mut self, id: &str, hear: impl FnOnce(&mut Heard)) {
        if let Some(known) = self.known.get_mut(id) {
            hear(&mut known.heard);
            let (listed, heard) = (known.listed.clone(), known.heard);
            let container = known.container.clone();
            self.know(id, listed, heard, container);
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
