//! Who a client is, as far as shares go: its address, or its user where it comes by a socket in the file system.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What has a share of the connections and of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// An address, of whichever port.
    Address(IpAddr),
    /// A user of this node, by number.
    User(u32),
}

impl Peer {
    /// Of a connection by TCP. An IPv4 client of a socket for both is the same as of one for IPv4.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self::Address(address.ip().to_canonical())
    }

    /// What it is one of.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::User(_) => "user",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::User(uid) => write!(formatter, "the user {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_by_both_versions_of_ip_is_one_and_a_user_is_none_of_them() {
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(peer("192.0.2.7:1"), peer("[::ffff:192.0.2.7]:2"));
        assert_ne!(peer("0.0.0.0:1"), Peer::User(0));
        assert_eq!(Peer::User(7).to_string(), "the user 7");
    }
}
