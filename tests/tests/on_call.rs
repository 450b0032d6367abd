//! The whole way of an alert: real causes, agents, Prometheus of both majors with the shipped rules, Alertmanager with the
//! shipped configuration, and whoever is told. Durations are shorter by a factor, so that it takes minutes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    chain::{Chain, wanted, write_targets},
    gpu::{Code, Event, GIB, Gpus, Utilization, compute, device, refusal},
    kubernetes::{InCluster, Server},
    operations::faster_rules,
    sockets::{inside, listen},
    wait,
    workload::{Workload, two_cpus},
};
use nix::sys::signal::Signal;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// A quarter of an hour is fifteen seconds.
const FASTER: u64 = 60;
const SOON: Duration = Duration::from_secs(30);

/// A node with two GPUs.
fn gpus() -> Gpus {
    let mut devices = [device(0), device(1)];
    // A driver that does not say what is to be done: the number of an error does.
    devices[0].recovery_action = None;
    Gpus::new(devices.into())
}

fn idle(session: &Cgroup) -> Workload {
    Workload::start(WORKLOAD, session, &["idle"])
}

/// Three processes that are killed for want of memory. The cgroup may be the session's own, and is removed when it is
/// dropped.
fn run_out_of_memory(tree: &Tree, session: &Cgroup) -> (Cgroup, Workload) {
    let limited = tree.limit_memory(session, 32 << 20);
    let mut arguments: Vec<OsString> = ["script", "--hungry", "3"].iter().map(Into::into).collect();
    arguments.extend(["--memory-cgroup".into(), limited.path().into()]);
    let mut script = Workload::start_with(WORKLOAD, session, arguments);
    script.run();
    (limited, script)
}

/// A session whose only process fails at once.
fn fail(tree: &Tree, agent: &Agent, name: &str) {
    let session = tree.child(name);
    agent.wait_for(&[name]);
    let procs = session.path().join("cgroup.procs");
    let script = format!("echo 0 > {} && sleep 0.1 && exit 3", procs.display());
    let ended = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert_eq!(ended.expect("sh runs").code(), Some(3));
    session.remove();
}

/// A client of a session, and what it has connected to.
struct Watched {
    _listener: TcpListener,
    _client: TcpStream,
    _accepted: TcpStream,
}

impl Watched {
    fn by_a_client(session: &Cgroup) -> Self {
        let listener = listen(session);
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        let (accepted, _) = inside(session, || listener.accept().expect("a client"));
        Self {
            _listener: listener,
            _client: client,
            _accepted: accepted,
        }
    }
}

/// A session that somebody watches, with a tenth of a CPU and work for a whole one.
struct Limited {
    _work: Workload,
    _limit: Cgroup,
    _watched: Watched,
    _session: Cgroup,
}

impl Limited {
    fn start(tree: &Tree, agent: &Agent) -> Self {
        let [_, cpu] = two_cpus();
        let session = tree.child("limited");
        agent.wait_for(&["limited"]);
        let arguments = ["spin", "--threads", "1", "--cpu", &cpu, "--seconds", "600"];
        let mut work = Workload::start(WORKLOAD, &session, &arguments);
        let limit = tree.limit_cpu(&session, 0.1);
        limit.take(work.pid());
        work.go();
        Self {
            _work: work,
            _limit: limit,
            _watched: Watched::by_a_client(&session),
            _session: session,
        }
    }

    /// Its limit holds it back, and no neighbour.
    fn is_told(chain: &Chain) {
        let of_it = [("instance", "node-a"), ("session", "limited")];
        let alert = "VdiSessionThrottledByLimit";
        chain.until(true, &[wanted("team", alert, of_it)]);
        chain.never(&wanted("team", "VdiSessionPreemptedByNeighbours", of_it));
    }
}

/// Sessions that nobody can reach for more than a minute.
struct Slow {
    since: Instant,
    sessions: [Cgroup; 4],
    _work: [Workload; 4],
}

impl Slow {
    /// The objective is 64 s.
    const LATE: Duration = Duration::from_secs(66);

    fn start(tree: &Tree, agent: &Agent) -> Self {
        let names = ["slow-0", "slow-1", "slow-2", "slow-3"];
        let sessions = names.map(|name| tree.child(name));
        agent.wait_for(&names);
        Self {
            since: Instant::now(),
            _work: sessions.each_ref().map(idle),
            sessions,
        }
    }

    fn are_told(&self, chain: &Chain) {
        thread::sleep(Self::LATE.saturating_sub(self.since.elapsed()));
        let _reachable = self.sessions.each_ref().map(listen);
        let labels = [("template", "child"), ("namespace", "tests")];
        chain.until(true, &[wanted("team", "VdiSessionStartupSlow", labels)]);
    }
}

