//! The border to the driver: the only place that calls NVML.
//!
//! nvml-wrapper does what it does right. What it does not is called through its sys layer: a list in one
//! call instead of two, encoder sessions (one AV1 session makes the wrapper refuse all of the GPU), capture
//! sessions (an unknown flag likewise), version 2 of what older drivers do not have a version 3 of.

#![expect(unsafe_code, reason = "the driver has an interface in C")]

mod buffer;
mod events;
mod meaning;

use crate::telemetry::log_event;
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    ffi::{OsStr, c_uint},
    mem,
};

use nvml_wrapper::{
    Nvml,
    error::{NvmlError, nvml_sym, nvml_try},
};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlEncoderSessionInfo_t, nvmlFBCSessionInfo_t, nvmlMemory_t,
    nvmlMemory_v2_t, nvmlProcessInfo_v2_t, nvmlProcessUtilizationSample_t, nvmlReturn_t,
};

use self::buffer::Buffer;
use self::meaning::Meaning;
pub(super) use self::{
    events::XidEvents,
    meaning::{Failure, SILENT, device_reason, reason},
};
use super::{
    calls::CallLog,
    model::{Codec, Context, Memory, RemappedRows, Stream},
    usage::Sample,
};

/// Room for a list at the first attempt; the driver's ring of samples holds 72.
const ROOM: usize = 128;
/// Entries of a list that are believed; more is a driver's error, and no reason to want the memory.
const MOST: usize = 1 << 16;
/// A list may grow between two attempts; four times in a row it does not.
const ATTEMPTS: usize = 4;

const SUCCESS: nvmlReturn_t = 0;
const INSUFFICIENT_SIZE: nvmlReturn_t = 7;
/// `NVML_VALUE_NOT_AVAILABLE` of 64 and of 32 bits (nvml.h).
const NOT_AVAILABLE: u64 = u64::MAX;
const NO_INSTANCE: u32 = u32::MAX;

/// A reading; `None` where there is none.
pub(super) type Answer<T> = Result<Option<T>, Failure>;

/// The initialised driver.
pub(super) struct Driver<'l> {
    nvml: Nvml,
    log: &'l CallLog,
    /// Whether version 3 of the process lists has entries of 24 bytes, as version 2 has in every driver.
    version_3_fits: Cell<bool>,
}

impl<'l> Driver<'l> {
    /// Loads the library and initialises the driver.
    pub(super) fn initialise(library: &OsStr, log: &'l CallLog) -> Result<Self, NvmlError> {
        let nvml = log.record("nvmlInit_v2", || Nvml::builder().lib_path(library).init());
        nvml.map(|nvml| Self {
            version_3_fits: Cell::new(version_3_fits(nvml.lib())),
            nvml,
            log,
        })
    }

    /// Version of the driver.
    pub(super) fn version(&self) -> Result<String, NvmlError> {
        self.log.record("nvmlSystemGetDriverVersion", || {
            self.nvml.sys_driver_version()
        })
    }

    /// Number of devices.
    pub(super) fn count(&self) -> Result<u32, NvmlError> {
        self.log
            .record("nvmlDeviceGetCount_v2", || self.nvml.device_count())
    }

    /// A device by its position.
    pub(super) fn device(&self, index: u32) -> Result<Handle<'_>, NvmlError> {
        let device = self.log.record("nvmlDeviceGetHandleByIndex_v2", || {
            self.nvml.device_by_index(index)
        });
        device.map(|device| self.handle(device))
    }

    fn handle<'d>(&'d self, device: nvml_wrapper::Device<'d>) -> Handle<'d> {
        Handle {
            device,
            driver: self,
            unsupported: RefCell::default(),
            heard: Cell::default(),
        }
    }
}

/// What a device has said since somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Something, be it that it does not have what is asked.
    answers: u32,
    /// That it does not know, or nothing in time.
    silences: u32,
}

/// A device that can be asked.
pub(super) struct Handle<'d> {
    device: nvml_wrapper::Device<'d>,
    driver: &'d Driver<'d>,
    /// Functions, with a parameter, that it does not support: they are asked once.
    unsupported: RefCell<HashSet<(&'static str, u32)>>,
    heard: Cell<Heard>,
}

