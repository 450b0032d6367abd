//! The sampler: one operating-system thread that owns the driver's library.
//!
//! A call may hang for good inside the driver, uninterruptible, so nobody waits for this thread: it sends
//! what it finds, and who listens looks at the age of it. What fails is tried again with back-off, by
//! initialising the driver anew, which is also what shows new devices and makes lost handles valid.

use crate::telemetry::log_event;
use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nvml_wrapper::error::NvmlError;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Settings,
    calls::CallLog,
    device::{self, DeviceSampler, Due},
    down::Down,
    library,
    model::{Device, Identity, Report, XidEvent},
    nvml::{self, Driver, Failure, XidEvents},
    power::{self, Idleness, Power},
    rhythm::Rhythm,
    usage::Integral,
};

/// How often it is looked whether there are other devices than before.
const RESCAN: Duration = Duration::from_secs(30);
/// The first and the longest time until a failed initialisation is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// After this long without a failure the next one is a first one again.
const STEADY: Duration = Duration::from_mins(2);

/// What the sampler says.
#[derive(Debug)]
pub(super) enum Message {
    /// A round has been made.
    Round(Box<Report>),
    /// There is no driver to ask.
    Down(Down),
}

/// Why the driver has to be initialised again.
enum End {
    /// At once: the devices have changed.
    Changed,
    /// Later: it, or one device, has failed.
    Failed(Down),
    /// One device has failed; the others go on until it is time to look after it.
    DeviceFailed,
    /// Nobody uses a GPU, and the kernel may suspend them all.
    Idle,
    /// Nobody listens any more.
    Closed,
}

/// See the module.
pub(super) struct Sampler {
    pub(super) settings: Settings,
    pub(super) log: Arc<CallLog>,
    pub(super) messages: UnboundedSender<Message>,
    /// What has been measured of each device, by UUID, across initialisations.
    pub(super) integrals: HashMap<String, Integral>,
    /// Devices as last seen, to name one that cannot even be opened.
    pub(super) known: Vec<Arc<Identity>>,
    /// For how long nobody has used a GPU.
    pub(super) idleness: Idleness,
}

/// How long until the next attempt.
struct BackOff {
    next: Duration,
    failed: Instant,
}

impl BackOff {
    fn new() -> Self {
        Self {
            next: RETRY.0,
            failed: Instant::now(),
        }
    }

    /// The wait after a failure.
    fn wait(&mut self) -> Duration {
        if self.failed.elapsed() > STEADY {
            self.next = RETRY.0;
        }
        self.failed = Instant::now();
        let wait = self.next;
        self.next = (wait * 2).min(RETRY.1);
        wait
    }
}

impl Sampler {
    /// Runs until nobody listens.
    pub(super) fn run(mut self) {
        let log = Arc::clone(&self.log);
        let mut back_off = BackOff::new();
        let mut device_back_off = BackOff::new();
        loop {
            let retry_devices = device_back_off.next;
            if !self.wait_until_awake() {
                return;
            }
            let end = match self.initialise(&log) {
                Ok(driver) => self.sample_until_it_ends(&driver, retry_devices),
                Err(down) => End::Failed(down),
            };
            match end {
                End::Changed => {}
                End::Idle => {
                    if !self.let_fall_asleep() {
                        return;
                    }
                }
                End::DeviceFailed => {
                    device_back_off.wait();
                }
                End::Failed(down) => {
                    if self.messages.send(Message::Down(down)).is_err() {
                        return;
                    }
                    thread::sleep(back_off.wait());
                }
                End::Closed => return,
            }
        }
    }

    /// Waits while every GPU is suspended; `false` when nobody listens any more.
    fn wait_until_awake(&mut self) -> bool {
        let mut waited = false;
        while power_of_gpus() == Power::Suspended {
            self.idleness.has_come();
            if self.messages.send(Message::Down(Down::SUSPENDED)).is_err() {
                return false;
            }
            waited = true;
            thread::sleep(power::LOOK);
        }
        if waited {
            log_event!(GpuWoken);
            self.idleness.is_used(Instant::now());
        }
        true
    }

