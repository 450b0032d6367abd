//! The compiled kernel programs, embedded, and the choice between the two state stores.

use std::fs;

use super::allocation::Allocation;

use crate::named::named;

named! {
    /// Where the per-thread state is kept.
    pub enum TaskStore {
        /// BPF task storage: follows the number of threads; Linux 5.18 and later ([`Allocation`]).
        TaskStorage = "task-storage",
        /// An array indexed by pid: 64 bytes × `kernel.pid_max`; every kernel.
        PidArray = "pid-array",
    }
}

impl TaskStore {
    /// The object built for this store.
    pub(super) fn object(self) -> &'static [u8] {
        // aya reads the ELF in place and wants it aligned.
        static TASK_STORAGE: &[u8] =
            aya::include_bytes_aligned!(env!("SESSIONSCOPE_BPF_TASK_STORAGE"));
        static PID_ARRAY: &[u8] = aya::include_bytes_aligned!(env!("SESSIONSCOPE_BPF_PID_ARRAY"));
        match self {
            Self::TaskStorage => TASK_STORAGE,
            Self::PidArray => PID_ARRAY,
        }
    }
}

/// With a pid limit up to this, the array is 8 MiB at most and the cheaper of the two.
const ARRAY_UP_TO_PIDS: u32 = 131_072;

/// The stores to try, in order: the array where pids are few or task storage cannot be created where the agent
/// must, and otherwise task storage.
pub(super) fn preference(pid_max: u32, allocation: Allocation) -> &'static [TaskStore] {
    if allocation == Allocation::Unusable {
        &[TaskStore::PidArray]
    } else if pid_max <= ARRAY_UP_TO_PIDS {
        &[TaskStore::PidArray, TaskStore::TaskStorage]
    } else {
        &[TaskStore::TaskStorage, TaskStore::PidArray]
    }
}

/// `kernel.pid_max`: every pid is below it. 4,194,304 (the kernel's limit) where it cannot be read.
pub(super) fn pid_max() -> u32 {
    fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()
        .and_then(|s| s.trim().parse().ok())
        .unwrap_or(4_194_304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pids_prefer_task_storage() {
        for allocation in [Allocation::Lockless, Allocation::BeforeTheLock] {
            assert_eq!(preference(32_768, allocation)[0], TaskStore::PidArray);
            assert_eq!(preference(4_194_304, allocation)[0], TaskStore::TaskStorage);
        }
    }

    #[test]
    fn where_storage_cannot_be_created_there_is_the_array_alone() {
        let stores = preference(4_194_304, Allocation::Unusable);
        assert_eq!(stores, [TaskStore::PidArray]);
    }
}
