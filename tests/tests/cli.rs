//! The subcommands that ask a running agent: what they print, that it has colours on a terminal only, and
//! how they fail.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{self, Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::Tree,
    process,
    sockets::inside,
    wait::{self, patient},
    workload::{Workload, two_cpus},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const UNREACHABLE: i32 = 10;
const NO_SESSION: i32 = 11;

/// The command at an agent's address.
fn command(agent: &Agent, arguments: &[&str]) -> Command {
    let mut command = agent::command(&agent::binary());
    command
        .args(arguments)
        .args(["--address", &agent.address().to_string()]);
    command
}

fn run(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

/// What it prints; it must succeed.
fn prints(agent: &Agent, arguments: &[&str]) -> String {
    let output = run(command(agent, arguments));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!text.contains('\u{1b}'), "an escape code: {text:?}");
    eprintln!("$ sessionscope {}\n{text}", arguments.join(" "));
    text
}

/// What it says on failing with a code, in one line.
fn fails(command: Command, code: i32) -> String {
    let output = run(command);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The cells of a session's line under a heading.
fn line<'t>(table: &'t str, session: &str) -> Vec<&'t str> {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect());
    lines
        .find(|cells: &Vec<&str>| cells.first() == Some(&session))
        .unwrap_or_else(|| panic!("{session} is not in the table:\n{table}"))
}

#[test]
fn two_sessions_are_listed_and_explained() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let [hog, desk] = ["cpu-hog", "desk"].map(|name| tree.child(name));
    agent.wait_for(&["cpu-hog", "desk"]);
    // Both on one CPU, so that each takes it from the other.
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--seconds", "60", "--cpu", &cpu];
    let mut workloads = [&hog, &desk].map(|session| Workload::start(WORKLOAD, session, &spin));
    workloads.iter_mut().for_each(Workload::go);
    let listener = inside(&desk, || TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.write_all(b"frame").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    agent.session_that("desk", "has a client and was preempted", |session| {
        session["clients"] == 1
            && session["tcp"]["inbound"]["rtt"]["count"].as_u64() > Some(0)
            && session["preempted_by"][0]["session"] == "cpu-hog"
            && session["runqueue_wait"]["recent"]["p99"].is_f64()
    });

    let table = prints(&agent, &["sessions"]);
    let headings = line(&table, "SESSION").join(" ");
    assert_eq!(
        headings,
        "SESSION NAMESPACE TEMPLATE PHASE AGE PROCS CPU WAIT P99 RTT P50 CLIENTS GPU GPU MEM ENC FPS"
    );
    let desk_line = line(&table, "desk");
    assert_eq!(desk_line[1..4], ["tests", "child", "Running"]);
    assert_eq!(desk_line[desk_line.len() - 4..], ["1", "-", "-", "-"]);
    let wide = prints(&agent, &["sessions", "-o", "wide", "--sort", "name"]);
    let names: Vec<&str> = wide
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["SESSION", "cpu-hog", "desk"]);
    assert!(wide.contains(&format!("{}/desk", tree.path())), "{wide}");

    let answer = prints(&agent, &["sessions", "-o", "json", "--template", "child"]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["sessions"].as_array().map(Vec::len), Some(2));
    let none = prints(&agent, &["sessions", "--namespace", "elsewhere"]);
    assert_eq!(none, "no sessions\n");

    let page = prints(&agent, &["explain", "desk"]);
    for said in [
        "SESSION desk",
        "the rule \"child\" on the path of its cgroup",
        &format!("{}/desk", tree.path()),
        "Running for",
        "first process",
        "first listener",
        "first client",
        "█",
        "wait p99, 10 s",
        "wait p99, life",
        "cpu-hog (",
        "1 now, 1 connections accepted",
        "client RTT",
        "5 B by TCP",
        "alive             1 with 2 threads",
        "histogram_quantile",
    ] {
        assert!(page.contains(said), "{said} is not on the page");
    }

    let said = fails(command(&agent, &["explain", "dsk"]), NO_SESSION);
    assert!(said.contains("near it: \"desk\""), "{said}");
}

