//! A container as Docker's API, Podman's own and their events describe it, as a session.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer};

use super::{
    super::names::{self, Labels},
    api::Engine,
    events::Event,
    heard::{Asked, Heard},
};
use crate::discover::{
    bounded::bounded,
    platform::{Facts, Named, PlatformPhase},
};

/// The detail with the status of the first process.
const EXIT_CODE: &str = "exit code";

/// The answer to a container's id, as far as it is looked at; or what an event says of it. It is kept, so nothing in
/// it is longer than a name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Container {
    #[serde(rename = "Id", deserialize_with = "text")]
    id: String,
    #[serde(rename = "Name", deserialize_with = "text")]
    name: String,
    #[serde(default, rename = "Created", deserialize_with = "text")]
    created: String,
    /// The id of its image.
    #[serde(default, rename = "Image", deserialize_with = "text")]
    image: String,
    #[serde(rename = "State")]
    state: State,
    #[serde(rename = "Config")]
    config: Config,
    /// Absent of one that only events have told of.
    #[serde(default, rename = "HostConfig")]
    host: Option<HostConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    #[serde(rename = "Status", deserialize_with = "text")]
    status: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    /// Somebody wanted it to end: Podman has this since 4.7, and sets it before it sends the signal. After
    /// `podman kill` it is set as well, whatever the signal was.
    #[serde(default, rename = "StoppedByUser")]
    stopped_by_user: bool,
    #[serde(default, rename = "ExitCode")]
    exit_code: i64,
    #[serde(default, rename = "StartedAt", deserialize_with = "text")]
    started_at: String,
    #[serde(default, rename = "Health")]
    health: Option<Health>,
}

#[derive(Clone, Debug, Deserialize)]
struct Health {
    #[serde(default, rename = "Status", deserialize_with = "text")]
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Config {
    /// The image as whoever made the container wrote it.
    #[serde(default, rename = "Image", deserialize_with = "image")]
    image: String,
    #[serde(default, rename = "Labels", deserialize_with = "labels")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct HostConfig {
    #[serde(default, rename = "AutoRemove")]
    removes_itself: bool,
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(bounded(&String::deserialize(from)?))
}

fn image<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(names::image(&String::deserialize(from)?))
}

fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let all: Option<BTreeMap<String, String>> = Option::deserialize(from)?;
    Ok(names::kept(&all.unwrap_or_default()))
}

