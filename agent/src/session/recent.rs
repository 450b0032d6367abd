//! What a session's threads have waited of late: over ten seconds, for what is going on now; over a minute and
//! over an hour, to say whether it is worse than it uses to be. And its clients' round-trip times of a minute: those of a
//! day say nothing of who is connected now.
//!
//! Each window keeps the histogram as it was at its beginning, 0.8 KiB, and what came to which buckets in each step
//! of it, 8 bytes a bucket: 6 to 10 KiB a session.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use agent_common::histogram::{BUCKETS, Histogram};

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
    /// Round-trip times of its clients up to the last sample.
    trips: Histogram,
    trips_minute: Window,
}

#[derive(Debug)]
struct Window {
    length: Duration,
    step: Duration,
    began: Instant,
    /// What had been observed when it began.
    before: Histogram,
    /// Oldest first.
    steps: VecDeque<Step>,
    /// What they are made of, in their order: buckets and what came to them, those that nothing came to left out. One to
    /// which more came than there is room for is there more than once. All steps share it, because an allocation of each
    /// one's own would lie between what an exposition takes and gives back.
    grown: VecDeque<(u16, u32)>,
}

/// What was observed in a part of a window.
#[derive(Debug)]
struct Step {
    until: Instant,
    sum_ns: u64,
    /// How many of [`Window::grown`] are its own.
    buckets: usize,
}

const _: () = assert!(BUCKETS <= u16::MAX as usize);

impl Window {
    fn new((length, step): (Duration, Duration), now: Instant) -> Self {
        Self {
            length,
            step,
            began: now,
            before: Histogram::default(),
            steps: VecDeque::new(),
            grown: VecDeque::new(),
        }
    }

    fn push(&mut self, now: Instant, all: &Histogram) {
        // It begins at or beyond its edge.
        while let Some(step) = self.steps.front()
            && now.duration_since(step.until) >= self.length
        {
            self.before.sum_ns += step.sum_ns;
            for (bucket, count) in self.grown.drain(..step.buckets) {
                self.before.buckets[usize::from(bucket)] += u64::from(count);
            }
            self.began = step.until;
            self.steps.pop_front();
        }
        let last = self.steps.back().map_or(self.began, |step| step.until);
        if now.duration_since(last) >= self.step {
            let observed = all.since(&self.told());
            let before = self.grown.len();
            for (bucket, &count) in (0u16..).zip(&observed.buckets) {
                let mut left = count;
                while left > 0 {
                    let part = u32::try_from(left).unwrap_or(u32::MAX);
                    self.grown.push_back((bucket, part));
                    left -= u64::from(part);
                }
            }
            self.steps.push_back(Step {
                until: now,
                sum_ns: observed.sum_ns,
                buckets: self.grown.len() - before,
            });
        }
    }

    /// What had been observed up to its last step.
    fn told(&self) -> Histogram {
        let mut told = self.before;
        for &(bucket, count) in &self.grown {
            told.buckets[usize::from(bucket)] += u64::from(count);
        }
        told.sum_ns += self.steps.iter().map(|step| step.sum_ns).sum::<u64>();
        told
    }

    fn view(&self, now: Instant, all: &Histogram) -> InWindow {
        InWindow {
            length: now.duration_since(self.began),
            observed: all.since(&self.before),
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
            trips: Histogram::default(),
            trips_minute: Window::new(MINUTE, now),
        }
    }

    /// Adds a sample. Without round-trip times, where they are not measured, there are none.
    pub fn push(
        &mut self,
        now: Instant,
        waits: &Histogram,
        trips: Option<&Histogram>,
        cpu_ns: u64,
    ) {
        self.cpu = [self.cpu[1], (now, cpu_ns)];
        self.waits = *waits;
        for window in [&mut self.seconds, &mut self.minute, &mut self.hour] {
            window.push(now, waits);
        }
        if let Some(trips) = trips {
            self.trips = *trips;
            self.trips_minute.push(now, trips);
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
            round_trips: self.trips_minute.view(now, &self.trips),
        }
    }
}

/// See [`Recent::view`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecentView {
    /// CPUs in use over the last sampling period; 1 is one CPU all the time.
    pub cpus: Option<f64>,
    /// Ten seconds.
    pub seconds: InWindow,
    /// A minute.
    pub minute: InWindow,
    /// An hour.
    pub hour: InWindow,
    /// Round-trip times of its clients, a minute.
    pub round_trips: InWindow,
}

/// Observations in a window that ends at the last sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InWindow {
    /// Its length, shorter in a young session.
    pub length: Duration,
    /// What was observed in it.
    pub observed: Histogram,
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
            recent.push(now, &waits, Some(&waits), second * 500_000_000);
        }
        let view = recent.view();
        let seconds = |of: &InWindow| (of.length.as_secs(), of.observed.count());
        assert_eq!(seconds(&view.seconds), (10, 10));
        assert!((60..=70).contains(&view.minute.length.as_secs()));
        assert!((3600..=4200).contains(&view.hour.length.as_secs()));
        assert_eq!(view.hour.observed.count(), view.hour.length.as_secs());
        assert!((view.cpus.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(view.round_trips, view.minute);
        let kept = [&recent.seconds, &recent.minute, &recent.hour].map(|w| w.steps.len());
        assert!(kept.iter().sum::<usize>() <= 32, "{kept:?}");
    }

    #[test]
    fn a_window_is_the_difference_of_its_ends_whatever_came_between() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let mut waits = Histogram::default();
        let mut past = vec![(start, waits)];
        for tenth in 1..=900u64 {
            waits.buckets[(tenth * tenth % BUCKETS as u64) as usize] += tenth;
            // More than a step has room for, at once.
            waits.buckets[3] += if tenth % 70 == 0 { 5 << 32 } else { 0 };
            waits.sum_ns += tenth * 1000;
            let now = start + Duration::from_millis(tenth * 100);
            recent.push(now, &waits, None, 0);
            past.push((now, waits));
            for view in [recent.view().seconds, recent.view().minute] {
                let began = past.iter().find(|(at, _)| *at + view.length == now);
                assert_eq!(view.observed, waits.since(&began.unwrap().1));
            }
        }
    }

    #[test]
    fn a_young_session_has_short_windows() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let mut waits = Histogram::default();
        waits.buckets[7] = 3;
        recent.push(start + Duration::from_secs(2), &waits, None, 0);
        let view = recent.view();
        assert_eq!(view.hour, view.seconds);
        assert_eq!(view.round_trips.observed.count(), 0);
        assert_eq!(
            (view.hour.length.as_secs(), view.hour.observed.count()),
            (2, 3)
        );
    }
}
