//! Tests of what clients can hold, with clients at addresses of loopback.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Instant,
};

use axum::{middleware::from_fn, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, UnixStream},
    time::{sleep, timeout},
};

use super::*;
use crate::serve::{Settings, address::Address, client::with_place, rights::Rights};

const LIMITS: Limits = Limits {
    share: 2,
    answers: 16,
    connections: 64,
    request: Duration::from_mins(1),
    brief: Duration::from_mins(1),
    unread: Duration::from_mins(1),
    answer: Duration::from_mins(1),
};
const SOON: Duration = Duration::from_secs(20);
/// More than the kernel takes for a client that does not read.
const MUCH: usize = 32 << 20;
const ONE: u8 = 2;
const OTHER: u8 = 3;

async fn start(limits: Limits) -> SocketAddr {
    start_at(&[], limits).await
}

/// At further addresses, too.
async fn start_at(more: &[Address], limits: Limits) -> SocketAddr {
    let port = Address::Tcp(([127, 0, 0, 1], 0).into());
    let all = [&[port], more].concat();
    let (bound, files) = inlet::bind(&all, &Rights::default()).await.unwrap();
    let inlets: Vec<Inlet> = bound
        .into_iter()
        .map(|one| Inlet::new(one).unwrap())
        .collect();
    let Address::Tcp(address) = *inlets[0].address() else {
        panic!("the first is a port");
    };
    let app = Router::new()
        .route("/much", get(|| async { vec![0; MUCH] }))
        .route_layer(from_fn(with_place))
        .route("/", get(|| async { "here\n" }));
    let traffic = Arc::<Traffic>::default();
    let door = Door::open(&Settings::default(), Arc::clone(&traffic)).unwrap();
    let door = Arc::new(door);
    tokio::spawn(async move {
        let _files = files;
        serve(inlets, app, door, traffic, limits).await;
    });
    address
}