impl<'d> Handle<'d> {
    /// Asks with a method of the wrapper; `function` is what it calls.
    pub(super) fn ask<T>(
        &self,
        function: &'static str,
        question: impl FnOnce(&nvml_wrapper::Device<'d>) -> Result<T, NvmlError>,
    ) -> Answer<T> {
        self.ask_of(function, 0, question)
    }

    /// The same for a function whose support depends on a parameter.
    pub(super) fn ask_of<T>(
        &self,
        function: &'static str,
        parameter: u32,
        question: impl FnOnce(&nvml_wrapper::Device<'d>) -> Result<T, NvmlError>,
    ) -> Answer<T> {
        if self.unsupported.borrow().contains(&(function, parameter)) {
            return Ok(None);
        }
        let log = self.driver.log;
        let mut heard = self.heard.get();
        let error = match log.record(function, || question(&self.device)) {
            Ok(value) => {
                heard.answers += 1;
                self.heard.set(heard);
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        let meaning = Meaning::of(&error);
        if matches!(meaning, Meaning::Silence(_)) {
            heard.silences += 1;
        } else {
            heard.answers += 1;
        }
        self.heard.set(heard);
        match meaning {
            Meaning::Unsupported => {
                self.unsupported.borrow_mut().insert((function, parameter));
                Ok(None)
            }
            Meaning::Nothing => Ok(None),
            Meaning::NoAnswer(name) | Meaning::Silence(name) => {
                log.failed(function, name);
                log_event!(DriverNoAnswer, function, parameter, %error);
                Ok(None)
            }
            Meaning::Fails(failure, name) => {
                log.failed(function, name);
                Err(failure)
            }
        }
    }

    /// Whether the device has said that it does not support a function.
    pub(super) fn lacks(&self, function: &'static str) -> bool {
        self.unsupported.borrow().contains(&(function, 0))
    }

    /// Whether everything that was asked since the last time was in vain.
    pub(super) fn is_silent(&self) -> bool {
        let Heard { answers, silences } = self.heard.take();
        answers == 0 && silences > 0
    }

    /// Asks again for everything from the next time on.
    pub(super) fn forget_unsupported(&self) {
        self.unsupported.borrow_mut().clear();
    }

    /// The MIG device at an index, which may be a hole.
    pub(super) fn instance(&self, index: u32) -> Answer<Handle<'d>> {
        let driver = self.driver;
        self.ask_of("nvmlDeviceGetMigDeviceHandleByIndex", index, |device| {
            device
                .mig_device_by_index(index)
                .map(|instance| driver.handle(instance))
        })
    }

    /// GPU instance and compute instance of a MIG device.
    pub(super) fn instance_ids(&self) -> Answer<(u32, u32)> {
        let library = self.library();
        let gpu = self.ask("nvmlDeviceGetGpuInstanceId", |_| {
            let function = nvml_sym(library.nvmlDeviceGetGpuInstanceId.as_ref())?;
            // SAFETY: the handle is of this library; the function writes one number.
            number(|id| unsafe { function(self.raw(), id) })
        })?;
        let compute = self.ask("nvmlDeviceGetComputeInstanceId", |_| {
            let function = nvml_sym(library.nvmlDeviceGetComputeInstanceId.as_ref())?;
            // SAFETY: the same.
            number(|id| unsafe { function(self.raw(), id) })
        })?;
        Ok(gpu.zip(compute))
    }

    /// Frame buffer: version 2, and version 1 of drivers before 510, which counts what is reserved as used.
    pub(super) fn memory(&self) -> Answer<Memory> {
        let library = self.library();
        let newer = self.ask("nvmlDeviceGetMemoryInfo_v2", |_| {
            let function = nvml_sym(library.nvmlDeviceGetMemoryInfo_v2.as_ref())?;
            let mut memory: nvmlMemory_v2_t = zeroed();
            // Size and version number, as `nvmlMemory_v2` of nvml.h.
            memory.version = size_of::<nvmlMemory_v2_t>() as c_uint | 2 << 24;
            // SAFETY: the handle is of this library; the structure is of the version that it says.
            nvml_try(unsafe { function(self.raw(), &raw mut memory) })?;
            Ok(Memory {
                total: memory.total,
                used: memory.used,
                reserved: Some(memory.reserved),
            })
        })?;
        if newer.is_some() || !self.lacks("nvmlDeviceGetMemoryInfo_v2") {
            return Ok(newer);
        }
        self.ask("nvmlDeviceGetMemoryInfo", |_| {
            let function = nvml_sym(library.nvmlDeviceGetMemoryInfo.as_ref())?;
            let mut memory: nvmlMemory_t = zeroed();
            // SAFETY: the handle is of this library; the function writes one structure.
            nvml_try(unsafe { function(self.raw(), &raw mut memory) })?;
            Ok(Memory {
                total: memory.total,
                used: memory.used,
                reserved: None,
            })
        })
    }

    /// Rows of its memory that were replaced.
    pub(super) fn remapped_rows(&self) -> Answer<RemappedRows> {
        let library = self.library();
        self.ask("nvmlDeviceGetRemappedRows", |_| {
            let function = nvml_sym(library.nvmlDeviceGetRemappedRows.as_ref())?;
            let [mut corrected, mut uncorrected, mut pending, mut failed] = [0; 4];
            // SAFETY: the handle is of this library; the function writes four numbers.
            nvml_try(unsafe {
                function(
                    self.raw(),
                    &raw mut corrected,
                    &raw mut uncorrected,
                    &raw mut pending,
                    &raw mut failed,
                )
            })?;
            Ok(RemappedRows {
                corrected: corrected.into(),
                uncorrected: uncorrected.into(),
                is_pending: pending != 0,
                has_failed: failed != 0,
            })
        })
    }

    /// Processes in one of the driver's lists; a process may be in several.
    pub(super) fn contexts(&self, list: ContextList) -> Answer<Vec<Context>> {
        let library = self.library();
        let (newer, older) = list.functions();
        let mut answer = None;
        if self.driver.version_3_fits.get() {
            answer = self.ask(newer, |_| {
                let function = match list {
                    ContextList::Compute => {
                        library.nvmlDeviceGetComputeRunningProcesses_v3.as_ref()
                    }
                    ContextList::Graphics => {
                        library.nvmlDeviceGetGraphicsRunningProcesses_v3.as_ref()
                    }
                    ContextList::Mps => library.nvmlDeviceGetMPSComputeRunningProcesses_v3.as_ref(),
                };
                let function = nvml_sym(function)?;
                // SAFETY: the handle is of this library; the buffer has the room that `list_of` says.
                self.list_of(newer, |count, buffer| unsafe {
                    function(self.raw(), count, buffer)
                })
            })?;
        }
        if answer.is_none() && self.lacks_version_3(newer) {
            answer = self.ask(older, |_| {
                let function = match list {
                    ContextList::Compute => {
                        library.nvmlDeviceGetComputeRunningProcesses_v2.as_ref()
                    }
                    ContextList::Graphics => {
                        library.nvmlDeviceGetGraphicsRunningProcesses_v2.as_ref()
                    }
                    ContextList::Mps => library.nvmlDeviceGetMPSComputeRunningProcesses_v2.as_ref(),
                };
                let function = nvml_sym(function)?;
                // SAFETY: the same.
                self.list_of(older, |count, buffer| unsafe {
                    function(self.raw(), count, buffer)
                })
            })?;
        }
        Ok(answer.map(|entries: Vec<nvmlProcessInfo_v2_t>| {
            let context = |entry: nvmlProcessInfo_v2_t| Context {
                pid: entry.pid,
                memory: (entry.usedGpuMemory != NOT_AVAILABLE).then_some(entry.usedGpuMemory),
                gpu_instance: (entry.gpuInstanceId != NO_INSTANCE).then_some(entry.gpuInstanceId),
                mps: list == ContextList::Mps,
            };
            entries.into_iter().map(context).collect()
        }))
    }

    /// Whether neither version of a list is there.
    pub(super) fn lacks_list(&self, list: ContextList) -> bool {
        let (newer, older) = list.functions();
        self.lacks_version_3(newer) && self.lacks(older)
    }

    fn lacks_version_3(&self, newer: &'static str) -> bool {
        !self.driver.version_3_fits.get() || self.lacks(newer)
    }

    /// Utilisation samples of processes that are newer than a moment, microseconds since 1970. That there
    /// are none is how the driver says that all processes are idle.
    pub(super) fn usage_samples(&self, newer_than_us: u64) -> Answer<Vec<Sample>> {
        let library = self.library();
        self.ask("nvmlDeviceGetProcessUtilization", |_| {
            let function = nvml_sym(library.nvmlDeviceGetProcessUtilization.as_ref())?;
            let entries = self.list_of("nvmlDeviceGetProcessUtilization", |count, buffer| {
                // SAFETY: the handle is of this library; the buffer has the room that `list_of` says.
                unsafe { function(self.raw(), buffer, count, newer_than_us) }
            });
            let entries: Vec<nvmlProcessUtilizationSample_t> = match entries {
                Err(NvmlError::NotFound) => Vec::new(),
                entries => entries?,
            };
            let sample = |entry: nvmlProcessUtilizationSample_t| Sample {
                pid: entry.pid,
                at_us: entry.timeStamp,
                percent: [entry.smUtil, entry.memUtil, entry.encUtil, entry.decUtil],
            };
            Ok(entries.into_iter().map(sample).collect())
        })
    }

    /// Encoder sessions.
    pub(super) fn encoder_sessions(&self) -> Answer<Vec<Stream>> {
        let library = self.library();
        self.ask("nvmlDeviceGetEncoderSessions", |_| {
            let function = nvml_sym(library.nvmlDeviceGetEncoderSessions.as_ref())?;
            // SAFETY: the handle is of this library; the buffer has the room that `list_of` says.
            let entries = self.list_of("nvmlDeviceGetEncoderSessions", |count, buffer| unsafe {
                function(self.raw(), count, buffer)
            })?;
            let stream = |entry: nvmlEncoderSessionInfo_t| Stream {
                pid: entry.pid,
                is_of_guest: entry.vgpuInstance != 0,
                codec: Some(Codec::of(entry.codecType)),
                width: entry.hResolution,
                height: entry.vResolution,
                fps: entry.averageFps,
                latency_us: entry.averageLatency,
            };
            Ok(entries.into_iter().map(stream).collect())
        })
    }

    /// Frame-capture sessions.
    pub(super) fn capture_sessions(&self) -> Answer<Vec<Stream>> {
        let library = self.library();
        self.ask("nvmlDeviceGetFBCSessions", |_| {
            let function = nvml_sym(library.nvmlDeviceGetFBCSessions.as_ref())?;
            // SAFETY: the handle is of this library; the buffer has the room that `list_of` says.
            let entries = self.list_of("nvmlDeviceGetFBCSessions", |count, buffer| unsafe {
                function(self.raw(), count, buffer)
            })?;
            let stream = |entry: nvmlFBCSessionInfo_t| Stream {
                pid: entry.pid,
                is_of_guest: entry.vgpuInstance != 0,
                codec: None,
                width: entry.hResolution,
                height: entry.vResolution,
                fps: entry.averageFPS,
                latency_us: entry.averageLatency,
            };
            Ok(entries.into_iter().map(stream).collect())
        })
    }

    /// A list in one call where there is room, which is nearly always. A function that writes past the room is
    /// taken for one that the driver does not have: its entries are not those of our header. Then no list of
    /// version 3 is asked for any more, on any device, because a short one would be wrong unseen.
    fn list_of<T: Copy>(
        &self,
        function: &'static str,
        call: impl Fn(*mut c_uint, *mut T) -> nvmlReturn_t,
    ) -> Result<Vec<T>, NvmlError> {
        let mut room = ROOM;
        for _ in 0..ATTEMPTS {
            let mut buffer = Buffer::<T>::new(room);
            let mut count = room as c_uint;
            let returned = call(&raw mut count, buffer.as_mut_ptr());
            if !buffer.is_intact() {
                self.driver.log.failed(function, "overrun");
                self.driver.version_3_fits.set(false);
                log_event!(
                    DriverOverran,
                    function,
                    room,
                    count,
                    entry_bytes = size_of::<T>()
                );
                return Err(NvmlError::FunctionNotFound);
            }
            match returned {
                // SAFETY: the driver says that it has written so many, of plain numbers.
                SUCCESS => return Ok(unsafe { buffer.take(count as usize) }),
                // Half as much again: it may grow once more.
                INSUFFICIENT_SIZE if count as usize <= MOST => {
                    room = room.max(count as usize) * 3 / 2;
                }
                error => return Err(error.into()),
            }
        }
        Err(NvmlError::InsufficientSize(None))
    }

    fn library(&self) -> &'d NvmlLib {
        self.driver.nvml.lib()
    }

    fn raw(&self) -> nvmlDevice_t {
        // SAFETY: the handle is only given back to the library that it is of.
        unsafe { self.device.handle() }
    }
}

/// A list of processes with a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContextList {
    Compute,
    Graphics,
    /// Clients of the multi-process service.
    Mps,
}

impl ContextList {
    pub(super) const ALL: [Self; 3] = [Self::Compute, Self::Graphics, Self::Mps];

