//! A container as Docker's API describes it, as a session.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;

use super::{
    super::names::{self, Labels},
    api::Engine,
};
use crate::discover::platform::{EndReason, Facts, Named, PlatformPhase};

/// Written by Compose of either engine.
const PROJECT: &str = "com.docker.compose.project";
/// On containers that a kubelet had Docker make: they are parts of pods.
const POD: &str = "io.kubernetes.pod.uid";
/// On the desktops of Kasm Workspaces: the id by which their users and operators know them.
const KASM: &str = "kasm.kasmid";
/// The detail with the status of the first process.
const EXIT_CODE: &str = "exit code";
/// A shell's and a runtime's way to say that a signal ended the process: the number is above this.
const SIGNALLED: i64 = 128;
/// The highest number of a signal.
const SIGNALS: i64 = 64;

/// The answer to a container's id, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Container {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(default, rename = "Created")]
    created: String,
    /// The id of its image.
    #[serde(default, rename = "Image")]
    image: String,
    #[serde(rename = "State")]
    state: State,
    #[serde(rename = "Config")]
    config: Config,
}

#[derive(Clone, Debug, Deserialize)]
struct State {
    #[serde(rename = "Status")]
    status: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default, rename = "ExitCode")]
    exit_code: i64,
    #[serde(default, rename = "StartedAt")]
    started_at: String,
    #[serde(default, rename = "Health")]
    health: Option<Health>,
}

#[derive(Clone, Debug, Deserialize)]
struct Health {
    #[serde(default, rename = "Status")]
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Config {
    /// The image as whoever made the container wrote it.
    #[serde(default, rename = "Image")]
    image: String,
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// What its events have told of a container since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Somebody wanted it to end.
    pub(super) asked: Asked,
    /// A process of it was killed for memory.
    pub(super) oom: bool,
    /// The status with which its first process ended.
    pub(super) code: Option<i64>,
}

/// Whether somebody wanted a container to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// No.
    #[default]
    No,
    /// A signal was sent, and Podman does not say which.
    Perhaps,
    /// Yes.
    Yes,
}

impl Asked {
    /// By the signal of an event `kill`. What a stop sends otherwise, as systemd wants it, the event `stop`
    /// makes up for.
    pub(super) fn by_signal(signal: Option<&str>) -> Self {
        match signal {
            None => Self::Perhaps,
            Some("2" | "3" | "9" | "15" | "SIGINT" | "SIGQUIT" | "SIGKILL" | "SIGTERM") => {
                Self::Yes
            }
            Some(_) => Self::No,
        }
    }
}

impl Heard {
    /// What follows of it without asking again.
    pub(super) fn apply(self, facts: &mut Facts) {
        if let Some(code) = self.code {
            facts.phase = Some(PlatformPhase::Terminating);
            facts.end = Some(self.end(code));
            facts.details.insert(EXIT_CODE, code.to_string());
        }
    }

    /// Why it ended with a status, once it has.
    pub(super) fn end(self, code: i64) -> EndReason {
        let signal = (SIGNALLED + 1..=SIGNALLED + SIGNALS).contains(&code);
        match self.asked {
            Asked::Yes => EndReason::Completed,
            Asked::Perhaps if signal => EndReason::Completed,
            // One of its processes was killed for memory, and it ended well all the same.
            _ if code == 0 => EndReason::Completed,
            _ if self.oom => EndReason::OomKilled,
            _ if signal => EndReason::Signal,
            _ => EndReason::Error,
        }
    }
}

impl Container {
    /// What is known of it; `None` for a part of a pod.
    pub(super) fn facts(&self, engine: Engine, heard: Heard) -> Option<Facts> {
        let nothing = BTreeMap::new();
        let labels = Labels {
            kind: "label",
            values: self.config.labels.as_ref().unwrap_or(&nothing),
        };
        if labels.get(POD).is_some() {
            return None;
        }
        let name = self.name.trim_start_matches('/');
        let from = match engine {
            Engine::Docker => "docker name",
            Engine::Podman => "podman name",
        };
        let heard = Heard {
            oom: heard.oom || self.state.oom_killed,
            ..heard
        };
        let own_name = Named::new(name, from);
        Some(Facts {
            is_session: !self.is_pause(),
            session: labels.session().or_else(|| own_name.clone()),
            unique: own_name.or_else(|| names::unique(&self.id)),
            namespace: labels.named(PROJECT),
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
            ("image", Some(self.config.image.clone())),
            ("health", health.map(str::to_owned)),
            (
                "state",
                (state.status == "paused").then(|| "paused".to_owned()),
            ),
            (EXIT_CODE, self.code(heard).map(|code| code.to_string())),
            ("kasm id", labels.get(KASM).map(str::to_owned)),
        ];
        let found = found
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        found.collect()
    }
}

#[cfg(test)]
mod tests;
