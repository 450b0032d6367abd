use agent_common::net::{INBOUND, OUTBOUND, gone};

use super::*;

const S: u64 = 1_000_000_000;

/// A session whose clients come and go at whole seconds.
#[derive(Default)]
struct Scene {
    presence: Presence,
    stats: ClientStats,
    here: Vec<u64>,
}

impl Scene {
    fn comes(&mut self, at: u64) {
        self.here.push(at * S);
        self.stats.last_came_ns = at * S;
    }

    /// The one that came at a time ends; it was gone at another.
    fn goes(&mut self, came: u64, gone_at: u64, how: usize) {
        self.here.retain(|one| *one != came * S);
        self.stats.ended[how] += 1;
        self.stats.last_gone = self.stats.last_gone.max(gone(gone_at * S, how));
    }

    fn live(&self) -> Vec<ConnectionRecord> {
        let record = |came_ns: &u64| ConnectionRecord {
            side: INBOUND as u16,
            state: ESTABLISHED,
            came_ns: *came_ns,
            ..ConnectionRecord::default()
        };
        self.here.iter().map(record).collect()
    }

    /// What a sample at a time says: clients that came back, and whole seconds without one.
    fn said(&mut self, at: u64) -> (u64, u64) {
        let live = self.live();
        self.presence
            .take(&self.stats, Reading::Taken(&live), at * S);
        let absences = self.presence.absences.expect("it is known who is there");
        (absences.reconnects, absences.lasted_ns / S)
    }
}

#[test]
fn a_client_that_is_back_within_ten_minutes_has_come_back() {
    for how in [RESET, TIMED_OUT, IDLE] {
        let mut scene = Scene::default();
        scene.comes(10);
        assert_eq!(scene.said(11), (0, 0));
        scene.goes(10, 20, how);
        // It grows while nobody is there.
        assert_eq!([21, 50].map(|at| scene.said(at)), [(0, 1), (0, 30)]);
        scene.comes(620);
        assert_eq!(scene.said(700), (1, 600));
        // Another one that comes is none that comes back.
        scene.comes(710);
        assert_eq!(scene.said(720), (1, 600));
    }
}

#[test]
fn one_that_comes_later_has_not_come_back_but_ends_the_absence() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.goes(10, 20, RESET);
    assert_eq!(scene.said(100), (0, 80));
    scene.comes(621);
    assert_eq!([622, 900].map(|at| scene.said(at)), [(0, 601); 2]);
}

#[test]
fn who_closes_leaves_and_is_not_waited_for() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.goes(10, 20, CLOSED);
    assert_eq!(scene.said(30), (0, 0));
    scene.comes(40);
    assert_eq!(scene.said(50), (0, 0));
    assert_eq!(scene.presence.ended, [1, 0, 0, 0]);
}

#[test]
fn nobody_is_missing_while_another_client_is_there() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.comes(15);
    scene.goes(10, 20, RESET);
    assert_eq!(scene.said(30), (0, 0));
    // The one that goes last decides, and it has left.
    scene.goes(15, 40, CLOSED);
    assert_eq!(scene.said(50), (0, 0));
    // The other way round.
    scene.comes(60);
    scene.comes(65);
    scene.goes(60, 70, CLOSED);
    scene.goes(65, 80, RESET);
    assert_eq!(scene.said(90), (0, 10));
}

#[test]
fn one_that_was_cut_off_is_gone_from_what_came_last() {
    let mut scene = Scene::default();
    scene.comes(10);
    assert_eq!(scene.said(100), (0, 0));
    // It is back long before the kernel gives the old connection up.
    scene.comes(150);
    assert_eq!(scene.said(200), (0, 0));
    scene.goes(10, 110, TIMED_OUT);
    assert_eq!(scene.said(1_010), (1, 40));
    // A second connection of the same client had been silent for longer.
    scene.comes(1_020);
    scene.goes(10, 105, TIMED_OUT);
    assert_eq!(scene.said(1_030), (1, 40));
}

