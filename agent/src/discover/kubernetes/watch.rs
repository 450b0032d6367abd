//! The watch: lists the pods of this node, follows them, and begins anew after every error.
//!
//! A broken watch may have lost a change, and a node has 110 pods by default, so a new list is cheap and sure.
//! Only a watch that the server ends in order, every few minutes, goes on from its last resource version.

use crate::telemetry::log_event;
use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use tokio::time::{sleep, timeout};

use super::{Settings, connect, object::Pod, pod};
use crate::discover::{
    peer::{Failure, Peer, Setback},
    platform::{Closed, ErrorType, Facts, Key, Outcome, Sender, Update},
};

/// A watch that lasted so long was a good one: the next failure is a first one again.
const STEADY: Duration = Duration::from_secs(3);
/// A list that takes longer is not waited for; the watch itself is silent for minutes.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a watch ends.
enum End {
    Failed(Failure),
    Closed,
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// Runs until nobody listens any more.
pub async fn run(settings: Settings, sender: Sender) {
    let mut peer = Peer::afar(settings.watch);
    loop {
        let began = Instant::now();
        let mut listed = false;
        let follow = follow(&settings, &sender, &mut peer, &mut listed);
        let failure = match Box::pin(follow).await {
            End::Failed(failure) => failure,
            End::Closed => return,
        };
        if listed && began.elapsed() >= STEADY {
            peer.is_steady();
        }
        log_event!(
            PlatformDetail,
            source = "kubernetes",
            what = "watch of the pods",
            reason = failure.reason
        );
        let took = if listed {
            Duration::ZERO
        } else {
            began.elapsed()
        };
        let Setback { updates, wait } = peer.failed(failure, Some(took));
        for update in updates {
            if sender.send(update).await.is_err() {
                return;
            }
        }
        sleep(jittered(wait)).await;
    }
}

/// Between a half and the whole, so that the agents of all nodes do not come at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

async fn follow(settings: &Settings, sender: &Sender, peer: &mut Peer, listed: &mut bool) -> End {
    match Box::pin(try_follow(settings, sender, peer, listed)).await {
        Ok(()) => End::Failed(Failure::new(ErrorType::Unavailable, "the watch ended")),
        Err(end) => end,
    }
}

async fn try_follow(
    settings: &Settings,
    sender: &Sender,
    peer: &mut Peer,
    listed: &mut bool,
) -> Result<(), End> {
    let invalid = |reason| End::Failed(Failure::new(ErrorType::Validation, reason));
    let node = connect::node(settings).map_err(invalid)?;
    let client: Client = connect::client(settings).await.map_err(invalid)?;
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let mut events = pin!(watcher(Api::<Pod>::all(client), config));
    let mut list: BTreeMap<Key, Facts> = BTreeMap::new();
    let mut began = Instant::now();
    loop {
        let next = if *listed {
            events.next().await
        } else {
            let late = |_| {
                let reason = format!("no list of the pods within {LIST_TIMEOUT:?}");
                End::Failed(Failure::new(ErrorType::Timeout, reason))
            };
            timeout(LIST_TIMEOUT, events.next()).await.map_err(late)?
        };
        let Some(event) = next else { return Ok(()) };
        match event.map_err(|error| End::Failed(failure(&error)))? {
            Event::Init => {
                list.clear();
                began = Instant::now();
            }
            Event::InitApply(one) => {
                list.extend(pod::facts(&one, settings));
            }
            Event::InitDone => {
                *listed = true;
                log_event!(PodsListed, node, pods = list.len());
                sender.send(Update::All(std::mem::take(&mut list))).await?;
                let took = began.elapsed();
                let outcome = Outcome::Success;
                sender.send(Update::Reconciled { took, outcome }).await?;
                if let Some(up) = peer.up() {
                    sender.send(up).await?;
                }
            }
            Event::Apply(one) => {
                if let Some((key, facts)) = pod::facts(&one, settings) {
                    sender.send(Update::Changed(key, facts)).await?;
                }
            }
            Event::Delete(one) => {
                // Its last state comes with it.
                if let Some((key, facts)) = pod::facts_of_deleted(&one, settings) {
                    sender.send(Update::Changed(key.clone(), facts)).await?;
                    sender.send(Update::Gone(key)).await?;
                }
            }
        }
    }
}

/// What an error of the watch means.
fn failure(error: &watcher::Error) -> Failure {
    use watcher::Error as Watch;
    match error {
        Watch::InitialListFailed(error)
        | Watch::WatchStartFailed(error)
        | Watch::WatchFailed(error) => of_client(error),
        Watch::WatchError(status) => of_status(status),
        Watch::NoResourceVersion => Failure::new(
            ErrorType::Validation,
            "the API server gave no resource version",
        ),
    }
}

fn of_client(error: &kube::Error) -> Failure {
    let kind = match error {
        kube::Error::Api(status) => return of_status(status),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => ErrorType::Validation,
        kube::Error::Auth(_) => ErrorType::Unauthorized,
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
            ErrorType::Unavailable
        }
        _ => ErrorType::Internal,
    };
    Failure::new(kind, with_causes(error))
}

fn of_status(status: &kube::core::Status) -> Failure {
    // The client takes whatever is no event for a status with nothing in it.
    if status.code == 0 {
        let reason = "the API server sent what is no event";
        return Failure::new(ErrorType::Validation, reason);
    }
    let reason = format!(
        "the API server answered {} {}: {}",
        status.code, status.reason, status.message
    );
    let kind = match status.code {
        400 => ErrorType::BadRequest,
        401 => ErrorType::Unauthorized,
        403 => ErrorType::Forbidden,
        404 => ErrorType::NotFound,
        408 => ErrorType::Timeout,
        409 if status.reason == "AlreadyExists" => ErrorType::AlreadyExists,
        409 => ErrorType::Conflict,
        410 => {
            return Failure {
                outcome: Outcome::Requeue,
                reason,
                absent: false,
            };
        }
        422 => ErrorType::Validation,
        429 => ErrorType::RateLimited,
        502 | 503 => ErrorType::Unavailable,
        504 => ErrorType::ServerTimeout,
        _ => ErrorType::Internal,
    };
    Failure::new(kind, reason)
}

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_the_server_is_of_one_kind_and_an_expired_version_is_no_error() {
        let status = |code, reason: &str| kube::core::Status {
            code,
            reason: reason.to_owned(),
            ..kube::core::Status::default()
        };
        for (code, reason, kind) in [
            (403, "Forbidden", ErrorType::Forbidden),
            (409, "AlreadyExists", ErrorType::AlreadyExists),
            (409, "Conflict", ErrorType::Conflict),
            (429, "TooManyRequests", ErrorType::RateLimited),
            (500, "InternalError", ErrorType::Internal),
            (504, "Timeout", ErrorType::ServerTimeout),
            (0, "", ErrorType::Validation),
        ] {
            let found = of_status(&status(code, reason)).outcome;
            assert_eq!(found, Outcome::Error(kind), "{code} {reason}");
        }
        let expired = of_status(&status(410, "Expired"));
        assert_eq!(expired.outcome, Outcome::Requeue);
    }

    #[test]
    fn waits_differ_and_are_never_longer_than_meant() {
        let wait = Duration::from_secs(4);
        let waits: Vec<Duration> = (0..50).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|one| (wait / 2..=wait).contains(one)));
        assert!(waits.iter().any(|one| *one != waits[0]));
    }
}
