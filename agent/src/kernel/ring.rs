//! Decodes the ring buffer. A record that is too short or of an unknown kind is counted, never trusted.

use std::os::fd::{AsRawFd, RawFd};

use agent_common::{
    Slot,
    event::{
        CGROUP_MADE, CGROUP_REMOVED, CgroupEvent, EventHeader, ExecEvent, ExitEvent, GPU_XID,
        GpuXidEvent, PROCESS_EXECUTED, PROCESS_FAILED, PROCESS_MOVED,
    },
};
use aya::{
    Pod,
    maps::{MapData, RingBuf},
};
use tokio::io::unix::AsyncFd;

use crate::{error::Error, named::named};

named! {
    /// Kinds of what the kernel programs tell the agent.
    pub enum EventKind {
        /// A cgroup was made.
        CgroupMade = "cgroup_made",
        /// A cgroup was removed.
        CgroupRemoved = "cgroup_removed",
        /// A process of a session has failed.
        ProcessFailed = "process_failed",
        /// A process of a session has executed a program, which is told only if somebody wants to know.
        ProcessExecuted = "process_executed",
        /// A process was moved from or into a session.
        ProcessMoved = "process_moved",
        /// The driver has reported an error of a GPU.
        GpuXid = "gpu_xid",
    }
}

/// What the kernel programs tell the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A cgroup of the v2 hierarchy was made.
    CgroupMade {
        /// Inode number of its directory.
        id: u64,
        /// Its parent's.
        parent: u64,
        /// The session that it is in.
        slot: Slot,
        /// Last path component, any bytes but NUL and `/`.
        name: Vec<u8>,
    },
    /// A cgroup of the v2 hierarchy was removed.
    CgroupRemoved {
        /// Inode number of its directory.
        id: u64,
    },
    /// A process was moved from or into a session.
    ProcessMoved,
    /// A process of a session ended by a signal or with an error.
    ProcessFailed {
        /// Session's slot.
        slot: u32,
        /// Process id in the initial pid namespace.
        pid: u32,
        /// Wait status.
        status: u32,
        /// Chosen by the out-of-memory killer.
        oom_killed: bool,
        /// Command name.
        command: String,
    },
    /// A process of a session has executed a program.
    ProcessExecuted {
        /// Session's slot.
        slot: u32,
        /// Process id in the initial pid namespace.
        pid: u32,
        /// Command name, the new one.
        command: String,
    },
    /// The NVIDIA driver has reported an error of a GPU.
    GpuXid {
        /// PCI name of the GPU, as in `0000:3b:00.0`.
        pci: String,
        /// Number of the error.
        code: u32,
        /// What the driver says, without the end of the line.
        message: String,
        /// When, nanoseconds since boot (`CLOCK_BOOTTIME`).
        at_ns: u64,
    },
}

/// The reading end of the ring buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self {
            ring,
            undecodable: 0,
        }
    }

    /// Registers the ring with the runtime, to wait for events.
    pub fn into_async(self) -> Result<AsyncFd<Self>, Error> {
        // SAFETY: the descriptor belongs to the map inside, which lives as long as the ring does and
        // always answers with the same one.
        #[expect(unsafe_code, reason = "the descriptor outlives its registration")]
        unsafe { AsyncFd::register(self) }.map_err(|e| Error::Other(format!("ring buffer: {e}")))
    }

    /// The next event, if one is there.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(record) = self.ring.next() {
            match decode(&record) {
                Some(event) => return Some(event),
                None => self.undecodable += 1,
            }
        }
        None
    }
}

fn decode(bytes: &[u8]) -> Option<Event> {
    let header: EventHeader = record(bytes)?;
    match header.kind {
        CGROUP_MADE => {
            let event: CgroupEvent = record(bytes)?;
            Some(Event::CgroupMade {
                id: event.cgroup_id,
                parent: event.parent_id,
                slot: event.header.slot,
                name: until_nul(&event.name).to_vec(),
            })
        }
        CGROUP_REMOVED => {
            let event: CgroupEvent = record(bytes)?;
            Some(Event::CgroupRemoved {
                id: event.cgroup_id,
            })
        }
        PROCESS_FAILED => {
            let event: ExitEvent = record(bytes)?;
            Some(Event::ProcessFailed {
                slot: event.header.slot,
                pid: event.pid,
                status: event.status,
                oom_killed: event.oom_killed != 0,
                command: text(&event.comm),
            })
        }
        PROCESS_EXECUTED => {
            let event: ExecEvent = record(bytes)?;
            Some(Event::ProcessExecuted {
                slot: event.header.slot,
                pid: event.pid,
                command: text(&event.comm),
            })
        }
        PROCESS_MOVED => Some(Event::ProcessMoved),
        GPU_XID => {
            let event: GpuXidEvent = record(bytes)?;
            Some(Event::GpuXid {
                pci: text(&event.pci),
                code: event.error_code,
                message: text(&event.message).trim_end().to_owned(),
                at_ns: event.header.at_ns,
            })
        }
        _ => None,
    }
}

