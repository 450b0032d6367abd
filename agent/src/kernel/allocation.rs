//! How the running kernel allocates BPF task storage, which decides where it may be created.
//!
//! Found out from the kernel's BTF and never from its version: distributions bring single changes back, and
//! leave others out (RHEL's 5.14).

use super::btf::Btf;

/// Where memory for a thread's storage comes from (kernel/bpf/bpf_local_storage.c, `bpf_selem_alloc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// `bpf_mem_alloc` (6.4) or `kmalloc_nolock` (7.0): wakes nobody and waits for nothing.
    Lockless,
    /// `kzalloc`, before a lock is taken if the program may sleep (5.18). Otherwise under the lock of the
    /// thread's storages when another program has one of it already.
    BeforeTheLock,
    /// `kzalloc`, always under that lock when another program has a storage of the thread. Whoever holds a
    /// run-queue lock and wants it then waits for whoever wakes kswapd.
    UnderTheLock,
}

impl Allocation {
    /// That of the kernel with these types.
    pub(super) fn of(btf: &Btf) -> Self {
        const MAP: &str = "bpf_local_storage_map";
        /// Since 5.18 with the flags of the allocation.
        const UPDATE: (&str, usize) = ("bpf_local_storage_update", 5);
        let lockless = ["selem_ma", "bpf_ma", "use_kmalloc_nolock"];
        if lockless.iter().any(|member| btf.has_member(MAP, member)) {
            Self::Lockless
        } else if btf
            .parameters_of(UPDATE.0)
            .is_some_and(|parameters| parameters >= UPDATE.1)
        {
            Self::BeforeTheLock
        } else {
            Self::UnderTheLock
        }
    }

    /// What the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lockless => "lockless",
            Self::BeforeTheLock => "before the lock",
            Self::UnderTheLock => "under the lock",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_running_kernel_is_of_a_known_kind() {
        let Ok(btf) = Btf::from_file(Path::new("/sys/kernel/btf/vmlinux")) else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        println!("{:?}", Allocation::of(&btf));
    }
}
