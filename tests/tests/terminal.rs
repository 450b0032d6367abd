//! What the command prints on a terminal and nowhere else.

use std::process::{Command, Stdio};

use integration_tests::{
    agent::{self, Agent, Configuration},
    capability,
    cgroup::Tree,
};

/// What a shell's words print on a terminal so many columns wide, without what makes colours.
fn on_terminal(columns: usize, words: &str) -> String {
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty rows 24 cols {columns}; {words}"))
        .arg("/dev/null")
        .stdin(Stdio::null());
    let output = command.output().expect("script is a part of Debian");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    eprintln!("$ {words}\n{text}");
    let mut plain = String::new();
    let mut rest = text.as_str();
    // Each begins so, and ends with a letter.
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = sequence.find(|one: char| one.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain + rest
}

#[test]
fn alone_it_says_what_there_is() {
    let binary = agent::binary();
    let text = on_terminal(80, &binary.display().to_string());
    assert!(text.contains("Usage: sessionscope"), "{text}");
}

#[test]
fn the_table_fits_and_has_the_column_by_which_it_is_ordered() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let long = "desktop-of-somebody-whose-name-is-longer-than-most";
    let _sessions = [tree.child("desk"), tree.child(long)];
    agent.wait_for(&["desk", long]);
    let command = format!(
        "{} sessions --address {}",
        agent::binary().display(),
        agent.address()
    );
    for (columns, sort, heading) in [
        (80, "wait-p99", "WAIT P99"),
        (80, "rule", "RULE"),
        (40, "memory", "MEMORY"),
        (200, "name", "ENC FPS"),
    ] {
        let text = on_terminal(columns, &format!("{command} --sort {sort}"));
        let lines: Vec<&str> = text.lines().collect();
        let widest = lines.iter().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns), "{columns}: {text}");
        assert!(
            lines[0].starts_with("SESSION") && lines[0].contains(heading),
            "{text}"
        );
        assert_eq!(lines.len(), 3, "{text}");
    }
}
