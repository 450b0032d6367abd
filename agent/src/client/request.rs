//! One request to the agent.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use procfs::net::TcpState;
use rustix::process::geteuid;
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring::default_provider;
use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
};

use super::{OwnAgent, Target, socket};
use crate::{
    error::Error,
    serve::address::{Address, UNIX},
};

/// An agent answers in milliseconds; one that does not is stuck.
const LIMIT: Duration = Duration::from_secs(5);
/// A session takes 4 KB, and there are a few thousand at most.
const LARGEST: u64 = 64 << 20;

/// Where an agent is, and how it is asked.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Address and port, or its socket in the file system.
    pub(super) address: String,
    /// The path of that socket, if it is one.
    socket: Option<PathBuf>,
    is_tls: bool,
    /// Its certificate is of an authority that was named.
    is_known: bool,
    /// By which its certificate is known; empty for any.
    authorities: Vec<Certificate<'static>>,
    /// What is shown to an agent that asks for a certificate.
    certificate: Option<ClientCert>,
    token: Option<String>,
}

impl Place {
    /// The one that is asked for, or that of this node.
    pub(super) fn of(target: &Target, own: &OwnAgent) -> Result<Self, Error> {
        let (address, is_tls) = match target.address.as_deref() {
            // As a browser's address, too.
            Some(given) => {
                let given = given.trim_end_matches('/');
                let (secret, plain) = (
                    given.strip_prefix("https://"),
                    given.strip_prefix("http://"),
                );
                // Whoever names authorities wants them to be asked, and a certificate to be shown.
                let wants_tls = target.ca_file.is_some() || target.cert_file.is_some();
                let is_tls = secret.is_some() || (plain.is_none() && wants_tls);
                (secret.or(plain).unwrap_or(given).to_owned(), is_tls)
            }
            None => (own_address(own)?, own.speaks_tls),
        };
        let socket = if address.starts_with(UNIX) {
            match address.parse::<Address>().map_err(Error::Other)? {
                Address::Unix(path) => Some(path),
                Address::Tcp(_) => None,
            }
        } else {
            None
        };
        let token = match (&target.token_file, &own.session_tokens) {
            (Some(path), _) => Some(token(path)?),
            // Who may not read it may be let in without.
            (None, Some(path)) if target.address.is_none() => token(path).ok(),
            (None, _) => None,
        };
        let is_known = is_tls && target.ca_file.is_some();
        // Whose a socket is shows when it is connected to.
        if token.is_some() && socket.is_none() {
            let is_configured = target.address.is_none();
            may_be_shown(&address, is_known, is_configured).map_err(Error::Other)?;
        }
        let authorities = target.ca_file.as_deref().map(certificates).transpose()?;
        let certificate = match (&target.cert_file, &target.key_file) {
            (Some(chain), Some(key)) => Some(ClientCert::new_with_certs(
                &certificates(chain)?,
                private_key(key)?,
            )),
            _ => None,
        };
        Ok(Self {
            address,
            socket,
            is_tls,
            is_known,
            authorities: authorities.unwrap_or_default(),
            certificate,
            token,
        })
    }

    /// That it has not answered as it should.
    fn fails(&self, reason: String) -> Error {
        Error::Unreachable {
            address: self.address.clone(),
            reason,
        }
    }

    fn tls(&self) -> TlsConfig {
        let builder = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .client_cert(self.certificate.clone());
        let builder = if self.authorities.is_empty() {
            builder.disable_verification(true)
        } else {
            builder.root_certs(RootCerts::new_with_certs(&self.authorities))
        };
        builder.build()
    }
}

/// Whether a token may be shown to who listens at an address: an agent that is known by its certificate, or root's on this
/// node, at a loopback address or where the configuration has it. That somebody listens at the port on all addresses here
/// says nothing of another node's.
fn may_be_shown(address: &str, is_known: bool, is_configured: bool) -> Result<(), String> {
    if is_known {
        return Ok(());
    }
    let own: Option<SocketAddr> = address.parse().ok();
    let Some(own) = own.filter(|own| own.ip().is_loopback() || is_configured) else {
        return Err(format!(
            "no token is shown to {address}, which nothing is known of: name it with https:// and --ca-file"
        ));
    };
    match listener(own) {
        Some(uid) if uid != 0 && uid != geteuid().as_raw() => Err(format!(
            "no token is shown to {address}, where the user {uid} listens and not the agent"
        )),
        _ => Ok(()),
    }
}

/// The user who listens at an address of this node; `None` where nobody does.
fn listener(address: SocketAddr) -> Option<u32> {
    let sockets = [procfs::net::tcp(), procfs::net::tcp6()];
    let mut sockets = sockets.into_iter().flatten().flatten();
    let found = sockets.find(|socket| {
        let at = socket.local_address;
        let is_there = at.ip().is_unspecified() || at.ip().to_canonical() == address.ip();
        socket.state == TcpState::Listen && at.port() == address.port() && is_there
    });
    found.map(|socket| socket.uid)
}

