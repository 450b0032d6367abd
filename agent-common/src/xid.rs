//! Where the NVIDIA driver's tracepoint for errors of a GPU has its fields.

/// Offsets of the fields in a record of `nvidia:nvidia_dev_xid`, in bytes, as the tracepoint's `format`
/// file says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XidFields {
    /// PCI name of the device, a `__data_loc` string.
    pub dev: u32,
    /// Number of the error, 32 bits.
    pub error_code: u32,
    /// Message of the driver, a `__data_loc` string.
    pub msg: u32,
}

const _: () = assert!(size_of::<XidFields>() == 3 * 4);

crate::pod!(XidFields);
