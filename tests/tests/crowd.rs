//! Many sessions come and go, more than are measured at once: what does not fit is counted exactly, and
//! afterwards everything is as it was.

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::{Exposition, Sample},
    wait,
};

const LIMIT: u64 = 256;
const ALIVE: u64 = 300;
/// Those that come in all, unless `SESSIONSCOPE_TEST_CROWD` says more.
const ALL: u64 = 1000;
/// Come and go together. One more step a second would use up the slots that rest.
const STEP: u64 = 14;
const A_STEP: Duration = Duration::from_secs(1);
/// How much longer than their steps all of them may take.
const SLACK: f64 = 1.5;
const SETTLED: Duration = Duration::from_secs(20);
const LINGER: Duration = Duration::from_secs(3);
/// Memory that a crowd may leave behind: what an allocator keeps in part of a page, and a few hundred names.
const KEPT: f64 = 4.0 * 1_048_576.0;

/// A session with a process.
struct Session {
    process: Child,
    // Dropped after its process has ended.
    _cgroup: Cgroup,
}

impl Session {
    fn come(tree: &Tree, number: u64) -> Self {
        // Their names are in the order in which they come.
        let cgroup = tree.child(format!("session-{number:06}"));
        let process = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .expect("a process starts");
        cgroup.take(process.id());
        Self {
            process,
            _cgroup: cgroup,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn until(agent: &Agent, what: &str, wanted: impl Fn(&Exposition) -> bool) -> Exposition {
    wait::until(what, SETTLED, || {
        let metrics = agent.metrics();
        thread::sleep(Duration::from_millis(20));
        wanted(&metrics).then_some(metrics)
    })
}

fn tracked(metrics: &Exposition) -> u64 {
    metrics.count("vdi_agent_sessions_tracked", &[])
}

fn overflowed(metrics: &Exposition) -> u64 {
    metrics.count("vdi_agent_sessions_overflowed_total", &[])
}

/// What is exposed when nothing is left of any session.
struct AtRest {
    /// Each sample's name and labels: a histogram has one of each of its buckets.
    samples: BTreeSet<String>,
    /// As the agent counts them.
    series: u64,
    memory_bytes: f64,
}

impl AtRest {
    fn of(agent: &Agent) -> Self {
        until(agent, "no series of a session is left", |metrics| {
            tracked(metrics) == 0 && metrics.matching("vdi_session_info", &[]).count() == 0
        });
        let metrics = agent.fresh_metrics();
        let identity = |sample: &Sample| format!("{}{:?}", sample.name, sample.labels);
        Self {
            samples: metrics.samples.iter().map(identity).collect(),
            series: metrics.count("vdi_agent_series", &[]),
            memory_bytes: metrics.value("process_resident_memory_bytes", &[]),
        }
    }
}

#[test]
fn a_thousand_come_and_go_in_a_minute_with_three_hundred_alive_and_256_measured() {
    if !capability::kernel() {
        return;
    }
    let all = env::var("SESSIONSCOPE_TEST_CROWD").map_or(ALL, |all| {
        all.parse()
            .expect("SESSIONSCOPE_TEST_CROWD is a whole number")
    });
    let tree = Tree::new();
    let linger = format!("\"{}s\"", LINGER.as_secs());
    let configuration = Configuration::of(&tree)
        .set("sessions.max_sessions", &LIMIT.to_string())
        .set("sessions.linger", &linger);
    let agent = Agent::start(&configuration);
    // First crowds, one while the other lingers: more at once than will be, so that what is made once is made.
    for crowd in 0..2 {
        let names = crowd * LIMIT..(crowd + 1) * LIMIT;
        let first: Vec<Session> = names.map(|n| Session::come(&tree, n)).collect();
        until(&agent, "a first crowd is there", |metrics| {
            tracked(metrics) == LIMIT
        });
        drop(first);
    }
    let before = AtRest::of(&agent);
    assert_eq!(overflowed(&agent.metrics()), 0);

    let began = Instant::now();
    let mut alive: VecDeque<Session> = (1000..1000 + ALIVE)
        .map(|n| Session::come(&tree, n))
        .collect();
    let metrics = until(&agent, "as many as fit are measured", |metrics| {
        tracked(metrics) == LIMIT && overflowed(metrics) == ALIVE - LIMIT
    });
    let measured = metrics.values_of("vdi_session_info", "session");
    assert_eq!(measured.len() as u64, LIMIT);
    assert!(!measured.contains(&format!("session-{:06}", 1000 + LIMIT)));
    let mut come = ALIVE;
    let mut next = Instant::now();
    while come < all {
        let step = STEP.min(all - come);
        for number in come..come + step {
            alive.push_back(Session::come(&tree, 1000 + number));
        }
        come += step;
        drop(alive.drain(..step as usize).collect::<Vec<_>>());
        // Those that waited take the place of those that went, before others come.
        let metrics = until(&agent, "the places are taken", |metrics| {
            tracked(metrics) == LIMIT && overflowed(metrics) == come - LIMIT
        });
        assert!(metrics.matching("vdi_session_info", &[]).count() as u64 >= LIMIT);
        next += A_STEP;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let took = began.elapsed();
    let steps = A_STEP.mul_f64((all - ALIVE) as f64 / STEP as f64);
    assert!(took < steps.mul_f64(SLACK), "{took:?}");
    assert_eq!(overflowed(&agent.metrics()), all - LIMIT);
    // Those that wait go first: one whose process has ended when its place comes has ended for an unknown reason,
    // which is true, and would be a reason that no crowd before had.
    let waiting = alive.split_off(LIMIT as usize);
    drop(waiting);
    drop(alive);
    let after = AtRest::of(&agent);
    eprintln!(
        "{all} sessions in {took:?}: {} series before, {} after; \
         {:.1} MiB resident before, {:.1} after",
        before.series,
        after.series,
        before.memory_bytes / 1_048_576.0,
        after.memory_bytes / 1_048_576.0
    );
    let added: Vec<&String> = after.samples.difference(&before.samples).collect();
    let gone: Vec<&String> = before.samples.difference(&after.samples).collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "{added:#?} are new, {gone:#?} are gone"
    );
    assert_eq!(after.series, before.series);
    let measured_ends = 2 * LIMIT + all - (ALIVE - LIMIT);
    let by_signal = [("reason", "signal")];
    let ended = agent.metrics().count("vdi_session_ended_total", &by_signal);
    assert_eq!(ended, measured_ends);
    assert!(
        after.memory_bytes <= before.memory_bytes + KEPT,
        "{} bytes, not {}",
        after.memory_bytes,
        before.memory_bytes
    );
    assert_eq!(overflowed(&agent.metrics()), all - LIMIT);
    let lost = agent.metrics();
    for event in ["cgroup_made", "cgroup_removed", "process_failed"] {
        assert_eq!(
            lost.count("vdi_agent_events_lost_total", &[("event", event)]),
            0
        );
    }
}
