//! Docker and Podman themselves, apart from this machine's.
//!
//! Their packages are unpacked and never installed; the folder is the root of a mount namespace, so that the runtimes
//! see none of this machine's containers, settings and sockets, and leave nothing behind: `/etc`, `/run`, `/tmp` and
//! `/var` are folders of the test, and what is mounted ends with the namespace. In it cgroup v2 is mounted alone, as
//! Podman wants it beside v1, too; the containers' cgroups are below a [`Tree`] of the test. No network is made.
//!
//! Debian 13's are taken: its Podman is the first of Debian's that says who stopped a container.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{fs::symlink, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
    unistd::{chdir, pivot_root},
};
use tempfile::TempDir;

use crate::{cgroup::Tree, process, tools, wait};

/// Fixed, so that what the tests know of these versions stays true.
const SUITE: &str = "trixie";
/// Busybox is all that is in the image.
const PACKAGES: [&str; 5] = [
    "docker.io",
    "docker-cli",
    "podman",
    "runc",
    "busybox-static",
];
/// The image's name.
const IMAGE: &str = "localhost/busybox:1";
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const KILL_LIMIT: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 40;

/// Files of `/etc`: who there is, and how Podman is to run where it may raise no limit.
const FILES: [(&str, &str); 5] = [
    ("passwd", "root:x:0:0:root:/run:/bin/sh\n"),
    ("group", "root:x:0:\n"),
    ("resolv.conf", ""),
    (
        "containers/containers.conf",
        "[containers]\n\
         default_ulimits = ['nofile=1024:1024', 'nproc=1024:1024']\n\
         pids_limit = 0\n\
         log_driver = 'k8s-file'\n\
         [engine]\n\
         cgroup_manager = 'cgroupfs'\n\
         events_logger = 'file'\n\
         runtime = 'runc'\n",
    ),
    (
        "containers/storage.conf",
        "[storage]\n\
         driver = 'vfs'\n\
         runroot = '/run/containers/storage'\n\
         graphroot = '/var/lib/containers/storage'\n",
    ),
];

/// Whose API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// dockerd with its containerd.
    Docker,
    /// `podman system service`; containers do without it.
    Podman,
}

/// The root that both run in, fetched on first use; an error says why it cannot be had.
pub fn root() -> anyhow::Result<PathBuf> {
    tools::root("runtimes", SUITE, &PACKAGES)
}

/// A running engine. Dropping it ends it with all of its containers; after a failure its log is shown.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    daemon: Option<Child>,
    namespace: Namespace,
    // Dropped in this order: what runs in the containers, then their files.
    tree: Tree,
    folder: TempDir,
}

impl Engine {
    /// Starts one that has no containers.
    pub fn start(kind: Kind) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sessionscope-")
            .tempdir()
            .expect("a temporary folder can be made");
        let root = root().expect("Docker and Podman can be fetched");
        prepare(&root, folder.path()).expect("the folders of a machine can be made");
        let mut engine = Self {
            kind,
            daemon: None,
            namespace: Namespace::make(&root, folder.path()),
            tree: Tree::new(),
            folder,
        };
        engine.start_daemon();
        engine.call(&["import", "/tmp/image.tar", IMAGE]);
        engine
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run").join(self.socket_name())
    }

    /// The paths of its containers' cgroups, as a rule has them.
    pub fn pattern(&self) -> String {
        let id = "(?<container>(?<session>[0-9a-f]{12})[0-9a-f]{52})";
        format!("^{}/(?:desks/libpod-)?{id}$", self.tree.path())
    }

    /// Starts a container that runs `script` in a shell, with more options.
    pub fn run(&self, name: &str, options: &[&str], script: &str) {
        // Not the tree itself: without systemd Podman takes no parent that is called like a slice.
        let parent = format!("{}/desks", self.tree.path());
        let mut arguments = vec!["run", "--detach", "--network", "none", "--name", name];
        // Docker gives it to all of its containers.
        if self.kind == Kind::Podman {
            arguments.extend(["--cgroup-parent", &parent]);
        }
        arguments.extend(options);
        arguments.extend([IMAGE, "/bin/sh", "-c", script]);
        self.call(&arguments);
    }

    /// Makes an image: its root is a folder, and `program` is what its containers run.
    pub fn import(&self, image: &str, root: &Path, program: &str) {
        let file = self.folder.path().join("tmp/root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&file).arg("-C").arg(root).arg(".");
        run(&mut tar).expect("a folder can be packed");
        let change = format!("ENTRYPOINT [\"{program}\"]");
        self.call(&["import", "--change", &change, "/tmp/root.tar", image]);
        fs::remove_file(file).expect("a file can be removed");
    }

    /// Makes a folder where the engine finds it, and says where that is to this machine.
    pub fn folder(&self, path: &str) -> PathBuf {
        let known = ["/etc/", "/run/", "/tmp/", "/var/"];
        let is_own = known.iter().any(|own| path.starts_with(own));
        assert!(is_own, "{path} is not of the engine's own folders");
        let folder = self.folder.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder).expect("a folder can be made");
        folder
    }

    /// The daemon's process.
    pub fn daemon(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// A command of its own program; returns what that prints.
    pub fn call(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// All that a container has said, whichever way.
    pub fn log_of(&self, name: &str) -> String {
        let output = self.output(&["logs", name]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let program = match self.kind {
            Kind::Docker => "/usr/bin/docker",
            Kind::Podman => "/usr/bin/podman",
        };
        let output = self.namespace.command(program).args(arguments).output();
        let output = output.expect("nsenter is installed with util-linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        output
    }

    /// A container's first process.
    pub fn pid(&self, name: &str) -> u32 {
        let pid = self.call(&["inspect", "--format", "{{.State.Pid}}", name]);
        pid.parse().expect("a number")
    }

    /// Starts the program behind the socket.
    pub fn start_daemon(&mut self) {
        let (place, socket) = (self.socket(), format!("unix:///run/{}", self.socket_name()));
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.expect("the log can be made");
        let mut command = match self.kind {
            Kind::Docker => self.namespace.command("/usr/sbin/dockerd"),
            Kind::Podman => self.namespace.command("/usr/bin/podman"),
        };
        match self.kind {
            Kind::Docker => command
                .args(["--host", &socket, "--cgroup-parent", &self.tree.path()])
                .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
                .args(["--storage-driver=vfs", "--pidfile=/run/docker.pid"])
                .args(["--exec-opt=native.cgroupdriver=cgroupfs", "--live-restore"]),
            Kind::Podman => command.args(["system", "service", "--time", "0", &socket]),
        };
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log);
        let daemon = self
            .daemon
            .insert(command.spawn().expect("a daemon starts"));
        wait::until("the engine listens", START_LIMIT, || {
            if let Some(status) = daemon.try_wait().expect("it can be waited for") {
                panic!("the engine has ended ({status})");
            }
            UnixStream::connect(&place).ok()
        });
    }

    /// Ends it. The containers go on.
    pub fn stop_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            process::end(&mut daemon, STOP_LIMIT);
        }
        // Docker takes one that it finds for another's.
        let _absent = fs::remove_file(self.socket());
    }

    fn socket_name(&self) -> &'static str {
        match self.kind {
            Kind::Docker => "docker.sock",
            Kind::Podman => "podman.sock",
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_daemon();
        self.namespace.end_processes();
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("the log of {:?} ends:\n{}", self.kind, end.join("\n"));
        }
    }
}

