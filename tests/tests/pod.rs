//! The chart's container is run as it stands by a real runtime, and the agent in it measures what an agent measures that
//! root starts on the machine itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{self, Agent, Configuration},
    capability,
    exposition::{Exposition, Format},
    helm::{self, Helm},
    http,
    netns::Namespace,
    pod::Pod,
    runtimes::{Engine, Kind},
    tools, wait,
};
use serde_json::{Value, json};

const IMAGE: &str = "localhost/sessionscope:0.1.0";
const PROGRAM: &str = "/usr/local/bin/sessionscope";
const NAME: &str = "agent";
const START: Duration = Duration::from_secs(30);
/// Starts processes, uses a CPU and says something to itself.
const DESK: &str = "while :; do sleep 0.05; done";
/// The last stage of deploy/container/Dockerfile, made by hand: the suite's C library, and the program without its
/// symbols.
fn image(engine: &Engine) {
    let suite = tools::root("image-bookworm", "bookworm", &["libc6", "libgcc-s1"]);
    let suite = suite.expect("the base of the image can be fetched");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path().join("root");
    run(Command::new("cp").arg("-a").arg(&suite).arg(&root));
    let program = root.join(PROGRAM.trim_start_matches('/'));
    fs::create_dir_all(program.parent().expect("a folder")).expect("a folder can be made");
    run(Command::new("strip")
        .arg("-o")
        .arg(&program)
        .arg(agent::binary()));
    engine.import(IMAGE, &root, PROGRAM);
}

fn run(command: &mut Command) {
    let status = command.status().expect("the command starts");
    assert!(status.success(), "{command:?} failed ({status})");
}

/// The chart for a machine whose containers are an engine's.
fn objects(helm: &Helm, engine: &Engine, situation: &str) -> Vec<Value> {
    // Not through /proc/1/root: this machine's first process may hold more than anybody else here, who may then not
    // follow it.
    let socket = "/run/docker.sock";
    let values = json!({
        "config": {
            "log": {"format": "json"},
            "sessions": {"builtin_rules": false},
            "containers": {"watch": "on", "sockets": [socket], "bundles": []},
            "rules": [{"name": "container", "pattern": engine.pattern(), "namespace": "tests"}],
        },
        "extraVolumes": [{"name": "docker", "hostPath": {"path": socket, "type": "Socket"}}],
        "extraVolumeMounts": [{"name": "docker", "mountPath": socket}],
    });
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::write(&file, values.to_string()).expect("a file can be written");
    let situation = helm::situations()[situation].clone();
    let files = [situation.as_path(), file.path()].map(|path| path.to_str().expect("UTF-8"));
    helm.objects(&["--values", files[0], "--values", files[1]])
}

/// Where the container serves, in its own network.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9709);

fn get(pid: u32, path: &str) -> io::Result<http::Response> {
    Namespace::of(pid)?.inside(|| http::get(ADDRESS, path, &[]))
}

fn connect(pid: u32) -> io::Result<TcpStream> {
    Namespace::of(pid)?.inside(|| TcpStream::connect(ADDRESS))
}

fn metrics(pid: u32) -> Exposition {
    let text = get(pid, "/metrics").expect("the agent answers").text();
    Exposition::parse(&text, Format::Text).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a pod, and waits until its probes are content; the agent's process.
fn start(engine: &Engine, pod: &Pod<'_>) -> u32 {
    pod.start(engine, NAME, IMAGE);
    let pid = engine.pid(NAME);
    for path in pod.probes() {
        wait::until(path, START, || {
            let state = engine.call(&["inspect", "--format", "{{.State.Status}}", NAME]);
            assert_eq!(state, "running", "{}", engine.log_of(NAME));
            let answer = get(pid, path).ok()?;
            (answer.status == 200).then_some(())
        });
    }
    pid
}

/// Families with a value: those of sessions, and those of the agent.
fn families(metrics: &Exposition) -> BTreeSet<String> {
    let samples = metrics.samples.iter();
    samples.map(|sample| sample.family.clone()).collect()
}

/// What an agent has counted of the session.
fn counted(metrics: &Exposition) -> BTreeMap<&'static str, f64> {
    let names = [
        "vdi_session_process_forks_total",
        "vdi_session_process_execs_total",
        "vdi_session_cpu_seconds_total",
    ];
    let labels = [("session", "desk")];
    let values = names.map(|name| (name, metrics.sum(name, &labels).unwrap_or_default()));
    values.into()
}

