//! Traces: each session is one, and each request and each comparison with a platform is a span of its own.
//!
//! ```text
//!  snapshots ─► Follower ─┐
//!  requests ──────────────┼─► Recorder ─► queue ─► OTLP
//!  reconciles ────────────┘   sampler     bounded   its own task
//! ```
//!
//! It reads what every output reads, and nobody waits for it. Without a collector nothing of it runs.

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

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, crypto,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use self::{follow::Follower, options::Options, sampler::Sampler, settings::Protocol};
pub use self::{
    queue::Recorder,
    request::{Asked, Parent},
    settings::Settings,
};
use crate::{discover::platform::Outcome, error::Error, snapshot::Snapshot, telemetry};

/// How long a collector may take for a request.
const EXPORT_LIMIT: Duration = Duration::from_secs(10);
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
        let mut exporter = exporter(&options).map_err(|error| {
            Error::Other(format!(
                "traces cannot be sent to {}: {error}",
                options.endpoint
            ))
        })?;
        let resource = Resource::builder_empty().with_attributes(options.resource.clone());
        exporter.set_resource(&resource.build());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        telemetry::begin_traces(boot.unwrap_or_default());
        let sampler = Sampler::new(options.ratio, options.spans_a_second, Instant::now());
        let (recorder, waiting) = queue::queue(sampler);
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
                let keeps = |trace| recorder.keeps(trace);
                for span in follower.look(&snapshot.sessions, keeps, SystemTime::now()) {
                    recorder.record(span);
                }
            }
        }));
    }

    /// Sends what is left, but not for long.
    pub async fn finish(self) {
        if let Some(follower) = self.follower {
            follower.abort();
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

fn exporter(options: &Options) -> Result<SpanExporter, String> {
    let exporter = match options.protocol {
        Protocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(options.endpoint.clone())
            .build(),
        Protocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(http_client()?)
            .with_endpoint(options.endpoint.clone())
            .build(),
    };
    exporter.map_err(|error| error.to_string())
}

/// The file with the certificates of who may be a collector; without it the system's are.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// A client that speaks HTTP with and without TLS.
fn http_client() -> Result<HyperClient<HttpsConnector<HttpConnector>>, String> {
    let provider = crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = match std::env::var(CERTIFICATE) {
        Ok(path) if !path.is_empty() => {
            let wrong = |error: String| format!("{CERTIFICATE}: {path}: {error}");
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(&path);
            for certificate in certificates.map_err(|error| wrong(error.to_string()))? {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(error.to_string()))?;
            }
            let client = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong(error.to_string()))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            builder.with_tls_config(client)
        }
        _ => builder
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("the certificates of this system cannot be read: {error}"))?,
    };
    let connector = builder.https_or_http().enable_http1().build();
    Ok(HyperClient::new(connector, EXPORT_LIMIT, None))
}

impl Recorder {
    /// A comparison with a platform has been made, which took so long until now.
    pub fn reconciled(&self, source: &'static str, took: Duration, outcome: Outcome) {
        let trace: [u8; 16] = request::random();
        if !self.keeps(trace) {
            return;
        }
        let end = SystemTime::now();
        self.record(span::Span {
            trace,
            id: request::random(),
            parent: None,
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
        });
    }
}
