//! What the agent says of itself: one line an event in each form, and the audit log.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use integration_tests::{
    agent::{self, Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::Tree,
    process, wait,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use sessionscope::telemetry::Event;

/// Starts the agent with these arguments, waits until it says that it listens, and ends it. What it has said on stdout and
/// on stderr.
fn run(arguments: &[&str], configuration: &str) -> (String, String) {
    let mut command = agent::command(&agent::binary());
    command
        .args(["run", "--listen", "127.0.0.1:0"])
        .args(arguments);
    run_by(command, configuration)
}

/// The same by a command that becomes the agent.
fn run_by(mut command: Command, configuration: &str) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str| File::create(path(name)).expect("a file");
    let said = |name: &str| fs::read_to_string(path(name)).expect("it is there");
    fs::write(path("configuration"), configuration).expect("a file can be written");
    command
        .arg("--config")
        .arg(path("configuration"))
        .env("SESSIONSCOPE_SESSIONS_STATE", path("state"))
        .stdout(file("out"))
        .stderr(file("err"));
    let mut child = command.spawn().expect("the agent can be started");
    wait::until("the agent listens", SHOW_LIMIT, || {
        let both = said("out") + &said("err");
        both.contains(Event::Listening.name()).then_some(())
    });
    // What has started it in namespaces of its own does not pass a signal on.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = fs::read_to_string(children).unwrap_or_default();
    for pid in children.split_whitespace() {
        process::signal(pid.parse().expect("a pid"), Signal::SIGTERM);
    }
    assert!(process::end(&mut child, SHOW_LIMIT), "it does not end");
    (said("out"), said("err"))
}

/// A sum is said every ten seconds.
const SUMS: Duration = Duration::from_secs(25);

/// The value of a field of a line of logfmt that has no quotes.
fn plain<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let fields = line.split(' ');
    fields
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == field).then_some(value))
}

#[test]
fn each_form_says_the_same_events() {
    if !capability::kernel() {
        return;
    }
    // What is asked beside it may answer before its end, or not.
    let off = ["kubernetes", "logind", "libvirt", "containers"]
        .map(|source| format!("{source}.watch = 'off'\n"));
    let configuration = &format!(
        "sessions.builtin_rules = false\ngpu.enabled = false\n{}",
        off.concat()
    );
    let (_, json) = run(&["--log-format", "json"], configuration);
    let (_, logfmt) = run(&["--log-format", "logfmt"], configuration);
    let (_, text) = run(&["--log-format", "text"], configuration);
    let of_json: Vec<String> = json
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a line is an object");
            for field in ["ts", "level", "target", "event", "message"] {
                assert!(record[field].is_string(), "{field}: {line}");
            }
            record["event"].as_str().expect("a string").to_owned()
        })
        .collect();
    let of_logfmt: Vec<String> = logfmt
        .lines()
        .map(|line| {
            assert!(line.starts_with("ts=2"), "{line}");
            plain(line, "event").expect("an event").to_owned()
        })
        .collect();
    assert_eq!(of_json, of_logfmt, "{logfmt}");
    for event in [Event::ProgramsAttached, Event::Listening, Event::Stopping] {
        assert!(of_json.iter().any(|one| one == event.name()), "{json}");
        assert!(text.contains(event.message()), "{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours into a pipe: {text:?}");
}

#[test]
fn the_audit_log_on_stdout_has_nothing_else_beside_it() {
    if !capability::kernel() {
        return;
    }
    let configuration = "sessions.builtin_rules = false\nlog.audit = 'stdout'\n";
    let (out, said) = run(
        &["--log-level", "off"],
        &format!("{configuration}log.format = 'json'\n"),
    );
    assert_eq!(said, "");
    let events: Vec<Value> = out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("a line is an object")["event"].clone()
        })
        .collect();
    let expected = [
        Event::CapabilitiesGivenUp,
        Event::Listening,
        Event::Stopping,
    ];
    assert_eq!(events, expected.map(Event::name));
}

/// The lines of an audit log.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is an object"))
        .collect()
}

/// Waits for a line.
fn line(file: &Path, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    wait::until(&format!("the audit log has {what}"), SHOW_LIMIT, || {
        lines(file).into_iter().find(&is_it)
    })
}

