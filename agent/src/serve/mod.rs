//! The HTTP side, read only:
//!
//! | endpoint | answers |
//! |---|---|
//! | `GET /metrics` | the exposition, in the format the scraper asks for |
//! | `GET /healthz` | 200 while the agent samples |
//! | `GET /readyz` | 200 when the required programs run and a sample is there, else 503 with the reason |
//! | `GET /api/v1/sessions` | the sessions as JSON, with quantiles |
//! | `GET /` | where to look |

mod health;
pub mod listener;
mod metrics;
mod negotiate;
mod sessions;

use std::sync::{Arc, Mutex};

use agent_common::histogram::Histogram;
use axum::{Router, routing::get};
use tokio::sync::watch;
use tower_http::{CompressionLevel, compression::CompressionLayer};

use crate::{config::Metrics, metrics::family::Dropped, snapshot::Snapshot};

/// What the endpoints read.
#[derive(Clone)]
pub struct AppState {
    /// The last sample; `None` before the first.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// How long scrapes took.
    pub scrapes: Arc<Mutex<Histogram>>,
    /// Sampling period, to tell whether the agent still samples.
    pub period: std::time::Duration,
    /// How the exposition is to be.
    pub settings: Metrics,
    /// Series that the budget has left out so far.
    pub dropped: Arc<Mutex<Dropped>>,
}

impl AppState {
    /// State around the receiving end of the snapshots.
    pub fn new(
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        period: std::time::Duration,
        settings: Metrics,
    ) -> Self {
        Self {
            snapshots,
            scrapes: Arc::new(Mutex::new(Histogram::default())),
            period,
            settings,
            dropped: Arc::default(),
        }
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshots.borrow().clone()
    }
}

/// The router.
pub fn app(state: AppState) -> Router {
    Router::new()
        .route("/", get(health::index))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/api/v1/sessions", get(sessions::sessions))
        // The default level takes 60 % more time for 10 % fewer bytes.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(state)
}
