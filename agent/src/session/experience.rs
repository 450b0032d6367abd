//! What the user of a session feels: how long input waits to be read, until something is sent back, and the applications
//! that do not read theirs at all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use agent_common::{
    experience::{DISPLAY, ExperienceStats, MarkedRecord, UNRESPONSIVE_NS},
    histogram::Histogram,
};

use crate::kernel::{
    Reading,
    standing::{Standing, Why},
};

/// So many applications of a session with unread bytes are looked at to see what they do, those that have waited for
/// longest; of the others that is not known. Each costs five reads of files below `/proc`.
const LOOKED_AT: usize = 8;

/// Figures of a session's input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    /// From when bytes could be read at a display socket until the application took them.
    pub application_delay: Histogram,
    /// The same at a client's connection.
    pub server_delay: Histogram,
    /// From the first bytes of a client after a pause until bytes were sent to it.
    pub response: Histogram,
    /// Inputs after which nothing was sent.
    pub unanswered: u64,
    /// Applications that do not respond now; `None` where the sockets cannot be looked at, or have not been.
    pub unresponsive: Option<Vec<Unresponsive>>,
    /// For how long applications have not responded, each from the input on, added up: those that read after all, those
    /// that are gone, and those that wait. It never decreases.
    pub unresponsive_for: Duration,
    /// One that was found at the last sample, and not at the look before; for at most every other look.
    pub begun: Option<u32>,
    /// What is kept between two looks.
    pub looked: Looked,
}

/// The last look at the sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Nanoseconds since boot.
    at_ns: u64,
    /// Processes that did not respond then, and for how long, nanoseconds.
    unresponsive: BTreeMap<u32, u64>,
    /// What processes with unread bytes were doing, so that it is known why one has ceased to respond when it is found.
    standings: BTreeMap<u32, Standing>,
    /// One of them had begun.
    began: bool,
    /// For how long those did not respond that have gone without reading, nanoseconds.
    gone_ns: u64,
}

/// An application that does not read its display socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresponsive {
    /// Process that made the connection.
    pub process: u32,
    /// Since the input that waits for longest.
    pub unread_for: Duration,
    /// What it was doing when it was looked at; `None` where that cannot be seen.
    pub standing: Option<Standing>,
    /// Why it does not read; `None` where that cannot be seen.
    pub why: Option<Why>,
}

/// From a user's input to the first bytes of what answers it, in stages that add up: means since the session's adoption,
/// seconds. One that is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// To the client and back.
    pub round_trip: Option<f64>,
    /// Until the session's server takes the input.
    pub server: Option<f64>,
    /// Until the application takes it.
    pub application: Option<f64>,
    /// The rest of the response: what both compute, draw and encode.
    pub work: Option<f64>,
}

impl Latency {
    /// All that is known, added up; `None` without a response, because what is left would look better than it is.
    pub fn whole(&self) -> Option<f64> {
        let Self {
            round_trip,
            server,
            application,
            work,
        } = *self;
        let others = [round_trip, server, application];
        work.map(|work| others.iter().flatten().fold(work, |sum, stage| sum + stage))
    }
}

fn mean(histogram: &Histogram) -> Option<f64> {
    let count = histogram.count();
    (count > 0).then(|| histogram.sum_ns as f64 / 1e9 / count as f64)
}

impl Experience {
    /// The stages, with the round-trip times of the session's clients. The response begins when input arrives, so both
    /// queues are in it.
    pub fn latency(&self, round_trip: &Histogram) -> Latency {
        let (server, application) = (mean(&self.server_delay), mean(&self.application_delay));
        let queues = server.unwrap_or_default() + application.unwrap_or_default();
        Latency {
            round_trip: mean(round_trip),
            server,
            application,
            work: mean(&self.response).map(|response| (response - queues).max(0.0)),
        }
    }

