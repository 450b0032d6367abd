//! An engine that answers what it is told to: what real ones do is in `tests/tests/runtimes.rs`.

mod missed;

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
    /// Status and message instead of the description.
    refused: BTreeMap<&'static str, (u16, &'static str)>,
    /// The list, too, is refused.
    refuses_list: bool,
    /// How long a description takes.
    delay: Duration,
    is_podman: bool,
    asked: Vec<String>,
    /// By which paths the events were followed.
    streams: Vec<String>,
    /// Events that were, and by which paths they were asked for.
    past: Vec<String>,
    replays: Vec<String>,
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
            let stays = r#"{"HostConfig":{"AutoRemove":false},"#;
            let one = DOCKER_RUNNING.replacen('{', stays, 1);
            let other = one.replace(ID, OTHER).replace("-ada", "-bob");
            script.containers.insert(ID, one);
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
        self.events.send(event(action, id, attributes)).unwrap();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }
}

fn event(action: &str, id: &str, attributes: &str) -> String {
    format!(
        r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{{attributes}}}}}}}"#
    )
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
    if path.starts_with("/events") && !path.contains("&until=") {
        script.lock().unwrap().streams.push(path);
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
    let (status, body, server, delay) = {
        let mut script = script.lock().unwrap();
        let refusal = |message: &str| format!(r#"{{"message":"{message}"}}"#);
        let own = if script.is_podman {
            "/v4.0.0/libpod"
        } else {
            ""
        };
        let server = if script.is_podman {
            "Libpod/5.4.2"
        } else {
            "Docker/20.10"
        };
        let delay = script.delay;
        let (status, body) = if path.starts_with("/events") {
            script.replays.push(path);
            (200, script.past.join("\n") + "\n")
        } else if path.starts_with("/containers/json") {
            if script.refuses_list {
                (500, refusal("container has already been removed"))
            } else {
                (200, script.list.clone())
            }
        } else if let Some(rest) = path.strip_prefix(&format!("{own}/containers/")) {
            let id = rest.strip_suffix("/json").unwrap().to_owned();
            script.asked.push(id.clone());
            let id = id.as_str();
            match (script.refused.get(id), script.containers.get(id)) {
                (Some((status, message)), _) => (*status, refusal(message)),
                (None, Some(container)) => (200, container.clone()),
                (None, None) => (404, refusal("No such container")),
            }
        } else {
            panic!("{path}")
        };
        (status, body, server, delay)
    };
    sleep(delay).await;
    let head = format!(
        "HTTP/1.1 {status} OK\r\nServer: {server} (linux)\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Who finds it too long does not read all of it.
    let _closed = stream.write_all(body.as_bytes()).await;
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

    async fn gone(&mut self, id: &str) {
        let gone = Update::Gone(Key::Container(id.to_owned()));
        assert_eq!(self.next().await, gone);
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
    told.gone(OTHER).await;
    // Of one that removes itself even after it is gone.
    engine.say("stop", OTHER, r#""name":"desk-bob""#);
    engine.say("rename", ID, r#""name":"desk-ada""#);
    engine.say("die", ID, r#""exitCode":"3""#);
    let next = told.changed().await;
    assert_eq!(next.session.unwrap().name, "desk-ada");
}

/// An engine whose events are followed, and which has the container [`ID`].
async fn followed(is_podman: bool) -> (Engine, Told) {
    let engine = Engine::start(&[ID]);
    engine.script.lock().unwrap().is_podman = is_podman;
    let mut told = watch(engine.socket(), Watch::Auto);
    assert_eq!(told.next().await, Update::Up);
    assert_eq!(told.names().await, ["desk-ada"]);
    told.success().await;
    connected(&engine).await;
    (engine, told)
}

#[tokio::test]
async fn a_container_that_is_being_removed_costs_neither_the_stream_nor_its_end() {
    for (is_podman, refusal) in [
        (
            true,
            (500, "inspecting: container has already been removed"),
        ),
        (true, (500, "database is locked")),
        (false, (404, "No such container")),
        (false, (409, "removal in progress")),
        (false, (500, "driver failed to get layer")),
    ] {
        let (engine, mut told) = followed(is_podman).await;
        engine.script.lock().unwrap().refused.insert(ID, refusal);
        engine.say("die", ID, r#""exitCode":"7","name":"desk-ada""#);
        let ended = told.changed().await;
        assert_eq!(ended.details["exit code"], "7", "{refusal:?}");
        let by_force = refusal.1.contains("already been removed");
        let end = if by_force {
            EndReason::Completed
        } else {
            EndReason::Error
        };
        assert_eq!(ended.end, Some(end), "{refusal:?}");
        assert_eq!(ended.session.unwrap().name, "desk-ada");
        engine.say("destroy", ID, "");
        told.gone(ID).await;
        engine.say("create", OTHER, "");
        assert_eq!(told.changed().await.session.unwrap().name, "desk-bob");
        let streams = engine.script.lock().unwrap().streams.len();
        assert_eq!(streams, 1, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_container_that_was_never_described_is_what_its_events_say() {
    for is_podman in [false, true] {
        let (engine, mut told) = followed(is_podman).await;
        engine.script.lock().unwrap().containers.remove(OTHER);
        let known = r#""name":"desk-eve","image":"desks/blender:4.2","sessionscope/user":"eve""#;
        engine.say("create", OTHER, known);
        let made = told.changed().await;
        assert_eq!(made.session.unwrap().name, "desk-eve");
        assert_eq!(made.template.unwrap().name, "desks/blender");
        assert_eq!(made.user.unwrap().name, "eve");
        engine.say("start", OTHER, known);
        let started = told.changed().await.phase;
        assert_eq!(started, Some(PlatformPhase::Running));
        engine.say("rename", OTHER, r#""name":"desk-mallory""#);
        assert_eq!(told.changed().await.session.unwrap().name, "desk-mallory");
        let code = if is_podman {
            "containerExitCode"
        } else {
            "exitCode"
        };
        engine.say("die", OTHER, &format!(r#""{code}":"3",{known}"#));
        let ended = told.changed().await;
        assert_eq!(ended.end, Some(EndReason::Error));
        assert_eq!(ended.details["exit code"], "3");
        engine.say("remove", OTHER, known);
        told.gone(OTHER).await;
    }
}

#[tokio::test]
async fn a_container_that_its_user_stopped_has_completed_in_every_order_of_the_events() {
    const DIED: (&str, &str) = ("died", r#""containerExitCode":"143""#);
    const STOP: (&str, &str) = ("stop", "");
    const KILL: (&str, &str) = ("kill", "");
    let end = |code: i64| {
        let exited = DOCKER_RUNNING.replace("\"running\"", "\"exited\"");
        exited.replace("\"ExitCode\": 0", &format!("\"ExitCode\": {code}"))
    };
    let by_user = end(143).replace("\"Dead\"", "\"StoppedByUser\": true, \"Dead\"");
    let gone = (500, "container has already been removed");
    let completed = Some(EndReason::Completed);
    for (case, events, described, refusal, wanted) in [
        ("no stop at all", &[DIED][..], &by_user, None, completed),
        ("stop first", &[STOP, DIED][..], &end(143), None, completed),
        ("stop last", &[DIED, STOP][..], &end(143), None, completed),
        ("both", &[STOP, DIED][..], &by_user, None, completed),
        ("a kill", &[KILL, DIED][..], &end(143), None, completed),
        (
            "removed by force",
            &[DIED][..],
            &end(143),
            Some(gone),
            completed,
        ),
        (
            "stopped, then removed",
            &[STOP, DIED][..],
            &end(143),
            Some(gone),
            completed,
        ),
        (
            "nobody",
            &[DIED][..],
            &end(143),
            None,
            Some(EndReason::Signal),
        ),
    ] {
        for delay in [Duration::ZERO, Duration::from_millis(50)] {
            let (engine, mut told) = followed(true).await;
            {
                let mut script = engine.script.lock().unwrap();
                script.containers.insert(ID, described.clone());
                script.refused.extend(refusal.map(|refusal| (ID, refusal)));
                script.delay = delay;
            }
            for (action, attributes) in events {
                engine.say(action, ID, attributes);
            }
            engine.say("remove", ID, "");
            // What was said last before it was gone.
            let mut last = None;
            while let Update::Changed(_, facts) = told.next().await {
                last = facts.end;
            }
            assert_eq!(last, wanted, "{case} {delay:?}");
        }
    }
}

#[tokio::test]
async fn what_is_too_long_is_an_error_of_its_own() {
    let long = |mib: usize| "x".repeat(mib << 20);
    let (engine, mut told) = followed(false).await;
    {
        let mut script = engine.script.lock().unwrap();
        let label = format!("\"x\": \"{}\", \"sessionscope/user\"", long(5));
        let described = DOCKER_RUNNING.replace("\"sessionscope/user\"", &label);
        script
            .containers
            .insert(OTHER, described.replace(ID, OTHER));
        script.list = format!(r#"[{{"Id":"{ID}"}},{{"Id":"{OTHER}"}}]"#);
    }
    // An event that is too long: what has happened, a comparison finds.
    engine.say("create", OTHER, &format!(r#""x":"{}""#, long(5)));
    assert_eq!(told.names().await, ["desk-ada"]);
    told.success().await;

    // A list that is too long, or refused, costs the comparison only.
    for refuses_list in [false, true] {
        {
            let mut script = engine.script.lock().unwrap();
            script.list = format!(r#"["{}"]"#, long(17));
            script.refuses_list = refuses_list;
        }
        engine.say("create", OTHER, &format!(r#""x":"{}""#, long(5)));
        let update = told.next().await;
        let outcome = match update {
            Update::Reconciled { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        };
        assert!(matches!(outcome, Outcome::Error(_)), "{outcome:?}");
        let code = if refuses_list { "4" } else { "5" };
        engine.say("die", ID, &format!(r#""exitCode":"{code}""#));
        assert_eq!(told.changed().await.details["exit code"], code);
    }
    assert_eq!(engine.script.lock().unwrap().streams.len(), 1);

    // Where nothing else is known, it says what to do.
    engine.script.lock().unwrap().refuses_list = false;
    let mut told = watch(engine.socket(), Watch::Auto);
    assert!(matches!(told.next().await, Update::Reconciled { .. }));
    let Update::Down(reason) = told.next().await else {
        panic!("it is down")
    };
    let (_, reason) = reason.split_once("%7D: ").unwrap();
    assert_eq!(reason, "longer than 16 MiB: shorten the labels");
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
