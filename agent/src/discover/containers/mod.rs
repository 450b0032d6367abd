//! Containers without Kubernetes: what their runtimes say of them.
//!
//! * [`docker`]: Docker's API, which Podman has too, over a socket
//! * [`bundles`]: what containerd and CRI-O keep on disk for the low-level runtime
//! * [`names`]: what a container is called by its labels and its image
//!
//! Each socket and each folder is a peer of its own; together they are one source. One that is away keeps what
//! it said, and the source is down when none answers. Where two know a container, the one that is configured
//! first names it, sockets before folders: they know more.
//!
//! Containers of pods are the pods', and nothing is said of them here.

pub(crate) mod bundles;
pub(crate) mod docker;
mod names;
pub mod settings;

use crate::telemetry::log_event;
use std::{collections::BTreeMap, time::SystemTime};

use tokio::{sync::mpsc, task::JoinSet};

use self::bundles::Bundles;
pub use self::settings::Settings;
use super::{
    platform::{Closed, Facts, Key, Sender, Update},
    poll::{self, Listener},
};

/// Updates of the peers that wait to be taken.
const QUEUE: usize = 64;

/// Tells of all runtimes' containers until nobody listens any more.
pub async fn run(settings: Settings, sender: Sender) {
    // It can only fail because nobody listens, which ends it.
    let _closed = unite(settings, &sender).await;
}

async fn unite(settings: Settings, sender: &Sender) -> Result<(), Closed> {
    let Settings {
        watch,
        sockets,
        bundles,
    } = settings;
    let names: Vec<String> = sockets
        .iter()
        .chain(&bundles)
        .map(|path| path.display().to_string())
        .collect();
    let (updates, mut queue) = mpsc::channel(QUEUE);
    let peer = |number| Peer {
        number,
        updates: updates.clone(),
    };
    // Dropped, it ends them.
    let mut peers = JoinSet::new();
    let first_folder = sockets.len();
    for (number, socket) in sockets.into_iter().enumerate() {
        let peer = peer(number);
        peers.spawn(async move { docker::run(socket, watch, &peer).await });
    }
    for (number, folder) in bundles.into_iter().enumerate() {
        let peer = peer(first_folder + number);
        peers.spawn(async move { poll::run(Bundles::new(folder), watch, &peer).await });
    }
    drop(updates);
    let mut union = Union::new(names);
    if union.peers.is_empty() {
        let reason = "containers.sockets and containers.bundles are empty: name a runtime's";
        sender.send(Update::Down(reason.to_owned())).await?;
    }
    while let Some((from, update)) = queue.recv().await {
        if let Some(update) = union.take(from, update) {
            sender.send(update).await?;
        }
    }
    Ok(())
}

/// A moment as runtimes write it, which is RFC 3339, with any offset.
fn moment(text: &str) -> Option<SystemTime> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(moment.into())
}

/// Says whose an update is.
struct Peer {
    number: usize,
    updates: mpsc::Sender<(usize, Update)>,
}

impl Listener for Peer {
    async fn send(&self, update: Update) -> Result<(), Closed> {
        let sent = self.updates.send((self.number, update)).await;
        sent.map_err(|_| Closed)
    }
}

/// Several peers as one source.
struct Union {
    /// In the order in which they are believed.
    peers: Vec<Known>,
    /// What was said last of whether one answers.
    said: Status,
}

/// What a peer has said.
struct Known {
    /// What the log calls it.
    name: String,
    containers: BTreeMap<Key, Facts>,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    Unknown,
    Up,
    Down(String),
}

impl Union {
    fn new(names: Vec<String>) -> Self {
        let known = |name| Known {
            name,
            containers: BTreeMap::new(),
            status: Status::Unknown,
        };
        Self {
            peers: names.into_iter().map(known).collect(),
            said: Status::Unknown,
        }
    }

    /// Takes what a peer says; returns what that changes of the whole.
    fn take(&mut self, from: usize, update: Update) -> Option<Update> {
        match update {
            Update::All(containers) => {
                self.peers[from].containers = containers;
                Some(Update::All(self.all()))
            }
            Update::Changed(key, facts) => self.change(
                key,
                |key, containers| {
                    containers.insert(key.clone(), facts);
                },
                from,
            ),
            Update::Gone(key) => self.change(
                key,
                |key, containers| {
                    containers.remove(key);
                },
                from,
            ),
            Update::Reconciled { .. } => Some(update),
            Update::Up => self.turn(from, Status::Up),
            Update::Down(reason) => self.turn(from, Status::Down(reason)),
        }
    }

    /// What all know, each container by the first who does.
    fn all(&self) -> BTreeMap<Key, Facts> {
        let mut all = BTreeMap::new();
        for peer in self.peers.iter().rev() {
            let known = peer.containers.iter();
            all.extend(known.map(|(key, facts)| (key.clone(), facts.clone())));
        }
        all
    }

