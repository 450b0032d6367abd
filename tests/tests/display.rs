//! Input delay and response with real display servers: Xvnc with an xterm and a viewer, and weston with a client, in sessions.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::Tree,
    displays::{Inhabitant, Xvnc, viewer, weston},
    exposition::Exposition,
    process,
    rdp::{self, Toward, Wire, Xrdp},
    wait,
};
use nix::sys::signal::Signal;

const DELAY: &str = "vdi_session_input_delay_seconds";
const RESPONSE: &str = "vdi_session_response_seconds";

fn observed(metrics: &Exposition, family: &str, labels: &[(&str, &str)]) -> (u64, f64) {
    let part = |suffix: &str| metrics.find(&format!("{family}_{suffix}"), labels);
    let count = part("count").unwrap_or_default();
    (count as u64, part("sum").unwrap_or_default())
}

fn at_applications(metrics: &Exposition) -> (u64, f64) {
    observed(
        metrics,
        DELAY,
        &[("session", "desk"), ("stage", "application")],
    )
}

#[test]
fn keys_are_answered_as_fast_as_the_viewer_sees_and_a_stopped_application_takes_them_late() {
    if !capability::displays() {
        return;
    }
    process::favour(std::process::id());
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let session = tree.child("desk");
    agent.wait_for(&["desk"]);
    let xvnc = Xvnc::start(&session);
    let xterm = xvnc.xterm(&session, "30x5+0+0");
    let mut viewer = viewer(&xvnc);
    let client = [("session", "desk")];
    let responses = |metrics: &Exposition| observed(metrics, RESPONSE, &client);
    for turn in 0..20 {
        viewer.settle();
        let before = responses(&agent.fresh_metrics());
        let truth = viewer.types('b').as_secs_f64();
        let after = responses(&agent.fresh_metrics());
        let said = after.1 - before.1;
        eprintln!("{turn}: the viewer {truth} s, the agent {said} s");
        assert_eq!(after.0 - before.0, 1, "one input");
        assert!(said <= truth && truth - said <= 0.001, "{said} for {truth}");
    }
    let (all, whole) = at_applications(&agent.fresh_metrics());
    let (mut late, mut waited) = (0, 0.0);
    for turn in 0..10 {
        viewer.settle();
        let before = at_applications(&agent.fresh_metrics());
        let time = Duration::from_millis(100 + 20 * turn);
        let truth = xterm.stopped(time, || {
            let _when = viewer.presses('c');
        });
        viewer.sees();
        viewer.settle();
        let after = at_applications(&agent.fresh_metrics());
        let (count, said) = (after.0 - before.0, after.1 - before.1);
        eprintln!(
            "{turn}: stopped for {} s, {count} waits of {said} s",
            truth.as_secs_f64()
        );
        assert!(
            (said - truth.as_secs_f64()).abs() <= 0.006,
            "{said} for {truth:?}"
        );
        (late, waited) = (late + count, waited + said);
    }
    // All others, and what came with those that were late, waited for less than a millisecond each.
    let after = at_applications(&agent.fresh_metrics());
    let (others, other_time) = (after.0 - all - late, after.1 - whole - waited);
    let mean = (whole + other_time) / (all + others).max(1) as f64;
    eprintln!("{} others waited {mean} s on average", all + others);
    assert!(mean < 0.001, "{mean}");
    assert_eq!(
        agent
            .fresh_metrics()
            .count("vdi_session_unanswered_inputs_total", &client),
        0
    );
}

#[test]
fn a_client_of_a_wayland_compositor_that_is_stopped_reads_late() {
    if !capability::displays() {
        return;
    }
    process::favour(std::process::id());
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let session = tree.child("desk");
    agent.wait_for(&["desk"]);
    let (_weston, folder) = weston(&session);
    let mut command = Command::new("weston-simple-shm");
    command
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("WAYLAND_DISPLAY", "wayland-7");
    let client = Inhabitant::start(&session, &mut command);
    // It draws, and is told of each frame.
    wait::until("frames come", SHOW_LIMIT, || {
        (at_applications(&agent.fresh_metrics()).0 > 60).then_some(())
    });
    let mut late = 0;
    for turn in 0..10 {
        let before = at_applications(&agent.fresh_metrics());
        let time = Duration::from_millis(200 + 20 * turn);
        client.signal(Signal::SIGSTOP);
        let began = Instant::now();
        thread::sleep(time);
        client.signal(Signal::SIGCONT);
        let truth = began.elapsed().as_secs_f64();
        let after = at_applications(&agent.fresh_metrics());
        let (count, said) = (after.0 - before.0, after.1 - before.1);
        eprintln!("{turn}: stopped for {truth} s, {count} waits of {said} s");
        // One that is stopped while it draws is told of nothing.
        if said < 0.1 {
            continue;
        }
        late += 1;
        // The frame that it has drawn is told two sixtieths of a second after the stop at the latest. Each other wait is short.
        let others = 0.001 * count as f64;
        assert!(
            said >= truth - 0.034 && said <= truth + 0.006 + others,
            "{said} for {truth}"
        );
    }
    assert!(late >= 8, "{late} of ten");
}

/// xrdp in a session of its own, as its service is one, before the Xvnc of another; the user's client is in none.
#[test]
fn keys_by_rdp_are_answered_as_fast_as_the_wire_sees() {
    if !capability::rdp() {
        return;
    }
    process::favour(std::process::id());
    let (tree, elsewhere) = (Tree::new(), Tree::new());
    let agent = Agent::start(&Configuration::of(&tree));
    let (gate, desk) = (tree.child("gate"), tree.child("desk"));
    let users = elsewhere.child("user");
    agent.wait_for(&["gate", "desk"]);
    let screen = Xvnc::start(&desk);
    let _xterm = screen.xterm(&desk, "80x24+0+0");
    let xrdp = Xrdp::start(&gate, &screen);
    let wire = Wire::to(xrdp.address);
    let (own, home) = (Xvnc::start(&users), tempfile::tempdir().expect("a folder"));
    let _client = rdp::client(&users, &own.display, wire.address, &home);
    let mut viewer = viewer(&own);
    let responses = |metrics: &Exposition| observed(metrics, RESPONSE, &[("session", "gate")]);
    for turn in 0..20 {
        viewer.settle();
        wire.rests(Duration::from_millis(300));
        let before = responses(&agent.fresh_metrics());
        let passed = wire.passes().len();
        let whole = viewer.types('b').as_secs_f64();
        viewer.settle();
        wire.rests(Duration::from_millis(300));
        let after = responses(&agent.fresh_metrics());
        let passes = wire.passes().split_off(passed);
        let first = |toward| passes.iter().find(|(_, way)| *way == toward);
        let (asked, _) = first(Toward::Server).expect("the key is sent");
        let (answered, _) = first(Toward::Client).expect("it is answered");
        let truth = answered.duration_since(*asked).as_secs_f64();
        let said = after.1 - before.1;
        eprintln!("{turn}: the viewer {whole} s, the wire {truth} s, the agent {said} s");
        assert_eq!(after.0 - before.0, 1, "one input");
        assert!(said <= truth && truth - said <= 0.001, "{said} for {truth}");
    }
    let unanswered = [("session", "gate")];
    let metrics = agent.fresh_metrics();
    assert_eq!(
        metrics.count("vdi_session_unanswered_inputs_total", &unanswered),
        0
    );
}
