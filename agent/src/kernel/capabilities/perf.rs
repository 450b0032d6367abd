//! Whether a kernel lets nobody but administrators open a perf event.
//!
//! Ubuntu's kernels, and Debian's of some years ago, want `CAP_SYS_ADMIN` for every event where
//! `kernel.perf_event_paranoid` is more than 2, whatever else is held; others want `CAP_PERFMON` there. Which of both a
//! kernel does is in no version, so it is tried.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use rustix::thread::{self, CapabilitySets};

use super::{CAP_SYS_ADMIN, Capabilities};

/// `PERF_TYPE_SOFTWARE`, and the size of the first version of the structure (`include/uapi/linux/perf_event.h`).
const SOFTWARE: u64 = 1;
const SIZE: u64 = 64;
/// `PERF_COUNT_SW_DUMMY`.
const DUMMY: u64 = 9;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: u64 = 1 << 3;
/// `disabled`, `exclude_kernel` and `exclude_hv`: what anybody may open up to a level of 2.
const FLAGS: u64 = 1 | 1 << 5 | 1 << 6;

/// Tries it with all that the calling thread has but `CAP_SYS_ADMIN`, which it has again afterwards. `false` where it does
/// not have it, or where that cannot be tried.
pub fn perf_is_for_administrators() -> bool {
    let Ok(sets) = thread::capabilities(None) else {
        return false;
    };
    let held = Capabilities(sets.effective.bits());
    if !held.has(CAP_SYS_ADMIN) {
        return false;
    }
    let others = thread::CapabilitySet::from_bits_retain(held.without(CAP_SYS_ADMIN).0);
    let without = CapabilitySets {
        effective: others,
        ..sets
    };
    if thread::set_capabilities(None, without).is_err() {
        return false;
    }
    let is_refused = open_event().is_err_and(|error| error.raw_os_error() == Some(libc::EACCES));
    // They are still permitted, so the kernel does not refuse them.
    let restored = thread::set_capabilities(None, sets);
    debug_assert!(restored.is_ok());
    is_refused
}

/// An event that counts nothing, of this thread.
fn open_event() -> io::Result<OwnedFd> {
    // struct perf_event_attr: type and size, config, sample_period, sample_type, read_format, flags, wakeup, config1.
    let attributes: [u64; 8] = [SOFTWARE | SIZE << 32, DUMMY, 0, 0, 0, FLAGS, 0, 0];
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    #[expect(unsafe_code, reason = "no crate that is here has this system call")]
    unsafe {
        let descriptor = libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            0,
            -1,
            -1,
            CLOEXEC,
        );
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_held_afterwards() {
        let before = thread::capabilities(None).unwrap();
        let _either = perf_is_for_administrators();
        let after = thread::capabilities(None).unwrap();
        assert_eq!(after.effective, before.effective);
        assert_eq!(after.permitted, before.permitted);
    }
}
