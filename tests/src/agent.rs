//! Starts the agent under test on a port of its own, asks it, and ends it.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

pub use lab::agent::command;
use lab::programs::{AGENT, developed, released};
use nix::sys::signal::Signal;
use serde_json::Value;
use sessionscope::telemetry::{Event, SUBJECT};

use crate::{
    cgroup::Tree,
    exposition::{Exposition, Format},
    http::Response,
    wait,
};

/// How long anything that the agent samples may take to show.
pub const SHOW_LIMIT: Duration = Duration::from_secs(5);

/// The binary under test: `SESSIONSCOPE_BIN`, else what was built last.
pub fn binary() -> PathBuf {
    if let Some(binary) = env::var_os("SESSIONSCOPE_BIN") {
        return binary.into();
    }
    let found = [released(AGENT), developed(AGENT)]
        .into_iter()
        .filter_map(|binary| Some((fs::metadata(&binary).ok()?.modified().ok()?, binary)))
        .max()
        .map(|(_, binary)| binary);
    found.expect("the agent is built: run `cargo xtask test`, or `cargo build -p sessionscope`")
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

/// A running agent, as [`lab::agent`] starts it; what fails is a panic. After a failure its log is shown.
#[derive(Debug)]
pub struct Agent(lab::agent::Agent);

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

    /// The same by a command that becomes the agent: the agent's arguments follow its own.
    pub fn start_by(
        command: Command,
        configuration: &Configuration,
        environment: &[(&str, PathBuf)],
    ) -> Self {
        let started = Self::try_start_by(command, configuration, environment);
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same with environment variables.
    pub fn try_start_with(
        configuration: &Configuration,
        environment: &[(&str, PathBuf)],
    ) -> Result<Self, String> {
        Self::try_start_by(command(&binary()), configuration, environment)
    }

    fn try_start_by(
        command: Command,
        configuration: &Configuration,
        environment: &[(&str, PathBuf)],
    ) -> Result<Self, String> {
        // Debug events, too, are of the list.
        let configuration = configuration
            .clone()
            .set_default("log.level", "'info,sessionscope=debug'");
        let text = configuration.text();
        let pause = || {
            wait::pause();
            Ok(())
        };
        lab::agent::Agent::start(command, &text, environment, pause)
            .map(Self)
            .map_err(|error| format!("{error:#}"))
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Its configuration file.
    pub fn configuration_file(&self) -> PathBuf {
        self.0.configuration_file()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// The records of an event that it has logged.
    pub fn logged(&self, event: Event) -> Vec<Value> {
        self.0.logged(event.name())
    }

    /// Requests a path.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let answer = self.0.request(path, headers);
        answer.unwrap_or_else(|error| panic!("{error:#}"))
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
        self.0.signal(signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.0.ended(limit)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What it says at its end is of interest too.
        self.0.stop();
        if thread::panicking() {
            eprintln!("the agent's log ends:\n{}", self.0.end_of_log());
        } else {
            record_events(&self.0.log());
        }
    }
}

/// Reads what an agent has logged as a collector does, and notes the events where `xtask` gathers them. The list is
/// closed: there must be no other.
pub fn record_events(log: &str) {
    let mut seen = String::new();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        // An agent that was killed may have left half a line.
        let Ok(record) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let event = record["event"].as_str().unwrap_or_default();
        let known = Event::named(event);
        assert!(
            known.is_some() || event == "library",
            "no event of the list: {line}"
        );
        let Some(known) = known else { continue };
        let fields = record.as_object().expect("a line is an object").keys();
        let is_of_it = |field: &str| {
            ALWAYS.contains(&field)
                || known.fields().contains(&field)
                || (known.is_of_session() && SUBJECT.contains(&field))
        };
        for field in fields {
            assert!(is_of_it(field), "no field of {event}: {line}");
        }
        seen.push_str(event);
        seen.push('\n');
    }
    if let Some(path) = env::var_os("AGENT_EVENTS_SEEN") {
        let file = File::options().append(true).create(true).open(path);
        let mut file = file.expect("the file of events can be written");
        file.write_all(seen.as_bytes())
            .expect("events can be noted");
    }
}

/// The fields of every line.
const ALWAYS: [&str; 5] = ["ts", "level", "target", "event", "message"];