#[test]
fn the_audit_log_says_who_was_refused_what_came_into_effect_and_which_processes_failed() {
    if !capability::kernel() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let web = folder.path().join("web.yml");
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    fs::write(&web, format!("basic_auth_users:\n  ada: {hash}\n")).expect("a file");
    let tree = Tree::new();
    let mut configuration = Configuration::of(&tree);
    for (key, value) in [
        ("log.audit", audit.display().to_string()),
        ("web.config_file", web.display().to_string()),
        // The refusals are not in the log.
        ("log.level", "warn,sessionscope::app=info".to_owned()),
    ] {
        configuration = configuration.set(key, &format!("{value:?}"));
    }
    let agent = Agent::start(&configuration.set("log.audit_processes", "'all'"));
    let mode = fs::metadata(&audit)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    assert_eq!(
        agent
            .get("/metrics", &[("Authorization", "Basic YWRhOndyb25n")])
            .status,
        401
    );
    let refused = line(&audit, "a refusal", |one| one["reason"] == "invalid");
    for (field, value) in [
        ("event", "access_refused"),
        ("method", "get"),
        ("path", "/metrics"),
        ("auth", "basic"),
        ("peer", "127.0.0.1"),
    ] {
        let found = refused[field].as_str().map(str::to_ascii_lowercase);
        assert_eq!(found.as_deref(), Some(value), "{refused}");
    }
    assert_eq!(refused["status"], 401);
    let forged = [
        ("Host", "evil.example"),
        ("Authorization", "Basic YWRhOnNlY3JldA=="),
    ];
    assert_eq!(agent.get("/api/v1/sessions", &forged).status, 421);
    line(&audit, "a forged host", |one| {
        one["status"] == 421 && one["reason"] == "host"
    });

    fs::write(&web, "basic_auth_users:\n  ada: nonsense\n").expect("a file");
    let wrong = line(&audit, "a refused change", |one| {
        one["event"] == "configuration_refused"
    });
    assert!(
        wrong["error"]
            .as_str()
            .is_some_and(|error| error.contains("ada")),
        "{wrong}"
    );
    fs::write(&web, format!("basic_auth_users:\n  ada: {hash}\n")).expect("a file");
    line(&audit, "a change", |one| {
        one["event"] == "configuration_reloaded"
    });

    let desk = tree.child("desk");
    let right = [("Authorization", "Basic YWRhOnNlY3JldA==")];
    wait::until("the session is found", SHOW_LIMIT, || {
        agent
            .get("/api/v1/sessions", &right)
            .text()
            .contains("\"desk\"")
            .then_some(())
    });
    let procs = desk.path().join("cgroup.procs");
    let fails = |script: &str| {
        let script = format!("echo 0 > {} && {script}", procs.display());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(!status.expect("sh runs").success());
    };
    fails("exit 3");
    let failed = line(&audit, "a failed process", |one| {
        one["event"] == "process_failed"
    });
    for (field, value) in [
        ("session", "desk"),
        ("namespace", "tests"),
        ("template", "child"),
        ("command", "sh"),
    ] {
        assert_eq!(failed[field], value, "{failed}");
    }
    assert_eq!(failed["code"], 3);
    fails("/bin/true; exec /bin/false");
    let executed = line(&audit, "a program", |one| {
        one["event"] == "process_executed" && one["command"] == "true"
    });
    assert_eq!(executed["session"], "desk");
    fails("for i in $(seq 300); do /bin/true; done; exit 1");
    // Each has a line, or is in a sum.
    wait::until("all programs are told of", SUMS, || {
        let all = lines(&audit);
        let told = all.iter().map(|one| match one["event"].as_str() {
            Some("process_executed") => u64::from(one["command"] == "true"),
            Some("processes_executed") => one["processes"].as_u64().unwrap_or_default(),
            _ => 0,
        });
        (told.sum::<u64>() >= 300).then_some(())
    });
    fails("kill -KILL $$");
    let killed = line(&audit, "a killed process", |one| {
        one["event"] == "process_killed"
    });
    assert_eq!(killed["signal"], 9);

    // What rotates logs moves the file away.
    let count = || {
        let text = agent.get("/metrics", &right).text();
        let value = |result: &str| {
            let series = format!("vdi_agent_audit_lines_total{{result=\"{result}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            let value: f64 = value.expect("it is counted").parse().expect("a number");
            value as usize
        };
        [value("written"), value("failed"), value("left_out")]
    };
    wait::until("the lines are counted", SHOW_LIMIT, || {
        (count() == [lines(&audit).len(), 0, 0]).then_some(())
    });
    let moved = folder.path().join("audit.jsonl.1");
    fs::rename(&audit, &moved).expect("it can be moved");
    wait::until("a new file is begun", SHOW_LIMIT, || {
        assert_eq!(agent.get("/", &[]).status, 401);
        audit.exists().then_some(())
    });
    let of_refusals = [Event::AccessRefused, Event::AccessesRefused].map(Event::name);
    let is_one = |line: &Value| of_refusals.iter().any(|event| line["event"] == *event);
    assert!(lines(&audit).iter().all(is_one));
    // A summary of refusals may come at any time.
    wait::until("none is lost", SHOW_LIMIT, || {
        let all = lines(&audit).len() + lines(&moved).len();
        (count() == [all, 0, 0]).then_some(())
    });

    assert!(!agent.log().contains(Event::AccessRefused.name()));
    // Who asks without end has some lines, and then a sum now and then.
    let before = lines(&audit).len();
    for _ in 0..500 {
        assert_eq!(agent.get("/", &[]).status, 401);
    }
    let sum = wait::until("how many more there were is said", SUMS, || {
        assert_eq!(agent.get("/", &[]).status, 401);
        let all = lines(&audit).into_iter().skip(before);
        let mut sums = all.filter(|line| line["event"] == Event::AccessesRefused.name());
        sums.find(|line| line["requests"].as_u64() > Some(300))
    });
    assert_eq!(sum["peer"], "127.0.0.1");
    for file in [&audit, &moved] {
        agent::record_events(&fs::read_to_string(file).expect("it is there"));
    }
    let more = lines(&audit).len() - before;
    assert!(more < 100, "{more} lines");
    assert_eq!(count()[1..], [0, 0]);
}

#[test]
fn an_audit_log_that_cannot_be_written_keeps_the_agent_from_starting() {
    if !capability::kernel() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("a link");
    let nowhere = folder.path().join("no/audit.jsonl");
    for path in [&link, &nowhere, &folder.path().to_path_buf()] {
        let mut command = agent::command(&agent::binary());
        command
            .args(["run", "--listen", "127.0.0.1:0"])
            .env("SESSIONSCOPE_LOG_AUDIT", path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the agent can be started");
        let ended = process::wait(&mut child, Duration::from_secs(10));
        let output = child.wait_with_output().expect("it has ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(ended.is_some_and(|status| !status.success()), "{said}");
        assert!(
            said.contains("log.audit") && said.contains(&*path.to_string_lossy()),
            "{said}"
        );
    }
}

/// The agent behind programs that change what it may do or see.
fn behind(words: &[&str], arguments: &[&str]) -> Command {
    let (first, rest) = words.split_first().expect("a program");
    let mut command = agent::command(Path::new(first));
    command
        .args(rest)
        .arg(agent::binary())
        .args(["run", "--log-format", "json"])
        .args(arguments);
    command
}

#[test]
fn what_a_node_or_a_configuration_lacks_is_an_event() {
    if !capability::kernel() {
        return;
    }
    let here = ["--listen", "127.0.0.1:0"];
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("broken.xml"), "<domstatus").expect("a file");
    let machines = format!(
        "libvirt.watch = 'on'\nlibvirt.state = '{}'\n",
        folder.path().display()
    );
    let unit = [
        "setpriv",
        "--bounding-set",
        "-all,+bpf,+perfmon,+dac_read_search,+sys_resource,+syslog",
    ];
    // Alone in their network, nobody else reaches them.
    let own_network = ["unshare", "--net"];
    let own_pids = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let cases: [(&[&str], &[&str], &str, Event); 4] = [
        (
            &own_network,
            &["--listen", "0.0.0.0:0"],
            "",
            Event::OpenToAll,
        ),
        (&own_pids, &here, "", Event::ForeignPidNamespace),
        (
            &unit,
            &here,
            "kernel.statistics = true\n",
            Event::StatisticsOff,
        ),
        (&["env"], &here, &machines, Event::DescriptionRefused),
    ];
    for (words, arguments, configuration, event) in cases {
        let configuration = format!("sessions.builtin_rules = false\n{configuration}");
        let (_, log) = run_by(behind(words, arguments), &configuration);
        agent::record_events(&log);
        assert!(
            log.contains(&format!("\"event\":\"{}\"", event.name())),
            "{log}"
        );
    }
}

#[test]
fn cgroups_that_the_agent_may_not_read_are_an_event() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let closed = tree.child("closed");
    std::os::unix::fs::chown(closed.path(), Some(1000), Some(1000)).expect("root may");
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("root may");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all,+bpf,+perfmon,+sys_resource,+syslog"]);
    command.arg(agent::binary());
    let configuration = Configuration::of(&tree).set("sampling.rescan", "'1s'");
    let agent = Agent::start_by(command, &configuration, &[]);
    wait::until("it is said", SHOW_LIMIT, || {
        (!agent.logged(Event::CgroupsUnread).is_empty()).then_some(())
    });
}

#[test]
fn a_connection_for_which_there_is_no_descriptor_is_an_event_and_the_next_one_is_taken() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid()))
        .expect("it runs")
        .count();
    let limit = |limit: usize| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args([
            "--pid",
            &agent.pid().to_string(),
            &format!("--nofile={limit}:"),
        ]);
        assert!(prlimit.status().expect("prlimit runs").success());
    };
    limit(descriptors);
    let many: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect(agent.address()))
        .collect();
    wait::until("it is said", SHOW_LIMIT, || {
        (!agent.logged(Event::ConnectionRefused).is_empty()).then_some(())
    });
    limit(1024);
    drop(many);
    assert_eq!(agent.get("/healthz", &[]).status, 200);
}