/// `spec.template.spec` of the `DaemonSet`, and the `ConfigMap`.
fn pod(objects: &[Value]) -> Pod<'_> {
    let maps = objects
        .iter()
        .filter(|object| object["kind"] == "ConfigMap");
    let files = maps.map(|map| (helm::name(map).1, &map["data"]));
    Pod {
        spec: &helm::only(objects, "DaemonSet")["spec"]["template"]["spec"],
        files: files.collect(),
    }
}

/// Helm, and an engine that has the image; says why they cannot be had.
fn prepared() -> Option<(Helm, Engine)> {
    let [_, helm] = helm::both()?;
    if !capability::runtimes() {
        return None;
    }
    let engine = Engine::start(Kind::Docker);
    image(&engine);
    Some((helm, engine))
}

#[test]
fn the_chart_s_container_measures_what_root_measures() {
    let Some((helm, engine)) = prepared() else {
        return;
    };
    engine.run("desk", &[], DESK);
    let configuration = Configuration::without_rules()
        .rule("container", &engine.pattern(), "namespace = 'tests'")
        .set("containers.watch", "\"on\"")
        .set(
            "containers.sockets",
            &format!("[\"{}\"]", engine.socket().display()),
        )
        .set("containers.bundles", "[]");
    let root = Agent::start(&configuration);
    // The first is privileged.
    for situation in ["default", "capabilities"] {
        let objects = objects(&helm, &engine, situation);
        let pid = start(&engine, &pod(&objects));
        // By its name: so the engine's socket is reached.
        wait::until("the session has its name", START, || {
            metrics(pid).find("vdi_session_processes", &[("session", "desk")])
        });
        wait::until("both count", START, || {
            let before = [counted(&metrics(pid)), counted(&root.metrics())];
            thread::sleep(Duration::from_secs(2));
            let after = [counted(&metrics(pid)), counted(&root.metrics())];
            let is_counted = |(before, after): (&BTreeMap<_, f64>, &BTreeMap<_, f64>)| {
                after.iter().all(|(name, value)| *value > before[name])
            };
            before.iter().zip(&after).all(is_counted).then_some(())
        });
        let missing = || {
            let own = families(&metrics(pid));
            let mut missing = families(&root.metrics());
            missing.retain(|family| !own.contains(family));
            missing
        };
        // Round-trip times are those of connections that live when they are read.
        for _ in 0..10 {
            let _held = connect(pid);
            thread::sleep(Duration::from_secs(2));
            if missing().is_empty() {
                break;
            }
        }
        assert_eq!(missing(), BTreeSet::new(), "{situation}");
        // Only a privileged container has /dev/kmsg, as values.yaml says.
        let log = |metrics: &Exposition| metrics.sum("vdi_agent_kernel_log_up", &[]);
        let expected = match situation {
            "default" => log(&root.metrics()),
            _ => Some(0.0),
        };
        assert_eq!(log(&metrics(pid)), expected, "{situation}");
        engine.call(&["rm", "--force", NAME]);
    }
}

#[test]
fn a_profile_without_a_capability_that_it_needs_ends_with_what_is_missing() {
    let Some((helm, engine)) = prepared() else {
        return;
    };
    let mut objects = objects(&helm, &engine, "capabilities");
    let set = objects
        .iter_mut()
        .find(|object| object["kind"] == "DaemonSet");
    let set = set.expect("a DaemonSet");
    let held = &mut set["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]
        ["add"];
    let held = held.as_array_mut().expect("a list");
    held.retain(|name| name != "PERFMON");
    pod(&objects).start(&engine, NAME, IMAGE);
    assert_eq!(engine.call(&["wait", NAME]), "4");
    let said = engine.log_of(NAME);
    assert!(said.contains("CAP_PERFMON"), "{said}");
}
