//! Containers of Docker and of Podman themselves: what they are called, why they ended and with which status,
//! however quickly they are ended and removed, and while the engine is away.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    exposition::Exposition,
    process,
    runtimes::{Engine, Kind},
    wait,
};
use nix::sys::signal::Signal;
use sessionscope::discover::{
    containers,
    platform::{EndReason, Facts, Key, Message, Sender, Source, Update},
    settings::Watch,
};
use tokio::{runtime::Runtime, sync::mpsc};

const ENDED: &str = "vdi_session_ended_total";
/// Containers of each case, unless `SESSIONSCOPE_TEST_RUNTIMES` says more.
const ROUNDS: usize = 5;
/// Restarts of each engine, likewise; Docker takes six seconds to end.
const RESTARTS: usize = 2;
/// How long an end may take to be counted: the last process is read two seconds later.
const COUNTED: Duration = Duration::from_secs(10);
/// How long an engine that is back may be away for the agent, which asks ever more seldom.
const BACK: Duration = Duration::from_secs(20);

/// A shell that is asked to end, and says so.
const ASKED: &str = "trap 'exit 7' TERM; while :; do sleep 0.1; done";
/// The first process of a container is not ended by a signal for which it has no trap.
const DEAF: &str = "sleep 1000";
/// Where containers look for leave to end, and where that is for the engine.
const LEAVE: [&str; 2] = ["/leave", "/tmp/leave"];

/// A shell that ends by itself with a status, once it was found: a life of a fixed length may be over before a busy
/// engine has told of it, and a session that nobody named in its life is none.
macro_rules! leaves {
    ($code:literal) => {
        concat!(
            "until [ -e /leave/$NAME ]; do sleep 0.05; done; exit ",
            $code
        )
    };
}

fn give_leave(engine: &Engine, name: &str) {
    let [_, place] = LEAVE;
    File::create(engine.folder(place).join(name)).expect("a file can be made");
}

/// How containers end.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    act: fn(&Engine, &str),
    reason: EndReason,
    code: &'static str,
}

const fn case(name: &'static str, script: &'static str, act: fn(&Engine, &str)) -> Case {
    Case {
        name,
        options: &[],
        script,
        act,
        reason: EndReason::Completed,
        code: "137",
    }
}

static CASES: [Case; 9] = [
    Case {
        code: "0",
        ..case("fine", leaves!("0"), give_leave)
    },
    Case {
        reason: EndReason::Error,
        code: "3",
        ..case("broken", leaves!("3"), give_leave)
    },
    Case {
        options: &["--rm"],
        reason: EndReason::Error,
        code: "5",
        ..case("brief", leaves!("5"), give_leave)
    },
    Case {
        code: "7",
        ..case("stopped", ASKED, |engine, name| {
            engine.call(&["stop", name]);
        })
    },
    Case {
        // One that answers with a status of its own is gone before Podman says that it was stopped.
        options: &["--rm", "--stop-timeout", "1"],
        ..case("stopped-and-gone", DEAF, |engine, name| {
            engine.call(&["stop", name]);
        })
    },
    case("forced", DEAF, |engine, name| {
        engine.call(&["stop", "-t", "1", name]);
    }),
    case("killed", DEAF, |engine, name| {
        engine.call(&["kill", name]);
    }),
    Case {
        // Podman asks it to end before.
        options: &["--stop-timeout", "1"],
        ..case("removed", DEAF, |engine, name| {
            engine.call(&["rm", "--force", name]);
        })
    },
    Case {
        reason: EndReason::Signal,
        ..case("crashed", DEAF, |engine, name| {
            process::signal(engine.pid(name), Signal::SIGKILL);
        })
    },
];

fn rounds(few: usize) -> usize {
    let more = env::var("SESSIONSCOPE_TEST_RUNTIMES");
    more.map_or(few, |more| more.parse().expect("a number"))
}

