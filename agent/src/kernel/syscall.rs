//! `bpf(2)` for what aya 0.14 has no call for.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya::Pod;

// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
pub(super) const BPF_LINK_CREATE: libc::c_long = 28;
pub(super) const BPF_ITER_CREATE: libc::c_long = 33;

/// Length of `struct bpf_prog_info` with its `recursion_misses` (5.12), and where that is.
const INFO_BYTES: usize = 224;
const RECURSION_MISSES: usize = 208;

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct Lookup {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A value of a map of any kind whose keys are 32 bits; `None` when it is not there.
pub(super) fn value_at<V: Pod + Default>(map: BorrowedFd<'_>, key: u32) -> io::Result<Option<V>> {
    let mut value = V::default();
    let attributes = Lookup {
        map: map.as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const key) as u64,
        value: (&raw mut value) as u64,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_ELEM, &attributes) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A command that gives a descriptor.
pub(super) fn descriptor<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let descriptor = bpf(command, attributes)?;
    // SAFETY: new, and nobody else's.
    #[expect(unsafe_code, reason = "the kernel gives a number")]
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) };
    Ok(owned)
}

/// How often a program was passed over because it was running on that CPU already; 0 before 5.12, which
/// does not count it.
pub(super) fn missed_runs(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u8; INFO_BYTES];
    let attributes = GetInfo {
        descriptor: program.as_raw_fd() as u32,
        length: INFO_BYTES as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes)?;
    let bytes = info[RECURSION_MISSES..].first_chunk().copied();
    Ok(bytes.map_or(0, u64::from_ne_bytes))
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes outlive the call, and so does what they point to; the kernel checks the size.
    #[expect(unsafe_code, reason = "the system call has no wrapper for this")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
