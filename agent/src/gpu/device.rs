//! Samples one device: what is asked of it, how often, and what is remembered between two rounds.

use crate::telemetry::log_event;
use std::{collections::HashMap, sync::Arc};

use nvml_wrapper::enum_wrappers::device::PcieUtilCounter;

use super::{
    health,
    model::{Context, Device, Direction, Engine, Identity, Instance, Usage, Virtualization},
    nvml::{Answer, ContextList, Failure, Handle, SILENT},
    usage::Integral,
};

/// A change of the memory in use by this much means that a context has come or gone: CUDA's smallest takes
/// more. The lists are then read before their time, once.
const CONTEXT_BYTES: u64 = 32 << 20;

/// What is asked in a round besides what is asked in each.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a period of its own")]
pub(super) struct Due {
    pub(super) streams: bool,
    pub(super) processes: bool,
    pub(super) health: bool,
    pub(super) pcie: bool,
}

/// One device.
pub(super) struct DeviceSampler<'d> {
    handle: Handle<'d>,
    integral: Integral,
    /// What is known of it now.
    device: Device,
    /// Memory in use when the processes were listed.
    listed_bytes: Option<u64>,
    /// The lists may be read before their time.
    may_hurry: bool,
    /// MIG instances that have been asked what does not change, by UUID.
    instances: HashMap<String, Instance>,
}

impl<'d> DeviceSampler<'d> {
    pub(super) fn new(handle: Handle<'d>, identity: Identity, integral: Integral) -> Self {
        Self {
            handle,
            integral,
            device: Device {
                identity: Arc::new(identity),
                ..Device::default()
            },
            listed_bytes: None,
            may_hurry: true,
            instances: HashMap::new(),
        }
    }

    pub(super) fn handle(&self) -> &Handle<'d> {
        &self.handle
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The integral outlives the handle, so that a new initialisation costs no samples.
    pub(super) fn into_integral(self) -> Integral {
        self.integral
    }

    /// One round. An error is the driver's; that of the device alone is in what it reports.
    pub(super) fn round(&mut self, due: Due, now_us: u64) -> Result<(), Failure> {
        if self.device.down.is_some() {
            return Ok(());
        }
        let sampled = self.sample(due, now_us).and_then(|()| {
            if self.handle.is_silent() {
                Err(Failure::Device(SILENT))
            } else {
                Ok(())
            }
        });
        match sampled {
            Err(Failure::Device(reason)) => {
                log_event!(GpuDown, gpu = self.device.identity.index, reason);
                self.device = Device {
                    identity: Arc::clone(&self.device.identity),
                    down: Some(reason),
                    ..Device::default()
                };
                Ok(())
            }
            result => result,
        }
    }

    fn sample(&mut self, mut due: Due, now_us: u64) -> Result<(), Failure> {
        self.device.usage = self.usage(now_us)?;
        self.utilization()?;
        self.device.readings.memory = self.handle.memory()?;
        if due.processes {
            self.may_hurry = true;
        } else if self.may_hurry && self.has_new_contexts() {
            self.may_hurry = false;
            due.processes = true;
        }
        if due.processes {
            self.mig()?;
            self.device.contexts = self.contexts()?;
            self.listed_bytes = self.device.readings.memory.map(|m| m.used);
        }
        if due.streams {
            self.device.encoders = self.handle.encoder_sessions()?;
            self.device.captures = self.handle.capture_sessions()?;
        }
        if due.health {
            health::read(&self.handle, &mut self.device.readings)?;
        }
        if due.pcie {
            self.pcie()?;
        }
        Ok(())
    }

    fn usage(&mut self, now_us: u64) -> Answer<Usage> {
        let samples = self.handle.usage_samples(self.integral.last_seen_us())?;
        let lacking = self.handle.lacks("nvmlDeviceGetProcessUtilization");
        if samples.is_some() || lacking {
            let supported = Some(!lacking);
            if lacking && self.device.usage_supported != supported {
                log_event!(
                    UtilisationUnknown,
                    gpu = self.device.identity.index,
                    mig = self.device.identity.mig
                );
            }
            self.device.usage_supported = supported;
        }
        Ok(samples.map(|samples| self.integral.take(samples, now_us)))
    }

    fn utilization(&mut self) -> Result<(), Failure> {
        // Above 100 is garbage.
        let share = |percent: u32| (percent <= 100).then(|| f64::from(percent) / 100.0);
        let rates = self.handle.ask(
            "nvmlDeviceGetUtilizationRates",
            nvml_wrapper::Device::utilization_rates,
        )?;
        let encoder = self.handle.ask("nvmlDeviceGetEncoderUtilization", |d| {
            d.encoder_utilization()
        })?;
        let decoder = self.handle.ask("nvmlDeviceGetDecoderUtilization", |d| {
            d.decoder_utilization()
        })?;
        let utilization = &mut self.device.readings.utilization;
        for engine in Engine::ALL {
            utilization[engine as usize] = match engine {
                Engine::Sm => rates.as_ref().map(|r| r.gpu),
                Engine::Memory => rates.as_ref().map(|r| r.memory),
                Engine::Encoder => encoder.as_ref().map(|e| e.utilization),
                Engine::Decoder => decoder.as_ref().map(|d| d.utilization),
            }
            .and_then(share);
        }
        Ok(())
    }

    fn has_new_contexts(&self) -> bool {
        let now = self.device.readings.memory.map(|m| m.used);
        now.zip(self.listed_bytes)
            .is_some_and(|(now, listed)| now.abs_diff(listed) >= CONTEXT_BYTES)
    }

