//! All that the library knows: the scenario in force, and what has become of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Code, Scenario,
    calls::Calls,
    events::EventSets,
    handles::{Handles, Place},
    history::History,
    source::{Change, Source, now_us},
};

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| Mutex::new(State::new()));

/// The library's state, which calls hold one at a time, but not while they hang or wait for events.
pub(crate) fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub(crate) struct State {
    pub(crate) source: Source,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) calls: Calls,
    pub(crate) handles: Handles,
    pub(crate) event_sets: EventSets,
    /// `nvmlInit_v2` less `nvmlShutdown`.
    pub(crate) initialised: u32,
    /// How often the driver was lost; the handles of a generation end with it.
    pub(crate) generation: u64,
    histories: BTreeMap<String, History>,
    /// How often each fault of the scenario applied.
    spent: Vec<u32>,
}

impl State {
    fn new() -> Self {
        Self {
            source: Source::new(),
            scenario: Arc::new(Scenario::default()),
            calls: Calls::new(),
            handles: Handles::new(),
            event_sets: EventSets::new(),
            initialised: 0,
            generation: 0,
            histories: BTreeMap::new(),
            spent: Vec::new(),
        }
    }

    /// Takes over the scenario file if it changed.
    pub(crate) fn refresh(&mut self) {
        if let Some(Change { scenario, since_us }) = self.source.changed() {
            self.advance(since_us.min(now_us()));
            if !scenario.driver_loaded
                || scenario.driver_generation != self.scenario.driver_generation
            {
                self.lose_driver();
            }
            self.histories
                .retain(|uuid, _| scenario.devices.iter().any(|device| device.uuid == *uuid));
            for device in &scenario.devices {
                self.histories
                    .entry(device.uuid.clone())
                    .and_modify(|history| history.adopt(device))
                    .or_insert_with(|| History::new(device, since_us));
            }
            self.spent = vec![0; scenario.faults.len()];
            self.scenario = scenario;
        }
    }

    fn lose_driver(&mut self) {
        self.initialised = 0;
        self.generation += 1;
        self.histories.clear();
        self.event_sets = EventSets::new();
    }

    fn advance(&mut self, to_us: u64) {
        for device in &self.scenario.devices {
            if let Some(history) = self.histories.get_mut(&device.uuid) {
                history.advance(device, to_us);
            }
        }
    }

    /// The history of a device up to now.
    pub(crate) fn history(&mut self, device: usize) -> Option<&History> {
        let device = &self.scenario.devices[device];
        let history = self.histories.get_mut(&device.uuid)?;
        history.advance(device, now_us());
        Some(history)
    }

    /// What the handle of a device of this driver is.
    pub(crate) fn handle(&mut self, uuid: &str) -> usize {
        self.handles.give(self.generation, uuid)
    }

    /// What a handle stands for.
    pub(crate) fn place(&self, handle: usize) -> Result<Place, Code> {
        self.handles.find(self.generation, handle, &self.scenario)
    }

    /// The first fault that says something of the wanted sort about this call.
    fn fault<T>(
        &mut self,
        function: &str,
        place: Option<Place>,
        spend: bool,
        wanted: impl Fn(&crate::scenario::Fault) -> Option<T>,
    ) -> Option<T> {
        let uuids = place.map_or_else(Vec::new, |place| place.uuids(&self.scenario));
        for (fault, spent) in self.scenario.faults.iter().zip(&mut self.spent) {
            let exhausted = spend && fault.times.is_some_and(|times| *spent >= times);
            if exhausted || !fault.applies(function, &uuids) {
                continue;
            }
            if let Some(found) = wanted(fault) {
                *spent += u32::from(spend);
                return Some(found);
            }
        }
        None
    }

    /// What the call is to return instead of doing anything.
    pub(crate) fn refusal(&mut self, function: &str, place: Option<Place>) -> Option<Code> {
        self.fault(function, place, true, |fault| fault.returns)
    }

    /// By how much the list grew behind the caller's back.
    pub(crate) fn growth(&mut self, function: &str, place: Option<Place>) -> u32 {
        let grows = |by| (by > 0).then_some(by);
        self.fault(function, place, true, |fault| grows(fault.grows_by))
            .unwrap_or(0)
    }

    /// How long the call takes; while it hangs already it is not counted again.
    pub(crate) fn hang(
        &mut self,
        function: &str,
        place: Option<Place>,
        hangs_already: bool,
    ) -> Option<Duration> {
        self.fault(function, place, !hangs_already, |fault| {
            let hang = Duration::try_from_secs_f64(fault.hang_seconds).ok()?;
            (!hang.is_zero()).then_some(hang)
        })
    }
}
