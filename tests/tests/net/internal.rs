//! Connections of a session with itself: what they carry is the session's, and neither end is a client.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    netns::Namespace,
    sockets::{connect, inside, listen},
    wait::{self, patient},
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use super::{break_off, bytes, of_side, stage};

const SERVER: [(&str, &str); 1] = [("session", "server")];
const CONNECTIONS: &str = "vdi_session_tcp_connections";
const ROUND_TRIPS: &str = "vdi_session_tcp_rtt_seconds_count";
const DISCONNECTS: &str = "vdi_session_client_disconnects_total";
const RESPONSES: &str = "vdi_session_response_seconds_count";

/// Both ends of a connection.
type Pair = (TcpStream, TcpStream);

fn pair(of: &Cgroup, listener: &TcpListener) -> Pair {
    let near = connect(of, listener);
    let (far, _) = listener.accept().expect("somebody comes");
    (near, far)
}

/// A key after a pause, and what the server shows for it.
fn key((near, far): &mut Pair) {
    thread::sleep(Duration::from_millis(300));
    near.write_all(b"k").expect("the server is there");
    far.read_exact(&mut [0]).expect("a key");
    far.write_all(b"a frame").expect("the client is there");
    near.read_exact(&mut [0; 7]).expect("a frame");
}

fn clients(metrics: &Exposition) -> u64 {
    metrics.count("vdi_session_clients", &SERVER)
}

#[test]
fn a_session_is_no_client_of_itself() {
    let Some((_tree, agent, server, client)) = stage() else {
        return;
    };
    let listener = listen(&server);
    let mut own = pair(&server, &listener);
    key(&mut own);
    let metrics = agent.fresh_metrics();
    assert_eq!(clients(&metrics), 0);
    // It is a connection all the same.
    for side in ["inbound", "outbound"] {
        assert_eq!(of_side(&metrics, CONNECTIONS, "server", side), 1, "{side}");
        let trips = metrics.count_if_any(ROUND_TRIPS, &[("session", "server"), ("side", side)]);
        assert_eq!(trips, 0, "{side}");
    }
    assert_eq!(bytes(&metrics, "server", "tcp"), [8, 8]);
    assert_eq!(metrics.find(RESPONSES, &SERVER), None);
    let first_client = [("milestone", "first_client")];
    let came = "vdi_session_startup_seconds_count";
    assert_eq!(metrics.count_if_any(came, &first_client), 0);
    // Somebody else beside it.
    let mut other = pair(&client, &listener);
    key(&mut other);
    let metrics = agent.fresh_metrics();
    assert_eq!(clients(&metrics), 1);
    assert_eq!(of_side(&metrics, CONNECTIONS, "server", "inbound"), 2);
    assert_eq!(metrics.count_if_any(came, &first_client), 1);
    if metrics
        .find("vdi_agent_probe_up", &[("probe", "sk_data_ready")])
        .is_some_and(|up| up > 0.5)
    {
        assert_eq!(metrics.count(RESPONSES, &SERVER), 1);
    }
    // However it ends, no client has gone.
    let (near, far) = own;
    break_off(near);
    drop(far);
    let metrics = agent.fresh_metrics();
    let gone: f64 = metrics
        .matching(DISCONNECTS, &SERVER)
        .map(|s| s.value)
        .sum();
    assert!(gone < 0.5, "{gone}");
    assert_eq!(bytes(&metrics, "server", "tcp"), [15, 9]);
    drop(other);
    let metrics = agent.fresh_metrics();
    let gone: f64 = metrics
        .matching(DISCONNECTS, &SERVER)
        .map(|s| s.value)
        .sum();
    assert!((gone - 1.0).abs() < 0.5, "{gone}");
}

