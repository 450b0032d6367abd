//! An iterator over the entries of a map, which aya 0.14 can load but not attach: the link wants to be told
//! which map (`struct bpf_iter_link_info`, include/uapi/linux/bpf.h).

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::syscall::{self, BPF_ITER_CREATE, BPF_LINK_CREATE};

/// `enum bpf_attach_type`.
const BPF_TRACE_ITER: u32 = 28;

/// `union bpf_attr` of `BPF_LINK_CREATE`, as far as an iterator needs it.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_length: u32,
    padding: u32,
}

/// `union bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
struct IterCreate {
    link: u32,
    flags: u32,
}

/// An iterator program attached to a map. Dropping it detaches it.
pub(super) struct MapIterator {
    link: OwnedFd,
}

impl MapIterator {
    pub(super) fn attach(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<Self> {
        let map = map.as_raw_fd() as u32;
        let attributes = LinkCreate {
            program: program.as_raw_fd() as u32,
            attach_type: BPF_TRACE_ITER,
            info: (&raw const map) as u64,
            info_length: size_of_val(&map) as u32,
            ..LinkCreate::default()
        };
        syscall::descriptor(BPF_LINK_CREATE, &attributes).map(|link| Self { link })
    }

    /// Begins a walk: each read runs the program on further entries.
    pub(super) fn open(&self) -> io::Result<File> {
        let attributes = IterCreate {
            link: self.link.as_raw_fd() as u32,
            flags: 0,
        };
        syscall::descriptor(BPF_ITER_CREATE, &attributes).map(File::from)
    }
}
