//! Applications of a real display that do not respond: which they are, and why.

use std::{process::Command, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    displays::{Inhabitant, Xvnc, viewer},
    swap::Swap,
    wait::{self, patient},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What an application that is short of memory has, and what it needs: zeros are not swapped, so it writes others.
const RESIDENT: u64 = 24 << 20;
const NEEDED: u64 = 96 << 20;

/// An application that introduces itself, and never reads what the display says to that, because it does something else.
fn deaf(xvnc: &Xvnc, session: &Cgroup, instead: &str) -> Inhabitant {
    let script = format!(
        "import mmap, os, socket\n\
         s = socket.socket(socket.AF_UNIX)\ns.connect('/tmp/.X11-unix/X{}')\n\
         s.send(b'l\\0\\x0b\\0\\0\\0\\0\\0\\0\\0\\0\\0')\n{instead}\n",
        &xvnc.display[1..]
    );
    Inhabitant::start(session, Command::new("python3").args(["-c", &script]))
}

#[test]
fn whether_an_application_hangs_starves_or_pages_is_told_beside_ten_healthy_ones() {
    if !capability::displays() {
        return;
    }
    let swap = Swap::of(2 * NEEDED);
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let session = tree.child("desk/applications");
    agent.wait_for(&["desk"]);
    let xvnc = Xvnc::start(&session);
    let xterm = xvnc.xterm(&session, "30x5+0+0");
    let mut viewer = viewer(&xvnc);
    let _healthy: Vec<_> = (0..10)
        .map(|_| xvnc.xterm(&session, "30x5+300+200"))
        .collect();
    // They share a CPU, of which the first gets hardly anything while the other, which ends first, is there.
    let one_cpu = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})";
    let idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))";
    let starved = deaf(
        &xvnc,
        &session,
        &format!("{one_cpu}\n{idle}\nwhile True: pass"),
    );
    let busy = format!("{one_cpu}\nos.nice(-10)\nwhile True: pass");
    let busy = deaf(&xvnc, &session, &busy);
    let asleep = deaf(&xvnc, &session, "import time\ntime.sleep(1000)");
    let limited = tree.limit_resident(&tree.child("desk/limited"), RESIDENT);
    let pages = format!(
        "open('{}/cgroup.procs', 'w').write(str(os.getpid()))\nm = mmap.mmap(-1, {NEEDED}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
         while True:\n for i in range(0, {NEEDED}, 4096): m[i] = i % 251 + 1",
        limited.path().display()
    );
    let paging = deaf(&xvnc, &session, &pages);
    viewer.settle();
    xterm.signal(Signal::SIGSTOP);
    let _when = viewer.presses('d');
    let expected = [
        (&xterm, "stopped"),
        (&busy, "busy"),
        (&starved, "starved"),
        (&asleep, "blocked"),
        (&paging, "paging"),
    ];
    let labels = [("session", "desk")];
    let all = expected.len() as f64;
    wait::until("all are found", patient(Duration::from_secs(25)), || {
        let metrics = agent.fresh_metrics();
        let found = metrics.find("vdi_session_unresponsive_applications", &labels);
        assert!(found.is_none_or(|count| count <= all), "{found:?}");
        (found == Some(all)).then_some(())
    });
    let report = agent.session("desk").expect("it is there");
    let found = report["input"]["unresponsive"].as_array().expect("a list");
    let one = |of: &Inhabitant| -> &Value {
        let one = found.iter().find(|one| one["pid"] == of.pid());
        one.unwrap_or_else(|| panic!("{} in {found:?}", of.pid()))
    };
    for (inhabitant, why) in expected {
        assert_eq!(one(inhabitant)["why"], why, "{found:#?}");
    }
    assert!(
        one(&paging)["swapped_bytes"].as_u64() > Some(RESIDENT),
        "{found:#?}"
    );
    drop((busy, starved, asleep, paging));
    drop(swap);
    xterm.signal(Signal::SIGCONT);
    wait::until(
        "all are forgotten",
        patient(Duration::from_secs(20)),
        || {
            let metrics = agent.fresh_metrics();
            let found = metrics.find("vdi_session_unresponsive_applications", &labels);
            (found == Some(0.0)).then_some(())
        },
    );
}
