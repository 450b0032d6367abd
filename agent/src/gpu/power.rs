//! Whether the kernel has put the GPUs to sleep, or may (`Documentation/power/runtime_pm.rst`, 6.12).
//!
//! Whoever asks the driver wakes a GPU, and none goes to sleep while its library is open
//! (NVIDIA's README, chapter "PCI-Express Runtime D3 Power Management"). The files that say so wake nothing.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::model::{Device, Readings};

/// Kernel drivers list their devices here.
pub(super) const BOUND_DEVICES: &str = "/sys/bus/pci/drivers/nvidia";

/// How long GPUs that nobody uses may take to fall asleep once they are let go.
pub(super) const FALLS_ASLEEP: Duration = Duration::from_secs(15);
/// Between two looks at one that is asleep, or is to be.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// GPUs that did not fall asleep are held by somebody else: they are not let go again before this has passed, and twice as
/// much after each further time.
const HELD: (Duration, Duration) = (Duration::from_mins(30), Duration::from_hours(24));

/// What the kernel's power management does with the GPUs, all together: opening the library wakes them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// One at least is never suspended, or nothing is known.
    On,
    /// Every one may be suspended, and one at least is not.
    Awake,
    /// Every one is suspended.
    Suspended,
}

/// The PCI functions that a kernel driver has, by its folder.
pub(super) fn devices(driver: &Path) -> impl Iterator<Item = fs::DirEntry> {
    let entries = fs::read_dir(driver).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().contains(':'))
}

/// That of the devices of a kernel driver.
pub(super) fn of_devices(driver: &Path) -> Power {
    let mut all = devices(driver).map(|device| of_device(&device.path().join("power")));
    let Some(first) = all.next() else {
        return Power::On;
    };
    all.fold(first, |sum, one| match (sum, one) {
        (Power::On, _) | (_, Power::On) => Power::On,
        (Power::Suspended, Power::Suspended) => Power::Suspended,
        _ => Power::Awake,
    })
}

/// `runtime_status` and `control` (`Documentation/ABI/testing/sysfs-devices-power`).
fn of_device(power: &Path) -> Power {
    let read = |file| fs::read_to_string(power.join(file)).unwrap_or_default();
    match (read("control").trim(), read("runtime_status").trim()) {
        // It is so until somebody wakes it, whatever is set meanwhile.
        (_, "suspended") => Power::Suspended,
        ("auto", "active" | "suspending" | "resuming") => Power::Awake,
        _ => Power::On,
    }
}

/// When GPUs that nobody uses are let go.
#[derive(Debug)]
pub(super) struct Idleness {
    /// After so long; never if that is 0.
    after: Duration,
    used: Instant,
    /// Not before this, because somebody else held them.
    held_until: Option<Instant>,
    held_for: Duration,
}

impl Idleness {
    pub(super) fn new(after: Duration, now: Instant) -> Self {
        Self {
            after,
            used: now,
            held_until: None,
            held_for: HELD.0,
        }
    }

    /// They are used, or begin to be looked at.
    pub(super) fn is_used(&mut self, now: Instant) {
        self.used = now;
    }

    /// They were let go, and have fallen asleep: nobody held them.
    pub(super) fn has_come(&mut self) {
        (self.held_until, self.held_for) = (None, HELD.0);
    }

    /// They were let go and did not fall asleep.
    pub(super) fn is_held(&mut self, now: Instant) {
        self.held_until = Some(now + self.held_for);
        self.held_for = (self.held_for * 2).min(HELD.1);
    }

    /// Whether they are to be let go now, if the kernel may suspend them.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.after.is_zero()
            && now.duration_since(self.used) >= self.after
            && self.held_until.is_none_or(|until| now >= until)
    }
}

/// Whether somebody uses a device, as far as it says; one that is down says nothing, and is looked after.
pub(super) fn is_used(device: &Device) -> bool {
    let has_contexts = device.contexts.as_ref().is_none_or(|all| !all.is_empty());
    let streams = [&device.encoders, &device.captures].into_iter().flatten();
    device.down.is_some()
        || has_contexts
        || streams.flatten().next().is_some()
        || is_busy(&device.readings)
}

fn is_busy(readings: &Readings) -> bool {
    let mut shares = readings.utilization.iter().flatten();
    shares.any(|share| *share > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::model::Context;

    fn driver(devices: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bind"), "").unwrap();
        for (address, control, status) in devices {
            let power = folder.path().join(address).join("power");
            fs::create_dir_all(&power).unwrap();
            fs::write(power.join("control"), format!("{control}\n")).unwrap();
            fs::write(power.join("runtime_status"), format!("{status}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn gpus_are_suspended_only_if_all_are() {
        let power = |devices: &[(&str, &str, &str)]| of_devices(driver(devices).path());
        let (asleep, awake) = (
            ("0000:3b:00.0", "auto", "suspended"),
            ("0000:5e:00.0", "auto", "active"),
        );
        let on = ("0000:86:00.0", "on", "active");
        assert_eq!(power(&[asleep]), Power::Suspended);
        assert_eq!(power(&[asleep, awake]), Power::Awake);
        assert_eq!(power(&[awake, asleep]), Power::Awake);
        assert_eq!(power(&[asleep, on]), Power::On);
        assert_eq!(power(&[("0000:3b:00.0", "auto", "unsupported")]), Power::On);
        assert_eq!(power(&[]), Power::On);
        assert_eq!(of_devices(Path::new("/does/not/exist")), Power::On);
    }

    #[test]
    fn gpus_are_let_go_when_nobody_has_used_them_for_so_long() {
        let (start, minute) = (Instant::now(), Duration::from_mins(1));
        let mut idleness = Idleness::new(minute, start);
        assert!(!idleness.is_over(start + minute / 2));
        idleness.is_used(start + minute / 2);
        assert!(!idleness.is_over(start + minute));
        assert!(idleness.is_over(start + 2 * minute));
        // Somebody else holds them, again and again.
        idleness.is_held(start + 2 * minute);
        assert!(!idleness.is_over(start + 31 * minute));
        assert!(idleness.is_over(start + 32 * minute));
        idleness.is_held(start + 32 * minute);
        assert!(!idleness.is_over(start + 91 * minute));
        assert!(idleness.is_over(start + 92 * minute));
        assert!(!Idleness::new(Duration::ZERO, start).is_over(start + 99 * minute));
    }

    #[test]
    fn a_device_is_used_unless_it_says_that_nobody_does() {
        let idle = Device {
            contexts: Some(Vec::new()),
            ..Device::default()
        };
        assert!(!is_used(&idle));
        assert!(is_used(&Device::default()), "it does not list processes");
        let with = |change: fn(&mut Device)| {
            let mut device = idle.clone();
            change(&mut device);
            is_used(&device)
        };
        let context = Context {
            pid: 7,
            memory: None,
            gpu_instance: None,
            mps: false,
        };
        let used = Device {
            contexts: Some(vec![context]),
            ..idle.clone()
        };
        assert!(is_used(&used));
        assert!(with(|d| d.readings.utilization[0] = Some(0.1)));
        assert!(!with(|d| d.readings.utilization[0] = Some(0.0)));
        assert!(with(|d| d.down = Some("lost")));
    }
}
