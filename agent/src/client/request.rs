//! One request to the agent.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio_rustls::rustls::crypto::ring::default_provider;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::{OwnAgent, Target};
use crate::error::Error;

/// An agent answers in milliseconds; one that does not is stuck.
const LIMIT: Duration = Duration::from_secs(5);
/// A session takes 4 KB, and there are a few thousand at most.
const LARGEST: u64 = 64 << 20;

/// Where an agent is, and how it is asked.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Address and port.
    pub(super) address: String,
    is_tls: bool,
    /// By which its certificate is known; empty for any.
    authorities: Vec<Certificate<'static>>,
    token: Option<String>,
}

impl Place {
    /// The one that is asked for, or that of this node.
    pub(super) fn of(target: &Target, own: &OwnAgent) -> Result<Self, Error> {
        let (address, is_tls) = match target.address.as_deref() {
            // As a browser's address, too.
            Some(given) => {
                let given = given.trim_end_matches('/');
                let plain = given.trim_start_matches("http://");
                let secret = given.strip_prefix("https://");
                (secret.unwrap_or(plain).to_owned(), secret.is_some())
            }
            None => (reachable(own.listen).to_string(), own.speaks_tls),
        };
        let token = match (&target.token_file, &own.session_tokens) {
            (Some(path), _) => Some(token(path)?),
            // Who may not read it may be let in without.
            (None, Some(path)) if target.address.is_none() => token(path).ok(),
            (None, _) => None,
        };
        let authorities = target.ca_file.as_deref().map(authorities).transpose()?;
        Ok(Self {
            address,
            is_tls,
            authorities: authorities.unwrap_or_default(),
            token,
        })
    }

    fn tls(&self) -> TlsConfig {
        let builder = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()));
        let builder = if self.authorities.is_empty() {
            builder.disable_verification(true)
        } else {
            builder.root_certs(RootCerts::new_with_certs(&self.authorities))
        };
        builder.build()
    }
}

/// The first token of a file.
fn token(path: &Path) -> Result<String, Error> {
    let fails = Error::io(path.display().to_string());
    let text = fs::read_to_string(path).map_err(fails)?;
    let mut lines = text.lines().map(str::trim);
    let token = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    token
        .map(str::to_owned)
        .ok_or_else(|| Error::Other(format!("{}: there is no token in it", path.display())))
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let text = fs::read(path).map_err(Error::io(path.display().to_string()))?;
    let items = parse_pem(&text).filter_map(Result::ok);
    let found: Vec<_> = items
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let path = path.display();
        return Err(Error::Other(format!(
            "{path}: there is no certificate in it"
        )));
    }
    Ok(found)
}

/// The agent's answer to `GET /api/v1/sessions`, as it is.
pub(super) fn report(place: &Place) -> Result<Value, Error> {
    let fails = |reason: String| Error::Unreachable {
        address: place.address.clone(),
        reason,
    };
    let settings = ureq::Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        // What a node's proxy settings are for is not its own agent.
        .proxy(None)
        .tls_config(place.tls())
        .build();
    let scheme = if place.is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/api/v1/sessions", place.address);
    let mut request = ureq::Agent::new_with_config(settings).get(&url);
    if let Some(token) = &place.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let response = request.call();
    let mut response = response.map_err(|error| fails(reason(&error)))?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(LARGEST);
    let text = body.read_to_string();
    let text = text.map_err(|error| fails(reason(&error)))?;
    // An agent that says why: it wants to know who asks, it does not go by this name, or is busy.
    if [401, 403].contains(&status.as_u16()) {
        let why = text.lines().next().unwrap_or_default();
        return Err(fails(format!("{why}: show a token (--token-file)")));
    }
    if [400, 421, 429, 503].contains(&status.as_u16())
        && let Some(why) = text.lines().next().filter(|line| !line.starts_with('<'))
    {
        return Err(fails(why.to_owned()));
    }
    let value: Option<Value> = serde_json::from_str(&text).ok();
    let Some(value) = value.filter(|value| status == 200 && value["sessions"].is_array()) else {
        return Err(fails(format!(
            "what listens there is not an agent (HTTP status {status})"
        )));
    };
    if value["agent"].is_null() {
        return Err(fails("it has not taken its first sample yet".to_owned()));
    }
    Ok(value)
}

fn reason(error: &ureq::Error) -> String {
    match error {
        // Without the library's prefix.
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Where an agent that listens on `listen` can be asked from this node.
pub(super) fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_on_all_addresses_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:9709", "127.0.0.1:9709"),
            ("[::]:9709", "[::1]:9709"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