#[test]
fn of_several_that_were_cut_off_the_last_to_be_heard_of_counts() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.comes(11);
    scene.comes(150);
    scene.goes(11, 120, TIMED_OUT);
    // The kernel still believes in the other.
    assert_eq!(scene.said(1_000), (0, 0));
    scene.goes(10, 110, TIMED_OUT);
    assert_eq!(scene.said(1_010), (1, 30));
    // The one that came back is cut off, too.
    scene.comes(1_300);
    scene.goes(150, 1_200, TIMED_OUT);
    assert_eq!(scene.said(2_200), (2, 130));
}

#[test]
fn what_happens_between_two_samples_counts() {
    let mut scene = Scene::default();
    scene.comes(10);
    assert_eq!(scene.said(11), (0, 0));
    // Broken off and back.
    scene.goes(10, 12, RESET);
    scene.comes(14);
    assert_eq!(scene.said(15), (1, 2));
    // Then one comes and goes while nobody is there.
    scene.goes(14, 16, RESET);
    assert_eq!(scene.said(17), (1, 3));
    scene.comes(20);
    scene.goes(20, 21, RESET);
    assert_eq!(scene.said(23), (2, 8));
    scene.comes(24);
    scene.goes(24, 25, CLOSED);
    assert_eq!([30, 40].map(|at| scene.said(at)), [(3, 9); 2]);
}

#[test]
fn one_that_ends_between_the_two_readings_of_a_sample_was_there() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.comes(11);
    scene.goes(10, 20, RESET);
    assert_eq!(scene.said(21), (0, 0));
    // It is among the live ones no more, and in the counters not yet.
    let (here, stats) = (std::mem::take(&mut scene.here), scene.stats);
    assert_eq!(scene.said(23), (0, 0));
    (scene.here, scene.stats) = (here, stats);
    scene.goes(11, 22, CLOSED);
    assert_eq!(scene.said(24), (0, 0));
    // And with somebody else's end: what was said of it is not taken back, and goes no further.
    scene.comes(30);
    scene.comes(31);
    scene.goes(30, 40, RESET);
    let here = std::mem::take(&mut scene.here);
    assert_eq!(scene.said(42), (0, 2));
    scene.here = here;
    scene.goes(31, 41, CLOSED);
    assert_eq!([43, 60].map(|at| scene.said(at)), [(0, 2); 2]);
}

#[test]
fn a_connection_that_the_session_opened_or_has_closed_is_no_client() {
    let mut scene = Scene::default();
    scene.comes(10);
    scene.goes(10, 20, RESET);
    let client = ConnectionRecord {
        side: INBOUND as u16,
        state: ESTABLISHED,
        came_ns: 5 * S,
        ..ConnectionRecord::default()
    };
    let opened = ConnectionRecord {
        side: OUTBOUND as u16,
        ..client
    };
    // FIN_WAIT2.
    let closed = ConnectionRecord { state: 5, ..client };
    let live = [opened, closed];
    let presence = &mut scene.presence;
    presence.take(&scene.stats, Reading::Taken(&live), 30 * S);
    assert_eq!(presence.absences.map(|a| a.lasted_ns), Some(10 * S));
}

#[test]
fn what_is_not_known_is_not_said_and_what_is_not_read_goes_on() {
    let mut scene = Scene::default();
    scene.comes(10);
    assert_eq!(scene.said(11), (0, 0));
    scene.goes(10, 20, RESET);
    let presence = &mut scene.presence;
    presence.take(&scene.stats, Reading::Impossible, 30 * S);
    assert_eq!((presence.absences, presence.ended[RESET]), (None, 1));
    presence.take(&scene.stats, Reading::NotDue, 40 * S);
    assert_eq!(presence.absences.map(|a| a.lasted_ns), Some(0));
    // That somebody went is not forgotten.
    assert_eq!(scene.said(50), (0, 30));
    scene.presence.take(&scene.stats, Reading::NotDue, 60 * S);
    let lasted = scene.presence.absences.map(|a| a.lasted_ns);
    assert_eq!(lasted, Some(40 * S));
}

#[test]
fn each_way_to_go_has_its_own_count() {
    let names = How::ALL.map(|how| (how.name(), how.of(&[1, 2, 3, 4])));
    let expected = [("closed", 1), ("reset", 2), ("timed_out", 3), ("idle", 4)];
    assert_eq!(names, expected);
}
