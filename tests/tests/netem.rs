//! Round-trip times and retransmits over a network that is as slow, and loses as much, as it is told.
//!
//! The network is two namespaces joined by a link with netem, as pods of a cluster are: server and client
//! are in namespaces that the agent is not in. Most build machines lack netem; the guests of
//! `cargo xtask test --kernels` have it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    findings::{causes, first_is},
    netns::{Link, Namespace},
    rtnetlink::Impairment,
    sockets::{TcpInfo, inside},
    wait,
};
use nix::sys::socket::{setsockopt, sockopt};

const RTT: &str = "vdi_session_tcp_rtt_seconds";
/// The sides that a client and its server see the same connection from.
const SIDES: [(&str, &str); 2] = [("client", "outbound"), ("server", "inbound")];
/// How far a mean round-trip time may be from the delay that is set.
const TOLERANCE: f64 = 0.1;
/// By how much what the two ends take may vary.
const ENDS_VARY: Duration = Duration::from_micros(50);
/// How far the retransmits may be from what the namespaces count.
const PROMISE: f64 = 0.02;
const BULK: usize = 4 << 20;
/// So many segments sent again are enough to compare.
const ENOUGH: u64 = 60;
const MOST_ROUNDS: usize = 100;

struct Stage {
    link: Link,
    agent: Agent,
    server: Cgroup,
    client: Cgroup,
    _tree: Tree,
}

impl Stage {
    fn new() -> Option<Self> {
        if !capability::kernel() {
            return None;
        }
        let link = match Link::new() {
            Ok(link) => link,
            Err(error) => {
                capability::skip_on_this_kernel(&format!("no veth or netem: {error}"));
                return None;
            }
        };
        let tree = Tree::new();
        let agent = Agent::start(&Configuration::of(&tree));
        let (server, client) = (tree.child("server"), tree.child("client"));
        agent.wait_for(&["server", "client"]);
        Some(Self {
            link,
            agent,
            server,
            client,
            _tree: tree,
        })
    }

    /// A connection of the client to the server: both ends of it.
    fn connect(&self) -> (TcpStream, TcpStream) {
        self.connect_from(&self.link.ends[0].0)
    }

    /// The same of a client that is in another place.
    fn connect_from(&self, near: &Namespace) -> (TcpStream, TcpStream) {
        let [_, (far, address)] = &self.link.ends;
        let listener = inside(&self.server, || {
            far.inside(|| TcpListener::bind((*address, 0)).expect("a port"))
        });
        let at = listener.local_addr().expect("an address");
        let client = inside(&self.client, || {
            near.inside(|| TcpStream::connect(at).expect("a connection"))
        });
        let (server, _) = listener.accept().expect("a client");
        for end in [&client, &server] {
            end.set_nodelay(true).expect("an option of TCP");
        }
        (client, server)
    }
}

fn of(metrics: &Exposition, name: &str, (session, side): (&str, &str)) -> f64 {
    let labels = [("session", session), ("side", side)];
    metrics.find(name, &labels).unwrap_or(0.0)
}

/// Least and most of the smoothed round-trip times that the kernel had of a socket, seconds.
type Range = [f64; 2];

/// Small messages back and forth until it is told to stop. Returns when the kernel had which smoothed time of the client
/// and of the server, seconds: that changes with an acknowledgement, so a look after each message sees each.
fn chat(
    client: &mut TcpStream,
    server: &mut TcpStream,
    stop: &AtomicBool,
) -> Vec<(Instant, [f64; 2])> {
    let ends = [&*client, &*server].map(|end| end.try_clone().expect("a socket can be shared"));
    let mut server = server.try_clone().expect("a socket can be shared");
    let echo = thread::spawn(move || {
        let mut message = [0; 64];
        while server.read_exact(&mut message).is_ok() && message[0] == b'm' {
            server.write_all(&message).expect("the client listens");
        }
    });
    let mut message = [b'm'; 64];
    let mut looks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        client.write_all(&message).expect("the server listens");
        client.read_exact(&mut message).expect("the server answers");
        let smoothed = ends
            .each_ref()
            .map(|end| TcpInfo::of(end).smoothed_rtt_us as f64 / 1e6);
        looks.push((Instant::now(), smoothed));
    }
    client.write_all(&[b'e'; 64]).expect("the server listens");
    echo.join().expect("the server does not panic");
    looks
}

