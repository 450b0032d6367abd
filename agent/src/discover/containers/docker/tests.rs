//! An engine that answers what it is told to: what real ones do is in `tests/tests/containers.rs`.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::broadcast,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::discover::platform::EndReason;

const DOCKER_RUNNING: &str = include_str!("recorded/docker-running.json");
const ID: &str = "352ae2d01b1d3778307e7b129d60a1a58700122da520ff2f48274b21269a266d";
const OTHER: &str = "46d6a7a674afbab958da053dc02a95b15829c6056c986dec232925489ecdfedb";
const LIMIT: Duration = Duration::from_secs(10);

/// What it answers; lines of events are sent as they come.
#[derive(Default)]
struct Script {
    list: String,
    containers: BTreeMap<&'static str, String>,
    asked: Vec<String>,
}

struct Engine {
    folder: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
    events: broadcast::Sender<String>,
    server: Option<JoinHandle<()>>,
}

impl Engine {
    fn start(list: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (events, _) = broadcast::channel(16);
        let listed = list
            .iter()
            .map(|id| format!(r#"{{"Id":"{id}","Names":["/x"],"State":"running"}}"#));
        let listed: Vec<String> = listed.collect();
        let mut engine = Self {
            folder,
            script: Arc::default(),
            events,
            server: None,
        };
        {
            let mut script = engine.script.lock().unwrap();
            script.list = format!("[{}]", listed.join(","));
            script.containers.insert(ID, DOCKER_RUNNING.to_owned());
            let other = DOCKER_RUNNING.replace(ID, OTHER).replace("-ada", "-bob");
            script.containers.insert(OTHER, other);
        }
        engine.listen();
        engine
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn listen(&mut self) {
        let _absent = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (script, events) = (Arc::clone(&self.script), self.events.clone());
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&script), events.clone()));
            }
        });
        self.server = Some(server);
    }

    async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        server.abort();
        let _aborted = server.await;
    }

    fn say(&self, action: &str, id: &str, attributes: &str) {
        let event = format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{{attributes}}}}}}}"#
        );
        self.events.send(event).unwrap();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }
}

