//! How long input waits, compared with what was really done: sockets that the test makes in a session, writes to and reads
//! from when it wants. What has no such tracepoints says so, and has no such figures.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::{
        fd::AsRawFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData, MapInfo};
use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    findings::first_is,
    process,
    sockets::{connect, inside, listen},
    wait::{self, patient},
};
use nix::{
    libc,
    sys::resource::{Resource, setrlimit},
};
use sessionscope::telemetry::Event;
use tempfile::TempDir;

#[path = "input/hangs.rs"]
mod hangs;
#[path = "input/places.rs"]
mod places;

const DELAY: &str = "vdi_session_input_delay_seconds";
const RESPONSE: &str = "vdi_session_response_seconds";
const UNANSWERED: &str = "vdi_session_unanswered_inputs_total";
const UNRESPONSIVE: &str = "vdi_session_unresponsive_applications";

/// What passes between a wait and the call that ends it.
const MOMENT: Duration = Duration::from_millis(6);

/// Whether input is measured on this kernel. Where it is not, that is said, and no family is there.
fn is_measured(agent: &Agent) -> bool {
    let metrics = agent.fresh_metrics();
    let probe = ("probe", "sk_data_ready");
    if metrics.find("vdi_agent_probe_up", &[probe, ("code", "")]) == Some(1.0) {
        return true;
    }
    let off = metrics.find("vdi_agent_probe_up", &[probe, ("code", "no_hook")]);
    assert_eq!(off, Some(0.0), "it is off, and has its reason");
    for family in [UNANSWERED, UNRESPONSIVE] {
        assert_eq!(metrics.matching(family, &[]).count(), 0, "{family}");
    }
    eprintln!("this kernel has no sk_data_ready");
    false
}

/// An agent and sessions, in a test that is ahead of what else the machine does; nothing where input is not measured.
fn stage<const N: usize>(names: [&str; N]) -> Option<(Tree, Agent, [Cgroup; N])> {
    if !capability::kernel() {
        return None;
    }
    process::favour(std::process::id());
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let sessions = names.map(|name| tree.child(name));
    agent.wait_for(&names);
    is_measured(&agent).then_some((tree, agent, sessions))
}

/// Count and sum of a histogram, in seconds.
fn observed(metrics: &Exposition, family: &str, labels: &[(&str, &str)]) -> (u64, f64) {
    let part = |suffix: &str| metrics.find(&format!("{family}_{suffix}"), labels);
    let count = part("count").unwrap_or_default();
    (count as u64, part("sum").unwrap_or_default())
}

fn delays(metrics: &Exposition, session: &str, stage: &str) -> (u64, f64) {
    observed(metrics, DELAY, &[("session", session), ("stage", stage)])
}

/// A folder with the sockets of a display server, which is outside of all sessions.
struct Display {
    _folder: TempDir,
    path: PathBuf,
    listener: UnixListener,
}

impl Display {
    fn at(below: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(below);
        fs::create_dir_all(path.parent().expect("it is in one")).expect("a folder");
        let listener = UnixListener::bind(&path).expect("a socket");
        Self {
            _folder: folder,
            path,
            listener,
        }
    }

    /// Connects many that say nothing; a listener has room for 4,096 that are not accepted yet (`net.core.somaxconn`).
    fn crowd(&self, session: &Cgroup, many: usize) -> Vec<[UnixStream; 2]> {
        let connect = |_| UnixStream::connect(&self.path).expect("it listens");
        let near: Vec<_> = inside(session, || (0..many).map(connect).collect());
        let both = |near| [near, self.listener.accept().expect("a connection").0];
        near.into_iter().map(both).collect()
    }

    /// Connects an application of a session, which introduces itself as X11's and Wayland's do. Its end and the server's.
    fn connect(&self, session: &Cgroup) -> [UnixStream; 2] {
        let address = SocketAddr::from_pathname(&self.path).expect("a path");
        introduced(session, &address, &self.listener)
    }
}

fn introduced(session: &Cgroup, address: &SocketAddr, listener: &UnixListener) -> [UnixStream; 2] {
    let mut near = inside(session, || UnixStream::connect_addr(address)).expect("it listens");
    let (mut far, _) = listener.accept().expect("a connection");
    near.write_all(b"hello").expect("it is read");
    far.read_exact(&mut [0; 5]).expect("it was written");
    [near, far]
}

/// The server writes, and the application reads that so much later.
fn reads_after([near, far]: &mut [UnixStream; 2], delay: Duration) -> f64 {
    far.write_all(b"key").expect("there is room");
    let began = Instant::now();
    thread::sleep(delay);
    near.read_exact(&mut [0; 3]).expect("it was written");
    began.elapsed().as_secs_f64()
}

/// The times that calls take where all takes longer.
fn moment() -> f64 {
    patient(MOMENT).as_secs_f64()
}

