//! An iterator over the entries of a map, which aya 0.14 can load but not attach: the link wants to be told
//! which map (`struct bpf_iter_link_info`, include/uapi/linux/bpf.h).

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

// `enum bpf_cmd` and `enum bpf_attach_type`.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
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
        bpf(BPF_LINK_CREATE, &attributes).map(|link| Self { link })
    }

    /// Begins a walk: each read runs the program on further entries.
    pub(super) fn open(&self) -> io::Result<File> {
        let attributes = IterCreate {
            link: self.link.as_raw_fd() as u32,
            flags: 0,
        };
        bpf(BPF_ITER_CREATE, &attributes).map(File::from)
    }
}

/// A command of `bpf(2)` that gives a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes outlive the call, and so does what they point to; the kernel checks the size
    // and gives a new descriptor or an error.
    #[expect(unsafe_code, reason = "the system call has no wrapper for this")]
    unsafe {
        let result = libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        );
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(result as libc::c_int))
        }
    }
}