    /// Waits until every GPU is suspended, now that the library is closed, or somebody else is seen to hold one; `false` when
    /// nobody listens any more.
    fn let_fall_asleep(&mut self) -> bool {
        log_event!(DriverLetGo);
        let until = Instant::now() + power::FALLS_ASLEEP;
        while power_of_gpus() != Power::Suspended {
            if self.messages.send(Message::Down(Down::RELEASED)).is_err() {
                return false;
            }
            let now = Instant::now();
            if now >= until {
                log_event!(GpusHeld);
                self.idleness.is_held(now);
                break;
            }
            thread::sleep(power::LOOK);
        }
        true
    }

    /// Loads the first library that can and may be loaded.
    fn initialise<'l>(&self, log: &'l CallLog) -> Result<Driver<'l>, Down> {
        let candidates = match &self.settings.library {
            Some(path) => vec![path.clone()],
            None if !library::driver_is_loaded() => {
                return Err(Down::NO_DRIVER);
            }
            None => library::candidates(),
        };
        let mut last = library::NOT_FOUND;
        let mut refused = None;
        for candidate in candidates {
            let path = match library::to_load(&candidate) {
                Ok(path) => path,
                Err(reason) => {
                    log_event!(LibraryUnusable, library = %candidate.display(), reason);
                    refused.get_or_insert(reason);
                    continue;
                }
            };
            match Driver::initialise(path.as_os_str(), log) {
                Ok(driver) => {
                    log_event!(DriverInitialised, library = %path.display());
                    return Ok(driver);
                }
                Err(error) => {
                    log_event!(LibraryUnusable, library = %path.display(), reason = %error);
                    last = nvml::reason(&error);
                    if !matches!(error, NvmlError::LibloadingError(_)) {
                        return Err(Down::failed(last));
                    }
                }
            }
        }
        // It is what can be put right.
        Err(refused.map_or_else(|| Down::no_library(last), Down::no_library))
    }

    fn sample_until_it_ends(&mut self, driver: &Driver<'_>, retry: Duration) -> End {
        let version: Arc<str> = driver.version().unwrap_or_default().into();
        let count = match driver.count() {
            Ok(count) => count,
            Err(error) => return End::Failed(Down::failed(nvml::reason(&error))),
        };
        let (mut samplers, missing) = match self.open(driver, count) {
            Ok(opened) => opened,
            Err(reason) => return End::Failed(Down::failed(reason)),
        };
        if samplers.is_empty() && missing.is_empty() {
            return End::Failed(Down::failed("the driver has no device"));
        }
        let handles = samplers
            .iter()
            .map(|s| (s.handle(), s.device().identity.index));
        let events = XidEvents::register(driver, handles).ok();
        let bound = bound_devices();
        let began = Instant::now();
        let mut rhythms = Rhythms::new(&self.settings, began);
        let end = loop {
            let now = Instant::now();
            let taken = SystemTime::now();
            let now_us = microseconds(taken);
            let due = rhythms.due(now);
            let mut failure = None;
            for sampler in &mut samplers {
                if let Err(error) = sampler.round(due, now_us) {
                    failure = Some(error);
                    break;
                }
            }
            if let Some(Failure::Driver(reason) | Failure::Device(reason)) = failure {
                break End::Failed(Down::failed(reason));
            }
            let report = Report {
                taken: now,
                at: taken,
                driver_version: Arc::clone(&version),
                devices: in_order(&samplers, &missing),
                xids: events.iter().flat_map(pending_xids).collect(),
            };
            if report.devices.iter().any(power::is_used) {
                self.idleness.is_used(now);
            }
            let any_down = report.devices.iter().any(|d| d.down.is_some());
            self.known = report
                .devices
                .iter()
                .map(|d| Arc::clone(&d.identity))
                .collect();
            if self
                .messages
                .send(Message::Round(Box::new(report)))
                .is_err()
            {
                break End::Closed;
            }
            if any_down && began.elapsed() >= retry {
                break End::DeviceFailed;
            }
            if self.idleness.is_over(now) && power_of_gpus() == Power::Awake {
                break End::Idle;
            }
            if rhythms.rescan.is_due(now)
                && now > began
                && (driver.count().ok() != Some(count) || bound_devices() != bound)
            {
                break End::Changed;
            }
            thread::sleep(rhythms.until_next(Instant::now()));
        };
        for sampler in samplers {
            let uuid = sampler.device().identity.uuid.clone();
            self.integrals.insert(uuid, sampler.into_integral());
        }
        end
    }

    /// Opens every device; one that does not open is given back as it was known, or left out.
    fn open<'d>(
        &mut self,
        driver: &'d Driver<'_>,
        count: u32,
    ) -> Result<(Vec<DeviceSampler<'d>>, Vec<Device>), &'static str> {
        let (mut samplers, mut missing) = (Vec::new(), Vec::new());
        for index in 0..count {
            let opened = match driver.device(index) {
                Ok(handle) => match device::identity(&handle, index) {
                    Ok(Some(identity)) => Ok((handle, identity)),
                    Ok(None) if handle.is_silent() => Err(nvml::SILENT),
                    Ok(None) => Err("the device does not say who it is"),
                    Err(Failure::Driver(reason)) => return Err(reason),
                    Err(Failure::Device(reason)) => Err(reason),
                },
                Err(NvmlError::Uninitialized | NvmlError::DriverNotLoaded) => {
                    return Err("the driver was unloaded");
                }
                Err(error) => Err(nvml::device_reason(&error)),
            };
            match opened {
                Ok((handle, identity)) => {
                    let integral = self.integrals.remove(&identity.uuid).unwrap_or_else(|| {
                        Integral::new(microseconds(SystemTime::now()), self.settings.period)
                    });
                    samplers.push(DeviceSampler::new(handle, identity, integral));
                }
                Err(reason) => {
                    log_event!(GpuUnopened, gpu = index, reason);
                    let identity = self.known.iter().find(|known| known.index == index);
                    missing.push(Device {
                        identity: identity.cloned().unwrap_or_else(|| {
                            Arc::new(Identity {
                                index,
                                ..Identity::default()
                            })
                        }),
                        down: Some(reason),
                        ..Device::default()
                    });
                }
            }
        }
        Ok((samplers, missing))
    }
}

