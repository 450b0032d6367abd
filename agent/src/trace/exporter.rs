//! What speaks to the collector.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use opentelemetry_otlp::{
    WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, crypto,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{options::Options, settings::Protocol};

/// Sends spans to the collector.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: opentelemetry_otlp::SpanExporter,
    /// Why the last request by HTTP was not answered.
    unanswered: Arc<Mutex<Option<String>>>,
}

impl Exporter {
    /// What has made the spans is this.
    pub(super) fn set_resource(&mut self, resource: &Resource) {
        self.spans.set_resource(resource);
    }

    /// Sends some. An error says what of it went wrong.
    pub(super) async fn export(&self, spans: Vec<SpanData>) -> Result<(), String> {
        let sent = self.spans.export(spans).await;
        sent.map_err(|error| {
            let mut unanswered = self
                .unanswered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            unanswered.take().unwrap_or_else(|| error.to_string())
        })
    }
}

/// An exporter of what is set. An error says what of it cannot be used.
pub(super) fn of(options: &Options) -> Result<Exporter, String> {
    let unanswered = Arc::default();
    let exporter = match options.protocol {
        Protocol::Grpc => {
            let builder = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(options.endpoint.clone())
                .with_timeout(options.timeout);
            if options.speaks_tls() {
                builder.with_tls_config(tls_of_grpc(options)?).build()
            } else {
                builder.build()
            }
        }
        Protocol::Http => opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Remembering {
                client: http_client(options)?,
                unanswered: Arc::clone(&unanswered),
            })
            .with_endpoint(options.endpoint.clone())
            .with_timeout(options.timeout)
            .build(),
    };
    let spans = exporter.map_err(|error| error.to_string())?;
    Ok(Exporter { spans, unanswered })
}

/// A client of which the exporter makes "network error", whatever it was: this one remembers it.
#[derive(Debug)]
struct Remembering {
    client: Client,
    unanswered: Arc<Mutex<Option<String>>>,
}

#[async_trait]
impl HttpClient for Remembering {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.send_bytes(request).await;
        let why = answer.as_ref().err().map(|error| whole(error.as_ref()));
        *self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why;
        answer
    }
}

/// An error with what is behind it: the first one says "client error" alone.
fn whole(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut said: Vec<String> = chain.map(ToString::to_string).collect();
    said.dedup();
    said.join(": ")
}

type Client = HyperClient<HttpsConnector<HttpConnector>>;

fn wrong(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> String {
    move |error| format!("the certificates of {}: {error}", path.display())
}

fn tls_of_grpc(options: &Options) -> Result<ClientTlsConfig, String> {
    let tls = ClientTlsConfig::new();
    match &options.certificate {
        Some(path) => {
            authorities(path)?;
            let pem = fs::read(path).map_err(|error| wrong(path)(&error))?;
            Ok(tls.ca_certificate(Certificate::from_pem(pem)))
        }
        None => Ok(tls.with_native_roots()),
    }
}

/// Those that a collector may have its certificate from.
fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let wrong = wrong(path);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there is none in it, in PEM"));
    }
    Ok(roots)
}

/// A client that speaks HTTP with and without TLS. Where it is without, nobody's certificates are read: a system may have
/// none.
fn http_client(options: &Options) -> Result<Client, String> {
    let provider = crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if options.certificate.is_some() || !options.speaks_tls() {
        let roots = match &options.certificate {
            Some(path) => authorities(path)?,
            None => RootCertStore::empty(),
        };
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        builder.with_tls_config(client)
    } else {
        builder
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("the certificates of this system cannot be read: {error}"))?
    };
    let connector = builder.https_or_http().enable_http1().build();
    Ok(HyperClient::new(connector, options.timeout, None))
}
