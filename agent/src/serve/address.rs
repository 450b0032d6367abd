//! Where the agent can be reached: a port of an address, or a socket in the file system.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What the text of a socket in the file system begins with.
pub(crate) const UNIX: &str = "unix:";
/// The longest path of a socket, bytes: `sun_path` has 108, of which the last is zero (unix(7)).
const LONGEST: usize = 107;

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether other machines may reach it.
    pub fn is_open_to_others(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return socket_path(path).map(Self::Unix);
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "expected address:port such as \"127.0.0.1:9709\" or \"[::]:9709\", or a socket such as \
                 \"unix:/run/sessionscope/agent.sock\", found \"{text}\""
            )
        })
    }
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let length = text.len();
    if !path.is_absolute() || text.ends_with('/') || text.contains('\0') {
        return Err(format!(
            "expected the absolute path of a socket after {UNIX}, found \"{text}\""
        ));
    }
    if length > LONGEST {
        return Err(format!(
            "the path of a socket has {LONGEST} bytes at most, and \"{text}\" has {length}"
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        text.parse()
    }

    #[test]
    fn ports_and_sockets_are_read_and_written_alike() {
        for text in ["127.0.0.1:9709", "[::]:9709", "unix:/run/a/agent.sock"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            parse("unix:/run/x").unwrap(),
            Address::Unix("/run/x".into())
        );
    }

    #[test]
    fn a_socket_has_an_absolute_path_that_is_not_too_long() {
        for wrong in [
            "unix:",
            "unix:run/x",
            "unix:./x",
            "unix:/run/",
            "unix:/r\0un",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("absolute path"), "{error}");
        }
        let longest = format!("unix:/{}", "x".repeat(LONGEST - 1));
        assert!(parse(&longest).is_ok());
        let error = parse(&format!("{longest}x")).unwrap_err();
        assert!(error.contains("107 bytes at most"), "{error}");
    }

    #[test]
    fn what_is_neither_is_refused_with_both_forms() {
        for wrong in ["", "localhost:9709", "9709", "/run/x", "UNIX:/run/x"] {
            let error = parse(wrong).unwrap_err();
            assert!(
                error.contains("127.0.0.1:9709") && error.contains("unix:/run"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_a_port_beyond_loopback_is_open_to_others() {
        for (text, is_open) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
            ("10.0.0.7:1", true),
            ("unix:/run/x", false),
        ] {
            assert_eq!(parse(text).unwrap().is_open_to_others(), is_open, "{text}");
        }
    }
}
