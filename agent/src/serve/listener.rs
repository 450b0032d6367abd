//! Accepts connections, and bounds what a client can hold.
//!
//! Anybody on the node, and where the agent listens for Prometheus anybody who reaches the port, may open
//! connections and leave them, or ask and not read. Neither may take the agent's descriptors or its memory.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use crate::error::Error;

/// What clients may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; with one more, the oldest is closed.
    pub connections: usize,
    /// How long a client may take for the head of a request, and be silent between two.
    pub request: Duration,
    /// How long a client may leave what was sent to it unread or unacknowledged.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Two Prometheus servers, the kubelet's probes and a few people are below ten; as many answers as
            // this, 2 MB each with 250 sessions, fit under the unit's and the pod's limit of 256 MiB.
            connections: 32,
            // Above the usual periods of scrapes, so that a scraper keeps its connection.
            request: Duration::from_secs(75),
            unread: Duration::from_secs(15),
        }
    }
}

/// Pause after a connection could not be accepted, as when the machine has no descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens on an address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })
}

/// Serves `app` for as long as it is polled.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits) {
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= limits.connections
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(answer(stream, app.clone(), limits));
        open.push_back(connection.abort_handle());
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, app: Router, limits: Limits) {
    // It also ends a connection whose window stays closed (tcp_probe_timer, net/ipv4/tcp_timer.c, 5.10).
    if let Err(error) = set_tcp_user_timeout(&stream, limits.unread.as_millis() as u32) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT not set");
    }
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        request: Duration::from_mins(1),
        unread: Duration::from_mins(1),
    };
    const SOON: Duration = Duration::from_secs(20);

    async fn start(limits: Limits) -> SocketAddr {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/", get(|| async { "here\n" }))
            .route("/much", get(|| async { vec![0; 32 << 20] }));
        tokio::spawn(serve(listener, app, limits));
        address
    }

    async fn asked(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
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
        for _ in 0..20 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut answer = String::new();
        let mut stream = asked(address, "/").await;
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        assert!(
            read.unwrap().is_ok() && answer.ends_with("here\n"),
            "{answer}"
        );
        assert!(is_ended(silent.swap_remove(0)).await);
    }

    #[tokio::test]
    async fn a_client_that_stays_silent_is_sent_away() {
        let request = Duration::from_millis(200);
        let address = start(Limits { request, ..LIMITS }).await;
        assert!(is_ended(TcpStream::connect(address).await.unwrap()).await);
        // Also after a request.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        assert!(is_ended(stream).await);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_sent_away() {
        let unread = Duration::from_millis(300);
        let address = start(Limits { unread, ..LIMITS }).await;
        let mut stream = asked(address, "/much").await;
        // The window is full within milliseconds; the kernel looks at its time-out when it probes the window.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut all = Vec::new();
        let read = timeout(SOON, stream.read_to_end(&mut all)).await.unwrap();
        assert!(read.is_err() || all.len() < 32 << 20, "{} bytes", all.len());
    }
}
