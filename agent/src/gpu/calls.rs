//! What the driver is asked, how long it takes, and what it is doing now.
//!
//! The sampler's thread writes, others read: a call that does not come back must be seen by those who
//! wait for it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use agent_common::histogram::bucket_of;

use super::model::Calls;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    calls: Mutex<Calls>,
    current: Mutex<Option<&'static str>>,
}

impl CallLog {
    /// Makes a call of a function of the driver, by its name in C.
    pub(super) fn record<T>(&self, function: &'static str, call: impl FnOnce() -> T) -> T {
        *lock(&self.current) = Some(function);
        let began = Instant::now();
        let result = call();
        let took_ns = began.elapsed().as_nanos() as u64;
        *lock(&self.current) = None;
        let mut calls = lock(&self.calls);
        let duration = &mut calls.entry(function).or_default().duration;
        duration.buckets[bucket_of(took_ns)] += 1;
        duration.sum_ns += took_ns;
        result
    }

    /// Counts a failure.
    pub(super) fn failed(&self, function: &'static str, error: &'static str) {
        let mut calls = lock(&self.calls);
        *calls
            .entry(function)
            .or_default()
            .errors
            .entry(error)
            .or_default() += 1;
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Calls {
        lock(&self.calls).clone()
    }

    /// The function that the driver has not come back from.
    pub(super) fn current(&self) -> Option<&'static str> {
        *lock(&self.current)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