/// A session that somebody watches, and one that takes its CPU.
struct Neighbours {
    work: Vec<Workload>,
    _sessions: [Cgroup; 2],
    _watched: Watched,
}

impl Neighbours {
    fn start(tree: &Tree, agent: &Agent) -> Self {
        let [cpu, _] = two_cpus();
        let sessions = ["victim", "noisy"].map(|name| tree.child(name));
        agent.wait_for(&["victim", "noisy"]);
        // So many that what else runs there takes little of it.
        let work = sessions.iter().zip(["1", "6"]).map(|(session, threads)| {
            let mut arguments = vec!["spin", "--threads", threads, "--cpu", &cpu];
            arguments.extend(["--seconds", "600"]);
            let mut work = Workload::start(WORKLOAD, session, &arguments);
            work.go();
            work
        });
        let work = work.collect();
        let watched = Watched::by_a_client(&sessions[0]);
        Self {
            work,
            _sessions: sessions,
            _watched: watched,
        }
    }

    fn are_told(chain: &Chain) {
        let of_victim = [("instance", "node-a"), ("session", "victim")];
        let told = [
            "VdiSessionPreemptedByNeighbours",
            "VdiSessionRunQueueWaitHigh",
        ];
        chain.until(true, &told.map(|alert| wanted("team", alert, of_victim)));
        // It is no limit of its own, the noisy one is not preempted by others, and nobody is called for one session.
        chain.never(&wanted("team", "VdiSessionThrottledByLimit", of_victim));
        chain.never(&wanted("team", told[0], [("session", "noisy")]));
        chain.never(&wanted("on-call", told[1], []));
    }

    /// The noisy one is quiet.
    fn end(mut self, chain: &Chain) {
        self.work.clear();
        let alert = "VdiSessionPreemptedByNeighbours";
        chain.until(false, &[wanted("team", alert, [("session", "victim")])]);
    }
}

/// An agent that has room for two sessions, and asks an API server.
fn small(server: &Server, gpus: &Gpus, tree: &Tree) -> Agent {
    let InCluster { keys, environment } = server.in_cluster("node-b");
    let configuration = Configuration::of(tree).set("sessions.max_sessions", "2");
    let configuration = keys
        .iter()
        .fold(configuration, |all, (key, value)| all.set(key, value));
    let environment: Vec<_> = environment.into_iter().chain(gpus.environment()).collect();
    let agent = Agent::start_with(&gpus.configure(configuration), &environment);
    let up = [("source", "kubernetes")];
    wait::until("the API server has answered", SOON, || {
        let said = agent.metrics().find("vdi_agent_source_up", &up);
        (said == Some(1.0)).then_some(())
    });
    agent
}

/// Whether all is tried, which takes minutes and a CPU: neighbours, starts that take a minute, and an agent that was there an
/// hour ago.
fn whole() -> bool {
    std::env::var_os("SESSIONSCOPE_TEST_ON_CALL").is_some()
}