#[test]
fn one_that_has_ended_is_explained_after_its_series_are_gone() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.linger", "\"1s\""));
    for words in ["exit 3", "kill -9 $$"] {
        let desk = tree.child("desk");
        agent.wait_for(&["desk"]);
        let mut shell = inside(&desk, || {
            Command::new("sh").args(["-c", words]).spawn().expect("sh")
        });
        shell.wait().expect("it ends");
        // So that the agent has seen it before its cgroup goes.
        agent.session_that("desk", "has had a process", |session| {
            session["process"]["exits"]["error"] == 1 || session["process"]["exits"]["signal"] == 1
        });
        drop(desk);
        wait::until("it has left the list", patient(SHOW_LIMIT), || {
            agent.session("desk").is_none().then_some(())
        });
    }
    let page = prints(&agent, &["explain", "desk"]);
    for said in [
        "SESSION desk, which has ended",
        ": signal\n",
        "signal 9 killed the last of its processes to end\n",
        "ended before",
        ": error\n",
        &format!("{}/desk", tree.path()),
        "0 well, 0 with an error, 1 by a signal",
    ] {
        assert!(page.contains(said), "{said} is not on the page");
    }
    let answer = agent.get("/api/v1/ended", &[]).text();
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let ended = answer["sessions"].as_array().expect("a list");
    let reasons: Vec<&Value> = ended.iter().map(|one| &one["end_reason"]).collect();
    assert_eq!(reasons, ["signal", "error"]);
    assert_eq!(
        ended[1]["why"],
        "the last of its processes to end returned 3"
    );
    // Another name is as unknown as before, and so is this one in another namespace.
    fails(command(&agent, &["explain", "deskx"]), NO_SESSION);
    let elsewhere = ["explain", "desk", "--namespace", "elsewhere"];
    fails(command(&agent, &elsewhere), NO_SESSION);
}

/// What is wrong with an answer, by the schema of its type in the API's description.
fn faults(document: &Value, name: &str, answer: &Value) -> Vec<String> {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(answer);
    let mut faults: Vec<String> = errors.map(|error| format!("{name}: {error}")).collect();
    let described = &document["components"]["schemas"][name]["properties"];
    let keys = answer.as_object().expect("an object").keys();
    faults.extend(
        keys.filter(|key| described.get(key.as_str()).is_none())
            .map(|key| format!("{name}: {key} is not described")),
    );
    faults
}

#[test]
fn what_the_api_answers_is_as_it_is_described() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.linger", "\"1s\""));
    let [desk, left] = ["desk", "left"].map(|name| tree.child(name));
    agent.wait_for(&["desk", "left"]);
    drop(left);
    let listener = inside(&desk, || TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let id = agent.session_that("desk", "has a client", |session| session["clients"] == 1)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ask =
        |path: &str| -> Value { serde_json::from_str(&agent.get(path, &[]).text()).expect("JSON") };
    wait::until("one has ended", patient(SHOW_LIMIT), || {
        let ended = ask("/api/v1/ended");
        (!ended["sessions"].as_array()?.is_empty()).then_some(())
    });
    let document = ask("/api/v1/openapi.json");
    assert!(
        document["openapi"]
            .as_str()
            .expect("a version")
            .starts_with("3.1")
    );
    let of_desk = format!("/api/v1/sessions/{id}");
    for (path, name) in [
        ("/api/v1/sessions", "Report"),
        (&of_desk, "Session"),
        (&format!("{of_desk}/history"), "History"),
        (&format!("{of_desk}/processes"), "Processes"),
        ("/api/v1/ended", "Ended"),
        ("/api/v1/node", "Node"),
        ("/api/v1/agent", "Agent"),
        ("/api/v1/sessions/0", "Problem"),
    ] {
        assert_eq!(faults(&document, name, &ask(path)), [""; 0], "{path}");
    }
    // An answer that is not.
    let mut session = ask(&of_desk);
    session["cpu_seconds"] = "much".into();
    session["colour"] = "green".into();
    let found = faults(&document, "Session", &session);
    assert!(found.len() == 2 && found[1].contains("colour"), "{found:?}");
}

#[test]
fn the_node_is_explained_with_who_has_what_there_is() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let [hog, _desk] = ["cpu-hog", "desk"].map(|name| tree.child(name));
    agent.wait_for(&["cpu-hog", "desk"]);
    let [cpu, _] = two_cpus();
    let mut spin = Workload::start(WORKLOAD, &hog, &["spin", "--seconds", "60", "--cpu", &cpu]);
    spin.go();
    agent.session_that("cpu-hog", "has a CPU", |session| {
        session["cpu_ratio"].as_f64() > Some(0.2)
    });
    let page = prints(&agent, &["explain", "--node"]);
    for said in [
        "NODE\n",
        "Held back, in the last minute\n",
        " by sessions\n",
        "most by           cpu-hog ",
        "available         ",
        "Sessions and agent\n",
        "programs off",
    ] {
        assert!(page.contains(said), "{said} is not on the page");
    }
}

