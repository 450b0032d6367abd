//! GPUs as the API has them.

use std::collections::BTreeMap;

use crate::{
    api,
    gpu::model::{Device, Engine, WHOLE},
    session::gpu::{DeviceUse, Streams},
    snapshot::GpuView,
};

pub(super) fn of_node(gpu: &GpuView) -> api::Gpus {
    let report = gpu.report.as_ref();
    let down = gpu.status.down.as_ref();
    let devices = report.iter().flat_map(|report| &report.devices);
    api::Gpus {
        up: down.is_none(),
        code: down.map(|down| down.code.name().to_owned()),
        reason: down.map(ToString::to_string),
        driver_version: report.map(|report| report.driver_version.to_string()),
        devices: devices.map(device).collect(),
    }
}

fn device(device: &Device) -> api::Device {
    let (identity, readings) = (&device.identity, &device.readings);
    api::Device {
        gpu: identity.index,
        uuid: identity.uuid.clone(),
        name: identity.name.clone(),
        up: device.down.is_none(),
        reason: device.down.map(ToOwned::to_owned),
        mig: identity.mig,
        utilization: by_engine(|engine| readings.utilization[engine as usize]),
        memory_used_bytes: readings.memory.map(|m| m.used),
        memory_total_bytes: readings.memory.map(|m| m.total),
    }
}

/// A session on a device.
pub(super) fn of_session((gpu, on_device): (&u32, &DeviceUse)) -> api::OnGpu {
    let now = &on_device.now;
    let share = |engine: Engine| {
        now.share
            .map(|share| share[engine as usize] as f64 / WHOLE as f64)
    };
    let memory = now.memory.values().copied().reduce(|a, b| Some(a? + b?));
    let encoders = now.encoders.iter().map(|(codec, encoder)| api::Encoder {
        codec: codec.name().to_owned(),
        streams: streams(encoder),
    });
    api::OnGpu {
        gpu: *gpu,
        busy_seconds: by_engine(|engine| Some(on_device.busy_ns[engine as usize] as f64 / 1e9)),
        utilization: by_engine(share),
        memory_bytes: memory.flatten(),
        encoders: encoders.collect(),
        capture: now.captures.as_ref().map(streams),
    }
}

pub(super) fn xid_errors(xids: &BTreeMap<(String, u32), u64>) -> Vec<api::XidErrors> {
    let errors = xids.iter().map(|((gpu, xid), count)| api::XidErrors {
        gpu: gpu.clone(),
        xid: *xid,
        count: *count,
    });
    errors.collect()
}

fn by_engine(value: impl Fn(Engine) -> Option<f64>) -> api::Engines {
    api::Engines {
        sm: value(Engine::Sm),
        memory: value(Engine::Memory),
        encoder: value(Engine::Encoder),
        decoder: value(Engine::Decoder),
    }
}

fn streams(streams: &Streams) -> api::Streams {
    api::Streams {
        sessions: streams.count,
        fps: streams.fps,
        latency_seconds: f64::from(streams.latency_us) / 1e6,
        width: streams.width,
        height: streams.height,
    }
}
