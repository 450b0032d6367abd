//! Encoder and frame-capture sessions.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEncoderSessionInfo_t, nvmlEncoderType_t, nvmlFBCSessionInfo_t,
    nvmlFBCStats_t, nvmlReturn_t,
};

use super::output::{Count, Out, Sizing, put, put_list, supported};
use crate::{
    call::on_device,
    scenario::{CaptureSession, EncoderSession},
};

fn encoder(session: &EncoderSession) -> nvmlEncoderSessionInfo_t {
    nvmlEncoderSessionInfo_t {
        sessionId: session.id,
        pid: session.pid,
        vgpuInstance: session.vgpu_instance,
        codecType: session.codec,
        hResolution: session.width,
        vResolution: session.height,
        averageFps: session.fps,
        averageLatency: session.latency_us,
    }
}

fn capture(session: &CaptureSession) -> nvmlFBCSessionInfo_t {
    nvmlFBCSessionInfo_t {
        sessionId: session.id,
        pid: session.pid,
        vgpuInstance: session.vgpu_instance,
        displayOrdinal: session.display,
        sessionType: session.kind,
        sessionFlags: session.flags,
        hMaxResolution: session.max_width,
        vMaxResolution: session.max_height,
        hResolution: session.width,
        vResolution: session.height,
        averageFPS: session.fps,
        averageLatency: session.latency_us,
    }
}

macro_rules! session_lists {
    ($($name:ident: $type:ty = $field:ident, $layout:ident;)*) => {$(
        /// # Safety
        ///
        /// `sessions` is null or good for `count` writes.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            count: Count<'_>,
            sessions: *mut $type,
        ) -> nvmlReturn_t {
            on_device(stringify!($name), device, |view| {
                let entries: Vec<$type> = view.whole()?.$field.iter().map($layout).collect();
                let brings_buffer =
                    !sessions.is_null() && count.as_ref().is_some_and(|count| **count > 0);
                let growth = view.growth(brings_buffer);
                // SAFETY: the same promise.
                unsafe { put_list(&entries, growth, Sizing::Success, count, sessions) }
            })
        }
    )*};
}

session_lists! {
    nvmlDeviceGetEncoderSessions: nvmlEncoderSessionInfo_t = encoder_sessions, encoder;
    nvmlDeviceGetFBCSessions: nvmlFBCSessionInfo_t = capture_sessions, capture;
}

/// Of numbers that there may be none of.
fn average(numbers: impl ExactSizeIterator<Item = u32>) -> c_uint {
    let count = numbers.len() as u32;
    numbers.sum::<u32>().checked_div(count).unwrap_or(0)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEncoderStats(
    device: nvmlDevice_t,
    count: Out<'_, c_uint>,
    fps: Out<'_, c_uint>,
    latency_us: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetEncoderStats", device, |view| {
        let sessions = &view.whole()?.encoder_sessions;
        put(count, sessions.len() as c_uint)?;
        put(fps, average(sessions.iter().map(|session| session.fps)))?;
        put(
            latency_us,
            average(sessions.iter().map(|session| session.latency_us)),
        )
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEncoderCapacity(
    device: nvmlDevice_t,
    _codec: nvmlEncoderType_t,
    percent: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetEncoderCapacity", device, |view| {
        put(percent, supported(view.whole()?.encoder_capacity)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFBCStats(
    device: nvmlDevice_t,
    stats: Out<'_, nvmlFBCStats_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetFBCStats", device, |view| {
        let sessions = &view.whole()?.capture_sessions;
        let totals = nvmlFBCStats_t {
            sessionsCount: sessions.len() as c_uint,
            averageFPS: average(sessions.iter().map(|session| session.fps)),
            averageLatency: average(sessions.iter().map(|session| session.latency_us)),
        };
        put(stats, totals)
    })
}

const _: () = assert!(size_of::<nvmlEncoderSessionInfo_t>() == 32);
const _: () = assert!(size_of::<nvmlFBCSessionInfo_t>() == 48);
