//! An agent in this process, for as long as somebody looks at it: `sessionscope top --standalone`.
//!
//! It has a socket and a state of its own, in a folder that nobody else may enter, says nothing, and ends with the process.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    process,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Start, run};
use crate::{
    allocator,
    config::{Config, Inputs},
    error::Error,
    limits,
    serve::{self, address::Address},
};

/// An agent takes its first sample within a second, on a busy machine within a few.
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// An agent of this process.
#[derive(Debug)]
pub struct Standalone {
    socket: PathBuf,
    _folder: Folder,
    /// Ends when it fails.
    agent: Option<JoinHandle<Result<(), Error>>>,
}

impl Standalone {
    /// Starts it. To be called before there is a second thread, as [`Start::new`].
    ///
    /// # Errors
    ///
    /// What `sessionscope run` would say: a right or a part of the kernel that is missing.
    pub fn start(mut config: Config, inputs: Inputs) -> Result<Self, Error> {
        let folder = Folder::new()?;
        let socket = folder.0.join("agent.sock");
        config.serve = serve::Settings {
            listen: vec![Address::Unix(socket.clone())],
            ..serve::Settings::default()
        };
        config.session.state = folder.0.join("sessions.json");
        allocator::keep_little();
        limits::raise_open_files();
        let start = Start::new(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Error::io("tokio runtime"))?;
        let agent = thread::spawn(move || runtime.block_on(run(config, inputs, start)));
        Ok(Self {
            socket,
            _folder: folder,
            agent: Some(agent),
        })
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        Address::Unix(self.socket.clone()).to_string()
    }

    /// Waits until it does, as `answers` finds out.
    ///
    /// # Errors
    ///
    /// Its own if it has ended, otherwise the last one of `answers`.
    pub fn wait(&mut self, answers: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        let end = Instant::now() + LIMIT;
        loop {
            let answer = answers();
            if self.agent.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(self.ended());
            }
            if answer.is_ok() || Instant::now() >= end {
                return answer;
            }
            thread::sleep(POLL);
        }
    }

    /// Why it has ended.
    fn ended(&mut self) -> Error {
        let result = self.agent.take().map(JoinHandle::join);
        match result {
            Some(Ok(Err(error))) => error,
            _ => Error::Other("the agent has ended".to_owned()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Who looks has left: the agent ends with the process, and its programs with it.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// A folder that is this user's alone.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Error> {
        for number in 0..100 {
            let path = env::temp_dir().join(format!("sessionscope-{}-{number}", process::id()));
            // It must be new: one that is there is somebody else's.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(path.display().to_string())(error)),
            }
        }
        Err(Error::Other(format!(
            "{}: there is no name for a folder left",
            env::temp_dir().display()
        )))
    }
}
