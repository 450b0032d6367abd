//! Who asks, as the endpoints know it: the address or the user, and the connection that the answer goes out by.

use std::sync::Arc;

use axum::{
    Extension,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{activity::Activity, peer::Peer, places::Places};

/// Goes with each request of a connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    peer: Peer,
    places: Arc<Places>,
    activity: Arc<Activity>,
}

impl Client {
    /// Of a new connection.
    pub(super) fn new(peer: Peer, places: &Arc<Places>) -> Self {
        Self {
            peer,
            places: Arc::clone(places),
            activity: Arc::new(Activity::new()),
        }
    }

    /// Its address, or its user.
    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Whether there is a place for what is asked, which is then the connection's until the answer is out.
    async fn take_place(&self) -> bool {
        if self.activity.has_place() {
            return true;
        }
        let Some(place) = self.places.take(self.peer).await else {
            return false;
        };
        self.activity.hold(place);
        true
    }
}

/// Before the endpoints whose answers are large: without a place the client is to come back.
pub(super) async fn with_place(
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    if client.take_place().await {
        return next.run(request).await;
    }
    let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
    let text = format!(
        "as many answers to {} are under way as one {} may have; ask again in a second\n",
        client.peer,
        client.peer.kind()
    );
    (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
}
