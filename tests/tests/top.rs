//! `sessionscope top` on a real terminal: what it shows, what keys do, and that the terminal is as it was afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{self, Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    tmux::Tmux,
    wait::{self, patient},
    workload::{Workload, two_cpus},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

struct Stage {
    terminal: Tmux,
    agent: Agent,
    _work: Workload,
    _sessions: [Cgroup; 3],
    _tree: Tree,
}

/// `top` with three sessions, of which `busy` has a CPU all the time.
fn stage(columns: u16, rows: u16) -> Option<Stage> {
    if !capability::kernel() || !capability::tmux() {
        return None;
    }
    let tree = Tree::new();
    let sessions = ["quiet", "busy", "desk-of-somebody"].map(|name| tree.child(name));
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["quiet", "busy", "desk-of-somebody"]);
    let [cpu, _] = two_cpus();
    let arguments = ["burn", "--cpu", &cpu, "--seconds", "80"];
    let mut work = Workload::start(env!("CARGO_BIN_EXE_workload"), &sessions[1], &arguments);
    work.go();
    // The shell stays, so that what is left of the terminal can be looked at.
    let words = format!(
        "{} top --sort cpu --address {}; echo left with $?; stty -a | grep -o -- '-\\?echo '; sleep 100",
        agent::binary().display(),
        agent.address()
    );
    let terminal = Tmux::start(columns, rows, &words);
    Some(Stage {
        terminal,
        agent,
        _work: work,
        _sessions: sessions,
        _tree: tree,
    })
}

fn line_with(screen: &[String], name: &str) -> Option<usize> {
    screen.iter().position(|line| line.starts_with(name))
}

/// The screen as it was before: the shell's words go on, and what is typed is seen again.
fn last_is_of_keys(screen: &[String]) -> bool {
    screen
        .last()
        .is_some_and(|line| line.starts_with("Enter page"))
}

fn is_left(terminal: &Tmux, status: &str) {
    let said = format!("left with {status}");
    let screen = terminal.until("the shell goes on", |screen| {
        line_with(screen, &said).is_some() && screen.iter().any(|line| line.trim() == "echo")
    });
    assert!(!terminal.is_alternate(), "{screen:?}");
    assert!(terminal.has_cursor(), "{screen:?}");
    assert!(line_with(&screen, "SESSION").is_none(), "{screen:?}");
}

#[test]
fn sessions_are_sorted_searched_entered_and_left() {
    let Some(Stage {
        terminal, agent, ..
    }) = &stage(100, 30)
    else {
        return;
    };
    let screen = terminal.until("the busy one is first", |screen| {
        line_with(screen, "busy") == Some(2)
    });
    assert!(
        screen[1].starts_with("SESSION") && screen[1].contains("CPU▼"),
        "{screen:?}"
    );
    assert!(screen[0].starts_with("3 sessions, "), "{screen:?}");
    assert!(terminal.is_alternate());
    terminal.press(&["r"]);
    terminal.until("it is last", |screen| line_with(screen, "busy") == Some(4));
    terminal.press(&["/"]);
    terminal.press(&["-l", "SOMEBODY"]);
    let found = |screen: &[String]| screen[0].starts_with("1 of 3 sessions");
    terminal.until("one is found", found);
    terminal.press(&["Escape"]);
    terminal.until("all are there", |screen| {
        screen[0].starts_with("3 sessions")
    });
    terminal.press(&["r", "Home", "Enter"]);
    let page = terminal.until("its page", |screen| {
        line_with(screen, "SESSION busy").is_some()
    });
    assert!(
        page.iter().any(|line| line.starts_with("Held back by")),
        "{page:?}"
    );
    // Two steps of five seconds are a line.
    let is_braille = |letter: char| ('\u{2801}'..='\u{28ff}').contains(&letter);
    thread::sleep(Duration::from_secs(8));
    terminal.until("a plot", |screen| {
        screen.iter().any(|line| line.chars().any(is_braille))
    });
    terminal.press(&["End"]);
    terminal.until("the end of the text", |screen| {
        screen
            .iter()
            .any(|line| line.contains("histogram_quantile"))
    });
    terminal.press(&["Escape"]);
    terminal.until("the list", |screen| line_with(screen, "quiet").is_some());
    // An agent that is gone is said, and what was there stays.
    agent.signal(Signal::SIGSTOP);
    let away = |screen: &[String]| {
        line_with(screen, "busy").is_some()
            && screen.last().is_some_and(|line| line.contains("agent"))
    };
    terminal.until("it is away", away);
    agent.signal(Signal::SIGCONT);
    terminal.until("it is back", |screen| {
        screen.last().is_some_and(|line| line.contains("q leave"))
    });
    terminal.press(&["q"]);
    is_left(terminal, "0");
}

