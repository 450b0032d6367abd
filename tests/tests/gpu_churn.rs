//! Processes that come to the GPU and end, fifty a second: the agent neither forgets what they used nor
//! keeps anything of them.

use std::{
    collections::BTreeSet,
    env, fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    gpu::{Device, Gpus, Sample, busy, compute, device},
};

const SESSIONS: [&str; 4] = ["one", "two", "three", "four"];
/// The scenario is written this often, between two samples of the driver.
const TURN: Duration = Duration::from_millis(500);
const OFFSET: Duration = Duration::from_millis(125);
/// In each turn: fifty a second. One of them belongs to no session.
const STARTED: usize = 25;
/// Each is on the GPU for two turns, and ends by itself: some before the driver says so.
const TURNS: usize = 2;
const LIFE: &str = "1.3";
const SAMPLE_MS: u64 = 250;
const SM: u32 = 1;
/// Nothing is asked of the agent's memory before, nor in the first third of a short run.
const WARM_UP: Duration = Duration::from_secs(20);
/// How long it goes on, unless it is told to.
const LENGTH: Duration = Duration::from_secs(30);
/// How much the agent may have grown since then: by less than a kilobyte for each process of the shortest run.
const GROWTH_BYTES: u64 = 1 << 20;

/// Processes of one turn; dropping them ends those that are left.
struct Turn {
    children: Vec<Child>,
    /// Number of the session of each, in their order; one more than there are is none.
    places: Vec<usize>,
    began: SystemTime,
}

impl Turn {
    /// Starts processes, spread over the sessions.
    fn start(sessions: &[Cgroup]) -> Self {
        let place = |number: usize| match number {
            0 => sessions.len(),
            number => number % sessions.len(),
        };
        let mut turn = Self {
            children: Vec::new(),
            places: (0..STARTED).map(place).collect(),
            began: UNIX_EPOCH,
        };
        for place in &turn.places {
            let mut sleep = Command::new("sleep");
            let child = sleep.arg(LIFE).stdin(Stdio::null()).spawn();
            let child = child.expect("coreutils are installed");
            if let Some(session) = sessions.get(*place) {
                session.take(child.id());
            }
            turn.children.push(child);
        }
        turn
    }

    /// Adds them to a device.
    fn put_on(&self, device: &mut Device) {
        for child in &self.children {
            device.processes.push(compute(child.id(), 1 << 20));
            device.samples.push(Sample {
                every_ms: SAMPLE_MS,
                ..busy(child.id(), SM)
            });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).expect("after 1970")
}

/// Samples that the driver has taken of a process until then.
fn samples_until(time: SystemTime) -> u128 {
    since_epoch(time).as_millis() / u128::from(SAMPLE_MS)
}

/// Waits until the next time at which the scenario may be written.
fn wait_for_turn() {
    let turn = TURN.as_nanos();
    let now = since_epoch(SystemTime::now()).as_nanos();
    let phase = (now + turn - OFFSET.as_nanos()) % turn;
    thread::sleep(Duration::from_nanos((turn - phase) as u64));
}

/// The agent's memory that is not of files.
fn resident_bytes(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let mut lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("RssAnon:"));
    let number = lines.next().and_then(|rest| rest.split_whitespace().next());
    let kib: u64 = number.and_then(|kib| kib.parse().ok()).expect("RssAnon");
    kib << 10
}

/// Busy time of each session and, last, of what is in none.
fn charged(metrics: &Exposition) -> Vec<f64> {
    let engine = ("engine", "sm");
    let of = |session: &&str| {
        let labels = [engine, ("session", *session)];
        metrics.find("vdi_session_gpu_busy_seconds_total", &labels)
    };
    let outside = metrics.find("vdi_gpu_unattributed_busy_seconds_total", &[engine]);
    let sessions = SESSIONS.iter().map(of);
    let all = sessions.chain([outside]);
    all.map(|busy| busy.unwrap_or(0.0)).collect()
}

