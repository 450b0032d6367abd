//! The names that the agent answers to where it tells of sessions.
//!
//! A page in the browser of a session can have the name of its own server point to this node (DNS rebinding): the
//! browser then takes the agent for that server, and the page reads what it answers. Such a request names the
//! page's host. So a request for what is of sessions must name an address, `localhost`, the node, or a name that
//! `api.hosts` lists: none of these is the name of somebody's web page. What names no host is not from a browser. And
//! where a browser says which page asks (`Origin`), that must be a page of one of these names.
//!
//! So it is by a socket in the file system: no page in a browser reaches one, but what forwards a port to it does not look
//! who comes by the port.

use std::{collections::BTreeSet, env, fs, net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::traffic::Traffic;

/// The names, in lower case.
#[derive(Debug)]
pub(super) struct Hosts(BTreeSet<String>);

impl Hosts {
    /// Those of the node, as its files have them, and those of the configuration.
    pub(super) fn new(configured: Option<&str>, listed: &[String]) -> Self {
        // What cannot be read names nothing.
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let kernel = text("/proc/sys/kernel/hostname");
        // In a pod the kernel has the pod's name.
        let node = env::var("NODE_NAME").ok();
        let own = [Some(kernel), node, configured.map(str::to_owned)];
        let own: Vec<String> = own.into_iter().flatten().collect();
        Self::of(&own, &text("/etc/hosts"), &text("/etc/resolv.conf"), listed)
    }

    /// The node's own names, with the domains that its resolver adds to them and the other names of their lines in
    /// the table of hosts, and those that are listed.
    fn of(own: &[String], table: &str, resolver: &str, listed: &[String]) -> Self {
        let mut names = BTreeSet::from(["localhost".to_owned()]);
        let own = own.iter().map(|name| normal(name.trim()));
        for name in own.filter(|name| !name.is_empty()) {
            let short = name.split('.').next().unwrap_or(&name).to_owned();
            let long = domains(resolver).map(|domain| format!("{short}.{}", normal(domain)));
            names.extend(long);
            names.extend(lines(table, &name));
            names.extend([short, name]);
        }
        names.extend(listed.iter().map(|name| normal(name)));
        Self(names)
    }

    /// Why a request is refused; `None` where it is not.
    fn refusal(&self, request: &Request) -> Option<String> {
        let target = request.uri().authority().map(Authority::as_str);
        let headers = request.headers().get_all(header::HOST).iter();
        let named = headers.map(|value| value.to_str().unwrap_or_default());
        let mut named = target.into_iter().chain(named);
        if let Some(other) = named.find(|host| !self.takes(host)) {
            return Some(format!(
                "this agent does not answer to the name {other:?}: ask for its address, or list the \
                 name in api.hosts\n"
            ));
        }
        // Browsers say which page asks; one without an origin is `null`.
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        let other = origins.find(|value| {
            let origin = value.to_str().unwrap_or_default();
            let host = origin.split_once("://").map(|(_, host)| host);
            !host.is_some_and(|host| self.takes(host))
        })?;
        Some(format!(
            "this agent does not answer to pages of {other:?}: list the name in api.hosts\n"
        ))
    }

    /// Whether a host, perhaps with a port, is an address or one of the names.
    fn takes(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        !host.contains('@') && (address.parse::<IpAddr>().is_ok() || self.0.contains(&normal(name)))
    }
}

/// Names differ neither by case nor by the dot of the root.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The domains that a resolver appends (resolv.conf(5)).
fn domains(resolver: &str) -> impl Iterator<Item = &str> {
    resolver.lines().flat_map(|line| {
        let mut words = line.split_whitespace();
        let is_list = matches!(words.next(), Some("search" | "domain"));
        // The root is a domain there, and makes no name.
        words.filter(move |word| is_list && *word != ".")
    })
}

/// All names of the lines that have one (hosts(5)).
fn lines(table: &str, name: &str) -> Vec<String> {
    let names = |line: &str| -> Vec<String> {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).map(normal).collect()
    };
    let mut all: Vec<_> = table.lines().map(names).collect();
    all.retain(|names| names.iter().any(|one| one == name));
    all.concat()
}

/// Before the endpoints that tell of sessions.
pub(super) async fn check(
    State((hosts, traffic)): State<(Arc<Hosts>, Arc<Traffic>)>,
    request: Request,
    next: Next,
) -> Response {
    match hosts.refusal(&request) {
        None => next.run(request).await,
        Some(reason) => {
            let status = StatusCode::MISDIRECTED_REQUEST;
            traffic.refusals().say(&request, status, None, "host");
            (status, reason).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn hosts() -> Hosts {
        let own = [
            "Node-1\n".to_owned(),
            String::new(),
            "node-1.lan.example".to_owned(),
        ];
        let table = "127.0.0.1 localhost\n10.0.0.7\tdesks.corp.example node-1 # the rack's\n\
                     10.0.0.8 node-2.corp.example node-2\n# 10.0.0.9 old node-1\n";
        let resolver =
            "nameserver 10.0.0.1\nsearch corp.example Other.example. .\noptions ndots:5\n";
        Hosts::of(&own, table, resolver, &["Metrics.Example".to_owned()])
    }

    #[test]
    fn addresses_the_nodes_own_names_and_those_listed_are_taken() {
        let hosts = hosts();
        for taken in [
            "127.0.0.1:9709",
            "192.0.2.7",
            "[::1]:9709",
            "[2001:db8::7]",
            "localhost:9709",
            "LOCALHOST",
            "node-1",
            "NODE-1:9709",
            "node-1.lan.example",
            "node-1.corp.example",
            "node-1.other.example.",
            "desks.corp.example",
            "metrics.example:80",
        ] {
            assert!(hosts.takes(taken), "{taken}");
        }
    }

    #[test]
    fn other_names_are_not() {
        let hosts = hosts();
        for other in [
            "",
            "evil.example",
            "evil.example:9709",
            "node-1.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "node-2",
            "old",
            "corp.example",
            "[::1",
            "a b",
        ] {
            assert!(!hosts.takes(other), "{other}");
        }
    }

    #[test]
    fn every_host_that_a_request_names_must_be_one() {
        let refusal = |target: &str, named: &[&str]| {
            let mut request = Request::get(target);
            for host in named {
                request = request.header(header::HOST, *host);
            }
            hosts().refusal(&request.body(Body::empty()).unwrap())
        };
        assert_eq!(refusal("/", &[]), None);
        assert_eq!(refusal("/", &["node-1"]), None);
        assert_eq!(refusal("http://node-1/", &["node-1"]), None);
        assert!(refusal("http://evil.example/", &["node-1"]).is_some());
        let reason = refusal("/", &["node-1", "evil.example:9709"]).unwrap();
        assert!(reason.contains("\"evil.example:9709\""), "{reason}");
        assert!(reason.contains("api.hosts"), "{reason}");
    }

    #[test]
    fn a_page_of_another_host_is_refused_whatever_host_it_asks() {
        let refusal = |origin: &str| {
            let request = Request::get("/").header(header::HOST, "node-1");
            let request = request.header(header::ORIGIN, origin);
            hosts().refusal(&request.body(Body::empty()).unwrap())
        };
        for own in [
            "http://node-1:9709",
            "https://127.0.0.1",
            "http://localhost:3000",
        ] {
            assert_eq!(refusal(own), None, "{own}");
        }
        for other in [
            "http://evil.example",
            "null",
            "",
            "node-1",
            "http://node-1@evil.example",
        ] {
            let reason = refusal(other).expect(other);
            assert!(reason.contains("pages of"), "{reason}");
        }
    }
}
