//! What goes wrong at the start is said in one line that names it, with an exit code of its own; what goes wrong
//! in a session without end does not fill the log; and however the agent ends, nothing of it stays in the kernel.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{self, Agent, Configuration},
    capability,
    cgroup::{self, Tree},
    process, wait,
};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::Value;
use sessionscope::telemetry::Event;

/// An agent that cannot start says so at once.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs a command that must fail, and returns its exit code and what it says.
fn fails(command: &mut Command) -> (i32, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent can be started");
    let ended = process::wait(&mut child, LIMIT);
    if ended.is_none() {
        process::end(&mut child, LIMIT);
    }
    let output = child.wait_with_output().expect("it has ended");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let status = ended.unwrap_or_else(|| panic!("it did not end: {said}"));
    (
        status.code().unwrap_or_else(|| panic!("{status}: {said}")),
        said,
    )
}

/// Asserts that a command fails with a code and one line that has all of `named` in it.
fn assert_refused(command: &mut Command, code: i32, named: &[&str]) {
    let (actual, said) = fails(command);
    assert_eq!(
        said.lines().count(),
        1,
        "more or less than one line: {said}"
    );
    assert!(said.starts_with("sessionscope: "), "{said}");
    for name in named {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
    assert_eq!(actual, code, "{said}");
}

fn run() -> Command {
    let mut command = agent::command(&agent::binary());
    command.args(["run", "--listen", "127.0.0.1:0"]);
    command
}

/// The agent with a configuration file of this text.
fn assert_file_refused(text: &str, code: i32, named: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(&file, text).unwrap();
    assert_refused(run().arg("--config").arg(&file), code, named);
}

const CONFIGURATION: i32 = 3;
/// More than may have lines of their own.
const CRASHES: usize = 300;

#[test]
fn an_unknown_key_is_refused_by_file_line_and_name() {
    let text = "[sessions]\nmax_sessions = 5\nlingr = \"5m\"\n";
    assert_file_refused(
        text,
        CONFIGURATION,
        &["wrong.toml:3", "\"lingr\" in [sessions]", "\"linger\"?"],
    );
}

#[test]
fn a_wrong_type_is_refused_by_file_line_and_key() {
    let text = "[sessions]\nmax_sessions = \"many\"\n";
    let named = [
        "wrong.toml:2",
        "sessions.max_sessions",
        "an integer",
        "a string",
    ];
    assert_file_refused(text, CONFIGURATION, &named);
}

#[test]
fn a_rule_that_does_not_compile_is_refused_by_file_line_and_rule() {
    let text = "[[rules]]\nname = \"desks\"\npattern = \"^/desks/(?<session>[^/]+\"\n";
    let named = [
        "wrong.toml:",
        "rules[0]",
        "\"desks\"",
        "pattern",
        "unclosed group",
    ];
    assert_file_refused(text, CONFIGURATION, &named);
}

#[test]
fn a_duration_without_a_unit_is_refused_by_file_line_and_key() {
    for value in ["300", "\"300\""] {
        let text = format!("[sessions]\nlinger = {value}\n");
        let named = ["wrong.toml:2", "sessions.linger", "unit", "\"5m\""];
        assert_file_refused(&text, CONFIGURATION, &named);
    }
}

#[test]
fn a_file_that_is_no_toml_or_is_not_there_is_refused_by_name() {
    assert_file_refused("listen = \n", CONFIGURATION, &["wrong.toml:1"]);
    let missing = "/nonexistent/sessionscope.toml";
    assert_refused(run().args(["--config", missing]), CONFIGURATION, &[missing]);
}

#[test]
fn a_configuration_that_is_not_a_regular_file_is_refused_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.toml");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    for (path, what) in [
        (pipe.as_path(), "it is a pipe"),
        (folder.path(), "it is a folder"),
        (Path::new("/dev/null"), "it is a device"),
    ] {
        let name = path.to_string_lossy();
        let named = [&*name, what, "--config"];
        assert_refused(run().arg("--config").arg(path), CONFIGURATION, &named);
    }
    let long = "# x\n".repeat(300_000);
    assert_file_refused(&long, CONFIGURATION, &["wrong.toml", "longer than 1 MiB"]);
    // What the configuration names is read at the start as well.
    let text = format!(
        "[sessions]\nuser = \"hashed\"\nuser_key = \"{}\"\n",
        pipe.display()
    );
    if capability::kernel() {
        assert_file_refused(
            &text,
            1,
            &["pipe.toml", "sessions.user_key", "it is a pipe"],
        );
    }
}