#[test]
fn it_fits_terminals_that_change_and_shows_no_half_of_a_screen() {
    let Some(Stage { terminal, .. }) = &stage(200, 50) else {
        return;
    };
    for (columns, rows) in [(80, 24), (40, 12), (120, 30)] {
        terminal.resize(columns, rows);
        let screen = terminal.until("it is drawn anew", |screen| {
            screen.len() == usize::from(rows)
                && line_with(screen, "busy") == Some(2)
                && screen[1].contains("CPU▼")
                && last_is_of_keys(screen)
        });
        assert!(
            screen
                .iter()
                .all(|line| line.chars().count() <= usize::from(columns))
        );
    }
    // Whenever it is looked at, it is whole: nothing is cleared before it is drawn.
    for _ in 0..150 {
        let screen = terminal.screen();
        assert!(line_with(&screen, "busy").is_some(), "{screen:?}");
        assert!(screen[1].starts_with("SESSION"), "{screen:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A look from outside sees a cleared screen once in some hundred times, so what is written is read.
#[test]
fn a_frame_is_written_as_one_update_also_where_the_screen_is_cleared() {
    let Some(Stage { terminal, .. }) = &stage(100, 30) else {
        return;
    };
    terminal.until("the list", |screen| line_with(screen, "busy").is_some());
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("written");
    terminal.record(&written);
    terminal.resize(120, 30);
    let clear = "\u{1b}[2J";
    let bytes = wait::until("it is drawn anew", patient(Duration::from_secs(10)), || {
        let bytes = fs::read(&written).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (_, after) = text.split_once(clear)?;
        after.contains("\u{1b}[?2026l").then_some(text)
    });
    for (at, _) in bytes.match_indices(clear) {
        let begin = bytes[..at]
            .rfind("\u{1b}[?2026")
            .map(|begin| &bytes[begin..at]);
        assert!(
            begin.is_some_and(|begin| begin.starts_with("\u{1b}[?2026h")),
            "cleared outside an update: {bytes:?}"
        );
        let (update, _) = bytes[at..].split_once("\u{1b}[?2026l").expect("an end");
        assert!(update.contains("SESSION"), "{update:?}");
    }
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let Some(Stage { terminal, .. }) = &stage(100, 30) else {
        return;
    };
    terminal.until("the list", |screen| line_with(screen, "busy").is_some());
    let shell = terminal.pid();
    let children = format!("/proc/{shell}/task/{shell}/children");
    let children = fs::read_to_string(children).expect("the kernel tells them");
    let top = children.trim().parse().expect("one child of the shell");
    kill(Pid::from_raw(top), Signal::SIGTERM).expect("it is ours");
    is_left(terminal, "0");
}

/// As when a window is closed, or a connection breaks.
#[test]
fn it_ends_with_its_terminal() {
    let Some(stage) = stage(80, 24) else {
        return;
    };
    // The agent stays until the end.
    let Stage {
        terminal,
        agent: _agent,
        ..
    } = stage;
    terminal.until("the list", |screen| line_with(screen, "busy").is_some());
    let shell = terminal.pid();
    let children = format!("/proc/{shell}/task/{shell}/children");
    let children = fs::read_to_string(children).expect("the kernel tells them");
    let top: u32 = children.trim().parse().expect("one child of the shell");
    drop(terminal);
    let process = PathBuf::from(format!("/proc/{top}"));
    wait::until("it has ended", patient(Duration::from_secs(5)), || {
        (!process.exists()).then_some(())
    });
}

#[test]
fn alone_it_measures_by_itself_and_says_what_it_lacks() {
    if !capability::kernel() || !capability::tmux() {
        return;
    }
    let tree = Tree::new();
    let _sessions = ["desk", "lab"].map(|name| tree.child(name));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sessionscope.toml");
    fs::write(&file, Configuration::of(&tree).text()).expect("a file can be written");
    let top = format!(
        "{} top --standalone --sort session --config {}",
        agent::binary().display(),
        file.display()
    );
    let began = Instant::now();
    let terminal = Tmux::start(
        80,
        24,
        &format!("{top}; echo left with $?; stty -a; sleep 100"),
    );
    terminal.until("both are there", |screen| {
        line_with(screen, "desk").is_some() && line_with(screen, "lab").is_some()
    });
    let took = began.elapsed();
    eprintln!("both sessions after {took:?}");
    assert!(took < patient(Duration::from_secs(5)), "{took:?}");
    terminal.press(&["q"]);
    terminal.until("it is left", |screen| {
        line_with(screen, "left with 0").is_some()
    });
    // Nobody's program may read another user's folder of tests.
    let program = Path::new("/tmp").join(format!("sessionscope-top-{}", process::id()));
    fs::copy(agent::binary(), &program).expect("a program can be copied");
    let refused = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["top", "--standalone", "--once"])
        .output();
    fs::remove_file(&program).expect("it is ours");
    let refused = refused.expect("setpriv is a part of Debian");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("CAP_BPF"), "{said}");
}

#[test]
fn without_a_terminal_or_an_agent_it_says_so_and_once_is_a_table() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let _desk = tree.child("desk");
    agent.wait_for(&["desk"]);
    let address = agent.address().to_string();
    let top = |more: &[&str]| {
        let mut command = Command::new(agent::binary());
        command.args(["top", "--address", &address]).args(more);
        command.output().expect("it starts")
    };
    let refused = top(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("top needs a terminal: give --once"), "{said}");
    let once = String::from_utf8_lossy(&top(&["--once"]).stdout).into_owned();
    assert!(
        once.starts_with("SESSION") && once.contains("\ndesk "),
        "{once}"
    );
    let answer: serde_json::Value = serde_json::from_slice(&top(&["--json"]).stdout).expect("JSON");
    assert_eq!(answer["sessions"][0]["session"], "desk");
    drop(agent);
    let away = top(&["--once"]);
    assert_eq!(away.status.code(), Some(10), "{away:?}");
}
