//! The server: TLS, the paths of the API, and the switch that turns it off.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    access::Access,
    credentials::{Credentials, TOKEN},
    store::{Fault, Store},
};

/// Objects of a page: fewer than a client asks for, which a server may do.
const PAGE: usize = 50;

/// A server on a port of the loopback address. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    credentials: Credentials,
    address: SocketAddr,
    shared: Arc<Shared>,
    /// While it is on.
    serving: Option<JoinHandle<()>>,
}

/// What makes a pod's agent of an agent.
#[derive(Debug)]
pub struct InCluster {
    /// Keys of its configuration, with their values as TOML.
    pub keys: Vec<(&'static str, String)>,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

#[derive(Debug)]
struct Shared {
    access: Access,
    store: Mutex<Store>,
    /// Tells the watches that something has changed.
    changed: watch::Sender<()>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("nobody has panicked")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let result = change(&mut self.store());
        self.changed.send_replace(());
        result
    }
}

impl Server {
    /// A server without objects that is on.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let mut server = Self {
            runtime,
            credentials: Credentials::new(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            shared: Arc::new(Shared {
                access: Access::of_manifest(),
                store: Mutex::new(Store::new()),
                changed: watch::Sender::new(()),
            }),
            serving: None,
        };
        server.turn_on();
        server
    }

    /// Serves, on the port that it had before.
    pub fn turn_on(&mut self) {
        let bound = self.runtime.block_on(TcpListener::bind(self.address));
        let listener = bound.expect("the port can be had");
        self.address = listener.local_addr().expect("a socket has an address");
        let listener = Tls {
            listener,
            acceptor: TlsAcceptor::from(Arc::clone(&self.credentials.tls)),
        };
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&self.shared));
        self.serving = Some(self.runtime.spawn(async move {
            let Err(error) = axum::serve(listener, app).await else {
                return;
            };
            panic!("the server has ended: {error}");
        }));
    }

    /// Is away: no connection is accepted, and those that there are end.
    pub fn turn_off(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _aborted = self.runtime.block_on(serving);
        }
        self.end_watches();
    }

    /// Settings of an agent that is a pod of this cluster on a node.
    pub fn in_cluster(&self, node: &str) -> InCluster {
        let quoted = |text: &dyn std::fmt::Display| format!("'{text}'");
        let keys = vec![
            (
                "kubernetes.service_account",
                quoted(&self.credentials.folder().display()),
            ),
            ("kubernetes.node", quoted(&node)),
        ];
        let environment = vec![
            ("KUBERNETES_SERVICE_HOST", PathBuf::from("127.0.0.1")),
            (
                "KUBERNETES_SERVICE_PORT",
                PathBuf::from(self.address.port().to_string()),
            ),
        ];
        InCluster { keys, environment }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.credentials.kubeconfig(self.address.port())
    }

    /// Writes an object.
    pub fn apply(&self, object: Value) {
        self.shared.change(|store| store.apply(object));
    }

    /// Removes a pod.
    pub fn delete(&self, namespace: &str, name: &str) {
        self.shared.change(|store| store.delete(namespace, name));
    }

    /// Sends a bookmark, and returns its resource version.
    pub fn bookmark(&self) -> u64 {
        self.shared.change(|store| {
            store.bookmark();
            store.version()
        })
    }

    /// Shows the watches a line that is no event.
    pub fn say(&self, line: &str) {
        self.shared.change(|store| {
            store.bookmark();
            let version = store.version();
            store.lines.push((version, line.to_owned()));
        });
    }

    /// Ends every watch in order, as a server does after some minutes.
    pub fn end_watches(&self) {
        self.shared.change(|store| store.generation += 1);
    }

    /// Forgets what happened, so that a watch from before is told 410.
    pub fn expire(&self) {
        self.shared.change(Store::compact);
    }

    /// Lets the next requests go wrong, and ends the watches so that there are some.
    pub fn fail(&self, faults: &[Fault]) {
        self.shared.change(|store| {
            store.faults.extend(faults);
            store.lines.clear();
            store.compact();
            store.generation += 1;
        });
    }

    /// Whether all faults have happened.
    pub fn has_failed(&self) -> bool {
        self.shared.store().faults.is_empty()
    }

    /// Resource versions that watches began from, oldest first.
    pub fn watched_from(&self) -> Vec<u64> {
        self.shared.store().watched_from.clone()
    }

    /// How often the pods have been listed.
    pub fn lists(&self) -> u64 {
        self.shared.store().lists
    }

    /// What was asked for and may not be.
    pub fn violations(&self) -> Vec<String> {
        self.shared.store().violations.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.turn_off();
    }
}

