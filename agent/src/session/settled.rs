//! When a session that listens has settled: its desktop, or what else it serves, has started all that it starts by itself.
//!
//! Nothing tells that, but a start takes CPU time, and what waits for its user takes hardly any. It is a rule of thumb: a
//! start that waits for a server for five seconds seems to be over, and one whose user begins to work at once is not seen.

use std::time::Duration;

/// A session that takes less of one CPU than this is calm: a desktop with a clock and a panel takes 1 to 3 %.
const CALM: f64 = 0.1;
/// For so long, which is longer than the pauses of a start.
const CALM_FOR: Duration = Duration::from_secs(5);
/// Not looked for later than this after it listens: what is calm then has been used in between.
const WITHIN: Duration = Duration::from_mins(2);

/// The CPU time of a session while it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    /// The last look, nanoseconds since boot, and what had been used by then.
    last: Option<(u64, u64)>,
    /// Since when it has been calm, 0 while it is not.
    since_ns: u64,
}

impl Calm {
    /// Takes what a session has used of the CPU by now, nanoseconds, and when it began to listen; returns when it settled,
    /// 0 while it has not.
    pub fn take(&mut self, now_ns: u64, cpu_ns: u64, listens_ns: u64) -> u64 {
        let Some((then_ns, before_ns)) = self.last.replace((now_ns, cpu_ns)) else {
            return 0;
        };
        let took_ns = now_ns.saturating_sub(then_ns);
        let used_ns = cpu_ns.saturating_sub(before_ns);
        if took_ns == 0 {
            return 0;
        }
        if used_ns as f64 >= CALM * took_ns as f64 {
            self.since_ns = 0;
            return 0;
        }
        if self.since_ns == 0 {
            self.since_ns = then_ns.max(listens_ns);
        }
        let calm_for = now_ns.saturating_sub(self.since_ns);
        let late = self.since_ns.saturating_sub(listens_ns);
        let is_settled = u128::from(calm_for) >= CALM_FOR.as_nanos();
        if is_settled && u128::from(late) <= WITHIN.as_nanos() {
            self.since_ns
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// When it settles that uses so many thousandths of a CPU in each second and listens at the third.
    fn settles(used: &[u64]) -> u64 {
        let mut calm = Calm::default();
        let mut cpu_ns = 0;
        let mut settled = vec![calm.take(0, 0, 3 * S)];
        for (second, used) in (1..).zip(used) {
            cpu_ns += used * S / 1_000;
            settled.push(calm.take(second * S, cpu_ns, 3 * S));
        }
        settled.into_iter().find(|&at| at != 0).unwrap_or(0)
    }

    #[test]
    fn a_session_has_settled_when_it_is_calm_for_five_seconds() {
        assert_eq!(settles(&[900, 900, 900, 900, 20, 20, 99, 20, 20]), 4 * S);
        // A pause of the start is not its end.
        let paused = [900, 900, 900, 900, 20, 20, 20, 20, 500, 1, 1, 1, 1, 1];
        assert_eq!(settles(&paused), 9 * S);
        assert_eq!(settles(&[900, 900, 900, 20, 20, 20, 20]), 0);
        assert_eq!(settles(&[100; 60]), 0);
    }

    #[test]
    fn one_that_was_calm_before_has_settled_when_it_listens() {
        assert_eq!(settles(&[20; 10]), 3 * S);
    }

    #[test]
    fn one_that_its_user_has_taken_on_at_once_is_not_known_to_have_settled() {
        let mut used = vec![900; 130];
        used.extend([1; 10]);
        assert_eq!(settles(&used), 0);
    }
}