    /// Takes a sample.
    pub fn take(
        &mut self,
        stats: &ExperienceStats,
        marked: Reading<&[MarkedRecord]>,
        now_ns: u64,
        standing: impl Fn(u32) -> Option<Standing>,
    ) {
        let ExperienceStats {
            application_delay,
            server_delay,
            response,
            unanswered,
            late,
            // The session's.
            over_budget: _,
        } = *stats;
        (self.application_delay, self.server_delay) = (application_delay, server_delay);
        (self.response, self.unanswered) = (response, unanswered);
        self.begun = None;
        match marked {
            Reading::Impossible => self.unresponsive = None,
            Reading::NotDue => {}
            Reading::Taken(marked) => self.look(marked, late.sum_ns, now_ns, standing),
        }
    }

    fn look(
        &mut self,
        marked: &[MarkedRecord],
        over_ns: u64,
        now_ns: u64,
        standing: impl Fn(u32) -> Option<Standing>,
    ) {
        // An application may have several connections; 0 where nothing waits at any.
        let mut waiting = BTreeMap::<u32, u64>::new();
        for socket in marked.iter().filter(|socket| socket.kind == DISPLAY) {
            let longest = waiting.entry(socket.process).or_default();
            *longest = socket.unread_ns.max(*longest);
        }
        let is_there: BTreeSet<u32> = waiting.keys().copied().collect();
        waiting.retain(|_, unread_ns| *unread_ns > 0);
        let mut unread = waiting.clone();
        unread.retain(|_, unread_ns| *unread_ns > UNRESPONSIVE_NS);
        let gone_ns = self.looked.gone_ns;
        let before = std::mem::replace(
            &mut self.looked,
            Looked {
                at_ns: now_ns,
                unresponsive: unread.clone(),
                standings: BTreeMap::new(),
                began: false,
                gone_ns,
            },
        );
        let is_new = |process: &u32| !before.unresponsive.contains_key(process);
        self.looked.began = !before.began && unread.keys().any(is_new);
        let since_ns = now_ns.saturating_sub(before.at_ns);
        let gone = before.unresponsive.iter();
        let gone = gone.filter(|(process, _)| !is_there.contains(process));
        self.looked.gone_ns += gone.map(|(_, unread_ns)| unread_ns).sum::<u64>();
        let all_ns = over_ns + self.looked.gone_ns + unread.values().sum::<u64>();
        // One that has read between the reading of the counters and the look is in neither until the next look.
        let all = Duration::from_nanos(all_ns);
        self.unresponsive_for = self.unresponsive_for.max(all);
        self.begun = unread
            .keys()
            .copied()
            .find(|process| is_new(process))
            .filter(|_| self.looked.began);
        // Those that have waited for longest, and who has just begun.
        let mut longest: Vec<u32> = waiting.keys().copied().collect();
        longest.sort_by_key(|process| (Some(*process) != self.begun, Reverse(waiting[process])));
        longest.truncate(LOOKED_AT);
        let standings = longest
            .into_iter()
            .filter_map(|process| Some((process, standing(process)?)));
        self.looked.standings = standings.collect();
        let since = Duration::from_nanos(since_ns);
        let now = unread.iter().map(|(&process, &unread_ns)| {
            let standing = self.looked.standings.get(&process);
            let before = before.standings.get(&process);
            Unresponsive {
                process,
                unread_for: Duration::from_nanos(unread_ns),
                standing: standing.cloned(),
                why: standing.and_then(|standing| standing.why(before, since)),
            }
        });
        self.unresponsive = Some(now.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(process: u32, unread_s: u64) -> MarkedRecord {
        MarkedRecord {
            kind: DISPLAY,
            process,
            unread_ns: unread_s * 1_000_000_000,
            ..MarkedRecord::default()
        }
    }

    /// Five seconds after the last look, when those that read after all had waited for so many seconds.
    fn take_after(experience: &mut Experience, over_s: u64, marked: Reading<&[MarkedRecord]>) {
        let now_ns = experience.looked.at_ns + 5_000_000_000;
        let mut stats = ExperienceStats::default();
        stats.late.sum_ns = over_s * 1_000_000_000;
        experience.take(&stats, marked, now_ns, |_| None);
    }

    fn take(experience: &mut Experience, marked: Reading<&[MarkedRecord]>) {
        take_after(experience, 0, marked);
    }

    fn looked(experience: &mut Experience, marked: &[MarkedRecord]) -> (Vec<u32>, u64) {
        take(experience, Reading::Taken(marked));
        let unresponsive = experience.unresponsive.as_ref().expect("it was looked");
        (
            unresponsive.iter().map(|one| one.process).collect(),
            experience.unresponsive_for.as_secs(),
        )
    }

    #[test]
    fn each_long_wait_counts_whole_whether_it_is_looked_at_or_not() {
        let mut experience = Experience::default();
        let mut all = |over_s, marked: &[MarkedRecord]| {
            take_after(&mut experience, over_s, Reading::Taken(marked));
            experience.unresponsive_for.as_secs()
        };
        // One of 7 s between two looks.
        assert_eq!(all(7, &[socket(1, 0)]), 7);
        // One that is seen at 6 s, and reads at 8.
        assert_eq!(all(7, &[socket(1, 6)]), 13);
        assert_eq!(all(15, &[socket(1, 0)]), 15);
        // One that is killed when it was seen at 9 s last.
        assert_eq!(all(15, &[socket(1, 0), socket(2, 9)]), 24);
        assert_eq!(all(15, &[socket(1, 0)]), 24);
        // One that reads between the counters and the look is in neither; then it is in both.
        assert_eq!(all(15, &[socket(1, 6)]), 30);
        assert_eq!(all(15, &[socket(1, 0)]), 30);
        assert_eq!(all(22, &[socket(1, 0)]), 31);
    }

    #[test]
    fn an_application_is_counted_once_and_from_its_input_on() {
        let mut experience = Experience::default();
        let marked = [socket(1, 3), socket(2, 6), socket(2, 8), socket(3, 0)];
        assert_eq!(looked(&mut experience, &marked), (vec![2], 8));
        assert_eq!(experience.begun, Some(2));
        assert_eq!(looked(&mut experience, &[socket(2, 13)]), (vec![2], 13));
        assert_eq!(experience.begun, None);
        // Another one has stopped.
        let marked = [socket(1, 7), socket(2, 18)];
        assert_eq!(looked(&mut experience, &marked), (vec![1, 2], 25));
        assert_eq!(experience.begun, Some(1));
        // A look that failed counts nothing twice, and nothing is lost.
        take(&mut experience, Reading::Impossible);
        let marked = [socket(1, 12), socket(2, 23)];
        assert_eq!(looked(&mut experience, &marked), (vec![1, 2], 35));
        assert_eq!(looked(&mut experience, &[socket(1, 0)]), (vec![], 35));
    }

    #[test]
    fn the_stages_add_up_to_the_round_trip_and_the_response() {
        let of_ms = |ms: u64| {
            let mut histogram = Histogram::default();
            histogram.buckets[0] = 2;
            histogram.sum_ns = 2 * ms * 1_000_000;
            histogram
        };
        let near =
            |left: Option<f64>, right: f64| left.is_some_and(|left| (left - right).abs() < 1e-9);
        let mut experience = Experience {
            application_delay: of_ms(20),
            server_delay: of_ms(5),
            response: of_ms(60),
            ..Experience::default()
        };
        let latency = experience.latency(&of_ms(30));
        assert!(
            near(latency.work, 0.035) && near(latency.whole(), 0.090),
            "{latency:?}"
        );
        // Their means are of more than the inputs that are answered.
        experience.server_delay = of_ms(80);
        assert!(near(experience.latency(&of_ms(30)).work, 0.0));
        experience.response = Histogram::default();
        let latency = experience.latency(&Histogram::default());
        assert_eq!(
            (latency.round_trip, latency.work, latency.whole()),
            (None, None, None)
        );
    }

    #[test]
    fn a_client_that_is_not_read_is_not_an_application() {
        let client = MarkedRecord {
            kind: agent_common::experience::CLIENT,
            ..socket(1, 60)
        };
        assert_eq!(looked(&mut Experience::default(), &[client]), (vec![], 0));
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_known() {
        let mut experience = Experience::default();
        take(&mut experience, Reading::NotDue);
        assert_eq!(experience.unresponsive, None);
        looked(&mut experience, &[socket(1, 6)]);
        take(&mut experience, Reading::NotDue);
        assert!(experience.unresponsive.is_some());
        take(&mut experience, Reading::Impossible);
        assert_eq!(experience.unresponsive, None);
    }
}