#[test]
fn one_name_in_two_namespaces_needs_the_namespace_too() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _sessions = ["a-desk", "b-desk"].map(|name| tree.child(name));
    let pattern = format!("^{}/(?<namespace>[^/]+)-(?<session>[^/]+)$", tree.path());
    let configuration =
        Configuration::without_rules().rule("namespaced", &pattern, "template = 'child'");
    let agent = Agent::start(&configuration);
    let said = fails(command(&agent, &["explain", "desk"]), NO_SESSION);
    for named in ["namespace \"a\"", "namespace \"b\"", "--namespace"] {
        assert!(said.contains(named), "{said}");
    }
    let page = prints(&agent, &["explain", "desk", "--namespace", "b"]);
    assert!(page.contains("b-desk"), "{page}");
}

/// What the command prints of a configuration, and its exit code.
fn of_configuration(configuration: &Configuration, arguments: &[&str]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sessionscope.toml");
    fs::write(&file, configuration.text()).expect("a file can be written");
    let mut command = agent::command(&agent::binary());
    let output = run({
        command.args(arguments).arg("--config").arg(&file);
        command
    });
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    eprintln!("$ sessionscope {}\n{text}", arguments.join(" "));
    (text, output.status.code())
}

#[test]
fn rules_are_tried_on_the_cgroups_that_are_there() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let desk = tree.child("desk");
    let configuration =
        Configuration::of(&tree).rule("nowhere", "^/nowhere/(?<session>.+)$", "template = 'x'");
    let tried = |arguments: &[&str]| {
        let (text, code) = of_configuration(&configuration, arguments);
        assert_eq!(code, Some(0));
        text
    };
    let own = format!("{}/desk", tree.path());
    let said = "session \"desk\" by the rule \"child\", namespace \"tests\", template \"child\"";
    let all = tried(&["rules", "test"]);
    assert!(all.contains(&format!("{own}\n    {said}\n")), "{all}");
    assert!(all.contains("the rule \"nowhere\" takes none"), "{all}");
    assert_eq!(
        tried(&["rules", "test", &own]),
        format!("{own}\n    {said}\n")
    );
    // By its directory, and by a process in it.
    let directory = desk.path().display().to_string();
    assert_eq!(
        tried(&["rules", "test", &directory]),
        format!("{own}\n    {said}\n")
    );
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--seconds", "60", "--cpu", &cpu];
    let mut idle = Workload::start(WORKLOAD, &desk, &spin);
    let pid = idle.pid().to_string();
    let json = tried(&["rules", "test", "--pid", &pid, "--format", "json"]);
    idle.go();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["cgroups"][0]["session"], "desk");
    let (_, code) = of_configuration(&configuration, &["rules", "test", "--pid", "4194305"]);
    assert_eq!(code, Some(1));

    let check = tried(&["check"]);
    assert!(check.contains("1 now: desk"), "{check}");
    assert!(
        check.contains("the rule \"nowhere\" takes no cgroup"),
        "{check}"
    );
    let locked = configuration.set("web.session_tokens", "'/nonexistent/tokens'");
    let (check, code) = of_configuration(&locked, &["check"]);
    assert_ne!(code, Some(0));
    assert!(check.contains("FAILURE  who may ask"), "{check}");
}

#[test]
fn an_agent_that_does_not_answer_has_an_exit_code_of_its_own() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    for subcommand in [
        &["sessions"][..],
        &["explain", "desk"],
        &["sessions", "--watch"],
    ] {
        for flag in ["--address", "--listen"] {
            let mut command = agent::command(&agent::binary());
            command.args(subcommand).args([flag, &address]);
            let said = fails(command, UNREACHABLE);
            assert!(
                said.contains(&address) && said.contains("--address"),
                "{said}"
            );
        }
    }
}

#[test]
fn something_else_that_answers_is_not_taken_for_an_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _request = stream.read(&mut [0; 1024]);
            let _sent = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno");
        }
    });
    let mut command = agent::command(&agent::binary());
    command.args(["sessions", "--address", &address]);
    let said = fails(command, UNREACHABLE);
    assert!(
        said.contains("not an agent") && said.contains("404"),
        "{said}"
    );
}

#[test]
fn a_watch_shows_the_table_again_and_ends_on_interrupt() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    let mut child = command(&agent, &["sessions", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let lines = stdout.lines().map(|line| line.expect("UTF-8"));
    // Not a terminal, so the tables follow each other.
    let tables = lines
        .inspect(|line| assert!(!line.contains('\u{1b}'), "an escape code: {line:?}"))
        .filter(|line| line.starts_with("SESSION"));
    assert_eq!(tables.take(2).count(), 2);
    process::signal(child.id(), Signal::SIGINT);
    let status = process::wait(&mut child, Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.code(), Some(0));
}
