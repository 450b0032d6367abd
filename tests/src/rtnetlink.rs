//! The few requests to the kernel that build a network: what `ip` and `tc` would ask for, without needing
//! them in a guest that has nothing but the tests.
//!
//! Numbers and layouts are those of `include/uapi/linux/`: netlink, rtnetlink, `if_link`, veth, `pkt_sched`.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWQDISC: u16 = 36;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;

const AF_INET: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// `struct rtmsg` behind family and prefix length: main table, static, of the link, unicast.
const ROUTE: [u8; 6] = [0, 0, 254, 4, 253, 1];
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTAX_QUICKACK: u16 = 15;

const TC_H_ROOT: u32 = u32::MAX;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_NETEM_LATENCY64: u16 = 10;
/// Packets that wait in the queue of netem before it drops one more.
const QUEUE: u32 = 100_000;

/// What a link does to the packets that leave by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impairment {
    /// Each is later by this.
    pub delay: Duration,
    /// So large a part is dropped, 0 to 1.
    pub loss: f64,
}

/// A connection to the kernel's network configuration, of the namespace in which it was made.
#[derive(Debug)]
pub struct Rtnetlink {
    socket: OwnedFd,
}

impl Rtnetlink {
    /// For the namespace of the calling thread.
    pub fn new() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket })
    }

    /// Makes a pair of interfaces: `name` here, `peer` in the namespace that `other` is open on.
    pub fn add_pair(&self, name: &str, peer: &str, other: &impl AsRawFd) -> io::Result<()> {
        let mut there = link(0, 0);
        attribute(&mut there, IFLA_IFNAME, &text(peer));
        attribute(&mut there, IFLA_NET_NS_FD, &other.as_raw_fd().to_ne_bytes());
        let mut data = Vec::new();
        attribute(&mut data, VETH_INFO_PEER, &there);
        let mut info = Vec::new();
        attribute(&mut info, IFLA_INFO_KIND, &text("veth"));
        attribute(&mut info, IFLA_INFO_DATA, &data);
        let mut body = link(0, 0);
        attribute(&mut body, IFLA_IFNAME, &text(name));
        attribute(&mut body, IFLA_LINKINFO, &info);
        self.ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    /// Turns an interface on.
    pub fn up(&self, index: u32) -> io::Result<()> {
        self.ask(RTM_NEWLINK, 0, &link(index, IFF_UP))
    }

    /// Turns an interface off: what is sent by it is lost, and nobody is told.
    pub fn down(&self, index: u32) -> io::Result<()> {
        self.ask(RTM_NEWLINK, 0, &words(&[0, index, 0, IFF_UP]))
    }

    /// Gives an interface an address.
    pub fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        // struct ifaddrmsg
        let mut body = vec![AF_INET, prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &address.octets());
        attribute(&mut body, IFA_ADDRESS, &address.octets());
        self.ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    /// Routes a network by an interface so that every segment is acknowledged at once: neither later nor
    /// together with an answer, whose making is no part of the round-trip time.
    pub fn route_with_quick_acknowledgements(
        &self,
        index: u32,
        network: Ipv4Addr,
        prefix: u8,
        source: Ipv4Addr,
    ) -> io::Result<()> {
        let mut metrics = Vec::new();
        attribute(&mut metrics, RTAX_QUICKACK, &1_u32.to_ne_bytes());
        let mut body = [&[AF_INET, prefix][..], &ROUTE, &[0; 4]].concat();
        attribute(&mut body, RTA_DST, &network.octets());
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        attribute(&mut body, RTA_PREFSRC, &source.octets());
        attribute(&mut body, RTA_METRICS, &metrics);
        self.ask(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body)
    }

    /// Puts netem on an interface, or changes what it does.
    pub fn impair(&self, index: u32, impairment: Impairment) -> io::Result<()> {
        // struct tc_netem_qopt, whose delay the attribute overrides
        let loss = (impairment.loss * f64::from(u32::MAX)) as u32;
        let mut options = words(&[0, QUEUE, loss, 0, 0, 0]);
        let delay = impairment.delay.as_nanos() as i64;
        attribute(&mut options, TCA_NETEM_LATENCY64, &delay.to_ne_bytes());
        // struct tcmsg
        let mut body = words(&[0, index, 0, TC_H_ROOT, 0]);
        attribute(&mut body, TCA_KIND, &text("netem"));
        attribute(&mut body, TCA_OPTIONS, &options);
        self.ask(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &body)
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let fd = self.socket.as_raw_fd();
        sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 8192];
        let length = recv(fd, &mut answer, MsgFlags::empty())?;
        // struct nlmsgerr behind the header; 0 is the acknowledgement.
        if length < HEADER + 4 || answer[4..6] != NLMSG_ERROR.to_ne_bytes() {
            return Err(io::Error::other(
                "the kernel's answer is no acknowledgement",
            ));
        }
        let code = [answer[16], answer[17], answer[18], answer[19]];
        match i32::from_ne_bytes(code) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

/// `struct ifinfomsg` with the flags that are to be set.
fn link(index: u32, flags: u32) -> Vec<u8> {
    words(&[0, index, flags, flags])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Appends an attribute; the next one begins at a multiple of four.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}