#[test]
fn a_configuration_that_became_a_pipe_does_not_hold_up_a_running_agent() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let file = agent.configuration_file();
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    agent.signal(Signal::SIGHUP);
    let record = wait::until("the reload is refused", LIMIT, || {
        agent.logged(Event::ConfigurationRefused).pop()
    });
    let error = record["error"].as_str().unwrap_or_default();
    assert!(error.contains("it is a pipe"), "{error}");
    let _session = tree.child("desk");
    agent.wait_for(&["desk"]);
}

#[test]
fn an_unknown_environment_variable_is_refused_by_name() {
    let name = "SESSIONSCOPE_SESSIONS_LINGR";
    assert_refused(
        run().env(name, "5m"),
        CONFIGURATION,
        &[name, "SESSIONSCOPE_SESSIONS_LINGER"],
    );
}

#[test]
fn a_bad_flag_value_is_refused_by_flag() {
    let named = ["--linger", "unit"];
    assert_refused(run().args(["--linger", "5"]), CONFIGURATION, &named);
}

#[test]
fn without_privilege_it_says_which_capabilities_are_missing() {
    if !capability::kernel() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("sessionscope");
    fs::copy(agent::binary(), &copy).unwrap();
    for path in [folder.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = agent::command(&copy);
    command
        .args(["run", "--listen", "127.0.0.1:0"])
        .uid(65534)
        .gid(65534)
        .current_dir("/");
    assert_refused(
        &mut command,
        4,
        &["not privileged", "CAP_BPF", "CAP_PERFMON", "run as root"],
    );
}

#[test]
fn a_kernel_without_btf_is_named_by_the_path_that_is_missing() {
    if !capability::kernel() {
        return;
    }
    let path = "/nonexistent/vmlinux";
    assert_file_refused(&format!("kernel.btf = \"{path}\"\n"), 5, &["BTF", path]);
}

#[test]
fn a_file_that_is_no_btf_is_named() {
    if !capability::kernel() {
        return;
    }
    assert_file_refused(
        "kernel.btf = \"/proc/version\"\n",
        5,
        &["BTF", "/proc/version"],
    );
}

#[test]
fn a_cgroup_root_that_is_none_is_named() {
    if !capability::kernel() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    assert_file_refused(
        &format!("kernel.cgroup_root = \"{path}\"\n"),
        6,
        &["cgroup v2", &path],
    );
}

#[test]
fn a_node_without_cgroup_v2_is_refused() {
    if !capability::kernel() {
        return;
    }
    // In a mount namespace of its own, so that the machine keeps its hierarchy.
    let mut command = agent::command("unshare".as_ref());
    let script = "umount --lazy \"$1\" && shift && exec \"$@\"";
    let mount = cgroup::v2_mount().unwrap();
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(mount)
        .arg(agent::binary());
    command.args(["run", "--listen", "127.0.0.1:0"]);
    assert_refused(&mut command, 6, &["no cgroup v2 hierarchy", "mount"]);
}

#[test]
fn a_port_in_use_is_named() {
    if !capability::kernel() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = agent::command(&agent::binary());
    command.args(["run", "--listen", &address]);
    assert_refused(&mut command, 7, &[&address, "in use"]);
}

#[test]
fn check_ends_with_the_code_that_run_would_end_with() {
    if !capability::kernel() {
        return;
    }
    let check = |arguments: &[&str]| {
        let mut command = agent::command(&agent::binary());
        command
            .arg("check")
            .args(arguments)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(check(&[]), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(&file, "kernel.btf = \"/nonexistent/vmlinux\"\n").unwrap();
    assert_eq!(check(&["--config", file.to_str().unwrap()]), Some(5));
}

#[test]
fn a_crash_loop_has_few_lines_in_the_log_and_none_of_its_processes_is_lost() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let desk = tree.child("desk");
    agent.wait_for(&["desk"]);
    let script = format!(
        "read nothing; i=0; while [ $i -lt {CRASHES} ]; do sh -c 'kill -KILL $$'; i=$((i+1)); done"
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        // Which names each process that was killed.
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts");
    desk.take(shell.id());
    drop(shell.stdin.take());
    process::wait(&mut shell, Duration::from_mins(1)).expect("the loop ends");
    let alone = || agent.logged(Event::ProcessKilled).len();
    let left_out = || agent.logged(Event::ProcessesKilled);
    let counted = |records: &[Value]| -> u64 {
        let processes = records.iter().map(|record| record["processes"].as_u64());
        processes.map(Option::unwrap_or_default).sum()
    };
    let records = wait::until("all are told", Duration::from_secs(30), || {
        let records = left_out();
        (alone() as u64 + counted(&records) >= CRASHES as u64).then_some(records)
    });
    assert_eq!(alone() as u64 + counted(&records), CRASHES as u64);
    assert_eq!(alone(), 5);
    assert!(records.len() <= 3, "{records:?}");
    for record in &records {
        assert_eq!(record["session"], "desk");
    }
}

/// Ids of the programs, maps and links that a process holds, by the kind of id.
fn held(pid: u32) -> BTreeSet<(String, u32)> {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the agent runs");
    let mut held = BTreeSet::new();
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((kind, id)) = line.split_once(':') else {
                continue;
            };
            if ["prog_id", "map_id", "link_id"].contains(&kind) {
                held.insert((kind.to_owned(), id.trim().parse().expect("a number")));
            }
        }
    }
    held
}

/// The same ids, of everything in the kernel.
fn in_kernel() -> BTreeSet<(String, u32)> {
    let programs = aya::programs::loaded_programs()
        .flatten()
        .map(|info| ("prog_id", info.id()));
    let maps = aya::maps::loaded_maps()
        .flatten()
        .map(|info| ("map_id", info.id()));
    let links = aya::programs::loaded_links()
        .flatten()
        .map(|info| ("link_id", info.id()));
    let all = programs.chain(maps).chain(links);
    all.map(|(kind, id)| (kind.to_owned(), id)).collect()
}

fn assert_nothing_stays(held: &BTreeSet<(String, u32)>) {
    for kind in ["prog_id", "map_id", "link_id"] {
        assert!(
            held.iter().any(|(held, _)| held == kind),
            "the agent holds no {kind}: {held:?}"
        );
    }
    wait::until("the kernel lets go of everything", LIMIT, || {
        in_kernel().is_disjoint(held).then_some(())
    });
    // What is pinned is in a directory of the BPF file system, if there is one at all.
    for entry in fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.contains("sessionscope"), "{name} is pinned");
    }
}