/// An agent that takes all containers of an engine for sessions, and asks it for their names.
fn agent_of(engine: &Engine) -> Agent {
    let socket = format!("[\"{}\"]", engine.socket().display());
    let configuration = Configuration::without_rules()
        .rule("container", &engine.pattern(), "namespace = 'tests'")
        .set("containers.watch", "\"on\"")
        .set("containers.sockets", &socket)
        .set("containers.bundles", "[]");
    Agent::start(&configuration)
}

/// The source of its own, and what it has said of each container last.
struct Heard {
    updates: mpsc::Receiver<Message>,
    facts: BTreeMap<Key, Facts>,
    /// How often it said that the engine is away.
    down: Vec<String>,
    /// What it runs on; dropped last.
    _runtime: Runtime,
}

impl Heard {
    fn of(engine: &Engine) -> Self {
        let (messages, updates) = mpsc::channel(1024);
        let runtime = Runtime::new().expect("a runtime can be made");
        let settings = containers::Settings {
            watch: Watch::On,
            sockets: vec![engine.socket()],
            bundles: Vec::new(),
        };
        let sender = Sender::new(Source::Containers, messages);
        runtime.spawn(containers::run(settings, sender));
        Self {
            updates,
            facts: BTreeMap::new(),
            down: Vec::new(),
            _runtime: runtime,
        }
    }

    fn listen(&mut self) {
        while let Ok(message) = self.updates.try_recv() {
            match message.update {
                Update::All(all) => self.facts.extend(all),
                Update::Changed(key, facts) => {
                    self.facts.insert(key, facts);
                }
                Update::Down(reason) => self.down.push(reason),
                Update::Gone(_) | Update::Reconciled { .. } | Update::Up => {}
            }
        }
    }

    /// Why a container ended, and with which status.
    fn end(&self, name: &str) -> Option<(EndReason, &str)> {
        let named = self.facts.values().find(|facts| {
            let session = facts.session.as_ref();
            session.is_some_and(|session| session.name == name)
        });
        let facts = named?;
        Some((facts.end?, facts.details.get("exit code")?))
    }
}

/// The ends of a case's containers that are counted, by reason.
fn ends(metrics: &Exposition, case: &str) -> BTreeMap<String, u64> {
    let labels = [("template", case)];
    let counted = metrics.matching(ENDED, &labels);
    let counted = counted.filter(|sample| sample.value > 0.0);
    let ends = counted.map(|sample| {
        let reason = sample.labels["reason"].clone();
        (reason, sample.value as u64)
    });
    ends.collect()
}

