//! What a session's threads have waited of late: over ten seconds, for what is going on now; over a minute and
//! over an hour, to say whether it is worse than it uses to be.
//!
//! Each window keeps the histogram as it was at some moments of it, 0.8 KiB each: 25 KiB a session.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use agent_common::histogram::Histogram;

/// The length of each window, and how often its past is kept: a window is up to one such step longer.
const SECONDS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(900));
const MINUTE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(10));
const HOUR: (Duration, Duration) = (Duration::from_hours(1), Duration::from_mins(10));

/// See the module.
#[derive(Debug)]
pub struct Recent {
    /// The last two samples: when, and the CPU time then, nanoseconds.
    cpu: [(Instant, u64); 2],
    /// Waits up to the last one.
    waits: Histogram,
    seconds: Window,
    minute: Window,
    hour: Window,
}

#[derive(Debug)]
struct Window {
    length: Duration,
    step: Duration,
    /// Oldest first; the first one is the base of the difference.
    past: VecDeque<(Instant, Histogram)>,
}

impl Window {
    fn new((length, step): (Duration, Duration), now: Instant) -> Self {
        Self {
            length,
            step,
            past: VecDeque::from([(now, Histogram::default())]),
        }
    }

    fn push(&mut self, now: Instant, waits: &Histogram) {
        // One at or beyond the window's edge stays.
        while self.past.len() > 1 && now.duration_since(self.past[1].0) >= self.length {
            self.past.pop_front();
        }
        let last = self.past.back().map(|(at, _)| now.duration_since(*at));
        if last.is_none_or(|since| since >= self.step) {
            self.past.push_back((now, *waits));
        }
    }

    fn view(&self, now: Instant, waits: &Histogram) -> Waits {
        let Some((began, before)) = self.past.front() else {
            return Waits::default();
        };
        Waits {
            window: now.duration_since(*began),
            waits: waits.since(before),
        }
    }
}

impl Recent {
    /// A session that begins: its windows begin at nothing, not at its first sample.
    pub fn new(now: Instant) -> Self {
        Self {
            cpu: [(now, 0); 2],
            waits: Histogram::default(),
            seconds: Window::new(SECONDS, now),
            minute: Window::new(MINUTE, now),
            hour: Window::new(HOUR, now),
        }
    }

    /// Adds a sample.
    pub fn push(&mut self, now: Instant, waits: &Histogram, cpu_ns: u64) {
        self.cpu = [self.cpu[1], (now, cpu_ns)];
        self.waits = *waits;
        for window in [&mut self.seconds, &mut self.minute, &mut self.hour] {
            window.push(now, waits);
        }
    }

    /// The windows up to the last sample.
    pub fn view(&self) -> RecentView {
        let [before, (now, cpu_ns)] = self.cpu;
        let period = now.duration_since(before.0).as_secs_f64();
        let cpus = cpu_ns.saturating_sub(before.1) as f64 / 1e9 / period;
        RecentView {
            cpus: (period > 0.0).then_some(cpus),
            seconds: self.seconds.view(now, &self.waits),
            minute: self.minute.view(now, &self.waits),
            hour: self.hour.view(now, &self.waits),
        }
    }
}

/// See [`Recent::view`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecentView {
    /// CPUs in use over the last sampling period; 1 is one CPU all the time.
    pub cpus: Option<f64>,
    /// Ten seconds.
    pub seconds: Waits,
    /// A minute.
    pub minute: Waits,
    /// An hour.
    pub hour: Waits,
}

/// Waits of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waits {
    /// Its length, shorter in a young session.
    pub window: Duration,
    /// Those observed in it.
    pub waits: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_forgets_what_is_older() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let mut waits = Histogram::default();
        for second in 1..=3 * 3600u64 {
            waits.buckets[5] += 1;
            let now = start + Duration::from_secs(second);
            recent.push(now, &waits, second * 500_000_000);
        }
        let view = recent.view();
        let seconds = |of: &Waits| (of.window.as_secs(), of.waits.count());
        assert_eq!(seconds(&view.seconds), (10, 10));
        assert!((60..=70).contains(&view.minute.window.as_secs()));
        assert!((3600..=4200).contains(&view.hour.window.as_secs()));
        assert_eq!(view.hour.waits.count(), view.hour.window.as_secs());
        assert!((view.cpus.unwrap() - 0.5).abs() < 1e-9);
        let kept = [&recent.seconds, &recent.minute, &recent.hour].map(|w| w.past.len());
        assert!(kept.iter().sum::<usize>() <= 32, "{kept:?}");
    }

    #[test]
    fn a_young_session_has_short_windows() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let mut waits = Histogram::default();
        waits.buckets[7] = 3;
        recent.push(start + Duration::from_secs(2), &waits, 0);
        let view = recent.view();
        assert_eq!(view.hour, view.seconds);
        assert_eq!(
            (view.hour.window.as_secs(), view.hour.waits.count()),
            (2, 3)
        );
    }
}
