//! Accepts connections, and bounds what a client can hold.
//!
//! Anybody on the node, and where the agent listens for Prometheus anybody who reaches the port, may open
//! connections and leave them, or ask and not read. Neither may take the agent's descriptors or its memory, nor
//! keep another one from being answered. Each address, and each user of a socket in the file system, has its share
//! of the connections and of the answers, and what has begun to be answered is not cut for the sake of another one.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioTimer, service::TowerToHyperService};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpStream;

use super::{
    activity::AtEnd,
    client::Client,
    connections::{Connections, Stay},
    door::{Door, handshake::handshake},
    inlet::{self, Arrival, Inlet},
    peer::Peer,
    places::Places,
    traffic::Traffic,
    wire::{Answer, Plain, Socket, Stream},
};
use crate::telemetry::log_event;

/// What clients may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one peer that are kept, and large answers to it at a time.
    pub share: usize,
    /// Large answers at a time, to all.
    pub answers: usize,
    /// Connections at a time; with one more, a silent one is closed.
    pub connections: usize,
    /// How long a client may take for the head of a request, and be silent between two.
    pub request: Duration,
    /// The same on a connection beyond the share of its peer.
    pub brief: Duration,
    /// How long a client of a port may leave what was sent to it unread or unacknowledged.
    pub unread: Duration,
    /// How long it may take in all from the head of a request until its answer has been taken.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A Prometheus server has one connection, and browsers open six.
            share: 8,
            // As many answers as this, 2 MB each with 250 sessions, fit under the unit's and the pod's limit of
            // 256 MiB, even if each is of another sample.
            answers: 32,
            connections: 128,
            // Above the usual periods of scrapes, so that a scraper keeps its connection.
            request: Duration::from_secs(75),
            brief: Duration::from_secs(2),
            unread: Duration::from_secs(15),
            // Prometheus gives up after ten seconds.
            answer: Duration::from_secs(30),
        }
    }
}

/// Pause after a connection could not be accepted, as when the machine has no descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves `app` for as long as it is polled.
pub async fn serve(
    inlets: Vec<Inlet>,
    app: Router,
    door: Arc<Door>,
    traffic: Arc<Traffic>,
    limits: Limits,
) {
    let mut reception = Reception {
        app,
        door,
        traffic,
        limits,
        places: Arc::new(Places::new(limits.answers, limits.share)),
        connections: Connections::new(limits.connections, limits.share),
    };
    let mut turn = 0;
    loop {
        match inlet::accept(&inlets, &mut turn).await {
            Ok(Arrival::Tcp(stream, address)) => {
                set_limit(&stream, limits);
                reception.receive(stream, Peer::of(address));
            }
            Ok(Arrival::Unix(stream, uid)) => reception.receive(stream, Peer::User(uid)),
            Err(error) => {
                log_event!(ConnectionRefused, %error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        // Those that have come are heard before the next one comes, which may close one that is silent.
        tokio::task::yield_now().await;
    }
}

/// What all connections share, wherever they come in.
struct Reception {
    app: Router,
    door: Arc<Door>,
    traffic: Arc<Traffic>,
    limits: Limits,
    places: Arc<Places>,
    connections: Connections,
}

impl Reception {
    /// Lets a connection in, if there is room for it, and has a task answer it.
    fn receive(&mut self, stream: impl Plain, peer: Peer) {
        let Some(stay) = self.connections.make_room(peer) else {
            return;
        };
        let client = Client::new(peer, &self.places);
        let activity = Arc::clone(client.activity());
        let open = self.traffic.connection();
        let (app, limits) = (self.app.clone(), self.limits);
        let (door, traffic) = (Arc::clone(&self.door), Arc::clone(&self.traffic));
        let task = tokio::spawn(async move {
            let _open = open;
            let Some((stream, admission)) = handshake(stream, peer, &door, &traffic).await else {
                return;
            };
            let is_in = move || door.admission() == admission;
            if let Some(status) = answer(stream, app, client, is_in, stay, limits).await {
                traffic.refused(status);
            }
        });
        self.connections.add(peer, activity, task.abort_handle());
    }
}

/// What is sent and not taken does not keep a connection for ever.
fn set_limit(stream: &TcpStream, limits: Limits) {
    // It also ends a connection whose window stays closed (tcp_probe_timer, net/ipv4/tcp_timer.c, 5.10).
    if let Err(error) = set_tcp_user_timeout(stream, limits.unread.as_millis() as u32) {
        log_event!(ConnectionFailed, what = "TCP_USER_TIMEOUT not set", %error);
    }
}

/// Answers the requests of one connection. The status with which hyper has answered what was no request, if any.
async fn answer(
    stream: Box<dyn Stream>,
    app: Router,
    client: Client,
    is_in: impl Fn() -> bool,
    stay: Stay,
    limits: Limits,
) -> Option<u16> {
    let activity = Arc::clone(client.activity());
    let _at_end = AtEnd(Arc::clone(&activity));
    let socket = Socket::new(stream, Arc::clone(&activity));
    let router = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let activity = Arc::clone(client.activity());
        activity.begin();
        request.extensions_mut().insert(client.clone());
        // One that came in by what does not let in any more has to begin anew.
        let answered = is_in().then(|| router.call(request));
        async move {
            let response = match answered {
                Some(answered) => answered.await,
                None => Ok(begin_anew()),
            };
            response.map(|response| response.map(|body| Answer::new(body, activity)))
        }
    });
    let is_kept = stay == Stay::Kept;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(is_kept)
        .header_read_timeout(if is_kept {
            limits.request
        } else {
            limits.brief
        })
        .serve_connection(socket, service);
    tokio::select! {
        served = connection => {
            served.err().and_then(|error| {
                log_event!(ConnectionFailed, %error);
                status_of(&error)
            })
        }
        () = activity.overdue(limits.answer) => {
            log_event!(ConnectionFailed, what = "its answer has not been taken in time");
            None
        }
    }
}

fn begin_anew() -> Response {
    let headers = [(header::CONNECTION, "close")];
    let text = "who may ask has changed: connect again\n";
    (StatusCode::UNAUTHORIZED, headers, text).into_response()
}

/// What hyper answers by itself (`on_error`, src/proto/h1/role.rs, 1.12).
fn status_of(error: &hyper::Error) -> Option<u16> {
    // The two that are too large are told apart by their text alone (`description`, src/error.rs).
    if error.is_parse_too_large() && error.to_string() == "URI too long" {
        Some(414)
    } else if error.is_parse_too_large() {
        Some(431)
    } else {
        error.is_parse().then_some(400)
    }
}

#[cfg(test)]
mod tests;
