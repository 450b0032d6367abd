use proptest::prelude::*;

use super::*;
use crate::fuzz;

const MS: u64 = 1_000_000;

fn login(connected: Option<u64>, opened: u64) -> LoginStart {
    LoginStart {
        connected_ns: connected.map(|ms| ms * MS),
        opened_ns: opened * MS,
        is_graphical: true,
        ..LoginStart::default()
    }
}

fn reached(milestones: &[(Milestone, u64)]) -> BTreeMap<Milestone, u64> {
    let milestones = milestones.iter();
    milestones.map(|&(one, ms)| (one, ms * MS)).collect()
}

/// Milliseconds of each phase, and their sum.
fn of_start(start: &Start, milestones: &[(Milestone, u64)]) -> (Vec<(&'static str, u64)>, u64) {
    let logon = of(start, Some(1_000 * MS), &reached(milestones)).unwrap();
    let ms = |took: &Duration| took.as_millis() as u64;
    let phases = logon.phases.iter();
    let phases: Vec<_> = phases
        .map(|(phase, took)| (phase.name(), ms(took)))
        .collect();
    let sum = phases.iter().map(|(_, ms)| ms).sum();
    (phases, sum)
}

#[test]
fn the_phases_of_a_login_follow_one_another_and_are_the_whole() {
    let start = Start::Login(LoginStart {
        manager_ns: Some((3_100 * MS, 3_400 * MS)),
        home_ns: Some(4_400 * MS),
        ..login(Some(1_000), 3_000)
    });
    let milestones = [
        (Milestone::UserManager, 3_400),
        (Milestone::HomeMounted, 4_400),
        (Milestone::FirstProcess, 4_500),
        (Milestone::FirstListener, 4_750),
        (Milestone::Settled, 6_000),
        // Somebody comes, which is no phase.
        (Milestone::FirstClient, 60_000),
    ];
    let (phases, sum) = of_start(&start, &milestones);
    let expected = [
        ("authentication", 2_000),
        ("user_manager", 300),
        ("home_mounted", 1_000),
        ("display", 250),
        ("desktop", 1_250),
        // Until the service manager was asked for, and until the first process.
        ("unaccounted", 200),
    ];
    assert_eq!(phases, expected);
    assert_eq!(sum, 5_000);
}

#[test]
fn what_is_not_known_is_not_there_and_its_time_is_unaccounted() {
    // Somebody sits at the machine; nothing is mounted, and nothing listens.
    let alone = Start::Login(login(None, 3_000));
    assert_eq!(of_start(&alone, &[]), (vec![("unaccounted", 0)], 0));
    // systemd did not say when the service manager was asked for.
    let milestones = [(Milestone::FirstListener, 5_000)];
    let (phases, sum) = of_start(&alone, &milestones);
    assert_eq!(
        (phases, sum),
        (vec![("display", 2_000), ("unaccounted", 0)], 2_000)
    );
    let connected = Start::Login(login(Some(2_500), 3_000));
    let (phases, sum) = of_start(&connected, &[]);
    let expected = vec![("authentication", 500), ("unaccounted", 0)];
    assert_eq!((phases, sum), (expected, 500));
}

#[test]
fn a_mount_before_the_session_was_opened_is_a_part_of_the_authentication() {
    let start = Start::Login(LoginStart {
        home_ns: Some(2_000 * MS),
        ..login(Some(1_000), 3_000)
    });
    let (phases, _) = of_start(&start, &[(Milestone::HomeMounted, 2_000)]);
    assert_eq!(phases, [("authentication", 2_000), ("unaccounted", 0)]);
}

#[test]
fn a_server_that_somebody_starts_in_a_terminal_is_no_display() {
    let terminal = Start::Login(LoginStart {
        is_graphical: false,
        ..login(Some(2_900), 3_000)
    });
    let milestones = [
        (Milestone::FirstProcess, 3_010),
        (Milestone::FirstListener, 90_000),
    ];
    let (phases, sum) = of_start(&terminal, &milestones);
    assert_eq!((phases.len(), sum), (2, 100));
    let logon = of(&terminal, None, &reached(&milestones)).unwrap();
    assert!(!logon.is_complete);
}

#[test]
fn time_that_two_phases_share_is_that_ones_that_began_later() {
    let stretch = |phase, from_ns, to_ns| Stretch {
        phase,
        from_ns,
        to_ns,
    };
    let (outer, inner) = (LogonPhase::Ready, LogonPhase::Display);
    let took = |stretches: &[Stretch]| {
        let shares = shares(stretches, 0, 100);
        let of = |phase| shares.get(&phase).map(|took| took.as_nanos() as u64);
        [of(outer), of(inner), of(LogonPhase::Unaccounted)]
    };
    // One within the other, whichever is named first.
    let within = [stretch(outer, 10, 90), stretch(inner, 20, 50)];
    assert_eq!(took(&within), [Some(50), Some(30), Some(20)]);
    let [first, second] = within;
    assert_eq!(took(&[second, first]), [Some(50), Some(30), Some(20)]);
    // One after the other, overlapping.
    let overlapping = [stretch(outer, 0, 60), stretch(inner, 40, 100)];
    assert_eq!(took(&overlapping), [Some(40), Some(60), Some(0)]);
    // Begun at once: the one that ended first has what is common to both.
    let at_once = [stretch(outer, 0, 100), stretch(inner, 0, 30)];
    assert_eq!(took(&at_once), [Some(70), Some(30), Some(0)]);
    // Before the beginning, behind the end, and backwards.
    let beyond = [stretch(outer, 0, 400), stretch(inner, 80, 20)];
    assert_eq!(took(&beyond), [Some(100), Some(0), Some(0)]);
}

#[test]
fn the_phases_of_a_pod_meet_the_kernels_own() {
    let at = |ms: u64| clock::wall_of_boot(ms * MS);
    let facts = Facts {
        scheduled: at(2_000),
        start: Some(Start::Pod(PodStart {
            sandbox: at(4_000),
            initialized: at(5_000),
            started: at(31_000),
            ready: at(40_000),
            container: None,
        })),
        ..Facts::default()
    };
    let mut milestones: Vec<_> = told(&facts)
        .into_iter()
        .map(|(milestone, ns)| (milestone, (ns + MS / 2) / MS))
        .collect();
    let expected = [
        (Milestone::Scheduled, 2_000),
        (Milestone::Sandbox, 4_000),
        (Milestone::Started, 31_000),
        (Milestone::Ready, 40_000),
    ];
    assert_eq!(milestones, expected);
    let start = facts.start.unwrap();
    // Without the kernel's word the pull is a part of the start.
    let (phases, sum) = of_start(&start, &milestones);
    let known = [
        ("scheduled", 1_000),
        ("sandbox", 2_000),
        ("started", 26_000),
        ("ready", 9_000),
    ];
    assert_eq!(phases[..4], known);
    assert_eq!((phases[4], sum), (("unaccounted", 1_000), 39_000));
    milestones.extend([
        (Milestone::FirstProcess, 3_500),
        (Milestone::Pulled, 30_250),
        (Milestone::FirstListener, 33_000),
        (Milestone::Settled, 34_000),
    ]);
    let (phases, sum) = of_start(&start, &milestones);
    let expected = [
        ("scheduled", 1_000),
        ("sandbox", 2_000),
        ("pulled", 25_250),
        ("started", 750),
        // Of its nine seconds two are the display's, and one is the desktop's.
        ("ready", 6_000),
        ("display", 2_000),
        ("desktop", 1_000),
        ("unaccounted", 1_000),
    ];
    assert_eq!(phases, expected);
    assert_eq!(sum, 39_000);
    assert!(
        of(&start, Some(MS), &reached(&milestones))
            .unwrap()
            .is_complete
    );
    assert_eq!(of(&start, None, &reached(&milestones)), None);
}

#[test]
fn every_phase_but_two_is_ended_by_one_milestone() {
    let mut ended = Milestone::ALL.map(Milestone::phase).to_vec();
    ended.retain(Option::is_some);
    let mut once = ended.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(ended.len(), once.len(), "{ended:?}");
    for phase in LogonPhase::ALL {
        let alone = [LogonPhase::Authentication, LogonPhase::Unaccounted].contains(&phase);
        assert_eq!(once.contains(&Some(phase)), !alone, "{phase:?}");
    }
    // And every phase is of a login or of a pod.
    let login = Start::Login(LoginStart::default());
    let pod = Start::Pod(PodStart::default());
    let both: BTreeSet<_> = login.phases().iter().chain(pod.phases()).collect();
    assert_eq!(both.len(), LogonPhase::ALL.len());
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_overlaps_the_sum_is_the_whole(
        stretches in proptest::collection::vec((0..LogonPhase::ALL.len(), 0..200u64, 0..200u64), 0..8),
        began in 0..100u64,
        took in 0..100u64,
    ) {
        let stretches = stretches.into_iter().map(|(phase, from_ns, to_ns)| Stretch {
            phase: LogonPhase::ALL[phase],
            from_ns,
            to_ns,
        });
        let stretches: Vec<Stretch> = stretches.collect();
        let sum: Duration = shares(&stretches, began, began + took).values().sum();
        prop_assert_eq!(sum, Duration::from_nanos(took));
    }
}
