//! Peers that keep what they know in a folder, which is looked at twice a second.
//!
//! Not watched with inotify: the folder comes and goes with its program, may lie in the host's mount namespace
//! (below `/proc/1/root`), and a watch that is lost says nothing. The directory holds a new cgroup back until
//! its platform has named it, for two seconds at most, so half a second is soon enough; and a look at 250
//! containers of which nothing has changed takes 0.5 ms.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use super::settings::Watch;
use super::{
    peer::{Failure, Peer, Setback},
    platform::{Closed, ErrorType, Facts, Key, Outcome, Sender, Update},
};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Who is told.
pub(super) trait Listener: Sync {
    /// Tells; waits while the other side has much to do.
    fn send(&self, update: Update) -> impl Future<Output = Result<(), Closed>> + Send;
}

impl Listener for Sender {
    async fn send(&self, update: Update) -> Result<(), Closed> {
        Self::send(self, update).await
    }
}

/// A folder in which a program keeps what it knows.
pub(super) trait Folder: Send + 'static {
    /// Where it is, as configured.
    fn path(&self) -> &Path;

    /// Everything that the program knows, if that has changed since the last look, or if it is wanted anew.
    fn look(&mut self, anew: bool) -> io::Result<Option<BTreeMap<Key, Facts>>>;
}

/// Looks at a folder until nobody listens any more.
pub(super) async fn run(
    folder: impl Folder,
    watch: Watch,
    listener: &impl Listener,
) -> Result<(), Closed> {
    let mut poll = Poll::new(folder, watch);
    loop {
        // A file system can make wait. The task ends only with the whole agent.
        let looked = tokio::task::spawn_blocking(move || {
            let step = poll.step();
            (poll, step)
        });
        let Ok((back, step)) = looked.await else {
            return Err(Closed);
        };
        poll = back;
        for update in step.updates {
            listener.send(update).await?;
        }
        tokio::time::sleep(step.wait).await;
    }
}

/// What has been seen of a folder, and said.
struct Poll<F> {
    folder: F,
    peer: Peer,
}

/// What is to be said after a look, and how long to wait for the next.
#[derive(Debug)]
struct Step {
    updates: Vec<Update>,
    wait: Duration,
}

impl<F: Folder> Poll<F> {
    fn new(folder: F, watch: Watch) -> Self {
        Self {
            folder,
            peer: Peer::here(watch),
        }
    }

    fn step(&mut self) -> Step {
        let began = Instant::now();
        let known = match self.folder.look(!self.peer.is_up()) {
            Ok(known) => known,
            Err(error) => {
                let failure = self.failure(&error);
                let Setback { updates, wait } = self.peer.failed(failure, Some(began.elapsed()));
                return Step { updates, wait };
            }
        };
        let mut updates: Vec<Update> = self.peer.up().into_iter().collect();
        self.peer.is_steady();
        if let Some(known) = known {
            updates.push(Update::All(known));
            updates.push(Update::Reconciled {
                took: began.elapsed(),
                outcome: Outcome::Success,
            });
        }
        Step {
            updates,
            wait: EVERY,
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let path = self.folder.path().display();
        let reason = match error.kind() {
            io::ErrorKind::NotFound => format!("{path} is not there"),
            io::ErrorKind::PermissionDenied => {
                format!("{path}: {error}: run the agent as root")
            }
            _ => format!("{path}: {error}"),
        };
        Failure {
            absent: error.kind() == io::ErrorKind::NotFound,
            ..Failure::new(ErrorType::of_io(error), reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder that answers what it is told to.
    struct Scripted {
        answers: Vec<io::Result<Option<BTreeMap<Key, Facts>>>>,
        anew: Vec<bool>,
        path: PathBuf,
    }

    impl Folder for Scripted {
        fn path(&self) -> &Path {
            &self.path
        }

        fn look(&mut self, anew: bool) -> io::Result<Option<BTreeMap<Key, Facts>>> {
            self.anew.push(anew);
            self.answers.remove(0)
        }
    }

    fn poll(
        watch: Watch,
        answers: Vec<io::Result<Option<BTreeMap<Key, Facts>>>>,
    ) -> Poll<Scripted> {
        let path = PathBuf::from("/run/peer");
        let anew = Vec::new();
        Poll::new(
            Scripted {
                answers,
                anew,
                path,
            },
            watch,
        )
    }

    fn absent() -> io::Error {
        io::ErrorKind::NotFound.into()
    }

    fn down() -> Update {
        Update::Down("/run/peer is not there".to_owned())
    }

    fn is_error(update: &Update, kind: ErrorType) -> bool {
        matches!(update, Update::Reconciled { outcome: Outcome::Error(is), .. } if *is == kind)
    }

    #[test]
    fn a_program_that_is_not_here_is_said_once_and_looked_for_every_minute() {
        let mut poll = poll(Watch::Auto, vec![Err(absent()), Err(absent())]);
        let first = poll.step();
        assert_eq!(first.updates, [down()]);
        assert_eq!(first.wait, Duration::from_mins(1));
        let second = poll.step();
        assert_eq!(second.updates, []);
        assert_eq!(second.wait, Duration::from_mins(1));
    }

    #[test]
    fn one_that_is_wanted_is_an_error_and_looked_for_more_often() {
        let mut poll = poll(Watch::On, vec![Err(absent()), Err(absent())]);
        let first = poll.step();
        assert!(is_error(&first.updates[0], ErrorType::NotFound));
        assert_eq!(first.updates[1], down());
        assert_eq!(first.wait, Duration::from_millis(500));
        assert_eq!(poll.step().wait, Duration::from_secs(1));
    }

    #[test]
    fn what_is_known_is_said_when_it_changes_and_after_a_loss() {
        let known = BTreeMap::from([(Key::Machine("desk".to_owned()), Facts::default())]);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let answers = vec![
            Ok(Some(known.clone())),
            Ok(None),
            Err(denied),
            Ok(Some(known.clone())),
        ];
        let mut poll = poll(Watch::Auto, answers);
        let first = poll.step();
        assert_eq!(first.updates[..2], [Update::Up, Update::All(known.clone())]);
        assert!(matches!(
            first.updates[2],
            Update::Reconciled {
                outcome: Outcome::Success,
                ..
            }
        ));
        assert_eq!(poll.step().updates, []);

        let lost = poll.step();
        assert!(is_error(&lost.updates[0], ErrorType::Forbidden));
        let Update::Down(reason) = &lost.updates[1] else {
            panic!("{lost:?}")
        };
        assert!(reason.contains("as root"), "{reason}");
        assert_eq!(lost.updates.len(), 2);

        let back = poll.step();
        assert_eq!(back.updates[..2], [Update::Up, Update::All(known)]);
        assert_eq!(poll.folder.anew, [true, false, false, true]);
    }
}
