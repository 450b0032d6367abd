//! Starts the agent under test on a port of its own, asks it, and ends it.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cgroup::Tree,
    exposition::{Exposition, Format},
    http::{self, Response},
    process, target_directory, wait,
};

/// Loading takes under a second; the rest is for a machine that does something else too.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long anything that the agent samples may take to show.
pub const SHOW_LIMIT: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 30;

/// The binary under test: `SESSIONSCOPE_BIN`, else what was built last.
pub fn binary() -> PathBuf {
    if let Some(binary) = env::var_os("SESSIONSCOPE_BIN") {
        return binary.into();
    }
    let built =
        ["release", "debug"].map(|profile| target_directory().join(profile).join("sessionscope"));
    let found = built
        .into_iter()
        .filter_map(|binary| Some((fs::metadata(&binary).ok()?.modified().ok()?, binary)))
        .max()
        .map(|(_, binary)| binary);
    found.expect("the agent is built: run `cargo xtask test`, or `cargo build -p sessionscope`")
}

/// A command that runs the agent with nothing of this process's environment that it would read.
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SESSIONSCOPE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A configuration, written as TOML.
#[derive(Clone, Debug)]
pub struct Configuration {
    keys: BTreeMap<String, String>,
    rules: Vec<String>,
}

impl Configuration {
    /// No rules, neither of its own nor built in; samples as often as can be, so that tests need not
    /// wait long.
    pub fn without_rules() -> Self {
        let none = Self {
            keys: BTreeMap::new(),
            rules: Vec::new(),
        };
        none.set("sampling.period", "\"200ms\"")
            .set("sessions.builtin_rules", "false")
    }

    /// One rule: the children of `tree` are sessions, called by their names.
    pub fn of(tree: &Tree) -> Self {
        let pattern = format!("^{}/(?<session>[^/]+)$", tree.path());
        Self::without_rules().rule("child", &pattern, "namespace = 'tests'\ntemplate = 'child'")
    }

    /// Sets a key to a value in TOML.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same, unless it is set already.
    #[must_use]
    pub fn set_default(mut self, key: &str, value: &str) -> Self {
        let entry = self.keys.entry(key.to_owned());
        entry.or_insert_with(|| value.to_owned());
        self
    }

    /// Adds a rule; `more` are further lines of it.
    #[must_use]
    pub fn rule(mut self, name: &str, pattern: &str, more: &str) -> Self {
        self.rules.push(format!(
            "[[rules]]\nname = '{name}'\npattern = '{pattern}'\n{more}\n"
        ));
        self
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let keys = self
            .keys
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        keys.chain(self.rules.iter().cloned()).collect()
    }
}

/// A running agent. Dropping it ends it; after a failure its log is shown.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Agent {
    /// Starts the agent and waits until it is ready.
    pub fn start(configuration: &Configuration) -> Self {
        Self::start_with(configuration, &[])
    }

    /// The same with environment variables.
    pub fn start_with(configuration: &Configuration, environment: &[(&str, PathBuf)]) -> Self {
        Self::try_start_with(configuration, environment).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the agent; an error is what one that has ended instead has said.
    pub fn try_start(configuration: &Configuration) -> Result<Self, String> {
        Self::try_start_with(configuration, &[])
    }

    fn try_start_with(
        configuration: &Configuration,
        environment: &[(&str, PathBuf)],
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("sessionscope.toml");
        fs::write(&file, configuration.text()).expect("the configuration can be written");
        let log = File::create(folder.path().join("log")).expect("the log can be made");
        let child = command(&binary())
            // The agent binds port 0 itself and logs which it got: no port is ever free twice.
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--config",
            ])
            .arg(&file)
            // Of its own: what another test's agent left is not to be counted here.
            .env(
                "SESSIONSCOPE_SESSIONS_STATE",
                folder.path().join("sessions.json"),
            )
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let mut agent = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        };
        agent.address = agent.wait_until(START_LIMIT, "it listens", |agent| {
            agent.logged("listening").into_iter().find_map(|record| {
                record["address"]
                    .as_str()
                    .and_then(|address| address.parse().ok())
            })
        })?;
        agent.wait_until(START_LIMIT, "it is ready", |agent| {
            let response = http::get(agent.address, "/readyz", &[]).ok()?;
            (response.status == 200).then_some(())
        })?;
        Ok(agent)
    }

    fn wait_until<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, String> {
        wait::until(what, limit, || {
            match self.child.try_wait().expect("the agent can be waited for") {
                Some(status) => Some(Err(format!(
                    "the agent has ended ({status}):\n{}",
                    self.log()
                ))),
                None => look(self).map(Ok),
            }
        })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its configuration file.
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.path().join("sessionscope.toml")
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The records that it has logged with a message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let records = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records
            .filter(|record| record["message"] == message)
            .collect()
    }

    /// Requests a path.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        http::get(self.address, path, headers)
            .unwrap_or_else(|error| panic!("the agent does not answer {path}: {error}"))
    }

    /// `/metrics` as text 0.0.4, parsed.
    pub fn metrics(&self) -> Exposition {
        let text = self.get("/metrics", &[]).text();
        Exposition::parse(&text, Format::Text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `/metrics` of a sample that was taken after this call began.
    pub fn fresh_metrics(&self) -> Exposition {
        let began = Instant::now();
        wait::until("a new sample", SHOW_LIMIT, || {
            let elapsed = began.elapsed();
            let metrics = self.metrics();
            let age = metrics.value("vdi_agent_sample_age_seconds", &[]);
            if age < elapsed.as_secs_f64() {
                return Some(metrics);
            }
            // A scrape costs the CPU that a test may be measuring.
            thread::sleep(Duration::from_millis(40));
            None
        })
    }

    /// `/api/v1/sessions`.
    pub fn report(&self) -> Value {
        let text = self.get("/api/v1/sessions", &[]).text();
        serde_json::from_str(&text).expect("/api/v1/sessions is JSON")
    }

    /// A session of `/api/v1/sessions` by its name.
    pub fn session(&self, name: &str) -> Option<Value> {
        let report = self.report();
        let sessions = report["sessions"].as_array().expect("sessions is an array");
        let mut found = sessions.iter().filter(|session| session["session"] == name);
        let first = found.next()?;
        assert!(found.next().is_none(), "the session {name} is there twice");
        Some(first.clone())
    }

    /// The same, waiting until it is there and as wanted.
    pub fn session_that(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("the session {name} {what}"), SHOW_LIMIT, || {
            self.session(name).filter(&wanted)
        })
    }

    /// Waits until sessions are measured.
    pub fn wait_for(&self, names: &[&str]) {
        for name in names {
            self.session_that(name, "is found", |_| true);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        process::wait(&mut self.child, limit)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        process::end(&mut self.child, STOP_LIMIT);
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("the agent's log ends:\n{}", end.join("\n"));
        }
    }
}
