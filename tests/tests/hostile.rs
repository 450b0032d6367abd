//! A user who does all that a tenant can think of, sessions that come and go like rain, and a hundred scrapers, beside a
//! session that works and a scraper that is polite: neither of these notices, and the agent does not grow.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Lines, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    peers::{get_from, loopback},
    process::resident,
    tenant::{Places, User, Worker, for_everybody},
    wait,
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// A form that proves something in every run.
const SHORT: Duration = Duration::from_mins(1);
/// What the agent may have of the machine's memory.
const MEMORY: u64 = 128 << 20;
/// How much more of it the agent may have when all is over, and how soon.
const MEMORY_TOLERANCE: f64 = 1.1;
const MEMORY_BACK: Duration = Duration::from_secs(30);
/// An ended session's series are served for so long.
const LINGER: &str = "5s";
const SCRAPERS: usize = 100;
/// Between two requests of one of them, which shares two CPUs with all others.
const PAUSE: Duration = Duration::from_millis(200);
/// The honest one's address, and how often it scrapes.
const HONEST: u8 = 9;
const EVERY: Duration = Duration::from_millis(500);
/// Connections that the honest session holds, each with both sides.
const CONNECTIONS: u64 = 200;
/// A container whose labels nobody wants to read.
const CONTAINER: &str = "0d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e894";
/// The user's: by so many processes at once, which is more than one session may have measured.
const HELD: usize = 8;
const PAIRS: &str = "3000";
/// What the kernel's account of a session's CPU time and the agent's may differ by.
const CPU_TOLERANCE: f64 = 0.01;
/// So much that has been used since the last tick.
const TICKS: f64 = 0.02;

/// How long the attacks last: `SESSIONSCOPE_TEST_HOSTILE_SECONDS`, else the short form.
fn duration() -> Duration {
    env::var("SESSIONSCOPE_TEST_HOSTILE_SECONDS").map_or(SHORT, |seconds| {
        let seconds = seconds.parse();
        Duration::from_secs(seconds.expect("SESSIONSCOPE_TEST_HOSTILE_SECONDS is a whole number"))
    })
}

/// Cgroups of the user's own: many beside each other and in each other, with long names and with no text for one, closed
/// to everybody else, and called as platforms call theirs.
const CGROUPS: &str = r#"
long=$(printf %0200d 7)
while :; do
  mkdir -p wide deep && (cd wide && seq 1500 | xargs mkdir && mkdir $long.1 $long.2 "$(printf 'a\377b')")
  chmod 0 wide; chmod 700 wide
  path=deep; n=0; while [ $n -lt 200 ]; do path=$path/n; n=$((n + 1)); done; mkdir -p $path
  forged="docker-VICTIM.scope kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice machine-qemu\\x2d1\\x2dada.scope"
  mkdir $forged; mkdir -p lxc/101 qemu.slice/101.scope
  for n in 1 2 3 4 5; do mkdir docker-$n$(printf %063d 0).scope; rmdir docker-$n$(printf %063d 0).scope; done
  rmdir lxc/101 lxc qemu.slice/101.scope qemu.slice $forged
  find deep -depth -type d -exec rmdir {} +
  (cd wide && rmdir *) ; rmdir wide
done 2>/dev/null
"#;

/// Processes that crash.
const CRASHES: &str = "while :; do sh -c 'kill -SEGV $$'; done 2>/dev/null";

/// A shell of the user that attacks until it is ended.
struct Attack(Child);

impl Attack {
    fn start(user: &User, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("read _; {script}")]);
        shell.current_dir(&user.manager).uid(user.uid).gid(user.uid);
        let mut child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let procs = user.manager.join("init.scope/cgroup.procs");
        fs::write(procs, child.id().to_string()).expect("it is moved");
        // Its end lets it go on.
        drop(child.stdin.take());
        Self(child)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// An engine with Docker's API, one of whose containers has labels of a megabyte, and something happens to it all the
/// time.
fn engine(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || answer(client));
        }
    });
}

