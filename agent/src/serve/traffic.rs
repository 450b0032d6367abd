//! What has been asked, and how it was answered: each request is counted when its answer has been handed to the socket.

use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::refused::{Refusals, SUMS};
use crate::{
    metrics::http::{self, AuthMethod, AuthReason, Cache, Http, Method},
    snapshot::Reloads,
    trace::{self, Recorder},
};

/// All that has been asked since the agent started.
#[derive(Debug, Default)]
pub struct Traffic {
    counted: Mutex<Http>,
    /// Where each request is a span.
    traces: Option<Recorder>,
    refusals: Refusals,
}

impl Traffic {
    /// Nothing so far.
    pub(super) fn new(traces: Option<Recorder>) -> Self {
        Self {
            traces,
            ..Self::default()
        }
    }

    /// Says how many refusals have had no line of the log, every ten seconds, for as long as it is polled.
    pub async fn tell_of_refusals(&self) {
        loop {
            tokio::time::sleep(SUMS).await;
            self.refusals.tell();
        }
    }

    /// Says it for the last time.
    pub fn tell_last_refusals(&self) {
        self.refusals.tell();
    }

    /// What is said of who was refused what.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// As it is now.
    pub(super) fn now(&self) -> Http {
        self.lock().clone()
    }

    /// A connection, for as long as this lives.
    pub(super) fn connection(self: &Arc<Self>) -> Connection {
        self.lock().connections += 1;
        Connection(Arc::clone(self))
    }

    /// What a client sent was no request, or one with too much of a head, and was answered with a status all the same.
    pub(super) fn refused(&self, status: u16) {
        let key = (Method::Other, http::Path::Other, status);
        *self.lock().requests.entry(key).or_default() += 1;
    }

    /// What was wanted was in a cache, or was not; so much is in it now.
    pub(super) fn looked_up(&self, cache: Cache, was_there: bool, entries: usize) {
        let mut counted = self.lock();
        let lookups = counted.caches.entry(cache).or_default();
        lookups.hits += u64::from(was_there);
        lookups.misses += u64::from(!was_there);
        lookups.entries = entries as u64;
    }

    /// So much is in a cache now.
    pub(super) fn holds(&self, cache: Cache, entries: usize) {
        let mut counted = self.lock();
        counted.caches.entry(cache).or_default().entries = entries as u64;
    }

    /// A client has not got as far as to a request.
    pub(super) fn handshake_failed(&self) {
        self.lock().handshakes_failed += 1;
    }

    /// Clients may show who they are by this, so that there may be failures.
    pub(super) fn expects(&self, method: AuthMethod) {
        let mut counted = self.lock();
        counted.attempts.entry(method).or_default();
        for method in [method, AuthMethod::None] {
            for reason in method.reasons() {
                counted.failures.entry((method, *reason)).or_default();
            }
        }
    }

    /// A client has shown who it is, rightly.
    pub(super) fn admitted(&self, method: AuthMethod) {
        *self.lock().attempts.entry(method).or_default() += 1;
    }

    /// A client was turned away.
    pub(super) fn turned_away(&self, method: AuthMethod, reason: AuthReason) {
        let mut counted = self.lock();
        if method != AuthMethod::None && reason != AuthReason::Missing {
            *counted.attempts.entry(method).or_default() += 1;
        }
        *counted.failures.entry((method, reason)).or_default() += 1;
    }

    /// When the certificates in effect expire.
    pub(super) fn certificates(&self, expiries: Vec<(String, SystemTime)>) {
        self.lock().expiries = expiries.into_iter().collect();
    }

    /// A file is in effect, which will be read again.
    pub(super) fn file(&self, path: &Path) {
        let mut counted = self.lock();
        let reloads = counted.reloads.entry(path.display().to_string());
        reloads.or_insert_with(Reloads::first);
    }

    /// A file is not read any more.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().reloads.remove(&path.display().to_string());
    }

    /// A file was read again.
    pub(super) fn reloaded(&self, path: &Path, is_in_effect: bool) {
        if let Some(reloads) = self.lock().reloads.get_mut(&path.display().to_string()) {
            reloads.add(is_in_effect);
        }
    }

    fn answered(&self, one: &Asked, body: u64) {
        let Asked {
            method,
            path,
            size,
            status,
            began,
            parent,
        } = *one;
        // Health checks would be most of all.
        if let Some(traces) = &self.traces
            && matches!(
                path,
                http::Path::Metrics
                    | http::Path::Sessions
                    | http::Path::Session
                    | http::Path::History
                    | http::Path::Processes
                    | http::Path::Ended
                    | http::Path::Node
                    | http::Path::Agent
                    | http::Path::Index
            )
        {
            traces.answered(&trace::Asked {
                parent,
                method: method.name(),
                route: path.name(),
                status,
                took: began.elapsed(),
            });
        }
        let mut counted = self.lock();
        *counted.requests.entry((method, path, status)).or_default() += 1;
        let answers = counted.answers.entry((method, path)).or_default();
        answers.add(began.elapsed(), size, body);
    }

    fn lock(&self) -> MutexGuard<'_, Http> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection(Arc<Traffic>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.lock().connections -= 1;
    }
}

/// A request that is being answered.
#[derive(Debug)]
struct Asked {
    method: Method,
    path: http::Path,
    /// Bytes, about.
    size: u64,
    status: u16,
    began: Instant,
    /// The span that it belongs to.
    parent: Option<trace::Parent>,
}

impl Asked {
    fn new(request: &Request, is_traced: bool) -> Self {
        let parent = request.headers().get("traceparent").filter(|_| is_traced);
        let parent = parent.and_then(|header| header.to_str().ok());
        let headers = request.headers().iter();
        // A colon, a blank and the end of the line.
        let headers: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let target = request.uri().path_and_query();
        let line =
            request.method().as_str().len() + target.map_or(0, |target| target.as_str().len());
        Self {
            method: Method::of(request.method().as_str()),
            path: http::Path::of(request.uri().path()),
            size: (headers + line) as u64,
            status: 0,
            began: Instant::now(),
            parent: parent.and_then(trace::Parent::parse),
        }
    }
}

/// Around everything else.
pub(super) async fn count(
    State(traffic): State<Arc<Traffic>>,
    request: Request,
    next: Next,
) -> Response {
    let mut asked = Asked::new(&request, traffic.traces.is_some());
    let response = next.run(request).await;
    asked.status = response.status().as_u16();
    response.map(|body| {
        Body::new(Counted {
            body,
            bytes: 0,
            asked,
            traffic,
        })
    })
}

/// A body of which it is counted what went out.
struct Counted {
    body: Body,
    bytes: u64,
    asked: Asked,
    traffic: Arc<Traffic>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.traffic.answered(&self.asked, self.bytes);
    }
}