async fn answer(
    mut stream: UnixStream,
    script: Arc<Mutex<Script>>,
    events: broadcast::Sender<String>,
) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]);
    let path = request.split(' ').nth(1).unwrap().to_owned();
    if path.starts_with("/events") {
        let mut events = events.subscribe();
        // As Podman: nothing before the first event.
        let mut first = true;
        while let Ok(event) = events.recv().await {
            if std::mem::take(&mut first) {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
            }
            // In two parts, which no reader may rely on.
            let (one, two) = event.split_at(event.len() / 2);
            for part in [one, &format!("{two}\n")] {
                let chunk = format!("{:x}\r\n{part}\r\n", part.len());
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        return;
    }
    let (status, body) = {
        let mut script = script.lock().unwrap();
        let mut parts = path.split('/').skip(2);
        let id = parts.next().unwrap_or_default().to_owned();
        if path.starts_with("/containers/json") {
            (200, script.list.clone())
        } else {
            script.asked.push(id.clone());
            match script.containers.get(id.as_str()) {
                Some(container) => (200, container.clone()),
                None => (404, r#"{"message":"No such container"}"#.to_owned()),
            }
        }
    };
    let head = format!(
        "HTTP/1.1 {status} OK\r\nServer: Docker/20.10 (linux)\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

struct Ear(mpsc::UnboundedSender<Update>);

impl Listener for Ear {
    async fn send(&self, update: Update) -> Result<(), Closed> {
        self.0.send(update).map_err(|_| Closed)
    }
}

struct Told(mpsc::UnboundedReceiver<Update>);

impl Told {
    async fn next(&mut self) -> Update {
        let update = timeout(LIMIT, self.0.recv()).await;
        update.expect("it says something").expect("it runs")
    }

    async fn names(&mut self) -> Vec<String> {
        match self.next().await {
            Update::All(all) => all
                .into_values()
                .map(|facts| facts.session.unwrap().name)
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The success of a comparison, after its first words.
    async fn success(&mut self) {
        let update = self.next().await;
        let success = matches!(
            update,
            Update::Reconciled {
                outcome: Outcome::Success,
                ..
            }
        );
        assert!(success, "{update:?}");
    }

    async fn changed(&mut self) -> Facts {
        match self.next().await {
            Update::Changed(_, facts) => facts,
            other => panic!("{other:?}"),
        }
    }
}

fn watch(socket: PathBuf, watch: Watch) -> Told {
    let (ear, told) = mpsc::unbounded_channel();
    tokio::spawn(async move { run(socket, watch, &Ear(ear)).await });
    Told(told)
}

async fn connected(engine: &Engine) {
    while engine.events.receiver_count() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn events_change_what_is_known() {
    let engine = Engine::start(&[ID]);
    let mut told = watch(engine.socket(), Watch::Auto);
    assert_eq!(told.next().await, Update::Up);
    assert_eq!(told.names().await, ["desk-ada"]);
    told.success().await;
    connected(&engine).await;

    engine.say("create", OTHER, "");
    assert_eq!(told.changed().await.session.unwrap().name, "desk-bob");
    // What changes nothing is not told.
    engine.say("health_status: healthy", ID, "");
    engine.say("kill", ID, r#""signal":"15""#);
    engine.say("exec_die", ID, "");
    engine.say("kill", "not an id", "");
    engine.say("die", ID, r#""exitCode":"7""#);
    let ended = told.changed().await;
    assert_eq!(ended.end, Some(EndReason::Completed));
    assert_eq!(ended.details["exit code"], "7");
    // Started again, it has not ended.
    engine.say("start", ID, "");
    assert_eq!(told.changed().await.end, None);

    // One that removes itself cannot be asked any more.
    engine.script.lock().unwrap().containers.remove(OTHER);
    engine.say("oom", OTHER, "");
    engine.say("die", OTHER, r#""exitCode":"137""#);
    assert_eq!(told.changed().await.end, Some(EndReason::OomKilled));
    // That it was stopped, Docker tells last.
    engine.say("stop", OTHER, "");
    assert_eq!(told.changed().await.end, Some(EndReason::Completed));
    engine.say("destroy", OTHER, "");
    let gone = Update::Gone(Key::Container(OTHER.to_owned()));
    assert_eq!(told.next().await, gone);
}

#[tokio::test]
async fn an_engine_that_comes_back_is_compared_and_only_new_containers_are_asked_for() {
    let mut engine = Engine::start(&[ID, OTHER]);
    let mut told = watch(engine.socket(), Watch::Auto);
    assert_eq!(told.next().await, Update::Up);
    assert_eq!(told.names().await, ["desk-ada", "desk-bob"]);
    told.success().await;
    connected(&engine).await;
    engine.asked();

    engine.stop().await;
    let Update::Down(reason) = told.next().await else {
        panic!("it is down")
    };
    assert!(reason.contains("docker.sock: "), "{reason}");
    // The first of them is gone, and cannot be told from one that has only ended but by asking.
    {
        let mut script = engine.script.lock().unwrap();
        script.list = format!(r#"[{{"Id":"{OTHER}","Names":["/x"],"State":"running"}}]"#);
        script.containers.remove(ID);
    }
    engine.listen();
    loop {
        match told.next().await {
            Update::Up => break,
            Update::Down(_)
            | Update::Reconciled {
                outcome: Outcome::Error(_),
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told.names().await, ["desk-bob"]);
    told.success().await;
    assert_eq!(engine.asked(), [ID]);
}

#[tokio::test]
async fn a_container_that_makes_no_sense_costs_itself_only() {
    let engine = Engine::start(&[ID, OTHER]);
    {
        let mut script = engine.script.lock().unwrap();
        script.containers.insert(ID, "{}".to_owned());
        script.list = script.list.replacen('[', r#"[7,{"Id":"../events"},"#, 1);
    }
    let mut told = watch(engine.socket(), Watch::On);
    assert_eq!(told.next().await, Update::Up);
    assert_eq!(told.names().await, ["desk-bob"]);
    told.success().await;
}

#[tokio::test]
async fn what_is_no_list_is_an_error_that_names_the_socket() {
    let engine = Engine::start(&[]);
    engine.script.lock().unwrap().list = "no JSON".to_owned();
    let mut told = watch(engine.socket(), Watch::Auto);
    let update = told.next().await;
    assert!(
        matches!(
            update,
            Update::Reconciled {
                outcome: Outcome::Error(ErrorType::Validation),
                ..
            }
        ),
        "{update:?}"
    );
    let Update::Down(reason) = told.next().await else {
        panic!("it is down")
    };
    assert!(reason.contains("docker.sock: /containers/json"), "{reason}");
}

#[tokio::test]
async fn an_engine_that_is_not_here_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let mut told = watch(socket.clone(), Watch::Auto);
    let reason = format!("{}: it is not there", socket.display());
    assert_eq!(told.next().await, Update::Down(reason.clone()));
    let silent = timeout(Duration::from_millis(700), told.0.recv()).await;
    assert!(silent.is_err(), "{silent:?}");

    // One that is wanted is missed.
    let mut told = watch(socket, Watch::On);
    let error = Outcome::Error(ErrorType::NotFound);
    assert!(matches!(told.next().await, Update::Reconciled { outcome, .. } if outcome == error));
    assert_eq!(told.next().await, Update::Down(reason));
    assert!(matches!(told.next().await, Update::Reconciled { outcome, .. } if outcome == error));
}

#[test]
fn filters_are_json_in_a_query() {
    assert_eq!(
        filters(&[("status", &["paused"])]),
        "%7B%22status%22%3A%5B%22paused%22%5D%7D"
    );
}
