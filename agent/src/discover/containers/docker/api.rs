//! Docker's API as far as it is asked: two questions and the stream of events, by HTTP/1.1 over a socket.
//!
//! Made of hyper and a few types, both in the tree already, and not of bollard: that brings 25 more crates
//! (for addresses of the web, most of them), and refuses what Podman answers otherwise than Docker.
//!
//! Paths have no version: then an engine speaks its newest, and the few members that are read have not changed
//! since 1.24, while Docker 29 refuses everything before 1.44.

use std::{
    collections::BTreeMap,
    error::Error as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::handshake,
    header::{HOST, SERVER},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use crate::discover::{file, platform::ErrorType};

/// How long an answer may take: an engine under load is slow, and one that hangs must not hang the agent.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer: the list of a thousand containers has 1 MB.
const LONGEST: usize = 16 << 20;
/// The longest event.
const LONGEST_EVENT: usize = 1 << 20;
/// The longest part of what an engine says that is passed on, bytes.
const LONGEST_MESSAGE: usize = 200;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Docker,
    Podman,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Failure {
    pub(super) kind: ErrorType,
    pub(super) reason: String,
    /// There is no socket.
    pub(super) absent: bool,
}

/// The socket of an engine.
#[derive(Clone, Debug)]
pub(super) struct Api {
    socket: PathBuf,
}

impl Api {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Its socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks; `what` is the path with its query, encoded.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
    ) -> Result<(Engine, T), Failure> {
        let whole = async {
            let response = self.request(what).await?;
            let engine = engine(&response);
            let body = self.body(response).await?;
            let parsed = serde_json::from_slice(&body).map_err(|error| {
                self.failure(ErrorType::Validation, format_args!("{what}: {error}"))
            })?;
            Ok((engine, parsed))
        };
        let late = |_| {
            let reason = format!("no answer to {what} within {PATIENCE:?}: see if it hangs");
            Err(self.failure(ErrorType::Timeout, reason))
        };
        timeout(PATIENCE, whole).await.unwrap_or_else(late)
    }

    /// Opens the stream of events. It is answered when there is one, so it has no limit of time.
    pub(super) async fn events(&self, what: &str) -> Result<Events, Failure> {
        let body = self.request(what).await?.into_body();
        Ok(Events {
            api: self.clone(),
            body,
            read: Vec::new(),
        })
    }

    async fn request(&self, what: &str) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(file::place(&self.socket));
        let stream = stream.await.map_err(|error| self.unreachable(&error))?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = opened.map_err(|error| self.broken(&error))?;
        // It ends with the answer; why it failed, the answer says.
        tokio::spawn(connection);
        let request = Request::get(what)
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failure(ErrorType::Internal, error))?;
        let sent = requests.send_request(request).await;
        let response = sent.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(response).await.unwrap_or_default();
        let message = message(&body);
        Err(self.failure(refusal(status), format_args!("{what}: {status} {message}")))
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let limited = Limited::new(response.into_body(), LONGEST).collect().await;
        match limited {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => match error.downcast_ref::<hyper::Error>() {
                Some(error) => Err(self.broken(error)),
                None => Err(self.failure(ErrorType::Validation, error)),
            },
        }
    }

    fn failure(&self, kind: ErrorType, reason: impl std::fmt::Display) -> Failure {
        Failure {
            kind,
            reason: format!("{}: {reason}", self.socket.display()),
            absent: false,
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let absent = error.kind() == io::ErrorKind::NotFound;
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "it is not there".to_owned(),
            io::ErrorKind::PermissionDenied => {
                format!("{error}: run the agent as root or in the group that owns it")
            }
            _ => error.to_string(),
        };
        Failure {
            absent,
            ..self.failure(ErrorType::of_io(error), reason)
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        let kind = match io {
            Some(io) => ErrorType::of_io(io),
            None if error.is_parse() => ErrorType::Validation,
            None => ErrorType::Unavailable,
        };
        self.failure(kind, error)
    }
}

/// Podman says that it is one; all others do as Docker does.
fn engine(response: &Response<Incoming>) -> Engine {
    let server = response.headers().get(SERVER);
    match server.and_then(|server| server.to_str().ok()) {
        Some(server) if server.starts_with("Libpod/") => Engine::Podman,
        _ => Engine::Docker,
    }
}

/// What kind of error a refusal is.
fn refusal(status: StatusCode) -> ErrorType {
    match status {
        StatusCode::BAD_REQUEST => ErrorType::BadRequest,
        StatusCode::UNAUTHORIZED => ErrorType::Unauthorized,
        StatusCode::FORBIDDEN => ErrorType::Forbidden,
        StatusCode::NOT_FOUND => ErrorType::NotFound,
        StatusCode::CONFLICT => ErrorType::Conflict,
        StatusCode::TOO_MANY_REQUESTS => ErrorType::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ErrorType::Unavailable,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ErrorType::ServerTimeout,
        _ => ErrorType::Internal,
    }
}

/// What an engine says to a refusal, on one line.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let said = serde_json::from_slice(body).map(|Refusal { message }| message);
    let mut said = said.unwrap_or_default().replace(char::is_control, " ");
    said.truncate(said.floor_char_boundary(LONGEST_MESSAGE));
    said
}

/// The stream of events.
#[derive(Debug)]
pub(super) struct Events {
    api: Api,
    body: Incoming,
    read: Vec<u8>,
}

/// Something that happened to a container.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    /// What: `die`, `health_status: healthy`, …
    #[serde(rename = "Action")]
    pub(super) action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub(super) actor: Actor,
}

/// A container of an event.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub(super) id: String,
    /// More of it: its labels, `exitCode`, `signal`.
    #[serde(default, rename = "Attributes")]
    pub(super) attributes: BTreeMap<String, String>,
}

impl Events {
    /// The next event. They never end by themselves.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(event) => return Ok(event),
                    // An empty line keeps the connection open. Of anything else the next comparison makes up.
                    Err(error) => tracing::debug!(%error, "an event that makes no sense"),
                }
            }
            if self.read.len() > LONGEST_EVENT {
                let reason = "an event is longer than 1 MiB";
                return Err(self.api.failure(ErrorType::Validation, reason));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.read.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(self.api.broken(&error)),
                None => {
                    let reason = "the stream of events has ended";
                    return Err(self.api.failure(ErrorType::Unavailable, reason));
                }
            }
        }
    }
}
