//! A running agent, as the demo and the benchmarks need one: its configuration, its process and its
//! log.
//!
//! It gets a port, a configuration and a folder of its own, so that it disturbs no agent that is
//! already on the machine, and nothing of it is left when it is dropped.

use std::fs::{self, DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;
use crate::http::{self, Answer};

/// The agent's usual port, which documentation and screenshots show; any other does as well.
const PORT: u16 = 9709;
/// Loading the programs takes under a second; the rest is for slow, emulated machines.
const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often to look whether the agent is up, or gone.
const POLL: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 20;

/// A running agent; dropping it ends it, then removes its folder.
pub(crate) struct Agent {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

impl Agent {
    /// Starts the agent with a configuration file of this text and waits until it is ready, or until
    /// something is received. `owner` is who needs it, for the name of its folder.
    pub(crate) fn start(
        owner: &str,
        configuration_text: &str,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        Self::start_with(owner, configuration_text, &[], interrupted)
    }

    /// The same with variables in its environment.
    pub(crate) fn start_with(
        owner: &str,
        configuration_text: &str,
        environment: &[(&str, PathBuf)],
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let mut binary = Command::new(command::agent_binary());
        binary.envs(environment.iter().cloned());
        Self::start_binary(binary, owner, configuration_text, interrupted)
    }

    /// The same with a binary from elsewhere, and what is in its environment.
    pub(crate) fn start_binary(
        mut agent: Command,
        owner: &str,
        configuration_text: &str,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let address = free_address()?;
        let folder = Folder::create(owner)?;
        let configuration = folder.path.join("sessionscope.toml");
        fs::write(&configuration, configuration_text)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let log = folder.log();
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;

        agent
            .args(["run", "--listen", &address.to_string(), "--config"])
            .arg(&configuration)
            // Of its own: what an earlier run left is not to be counted.
            .env(
                "SESSIONSCOPE_SESSIONS_STATE",
                folder.path.join("sessions.json"),
            )
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the log file")?)
            .stderr(output)
            // Ctrl-C reaches the whole foreground group, and it is this program that ends the agent.
            .process_group(0);
        let child = agent
            .spawn()
            .with_context(|| command::cannot_start(&agent))?;
        let mut agent = Self {
            child,
            address,
            folder,
        };
        agent.wait_until_ready(interrupted)?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self, interrupted: &Receiver<()>) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.check()?;
            // Until it listens the connection is refused, which is no different from not ready.
            let Err(not_ready) = http::get(self.address, "/readyz") else {
                return Ok(());
            };
            if begin.elapsed() > START_LIMIT {
                return Err(self.failure(&format!(
                    "is not ready after {START_LIMIT:?}: {not_ready:#}"
                )));
            }
            if interrupted.recv_timeout(POLL).is_ok() {
                bail!("interrupted while the agent starts");
            }
        }
    }

    /// Fails with the end of the log if the agent has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .context("cannot ask after the agent")?
        {
            Some(status) => Err(self.failure(&format!("has ended ({status})"))),
            None => Ok(()),
        }
    }

    /// An error about the agent, which keeps its log for whoever reads the error.
    fn failure(&mut self, what: &str) -> anyhow::Error {
        self.folder.keep = true;
        let log = self.folder.log();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
        anyhow::anyhow!(
            "the agent {what}; its log {} ends:\n{}",
            log.display(),
            end.join("\n")
        )
    }

    /// Requests a path and returns the answer's body.
    pub(crate) fn get(&mut self, path: &str) -> Result<String> {
        self.check()?;
        match http::get(self.address, path) {
            Ok(body) => Ok(body),
            Err(error) => Err(self.failure(&format!("does not answer {path}: {error:#}"))),
        }
    }

    /// Requests a path with headers of the caller's choice.
    pub(crate) fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.check()?;
        http::get_with(self.address, path, headers)
            .with_context(|| format!("the agent does not answer {path}"))
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where Prometheus, or a browser, finds the metrics.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        let begin = Instant::now();
        while begin.elapsed() < STOP_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("it did not end within {STOP_LIMIT:?} of SIGTERM and was killed")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("warning: cannot stop the agent: {error:#}");
        }
    }
}

/// A temporary folder, for configuration and log for one; dropping it removes it unless the log is
/// evidence.
pub(crate) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    pub(crate) fn create(owner: &str) -> Result<Self> {
        let path = env::temp_dir().join(format!("sessionscope-{owner}-{}", process::id()));
        // Root writes there, so it must be new and nobody else's.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn log(&self) -> PathBuf {
        self.path.join("agent.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The usual port, or one that the kernel picks when something has that already.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", PORT))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("cannot find a free port on 127.0.0.1")?;
    listener
        .local_addr()
        .context("cannot read the address of a socket")
}
