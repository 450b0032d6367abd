//! Where the system bus is.

use std::{env, path::Path};

use super::Settings;
use crate::discover::{platform::host_path, settings::Watch};

/// What every D-Bus client looks at first.
const VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Where the bus listens, newer place first. An agent in a container has neither, but the host does.
const SOCKETS: [&str; 2] = [
    "/run/dbus/system_bus_socket",
    "/var/run/dbus/system_bus_socket",
];
const UNIX: &str = "unix:path=";

/// The address to connect to; an error says why there is no sense in trying, which
/// [`Watch::On`] does all the same.
pub(super) fn find(settings: &Settings) -> Result<String, String> {
    let variable = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let address = settings.bus.clone().or(variable);
    let always = settings.watch != Watch::Auto;
    match address {
        Some(address) if always => Ok(address),
        Some(address) => told(address),
        None => usual(&SOCKETS).or_else(|reason| {
            if always {
                Ok(format!("{UNIX}{}", SOCKETS[0]))
            } else {
                Err(reason)
            }
        }),
    }
}

/// An address that somebody chose, unless it names a socket that is not there.
fn told(address: String) -> Result<String, String> {
    let socket = address.strip_prefix(UNIX).map(|rest| {
        let end = rest.find([',', ';']).unwrap_or(rest.len());
        Path::new(&rest[..end])
    });
    match socket {
        Some(socket) if !socket.exists() => {
            Err(format!("there is no D-Bus socket at {}", socket.display()))
        }
        _ => Ok(address),
    }
}

fn usual(sockets: &[&str]) -> Result<String, String> {
    let mut paths = sockets.iter().map(|socket| host_path(Path::new(socket)));
    let there = paths.find(|path| path.exists());
    there
        .map(|path| format!("{UNIX}{}", path.display()))
        .ok_or_else(|| {
            format!(
                "there is no D-Bus system bus: no socket at {}, here or in the host's file system",
                sockets.join(" or ")
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(watch: Watch, bus: &str) -> Settings {
        Settings {
            watch,
            bus: Some(bus.to_owned()),
        }
    }

    #[test]
    fn a_socket_that_is_not_there_is_tried_only_on_demand() {
        let nowhere = "unix:path=/nowhere/bus,guid=00";
        let reason = find(&settings(Watch::Auto, nowhere)).expect_err("it is not there");
        assert!(reason.ends_with("/nowhere/bus"), "{reason}");
        assert_eq!(find(&settings(Watch::On, nowhere)), Ok(nowhere.to_owned()));
    }

    #[test]
    fn an_address_that_names_no_path_is_always_tried() {
        for address in ["unix:abstract=bus", "tcp:host=127.0.0.1,port=1", "nonsense"] {
            let found = find(&settings(Watch::Auto, address));
            assert_eq!(found, Ok(address.to_owned()));
        }
    }

    #[test]
    fn the_first_socket_that_is_there_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("bus");
        std::fs::write(&there, "").unwrap();
        let there = there.to_str().unwrap();
        assert_eq!(
            usual(&["/nowhere/bus", there]),
            Ok(format!("unix:path={there}"))
        );
        let reason = usual(&["/nowhere/bus"]).expect_err("it is not there");
        assert!(reason.contains("/nowhere/bus"), "{reason}");
    }
}
