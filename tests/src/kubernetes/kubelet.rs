//! What a kubelet does with a pod: its cgroups, the process that holds its namespaces, and its main process.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::Pod;
use crate::{
    cgroup::{Cgroup, Tree},
    process,
};

/// A shell that does what it is told needs no longer.
const LIMIT: Duration = Duration::from_secs(10);

/// A pod on the node. Dropping it ends its processes and removes its cgroups.
#[derive(Debug)]
pub struct Sandbox {
    main: Option<Child>,
    pause: Child,
    containers: u32,
    // Dropped last, in this order.
    container_cgroups: Vec<Cgroup>,
    cgroup: Cgroup,
}

impl Sandbox {
    /// The pod's cgroup and the process that holds its namespaces, as before an image is pulled.
    pub fn make(tree: &Tree, pod: &Pod) -> Self {
        let cgroup = pod.cgroup(tree);
        let sandbox = pod.container(tree, 0);
        let pause = shell();
        sandbox.take(pause.id());
        Self {
            main: None,
            pause,
            containers: 1,
            container_cgroups: vec![sandbox],
            cgroup,
        }
    }

    /// Starts the main container, also again.
    pub fn start(&mut self, tree: &Tree, pod: &Pod) {
        let container = pod.container(tree, self.containers);
        self.containers += 1;
        let main = shell();
        container.take(main.id());
        self.container_cgroups.push(container);
        self.main = Some(main);
    }

    /// Both.
    pub fn run(tree: &Tree, pod: &Pod) -> Self {
        let mut sandbox = Self::make(tree, pod);
        sandbox.start(tree, pod);
        sandbox
    }

    /// Its main process.
    pub fn pid(&self) -> u32 {
        self.main.as_ref().expect("it has been started").id()
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Ends the main process by a command of the shell: `exit 3`, `kill -SEGV $$`.
    pub fn end_main(&mut self, command: &str) {
        let mut main = self.main.take().expect("it has been started");
        let mut stdin = main.stdin.take().expect("stdin is a pipe");
        writeln!(stdin, "{command}").expect("the shell waits for a line");
        process::wait(&mut main, LIMIT).expect("the shell does what it is told");
    }

    /// Ends what is left, as a runtime does, and removes the cgroups.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for child in self.main.iter_mut().chain([&mut self.pause]) {
            process::signal(child.id(), Signal::SIGKILL);
            let _status = child.wait();
        }
    }
}

/// A shell that waits for one command.
fn shell() -> Child {
    Command::new("sh")
        .args(["-c", "read -r command; eval \"$command\""])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell starts")
}
