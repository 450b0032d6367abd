//! What iterators share: their arguments, and how their records reach user space.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_seq_write;

use crate::kernel::KernelPtr;

/// `struct bpf_iter_meta` (include/linux/bpf.h), as far as it is used.
#[repr(C)]
pub(crate) struct IterMeta {
    seq: *mut c_void,
}

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c); the iterator's arguments.
#[repr(C)]
pub(crate) struct IterTaskFile {
    pub(crate) meta: *const IterMeta,
    pub(crate) task: KernelPtr,
    fd: u64,
    pub(crate) file: KernelPtr,
}

/// Writes one record. One that does not fit into the kernel's buffer any more is written again when the
/// buffer has been read.
///
/// # Safety
/// `meta` is that of the iterator's context.
#[inline(always)]
pub(crate) unsafe fn write<T>(meta: *const IterMeta, record: &T) {
    // SAFETY: by the contract; the record is whole and on the stack.
    unsafe {
        let seq = (*meta).seq;
        bpf_seq_write(
            seq.cast(),
            (&raw const *record).cast(),
            size_of::<T>() as u32,
        );
    }
}
