//! A pod as a session: its names, where it is in its life, and why it ended.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Settings,
    object::{Container, ContainerStatus, Pod, PodCondition, Terminated},
};
use crate::discover::{
    bounded::bounded,
    platform::{EndReason, Facts, Key, Named, PlatformPhase, PodStart, Start},
};

/// Says which container is the one that people mean.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// A static pod's cgroup is called by the hash of its file, and the API's copy of it has a uid of its own.
const MIRROR_OF: &str = "kubernetes.io/config.mirror";
/// A label or annotation with this value marks and does not name.
const MARK: &str = "true";
/// Reasons of a pod's failure that mean that the platform took its place for something else, or with it the
/// whole node (pkg/kubelet/eviction, pkg/kubelet/preemption, pkg/kubelet/nodeshutdown, Kubernetes 1.35).
const TAKEN: [&str; 7] = [
    "Evicted",
    "Preempting",
    "Preempted",
    "Shutdown",
    "NodeShutdown",
    "NodeLost",
    "Terminated",
];
/// The pod was given a time, and it is over: an end as it was meant.
const DEADLINE: &str = "DeadlineExceeded";
const OOM_KILLED: &str = "OOMKilled";
/// What the kubelet writes, with exit code 137, for a container of which it does not know how it ended, or that
/// never ran and is deleted (`TerminatePod`, `pkg/kubelet/status/status_manager.go`, 1.31).
const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// A shell's and a runtime's way to say that a signal ended the process: the number is above this.
const SIGNALLED: i32 = 128;
const SIGKILL: i32 = 9;
/// The highest number of a signal.
const SIGNALS: i32 = 64;

/// What joins the pod with its cgroup, and what is known of it; `None` for one without a uid.
pub(super) fn facts(pod: &Pod, settings: &Settings) -> Option<(Key, Facts)> {
    let view = View::of(pod);
    let annotation = |name: &str| view.annotations.get(name);
    let uid = annotation(MIRROR_OF).or(pod.metadata.uid.as_ref())?;
    let labels = view.labels;
    let sessions = &settings.sessions;
    let is_session = sessions.is_empty() || sessions.iter().any(|one| one.selects(labels));
    let name = pod.metadata.name.clone().unwrap_or_default();
    let own_name = Named::new(bounded(&name), "name of the pod");
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let facts = Facts {
        is_session,
        session: view.named(&settings.names).or_else(|| own_name.clone()),
        unique: own_name,
        namespace: Named::new(bounded(&namespace), "namespace of the pod"),
        template: view.named(&settings.templates).or_else(|| view.image()),
        user: view.named(&settings.users),
        phase: view.phase(),
        created: pod.metadata.creation_timestamp.as_ref().map(moment),
        scheduled: view.since("PodScheduled"),
        start: Some(Start::Pod(view.start())),
        idle_since: None,
        closing_ns: None,
        end: view.end(),
        gone: false,
        details: view.details(),
    };
    Some((Key::Pod(bounded(uid)), facts))
}

/// The same of one that is gone. Deleted as somebody wished, it has ended well, unless something else is known.
pub(super) fn facts_of_deleted(pod: &Pod, settings: &Settings) -> Option<(Key, Facts)> {
    let (key, mut facts) = facts(pod, settings)?;
    if View::of(pod).is_being_deleted() {
        facts.end = facts.end.or(Some(EndReason::Completed));
    }
    Some((key, facts))
}

fn moment(time: &Time) -> SystemTime {
    time.0.into()
}

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

/// A pod without its many options.
struct View<'p> {
    pod: &'p Pod,
    labels: &'p BTreeMap<String, String>,
    annotations: &'p BTreeMap<String, String>,
    phase: &'p str,
    reason: &'p str,
    conditions: &'p [PodCondition],
    /// Of the main container.
    main: Option<&'p ContainerStatus>,
}

impl<'p> View<'p> {
    fn of(pod: &'p Pod) -> Self {
        let labels = pod.metadata.labels.as_ref().unwrap_or(&NOTHING);
        let annotations = pod.metadata.annotations.as_ref().unwrap_or(&NOTHING);
        let status = pod.status.as_ref();
        let text = |field: Option<&'p String>| field.map_or("", String::as_str);
        let containers = containers(pod);
        let chosen = annotations.get(DEFAULT_CONTAINER);
        let main = chosen.or_else(|| containers.first().map(|container| &container.name));
        let statuses = status.and_then(|s| s.container_statuses.as_deref());
        Self {
            pod,
            labels,
            annotations,
            phase: text(status.and_then(|s| s.phase.as_ref())),
            reason: text(status.and_then(|s| s.reason.as_ref())),
            conditions: status
                .and_then(|s| s.conditions.as_deref())
                .unwrap_or_default(),
            main: statuses
                .unwrap_or_default()
                .iter()
                .find(|one| Some(&one.name) == main),
        }
    }