#[test]
fn a_rule_for_a_place_of_a_tenant_is_an_event() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let tenant = tree.child("tenant");
    std::os::unix::fs::chown(tenant.path(), Some(1000), Some(1000)).expect("root may");
    let pattern = format!("^{}/tenant/(?<session>[^/]+)$", tree.path());
    let agent = Agent::start(&Configuration::without_rules().rule("desks", &pattern, ""));
    let desk = tree.child("tenant/desk");
    wait::until("it is said", SHOW_LIMIT, || {
        (!agent.logged(Event::RuleNotTrusted).is_empty()).then_some(())
    });
    desk.remove();
}

#[test]
fn what_a_file_system_does_not_take_is_an_event() {
    if !capability::kernel() {
        return;
    }
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [small, fixed] = folders
        .each_ref()
        .map(|folder| folder.path().display().to_string());
    let tree = Tree::new();
    // Each a page, in a mount namespace of the agent's own.
    let mount = |folder: &str| format!("mount -t tmpfs -o size=4k none {folder} && ");
    let script = mount(&small) + &mount(&fixed) + "exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script])
        .arg(agent::binary());
    let configuration = Configuration::of(&tree)
        .set("log.audit", &format!("'{small}/audit'"))
        .set(
            "listen",
            &format!("['127.0.0.1:0', 'unix:{fixed}/agent.sock']"),
        );
    let mut agent = Agent::start_by(command, &configuration, &[]);
    let said = |agent: &Agent, event| {
        // A name of somebody else is refused, which is a line.
        let host = [("Host", "evil.example")];
        assert_eq!(agent.get("/api/v1/sessions", &host).status, 421);
        (!agent.logged(event).is_empty()).then_some(())
    };
    for _ in 0..20 {
        assert!(said(&agent, Event::Stopping).is_none());
    }
    wait::until("the file is full", SHOW_LIMIT, || {
        said(&agent, Event::AuditUnwritten)
    });
    let inside = format!("/proc/{}/root{small}/audit", agent.pid());
    File::create(&inside).expect("it can be emptied");
    wait::until("there is room", SHOW_LIMIT, || {
        said(&agent, Event::AuditWritten)
    });
    let pid = agent.pid().to_string();
    let mut remount = Command::new("nsenter");
    remount.args([
        "--mount",
        "--target",
        &pid,
        "mount",
        "-o",
        "remount,ro",
        &fixed,
    ]);
    assert!(remount.status().expect("nsenter runs").success());
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended(SHOW_LIMIT).is_some());
    assert_eq!(agent.logged(Event::SocketLeft).len(), 1, "{}", agent.log());
}
