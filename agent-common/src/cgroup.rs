//! When a cgroup was made and got its first process.

/// Kept in the kernel from `cgroup_mkdir` on, because the first process can arrive before the agent
/// has heard of the cgroup. Times are nanoseconds since boot (`CLOCK_BOOTTIME`); 0 is "not yet".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupBirth {
    /// The cgroup was made.
    pub made_ns: u64,
    /// The first process was moved or born into it.
    pub first_process_ns: u64,
}

const _: () = assert!(size_of::<CgroupBirth>() == 16);

crate::pod!(CgroupBirth);
