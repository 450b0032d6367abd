//! What speaks to the collector.

use std::{fs, path::Path, sync::Arc};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, crypto,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{options::Options, settings::Protocol};

/// An exporter of what is set. An error says what of it cannot be used.
pub(super) fn of(options: &Options) -> Result<SpanExporter, String> {
    let exporter = match options.protocol {
        Protocol::Grpc => {
            let builder = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(options.endpoint.clone())
                .with_timeout(options.timeout);
            if options.speaks_tls() {
                builder.with_tls_config(tls_of_grpc(options)?).build()
            } else {
                builder.build()
            }
        }
        Protocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(http_client(options)?)
            .with_endpoint(options.endpoint.clone())
            .with_timeout(options.timeout)
            .build(),
    };
    exporter.map_err(|error| error.to_string())
}

fn wrong(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> String {
    move |error| format!("the certificates of {}: {error}", path.display())
}

fn tls_of_grpc(options: &Options) -> Result<ClientTlsConfig, String> {
    let tls = ClientTlsConfig::new();
    match &options.certificate {
        Some(path) => {
            let pem = fs::read(path).map_err(|error| wrong(path)(&error))?;
            Ok(tls.ca_certificate(Certificate::from_pem(pem)))
        }
        None => Ok(tls.with_native_roots()),
    }
}

/// A client that speaks HTTP with and without TLS. Where it is without, nobody's certificates are read: a system may have
/// none.
fn http_client(options: &Options) -> Result<HyperClient<HttpsConnector<HttpConnector>>, String> {
    let provider = crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if options.certificate.is_some() || !options.speaks_tls() {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &options.certificate {
            let wrong = wrong(path);
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
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
