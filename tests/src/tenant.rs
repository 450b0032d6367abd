//! Tenants: users without any capability to whom a subtree is delegated as systemd does it, and what they run.

use std::{
    fs::{self, Permissions},
    io::{self, BufRead as _, BufReader, Lines, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, id},
    thread,
    time::Duration,
};

use crate::{cgroup::v2_mount, workload};

/// Cgroups at places of the hierarchy that platforms own, each removed again unless it was there before.
#[derive(Debug)]
pub struct Places {
    mount: PathBuf,
    made: Vec<PathBuf>,
}

impl Places {
    /// None yet.
    pub fn new() -> Self {
        Self {
            mount: v2_mount().expect("cgroup v2 is mounted"),
            made: Vec::new(),
        }
    }

    /// Makes a cgroup and those above it that are missing.
    pub fn make(&mut self, path: &str) -> PathBuf {
        let mut at = self.mount.clone();
        for name in Path::new(path) {
            at.push(name);
            if !at.exists() {
                fs::create_dir(&at).expect("a cgroup is made");
                self.made.push(at.clone());
            }
        }
        at
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The kernel keeps one busy for a moment after its last process.
            let gone = (0..100).any(|_| {
                let gone = remove(path).is_ok();
                if !gone {
                    thread::sleep(Duration::from_millis(20));
                }
                gone
            });
            if !gone {
                eprintln!("warning: the cgroup {} is left behind", path.display());
            }
        }
    }
}

/// Removes a cgroup with all below.
fn remove(path: &Path) -> io::Result<()> {
    let children = fs::read_dir(path)?.flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&child.path())?;
    }
    fs::remove_dir(path)
}

/// A shell of a user in a service manager of the user's own. It ends when it is dropped.
#[derive(Debug)]
pub struct User {
    /// The user's id.
    pub uid: u32,
    /// Directory of the service manager's cgroup, which is the user's own.
    pub manager: PathBuf,
    /// What the session is called.
    pub name: String,
    shell: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl User {
    /// One that no other test has.
    pub fn log_in(places: &mut Places) -> Self {
        let uid = 61_184 + id() % 4_000;
        let slice = format!("user.slice/user-{uid}.slice");
        let manager = places.make(&format!("{slice}/user@{uid}.service"));
        let init = places.make(&format!("{slice}/user@{uid}.service/init.scope"));
        for directory in [&manager, &init] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
                chown(directory.join(file), Some(uid), Some(uid)).expect("it is delegated");
            }
        }
        let mut shell = Command::new("sh")
            .current_dir(&manager)
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        fs::write(init.join("cgroup.procs"), shell.id().to_string()).expect("it is moved");
        let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        Self {
            uid,
            manager,
            name: format!("user-{uid}"),
            shell,
            lines,
        }
    }

    /// Runs lines of a shell and waits until they are done.
    pub fn run(&mut self, script: &str) {
        let stdin = self.shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{script}\necho done").expect("the shell reads");
        let said = self.lines.next().expect("the shell answers");
        assert_eq!(said.expect("in text"), "done", "{script}");
    }
}

/// A workload of a user. It ends when it is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a program of [`for_everybody`] as a user and lets it work in a cgroup.
    pub fn start(program: &Path, uid: u32, cgroup: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the workload starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
        let mut worker = Self { child, lines };
        worker.move_to(cgroup);
        let stdin = worker.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "go").expect("it waits for that");
        worker
    }

    /// Lets it go on in another cgroup.
    pub fn move_to(&self, cgroup: &Path) {
        let procs = cgroup.join("cgroup.procs");
        fs::write(procs, self.child.id().to_string()).expect("it is moved");
    }

    /// Waits until it has done its work.
    pub fn wait(&mut self) {
        let said = self.lines.next().expect("it reports");
        assert!(said.expect("in text").starts_with('{'));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _gone = self.shell.kill();
        let _status = self.shell.wait();
        for cgroup in ["init.scope", ""] {
            let procs = fs::read_to_string(self.manager.join(cgroup).join("cgroup.procs"));
            assert_eq!(procs.unwrap_or_default(), "", "the user has left nobody");
        }
    }
}

/// A copy of the workload (of the caller's package: `env!("CARGO_BIN_EXE_workload")`) in a folder, which users may
/// execute: where it was compiled to they may not read.
pub fn for_everybody(compiled: &str, folder: &Path) -> PathBuf {
    let program = folder.join("workload");
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
    fs::copy(workload::binary(compiled), &program).expect("it can be copied");
    program
}
