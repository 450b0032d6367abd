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
        let has = |member| btf.has_member(MAP, member);
        // Since 5.18 the caller says how to allocate. In 7.2 nobody has a choice any more, and the
        // members are gone.
        let takes_flags = btf
            .parameters_of("bpf_local_storage_update")
            .is_some_and(|names| names.contains(&b"gfp_flags".as_slice()));
        let can_do_without_locks = btf.parameters_of("bpf_map_kmalloc_nolock").is_some();
        let without_locks = has("use_kmalloc_nolock") || (can_do_without_locks && !takes_flags);
        if without_locks && is_real_time(btf) {
            Self::Unusable
        } else if without_locks || has("selem_ma") || has("bpf_ma") {
            Self::Lockless
        } else if takes_flags {
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
        super::btf::{KIND_STRUCT, builder::Builder},
        *,
    };

    const MAP: &str = "bpf_local_storage_map";

    /// The types of a kernel whose storage map has a member, and that has functions.
    fn kernel(member: &str, functions: &[(&str, &[&str])], real_time: bool) -> Btf {
        let mut types = Builder::new();
        types.int("int", 4); // 1
        types.composite(KIND_STRUCT, MAP, false, &[(member, 1, 0)]); // 2
        let waiters = if real_time { "waiters" } else { "raw_lock" };
        types.composite(KIND_STRUCT, "lock", false, &[(waiters, 1, 0)]); // 3
        types.composite(KIND_STRUCT, "spinlock", false, &[("lock", 3, 0)]);
        for (name, parameters) in functions {
            types.function(name, parameters);
        }
        Btf::parse(types.build()).unwrap()
    }

    #[test]
    fn a_kernel_is_known_by_its_types() {
        use Allocation::{BeforeTheLock, Lockless, Unusable};
        const UPDATE: &str = "bpf_local_storage_update";
        const NOLOCK: (&str, &[&str]) = ("bpf_map_kmalloc_nolock", &["map", "size"]);
        const PLAIN: (&str, &[&str]) = (UPDATE, &["owner", "smap", "value", "map_flags"]);
        const FLAGGED: (&str, &[&str]) = (UPDATE, &["owner", "map_flags", "gfp_flags"]);
        const SWAPPED: (&str, &[&str]) = (UPDATE, &["owner", "map_flags", "swap_uptrs"]);
        let nothing_more = "elem_size";
        for (version, member, functions, expected, with_real_time) in [
            ("5.15", nothing_more, &[PLAIN][..], Unusable, Unusable),
            (
                "6.1",
                nothing_more,
                &[FLAGGED],
                BeforeTheLock,
                BeforeTheLock,
            ),
            ("6.12", "selem_ma", &[FLAGGED], Lockless, Lockless),
            (
                "6.19",
                "use_kmalloc_nolock",
                &[FLAGGED, NOLOCK],
                Lockless,
                Unusable,
            ),
            // `bpf_map_kmalloc_nolock` is there for others.
            ("6.18", "selem_ma", &[FLAGGED, NOLOCK], Lockless, Lockless),
            ("7.2", nothing_more, &[SWAPPED, NOLOCK], Lockless, Unusable),
        ] {
            for (real_time, expected) in [(false, expected), (true, with_real_time)] {
                let found = Allocation::of(&kernel(member, functions, real_time));
                assert_eq!(found, expected, "{version}, real time: {real_time}");
            }
        }
    }
}
