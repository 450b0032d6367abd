//! A real Alertmanager, newer than the machine's suite has, and whoever it tells.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;
use tempfile::TempDir;

use crate::{
    documents::document,
    http, mount_namespace, process,
    prometheus::free_address,
    tools::{self, Package},
    wait,
};

const PACKAGE: Package<'_> = Package {
    name: "prometheus-alertmanager",
    suite: "sid",
    component: "main",
};
const FOLDER: &str = "alertmanager";
/// The configuration that is shipped.
pub const CONFIGURATION: &str = "deploy/alertmanager/alertmanager.yml";
/// Debian's looks for its templates there, whatever the configuration says.
const TEMPLATES: &str = "usr/share/prometheus/alertmanager";
const START: Duration = Duration::from_secs(20);

/// Labels of an alert.
pub type Labels = BTreeMap<String, String>;

/// `amtool`; an error says why it cannot be had.
pub fn amtool() -> anyhow::Result<PathBuf> {
    tools::file(FOLDER, &PACKAGE, "usr/bin/amtool")
}

/// The shipped configuration, with a webhook of the sink in the place of each receiver, by its name; groups do not
/// wait, and it is never the time of a maintenance.
///
/// # Panics
///
/// When it is not what it was.
pub fn shipped(sink: SocketAddr) -> String {
    let mut configuration: Yaml = serde_yaml_ng::from_str(&document(CONFIGURATION)).expect("YAML");
    let receivers = configuration["receivers"].as_sequence_mut();
    for receiver in receivers.expect("receivers") {
        let name = receiver["name"].as_str().expect("a name").to_owned();
        let url = format!("http://{sink}/{name}");
        let webhook = json!({"name": name, "webhook_configs": [{"url": url}]});
        *receiver = serde_yaml_ng::to_value(webhook).expect("YAML");
    }
    let globals = configuration["global"].as_mapping_mut().expect("globals");
    globals.retain(|key, _| {
        key.as_str()
            .is_some_and(|key| !key.contains("smtp") && !key.contains("slack"))
    });
    hurry(&mut configuration["route"]);
    serde_yaml_ng::to_string(&configuration).expect("YAML")
}

fn hurry(route: &mut Yaml) {
    for (key, time) in [
        ("group_wait", "0s"),
        ("group_interval", "1s"),
        ("repeat_interval", "1h"),
    ] {
        route[key] = time.into();
    }
    let keys = route.as_mapping_mut().expect("a route");
    keys.remove("mute_time_intervals");
    for route in route["routes"].as_sequence_mut().into_iter().flatten() {
        hurry(route);
    }
}

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Alertmanager {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Alertmanager {
    /// Starts one with a configuration and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start(configuration: &str) -> Self {
        let binary = tools::file(FOLDER, &PACKAGE, "usr/bin/prometheus-alertmanager");
        let binary = binary.unwrap_or_else(|error| panic!("{error:#}"));
        let unpacked = crate::target_directory().join("tools").join(FOLDER);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("configuration"), configuration).expect("a file can be written");
        let address = free_address();
        let mut command = Command::new(binary);
        let log = File::create(path("log")).expect("a file can be made");
        command
            .arg(format!("--config.file={}", path("configuration").display()))
            .arg(format!("--storage.path={}", path("state").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        let spawn = move || command.spawn().expect("Alertmanager can be started");
        let child = with_templates(&unpacked.join(TEMPLATES), spawn);
        let mut alertmanager = Self {
            child,
            address,
            folder,
        };
        wait::until("Alertmanager is ready", START, || {
            if let Some(status) = alertmanager.child.try_wait().expect("it is a child") {
                let log = fs::read_to_string(alertmanager.folder.path().join("log"));
                panic!(
                    "Alertmanager has ended ({status}): {}",
                    log.unwrap_or_default()
                );
            }
            let response = http::get(address, "/-/ready", &[]).ok()?;
            (response.status == 200).then_some(())
        });
        alertmanager
    }

    /// Where it takes alerts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands it alerts that fire for as long as its `resolve_timeout` is.
    ///
    /// # Panics
    ///
    /// When it does not take them.
    pub fn take(&self, alerts: &[Labels]) {
        let alerts: Vec<Value> = alerts
            .iter()
            .map(|labels| json!({ "labels": labels }))
            .collect();
        let body = Value::from(alerts).to_string();
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "POST /api/v2/alerts HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("a request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The alerts that it has, and whether each is inhibited; `None` while it has not looked at one.
    pub fn alerts(&self) -> Option<Vec<(Labels, bool)>> {
        let text = http::get(self.address, "/api/v2/alerts", &[])
            .expect("it answers")
            .text();
        let alerts: Vec<Value> = serde_json::from_str(&text).expect("it answers in JSON");
        let one = |alert: &Value| {
            if alert["status"]["state"] == "unprocessed" {
                return None;
            }
            let inhibited = alert["status"]["inhibitedBy"].as_array().expect("a list");
            let labels = serde_json::from_value(alert["labels"].clone()).expect("labels");
            Some((labels, !inhibited.is_empty()))
        };
        alerts.iter().map(one).collect()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        process::end(&mut self.child, START);
    }
}

/// Runs `work` where the templates of the package are in their place, if the machine has none.
fn with_templates<T: Send>(templates: &Path, work: impl FnOnce() -> T + Send) -> T {
    let place = Path::new("/").join(TEMPLATES);
    if place.is_dir() {
        return work();
    }
    mount_namespace::with_folder_alone_at(templates, &place, work)
}

/// What a receiver was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The path by which it was told: the test's name for the receiver.
    pub path: String,
    /// Whether the alert fires or is over.
    pub firing: bool,
    /// The alert.
    pub labels: Labels,
}

/// Whoever takes webhooks.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Sink {
    /// One that listens from now on, until the test ends.
    ///
    /// # Panics
    ///
    /// When loopback has no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let all = Arc::clone(&told);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream, &all));
            }
        });
        Self { address, told }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it was told.
    pub fn told(&self) -> Vec<Told> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Takes requests of one connection, as long as they are whole.
fn serve(mut stream: TcpStream, told: &Mutex<Vec<Told>>) {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    loop {
        while let Some((request, length)) = request(&bytes) {
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(request);
            bytes.drain(..length);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
        match stream.read(&mut part) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
}

/// What the first request says, and how long it is, if it is there as a whole.
fn request(bytes: &[u8]) -> Option<(Vec<Told>, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    let body = rest.as_bytes().get(..length)?;
    let message: Value = serde_json::from_slice(body).ok()?;
    let alerts = message["alerts"].as_array()?.iter();
    let one = |alert: &Value| Told {
        path: path.clone(),
        firing: alert["status"] == "firing",
        labels: serde_json::from_value(alert["labels"].clone()).unwrap_or_default(),
    };
    Some((alerts.map(one).collect(), head.len() + 4 + length))
}
