//! The HTTP side, read only:
//!
//! | endpoint | answers |
//! |---|---|
//! | `GET /metrics` | the exposition, in the format the scraper asks for |
//! | `GET /healthz` | 200 while the agent samples |
//! | `GET /readyz` | 200 when the required programs run and a sample is there, else 503 with the reason |
//! | `GET /api/v1/sessions` | the sessions as JSON, with quantiles |
//! | `GET /api/v1/sessions/{id}` | one of them |
//! | `GET /api/v1/sessions/{id}/history` | what it did over the last day |
//! | `GET /api/v1/sessions/{id}/processes` | its processes now |
//! | `GET /api/v1/ended` | the last sessions that have ended, and why |
//! | `GET /api/v1/node` | the node as a whole |
//! | `GET /api/v1/agent` | the agent: its programs and sources |
//! | `GET /api/v1/openapi.json` | the API, described |
//! | `GET /` | the status page, whose files are below `/page/` |
//!
//! ```text
//!  inlet ─► listener ─► connections ─► door ─► hosts ─► places ─► renderings ─► wire
//!  where    accepts     which stay     who     names    how many  made once     until it has been taken
//! ```
//!
//! What health checks ask for is answered at once, whatever else is going on: it takes no place and no rendering.

mod activity;
pub mod address;
mod client;
mod compress;
mod connections;
mod door;
mod health;
mod hosts;
pub mod inlet;
pub mod listener;
mod metrics;
pub(crate) mod negotiate;
mod openapi;
mod page;
mod peer;
mod places;
mod refused;
mod rendering;
pub mod rights;
mod sessions;
pub mod settings;
mod traffic;
pub mod unix;
mod wire;

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tokio::sync::watch;

pub use self::settings::Settings;
use self::{
    client::with_place,
    door::{Area, Door},
    hosts::Hosts,
    metrics::Expositions,
    rendering::{Renderings, What},
    traffic::Traffic,
};
use crate::{
    discover::users::UserPolicy, setting::ConfigError, snapshot::Snapshot, trace::Recorder,
};

/// What the endpoints read.
#[derive(Clone, Debug)]
pub struct AppState {
    /// The last sample; `None` before the first.
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Sampling period, to tell whether the agent still samples.
    period: Duration,
    /// How much is told of users.
    users: UserPolicy,
    expositions: Arc<Expositions>,
    renderings: Arc<Renderings<Snapshot>>,
    hosts: Arc<Hosts>,
    traffic: Arc<Traffic>,
    door: Arc<Door>,
}

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// The HTTP side's own settings.
    pub settings: &'a Settings,
    /// Those of the exposition.
    pub metrics: &'a crate::metrics::Settings,
    /// How much is told of users.
    pub users: UserPolicy,
    /// Sampling period.
    pub period: Duration,
    /// Name of the node, where it is configured.
    pub node: Option<&'a str>,
    /// Where each request is a span.
    pub traces: Option<Recorder>,
}

impl AppState {
    /// State around the receiving end of the snapshots.
    pub fn new(
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        service: &Service<'_>,
    ) -> Result<Self, ConfigError> {
        let traffic = Arc::new(Traffic::new(service.traces.clone()));
        let expositions = Arc::new(Expositions::new(
            service.metrics.clone(),
            Arc::clone(&traffic),
        ));
        let written = Arc::clone(&expositions);
        let users = service.users;
        let write = move |snapshot: Arc<Snapshot>, what| match what {
            What::Metrics(format) => written.write(snapshot, format),
            What::Sessions => sessions::write(&snapshot, users),
        };
        Ok(Self {
            renderings: Arc::new(Renderings::new(
                snapshots.clone(),
                Arc::clone(&traffic),
                write,
            )),
            snapshots,
            period: service.period,
            users,
            expositions,
            hosts: Arc::new(Hosts::new(service.node, &service.settings.hosts)),
            door: Arc::new(Door::open(service.settings, Arc::clone(&traffic))?),
            traffic,
        })
    }

    /// What is asked, for who accepts connections.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Who may ask.
    pub fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshots.borrow().clone()
    }
}

/// Whether a web configuration has the agent speak TLS; not where it cannot be read.
pub fn speaks_tls(web_config: &Path) -> bool {
    door::speaks_tls(web_config)
}

/// Whether the files that say who may ask are as they must be.
///
/// # Errors
///
/// What is wrong with them.
pub fn check_door(settings: &Settings) -> Result<(), ConfigError> {
    Door::open(settings, Arc::new(Traffic::new(None))).map(drop)
}

/// The router.
pub fn app(state: AppState) -> Router {
    // Each layer is around what is above it.
    let of_sessions = Router::new()
        .route("/api/v1/sessions", get(sessions::sessions))
        .route("/api/v1/sessions/{id}", get(sessions::one))
        .route(
            "/api/v1/sessions/{id}/history",
            get(sessions::history::history),
        )
        .route(
            "/api/v1/sessions/{id}/processes",
            get(sessions::processes::processes),
        )
        .route("/api/v1/node", get(sessions::node::node))
        .route("/api/v1/agent", get(sessions::node::agent))
        .route("/api/v1/ended", get(sessions::past::ended))
        .route_layer(from_fn(with_place))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route_layer(from_fn_with_state(
            (state.door(), Area::Sessions),
            door::check,
        ))
        .route_layer(from_fn_with_state(
            (Arc::clone(&state.hosts), state.traffic()),
            hosts::check,
        ));
    // A scraper knows the agent by whatever name a Service or a proxy has.
    let of_scrapers = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route_layer(from_fn(with_place))
        .route_layer(from_fn_with_state(
            (state.door(), Area::Metrics),
            door::check,
        ));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(of_sessions)
        .merge(of_scrapers)
        .layer(from_fn_with_state(state.door(), door::add_headers))
        .layer(from_fn_with_state(state.traffic(), traffic::count))
        .with_state(state)
}