/// The bytes of a C string.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// A C string as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_nul(bytes)).into_owned()
}

/// Bytes from the kernel as the structure they are.
pub(super) fn record<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: `T` is plain bytes (`Pod`) and there are enough of them; the read may be unaligned.
    #[expect(unsafe_code, reason = "bytes from the kernel become a plain structure")]
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A record is an event with short texts, or none.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(record: &[u8]) {
    use agent_common::event::{COMM_BYTES, NAME_BYTES, XID_MESSAGE_BYTES, XID_PCI_BYTES};

    let event = decode(record);
    // As long as three bytes in the place of each that is not UTF-8.
    let fits = |text: &str, bytes: usize| text.len() <= 3 * bytes;
    let is_short = match &event {
        Some(Event::CgroupMade { name, .. }) => name.len() <= NAME_BYTES,
        Some(Event::ProcessFailed { command, .. } | Event::ProcessExecuted { command, .. }) => {
            fits(command, COMM_BYTES)
        }
        Some(Event::GpuXid { pci, message, .. }) => {
            fits(pci, XID_PCI_BYTES) && fits(message, XID_MESSAGE_BYTES)
        }
        Some(Event::CgroupRemoved { .. } | Event::ProcessMoved) | None => true,
    };
    assert!(is_short, "{event:?}");
    // What follows a record is not part of it.
    if event.is_some() {
        let longer = [record, b"more"].concat();
        assert_eq!(decode(&longer), event);
    }
}

#[cfg(test)]
mod tests {
    use agent_common::event::{COMM_BYTES, NAME_BYTES, XID_MESSAGE_BYTES, XID_PCI_BYTES};
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz::{self, bytes_like};

    fn bytes_of<T: Pod>(value: &T) -> Vec<u8> {
        // SAFETY: `T` is plain bytes.
        #[expect(
            unsafe_code,
            reason = "a structure becomes bytes as the kernel writes it"
        )]
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
            .to_vec()
    }

    #[test]
    fn short_and_unknown_records_are_refused() {
        let mut event = CgroupEvent {
            header: EventHeader {
                kind: CGROUP_MADE,
                slot: 3,
                at_ns: 1,
            },
            cgroup_id: 7,
            parent_id: 1,
            name: [0; 256],
        };
        event.name[..3].copy_from_slice(b"a\xffb");
        let bytes = bytes_of(&event);
        assert_eq!(
            decode(&bytes),
            Some(Event::CgroupMade {
                id: 7,
                parent: 1,
                slot: 3,
                name: b"a\xffb".to_vec()
            })
        );
        assert_eq!(decode(&bytes[..40]), None);
        event.header.kind = 99;
        assert_eq!(decode(&bytes_of(&event)), None);
    }

    #[test]
    fn an_error_of_a_gpu_ends_where_its_strings_do() {
        let mut event = GpuXidEvent {
            header: EventHeader {
                kind: GPU_XID,
                slot: 0,
                at_ns: 5,
            },
            error_code: 31,
            reserved: 0,
            pci: [0; 32],
            // What an earlier message has left behind its end.
            message: [b'x'; 256],
        };
        event.pci[..12].copy_from_slice(b"0000:3b:00.0");
        event.message[..12].copy_from_slice(b"channel 0x1\0");
        assert_eq!(
            decode(&bytes_of(&event)),
            Some(Event::GpuXid {
                pci: "0000:3b:00.0".to_owned(),
                code: 31,
                message: "channel 0x1".to_owned(),
                at_ns: 5,
            })
        );
    }

    fn header(kind: u32) -> EventHeader {
        EventHeader {
            kind,
            slot: 3,
            at_ns: 5,
        }
    }

    /// One of each kind.
    fn samples() -> [Vec<u8>; 5] {
        let cgroup = CgroupEvent {
            header: header(CGROUP_MADE),
            cgroup_id: 7,
            parent_id: 1,
            name: [b'n'; NAME_BYTES],
        };
        let exit = ExitEvent {
            header: header(PROCESS_FAILED),
            pid: 9,
            status: 256,
            oom_killed: 1,
            reserved: 0,
            comm: [b'c'; COMM_BYTES],
        };
        let xid = GpuXidEvent {
            header: header(GPU_XID),
            error_code: 31,
            reserved: 0,
            pci: [b'p'; XID_PCI_BYTES],
            message: [b'm'; XID_MESSAGE_BYTES],
        };
        let executed = ExecEvent {
            header: header(PROCESS_EXECUTED),
            pid: 9,
            reserved: 0,
            comm: [b'c'; COMM_BYTES],
        };
        let moved = header(PROCESS_MOVED);
        [
            bytes_of(&cgroup),
            bytes_of(&exit),
            bytes_of(&xid),
            bytes_of(&executed),
            bytes_of(&moved),
        ]
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_is_in_the_ring_is_an_event_with_short_texts_or_none(
            record in bytes_like(&samples().each_ref().map(Vec::as_slice))
        ) {
            must_hold(&record);
        }
    }
}