struct Rhythms {
    period: Duration,
    next: Instant,
    streams: Rhythm,
    processes: Rhythm,
    health: Rhythm,
    pcie: Rhythm,
    rescan: Rhythm,
}

impl Rhythms {
    fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            period: settings.period,
            next: now,
            streams: Rhythm::new(settings.streams, now),
            processes: Rhythm::new(settings.processes, now),
            health: Rhythm::new(settings.health, now),
            pcie: Rhythm::new(settings.pcie, now),
            rescan: Rhythm::new(RESCAN, now + RESCAN),
        }
    }

    fn due(&mut self, now: Instant) -> Due {
        Due {
            streams: self.streams.is_due(now),
            processes: self.processes.is_due(now),
            health: self.health.is_due(now),
            pcie: self.pcie.is_due(now),
        }
    }

    /// Until the next round; rounds that a slow driver has made impossible are left out.
    fn until_next(&mut self, now: Instant) -> Duration {
        self.next += self.period;
        if self.next < now {
            self.next = now;
        }
        self.next - now
    }
}

fn in_order(samplers: &[DeviceSampler<'_>], missing: &[Device]) -> Vec<Device> {
    let opened = samplers.iter().map(|s| s.device().clone());
    let mut devices: Vec<Device> = opened.chain(missing.iter().cloned()).collect();
    devices.sort_by_key(|d| d.identity.index);
    devices
}

fn pending_xids(events: &XidEvents<'_>) -> Vec<XidEvent> {
    std::iter::from_fn(|| events.next())
        .map(|(gpu, xid)| XidEvent { gpu, xid })
        .collect()
}

/// PCI functions that the kernel driver has; 0 where that cannot be seen.
fn bound_devices() -> usize {
    power::devices(Path::new(power::BOUND_DEVICES)).count()
}

fn power_of_gpus() -> Power {
    power::of_devices(Path::new(power::BOUND_DEVICES))
}

fn microseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}
