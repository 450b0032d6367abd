//! Clients: how each went, and how long a session was left without one.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::Configuration,
    exposition::Exposition,
    netns::Namespace,
    sockets::{connect, inside, listen},
    wait::{self, patient},
};
use nix::sys::socket::{setsockopt, sockopt};

use super::{break_off, stage, stage_with};

/// How many clients of the session `server` went in a way.
fn gone(metrics: &Exposition, how: &str) -> u64 {
    let labels = [("session", "server"), ("how", how)];
    metrics.count("vdi_session_client_disconnects_total", &labels)
}

/// Clients of the session `server` that came back, and the seconds that it was left without one.
fn absences(metrics: &Exposition) -> (u64, f64) {
    let server = [("session", "server")];
    (
        metrics.count("vdi_session_client_reconnects_total", &server),
        metrics.value("vdi_session_disconnected_seconds_total", &server),
    )
}

/// Waits until the other side has broken it off, and closes it.
fn is_broken_off(mut stream: TcpStream) {
    let read = stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// Whether the agent says so many seconds as there were: its clock ticks a hundred times a second at least.
fn assert_lasted(said: f64, truth: Duration) {
    let varies = patient(Duration::from_millis(100)).as_secs_f64();
    let truth = truth.as_secs_f64();
    eprintln!("{said:.3} s of {truth:.3} s");
    assert!((said - truth).abs() <= varies, "{said} s of {truth} s");
}

#[test]
fn each_client_is_counted_once_by_how_it_went() {
    let idle_after = patient(Duration::from_secs(2));
    let in_toml = format!("\"{}ms\"", idle_after.as_millis());
    let idle = |configuration: Configuration| configuration.set("sessions.idle_after", &in_toml);
    let Some((_tree, agent, server, client)) = stage_with(idle) else {
        return;
    };
    let listener = listen(&server);
    let pair = || {
        let near = connect(&client, &listener);
        let (far, _) = listener.accept().expect("a client");
        (near, far)
    };
    let ways = ["closed", "reset", "timed_out", "idle"];
    let counts = || {
        let metrics = agent.fresh_metrics();
        ways.map(|how| gone(&metrics, how))
    };
    // The client ends it, then the session.
    let (near, mut far) = pair();
    drop(near);
    assert_eq!(far.read(&mut [0]).expect("its end"), 0);
    drop(far);
    assert_eq!(counts(), [1, 0, 0, 0], "the client closed");
    // The other way round.
    let (mut near, far) = pair();
    drop(far);
    assert_eq!(near.read(&mut [0]).expect("its end"), 0);
    drop(near);
    assert_eq!(counts(), [2, 0, 0, 0], "the session closed");
    // What comes after the client has closed is answered with a reset, and it has closed all the same.
    let (near, mut far) = pair();
    drop(near);
    assert_eq!(far.read(&mut [0]).expect("its end"), 0);
    far.write_all(b"a frame").expect("it is not told yet");
    drop(far);
    assert_eq!(counts(), [3, 0, 0, 0], "a frame came late");
    let (near, far) = pair();
    break_off(near);
    is_broken_off(far);
    assert_eq!(counts(), [3, 1, 0, 0], "the client broke it off");
    // One that is killed has not read what it was sent.
    let (near, mut far) = pair();
    far.write_all(b"a frame").expect("the client is there");
    let viewer = Command::new("sleep")
        .arg("1000")
        .stdin(OwnedFd::from(near))
        .spawn();
    let mut viewer = viewer.expect("a process");
    viewer.kill().expect("it is ours");
    viewer.wait().expect("it has ended");
    is_broken_off(far);
    assert_eq!(counts(), [3, 2, 0, 0], "the client was killed");
    // The session closes one from which nothing has come, and one from which something has just come.
    let (silent, far_from_silent) = pair();
    let (mut busy, mut far_from_busy) = pair();
    thread::sleep(idle_after + Duration::from_millis(500));
    busy.write_all(b"k").expect("the session is there");
    far_from_busy.read_exact(&mut [0]).expect("a key");
    drop((far_from_silent, far_from_busy));
    drop((silent, busy));
    assert_eq!(counts(), [4, 2, 0, 1], "one was idle");
    let of_clients = "vdi_session_client_disconnects_total";
    let metrics = agent.metrics();
    assert_eq!(metrics.find(of_clients, &[("session", "client")]), None);
}

#[test]
fn a_client_that_comes_back_ends_the_time_without_one() {
    let Some((_tree, agent, server, client)) = stage() else {
        return;
    };
    let listener = listen(&server);
    let near = connect(&client, &listener);
    let (far, _) = listener.accept().expect("a client");
    assert_eq!(absences(&agent.fresh_metrics()), (0, 0.0));
    break_off(near);
    let gone_at = Instant::now();
    is_broken_off(far);
    thread::sleep(Duration::from_secs(1));
    let (back, lasted) = absences(&agent.fresh_metrics());
    assert_eq!(back, 0, "nobody has come yet");
    assert!(lasted > 0.5, "it grows meanwhile: {lasted}");
    let mut near = connect(&client, &listener);
    let truth = gone_at.elapsed();
    let (far, _) = listener.accept().expect("a client");
    let (back, lasted) = absences(&agent.fresh_metrics());
    assert_eq!(back, 1);
    assert_lasted(lasted, truth);
    // Another client beside it is not one that comes back; and who closes leaves.
    let beside = connect(&client, &listener);
    let (far_beside, _) = listener.accept().expect("a client");
    drop((beside, far_beside, far));
    assert_eq!(near.read(&mut [0]).expect("its end"), 0);
    drop(near);
    thread::sleep(Duration::from_secs(1));
    let _late = connect(&client, &listener);
    assert_eq!(absences(&agent.fresh_metrics()), (1, lasted));
}

/// Nobody is told of a network that is gone: the session's own side gives up when it has waited for long enough.
#[test]
fn a_client_that_is_cut_off_is_gone_from_the_last_that_came_of_it() {
    let Some((_tree, agent, server, client)) = stage() else {
        return;
    };
    let namespace = Namespace::new().expect("root may make network namespaces");
    let listener = inside(&server, || {
        namespace.inside(|| TcpListener::bind(("127.0.0.1", 0)).expect("a port"))
    });
    let address = listener.local_addr().expect("an address");
    let come = || {
        inside(&client, || {
            namespace.inside(|| TcpStream::connect(address).expect("a connection"))
        })
    };
    let mut near = come();
    let (mut far, _) = listener.accept().expect("a client");
    near.write_all(b"k").expect("the session is there");
    far.read_exact(&mut [0]).expect("a key");
    let gone_at = Instant::now();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(absences(&agent.fresh_metrics()), (0, 0.0));
    setsockopt(&far.as_fd(), sockopt::TcpUserTimeout, &500).expect("an option of TCP");
    namespace.set_loopback(false).expect("it goes down");
    far.write_all(b"a frame").expect("it is not told yet");
    wait::until("its end", patient(Duration::from_secs(30)), || {
        (gone(&agent.fresh_metrics(), "timed_out") == 1).then_some(())
    });
    let (back, lasted) = absences(&agent.fresh_metrics());
    let by_now = gone_at.elapsed();
    assert_eq!(back, 0);
    // From the key on, and not from the end of the connection.
    let possible = 1.0..=by_now.as_secs_f64();
    assert!(possible.contains(&lasted), "{lasted} s of {by_now:?}");
    namespace.set_loopback(true).expect("it comes up again");
    let _near = come();
    let truth = gone_at.elapsed();
    let (back, lasted) = absences(&agent.fresh_metrics());
    assert_eq!(back, 1);
    assert_lasted(lasted, truth);
}