#[test]
fn real_causes_are_told_to_who_is_on_call_and_nobody_else_and_end() {
    if !capability::kernel() {
        return;
    }
    let (tree, other_tree) = (Tree::new(), Tree::new());
    let (mut gpus_of_a, mut gpus_of_b) = (gpus(), gpus());
    let mut server = Server::start();
    let start = |gpus: &Gpus, tree: &Tree| gpus.start(&Configuration::of(tree));
    let (a, mut b) = (
        start(&gpus_of_a, &tree),
        small(&server, &gpus_of_b, &other_tree),
    );

    let folder = tempfile::tempdir().expect("a folder");
    let targets: PathBuf = folder.path().join("targets.json");
    write_targets(
        &targets,
        &[("node-a", a.address()), ("node-b", b.address())],
    );
    let rules = faster_rules(FASTER);
    let chain = Chain::start(rules.path(), &targets);
    chain.until(true, &[wanted("watchdog", "VdiWatchdog", [])]);

    // Node a: memory that runs out, a GPU that is lost, another with an error of its hardware that is hot, too, and sessions
    // that fail.
    let whole = whole();
    let slow = whole.then(|| Slow::start(&tree, &a));
    let neighbours = whole.then(|| Neighbours::start(&tree, &a));
    let limited = Limited::start(&tree, &a);
    let hungry = tree.child("hungry");
    a.wait_for(&["hungry"]);
    let _killed = run_out_of_memory(&tree, &hungry);
    gpus_of_a.change(|scenario| {
        scenario.devices[0].temperature_celsius = Some(90);
        scenario.devices[0].events = vec![Event {
            sequence: 1,
            value: 79,
            ..Event::default()
        }];
    });
    gpus_of_a.fail(&[refusal("", Some(1), Code::GPU_IS_LOST)]);
    // Node b: a GPU that two sessions share has no time left and is hot; a third session has no room, and the API server has
    // gone.
    let sharing = ["left", "right"].map(|name| other_tree.child(name));
    b.wait_for(&["left", "right"]);
    let sharing_work = sharing.each_ref().map(idle);
    let _third = other_tree.child("third");
    server.turn_off();
    gpus_of_b.change(|scenario| {
        let gpu = &mut scenario.devices[0];
        gpu.temperature_celsius = Some(90);
        gpu.utilization = Some(Utilization {
            gpu: 97,
            memory: 50,
        });
        gpu.processes = sharing_work
            .iter()
            .map(|work| compute(work.pid(), GIB))
            .collect();
    });
    for number in 0..8 {
        fail(&tree, &a, &format!("broken-{number}"));
    }

    let causes = [
        wanted(
            "team",
            "VdiSessionOomKilled",
            [
                ("instance", "node-a"),
                ("session", "hungry"),
                ("severity", "warning"),
            ],
        ),
        wanted(
            "on-call",
            "VdiGpuLost",
            [
                ("instance", "node-a"),
                ("gpu", "1"),
                ("cluster", "east"),
                ("environment", "prod"),
            ],
        ),
        wanted(
            "on-call",
            "VdiGpuXidError",
            [("instance", "node-a"), ("gpu", "0"), ("xid", "79")],
        ),
        wanted(
            "team",
            "VdiGpuTemperatureHigh",
            [
                ("instance", "node-b"),
                ("gpu", "0"),
                ("severity", "warning"),
            ],
        ),
        wanted(
            "team",
            "VdiGpuUtilizationHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
        wanted(
            "team",
            "VdiAgentSessionsOverflowed",
            [("instance", "node-b")],
        ),
        wanted(
            "team",
            "VdiAgentSourceDown",
            [("instance", "node-b"), ("source", "kubernetes")],
        ),
        wanted(
            "team",
            "VdiTemplateCrashLoop",
            [("template", "child"), ("namespace", "tests")],
        ),
        wanted(
            "log-sink",
            "VdiGpuTemperatureHigh",
            [("instance", "node-b")],
        ),
    ];
    chain.until(true, &causes);
    Limited::is_told(&chain);
    if neighbours.is_some() {
        Neighbours::are_told(&chain);
    }
    if let Some(slow) = &slow {
        slow.are_told(&chain);
    }
    drop((limited, slow));
    // The other GPU's heat is explained by its error, and neither it nor the neighbour is told about as something else.
    chain.never(&wanted(
        "team",
        "VdiGpuTemperatureHigh",
        [("instance", "node-a"), ("gpu", "0")],
    ));

    // The agent is started anew: what is lost stays lost, without an end in between.
    drop(a);
    let a = start(&gpus_of_a, &tree);
    write_targets(
        &targets,
        &[("node-a", a.address()), ("node-b", b.address())],
    );
    // Causes go away.
    server.turn_on();
    gpus_of_b.change(|scenario| {
        scenario.devices[0].temperature_celsius = Some(50);
        scenario.devices[0].utilization = Some(Utilization { gpu: 3, memory: 1 });
    });
    let over = [
        wanted(
            "team",
            "VdiGpuTemperatureHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
        wanted(
            "team",
            "VdiGpuUtilizationHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
    ];
    chain.until(false, &over);
    chain.until(
        false,
        &[wanted(
            "team",
            "VdiAgentSourceDown",
            [("instance", "node-b")],
        )],
    );
    if let Some(neighbours) = neighbours {
        neighbours.end(&chain);
    }
    let lost = wanted(
        "on-call",
        "VdiGpuLost",
        [("instance", "node-a"), ("gpu", "1")],
    );
    // An agent that has stopped, and one that nobody knows any more.
    b.signal(Signal::SIGTERM);
    b.ended(Duration::from_secs(10)).expect("it ends");
    let down = wanted("team", "VdiAgentDown", [("instance", "node-b")]);
    chain.until(true, &[down]);
    write_targets(&targets, &[("node-a", a.address())]);
    if whole {
        let gone = wanted("log-sink", "VdiAgentGone", [("instance", "node-b")]);
        chain.until(true, &[gone]);
    }

    for (name, prometheus) in chain.prometheuses() {
        let mut health = BTreeMap::new();
        for rule in prometheus.rules() {
            let of_it = rule["health"].as_str().unwrap_or_default().to_owned();
            *health.entry(of_it).or_insert(0) += 1;
            assert_ne!(rule["health"], "err", "Prometheus {name}: {rule}");
        }
        assert!(
            health.get("ok").is_some_and(|count| *count > 150),
            "{health:?}"
        );
    }
    // The GPU is replaced.
    chain.not_over(&lost);
    gpus_of_a.fail(&[]);
    chain.until(false, &[lost]);
}
