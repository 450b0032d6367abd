//! How the running kernel allocates BPF task storage, which decides where it may be created.
//!
//! Found out from the kernel's BTF and never from its version: distributions bring single changes back, and
//! leave others out (RHEL's 5.14).

use super::btf::Btf;

/// Where memory for a thread's storage comes from (`kernel/bpf/bpf_local_storage.c`, `bpf_selem_alloc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// `bpf_mem_alloc` (6.4) or `kmalloc_nolock` (6.19): wakes nobody and waits for nobody.
    Lockless,
    /// `kzalloc`, before a lock is taken if the program may sleep (5.18). Otherwise under the lock of the
    /// thread's storages when another program has one of it already.
    BeforeTheLock,
    /// `kzalloc`, always under that lock when another program has a storage of the thread: whoever holds a
    /// run-queue lock and wants it then waits for whoever wakes kswapd. Or `kmalloc_nolock` with `PREEMPT_RT`,
    /// which has nothing for who may not be preempted, as a tracepoint's program (mm/slub.c, 6.19).
    Unusable,
}

impl Allocation {
    /// That of the kernel with these types.
    pub fn of(btf: &Btf) -> Self {
        const MAP: &str = "bpf_local_storage_map";
        /// Since 5.18 with the flags of the allocation.
        const UPDATE: (&str, usize) = ("bpf_local_storage_update", 5);
        let has = |member| btf.has_member(MAP, member);
        if has("use_kmalloc_nolock") && is_real_time(btf) {
            Self::Unusable
        } else if ["selem_ma", "bpf_ma", "use_kmalloc_nolock"]
            .into_iter()
            .any(has)
        {
            Self::Lockless
        } else if btf
            .parameters_of(UPDATE.0)
            .is_some_and(|parameters| parameters >= UPDATE.1)
        {
            Self::BeforeTheLock
        } else {
            Self::Unusable
        }
    }

    /// What the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lockless => "lockless",
            Self::BeforeTheLock => "before the lock",
            Self::Unusable => "unusable",
        }
    }
}

/// Whether the kernel is one with `PREEMPT_RT`: a `spinlock_t` is a real-time mutex there, with a list of who
/// waits (`include/linux/spinlock_types.h`).
pub(super) fn is_real_time(btf: &Btf) -> bool {
    btf.has_member("spinlock", "lock.waiters")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{btf::KIND_STRUCT, btf_builder::Builder},
        *,
    };

    const MAP: &str = "bpf_local_storage_map";

    /// The types of a kernel whose storage map has a member, and whose update has so many parameters.
    fn kernel(member: &str, parameters: usize, real_time: bool) -> Btf {
        let mut types = Builder::new();
        types.int("int", 4); // 1
        types.composite(KIND_STRUCT, MAP, false, &[(member, 1, 0)]); // 2
        types.function("bpf_local_storage_update", parameters); // 3, 4
        let lock = if real_time { "waiters" } else { "raw_lock" };
        types.composite(KIND_STRUCT, "lock", false, &[(lock, 1, 0)]); // 5
        types.composite(KIND_STRUCT, "spinlock", false, &[("lock", 5, 0)]);
        Btf::parse(types.build()).unwrap()
    }

    #[test]
    fn a_kernel_is_known_by_its_types() {
        use Allocation::{BeforeTheLock, Lockless, Unusable};
        for (member, parameters, real_time, expected) in [
            // 5.15, 6.1, 6.6 and 6.19.
            ("elem_size", 4, false, Unusable),
            ("elem_size", 5, false, BeforeTheLock),
            ("selem_ma", 5, false, Lockless),
            ("use_kmalloc_nolock", 5, false, Lockless),
            ("selem_ma", 5, true, Lockless),
            ("use_kmalloc_nolock", 5, true, Unusable),
        ] {
            let found = Allocation::of(&kernel(member, parameters, real_time));
            assert_eq!(found, expected, "{member}, {parameters} parameters");
        }
    }
}
