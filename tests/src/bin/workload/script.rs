//! Starts many short processes and counts how the kernel says they ended.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ExitStatus},
};

use clap::Args;
use serde_json::{Value, json};

/// Processes that are alive at the same time: enough to keep two CPUs busy.
const AT_ONCE: usize = 4;

/// How many processes of each kind; each is forked once and executes once, unless it says so itself.
#[derive(Args)]
pub(crate) struct Script {
    /// Processes that end with code 0.
    #[arg(long, default_value_t = 0)]
    success: usize,
    /// Processes that end with a code, as CODE:COUNT.
    #[arg(long, value_parser = pair)]
    exit_code: Vec<(String, usize)>,
    /// Processes that a signal ends, as NAME:COUNT.
    #[arg(long, value_parser = pair)]
    signal: Vec<(String, usize)>,
    /// Processes with several threads, as END:COUNT; the ends are those of `child threads`.
    #[arg(long, value_parser = pair)]
    threads: Vec<(String, usize)>,
    /// Processes that take memory until they are killed.
    #[arg(long, default_value_t = 0)]
    hungry: usize,
    /// The cgroup that those join, which limits their memory.
    #[arg(long)]
    memory_cgroup: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, usize), String> {
    let (name, count) = text.split_once(':').ok_or("expected NAME:COUNT")?;
    Ok((
        name.to_owned(),
        count.parse().map_err(|error| format!("{error}"))?,
    ))
}

/// How processes ended, by what `wait` returned.
#[derive(Default)]
struct Ends {
    started: u64,
    success: u64,
    error: u64,
    signal: u64,
}

impl Ends {
    fn add(&mut self, status: ExitStatus) {
        match (status.code(), status.signal()) {
            (Some(0), _) => self.success += 1,
            (Some(_), _) => self.error += 1,
            (None, Some(_)) => self.signal += 1,
            (None, None) => panic!("{status} is no end"),
        }
    }
}

impl Script {
    /// Runs it.
    pub(crate) fn run(&self) -> Value {
        let memory = self
            .memory_cgroup
            .iter()
            .map(|path| path.to_str().expect("a plain path"));
        let hungry: Vec<&str> = ["hungry"].into_iter().chain(memory).collect();
        let kinds = [(vec!["exit", "0"], self.success), (hungry, self.hungry)]
            .into_iter()
            .chain(
                self.exit_code
                    .iter()
                    .map(|(code, count)| (vec!["exit", code], *count)),
            )
            .chain(
                self.signal
                    .iter()
                    .map(|(name, count)| (vec!["signal", name], *count)),
            )
            .chain(
                self.threads
                    .iter()
                    .map(|(end, count)| (vec!["threads", end], *count)),
            );

        let mut ends = Ends::default();
        let mut alive: Vec<Child> = Vec::new();
        for (role, count) in kinds {
            for _ in 0..count {
                if alive.len() == AT_ONCE {
                    ends.add(alive.remove(0).wait().expect("it is ours"));
                }
                alive.push(super::child(&role).spawn().expect("a process starts"));
                ends.started += 1;
            }
        }
        for mut child in alive {
            ends.add(child.wait().expect("it is ours"));
        }
        let again = self
            .threads
            .iter()
            .filter(|(end, _)| end == "exec")
            .map(|(_, count)| *count as u64);
        json!({
            "forks": ends.started,
            "execs": ends.started + again.sum::<u64>(),
            "success": ends.success,
            "error": ends.error,
            "signal": ends.signal,
        })
    }
}
