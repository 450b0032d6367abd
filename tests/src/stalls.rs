//! When the machine itself stood still: an overcommitted host takes a virtual CPU away for some hundred
//! milliseconds, and whatever ran there is late, without any fault of its own.
//!
//! A thread on each CPU sleeps for a moment, again and again, with the priority of what is measured; how much
//! longer it slept is how long nothing could run there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, gettid},
};

use crate::process;

const NAP: Duration = Duration::from_millis(5);
/// A nap that is this much too long was disturbed.
const DISTURBED: Duration = Duration::from_millis(10);

/// A time in which a CPU ran nothing, seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    begin: f64,
    end: f64,
}

impl Stall {
    fn within(&self, begin: f64, end: f64) -> f64 {
        (self.end.min(end) - self.begin.max(begin)).max(0.0)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Stalls {
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Stall>>>,
    watchers: Vec<JoinHandle<()>>,
}

impl Stalls {
    /// Watches every CPU from now on.
    pub fn watch() -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let (ended, seen) = (Arc::default(), Arc::default());
        let watcher = |cpu| {
            let (ended, seen) = (Arc::clone(&ended), Arc::clone(&seen));
            thread::spawn(move || watch(cpu, &ended, &seen))
        };
        Self {
            watchers: (0..cpus).map(watcher).collect(),
            ended,
            seen,
        }
    }

    /// How much of a time, in seconds since the epoch, some CPU ran nothing.
    pub fn within(&self, begin: f64, end: f64) -> f64 {
        let seen = self.seen.lock().expect("a watcher has not panicked");
        seen.iter().map(|stall| stall.within(begin, end)).sum()
    }

    /// How often a CPU ran nothing for so long.
    pub fn longer_than(&self, seconds: f64) -> usize {
        let seen = self.seen.lock().expect("a watcher has not panicked");
        let long = seen
            .iter()
            .filter(|stall| stall.end - stall.begin > seconds);
        long.count()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for watcher in self.watchers.drain(..) {
            let _panicked = watcher.join();
        }
    }
}

fn watch(cpu: usize, ended: &AtomicBool, seen: &Mutex<Vec<Stall>>) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU that there is");
    sched_setaffinity(Pid::from_raw(0), &only).expect("a CPU that may be used");
    process::favour_thread(gettid().as_raw() as u32);
    while !ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        thread::sleep(NAP);
        let late = began.elapsed().saturating_sub(NAP);
        if late >= DISTURBED {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let end = now.expect("after 1970").as_secs_f64();
            let begin = end - late.as_secs_f64();
            seen.lock()
                .expect("nobody has panicked")
                .push(Stall { begin, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_within_a_time_counts() {
        let stall = Stall {
            begin: 10.0,
            end: 10.4,
        };
        let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-9;
        assert!(close(stall.within(9.0, 11.0), 0.4));
        assert!(close(stall.within(10.3, 11.0), 0.1));
        assert!(close(stall.within(10.5, 11.0), 0.0));
    }
}