#[test]
fn sigterm_ends_it_with_code_0_within_two_seconds_and_nothing_stays() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut agent = Agent::start(&Configuration::of(&tree));
    let held = held(agent.pid());
    let began = Instant::now();
    agent.signal(Signal::SIGTERM);
    let status = agent
        .ended(Duration::from_secs(2))
        .expect("it ends within two seconds");
    eprintln!("ended after {:?}", began.elapsed());
    assert_eq!(status.code(), Some(0));
    assert_nothing_stays(&held);
}

#[test]
fn after_kill_9_nothing_stays_and_a_new_start_works() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let configuration = Configuration::of(&tree);
    let mut agent = Agent::start(&configuration);
    let held = held(agent.pid());
    agent.signal(Signal::SIGKILL);
    assert!(
        agent
            .ended(LIMIT)
            .is_some_and(|status| status.code().is_none())
    );
    assert_nothing_stays(&held);
    drop(agent);
    Agent::start(&configuration).wait_for(&["desk"]);
}

#[test]
fn two_agents_on_one_node_do_not_disturb_each_other() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let first = Agent::start(&Configuration::of(&tree));
    let second = Agent::start(&Configuration::of(&tree));
    second.wait_for(&["desk"]);
    drop(second);
    first.wait_for(&["desk"]);
    assert_eq!(first.get("/readyz", &[]).status, 200);
}
