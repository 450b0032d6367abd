//! Traces: each session is one, and each request and each comparison with a platform is a span of its own.
//!
//! ```text
//!  snapshots ─► Follower ─┐
//!  requests ──────────────┼─► Recorder ─► queue ─► OTLP
//!  reconciles ────────────┘   sampler     bounded   its own task
//! ```
//!
//! It reads what every output reads, and nobody waits for it. Without a collector nothing of it runs.

mod exporter;
mod follow;
mod options;
mod queue;
mod request;
mod sampler;
pub mod settings;
mod span;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use self::{
    follow::{Follower, Moment},
    options::Options,
    sampler::Sampler,
};
pub use self::{
    queue::Recorder,
    request::{Asked, Parent},
    settings::Settings,
};
use crate::{
    discover::platform::Outcome,
    error::Error,
    snapshot::{Snapshot, TracesOf},
    telemetry,
};

/// Seconds for which spans of sessions may come at once.
const SESSIONS_BURST: u32 = 60;
/// How long the end of the agent waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Traces, from their start to the end of the agent.
#[derive(Debug)]
pub struct Traces {
    recorder: Recorder,
    exporter: JoinHandle<()>,
    follower: Option<JoinHandle<()>>,
    run_queue_wait: Duration,
}

impl Traces {
    /// Starts them; `None` where there are to be none. To be called within tokio, before there is a session.
    ///
    /// # Errors
    ///
    /// When a variable of OpenTelemetry's is wrong, or the exporter cannot be made of what is set.
    pub fn start(settings: &Settings) -> Result<Option<Self>, Error> {
        let options = Options::resolve(settings, |name| std::env::var(name).ok());
        let Some(options) = options.map_err(Error::Other)? else {
            return Ok(None);
        };
        let mut exporter = exporter::of(&options).map_err(|error| {
            Error::Other(format!(
                "traces cannot be sent to {}: {error}",
                options.endpoint
            ))
        })?;
        let resource = Resource::builder_empty().with_attributes(options.resource.clone());
        exporter.set_resource(&resource.build());
        telemetry::begin_traces();
        let (ratio, limit, now) = (options.ratio, options.spans_a_second, Instant::now());
        // All sessions of a node may begin or end at once.
        let sessions = Sampler::new(ratio, limit, SESSIONS_BURST, now);
        let agent = Sampler::new(ratio, limit, 1, now);
        let (recorder, waiting) = queue::queue(sessions, agent);
        Ok(Some(Self {
            recorder,
            exporter: tokio::spawn(waiting.send(exporter)),
            follower: None,
            run_queue_wait: options.run_queue_wait,
        }))
    }

    /// Who takes spans.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Tells of the sessions of each snapshot from now on.
    pub fn follow(&mut self, mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>) {
        let recorder = self.recorder.clone();
        let mut follower = Follower::new(self.run_queue_wait);
        self.follower = Some(tokio::spawn(async move {
            while snapshots.changed().await.is_ok() {
                let Some(snapshot) = snapshots.borrow_and_update().clone() else {
                    continue;
                };
                let keeps = |trace| recorder.keeps(TracesOf::Sessions, trace);
                let (there, unseen) = (&snapshot.sessions, &snapshot.ended_unseen);
                for span in follower.look(there, unseen, keeps, Moment::now()) {
                    recorder.record(TracesOf::Sessions, span);
                }
            }
        }));
    }

    /// Sends what is left, but not for long.
    pub async fn finish(self) {
        // It ends when it has seen the last snapshot, of which there is none after the agent's end.
        if let Some(follower) = self.follower {
            let _ = timeout(LAST_SPANS, follower).await;
        }
        let until = Instant::now() + LAST_SPANS;
        while !self.recorder.is_idle() && Instant::now() < until {
            self.recorder.hurry();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.exporter.abort();
        // It has been told to end, and only waits to be looked at.
        let _ = timeout(LAST_SPANS, self.exporter).await;
    }
}

impl Recorder {
    /// A comparison with a platform has been made, which took so long until now.
    pub fn reconciled(&self, source: &'static str, took: Duration, outcome: Outcome) {
        let trace: [u8; 16] = request::random();
        if !self.keeps(TracesOf::Agent, trace) {
            return;
        }
        let end = SystemTime::now();
        let span = span::Span {
            trace,
            id: request::random(),
            parent: None,
            is_root: false,
            is_of_another: false,
            is_server: false,
            name: "reconcile".into(),
            start: end.checked_sub(took).unwrap_or(end),
            end,
            attributes: vec![KeyValue::new("vdi.source", source)],
            error: match outcome {
                // Asked again at once, it is no failure.
                Outcome::Success | Outcome::Requeue => None,
                Outcome::Error(kind) => Some(kind.name().to_owned()),
            },
        };
        self.record(TracesOf::Agent, span);
    }
}