    /// The three lists as one: a process may be in several, with the same memory in each. While one of them
    /// is not known, none of a session's memory is.
    fn contexts(&self) -> Answer<Vec<Context>> {
        let mut all: Option<Vec<Context>> = None;
        for list in ContextList::ALL {
            match self.handle.contexts(list)? {
                Some(contexts) => all.get_or_insert_default().extend(contexts),
                None if self.handle.lacks_list(list) => {}
                None => return Ok(None),
            }
        }
        if let Some(all) = &mut all {
            // The one that knows the memory first.
            all.sort_by_key(|c| (c.pid, c.gpu_instance, std::cmp::Reverse(c.memory)));
            all.dedup_by(|next, kept| {
                let same = (next.pid, next.gpu_instance) == (kept.pid, kept.gpu_instance);
                kept.mps |= same && next.mps;
                same
            });
        }
        Ok(all)
    }

    /// Follows the MIG mode and the instances.
    fn mig(&mut self) -> Result<(), Failure> {
        let mode = self
            .handle
            .ask("nvmlDeviceGetMigMode", nvml_wrapper::Device::mig_mode)?;
        let enabled = mode.map(|mode| mode.current != 0);
        if enabled != self.device.identity.mig {
            self.device.identity = Arc::new(Identity {
                mig: enabled,
                ..Identity::clone(&self.device.identity)
            });
            // What it supports depends on it.
            self.handle.forget_unsupported();
        }
        self.device.instances.clear();
        if enabled != Some(true) {
            return Ok(());
        }
        let most = self.handle.ask(
            "nvmlDeviceGetMaxMigDeviceCount",
            nvml_wrapper::Device::mig_device_count,
        )?;
        for index in 0..most.unwrap_or(0) {
            if let Some(handle) = self.handle.instance(index)?
                && let Some(instance) = self.instance(&handle)?
            {
                self.device.instances.push(instance);
            }
        }
        let there = &self.device.instances;
        self.instances
            .retain(|uuid, _| there.iter().any(|instance| instance.uuid == *uuid));
        Ok(())
    }

    fn instance(&mut self, handle: &Handle<'d>) -> Answer<Instance> {
        let Some(uuid) = handle.ask("nvmlDeviceGetUUID", nvml_wrapper::Device::uuid)? else {
            return Ok(None);
        };
        let memory = handle.memory()?;
        if let Some(known) = self.instances.get(&uuid) {
            let known = known.clone();
            return Ok(Some(Instance { memory, ..known }));
        }
        let Some((gpu_instance, compute_instance)) = handle.instance_ids()? else {
            return Ok(None);
        };
        let name = handle.ask("nvmlDeviceGetName", nvml_wrapper::Device::name)?;
        let name = name.unwrap_or_default();
        let instance = Instance {
            gpu_instance,
            compute_instance,
            uuid: uuid.clone(),
            // `NVIDIA H100 80GB HBM3 MIG 1g.10gb`
            profile: name.rsplit(' ').next().unwrap_or_default().to_owned(),
            memory,
        };
        self.instances.insert(uuid, instance.clone());
        Ok(Some(instance))
    }

    fn pcie(&mut self) -> Result<(), Failure> {
        let throughput = &mut self.device.readings.pcie_throughput;
        throughput.clear();
        for direction in Direction::ALL {
            let counter = match direction {
                Direction::Transmit => PcieUtilCounter::Send,
                Direction::Receive => PcieUtilCounter::Receive,
            };
            let kilobytes = self.handle.ask("nvmlDeviceGetPcieThroughput", |d| {
                d.pcie_throughput(counter)
            })?;
            throughput.extend(kilobytes.map(|kb| (direction, f64::from(kb) * 1e3)));
        }
        Ok(())
    }
}

/// Asks a device who it is.
pub(super) fn identity(handle: &Handle<'_>, index: u32) -> Answer<Identity> {
    use nvml_wrapper::enum_wrappers::device::GpuVirtualizationMode as Mode;
    let Some(uuid) = handle.ask("nvmlDeviceGetUUID", nvml_wrapper::Device::uuid)? else {
        return Ok(None);
    };
    let name = handle.ask("nvmlDeviceGetName", nvml_wrapper::Device::name)?;
    let pci = handle.ask("nvmlDeviceGetPciInfo_v3", nvml_wrapper::Device::pci_info)?;
    let mode = handle.ask("nvmlDeviceGetVirtualizationMode", |d| {
        d.virtualization_mode()
    })?;
    let mig = handle.ask("nvmlDeviceGetMigMode", nvml_wrapper::Device::mig_mode)?;
    Ok(Some(Identity {
        index,
        uuid,
        name: name.unwrap_or_default(),
        pci_address: pci.map_or_else(String::new, |pci| pci_address(&pci.bus_id)),
        minor: handle.ask(
            "nvmlDeviceGetMinorNumber",
            nvml_wrapper::Device::minor_number,
        )?,
        mig: mig.map(|mode| mode.current != 0),
        virtualization: mode.map(|mode| match mode {
            Mode::Bare => Virtualization::None,
            Mode::PassThrough => Virtualization::Passthrough,
            Mode::Vgpu => Virtualization::Vgpu,
            Mode::HostVgpu => Virtualization::VgpuHost,
            Mode::HostVsga => Virtualization::VsgaHost,
        }),
    }))
}

/// The kernel's spelling of a PCI address: NVML writes eight digits of domain, and capitals.
pub(super) fn pci_address(bus_id: &str) -> String {
    let lower = bus_id.to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() > 4 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[domain.len() - 4..])
        }
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_spelt_as_the_kernel_does() {
        assert_eq!(pci_address("00000000:3B:00.0"), "0000:3b:00.0");
        assert_eq!(pci_address("0000:af:00.0"), "0000:af:00.0");
        assert_eq!(pci_address("00010000:01:00.0"), "00010000:01:00.0");
    }
}
