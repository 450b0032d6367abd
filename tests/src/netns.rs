//! Network namespaces of the tests' own. They have no name and no file: each lives as long as the test
//! holds it, and the interfaces in it end with it.

use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    thread,
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
};

use crate::rtnetlink::{Impairment, Rtnetlink};

const INTERFACE: &str = "veth0";
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 199, 0, 0);
const PREFIX: u8 = 30;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
}

impl Namespace {
    /// An empty one, with loopback.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Rtnetlink::new()?.up(if_nametoindex("lo")?)?;
            File::open("/proc/thread-self/ns/net")
        });
        let handle = made.join().expect("the thread does not panic")?;
        Ok(Self { handle })
    }

    /// That of a process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let handle = File::open(format!("/proc/{pid}/ns/net"))?;
        Ok(Self { handle })
    }

    /// Runs `work` in the namespace, in a thread of its own. The sockets that it makes stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("root may enter its namespaces");
            work()
        };
        let done = thread::scope(|scope| scope.spawn(entered).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Takes the loopback away, or gives it back: without it no connection within the namespace gets anything through.
    pub fn set_loopback(&self, is_up: bool) -> io::Result<()> {
        self.inside(|| {
            let (netlink, index) = (Rtnetlink::new()?, if_nametoindex("lo")?);
            if is_up {
                netlink.up(index)
            } else {
                netlink.down(index)
            }
        })
    }

    /// `RetransSegs`: the TCP segments that the namespace has sent again.
    pub fn retransmitted_segments(&self) -> u64 {
        self.inside(|| {
            let text = fs::read_to_string("/proc/thread-self/net/snmp").expect("/proc has it");
            let lines: Vec<Vec<&str>> = text
                .lines()
                .filter_map(|line| line.strip_prefix("Tcp: "))
                .map(|line| line.split(' ').collect())
                .collect();
            let [names, values] = &lines[..] else {
                panic!("two lines about TCP: {text}")
            };
            let mut columns = names.iter().zip(values);
            let value = columns.find(|(name, _)| **name == "RetransSegs");
            value
                .and_then(|(_, value)| value.parse().ok())
                .expect("RetransSegs")
        })
    }
}

/// Two namespaces joined by a link.
#[derive(Debug)]
pub struct Link {
    /// Each end with its address.
    pub ends: [(Namespace, Ipv4Addr); 2],
}

impl Link {
    /// Joins two new namespaces; an error is what the kernel does not have.
    pub fn new() -> io::Result<Self> {
        let addresses = [1, 2].map(|last| Ipv4Addr::new(10, 199, 0, last));
        let (left, right) = (Namespace::new()?, Namespace::new()?);
        left.inside(|| Rtnetlink::new()?.add_pair(INTERFACE, INTERFACE, &right.handle))?;
        let link = Self {
            ends: [(left, addresses[0]), (right, addresses[1])],
        };
        for (namespace, address) in &link.ends {
            namespace.inside(|| {
                let (netlink, index) = (Rtnetlink::new()?, if_nametoindex(INTERFACE)?);
                netlink.add_address(index, *address, PREFIX)?;
                netlink.up(index)?;
                netlink.route_with_quick_acknowledgements(index, NETWORK, PREFIX, *address)
            })?;
        }
        link.impair([Impairment::default(); 2])?;
        Ok(link)
    }

    /// What the link does to packets, by the end that sends them.
    pub fn impair(&self, impairments: [Impairment; 2]) -> io::Result<()> {
        for ((namespace, _), impairment) in self.ends.iter().zip(impairments) {
            namespace
                .inside(|| Rtnetlink::new()?.impair(if_nametoindex(INTERFACE)?, impairment))?;
        }
        Ok(())
    }
}
