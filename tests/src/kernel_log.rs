//! What the NVIDIA driver writes to the kernel's log, written there in its place.

use std::fs;

/// Blames a process for an Xid error, in the words of driver 580.159.04. `pci` is the GPU's address without
/// the function, as in `0000:3b:00`.
///
/// # Panics
/// When the log cannot be written, which takes root.
pub fn blame(pci: &str, code: u32, pid: &str, command: &str) {
    // Without the end of the line the kernel keeps the record back, for what may follow (`LOG_CONT`).
    let line = format!(
        "NVRM: Xid (PCI:{pci}): {code}, pid={pid}, name={command}, channel 0x0000001e, intr 00000000.\n"
    );
    fs::write("/dev/kmsg", line).expect("root writes to the kernel's log");
}
