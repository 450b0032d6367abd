//! Who was refused what, in the log and the audit log.

use axum::{extract::Request, http::StatusCode};

use super::client::Client;
use crate::{
    metrics::http::{self, AuthMethod, Method},
    telemetry::log_event,
};

/// Logs that a request is refused. A client chooses none of the words.
pub(super) fn say(request: &Request, status: StatusCode, auth: Option<AuthMethod>, reason: &str) {
    let client = request.extensions().get::<Client>();
    log_event!(
        AccessRefused,
        peer = client.map(|client| tracing::field::display(client.peer())),
        method = Method::of(request.method().as_str()).name(),
        path = http::Path::of(request.uri().path()).name(),
        status = status.as_u16(),
        auth = auth.map(AuthMethod::name),
        reason
    );
}
