//! One request to the agent.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;

use crate::error::Error;

/// An agent answers in milliseconds; one that does not is stuck.
const LIMIT: Duration = Duration::from_secs(5);
/// A session takes 4 KB, and there are a few thousand at most.
const LARGEST: u64 = 64 << 20;

/// The agent's answer to `GET /api/v1/sessions`, as it is.
pub(super) fn report(address: &str) -> Result<Value, Error> {
    let fails = |reason: String| Error::Unreachable {
        address: address.to_owned(),
        reason,
    };
    let settings = ureq::Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        // What a node's proxy settings are for is not its own agent.
        .proxy(None)
        .build();
    let url = format!("http://{address}/api/v1/sessions");
    let response = ureq::Agent::new_with_config(settings).get(&url).call();
    let mut response = response.map_err(|error| fails(reason(&error)))?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(LARGEST);
    let text = body.read_to_string();
    let text = text.map_err(|error| fails(reason(&error)))?;
    // An agent that says why: it does not go by this name, or is busy.
    if [421, 503].contains(&status.as_u16())
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