    fn condition(&self, kind: &str) -> Option<&'p PodCondition> {
        self.conditions.iter().find(|one| one.kind == kind)
    }

    /// Since when a condition is the case.
    fn since(&self, kind: &str) -> Option<SystemTime> {
        let is_so = self
            .condition(kind)
            .filter(|condition| condition.status == "True");
        is_so?.last_transition_time.as_ref().map(moment)
    }

    /// How it was started. Of a main container that has been started again nothing is said of its first start.
    fn start(&self) -> PodStart {
        let main = self.main.filter(|main| main.restarts() == 0);
        let state = main.and_then(|main| main.state.as_ref());
        let running = state.and_then(|state| state.running.as_ref()?.started_at.as_ref());
        let ended = state.and_then(|state| state.terminated.as_ref()?.started_at.as_ref());
        let id = main.and_then(|main| main.container_id.as_deref());
        let id = id.map(|id| id.rsplit('/').next().unwrap_or(id));
        PodStart {
            sandbox: self.since("PodReadyToStartContainers"),
            initialized: self.since("Initialized"),
            started: running.or(ended).map(moment),
            ready: main.and_then(|_| {
                self.since("Ready")
                    .or_else(|| self.since("ContainersReady"))
            }),
            container: id.filter(|id| !id.is_empty()).map(bounded),
        }
    }

    fn is_being_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// When its deletion was asked for: the time stamp is when its grace is over.
    fn deletion(&self) -> Option<SystemTime> {
        let metadata = &self.pod.metadata;
        let over = moment(metadata.deletion_timestamp.as_ref()?);
        let grace = metadata.deletion_grace_period_seconds.unwrap_or(0).max(0);
        over.checked_sub(Duration::from_secs(grace as u64))
    }

    /// The first of these annotations and labels that is there.
    fn named(&self, names: &[String]) -> Option<Named> {
        let value = |of: &BTreeMap<String, String>, kind: &str, name: &String| {
            let value = of.get(name).filter(|value| *value != MARK)?;
            Named::new(bounded(value), format!("{kind} {name}"))
        };
        names.iter().find_map(|name| {
            value(self.annotations, "annotation", name)
                .or_else(|| value(self.labels, "label", name))
        })
    }

    /// Name of the main container's image, without registry, tag and digest.
    fn image(&self) -> Option<Named> {
        let containers = containers(self.pod);
        let main = self.annotations.get(DEFAULT_CONTAINER);
        let chosen = containers.iter().find(|one| Some(&one.name) == main);
        let image = chosen.or(containers.first())?.image.as_ref()?;
        Named::new(bounded(short_image(image)), "image of the main container")
    }

    /// Scheduled but nothing started is Pending; then Starting until the main container has been ready once.
    fn phase(&self) -> Option<PlatformPhase> {
        if self.is_being_deleted() {
            return Some(PlatformPhase::Terminating);
        }
        match self.phase {
            "Pending" if self.any_started() => Some(PlatformPhase::Starting),
            "Pending" => Some(PlatformPhase::Pending),
            "Running" if self.is_starting() => Some(PlatformPhase::Starting),
            "Running" => Some(PlatformPhase::Running),
            "Succeeded" | "Failed" => Some(PlatformPhase::Terminating),
            _ => None,
        }
    }

    /// An init container, or another, has run.
    fn any_started(&self) -> bool {
        let Some(status) = &self.pod.status else {
            return false;
        };
        let all = [&status.init_container_statuses, &status.container_statuses];
        let mut all = all.into_iter().flatten().flatten();
        all.any(|one| {
            let state = one.state.as_ref();
            state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        })
    }

    /// The main container waits to be started, or has not been ready since its first start: the condition is
    /// then older than the container.
    fn is_starting(&self) -> bool {
        let Some(main) = self.main else { return false };
        let running = main.state.as_ref().and_then(|state| state.running.as_ref());
        let Some(running) = running else {
            return main.state.as_ref().is_some_and(|s| s.waiting.is_some());
        };
        if main.is_ready() || main.restarts() > 0 {
            return false;
        }
        let changed = self
            .condition("ContainersReady")
            .or(self.condition("Ready"));
        let changed = changed.and_then(|condition| condition.last_transition_time.as_ref());
        match (changed, &running.started_at) {
            (Some(changed), Some(started)) => changed.0 <= started.0,
            _ => true,
        }
    }

    /// Why it ended; `None` while it may go on.
    fn end(&self) -> Option<EndReason> {
        let disrupted = self
            .condition("DisruptionTarget")
            .is_some_and(|condition| condition.status == "True");
        if TAKEN.contains(&self.reason) || disrupted {
            return Some(EndReason::Evicted);
        }
        if self.reason == DEADLINE {
            return Some(EndReason::Completed);
        }
        let is_over = matches!(self.phase, "Succeeded" | "Failed") || self.is_being_deleted();
        let state = self.main.and_then(|main| main.state.as_ref());
        match state.and_then(|state| state.terminated.as_ref()) {
            Some(terminated) if is_over && terminated.reason.as_deref() != Some(STATUS_UNKNOWN) => {
                Some(self.end_of(terminated))
            }
            _ if self.phase == "Succeeded" => Some(EndReason::Completed),
            // The kubelet calls it so before it lets it go; nothing has failed.
            _ if self.is_being_deleted() => None,
            Some(_) if self.phase == "Failed" => Some(EndReason::Unknown),
            _ if self.phase == "Failed" => Some(EndReason::Error),
            _ => None,
        }
    }

    fn end_of(&self, terminated: &Terminated) -> EndReason {
        // The runtime says so of every container in which a process was killed for want of memory
        // (containerd, internal/cri/server/events.go, 2.0): it may have been another than the main one.
        let killed = terminated.exit_code == SIGNALLED + SIGKILL;
        if killed && terminated.reason.as_deref() == Some(OOM_KILLED) {
            return EndReason::OomKilled;
        }
        // Whatever a process does when it is told to end, it was told to.
        let finished = terminated.finished_at.as_ref().map(moment);
        let told = self.deletion().zip(finished);
        if told.is_some_and(|(deletion, finished)| finished >= deletion) {
            return EndReason::Completed;
        }
        match terminated.exit_code {
            0 => EndReason::Completed,
            _ if terminated.signal.is_some_and(|signal| signal != 0) => EndReason::Signal,
            code if (SIGNALLED + 1..=SIGNALLED + SIGNALS).contains(&code) => EndReason::Signal,
            _ => EndReason::Error,
        }
    }

    fn details(&self) -> BTreeMap<&'static str, String> {
        let mut details = BTreeMap::new();
        let mut add = |name, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                details.insert(name, bounded(&value));
            }
        };
        add("pod", self.pod.metadata.name.clone());
        let status = self.pod.status.as_ref();
        add("QoS class", status.and_then(|s| s.qos_class.clone()));
        add("pod's reason", Some(self.reason.to_owned()));
        let Some(main) = self.main else {
            return details;
        };
        add("image", main.image.clone());
        if main.restarts() > 0 {
            add("restarts", Some(main.restarts().to_string()));
        }
        let waiting = main.state.as_ref().and_then(|s| s.waiting.as_ref());
        add("waiting", waiting.and_then(|w| w.reason.clone()));
        let last = main.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        add(
            "last restart",
            last.map(|last| {
                let reason = last.reason.as_deref().unwrap_or("ended");
                format!("{reason}, exit code {}", last.exit_code)
            }),
        );
        details
    }
}

/// Of its specification.
fn containers(pod: &Pod) -> &[Container] {
    let spec = pod.spec.as_ref();
    let containers = spec.and_then(|spec| spec.containers.as_deref());
    containers.unwrap_or_default()
}

/// `registry.example:5000/team/desk:1.2@sha256:…` is `desk`.
fn short_image(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// What an API server says of a pod is an error or in proportion.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(text: &str) {
    let settings = Settings::default();
    if let Ok(pod) = serde_json::from_str::<Pod>(text) {
        let said = [facts(&pod, &settings), facts_of_deleted(&pod, &settings)];
        let is = crate::fuzz::in_proportion(&said, text.len());
        assert!(is, "{said:?}");
    }
}

#[cfg(test)]
mod tests;