/// Over a link of this delay: the mean round-trip times that the agent has, by side, and those that the kernel had
/// meanwhile.
fn round_trips(stage: &Stage, delay: Duration) -> [(f64, Range); 2] {
    let half = Impairment {
        delay: delay / 2,
        loss: 0.0,
    };
    stage
        .link
        .impair([half, half])
        .expect("netem takes a delay");
    let (mut client, mut server) = stage.connect();
    let stop = AtomicBool::new(false);
    // Messages go on while figures are read: the last one's acknowledgement is delayed by 40 ms, and the smoothed time of
    // a connection that rests has that in it.
    let (began, looks, before, after) = thread::scope(|scope| {
        let talk = scope.spawn(|| chat(&mut client, &mut server, &stop));
        // Until the smoothed time is that of the messages, not that of the handshake.
        thread::sleep(Duration::from_secs(1).max(10 * delay));
        let began = Instant::now();
        let before = stage.agent.fresh_metrics();
        thread::sleep(Duration::from_secs(2));
        let after = stage.agent.fresh_metrics();
        stop.store(true, Ordering::Relaxed);
        let looks = talk.join().expect("the client does not panic");
        (began, looks, before, after)
    });
    [0, 1].map(|end| {
        let side = SIDES[end];
        let grown = |suffix: &str| {
            let name = format!("{RTT}_{suffix}");
            of(&after, &name, side) - of(&before, &name, side)
        };
        let (count, sum) = (grown("count"), grown("sum"));
        assert!(count >= 3.0, "{side:?}: only {count} round-trip times");
        let range = looks
            .iter()
            .filter(|(when, _)| *when >= began)
            .map(|(_, smoothed)| smoothed[end])
            .fold([f64::INFINITY, 0.0], |range: Range, smoothed| {
                [range[0].min(smoothed), range[1].max(smoothed)]
            });
        (sum / count, range)
    })
}

#[test]
fn the_round_trip_time_is_the_delay_of_the_network() {
    let Some(stage) = Stage::new() else { return };
    // What the two ends take is a part of each round-trip time: microseconds, in a guest milliseconds.
    let ends = round_trips(&stage, Duration::ZERO);
    let vary = wait::patient(ENDS_VARY).as_secs_f64();
    for milliseconds in [10, 50, 200] {
        let delay = Duration::from_millis(milliseconds);
        let trips = round_trips(&stage, delay);
        for ((side, (mean, kernel)), (ends, _)) in SIDES.iter().zip(trips).zip(ends) {
            let delay = delay.as_secs_f64();
            let said = format!(
                "{side:?}: {mean:.5} s where {delay} s are set, the ends take {ends:.5} s and the kernel \
                 had {kernel:.5?} s"
            );
            eprintln!("{said}");
            assert!(mean >= (1.0 - TOLERANCE) * delay, "{said}");
            // The delay that is set, or where the machine is too slow to keep to it what the kernel made of it.
            let set = (mean - ends - delay).abs() <= TOLERANCE * delay + vary;
            let [least, most] = kernel;
            let real = mean >= (1.0 - TOLERANCE) * least && mean <= (1.0 + TOLERANCE) * most;
            assert!(set || (real && vary > ENDS_VARY.as_secs_f64()), "{said}");
        }
    }
}

#[test]
fn the_retransmits_are_those_that_the_namespace_counts() {
    let Some(stage) = Stage::new() else { return };
    let (mut client, mut server) = stage.connect();
    let losing = Impairment {
        delay: Duration::from_millis(1),
        loss: 0.01,
    };
    stage
        .link
        .impair([losing, Impairment::default()])
        .expect("netem takes a loss");
    let near = &stage.link.ends[0].0;
    let before = near.retransmitted_segments();
    let reader = thread::spawn(move || {
        std::io::copy(&mut server, &mut std::io::sink()).expect("all of it");
        server
    });
    let sent_again = || near.retransmitted_segments() - before;
    // A lost packet is up to 64 KiB here, so how many are lost of some megabytes is up to chance.
    let mut rounds = 0;
    while sent_again() < ENOUGH && rounds < MOST_ROUNDS {
        client
            .write_all(&vec![b'b'; BULK])
            .expect("the server reads");
        rounds += 1;
    }
    // Until all has arrived; the sockets stay.
    client.shutdown(Shutdown::Write).expect("it is open");
    let server = reader.join().expect("the server does not panic");
    // What was sent twice though it had arrived is acknowledged within this.
    thread::sleep(Duration::from_secs(1));
    let open = stage.agent.fresh_metrics();
    let truth = sent_again() as f64;
    let sent = TcpInfo::of(&client).data_segments_sent;
    drop((client, server));
    let closed = stage.agent.fresh_metrics();
    let name = "vdi_session_tcp_retransmits_total";
    let said = [&open, &closed].map(|metrics| of(metrics, name, SIDES[0]));
    eprintln!("{said:?}, open and closed, where the namespace has {truth}");
    assert!(
        truth >= ENOUGH as f64,
        "only {truth} segments were sent again"
    );
    for said in said {
        assert!(
            (said - truth).abs() <= PROMISE * truth,
            "{said} where the namespace has {truth}"
        );
    }
    // Those that were sent again are among those that were sent.
    let (session, side) = SIDES[0];
    let segments = [&open, &closed].map(|metrics| {
        let labels = [("session", session), ("side", side)];
        metrics.count("vdi_session_tcp_segments_total", &labels)
    });
    assert_eq!(segments, [sent; 2], "open and closed");
}