/// What is in a test's own `/etc`, `/run`, `/tmp` and `/var`.
fn prepare(root: &Path, folder: &Path) -> io::Result<()> {
    let made = ["root", "run", "tmp", "var/tmp", "image/bin", "image/tmp"];
    for name in made {
        fs::create_dir_all(folder.join(name))?;
    }
    symlink("/run", folder.join("var/run"))?;
    // With the links and modes that packages have.
    run(Command::new("cp")
        .arg("-a")
        .arg(root.join("etc"))
        .arg(folder))?;
    for (name, text) in FILES {
        let file = folder.join("etc").join(name);
        fs::create_dir_all(file.parent().expect("it is below /etc"))?;
        fs::write(file, text)?;
    }
    let bin = folder.join("image/bin");
    fs::copy(root.join("usr/bin/busybox"), bin.join("busybox"))?;
    for name in ["sh", "sleep"] {
        symlink("busybox", bin.join(name))?;
    }
    let image = folder.join("image");
    let mut tar = Command::new("tar");
    tar.arg("-cf")
        .arg(folder.join("tmp/image.tar"))
        .arg("-C")
        .arg(image);
    run(tar.arg("."))
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed ({status})")))
}

/// A mount namespace with a root of its own.
#[derive(Debug)]
struct Namespace {
    /// It exists as long as this is open.
    handle: File,
    /// What it is called in `/proc`.
    name: PathBuf,
}

impl Namespace {
    fn make(root: &Path, folder: &Path) -> Self {
        let entered = || -> io::Result<Self> {
            enter(root, folder)?;
            let place = "/proc/thread-self/ns/mnt";
            Ok(Self {
                handle: File::open(place)?,
                name: fs::read_link(place)?,
            })
        };
        let made = thread::scope(|scope| scope.spawn(entered).join());
        let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        made.expect("root may have a root of its own")
    }

    /// A program inside, with nothing of this process's environment.
    fn command(&self, program: &str) -> Command {
        let own = std::process::id();
        let handle = self.handle.as_raw_fd();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{own}/fd/{handle}"))
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/run")
            .env("DOCKER_HOST", "unix:///run/docker.sock");
        command
    }

    /// The processes inside; those of containers have namespaces of their own.
    fn processes(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").expect("/proc can be read").flatten();
        let inside = all.filter(|entry| {
            fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|name| name == self.name)
        });
        inside
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Ends what a daemon has started and left: containerd, and who watches over each container.
    fn end_processes(&self) {
        let began = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            if began.elapsed() > wait::patient(KILL_LIMIT) {
                // A panic here would hide the one that may be under way.
                eprintln!("warning: these processes are left behind: {left:?}");
                return;
            }
            for pid in left {
                process::signal(pid, Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Makes a namespace for this thread, and a root in it.
fn enter(root: &Path, folder: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Otherwise the mounts below would be the machine's too.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none)?;
    let new = folder.join("root");
    let bind = MsFlags::MS_BIND;
    mount(Some(root), &new, none, bind, none)?;
    // Others have the same root.
    let read_only = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, &new, none, read_only, none)?;
    for name in ["etc", "run", "tmp", "var"] {
        mount(Some(&folder.join(name)), &new.join(name), none, bind, none)?;
    }
    let devices = bind | MsFlags::MS_REC;
    mount(Some("/dev"), &new.join("dev"), none, devices, none)?;
    for (kind, place) in [
        ("proc", "proc"),
        ("sysfs", "sys"),
        ("cgroup2", "sys/fs/cgroup"),
    ] {
        let place = new.join(place);
        mount(Some(kind), &place, Some(kind), MsFlags::empty(), none)?;
    }
    pivot_root(&new, &new.join("mnt"))?;
    chdir("/")?;
    umount2("/mnt", MntFlags::MNT_DETACH)?;
    Ok(())
}