    fn facts(&self, key: &Key) -> Option<&Facts> {
        let mut known = self
            .peers
            .iter()
            .filter_map(|peer| peer.containers.get(key));
        known.next()
    }

    fn change(
        &mut self,
        key: Key,
        change: impl FnOnce(&Key, &mut BTreeMap<Key, Facts>),
        from: usize,
    ) -> Option<Update> {
        let before = self.facts(&key).cloned();
        change(&key, &mut self.peers[from].containers);
        match (before, self.facts(&key)) {
            (Some(_), None) => Some(Update::Gone(key)),
            (before, Some(after)) if before.as_ref() != Some(after) => {
                let after = after.clone();
                Some(Update::Changed(key, after))
            }
            _ => None,
        }
    }

    fn turn(&mut self, from: usize, status: Status) -> Option<Update> {
        let before = std::mem::replace(&mut self.peers[from].status, status);
        let reasons: Option<Vec<&str>> = self
            .peers
            .iter()
            .map(|peer| match &peer.status {
                Status::Down(reason) => Some(reason.as_str()),
                Status::Up | Status::Unknown => None,
            })
            .collect();
        let now = match reasons {
            Some(reasons) => Status::Down(reasons.join("; ")),
            None if self.peers.iter().any(|peer| peer.status == Status::Up) => Status::Up,
            // Those that have not answered yet may.
            None => return None,
        };
        if self.said == now {
            // The others hide it.
            self.log(from, &before);
            return None;
        }
        self.said = now.clone();
        match now {
            Status::Up => Some(Update::Up),
            Status::Down(reason) => Some(Update::Down(reason)),
            Status::Unknown => None,
        }
    }

    /// A change of one peer while another answers.
    fn log(&self, from: usize, before: &Status) {
        let Known { name, status, .. } = &self.peers[from];
        match (before, status) {
            (Status::Up, Status::Down(reason)) => {
                log_event!(
                    PlatformAbsent,
                    source = "containers",
                    runtime = name,
                    reason
                );
            }
            (Status::Unknown | Status::Down(_), Status::Up) => {
                log_event!(PlatformAnswers, source = "containers", runtime = name);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::platform::Named;

    fn key(id: &str) -> Key {
        Key::Container(id.to_owned())
    }

    fn called(name: &str) -> Facts {
        Facts {
            is_session: true,
            session: Named::new(name, "docker name"),
            ..Facts::default()
        }
    }

    fn all<const N: usize>(containers: [(&str, &str); N]) -> Update {
        let facts = containers.map(|(id, name)| (key(id), called(name)));
        Update::All(facts.into())
    }

    fn union() -> Union {
        Union::new(vec!["one".to_owned(), "two".to_owned()])
    }

    #[test]
    fn several_peers_are_one_source() {
        let mut union = union();
        assert_eq!(
            union.take(0, all([("a", "ada")])),
            Some(all([("a", "ada")]))
        );
        let both = all([("a", "ada"), ("b", "bob")]);
        assert_eq!(union.take(1, all([("b", "bob")])), Some(both.clone()));
        // One that is away keeps what it said.
        union.take(0, Update::Down("gone".to_owned()));
        assert_eq!(union.take(1, all([("b", "bob")])), Some(both));
        assert_eq!(union.take(0, all([])), Some(all([("b", "bob")])));
    }

    #[test]
    fn the_first_who_knows_a_container_names_it() {
        let mut union = union();
        union.take(1, all([("a", "second")]));
        let changed = |name| Some(Update::Changed(key("a"), called(name)));
        let from_first = Update::Changed(key("a"), called("first"));
        assert_eq!(union.take(0, from_first), changed("first"));
        assert_eq!(union.take(1, Update::Changed(key("a"), called("x"))), None);
        assert_eq!(union.take(0, Update::Gone(key("a"))), changed("x"));
        assert_eq!(
            union.take(1, Update::Gone(key("a"))),
            Some(Update::Gone(key("a")))
        );
        assert_eq!(union.take(1, Update::Gone(key("a"))), None);
    }

    #[test]
    fn it_is_down_when_none_answers() {
        let down = |reason: &str| Update::Down(reason.to_owned());
        let mut union = union();
        assert_eq!(union.take(0, down("no docker")), None);
        let both = "no docker; no bundles";
        assert_eq!(union.take(1, down("no bundles")), Some(down(both)));
        assert_eq!(union.take(1, Update::Up), Some(Update::Up));
        assert_eq!(union.take(0, Update::Up), None);
        assert_eq!(union.take(1, down("no bundles")), None);
        assert_eq!(union.take(0, down("no docker")), Some(down(both)));
        assert_eq!(union.take(0, down("no docker")), None);
    }
}