/// By whatever address the session has on this node, and whether the agent saw it begin or has found it open.
#[test]
fn a_connection_with_itself_is_known_by_each_address_and_when_it_is_found_open() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let (server, client) = (tree.child("server"), tree.child("client"));
    agent.wait_for(&["server", "client"]);
    let v4 = inside(&server, || {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port")
    });
    let v6 = inside(&server, || {
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port")
    });
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let ways: [(&TcpListener, SocketAddr); 5] = [
        (&v4, (Ipv4Addr::LOCALHOST, port(&v4)).into()),
        // As Debian has its machine's own name in /etc/hosts.
        (&v4, (Ipv4Addr::new(127, 0, 1, 1), port(&v4)).into()),
        (&v6, (Ipv6Addr::LOCALHOST, port(&v6)).into()),
        (&v6, (Ipv4Addr::LOCALHOST, port(&v6)).into()),
        (&v6, (Ipv4Addr::new(127, 0, 1, 1), port(&v6)).into()),
    ];
    let open = |of: &Cgroup| {
        ways.map(|(listener, address)| {
            let near = inside(of, || TcpStream::connect(address).expect("a connection"));
            (near, listener.accept().expect("somebody comes").0)
        })
    };
    let own = open(&server);
    assert_eq!(clients(&agent.fresh_metrics()), 0);
    let others = open(&client);
    assert_eq!(clients(&agent.fresh_metrics()), 5);
    drop(agent);
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["server", "client"]);
    let metrics = wait::until(
        "open ones are found",
        patient(Duration::from_secs(20)),
        || {
            let metrics = agent.fresh_metrics();
            (of_side(&metrics, CONNECTIONS, "server", "inbound") == 10).then_some(metrics)
        },
    );
    assert_eq!(clients(&metrics), 5);
    drop((own, others));
}

/// A connection to a port of the loopback's from another of its addresses and a port.
fn connect_from(from: (Ipv4Addr, u16), to: u16) -> TcpStream {
    let (stream, none) = (SockType::Stream, SockFlag::empty());
    let socket = socket(AddressFamily::Inet, stream, none, None).expect("a socket");
    setsockopt(&socket, sockopt::ReuseAddr, &true).expect("an option of sockets");
    let address =
        |(address, port): (Ipv4Addr, u16)| SockaddrIn::from(SocketAddrV4::new(address, port));
    bind(socket.as_raw_fd(), &address(from)).expect("a port");
    nix::sys::socket::connect(socket.as_raw_fd(), &address((Ipv4Addr::LOCALHOST, to)))
        .expect("it listens");
    TcpStream::from(socket)
}

/// The same ports between other addresses, or in a network namespace of the session's own, are another connection.
#[test]
fn a_session_hides_no_client_behind_a_connection_of_the_same_ports() {
    let Some((_tree, agent, server, client)) = stage() else {
        return;
    };
    let listener = listen(&server);
    let port = listener.local_addr().expect("an address").port();
    let first = inside(&client, || {
        TcpStream::connect(("127.0.0.1", port)).expect("a connection")
    });
    let own_port = first.local_addr().expect("an address").port();
    let mut far = vec![listener.accept().expect("a client").0];
    assert_eq!(clients(&agent.fresh_metrics()), 1);
    let twin = inside(&server, || {
        connect_from((Ipv4Addr::new(127, 0, 0, 2), own_port), port)
    });
    far.push(listener.accept().expect("the session itself").0);
    assert_eq!(clients(&agent.fresh_metrics()), 1);
    let namespace = Namespace::new().expect("root may make network namespaces");
    let apart = inside(&server, || {
        namespace.inside(|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("its own port");
            let near = connect_from((Ipv4Addr::LOCALHOST, own_port), port);
            (near, listener.accept().expect("the session itself").0)
        })
    });
    assert_eq!(clients(&agent.fresh_metrics()), 1);
    // The other way round: the twins are there first.
    drop(first);
    let second = inside(&client, || {
        TcpStream::connect(("127.0.0.1", port)).expect("a connection")
    });
    far.push(listener.accept().expect("a client").0);
    wait::until(
        "the first is gone",
        patient(Duration::from_secs(10)),
        || (clients(&agent.fresh_metrics()) == 1).then_some(()),
    );
    drop((twin, apart, second, far));
}

/// A session that talks to itself all the time is idle when nobody else does.
#[test]
fn talking_to_itself_does_not_keep_a_session_in_use() {
    let Some((_tree, agent, server, client)) = stage() else {
        return;
    };
    let listener = listen(&server);
    let (mut own, mut other) = (pair(&server, &listener), pair(&client, &listener));
    let idle = |agent: &Agent| {
        agent
            .fresh_metrics()
            .value("vdi_session_idle_seconds", &SERVER)
    };
    key(&mut other);
    let before = idle(&agent);
    for _ in 0..5 {
        key(&mut own);
    }
    let after = idle(&agent);
    assert!(after >= before + 1.4, "{before} s, then {after} s");
    key(&mut other);
    let used = idle(&agent);
    assert!(used < after, "{after} s, then {used} s");
}