/// Waits until the ends of all cases are counted, and nothing else is.
fn wait_for_ends(agent: &Agent, expected: &BTreeMap<&str, (EndReason, usize)>) {
    let began = Instant::now();
    loop {
        let metrics = agent.metrics();
        let counted = expected.keys().map(|case| (*case, ends(&metrics, case)));
        let counted: BTreeMap<_, _> = counted.collect();
        let wanted = expected.iter().map(|(case, (reason, count))| {
            let wanted = BTreeMap::from([(reason.name().to_owned(), *count as u64)]);
            (*case, wanted)
        });
        let wanted: BTreeMap<_, _> = wanted.collect();
        if counted == wanted {
            return;
        }
        if began.elapsed() > COUNTED {
            assert_eq!(counted, wanted);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until a container is a session: the agent looks five times a second for what its platform has named.
fn wait_until_found(agent: &Agent, name: &str) {
    wait::until(&format!("{name} is found"), BACK, || {
        thread::sleep(Duration::from_millis(100));
        agent.session(name)
    });
}

/// The cases whose end the engine tells. Podman mostly sends no `stop`, and a container that is removed as it ends
/// cannot be asked any more whether its user stopped it: then the kernel's word is counted, now and then a signal.
fn cases(kind: Kind) -> impl Iterator<Item = &'static Case> {
    let untold: &[&str] = match kind {
        Kind::Docker => &[],
        Kind::Podman => &["removed", "stopped-and-gone"],
    };
    CASES.iter().filter(|case| !untold.contains(&case.name))
}

fn every_end_is_known(kind: Kind) {
    if !capability::runtimes() {
        return;
    }
    let engine = Engine::start(kind);
    let agent = agent_of(&engine);
    let mut heard = Heard::of(&engine);
    let [inside, place] = LEAVE;
    engine.folder(place);
    let volume = format!("{place}:{inside}:ro");
    let rounds = rounds(ROUNDS);
    thread::scope(|scope| {
        for case in cases(kind) {
            let (engine, agent, volume) = (&engine, &agent, volume.as_str());
            scope.spawn(move || {
                for round in 0..rounds {
                    let name = format!("{}-{round}", case.name);
                    let label = format!("sessionscope/template={}", case.name);
                    let own = format!("NAME={name}");
                    let common = [
                        "--label",
                        label.as_str(),
                        "--volume",
                        volume,
                        "--env",
                        own.as_str(),
                    ];
                    let options = [&common[..], case.options].concat();
                    engine.run(&name, &options, case.script);
                    wait_until_found(agent, &name);
                    (case.act)(engine, &name);
                }
            });
        }
    });
    let expected = cases(kind).map(|case| (case.name, (case.reason, rounds)));
    wait_for_ends(&agent, &expected.collect());
    heard.listen();
    for case in cases(kind) {
        for round in 0..rounds {
            let name = format!("{}-{round}", case.name);
            let end = Some((case.reason, case.code));
            assert_eq!(heard.end(&name), end, "{name}");
        }
    }
    assert_eq!(heard.down, Vec::<String>::new());
}

fn names_and_ends_outlive_the_engine(kind: Kind) {
    if !capability::runtimes() {
        return;
    }
    let mut engine = Engine::start(kind);
    let agent = agent_of(&engine);
    let mut heard = Heard::of(&engine);
    let rounds = rounds(RESTARTS);
    for round in 0..rounds {
        let name = |what: &str| format!("{what}-{round}");
        let (stays, crashes) = (name("stays"), name("crashes"));
        let template = |name| ["--label", name];
        engine.run(&stays, &template("sessionscope/template=stays"), ASKED);
        engine.run(&crashes, &template("sessionscope/template=crashes"), DEAF);
        wait_until_found(&agent, &stays);
        wait_until_found(&agent, &crashes);
        let crashing = engine.pid(&crashes);
        engine.stop_daemon();
        process::signal(crashing, Signal::SIGKILL);
        engine.start_daemon();
        // At once, whether the agent asks already or does not.
        let renamed = name("renamed");
        engine.call(&["rename", &stays, &renamed]);
        if round % 2 == 0 {
            wait_until_found(&agent, &renamed);
        }
        engine.call(&["stop", &renamed]);
        wait::until("both have ended", BACK, || {
            heard.listen();
            heard.end(&renamed).zip(heard.end(&crashes)).map(|_| ())
        });
        assert_eq!(heard.end(&renamed), Some((EndReason::Completed, "7")));
        // Docker does not know, and the agent asks the kernel.
        let crashed = match kind {
            Kind::Docker => (EndReason::Unknown, "255"),
            Kind::Podman => (EndReason::Signal, "137"),
        };
        assert_eq!(heard.end(&crashes), Some(crashed));
        engine.call(&["rm", &renamed, &crashes]);
    }
    let expected = [
        ("stays", (EndReason::Completed, rounds)),
        ("crashes", (EndReason::Signal, rounds)),
    ];
    wait_for_ends(&agent, &expected.into());
}

#[test]
fn every_end_of_a_container_of_docker_is_known() {
    every_end_is_known(Kind::Docker);
}

#[test]
fn every_end_of_a_container_of_podman_is_known() {
    every_end_is_known(Kind::Podman);
}

#[test]
fn names_and_ends_outlive_docker() {
    names_and_ends_outlive_the_engine(Kind::Docker);
}

#[test]
fn names_and_ends_outlive_podman() {
    names_and_ends_outlive_the_engine(Kind::Podman);
}
