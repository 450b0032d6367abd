//! Errors of NVIDIA GPUs (Xid), as the driver's own tracepoint reports them.

use agent_common::{
    NO_SESSION,
    event::{EventHeader, GPU_XID, GpuXidEvent, XID_MESSAGE_BYTES, XID_PCI_BYTES},
    xid::XidFields,
};
use aya_ebpf::{
    EbpfContext,
    btf_maps::{Array, PerCpuArray},
    helpers::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str_bytes},
    macros::{btf_map, tracepoint},
    programs::TracePointContext,
};

use crate::emit::{self, Urgency};

/// Where the fields are. Not a read-only global as the layout is: the agent learns it when the driver is
/// loaded, which may be long after the object.
#[btf_map]
static XID_FIELDS: Array<XidFields, 1> = Array::new();

/// Where an event is put together: it is too large for the stack.
#[btf_map]
static XID_EVENT: PerCpuArray<GpuXidEvent, 1> = PerCpuArray::new();

/// `nvidia_dev_xid(const struct pci_dev *dev, uint32_t error_code, const char *msg)` of the NVIDIA driver,
/// 575.51.02 and later. It may run in an interrupt: the current process is not the culprit, so it is not
/// looked at.
#[tracepoint(category = "nvidia", name = "nvidia_dev_xid")]
fn nvidia_dev_xid(ctx: TracePointContext) -> u32 {
    let (Some(fields), Some(event)) = (XID_FIELDS.get(0), XID_EVENT.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: the helper checks the address.
    let Ok(error_code) = (unsafe { ctx.read_at::<u32>(position(fields.error_code)) }) else {
        return 0;
    };
    // SAFETY: this CPU's scratch; the kernel does not run a program of a tracepoint inside another on the
    // same CPU (`trace_call_bpf`, kernel/trace/bpf_trace.c).
    let event = unsafe { &mut *event };
    event.header = EventHeader {
        kind: GPU_XID,
        slot: NO_SESSION,
        // SAFETY: takes no arguments.
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
    };
    event.error_code = error_code;
    event.reserved = 0;
    read_string(&ctx, fields.dev, &mut event.pci);
    event.pci[XID_PCI_BYTES - 1] = 0;
    read_string(&ctx, fields.msg, &mut event.message);
    event.message[XID_MESSAGE_BYTES - 1] = 0;
    emit::send(GPU_XID, event, Urgency::Now);
    0
}

/// An offset within a record of a tracepoint: these have less than 64 KiB, which the verifier wants to be
/// shown.
#[inline(always)]
fn position(offset: u32) -> usize {
    (offset & 0xffff) as usize
}

/// Reads a string of variable length: its field (`__data_loc`) has where it begins in the lower half.
#[inline(always)]
fn read_string(ctx: &TracePointContext, field: u32, into: &mut [u8]) {
    into[0] = 0;
    // SAFETY: the helper checks the address.
    if let Ok(location) = unsafe { ctx.read_at::<u32>(position(field)) } {
        let start = ctx.as_ptr().wrapping_byte_add(position(location));
        // SAFETY: the helper checks the address and stops at NUL or at the end of the buffer.
        let _ended = unsafe { bpf_probe_read_kernel_str_bytes(start.cast(), into) };
    }
}
