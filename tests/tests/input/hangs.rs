//! Applications that do not read: found, named, counted for as long as they hang, and forgotten.

use super::*;

#[test]
fn an_application_that_does_not_read_is_found_named_and_forgotten_when_it_does() {
    let Some((_tree, agent, [desk])) = stage(["desk"]) else {
        return;
    };
    let display = Display::at(".X11-unix/X1");
    let mut hangs = display.connect(&desk);
    let mut healthy: Vec<_> = (0..10).map(|_| display.connect(&desk)).collect();
    for ends in &mut healthy {
        reads_after(ends, Duration::ZERO);
    }
    let labels = [("session", "desk")];
    hangs[1].write_all(b"key").expect("there is room");
    let began = Instant::now();
    let metrics = wait::until("it is found", patient(Duration::from_secs(20)), || {
        for ends in &mut healthy {
            reads_after(ends, Duration::ZERO);
        }
        let metrics = agent.fresh_metrics();
        (metrics.find(UNRESPONSIVE, &labels) == Some(1.0)).then_some(metrics)
    });
    let hung = began.elapsed().as_secs_f64();
    let said = metrics.value("vdi_session_unresponsive_seconds_total", &labels);
    eprintln!("hangs for {hung} s, said {said} s");
    assert!(said >= 5.0 && said <= hung, "{said} of {hung}");
    let session = agent.session("desk").expect("it is there");
    let applications = session["input"]["unresponsive"].as_array().expect("a list");
    assert_eq!(applications.len(), 1, "{applications:?}");
    // The test has made the connection.
    assert_eq!(applications[0]["pid"], std::process::id());
    // Which is in no session any more, so what it does is not the session's to tell.
    for field in ["command", "state", "waits_in"] {
        assert!(
            applications[0][field].is_null(),
            "{field}: {applications:?}"
        );
    }
    let lines = agent.logged(Event::ApplicationUnresponsive);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["pid"], std::process::id());
    first_is(&agent, "desk", "application_hangs");
    hangs[0].read_exact(&mut [0; 3]).expect("it was written");
    let hung = began.elapsed().as_secs_f64();
    wait::until("it is forgotten", patient(Duration::from_secs(20)), || {
        (agent.fresh_metrics().find(UNRESPONSIVE, &labels) == Some(0.0)).then_some(())
    });
    let seconds = |agent: &Agent| {
        let metrics = agent.fresh_metrics();
        metrics.value("vdi_session_unresponsive_seconds_total", &labels)
    };
    let said = seconds(&agent);
    assert!((said - hung).abs() <= moment(), "{said} for {hung}");
    // Two at once, for less than the time between two looks and a wait: at most one look is at them.
    let mut truth = hung;
    for _ in 0..2 {
        for ends in healthy.iter_mut().take(2) {
            ends[1].write_all(b"key").expect("there is room");
        }
        let began = Instant::now();
        thread::sleep(Duration::from_millis(6_500));
        // Both connections are this process's, which does not respond once.
        truth += began.elapsed().as_secs_f64();
        for ends in healthy.iter_mut().take(2) {
            ends[0].read_exact(&mut [0; 3]).expect("it was written");
        }
    }
    let said = wait::until(
        "the rest is counted",
        patient(Duration::from_secs(20)),
        || {
            let said = seconds(&agent);
            (said >= truth - moment()).then_some(said)
        },
    );
    eprintln!("three times {truth} s, said {said} s");
    assert!((said - truth).abs() <= moment(), "{said} for {truth}");
    // One that is killed while it hangs.
    healthy[3][1].write_all(b"key").expect("there is room");
    wait::until("it is found", patient(Duration::from_secs(20)), || {
        (agent.fresh_metrics().find(UNRESPONSIVE, &labels) == Some(1.0)).then_some(())
    });
    healthy.clear();
    drop(hangs);
    let after = seconds(&agent);
    thread::sleep(Duration::from_secs(6));
    assert!(after >= truth + 5.0 - moment() && seconds(&agent) >= after);
}

/// What had waited before there was an agent is counted from then on.
#[test]
fn an_application_that_hangs_already_is_found() {
    if !capability::kernel() {
        return;
    }
    process::favour(std::process::id());
    let tree = Tree::new();
    let desk = tree.child("desk");
    let display = Display::at(".X11-unix/X4");
    let mut hangs = display.connect(&desk);
    hangs[1].write_all(b"key").expect("there is room");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    if !is_measured(&agent) {
        return;
    }
    let labels = [("session", "desk")];
    wait::until("it is found", patient(Duration::from_secs(20)), || {
        (agent.fresh_metrics().find(UNRESPONSIVE, &labels) == Some(1.0)).then_some(())
    });
    hangs[0].read_exact(&mut [0; 3]).expect("it was written");
    wait::until("it is forgotten", patient(Duration::from_secs(20)), || {
        (agent.fresh_metrics().find(UNRESPONSIVE, &labels) == Some(0.0)).then_some(())
    });
}
