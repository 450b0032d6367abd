//! How long to wait before a peer that does not answer is asked again.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// A pause that doubles from 0.5 s to 30 s.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// The next pause is the shortest.
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    /// How long to wait now.
    pub(super) fn pause(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let pauses: Vec<f64> = (0..9).map(|_| backoff.pause().as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    }
}
