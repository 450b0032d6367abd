//! The stream of what happens to an engine's containers.

use crate::telemetry::log_event;
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::{Deserialize, Deserializer};
use tokio::{sync::mpsc, time::timeout};

use super::{
    super::names,
    api::{Api, Failure, LONGEST, PATIENCE, filters},
};
use crate::discover::platform::ErrorType;

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
/// What is kept of an event's attributes, besides the labels that are looked at.
const ATTRIBUTES: [&str; 5] = ["name", "image", "exitCode", "containerExitCode", "signal"];

/// What the stream says next.
#[derive(Debug)]
pub(super) enum Said {
    /// What happened.
    Event(Event),
    /// Something that is too long to be read: a comparison finds what it was.
    TooLong,
}

/// Something that happened to a container.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    /// What: `die`, `health_status: healthy`, …
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    /// When, in nanoseconds since the epoch; 0 from an engine that does not say.
    #[serde(default, rename = "timeNano")]
    time_ns: u64,
}

/// A container of an event.
#[derive(Clone, Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    /// More of it: its labels, `exitCode`, `signal`.
    #[serde(default, rename = "Attributes", deserialize_with = "attributes")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// What happened, without what some have to say behind a colon.
    pub(super) fn kind(&self) -> &str {
        self.action.split(':').next().unwrap_or_default()
    }

    /// When it happened, as the engine says.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let since = Duration::from_nanos(self.time_ns);
        (self.time_ns > 0).then(|| SystemTime::UNIX_EPOCH + since)
    }

    /// The container's id.
    pub(super) fn id(&self) -> &str {
        &self.actor.id
    }

    /// What it says besides.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let value = self.actor.attributes.get(name)?.as_str();
        (!value.is_empty()).then_some(value)
    }

    /// The status with which the container's first process has ended.
    pub(super) fn exit_code(&self) -> Option<i64> {
        let code = self.attribute("exitCode");
        let code = code.or_else(|| self.attribute("containerExitCode"));
        code?.parse().ok()
    }

    /// The container's labels that are looked at.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        names::kept(&self.actor.attributes)
    }
}

/// An event waits in memory to be taken, and what its container's maker wrote may be long.
fn attributes<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let all: Option<BTreeMap<String, String>> = Option::deserialize(from)?;
    let all = all.unwrap_or_default();
    let mut kept = names::kept(&all);
    for name in ATTRIBUTES {
        if let Some(value) = all.get(name) {
            kept.insert(name.to_owned(), names::image(value));
        }
    }
    Ok(kept)
}

/// The stream of events.
struct Events<'a> {
    api: &'a Api,
    body: Incoming,
    read: Vec<u8>,
    /// How much of that has been looked at.
    seen: usize,
    /// The beginning of the line was too long and is gone.
    is_cut: bool,
}

impl<'a> Events<'a> {
    /// Those of a time: what a query has of `since` and `until`.
    async fn of(api: &'a Api, time: &str) -> Result<Self, Failure> {
        let filters = filters(&[("type", &["container"]), ("event", &EVENTS)]);
        let body = api
            .stream(&format!("/events?{time}&filters={filters}"))
            .await?;
        Ok(Self {
            api,
            body,
            read: Vec::new(),
            seen: 0,
            is_cut: false,
        })
    }
}

/// Sends events until there are none, and then why. They begin at a time, in seconds since the epoch.
pub(super) async fn pump(api: Api, since: String, sender: mpsc::Sender<Result<Said, Failure>>) {
    let end = async {
        let mut events = Events::of(&api, &format!("since={since}")).await?;
        while let Some(said) = events.next().await? {
            if sender.send(Ok(said)).await.is_err() {
                return Ok(());
            }
        }
        let reason = "the stream of events has ended";
        Err(api.failure(ErrorType::Unavailable, reason))
    };
    if let Err(failure) = end.await {
        // Nobody may listen any more.
        let _closed = sender.send(Err(failure)).await;
    }
}

/// What has happened between two times, the second of which has passed. Of Docker, which remembers 256 events and
/// answers at once (`daemon/events/events.go`, `loadBufferedEvents`).
pub(super) async fn past(api: &Api, since: &str, until: &str) -> Result<Vec<Event>, Failure> {
    let time = format!("since={since}&until={until}");
    let whole = async {
        let mut events = Events::of(api, &time).await?;
        let mut past = Vec::new();
        while let Some(said) = events.next().await? {
            if let Said::Event(event) = said {
                past.push(event);
            }
        }
        Ok(past)
    };
    let late = |_| {
        let reason = format!("what has happened is not told within {PATIENCE:?}: see if it hangs");
        Err(api.failure(ErrorType::Timeout, reason))
    };
    timeout(PATIENCE, whole).await.unwrap_or_else(late)
}

/// A time as a query has it: seconds since the epoch, to the nanosecond.
pub(super) fn instant(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

impl Events<'_> {
    /// The next event; `None` at their end.
    async fn next(&mut self) -> Result<Option<Said>, Failure> {
        loop {
            while let Some(line) = self.line() {
                if std::mem::take(&mut self.is_cut) {
                    return Ok(Some(Said::TooLong));
                }
                match serde_json::from_slice(&line) {
                    Ok(event) => return Ok(Some(Said::Event(event))),
                    // An empty line keeps the connection open. Of anything else the next comparison makes up.
                    Err(error) => log_event!(
                        PlatformDetail,
                        source = "containers",
                        what = "an event",
                        reason = %error
                    ),
                }
            }
            // It has all labels of its container, as the container's description has.
            if self.read.len() > LONGEST {
                self.read = Vec::new();
                self.seen = 0;
                self.is_cut = true;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.read.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(self.api.broken(&error)),
                None => return Ok(None),
            }
        }
    }

    /// The next whole line of what has been read.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.read[self.seen..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.seen = self.read.len();
            return None;
        };
        let line = self.read.drain(..=self.seen + end).collect();
        self.seen = 0;
        Some(line)
    }
}