async fn asked_by_socket(path: &Path, what: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("GET {what} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A connection from an address of loopback.
async fn connect(address: SocketAddr, from: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let own = Ipv4Addr::new(127, 0, 0, from);
    socket.bind((own, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

async fn asked(address: SocketAddr, from: u8, path: &str) -> TcpStream {
    let mut stream = connect(address, from).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The answer to its end.
async fn read(mut stream: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("an end").expect("an answer in full");
    answer
}

/// The line with the status.
async fn status(stream: impl AsyncReadExt + Unpin) -> String {
    let answer = read(stream).await;
    let line = answer.split(|byte| *byte == b'\r').next();
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

/// Connections that have asked for much, of which they have read the beginning.
async fn that_do_not_read(address: SocketAddr, from: u8, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = asked(address, from, "/much").await;
        let mut first = [0; 12];
        let read = timeout(SOON, stream.read_exact(&mut first)).await;
        read.expect("an answer").expect("a status");
        assert_eq!(&first, b"HTTP/1.1 200");
        all.push(stream);
    }
    all
}

/// Whether the server ends the connection soon, with an end or a reset.
async fn is_ended(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut rest)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionReset,
        Err(_) => false,
    }
}

#[tokio::test]
async fn clients_that_stay_silent_keep_nobody_out() {
    let address = start(LIMITS).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(address, ONE).await);
    }
    for from in [ONE, OTHER] {
        assert_eq!(
            status(asked(address, from, "/").await).await,
            "HTTP/1.1 200 OK"
        );
    }
    assert!(is_ended(silent.swap_remove(0)).await);
}

#[tokio::test]
async fn what_is_being_answered_is_not_cut_for_others() {
    let address = start(LIMITS).await;
    let mut slow = that_do_not_read(address, ONE, 1).await;
    for from in [ONE, OTHER] {
        for _ in 0..100 {
            assert_eq!(
                status(asked(address, from, "/").await).await,
                "HTTP/1.1 200 OK"
            );
        }
    }
    let mut silent = Vec::new();
    for from in 4..104 {
        silent.push(connect(address, from).await);
    }
    let rest = read(slow.remove(0)).await;
    assert!(rest.len() > MUCH, "only {} bytes", rest.len());
}

#[tokio::test]
async fn beyond_its_share_an_address_is_told_to_come_back_and_others_are_answered() {
    let address = start(LIMITS).await;
    let slow = that_do_not_read(address, ONE, LIMITS.share).await;
    let answer = read(asked(address, ONE, "/much").await).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    // What is small, as whether the agent is alive, is answered all the same.
    assert_eq!(
        status(asked(address, ONE, "/").await).await,
        "HTTP/1.1 200 OK"
    );
    let others = that_do_not_read(address, OTHER, LIMITS.share).await;
    drop((slow, others));
    // Its places are free when the server has noticed.
    let began = Instant::now();
    while status(asked(address, ONE, "/much").await).await != "HTTP/1.1 200 OK" {
        assert!(began.elapsed() < SOON, "the places stay taken");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_that_asks_while_all_places_are_taken_waits_and_is_answered() {
    let answers = 2;
    let address = start(Limits { answers, ..LIMITS }).await;
    let mut slow = that_do_not_read(address, ONE, 1).await;
    slow.extend(that_do_not_read(address, OTHER, 1).await);
    let waiting = tokio::spawn(async move { status(asked(address, 4, "/much").await).await });
    sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    drop(slow);
    assert_eq!(waiting.await.unwrap(), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_client_that_stays_silent_is_sent_away() {
    let request = Duration::from_millis(200);
    let address = start(Limits { request, ..LIMITS }).await;
    assert!(is_ended(connect(address, ONE).await).await);
    // Also after a request.
    let mut stream = connect(address, ONE).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert!(is_ended(stream).await);
}

#[tokio::test]
async fn beyond_its_share_an_address_may_be_silent_only_briefly() {
    let brief = Duration::from_millis(200);
    let address = start(Limits { brief, ..LIMITS }).await;
    let slow = that_do_not_read(address, ONE, LIMITS.share).await;
    assert!(is_ended(connect(address, ONE).await).await);
    drop(slow);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_sent_away() {
    let unread = Duration::from_millis(300);
    let address = start(Limits { unread, ..LIMITS }).await;
    let mut slow = that_do_not_read(address, ONE, 1).await;
    // The window is full within milliseconds; the kernel looks at its time-out when it probes the window.
    sleep(Duration::from_secs(3)).await;
    assert_cut(slow.remove(0)).await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_sent_away() {
    let answer = Duration::from_millis(500);
    let address = start(Limits { answer, ..LIMITS }).await;
    let mut slow = that_do_not_read(address, ONE, 1).await;
    let mut stream = slow.remove(0);
    let began = Instant::now();
    // It reads all the time, some MB a second at most.
    while began.elapsed() < 2 * answer {
        let mut some = vec![0; 16 << 10];
        if !matches!(stream.read(&mut some).await, Ok(1..)) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_cut(stream).await;
}

/// Asserts that not all of the answer comes.
async fn assert_cut(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await;
    let read = read.expect("an end");
    assert!(read.is_err() || rest.len() < MUCH, "{} bytes", rest.len());
}

#[tokio::test]
async fn the_clients_of_a_user_share_as_those_of_an_address_and_a_port_is_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let address = start_at(&[Address::Unix(path.clone())], LIMITS).await;
    let mut slow = Vec::new();
    for _ in 0..LIMITS.share {
        let mut stream = asked_by_socket(&path, "/much").await;
        let mut first = [0; 12];
        let read = timeout(SOON, stream.read_exact(&mut first)).await;
        read.expect("an answer").expect("a status");
        assert_eq!(&first, b"HTTP/1.1 200");
        slow.push(stream);
    }
    let answer = read(asked_by_socket(&path, "/much").await).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("as one user may have"), "{answer}");
    assert_eq!(
        status(asked_by_socket(&path, "/").await).await,
        "HTTP/1.1 200 OK"
    );
    // An address is another peer.
    let others = that_do_not_read(address, ONE, LIMITS.share).await;
    drop((slow, others));
}

#[tokio::test]
async fn a_client_of_a_socket_that_does_not_read_is_sent_away_when_its_answer_is_overdue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let answer = Duration::from_millis(500);
    start_at(&[Address::Unix(path.clone())], Limits { answer, ..LIMITS }).await;
    let mut stream = asked_by_socket(&path, "/much").await;
    sleep(4 * answer).await;
    let mut taken = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut taken)).await;
    let read = read.expect("an end");
    assert!(read.is_err() || taken.len() < MUCH, "{} bytes", taken.len());
}