fn churn(duration: Duration) {
    let tree = Tree::new();
    let sessions = SESSIONS.map(|name| tree.child(name));
    // More than the driver keeps, so that a round that comes late has lost nothing.
    let ring = Device {
        sample_ring: 4096,
        ..device(0)
    };
    let mut gpus = Gpus::new(vec![ring]);
    let configuration = Configuration::of(&tree).set("gpu.period", "\"200ms\"");
    let agent = gpus.start(&configuration);
    agent.wait_for(&SESSIONS);

    // What the scenario says: processes and samples of each session, and of what is in none.
    let mut processes = vec![0_u64; SESSIONS.len() + 1];
    let mut samples = vec![0_u64; SESSIONS.len() + 1];
    let mut account = |turn: &Turn, until: SystemTime| {
        let taken = samples_until(until) - samples_until(turn.began);
        for place in &turn.places {
            processes[*place] += 1;
            samples[*place] += taken as u64;
        }
    };
    let mut turns: Vec<Turn> = Vec::new();
    let began = Instant::now();
    let mut warm = None;
    let mut logged = Instant::now();
    while began.elapsed() < duration {
        let started = Turn::start(&sessions);
        wait_for_turn();
        let ended = (turns.len() == TURNS).then(|| turns.remove(0));
        turns.push(started);
        gpus.change(|scenario| {
            let device = &mut scenario.devices[0];
            device.processes.clear();
            device.samples.clear();
            for turn in &turns {
                turn.put_on(device);
            }
        });
        let written = SystemTime::now();
        turns.last_mut().expect("one was started").began = written;
        if let Some(turn) = ended {
            account(&turn, written);
        }
        if warm.is_none() && began.elapsed() >= WARM_UP.min(duration / 3) {
            warm = Some((resident_bytes(&agent), agent.metrics()));
        }
        if logged.elapsed() >= Duration::from_mins(1) {
            logged = Instant::now();
            let series = agent.metrics().value("vdi_agent_series", &[]);
            let resident = resident_bytes(&agent);
            eprintln!("{:?}: {resident} bytes, {series} series", began.elapsed());
        }
    }
    let lasted = began.elapsed();
    let (resident, series) = (resident_bytes(&agent), agent.metrics());
    wait_for_turn();
    gpus.change(|scenario| {
        scenario.devices[0].processes.clear();
        scenario.devices[0].samples.clear();
    });
    let written = SystemTime::now();
    for turn in &turns {
        account(turn, written);
    }
    // The last samples are read, and what was still to come would have been.
    thread::sleep(Duration::from_secs(2));
    let metrics = agent.fresh_metrics();

    let one = SAMPLE_MS as f64 / 1e3 * f64::from(SM) / 100.0;
    let mut off = 0.0;
    for (number, charged) in charged(&metrics).into_iter().enumerate() {
        let (processes, samples) = (processes[number] as f64, samples[number] as f64);
        let implied = samples * one;
        let name = SESSIONS.get(number).unwrap_or(&"outside");
        eprintln!("{name}: {processes} processes, {implied} s implied, {charged} s charged");
        assert!(processes > 0.0, "{name}");
        assert!(
            (charged - implied).abs() <= processes * one,
            "{name}: {charged} s charged, not {implied} s"
        );
        off += charged - implied;
    }
    let all: u64 = processes.iter().sum();
    eprintln!("{all} processes in {lasted:?}, {off} s more than implied");

    let (before, warm) = warm.expect("it lasts longer than the warm-up");
    eprintln!("{before} bytes after the warm-up, {resident} at the end");
    assert!(
        resident <= before + GROWTH_BYTES,
        "the agent has grown by {} bytes",
        resident - before
    );
    let changed: Vec<_> = names(&series)
        .symmetric_difference(&names(&warm))
        .cloned()
        .collect();
    assert!(changed.is_empty(), "other series: {changed:?}");
}

/// Every series by its name and labels, but those that appear when the machine is first short of memory.
fn names(metrics: &Exposition) -> BTreeSet<String> {
    let reclaim = "vdi_session_reclaim_stall_seconds";
    let series = metrics.samples.iter();
    series
        .filter(|sample| sample.family != reclaim)
        .map(|sample| format!("{}{:?}", sample.name, sample.labels))
        .collect()
}

/// `SESSIONSCOPE_TEST_CHURN_SECONDS` makes it longer: half an hour for the proof, which is not for every run.
#[test]
fn processes_that_come_and_go_leave_nothing_but_what_they_used() {
    let seconds = env::var("SESSIONSCOPE_TEST_CHURN_SECONDS").ok();
    let length = seconds.map_or(LENGTH, |seconds| {
        let seconds = seconds.parse();
        Duration::from_secs(seconds.expect("SESSIONSCOPE_TEST_CHURN_SECONDS is a whole number"))
    });
    if capability::kernel() {
        churn(length);
    }
}