/// Twelve seconds of messages, and what is concluded from them.
fn concludes(stage: &Stage, ends: [Impairment; 2], cause: &str) {
    stage.link.impair(ends).expect("netem takes both");
    let (mut client, server) = stage.connect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut frames = server.try_clone().expect("a socket can be shared");
            // Until the client has gone.
            while frames.write_all(&[b'f'; 4096]).is_ok() && !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
            }
            frames.shutdown(Shutdown::Write).expect("it is open");
        });
        let reader = scope.spawn(|| std::io::copy(&mut client, &mut std::io::sink()));
        first_is(&stage.agent, "server", cause);
        stop.store(true, Ordering::Relaxed);
        let read = reader.join().expect("the reader does not panic");
        read.expect("all of it");
    });
    server.shutdown(Shutdown::Both).ok();
}

#[test]
fn a_client_that_is_far_away_and_loses_is_what_is_concluded() {
    let Some(stage) = Stage::new() else { return };
    let far = Impairment {
        delay: Duration::from_millis(100),
        loss: 0.0,
    };
    let losing = Impairment { loss: 0.08, ..far };
    concludes(&stage, [far, losing], "client_far");
    let causes = causes(&stage.agent, "server");
    assert!(
        causes.iter().any(|cause| cause == "client_lossy"),
        "{causes:?}"
    );
}

/// The client's network is gone, and its user comes by another way while the server still waits: a quarter of an hour,
/// unless it wants to know sooner.
#[test]
fn who_is_back_before_the_old_connection_is_given_up_has_come_back_once() {
    let Some(stage) = Stage::new() else { return };
    let server_session = [("session", "server")];
    let absences = |metrics: &Exposition| {
        (
            metrics.count("vdi_session_client_reconnects_total", &server_session),
            metrics.value("vdi_session_disconnected_seconds_total", &server_session),
        )
    };
    let timed_out = |metrics: &Exposition| {
        let labels = [("session", "server"), ("how", "timed_out")];
        metrics.count("vdi_session_client_disconnects_total", &labels)
    };
    let (mut client, mut server) = stage.connect();
    let gives_up_after = wait::patient(Duration::from_secs(3));
    let milliseconds = gives_up_after.as_millis() as u32;
    setsockopt(&server.as_fd(), sockopt::TcpUserTimeout, &milliseconds).expect("an option of TCP");
    client.write_all(b"k").expect("the server listens");
    server.read_exact(&mut [0]).expect("a key");
    let gone_at = Instant::now();
    let lost = Impairment {
        delay: Duration::ZERO,
        loss: 1.0,
    };
    stage
        .link
        .impair([lost, lost])
        .expect("netem takes a loss of everything");
    server.write_all(b"f").expect("it is not told yet");
    thread::sleep(Duration::from_secs(1));
    // From the server's own machine.
    let _back = stage.connect_from(&stage.link.ends[1].0);
    let truth = gone_at.elapsed().as_secs_f64();
    let metrics = stage.agent.fresh_metrics();
    assert_eq!(timed_out(&metrics), 0, "the server still waits");
    assert_eq!(absences(&metrics), (0, 0.0));
    let limit = wait::patient(Duration::from_secs(30));
    let given_up = wait::until("the server gives up", limit, || {
        let metrics = stage.agent.fresh_metrics();
        (timed_out(&metrics) == 1).then_some(metrics)
    });
    let waited = gone_at.elapsed();
    let (back, lasted) = absences(&given_up);
    eprintln!("{lasted:.3} s of {truth:.3} s; the server waited for {waited:?}");
    assert_eq!(back, 1);
    let varies = wait::patient(Duration::from_millis(100)).as_secs_f64();
    assert!((lasted - truth).abs() <= varies, "{lasted} s of {truth} s");
}