#[test]
fn what_an_application_reads_late_is_observed_for_as_long_as_it_waited() {
    let Some((_tree, agent, [desk, other])) = stage(["desk", "other"]) else {
        return;
    };
    let x11 = Display::at(".X11-unix/X42");
    let wayland = Display::at("wayland-0");
    let mut ends = [&x11, &wayland].map(|display| display.connect(&desk));
    // One that is no display's, and the like of one.
    let mut others = [
        "bus",
        "X42",
        ".X11-unix/Y0",
        "wayland-x.sock",
        "my-wayland-0.d/s",
    ]
    .map(|path| Display::at(path).connect(&desk));
    let _quiet = x11.connect(&other);
    let before = delays(&agent.fresh_metrics(), "desk", "application");
    let mut waited = 0.0;
    for turn in 0..10 {
        let truth = reads_after(
            &mut ends[turn % 2],
            Duration::from_millis(20 + 25 * turn as u64),
        );
        let after = delays(&agent.fresh_metrics(), "desk", "application");
        let _ = others
            .each_mut()
            .map(|ends| reads_after(ends, Duration::ZERO));
        let so_far = delays(&agent.fresh_metrics(), "desk", "application");
        assert_eq!(so_far, after, "what is no display's is not observed");
        let said = after.1 - before.1;
        waited += truth;
        eprintln!("{turn}: waited {truth} s, {waited} s in all, said {said} s");
        assert!(
            (said - waited).abs() <= (turn + 1) as f64 * moment(),
            "{said} for {waited}"
        );
        assert_eq!(after.0 - before.0, turn as u64 + 1);
    }
    assert_eq!(delays(&agent.fresh_metrics(), "other", "application").0, 0);
}

#[test]
fn an_application_that_is_older_than_the_agent_and_one_without_a_file_are_measured() {
    if !capability::kernel() {
        return;
    }
    process::favour(std::process::id());
    let tree = Tree::new();
    let desk = tree.child("desk");
    let display = Display::at(".X11-unix/X7");
    let mut older = display.connect(&desk);
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    if !is_measured(&agent) {
        return;
    }
    let name = format!("/{}/.X11-unix/X8", tree.path());
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("a socket");
    let mut abstracted = introduced(&desk, &address, &listener);
    // The walk over open files comes with a sample.
    wait::until("the older one is known", SHOW_LIMIT, || {
        let before = delays(&agent.fresh_metrics(), "desk", "application").0;
        reads_after(&mut older, Duration::ZERO);
        let after = delays(&agent.fresh_metrics(), "desk", "application").0;
        (after > before).then_some(())
    });
    for ends in [&mut older, &mut abstracted] {
        let before = delays(&agent.fresh_metrics(), "desk", "application");
        let truth = reads_after(ends, Duration::from_millis(150));
        let after = delays(&agent.fresh_metrics(), "desk", "application");
        let said = after.1 - before.1;
        assert_eq!(after.0 - before.0, 1);
        assert!((said - truth).abs() <= moment(), "{said} for {truth}");
    }
}

/// A client of a session, and the session's end.
fn client(agent: &Agent, server: &Cgroup, outside: &Cgroup) -> [TcpStream; 2] {
    let listener = listen(server);
    let near = connect(outside, &listener);
    let (far, _) = listener.accept().expect("a connection");
    for end in [&near, &far] {
        end.set_nodelay(true).expect("it can be set");
    }
    let _settled = agent.fresh_metrics();
    [near, far]
}

/// What comes after it comes after a pause.
fn pause() {
    thread::sleep(patient(Duration::from_millis(150)));
}

/// The client sends, and the session takes it and answers so much later each. What the client measures.
fn asks([near, far]: &mut [TcpStream; 2], taken: Duration, answered: Duration) -> f64 {
    let began = Instant::now();
    near.write_all(b"key").expect("there is room");
    thread::sleep(taken);
    far.read_exact(&mut [0; 3]).expect("it was written");
    thread::sleep(answered);
    far.write_all(b"picture").expect("there is room");
    near.read_exact(&mut [0; 7]).expect("it was written");
    began.elapsed().as_secs_f64()
}