fn answer(mut client: UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let labels = format!(
        "{{\"{}\":\"{}\"}}",
        "l".repeat(1 << 19),
        "v".repeat(1 << 19)
    );
    while let Some(request) = lines.next().transpose()? {
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path.contains("/events") {
            return happen(&mut client, &labels);
        }
        let body = if path.contains(CONTAINER) {
            let name = "n".repeat(1 << 19);
            format!(
                "{{\"Id\":\"{CONTAINER}\",\"Name\":\"/{name}\",\
                 \"State\":{{\"Status\":\"running\"}},\
                 \"Config\":{{\"Image\":\"x\",\"Labels\":{labels}}}}}"
            )
        } else {
            format!("[{{\"Id\":\"{CONTAINER}\",\"State\":\"running\",\"Labels\":{labels}}}]")
        };
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
    Ok(())
}

/// A stream of events, until nobody listens.
fn happen(client: &mut UnixStream, labels: &str) -> io::Result<()> {
    write!(
        client,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    )?;
    let event = format!(
        "{{\"Type\":\"container\",\"Action\":\"rename\",\
         \"Actor\":{{\"ID\":\"{CONTAINER}\",\"Attributes\":{labels}}}}}\n"
    );
    loop {
        write!(client, "{:x}\r\n{event}\r\n", event.len())?;
        thread::sleep(Duration::from_millis(500));
    }
}

/// A session that works, and knows exactly what it has done.
struct Worked {
    cgroup: Cgroup,
    shell: Child,
    lines: Lines<BufReader<ChildStdout>>,
    forks: u64,
}

impl Worked {
    const AT_ONCE: u64 = 20;

    fn start(cgroup: Cgroup) -> Self {
        let mut shell = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        cgroup.take(shell.id());
        let stdout = shell.stdout.take().expect("a pipe");
        Self {
            cgroup,
            shell,
            lines: BufReader::new(stdout).lines(),
            forks: 0,
        }
    }

    fn work(&mut self) {
        let script = format!(
            "n=0; while [ $n -lt {} ]; do (:); n=$((n + 1)); done; echo done",
            Self::AT_ONCE
        );
        let stdin = self.shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{script}").expect("the shell reads");
        let said = self.lines.next().and_then(Result::ok);
        assert_eq!(said.as_deref(), Some("done"));
        self.forks += Self::AT_ONCE;
    }
}

impl Drop for Worked {
    fn drop(&mut self) {
        let _gone = self.shell.kill();
        let _status = self.shell.wait();
    }
}

/// What a platform makes and takes away 60 times a second.
fn rain(slice: &Path, stop: &AtomicBool) -> u64 {
    let mut sessions = 0;
    while !stop.load(Ordering::Relaxed) {
        let scope = slice.join(format!("docker-{sessions:064x}.scope"));
        fs::create_dir(&scope).expect("a cgroup is made");
        thread::sleep(Duration::from_millis(16));
        fs::remove_dir(&scope).expect("nobody is in it");
        sessions += 1;
    }
    sessions
}

/// A whole answer, or what is wrong with it.
fn scrape(own: Ipv4Addr, agent: SocketAddr) -> Result<(), String> {
    let answer = get_from(own, agent, "/metrics", &[]).map_err(|error| error.to_string())?;
    let said = answer.header("content-length").unwrap_or_default();
    let length = answer.body.len();
    if answer.status == 200 && said == length.to_string() {
        Ok(())
    } else {
        Err(format!(
            "status {}, {length} bytes of {said}",
            answer.status
        ))
    }
}

/// Attacks until the time is over; returns how many scrapes of the honest scraper there were.
fn attack(
    agent: &Agent,
    user: &User,
    program: &Path,
    slice: &Path,
    worked: &mut Worked,
) -> (u64, u64, u64) {
    let stop = &AtomicBool::new(false);
    let address = agent.address();
    let init = user.manager.join("init.scope");
    let connections = || {
        let arguments = ["connections", "--count", PAIRS];
        Worker::start(program, user.uid, &init, &arguments)
    };
    let refused = &AtomicU64::new(0);
    let attacks = [CGROUPS, CRASHES].map(|script| Attack::start(user, script));
    let held: Vec<Worker> = (0..HELD).map(|_| connections()).collect();
    let ends = thread::scope(|scope| {
        let sessions = scope.spawn(move || rain(slice, stop));
        for n in 0..SCRAPERS {
            let own = loopback(2 + (n % 2) as u8);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    refused.fetch_add(scrape(own, address).is_err().into(), Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            });
        }
        let churn = scope.spawn(move || {
            let mut times = 0;
            while !stop.load(Ordering::Relaxed) {
                connections().wait();
                times += 1;
            }
            times
        });
        let honest = scope.spawn(move || {
            let mut scrapes = 0;
            while !stop.load(Ordering::Relaxed) {
                scrape(loopback(HONEST), address).expect("an honest scraper has whole answers");
                scrapes += 1;
                thread::sleep(EVERY);
            }
            scrapes
        });
        let began = Instant::now();
        while began.elapsed() < duration() && !honest.is_finished() {
            worked.work();
            thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
        [sessions, churn, honest].map(|thread| thread.join().expect("it went well"))
    });
    drop((attacks, held));
    fs::write(user.manager.join("cgroup.kill"), "1").expect("whoever is left ends");
    eprintln!(
        "{} scrapes of others were refused",
        refused.load(Ordering::Relaxed)
    );
    (ends[0], ends[1], ends[2])
}

#[test]
fn neither_a_session_nor_a_scraper_notices_what_a_tenant_and_a_crowd_do() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut places = Places::new();
    let user = User::log_in(&mut places);
    let slice = places.make("system.slice");
    let folder = tempfile::tempdir().expect("a folder");
    let program = for_everybody(WORKLOAD, folder.path());
    let socket = folder.path().join("docker.sock");
    engine(&socket);
    places.make(&format!("system.slice/docker-{CONTAINER}.scope"));
    let limited = tree.limit_memory(&tree.child("agent"), MEMORY);
    let configuration = Configuration::of(&tree)
        .set("sessions.builtin_rules", "true")
        .set("sessions.linger", &format!("{LINGER:?}"))
        .set("sampling.rescan", "\"5s\"")
        .set("containers.watch", "\"on\"")
        .set("containers.sockets", &format!("[{socket:?}]"));
    let agent = Agent::start(&configuration);
    limited.take(agent.pid());
    let mut worked = Worked::start(tree.child("honest"));
    agent.wait_for(&["honest", &user.name]);
    let count = CONNECTIONS.to_string();
    let arguments = ["connections", "--count", &count];
    let mut clients = Worker::start(&program, 0, worked.cgroup.path(), &arguments);
    clients.wait();
    let session = [("session", "honest")];
    let used = || worked_cpu(&agent.fresh_metrics());
    let (kernels, ours) = (worked.cgroup.cpu_usage(), used());
    let named = |session: &Exposition| {
        session
            .matching("vdi_session_info", &[])
            .any(|sample| sample.labels["session"].starts_with("nnn"))
    };
    wait::until("the container has its name", SHOW_LIMIT, || {
        named(&agent.fresh_metrics()).then_some(())
    });
    let before = resident(agent.pid()) as f64;

    let (sessions, churned, scrapes) = attack(&agent, &user, &program, &slice, &mut worked);
    let metrics = agent.fresh_metrics();
    let kernels = worked
        .cgroup
        .cpu_usage()
        .saturating_sub(kernels)
        .as_secs_f64();
    let ours = worked_cpu(&metrics) - ours;
    eprintln!(
        "{sessions} sessions came and went, {} connections were made, {scrapes} honest scrapes; \
         {} forks and {kernels:.2} s of CPU",
        (churned + HELD as u64) * 2 * PAIRS.parse::<u64>().expect("a number"),
        worked.forks
    );
    assert_eq!(
        metrics.count("vdi_session_process_forks_total", &session),
        worked.forks
    );
    let exits = [("session", "honest"), ("reason", "success")];
    assert_eq!(
        metrics.count("vdi_session_process_exits_total", &exits),
        worked.forks
    );
    // With itself, so they are nobody's clients.
    let inbound = [("session", "honest"), ("side", "inbound")];
    let connections = metrics.count("vdi_session_tcp_connections", &inbound);
    assert_eq!(connections, CONNECTIONS);
    assert_eq!(metrics.count("vdi_session_clients", &session), 0);
    let difference = (ours - kernels).abs();
    assert!(
        difference <= CPU_TOLERANCE * kernels + TICKS,
        "{ours} s of CPU where the kernel has {kernels} s"
    );
    assert!(scrapes > 0 && sessions > 0 && churned > 0);
    for resource in ["cgroups", "connections", "log_lines"] {
        let labels = [("session", user.name.as_str()), ("resource", resource)];
        assert!(
            metrics.count("vdi_session_budget_exceeded_total", &labels) > 0,
            "{resource}"
        );
    }

    // What was kept of those that are gone goes.
    wait::until("memory comes back", MEMORY_BACK, || {
        agent.fresh_metrics();
        let after = resident(agent.pid()) as f64;
        let [mb, before_mb] = [after, before].map(|bytes| bytes / 1e6);
        eprintln!("{mb:.1} MB resident, {before_mb:.1} before");
        (after <= before * MEMORY_TOLERANCE).then_some(())
    });
}

fn worked_cpu(metrics: &Exposition) -> f64 {
    metrics.value("vdi_session_cpu_seconds_total", &[("session", "honest")])
}
