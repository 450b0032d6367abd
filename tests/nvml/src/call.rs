//! What every function of the C interface goes through: it is counted, the scenario is brought up to
//! date, it may hang or be refused, and no panic leaves it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};

use crate::{
    Code, Scenario,
    handles::Place,
    scenario::{Device, MigDevice},
    state::{State, lock},
};

/// How often a call that hangs looks whether it still should.
const TICK: Duration = Duration::from_millis(10);

/// A device as a call sees it.
pub(crate) struct View<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) place: Place,
    function: &'static str,
}

impl View<'_> {
    /// The GPU, also if the handle is of one of its MIG devices.
    pub(crate) fn gpu(&self) -> &Device {
        &self.scenario.devices[self.place.device]
    }

    /// The MIG device, if the handle is one's.
    pub(crate) fn mig(&self) -> Option<&MigDevice> {
        self.place
            .mig
            .map(|position| &self.gpu().mig_devices[position])
    }

    /// The GPU, for what a MIG device does not have.
    pub(crate) fn whole(&self) -> Result<&Device, Code> {
        if self.place.mig.is_some() {
            Err(Code::NOT_SUPPORTED)
        } else {
            Ok(self.gpu())
        }
    }

    /// The GPU, for what it does not have either while MIG is on.
    pub(crate) fn undivided(&self) -> Result<&Device, Code> {
        let device = self.whole()?;
        if device.mig_enabled == Some(true) {
            Err(Code::NOT_SUPPORTED)
        } else {
            Ok(device)
        }
    }

    /// By how much a list has grown since its size was asked for; only a call that brings a buffer
    /// can find out.
    pub(crate) fn growth(&mut self, brings_buffer: bool) -> usize {
        if !brings_buffer {
            return 0;
        }
        self.state.growth(self.function, Some(self.place)) as usize
    }
}

/// Whether a function works before `nvmlInit_v2`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Initialised,
    Nothing,
}

/// Runs a function of the C interface.
pub(crate) fn guarded(body: impl FnOnce() -> Result<(), Code>) -> nvmlReturn_t {
    // The state is behind a mutex that forgives poison, and a half-written answer is one that failed.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Code::SUCCESS.0,
        Ok(Err(code)) => code.0,
        Err(_) => Code::UNKNOWN.0,
    }
}

/// Begins a call: what comes back is the state with the scenario of now, and where the device is.
pub(crate) fn enter(
    function: &'static str,
    device: Option<nvmlDevice_t>,
    needs: Needs,
) -> Result<(MutexGuard<'static, State>, Option<Place>), Code> {
    let look = |state: &mut State| {
        state.refresh();
        if needs == Needs::Initialised && state.initialised == 0 {
            return Err(Code::UNINITIALIZED);
        }
        device.map(|device| state.place(device.addr())).transpose()
    };
    let mut state = lock();
    state.calls.count(function);
    let mut place = look(&mut state)?;
    let begun = Instant::now();
    let mut hangs = false;
    while let Some(hang) = state.hang(function, place, hangs) {
        let Some(left) = hang
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        else {
            break;
        };
        hangs = true;
        drop(state);
        thread::sleep(left.min(TICK));
        state = lock();
        place = look(&mut state)?;
    }
    match state.refusal(function, place) {
        Some(code) => Err(code),
        None => Ok((state, place)),
    }
}

/// A function without a device.
pub(crate) fn on_node(
    function: &'static str,
    needs: Needs,
    body: impl FnOnce(&mut State) -> Result<(), Code>,
) -> nvmlReturn_t {
    guarded(|| {
        let (mut state, _) = enter(function, None, needs)?;
        body(&mut state)
    })
}

/// A function of a device.
pub(crate) fn on_device(
    function: &'static str,
    device: nvmlDevice_t,
    body: impl FnOnce(&mut View<'_>) -> Result<(), Code>,
) -> nvmlReturn_t {
    guarded(|| {
        let (mut state, place) = enter(function, Some(device), Needs::Initialised)?;
        let place = place.ok_or(Code::INVALID_ARGUMENT)?;
        let scenario = Arc::clone(&state.scenario);
        body(&mut View {
            state: &mut state,
            scenario,
            place,
            function,
        })
    })
}
