//! Encoder and frame-capture sessions, and the events that a device reports.

use serde::{Deserialize, Serialize};

/// An NVENC session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderSession {
    /// Unique on its device.
    pub id: u32,
    /// Process that encodes.
    pub pid: u32,
    /// vGPU instance, 0 without.
    pub vgpu_instance: u32,
    /// 0 H.264, 1 HEVC, 2 AV1, 255 unknown to the driver; any other number is handed out as well.
    pub codec: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Moving average.
    pub fps: u32,
    /// Moving average, per frame.
    pub latency_us: u32,
}

/// An NVFBC session. All but the ids are 0 until the first frame is captured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSession {
    /// Unique on its device.
    pub id: u32,
    /// Process that captures.
    pub pid: u32,
    /// vGPU instance, 0 without.
    pub vgpu_instance: u32,
    /// Display.
    pub display: u32,
    /// `nvmlFBCSessionType_t`: 0 unknown, 1 to system memory, 2 CUDA, 3 Vid, 4 hardware encoder.
    pub kind: u32,
    /// Bits of `NVML_NVFBC_SESSION_FLAG_*`, unknown ones allowed.
    pub flags: u32,
    /// Pixels.
    pub max_width: u32,
    /// Pixels.
    pub max_height: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// New frames per second.
    pub fps: u32,
    /// Per frame.
    pub latency_us: u32,
}

/// Something that a device reports through `nvmlEventSetWait_v2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Event {
    /// Tells one event of its device from another: each is delivered once per event set.
    pub sequence: u64,
    /// Bit of `nvmlEventType*`; 8 is an Xid.
    pub kind: u64,
    /// The Xid, for that kind.
    pub value: u64,
    /// GPU instance; absent is 0xFFFFFFFF.
    pub gpu_instance: Option<u32>,
    /// Compute instance; absent is 0xFFFFFFFF.
    pub compute_instance: Option<u32>,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            sequence: 0,
            kind: 8,
            value: 0,
            gpu_instance: None,
            compute_instance: None,
        }
    }
}
