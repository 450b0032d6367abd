//! Docker's API as far as it is asked: two questions, and the stream of [`super::events`], by HTTP/1.1 over a
//! socket.
//!
//! Made of hyper and a few types, both in the tree already, and not of bollard: that brings 25 more crates
//! (for addresses of the web, most of them), and refuses what Podman answers otherwise than Docker.
//!
//! Paths have no version: then an engine speaks its newest, and the few members that are read have not changed
//! since 1.24, while Docker 29 refuses everything before 1.44.

use std::{
    error::Error as _,
    fmt::Display,
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
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};

use crate::discover::{file, platform::ErrorType};

/// How long an answer may take: an engine under load is slow, and one that hangs must not hang the agent.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest description of one container: some tens of kilobytes, unless somebody has put a file into a label.
pub(super) const LONGEST: usize = 4 << 20;
/// The longest list: that of a thousand containers has 1 MB. It has all their labels.
pub(super) const LONGEST_LIST: usize = 16 << 20;
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
    /// The engine has answered: this is about what was asked for, and about nothing else.
    pub(super) answered: bool,
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

    /// Asks; `what` is the path with its query, encoded, and no more than `longest` bytes of the answer are read.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        longest: usize,
    ) -> Result<(Engine, T), Failure> {
        let whole = async {
            let response = self.request(what).await?;
            let engine = engine(&response);
            let body = self.body(what, response, longest).await?;
            let parsed = serde_json::from_slice(&body).map_err(|error| {
                self.refused(ErrorType::Validation, format_args!("{what}: {error}"))
            })?;
            Ok((engine, parsed))
        };
        let late = |_| {
            let reason = format!("no answer to {what} within {PATIENCE:?}: see if it hangs");
            Err(self.failure(ErrorType::Timeout, reason))
        };
        timeout(PATIENCE, whole).await.unwrap_or_else(late)
    }

    /// Fails unless it answers anything at all.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let asked: Result<(Engine, Value), Failure> = self.get("/_ping", LONGEST).await;
        match asked {
            Err(failure) if !failure.answered => Err(failure),
            _ => Ok(()),
        }
    }

    /// Opens a stream. Podman answers when there is something to send, so this has no limit of time.
    pub(super) async fn stream(&self, what: &str) -> Result<Incoming, Failure> {
        Ok(self.request(what).await?.into_body())
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
        let body = self.body(what, response, LONGEST).await.unwrap_or_default();
        let message = message(&body);
        Err(self.refused(refusal(status), format_args!("{what}: {status} {message}")))
    }

    async fn body(
        &self,
        what: &str,
        response: Response<Incoming>,
        longest: usize,
    ) -> Result<Bytes, Failure> {
        let limited = Limited::new(response.into_body(), longest).collect().await;
        let error = match limited {
            Ok(body) => return Ok(body.to_bytes()),
            Err(error) => error,
        };
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return Err(self.broken(error));
        }
        let mib = longest >> 20;
        let reason = format!("{what}: longer than {mib} MiB: shorten the labels");
        Err(self.refused(ErrorType::Validation, reason))
    }

    /// What is no fault of a single answer.
    pub(super) fn failure(&self, kind: ErrorType, reason: impl Display) -> Failure {
        Failure {
            kind,
            reason: format!("{}: {reason}", self.socket.display()),
            absent: false,
            answered: false,
        }
    }

    /// What the engine has answered and is of no use.
    fn refused(&self, kind: ErrorType, reason: impl Display) -> Failure {
        Failure {
            answered: true,
            ..self.failure(kind, reason)
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

    /// What is wrong with a connection.
    pub(super) fn broken(&self, error: &hyper::Error) -> Failure {
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

/// Filters as a query has them: JSON, encoded.
pub(super) fn filters(filters: &[(&str, &[&str])]) -> String {
    let json: serde_json::Map<String, Value> = filters
        .iter()
        .map(|(name, values)| ((*name).to_owned(), Value::from(values.to_vec())))
        .collect();
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    Value::from(json).to_string().bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::filters;

    #[test]
    fn filters_are_json_in_a_query() {
        assert_eq!(
            filters(&[("status", &["paused"])]),
            "%7B%22status%22%3A%5B%22paused%22%5D%7D"
        );
    }
}
