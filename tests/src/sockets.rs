//! Sockets of a session, made by the test itself: a socket belongs to the cgroup that its maker is in at
//! that moment, so the test goes there, makes it, and goes back.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use nix::libc;

use crate::cgroup::{Cgroup, v2_mount};

/// Runs `make` with this process in the cgroup. The tests of a binary run one at a time, so nothing else is
/// taken along.
pub fn inside<T>(cgroup: &Cgroup, make: impl FnOnce() -> T) -> T {
    inside_of(cgroup.path(), make)
}

/// The same for a cgroup by its directory.
pub fn inside_of<T>(directory: &Path, make: impl FnOnce() -> T) -> T {
    let enter = |directory: &Path| {
        fs::write(
            directory.join("cgroup.procs"),
            std::process::id().to_string(),
        )
    };
    let home = home();
    enter(directory).expect("into the cgroup");
    let made = make();
    enter(&home).expect("back into the own cgroup");
    made
}

/// What the kernel says of a TCP socket (`struct tcp_info`, include/uapi/linux/tcp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Segments with data sent, each time that one was.
    pub data_segments_sent: u64,
    /// Smoothed round-trip time, microseconds.
    pub smoothed_rtt_us: u64,
    /// Least round-trip time of the last minutes, microseconds.
    pub min_rtt_us: u64,
    /// Bytes that wait for being sent.
    pub unsent_bytes: u64,
}

impl TcpInfo {
    /// Asks the kernel.
    pub fn of(stream: &TcpStream) -> Self {
        let mut info = [0_u8; 160];
        let mut length = info.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, which there are, and each value of them is one.
        #[expect(unsafe_code, reason = "no safe function has the members since 4.6")]
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert_eq!((result, length as usize), (0, info.len()), "TCP_INFO");
        let member = |offset: usize| {
            let bytes: [u8; 4] = info[offset..offset + 4].try_into().expect("four bytes");
            u64::from(u32::from_ne_bytes(bytes))
        };
        Self {
            smoothed_rtt_us: member(68),
            unsent_bytes: member(144),
            min_rtt_us: member(148),
            data_segments_sent: member(156),
        }
    }
}

/// Directory of the cgroup that this process is in.
fn home() -> PathBuf {
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .expect("a v2 cgroup");
    v2_mount().expect("a cgroup v2 mount").join(path)
}

/// A listener on loopback that belongs to the cgroup.
pub fn listen(cgroup: &Cgroup) -> TcpListener {
    inside(cgroup, || {
        TcpListener::bind(("127.0.0.1", 0)).expect("a port")
    })
}

/// A connection to a listener, made in the cgroup.
pub fn connect(cgroup: &Cgroup, listener: &TcpListener) -> TcpStream {
    let address = listener.local_addr().expect("an address");
    inside(cgroup, || {
        TcpStream::connect(address).expect("a connection")
    })
}

/// Serves `connections` connections one after the other: reads each to its end and answers with `reply`
/// bytes. Returns the bytes read.
pub fn serve(listener: &TcpListener, connections: usize, reply: usize) -> JoinHandle<u64> {
    let listener = listener.try_clone().expect("the listener");
    thread::spawn(move || {
        let mut read = 0;
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut bytes = Vec::new();
            read += stream.read_to_end(&mut bytes).expect("the request") as u64;
            stream.write_all(&vec![b'r'; reply]).expect("the reply");
        }
        read
    })
}