/// The first token of a file.
pub(super) fn token(path: &Path) -> Result<String, Error> {
    let fails = Error::io(path.display().to_string());
    let text = fs::read_to_string(path).map_err(fails)?;
    let mut lines = text.lines().map(str::trim);
    let token = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    token
        .map(str::to_owned)
        .ok_or_else(|| Error::Other(format!("{}: there is no token in it", path.display())))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
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

pub(super) fn private_key(path: &Path) -> Result<PrivateKey<'static>, Error> {
    let text = fs::read(path).map_err(Error::io(path.display().to_string()))?;
    let found = parse_pem(&text).find_map(|item| match item {
        Ok(PemItem::PrivateKey(key)) => Some(key),
        _ => None,
    });
    found.ok_or_else(|| {
        let path = path.display();
        Error::Other(format!("{path}: there is no private key in it"))
    })
}

/// The agent's answer to `GET /api/v1/sessions`, as it is.
pub(super) fn report(place: &Place) -> Result<Value, Error> {
    let (status, value) = ask(place, "/api/v1/sessions")?;
    let Some(value) = value.filter(|value| status == 200 && value["sessions"].is_array()) else {
        return Err(place.fails(format!(
            "what listens there is not an agent (HTTP status {status})"
        )));
    };
    if value["agent"].is_null() {
        return Err(place.fails("it has not taken its first sample yet".to_owned()));
    }
    Ok(value)
}

/// The agent's answer to `GET /api/v1/sessions/{id}/history`, as it is.
pub(super) fn history(place: &Place, id: &str) -> Result<Value, Error> {
    answer(place, &format!("/api/v1/sessions/{id}/history"))
}

/// What has ended.
pub(super) fn ended(place: &Place) -> Result<Value, Error> {
    answer(place, "/api/v1/ended")
}

fn answer(place: &Place, path: &str) -> Result<Value, Error> {
    let (status, value) = ask(place, path)?;
    let value = value.unwrap_or_default();
    if status != 200 {
        let why = value["error"].as_str();
        let why = why.map_or_else(
            || format!("it answers with the status {status}"),
            ToOwned::to_owned,
        );
        return Err(place.fails(why));
    }
    Ok(value)
}

/// The status of an answer, and the answer if it is JSON.
fn ask(place: &Place, path: &str) -> Result<(u16, Option<Value>), Error> {
    let fails = |reason: String| place.fails(reason);
    let settings = ureq::Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        // What a node's proxy settings are for is not its own agent.
        .proxy(None)
        .tls_config(place.tls())
        .build();
    let scheme = if place.is_tls { "https" } else { "http" };
    let (agent, host) = match &place.socket {
        None => (
            ureq::Agent::new_with_config(settings),
            place.address.as_str(),
        ),
        Some(path) => {
            let only_of_root = place.token.is_some() && !place.is_known;
            let agent = socket::agent(settings, path, only_of_root, LIMIT);
            (agent, "localhost")
        }
    };
    let mut request = agent.get(format!("{scheme}://{host}{path}"));
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
    Ok((status.as_u16(), serde_json::from_str(&text).ok()))
}

pub(super) fn reason(error: &ureq::Error) -> String {
    match error {
        // Without the library's prefix.
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The address of this node's agent.
fn own_address(own: &OwnAgent) -> Result<String, Error> {
    match &own.listen {
        Some(Address::Tcp(listen)) => Ok(reachable(*listen).to_string()),
        Some(socket) => Ok(socket.to_string()),
        None => Err(Error::Other("the key listen names no address".to_owned())),
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
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_token_is_shown_to_who_is_known_and_to_roots_on_this_node() {
        assert!(may_be_shown("192.0.2.7:9709", true, false).is_ok());
        assert!(may_be_shown("192.0.2.7:9709", false, false).is_err());
        assert!(may_be_shown("node-1:9709", false, false).is_err());
        // One that listens here, as who runs this test.
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        assert_eq!(listener(address), Some(geteuid().as_raw()));
        assert!(may_be_shown(&address.to_string(), false, false).is_ok());
        // The port of an agent here that listens on all addresses is not that of another node.
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = all.local_addr().unwrap().port();
        assert!(may_be_shown(&format!("192.0.2.7:{port}"), false, false).is_err());
        assert!(may_be_shown(&format!("127.0.0.1:{port}"), false, false).is_ok());
    }

    #[test]
    fn a_socket_is_asked_that_is_the_first_of_the_configuration_or_is_named() {
        let own = OwnAgent {
            listen: Some("unix:/run/own.sock".parse().unwrap()),
            speaks_tls: true,
            session_tokens: None,
        };
        for (named, address, is_tls) in [
            (None, "unix:/run/own.sock", true),
            (Some("unix:/run/x.sock"), "unix:/run/x.sock", false),
            (Some("https://unix:/run/x.sock"), "unix:/run/x.sock", true),
        ] {
            let target = Target {
                address: named.map(str::to_owned),
                ..Target::default()
            };
            let place = Place::of(&target, &own).unwrap();
            let path = address.strip_prefix(UNIX).map(PathBuf::from);
            assert_eq!((place.address.as_str(), place.socket), (address, path));
            assert_eq!(place.is_tls, is_tls, "{address}");
        }
        let target = Target {
            address: Some("unix:x.sock".to_owned()),
            ..Target::default()
        };
        let error = Place::of(&target, &own).unwrap_err().to_string();
        assert!(error.contains("absolute path"), "{error}");
    }

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
