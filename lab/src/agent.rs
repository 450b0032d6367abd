//! A running agent: its configuration, its process, its log and what it answers.
//!
//! It gets a port, a configuration and a folder of its own, so that it disturbs no agent that is already
//! on the machine, and nothing of it is left when it is dropped.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    command::cannot_start,
    exposition::{Exposition, Format},
    http::{self, Response},
    process,
    wait::{self, Late},
};

/// Loading the programs takes under a second; the rest is for a machine that does something else too.
const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 30;

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

/// A running agent; dropping it ends it, then removes its folder.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Agent {
    /// Starts what [`command`] made with a configuration file of this text, and waits until it is ready.
    /// `pause` is called while it is not; its error ends the agent.
    pub fn start(
        mut command: Command,
        configuration: &str,
        environment: &[(&str, PathBuf)],
        mut pause: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sessionscope-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let (file, log) = (configuration_in(&folder), log_in(&folder));
        fs::write(&file, configuration)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.args(["run", "--log-format", "json"]);
        // One that says where to listen has port 0 among it.
        if !configuration
            .lines()
            .any(|line| line.starts_with("listen ="))
        {
            // The agent binds port 0 itself and logs which it got: no port is ever free twice.
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
            .arg("--config")
            .arg(&file)
            // Of its own: what an earlier run left is not to be counted.
            .env(
                "SESSIONSCOPE_SESSIONS_STATE",
                folder.path().join("sessions.json"),
            )
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(output.try_clone().context("cannot share the log file")?)
            .stderr(output);
        let child = command.spawn().with_context(|| cannot_start(&command))?;
        let mut agent = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        };
        agent.address = agent.wait_until("the agent listens", &mut pause, Self::listens_on)?;
        agent.wait_until("the agent is ready", &mut pause, |agent| {
            let response = agent.request("/readyz", &[]).ok()?;
            (response.status == 200).then_some(())
        })?;
        Ok(agent)
    }

    fn wait_until<T>(
        &mut self,
        what: &str,
        pause: impl FnMut() -> Result<()>,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let found = wait::until(what, START_LIMIT, pause, || {
            self.check()?;
            Ok(look(self))
        });
        found.map_err(|error| match error.downcast::<Late>() {
            Ok(late) => self.failure(&format!("does not come up, {late}")),
            Err(error) => error,
        })
    }

    fn listens_on(&self) -> Option<SocketAddr> {
        let records = self.logged("listening").into_iter();
        let mut addresses = records.filter_map(|record| record["address"].as_str()?.parse().ok());
        addresses.next()
    }

    /// Fails with the end of the log if the agent has ended.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait();
        match ended.context("cannot ask after the agent")? {
            Some(status) => Err(self.failure(&format!("has ended ({status})"))),
            None => Ok(()),
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        anyhow::anyhow!("the agent {what}; its log ends:\n{}", self.end_of_log())
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
        configuration_in(&self.folder)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(log_in(&self.folder)).unwrap_or_default()
    }

    /// The last lines of that.
    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// The records of an event that it has logged, by the event's name.
    pub fn logged(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let records = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["event"] == event).collect()
    }

    /// Requests a path with headers of the caller's choice, whatever the answer's status.
    pub fn request(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        http::get(self.address, path, headers)
            .with_context(|| format!("the agent does not answer {path}"))
    }

    /// Requests a path and returns the body of a success.
    pub fn get(&mut self, path: &str) -> Result<String> {
        self.check()?;
        let answer = self.request(path, &[]).and_then(Response::success);
        match answer {
            Ok(answer) => Ok(answer.text()),
            Err(error) => Err(self.failure(&format!("has no {path}: {error:#}"))),
        }
    }

    /// `/metrics` as text 0.0.4, parsed.
    pub fn metrics(&mut self) -> Result<Exposition> {
        let text = self.get("/metrics")?;
        Exposition::parse(&text, Format::Text)
            .map_err(anyhow::Error::msg)
            .context("the agent's /metrics cannot be read")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        process::wait(&mut self.child, limit)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if !process::end(&mut self.child, STOP_LIMIT) {
            eprintln!(
                "warning: the agent did not end within {STOP_LIMIT:?} of SIGTERM and was killed"
            );
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configuration_in(folder: &TempDir) -> PathBuf {
    folder.path().join("sessionscope.toml")
}

fn log_in(folder: &TempDir) -> PathBuf {
    folder.path().join("agent.log")
}