/// A listener that speaks TLS.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                continue;
            };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn status(code: u16, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let code = StatusCode::from_u16(code).expect("a status of HTTP");
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// The resource of a path of the core API, and whether it is one object.
fn resource(path: &str) -> (String, bool) {
    let Some(path) = path.strip_prefix("/api/v1/") else {
        return (path.to_owned(), false);
    };
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["namespaces", _, resource] | [resource] => (resource.to_owned(), false),
        ["namespaces", _, resource, _] => (resource.to_owned(), true),
        ["namespaces", _, resource, _, below] => (format!("{resource}/{below}"), true),
        _ => (path.to_owned(), false),
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let fault = shared.store().faults.pop_front();
    match fault {
        Some(Fault::Status(code, reason)) => return status(code, reason, "a fault of the tests"),
        Some(Fault::Nonsense) => {
            return "<html>502 from something in between</html>".into_response();
        }
        Some(Fault::HangUp) => {
            let torn = futures_util::stream::iter([Err::<&str, _>(std::io::Error::other("torn"))]);
            return Body::from_stream(torn).into_response();
        }
        None => {}
    }
    let wanted = format!("Bearer {TOKEN}");
    let given = request.headers().get(header::AUTHORIZATION);
    if given.and_then(|value| value.to_str().ok()) != Some(&wanted) {
        return status(401, "Unauthorized", "Unauthorized");
    }
    let (resource, one) = resource(request.uri().path());
    let is_watch = query.get("watch").is_some_and(|value| value == "true");
    let verb = match (request.method().as_str(), one, is_watch) {
        ("GET", _, true) => "watch",
        ("GET", true, false) => "get",
        ("GET", false, false) => "list",
        ("POST", ..) => "create",
        ("PUT", ..) => "update",
        ("PATCH", ..) => "patch",
        _ => "delete",
    };
    let selector = query.get("fieldSelector").cloned().unwrap_or_default();
    let node = selector.strip_prefix("spec.nodeName=");
    let (Some(node), true) = (node, shared.access.allows(verb, &resource)) else {
        let asked = format!("{verb} {resource} with fieldSelector={selector:?}");
        shared.store().violations.push(asked.clone());
        return status(403, "Forbidden", &format!("forbidden: {asked}"));
    };
    match (verb, resource.as_str()) {
        ("list", "pods") => list(&shared, node, &query),
        ("watch", "pods") => follow(shared, node.to_owned(), &query),
        _ => status(404, "NotFound", "the server of the tests has only pods"),
    }
}

fn list(shared: &Shared, node: &str, query: &HashMap<String, String>) -> Response {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (after, most) = (
        number("continue").unwrap_or(0),
        number("limit").unwrap_or(PAGE),
    );
    let mut store = shared.store();
    let (items, next) = store.page(node, after, most.min(PAGE));
    store.lists += u64::from(after == 0);
    let body = json!({
        "kind": "PodList", "apiVersion": "v1",
        "metadata": {
            "resourceVersion": store.version().to_string(),
            "continue": next.map(|next| next.to_string()).unwrap_or_default(),
        },
        "items": items,
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// Lines of events, for as long as the client listens or its time lasts.
fn follow(shared: Arc<Shared>, node: String, query: &HashMap<String, String>) -> Response {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let from = number("resourceVersion").unwrap_or(0);
    let seconds = number("timeoutSeconds").unwrap_or(300);
    let bookmarks = query
        .get("allowWatchBookmarks")
        .is_some_and(|value| value == "true");
    let generation = {
        let mut store = shared.store();
        store.watched_from.push(from);
        if !bookmarks {
            store
                .violations
                .push("a watch without bookmarks".to_owned());
        }
        store.generation
    };
    let (send, receive) = tokio::sync::mpsc::channel::<Result<String, Infallible>>(16);
    tokio::spawn(async move {
        let mut changed = shared.changed.subscribe();
        let mut from = from;
        let over = tokio::time::sleep(Duration::from_secs(seconds));
        tokio::pin!(over);
        loop {
            let (news, ended) = {
                let store = shared.store();
                (store.since(from, &node), store.generation != generation)
            };
            let Some(news) = news else {
                let expired = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "too old resource version", "reason": "Expired", "code": 410,
                });
                let event = json!({"type": "ERROR", "object": expired});
                let _gone = send.send(Ok(format!("{event}\n"))).await;
                return;
            };
            for (version, line) in news {
                from = from.max(version);
                if send.send(Ok(format!("{line}\n"))).await.is_err() {
                    return;
                }
            }
            if ended {
                return;
            }
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                () = &mut over => return,
                () = send.closed() => return,
            }
        }
    });
    let lines = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|line| (line, receive))
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(lines),
    )
        .into_response()
}
