//! Prometheus's HTTP API.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio_rustls::rustls::crypto::ring::default_provider;
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, RootCerts, TlsConfig, TlsProvider},
};

use super::super::{
    request::{certificates, private_key, reason, token},
    units::printable,
};
use super::ReportOptions;
use crate::error::Error;

/// A day of a large platform takes seconds; the first question that takes longer ends it all.
const LIMIT: Duration = Duration::from_secs(30);
/// So much of what a server says of an error is told.
const TOLD: usize = 300;
/// A range of a few thousand series.
const LARGEST: u64 = 256 << 20;

/// A server, and how it is asked.
pub(super) struct Prometheus {
    agent: Agent,
    /// Without a slash at the end.
    url: String,
    authorization: Option<String>,
    /// What it said against its own answers.
    warnings: RefCell<BTreeSet<String>>,
}

/// A series at a moment, or over time.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Series {
    #[serde(default)]
    pub(super) metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Series {
    /// A label; empty when it is not there.
    pub(super) fn label(&self, name: &str) -> &str {
        self.metric.get(name).map_or("", String::as_str)
    }

    /// Its value; `None` when it is not a number.
    pub(super) fn value(&self) -> Option<f64> {
        let (_, text) = self.value.as_ref()?;
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// Its values, those that are numbers.
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        let parsed = |(at, text): &(f64, String)| Some((*at, text.parse::<f64>().ok()?));
        let points = self.values.iter().filter_map(parsed);
        points.filter(|(_, value)| value.is_finite()).collect()
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Found>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    result: Vec<Series>,
}

impl Prometheus {
    pub(super) fn of(options: &ReportOptions) -> Result<Self, Error> {
        let url = options.prometheus.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::Other(format!(
                "--prometheus: {url:?} is not an address that begins with http:// or https://"
            )));
        }
        let (_, place) = url.split_once("://").unwrap_or_default();
        if place.contains(['@', '?', '#']) || place.ends_with("/api/v1") {
            return Err(Error::Other(
                "--prometheus: an address without a name or password (--user, --password-file), a query and /api/v1"
                    .to_owned(),
            ));
        }
        let basic = || -> Result<Option<String>, Error> {
            let (Some(user), Some(path)) = (&options.user, &options.password_file) else {
                return Ok(None);
            };
            let password = fs::read_to_string(path);
            let password = password.map_err(Error::io(path.display().to_string()))?;
            let both = format!("{user}:{}", password.trim_end_matches(['\r', '\n']));
            Ok(Some(format!("Basic {}", STANDARD.encode(both))))
        };
        let authorization = match &options.token_file {
            Some(path) => Some(format!("Bearer {}", token(path)?)),
            None => basic()?,
        };
        let settings = Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            // A form is not sent on.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls(options)?)
            .build();
        Ok(Self {
            agent: Agent::new_with_config(settings),
            url,
            authorization,
            warnings: RefCell::default(),
        })
    }

    /// What it said against its answers, such as that a store was away.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().iter().cloned().collect()
    }

    /// The series of an expression at a moment.
    pub(super) fn instant(&self, query: &str, at: f64) -> Result<Vec<Series>, Error> {
        self.ask("query", &[("query", query), ("time", &at.to_string())])
    }

    /// The same over time.
    pub(super) fn range(
        &self,
        query: &str,
        from: f64,
        to: f64,
        step: f64,
    ) -> Result<Vec<Series>, Error> {
        let [from, to, step] = [from, to, step].map(|value| value.to_string());
        self.ask(
            "query_range",
            &[
                ("query", query),
                ("start", &from),
                ("end", &to),
                ("step", &step),
            ],
        )
    }

    fn ask(&self, what: &str, form: &[(&str, &str)]) -> Result<Vec<Series>, Error> {
        let fails = |reason: String| Error::NoAnswer {
            whom: format!("Prometheus at {}", self.url),
            reason,
        };
        let mut request = self.agent.post(format!("{}/api/v1/{what}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send_form(form.iter().copied());
        let mut response = response.map_err(|error| fails(reason(&error)))?;
        let status = response.status().as_u16();
        if let Some(to) = response.headers().get("location")
            && (300..400).contains(&status)
        {
            let to = printable(&String::from_utf8_lossy(to.as_bytes()));
            return Err(fails(format!("it leads to {to}: give the address there")));
        }
        let body = response.body_mut().with_config().limit(LARGEST);
        let text = body.read_to_string();
        let text = text.map_err(|error| fails(reason(&error)))?;
        if [401, 403].contains(&status) {
            return Err(fails(format!(
                "it wants to know who asks (HTTP status {status}): give --token-file, or --user and --password-file"
            )));
        }
        let answer: Answer = serde_json::from_str(&text).map_err(|_| {
            if status >= 500 {
                return fails(format!("it answers with the HTTP status {status}"));
            }
            fails(format!(
                "what answers is not the API of Prometheus (HTTP status {status}); --prometheus is its address without /api/v1"
            ))
        })?;
        let told = |said: &String| printable(&said.chars().take(TOLD).collect::<String>());
        let warnings = answer.warnings.iter().map(told);
        self.warnings.borrow_mut().extend(warnings);
        if answer.status == "success"
            && let Some(found) = answer.data
        {
            return Ok(found.result);
        }
        let error = answer.error.as_ref().map(told);
        let error = error.unwrap_or_else(|| format!("HTTP status {status}"));
        let asked = form.first().map_or("", |(_, query)| query);
        Err(fails(format!("{error}; it was asked for {asked}")))
    }
}

/// Who is known: the authorities that are named, else those of the system.
fn tls(options: &ReportOptions) -> Result<TlsConfig, Error> {
    let roots: Vec<Certificate<'static>> = match &options.ca_file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect(),
    };
    let certificate = |chain: &Path, key: &Path| -> Result<ClientCert, Error> {
        Ok(ClientCert::new_with_certs(
            &certificates(chain)?,
            private_key(key)?,
        ))
    };
    let certificate = match (&options.cert_file, &options.key_file) {
        (Some(chain), Some(key)) => Some(certificate(chain, key)?),
        _ => None,
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(certificate)
        .build())
}

/// Posts a text to a chat's webhook, of which an error names the host alone: who knows the rest may post there, too.
pub(super) fn post(url: &str, text: &str) -> Result<(), Error> {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let fails = |reason: String| Error::NoAnswer {
        whom: format!("the webhook of {host}"),
        reason,
    };
    let settings = Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        .tls_config(tls(&ReportOptions::default())?)
        .build();
    let body = serde_json::json!({ "text": text }).to_string();
    let answer = Agent::new_with_config(settings)
        .post(url)
        .header("Content-Type", "application/json")
        .send(body);
    let answer = answer.map_err(|error| fails(reason(&error)))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status().as_u16();
    Err(fails(format!("it answers with the HTTP status {status}")))
}
