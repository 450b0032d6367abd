//! MIG devices: slices of one GPU that have handles of their own.

use serde::{Deserialize, Serialize};

use super::Memory;

/// A MIG device: a compute instance of a GPU instance. Its processes are those of the GPU with the
/// same two ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigDevice {
    /// What `nvmlDeviceGetMigDeviceHandleByIndex` knows it by; an index that no MIG device has is
    /// `NOT_FOUND`.
    pub index: u32,
    /// `MIG-…`.
    pub uuid: String,
    /// Product and profile, such as `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
    pub name: String,
    /// GPU instance.
    pub gpu_instance: u32,
    /// Compute instance within it.
    pub compute_instance: u32,
    /// Its share of the frame buffer.
    pub memory: Option<Memory>,
    /// What `nvmlDeviceGetAttributes_v2` says of its profile.
    pub attributes: Option<Attributes>,
}

/// `nvmlDeviceAttributes_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Attributes {
    pub multiprocessors: u32,
    pub copy_engines: u32,
    pub decoders: u32,
    pub encoders: u32,
    pub jpeg_engines: u32,
    pub ofa_engines: u32,
    pub gpu_instance_slices: u32,
    pub compute_instance_slices: u32,
    pub memory_mib: u64,
}