impl Container {
    /// One of which no more is known than its id.
    pub(super) fn unknown(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..Self::default()
        }
    }

    /// Whether it is removed when it ends, or may be.
    pub(super) fn may_remove_itself(&self) -> bool {
        self.host.as_ref().is_none_or(|host| host.removes_itself)
    }

    /// Takes what an event tells, for one that cannot be asked any more.
    pub(super) fn take(&mut self, event: &Event) {
        if let Some(name) = event.attribute("name") {
            self.name = bounded(name);
        }
        if self.config.image.is_empty() {
            let image = event.attribute("image").unwrap_or_default();
            image.clone_into(&mut self.config.image);
            self.config.labels = event.labels();
        }
        let status = match event.kind() {
            "create" => "created",
            "start" => {
                // When this life of it began, the event does not say, nor anything of its end.
                self.created.clear();
                self.state = State::default();
                "running"
            }
            "unpause" => "running",
            "pause" => "paused",
            _ => return,
        };
        status.clone_into(&mut self.state.status);
    }

    /// What is known of it; `None` for a part of a pod.
    pub(super) fn facts(&self, engine: Engine, heard: Heard) -> Option<Facts> {
        let labels = Labels {
            kind: "label",
            values: &self.config.labels,
        };
        if labels.get(names::POD).is_some() {
            return None;
        }
        let name = self.name.trim_start_matches('/');
        let from = match engine {
            Engine::Docker => "docker name",
            Engine::Podman => "podman name",
        };
        let heard = Heard {
            oom: heard.oom || self.state.oom_killed,
            // Of a signal that was heard of it says nothing more.
            asked: match heard.asked {
                Asked::No if self.state.stopped_by_user => Asked::Yes,
                asked => asked,
            },
            ..heard
        };
        let own_name = Named::new(name, from);
        Some(Facts {
            is_session: !self.is_pause(),
            session: labels.session().or_else(|| own_name.clone()),
            unique: own_name.or_else(|| names::unique(&self.id)),
            namespace: labels.named(names::PROJECT),
            template: labels.template(self.image()),
            user: labels.user(),
            phase: self.phase(heard),
            created: self.began(),
            end: self.code(heard).map(|code| heard.end(code)),
            details: self.details(name, &labels, heard),
            ..Facts::default()
        })
    }

    /// When this life of it began: a container that is started again may have been made months ago.
    fn began(&self) -> Option<SystemTime> {
        let started = super::super::moment(&self.state.started_at);
        // Docker's word for never is the first day of the year 1.
        started
            .filter(|started| *started > UNIX_EPOCH)
            .or_else(|| super::super::moment(&self.created))
    }

    /// The image by its name; `None` where it was named by its id.
    fn image(&self) -> Option<&str> {
        let image = self.config.image.as_str();
        let id = self.image.trim_start_matches("sha256:");
        let by_id = image.len() >= 4 && id.starts_with(image);
        (!image.is_empty() && !by_id).then_some(image)
    }

    /// Podman's has no image where it uses a program of its own.
    fn is_pause(&self) -> bool {
        match self.image() {
            Some(image) => names::is_pause(image),
            None => self.name.ends_with("-infra"),
        }
    }

    /// Its states are Docker's, and those of Podman that it passes on.
    fn phase(&self, heard: Heard) -> Option<PlatformPhase> {
        if heard.code.is_some() {
            return Some(PlatformPhase::Terminating);
        }
        let health = self.state.health.as_ref();
        match self.state.status.as_str() {
            "created" | "configured" => Some(PlatformPhase::Pending),
            "running" if health.is_some_and(|health| health.status == "starting") => {
                Some(PlatformPhase::Starting)
            }
            "initialized" | "restarting" => Some(PlatformPhase::Starting),
            "running" | "paused" => Some(PlatformPhase::Running),
            "removing" | "stopping" | "stopped" | "exited" | "dead" => {
                Some(PlatformPhase::Terminating)
            }
            _ => None,
        }
    }

    /// The status with which it ended, if it has. One that is about to be started again has too.
    fn code(&self, heard: Heard) -> Option<i64> {
        let ended = matches!(
            self.state.status.as_str(),
            "exited" | "stopped" | "dead" | "restarting"
        );
        heard.code.or(ended.then_some(self.state.exit_code))
    }

    fn details(
        &self,
        name: &str,
        labels: &Labels<'_>,
        heard: Heard,
    ) -> BTreeMap<&'static str, String> {
        let state = &self.state;
        let running = state.status == "running" && heard.code.is_none();
        let health = state.health.as_ref().map(|health| health.status.as_str());
        let health = health.filter(|status| running && !matches!(*status, "" | "none"));
        let found = [
            ("container", Some(name.to_owned())),
            ("image", Some(bounded(&self.config.image))),
            ("health", health.map(str::to_owned)),
            (
                "state",
                (state.status == "paused").then(|| "paused".to_owned()),
            ),
            (EXIT_CODE, self.code(heard).map(|code| code.to_string())),
            ("kasm id", labels.get(names::KASM).map(str::to_owned)),
        ];
        let found = found
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        found.collect()
    }
}

/// What an engine answers is an error or in proportion.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(answer: &[u8], code: Option<i64>) {
    let Ok(container) = serde_json::from_slice::<Container>(answer) else {
        return;
    };
    for engine in [Engine::Docker, Engine::Podman] {
        for code in [None, code] {
            let heard = Heard {
                code,
                ..Heard::default()
            };
            let facts = container.facts(engine, heard);
            let is = crate::fuzz::in_proportion(&facts, answer.len());
            assert!(is, "{facts:?}");
        }
    }
}

#[cfg(test)]
mod tests;
