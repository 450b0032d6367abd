//! Hands out slots of the kernel's per-session maps.
//!
//! A slot that is given back rests before it is used again: the threads of an ended session may still be
//! switched for the last time, and that must not be counted for the next one. Resting slots must not
//! use up the cap either, so there are more slots than sessions.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use agent_common::Slot;

/// How long a slot rests; an exited thread's last switch follows within milliseconds.
pub const REST: Duration = Duration::from_secs(2);

/// Slots beyond the cap, for those of sessions that have ended: a quarter, and at least 64. A slot is of no use
/// for [`REST`] after its session's end and for as long again, so 64 are for 16 ends a second.
const RESERVE_MIN: u32 = 64;

/// The free slots of the kernel's maps.
#[derive(Debug)]
pub struct Slots {
    free: VecDeque<Slot>,
    resting: VecDeque<(Instant, Slot)>,
}

/// Number of slots, slot 0 included, for a cap on sessions.
pub fn slots_for(max_sessions: u32) -> u32 {
    1 + max_sessions + (max_sessions / 4).max(RESERVE_MIN)
}

impl Slots {
    /// All slots free.
    pub fn new(max_sessions: u32) -> Self {
        Self {
            free: (1..slots_for(max_sessions)).collect(),
            resting: VecDeque::new(),
        }
    }

    /// A free slot, the longest unused one first of those that are clean, if there is one.
    pub fn take(&mut self, is_clean: impl Fn(Slot) -> bool) -> Option<Slot> {
        let clean = self.free.iter().position(|slot| is_clean(*slot));
        self.free.remove(clean.unwrap_or(0))
    }

    /// Gives a slot back; it rests from `now`.
    pub fn give_back(&mut self, slot: Slot, now: Instant) {
        self.resting.push_back((now, slot));
    }

    /// Gives back a slot that nothing was counted in, so that it needs no rest.
    pub fn put_back(&mut self, slot: Slot) {
        self.free.push_front(slot);
    }

    /// Whether a slot is free.
    pub fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Ends the rest of the slots that have had it.
    pub fn wake(&mut self, now: Instant) {
        while let Some(&(since, slot)) = self.resting.front()
            && now.duration_since(since) >= REST
        {
            self.resting.pop_front();
            self.free.push_back(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_given_back_is_not_taken_before_it_has_rested() {
        let mut slots = Slots::new(1);
        let start = Instant::now();
        let all: Vec<_> = std::iter::from_fn(|| slots.take(|_| true)).collect();
        assert_eq!(all.len() as u32, slots_for(1) - 1);
        assert!(!all.contains(&agent_common::NO_SESSION));
        slots.give_back(7, start);
        slots.wake(start + REST / 2);
        assert_eq!(slots.take(|_| true), None);
        slots.wake(start + REST);
        assert_eq!(slots.take(|_| true), Some(7));
        for slot in [4, 5, 6] {
            slots.give_back(slot, start);
        }
        slots.wake(start + REST);
        assert_eq!(slots.take(|slot| slot == 5), Some(5));
        assert_eq!(slots.take(|slot| slot == 5), Some(4));
    }
}