    /// The function, and what drivers before 510 have instead.
    fn functions(self) -> (&'static str, &'static str) {
        match self {
            Self::Compute => (
                "nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2",
            ),
            Self::Graphics => (
                "nvmlDeviceGetGraphicsRunningProcesses_v3",
                "nvmlDeviceGetGraphicsRunningProcesses_v2",
            ),
            Self::Mps => (
                "nvmlDeviceGetMPSComputeRunningProcesses_v3",
                "nvmlDeviceGetMPSComputeRunningProcesses_v2",
            ),
        }
    }
}

/// Whether entries of version 3 of the process lists have 24 bytes. Drivers from 535.43.02 to 535.86, of CUDA
/// 12.2.0, hand out 32, with the protected memory behind the rest (`nvmlProcessInfo_t` of the nvml.h of
/// nvidia-nvml-dev 12.2.81; 12.1.105 and 12.2.140 have 24). Those drivers brought the first function, and their
/// successors the second, which has the protected memory since.
fn version_3_fits(library: &NvmlLib) -> bool {
    library.nvmlDeviceGetConfComputeMemSizeInfo.is_err()
        || library.nvmlDeviceGetRunningProcessDetailList.is_ok()
}

fn zeroed<T: Copy>() -> T {
    // SAFETY: only called for structures of the C interface, which are numbers and pointers.
    unsafe { mem::zeroed() }
}

fn number(call: impl FnOnce(*mut c_uint) -> nvmlReturn_t) -> Result<u32, NvmlError> {
    let mut value = 0;
    nvml_try(call(&raw mut value))?;
    Ok(value)
}
