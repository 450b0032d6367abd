//! Applications of a real display that do not respond: which they are, and why.

use std::{process::Command, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    displays::{Inhabitant, Xvnc, viewer},
    wait::{self, patient},
};
use nix::sys::signal::Signal;

#[test]
fn a_stopped_and_a_busy_application_are_told_apart_beside_ten_healthy_ones() {
    if !capability::displays() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let session = tree.child("desk");
    agent.wait_for(&["desk"]);
    let xvnc = Xvnc::start(&session);
    let xterm = xvnc.xterm(&session, "30x5+0+0");
    let mut viewer = viewer(&xvnc);
    let _healthy: Vec<_> = (0..10)
        .map(|_| xvnc.xterm(&session, "30x5+300+200"))
        .collect();
    // It introduces itself, and never reads what the server says to that.
    let busy = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/tmp/.X11-unix/X{}')\n\
         s.send(b'l\\0\\x0b\\0\\0\\0\\0\\0\\0\\0\\0\\0')\nwhile True: pass",
        &xvnc.display[1..]
    );
    let busy = Inhabitant::start(&session, Command::new("python3").args(["-c", &busy]));
    viewer.settle();
    xterm.signal(Signal::SIGSTOP);
    let _when = viewer.presses('d');
    let labels = [("session", "desk")];
    wait::until("both are found", patient(Duration::from_secs(20)), || {
        let metrics = agent.fresh_metrics();
        let found = metrics.find("vdi_session_unresponsive_applications", &labels);
        assert!(found.is_none_or(|count| count <= 2.0), "{found:?}");
        (found == Some(2.0)).then_some(())
    });
    let report = agent.session("desk").expect("it is there");
    let found = report["input"]["unresponsive"]
        .as_array()
        .expect("a list")
        .clone();
    let state = |of: &Inhabitant| {
        let one = found.iter().find(|one| one["pid"] == of.pid());
        one.unwrap_or_else(|| panic!("{} in {found:?}", of.pid()))["state"].clone()
    };
    assert_eq!(state(&xterm), "stopped");
    assert_eq!(state(&busy), "runnable");
    drop(busy);
    xterm.signal(Signal::SIGCONT);
    wait::until(
        "both are forgotten",
        patient(Duration::from_secs(20)),
        || {
            let found = agent
                .fresh_metrics()
                .find("vdi_session_unresponsive_applications", &labels);
            (found == Some(0.0)).then_some(())
        },
    );
}
