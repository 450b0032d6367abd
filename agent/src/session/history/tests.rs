use std::{fs, path::Path};

use agent_common::{histogram::bucket_of, net::INBOUND, sched::After};

use super::*;
use crate::{
    kernel::accounts::{CgroupAccounts, Memory},
    session::net::Net,
};

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn near(said: Option<f64>, truth: f64) -> bool {
    said.is_some_and(|said| (said - truth).abs() <= truth * 0.001)
}

#[test]
fn a_figure_is_right_to_a_thousandth_from_a_nanosecond_to_terabytes() {
    for truth in [1e-9, 0.000_4, 0.05, 1.0, 63.9, 60_000.0, 3e12] {
        assert!(near(Kept::of(Some(truth)).value(), truth), "{truth}");
    }
    assert_eq!(Kept::of(Some(0.0)).value(), Some(0.0));
    for unknown in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)] {
        assert_eq!(Kept::of(unknown).value(), None);
    }
    // More than there is room for is the most, and not absent.
    assert!(Kept::of(Some(1e30)).value().is_some());
}

#[test]
fn two_hundred_and_fifty_sessions_fit_in_eight_mebibytes() {
    let steps: usize = RINGS.iter().map(|(_, most)| most).sum();
    let each = size_of::<History>() + steps * size_of::<Step>();
    assert!(250 * each <= 8 << 20, "{each} bytes each");
    // No column has more room than it needs, and one of what is never known has none.
    let start = Instant::now();
    let history = History::new(start);
    for second in 1..=4_000 {
        history.push(start + Duration::from_secs(second), &at(second));
    }
    let rings = history.rings();
    let room = |figure| rings[0].columns[figure as usize].capacity();
    assert_eq!((room(Figure::Cpus), room(Figure::Gpus)), (RINGS[0].1, 0));
    let bytes: usize = rings
        .iter()
        .flat_map(|ring| &ring.columns)
        .map(|column| column.capacity() * size_of::<Kept>())
        .sum();
    eprintln!(
        "{} bytes with what an ordinary session has",
        size_of::<History>() + bytes
    );
}

#[test]
fn a_figure_that_is_known_late_was_absent_before() {
    let start = Instant::now();
    let history = History::new(start);
    for second in 1..=2_000 {
        let mut counts = at(second);
        if second <= 1_500 {
            counts.net = None;
        }
        history.push(start + Duration::from_secs(second), &counts);
    }
    let [minutes, day] = history.last(1_000);
    assert_eq!((minutes.len(), day.len()), (180, 6));
    let known = |steps: &[Step]| {
        steps
            .iter()
            .filter(|step| step.get(Figure::Sent).is_some())
            .count()
    };
    assert_eq!((known(&minutes), known(&day)), (100, 1));
    assert!(minutes.iter().all(|step| step.get(Figure::Cpus).is_some()));
}

/// A session that uses half a CPU, waits 20 ms once a second, and has a client.
fn at(second: u64) -> Counts {
    let mut counts = Counts {
        cpu_ns: second * S / 2,
        net: Some(Net::default()),
        ..Counts::default()
    };
    counts.sched.waited_ns[After::Preemption as usize] = second * 20 * MS;
    counts.sched.runqueue_wait.buckets[bucket_of(20 * MS)] = second;
    let net = counts.net.as_mut().expect("it is there");
    net.tcp[INBOUND].rtt.buckets[bucket_of(200 * MS)] = second;
    net.tcp[INBOUND].traffic.sent_bytes = second * 1_000;
    counts.accounts = Some(CgroupAccounts {
        memory: Some(Memory {
            current: 7_000_000,
            limit: Some(10_000_000),
            anon: 5_000_000,
            ..Memory::default()
        }),
        ..CgroupAccounts::default()
    });
    counts
}

#[test]
fn each_step_has_its_own_rates_shares_and_quantiles() {
    let start = Instant::now();
    let history = History::new(start);
    for second in 1..=1_200 {
        history.push(start + Duration::from_secs(second), &at(second));
    }
    let wall = SystemTime::now();
    let view = history.view(start + Duration::from_secs(1_203), wall);
    let [minutes, day] = &view;
    assert_eq!((minutes.steps.len(), day.steps.len()), (180, 4));
    assert_eq!(wall.duration_since(minutes.until).unwrap().as_secs(), 3);
    for step in minutes.steps.iter().chain(&day.steps) {
        let is = |figure, truth| {
            let said = step.get(figure);
            assert!(near(said, truth), "{}: {said:?}", figure.name());
        };
        is(Figure::Cpus, 0.5);
        is(Figure::Contention, 0.02);
        is(Figure::WaitsTo62Ms, 1.0);
        is(Figure::WaitsTo1Ms, 0.0);
        is(Figure::LateRoundTrips, 1.0);
        is(Figure::Sent, 1_000.0);
        is(Figure::Memory, 7e6);
        is(Figure::MemoryShare, 0.5);
        let p99 = step.get(Figure::WaitP99).expect("it has waited");
        assert!((0.016..0.024).contains(&p99), "{p99}");
        // Nobody knows of these.
        for unknown in [
            Figure::Gpus,
            Figure::Frames,
            Figure::SlowBlockIo,
            Figure::ThrottledOwn,
            Figure::Retransmits,
        ] {
            assert_eq!(step.get(unknown), None, "{}", unknown.name());
        }
    }
}

#[test]
fn the_page_of_the_api_has_each_figure_in_order() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let page = fs::read_to_string(page).expect("the page");
    let marks = [
        "<!-- figures of a history -->",
        "<!-- /figures of a history -->",
    ];
    let [from, to] = marks.map(|mark| page.find(mark).expect("where they are"));
    let rows = page[from..to].lines();
    let names = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    assert_eq!(names.collect::<Vec<_>>(), Figure::ALL.map(Figure::name));
}

#[test]
fn steps_that_no_sample_was_in_are_absent_and_the_ends_stay_where_they_are() {
    let start = Instant::now();
    let history = History::new(start);
    let second = Duration::from_secs(1);
    history.push(start + second * 5, &at(5));
    // The agent was stopped, and comes in the midst of a step.
    history.push(start + second * 22, &at(22));
    history.push(start + second * 24, &at(24));
    history.push(start + second * 25, &at(25));
    let [minutes, _] = history.view(start + second * 25, SystemTime::now());
    let cpus: Vec<_> = minutes
        .steps
        .iter()
        .map(|step| step.get(Figure::Cpus))
        .collect();
    assert_eq!(cpus.len(), 5);
    assert!(cpus[1..3].iter().all(Option::is_none), "{cpus:?}");
    for known in [cpus[0], cpus[3], cpus[4]] {
        assert!(near(known, 0.5), "{cpus:?}");
    }
}