#[test]
fn a_clients_inputs_are_answered_after_the_time_that_the_client_measures() {
    let Some((_tree, agent, [server, outside])) = stage(["server", "outside"]) else {
        return;
    };
    let mut ends = client(&agent, &server, &outside);
    let labels = [("session", "server")];
    let response = |metrics: &Exposition| observed(metrics, RESPONSE, &labels);
    assert_eq!(agent.fresh_metrics().count(UNANSWERED, &labels), 0);
    for turn in 0..20_u64 {
        pause();
        let before = agent.fresh_metrics();
        let taken = Duration::from_millis(3 * turn);
        let truth = asks(&mut ends, taken, Duration::from_millis(2 * turn));
        let after = agent.fresh_metrics();
        let [(count, sum), (waits, waited)] =
            [response(&after), delays(&after, "server", "server")];
        let (said, delay) = (
            sum - response(&before).1,
            waited - delays(&before, "server", "server").1,
        );
        eprintln!(
            "{turn}: the client {truth} s, the response {said} s, of which it waited {delay} s"
        );
        assert_eq!((count, waits), (turn + 1, turn + 1));
        assert!(
            said <= truth && truth - said <= moment(),
            "{said} for {truth}"
        );
        assert!(
            delay >= taken.as_secs_f64() && delay <= said,
            "{delay} of {said}"
        );
    }
    // What comes without a pause is no input, however late it is answered.
    let answered = response(&agent.fresh_metrics()).0;
    pause();
    for _ in 0..5 {
        asks(&mut ends, Duration::ZERO, Duration::from_millis(10));
    }
    assert_eq!(response(&agent.fresh_metrics()).0, answered + 1);
    // Who connects is nobody's server.
    let metrics = agent.fresh_metrics();
    assert_eq!(
        observed(&metrics, RESPONSE, &[("session", "outside")]),
        (0, 0.0)
    );
    assert_eq!(delays(&metrics, "outside", "server"), (0, 0.0));
    assert_eq!(metrics.count(UNANSWERED, &labels), 0);
}

#[test]
fn a_stream_has_no_response_and_a_frozen_screen_is_counted_once() {
    let Some((_tree, agent, [stream, frozen, outside])) = stage(["stream", "frozen", "outside"])
    else {
        return;
    };
    let [mut near, mut far] = client(&agent, &stream, &outside);
    let mut still = client(&agent, &frozen, &outside);
    pause();
    // Sixty pictures a second, and now and then a key that none of them waits for.
    let pictures = thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(3);
        let (mut sent, mut pauses, mut last) = (0, 0, Instant::now());
        while Instant::now() < until {
            far.write_all(&[0; 100]).expect("it is read");
            // Of a machine that stands still.
            pauses += u64::from(last.elapsed() >= Duration::from_millis(80));
            last = Instant::now();
            thread::sleep(Duration::from_micros(16_667));
            sent += 1;
        }
        (far, sent, pauses)
    });
    thread::sleep(Duration::from_millis(200));
    for _ in 0..10 {
        near.write_all(b"key").expect("there is room");
        thread::sleep(Duration::from_millis(230));
    }
    still[0].write_all(b"key").expect("there is room");
    let (far, sent, pauses) = pictures.join().expect("it ends");
    near.read_exact(&mut vec![0; 100 * sent])
        .expect("all were sent");
    let of = |session: &'static str| [("session", session)];
    let metrics = agent.fresh_metrics();
    let responses = observed(&metrics, RESPONSE, &of("stream")).0;
    assert!(responses <= pauses, "{responses} after {pauses} pauses");
    wait::until(
        "the frozen screen is counted",
        patient(Duration::from_secs(10)),
        || (agent.fresh_metrics().count(UNANSWERED, &of("frozen")) >= 1).then_some(()),
    );
    // It thaws, much too late; the next input is answered.
    still[1].write_all(b"picture").expect("there is room");
    still[0].read_exact(&mut [0; 7]).expect("it was written");
    still[1].read_exact(&mut [0; 3]).expect("it was written");
    pause();
    asks(&mut still, Duration::ZERO, Duration::ZERO);
    let metrics = agent.fresh_metrics();
    assert_eq!(metrics.count(UNANSWERED, &of("frozen")), 1);
    assert_eq!(observed(&metrics, RESPONSE, &of("frozen")).0, 1);
    assert_eq!(metrics.count(UNANSWERED, &of("stream")), 0);
    drop((near, far));
}

/// Moves what waits at a socket into a pipe, which no hook sees.
fn splices([near, far]: &mut [UnixStream; 2]) {
    far.write_all(b"key").expect("there is room");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the descriptors are open, and there are no offsets.
    #[expect(
        unsafe_code,
        reason = "nix has it behind a feature that nothing else needs"
    )]
    let moved = unsafe {
        libc::splice(
            near.as_raw_fd(),
            std::ptr::null_mut(),
            writer.as_raw_fd(),
            std::ptr::null_mut(),
            3,
            0,
        )
    };
    assert_eq!(moved, 3, "{}", std::io::Error::last_os_error());
    drop(reader);
}

#[test]
fn what_is_taken_unseen_makes_no_wait_of_the_pause_that_follows() {
    let Some((_tree, agent, [desk])) = stage(["desk"]) else {
        return;
    };
    let display = Display::at(".X11-unix/X5");
    let mut ends = display.connect(&desk);
    reads_after(&mut ends, Duration::ZERO);
    splices(&mut ends);
    thread::sleep(Duration::from_secs(2));
    let before = delays(&agent.fresh_metrics(), "desk", "application");
    let truth = reads_after(&mut ends, Duration::ZERO);
    let after = delays(&agent.fresh_metrics(), "desk", "application");
    let said = after.1 - before.1;
    assert_eq!(after.0 - before.0, 1);
    assert!((said - truth).abs() <= moment(), "{said} for {truth}");
}
