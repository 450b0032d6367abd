//! `sessionscope report` against a real Prometheus that holds nine days of which every figure is known, one that is empty,
//! one that is away, and one that wants to know who asks.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, Permissions},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Output,
    sync::mpsc::{Receiver, channel},
    thread,
};

use integration_tests::{
    agent::{binary, command},
    prometheus::{Prometheus, installed, promtool},
};
use serde_json::Value;
use tempfile::TempDir;

const UNREACHABLE: i32 = 10;
/// The last moment of the report: 2026-01-10T00:00:00Z.
const UNTIL: u64 = 1_768_003_200;
const DAY: u64 = 86_400;
/// From three days before on twice as many sessions start.
const BUSY: u64 = UNTIL - 3 * DAY;
const CONFIGURATION: &str = "global: {scrape_interval: 1m}\n";

/// Series as an exposition with moments, which promtool makes blocks of.
struct History(String);

impl History {
    /// A series whose value at a moment is a function of that.
    fn add(&mut self, step: u64, name: &str, labels: &str, value: impl Fn(u64) -> Option<f64>) {
        for at in (UNTIL - 9 * DAY..=UNTIL).step_by(usize::try_from(step).unwrap()) {
            if let Some(value) = value(at) {
                writeln!(self.0, "{name}{{{labels}}} {value} {at}").unwrap();
            }
        }
    }

    /// A counter that grows by so much a day.
    fn grow(&mut self, name: &str, labels: &str, a_day: f64) {
        let from = UNTIL - 9 * DAY;
        self.add(300, name, labels, |at| {
            Some((at - from) as f64 * a_day / DAY as f64)
        });
    }

    /// A gauge.
    fn stay(&mut self, name: &str, labels: &str, value: f64) {
        self.add(300, name, labels, |_| Some(value));
    }
}

/// What there was, as the blocks of a Prometheus.
fn blocks() -> TempDir {
    let mut history = History(String::new());
    let desktop = "instance=\"n1\",namespace=\"lab\",template=\"desktop\"";
    let notebook = "instance=\"n1\",namespace=\"lab\",template=\"notebook\"";
    // 72 a day, and then 144.
    let from = UNTIL - 9 * DAY;
    history.add(300, "vdi_sessions_started_total", desktop, |at| {
        let busy = at.saturating_sub(BUSY);
        Some(((at - from) + busy) as f64 / 1_200.0)
    });
    history.grow("vdi_sessions_started_total", notebook, 24.0);
    history.stay("vdi_sessions", &format!("{desktop},phase=\"Running\""), 7.0);
    history.stay("vdi_sessions", &format!("{notebook},phase=\"Idle\""), 2.0);
    for (reason, a_day) in [
        ("completed", 100.0),
        ("error", 6.0),
        ("oom_killed", 4.0),
        ("signal", 10.0),
        ("evicted", 0.0),
    ] {
        let labels = format!("{desktop},reason=\"{reason}\"");
        history.grow("vdi_session_ended_total", &labels, a_day);
    }
    // All starts took from 4 to 16 seconds, all sessions from half an hour to an hour.
    for (le, a_day) in [
        ("4.0", 0.0),
        ("16.0", 100.0),
        ("64.0", 100.0),
        ("+Inf", 100.0),
    ] {
        let labels = format!("{desktop},milestone=\"first_listener\",le=\"{le}\"");
        history.grow("vdi_session_startup_seconds_bucket", &labels, a_day);
    }
    for (le, a_day) in [("1800.0", 0.0), ("3600.0", 120.0), ("+Inf", 120.0)] {
        let labels = format!("{desktop},reason=\"completed\",le=\"{le}\"");
        history.grow("vdi_session_duration_seconds_bucket", &labels, a_day);
    }
    for (session, labels, cpu_h, lost_h, preempted, gpu_h, score) in [
        ("quiet", notebook, 1.0, 0.0, 0.0, 2.0, 0.9),
        ("busy", desktop, 11.0, 2.4, 5_000.0, 6.0, 0.2),
    ] {
        let labels = format!("session=\"{session}\",{labels}");
        history.grow("vdi_session_cpu_seconds_total", &labels, cpu_h * 3_600.0);
        let cause = format!("{labels},cause=\"contention\"");
        history.grow(
            "vdi_session_cpu_wait_seconds_total",
            &cause,
            lost_h * 3_600.0,
        );
        let kind = format!("{labels},kind=\"preempted_by_session\"");
        history.grow("vdi_session_context_switches_total", &kind, preempted);
        let gpu = format!("{labels},gpu=\"0\",engine=\"sm\"");
        history.grow("vdi_session_gpu_busy_seconds_total", &gpu, gpu_h * 3_600.0);
        history.stay("session:vdi_session_experience:score_5m", &labels, score);
        let part = format!("{labels},part=\"latency\"");
        history.stay("session_part:vdi_session_experience:score_5m", &part, score);
    }
    for (gpu, used, watts) in [("0", 0.6, 100.0), ("1", 0.03, 20.0)] {
        let labels = format!("instance=\"n1\",gpu=\"{gpu}\"");
        history.stay("vdi_gpu_utilization_ratio", &labels, used);
        history.grow("vdi_gpu_energy_joules_total", &labels, watts * DAY as f64);
    }
    let cluster = "cluster=\"c\"";
    history.stay("cluster:vdi_session_startups:rate5m", cluster, 0.002);
    history.stay(
        "cluster:vdi_session_startups_slow:rate5m",
        cluster,
        0.000_05,
    );
    history.stay("cluster:vdi_sessions_watched:sum", cluster, 10.0);
    history.stay("cluster:vdi_sessions_stuttering:sum", cluster, 0.2);
    let agent = "job=\"sessionscope\",instance=\"n1\"";
    history.add(300, "up", agent, |at| {
        Some(f64::from(u8::from(at / 300 % 10 != 0)))
    });
    history.grow(
        "vdi_agent_events_lost_total",
        &format!("{agent},kind=\"exec\""),
        3.0,
    );
    history.stay(
        "vdi_agent_probe_up",
        &format!("{agent},program=\"sched_switch\""),
        1.0,
    );
    history.stay(
        "vdi_agent_probe_up",
        &format!("{agent},program=\"block_rq_complete\""),
        0.0,
    );
    history.grow("process_cpu_seconds_total", agent, 0.01 * DAY as f64);
    // For half an hour, for two minutes, and before the report. A server that sees an alert end marks that; here each is
    // there for five minutes more.
    let firings = [
        (UNTIL - 39_600, 1_800),
        (UNTIL - 19_800, 120),
        (UNTIL - 2 * DAY, 600),
    ];
    let firing = "alertname=\"VdiSessionStutter\",severity=\"warning\",alertstate=\"firing\"";
    history.add(60, "ALERTS", firing, |at| {
        let fires = |(from, long): &(u64, u64)| (*from..from + long).contains(&at);
        firings.iter().any(fires).then_some(1.0)
    });
    history.0.push_str("# EOF\n");
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("history.txt");
    fs::write(&text, history.0).expect("it can be written");
    let output = promtool()
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .arg(&text)
        .arg(folder.path().join("data"))
        .output()
        .expect("promtool starts");
    assert!(output.status.success(), "{output:?}");
    folder
}

fn report(prometheus: &str, options: &[&str]) -> Output {
    let mut report = command(&binary());
    report.args([
        "report",
        "--until",
        "2026-01-10T00:00:00Z",
        "--prometheus",
        prometheus,
    ]);
    report.args(options).output().expect("it starts")
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

/// What it fails with.
fn fails(prometheus: &str, options: &[&str]) -> String {
    let output = report(prometheus, options);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(UNREACHABLE), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// What is written to a file of this name.
fn written(folder: &Path, name: &str, prometheus: &str, options: &[&str]) -> String {
    let file: PathBuf = folder.join(name);
    let path = file.display().to_string();
    let output = report(prometheus, &[options, &["--out", &path]].concat());
    assert!(output.status.success(), "{output:?}");
    fs::read_to_string(&file).expect("it is written")
}

/// The figures of a row of a table of a document.
fn row(document: &Value, table: &str, names: &[&str]) -> Vec<Option<f64>> {
    let sections = document["sections"].as_array().expect("sections");
    let tables = sections
        .iter()
        .flat_map(|s| s["tables"].as_array().expect("tables"));
    let mut tables = tables.filter(|one| one["title"] == table);
    let rows = tables
        .next()
        .unwrap_or_else(|| panic!("{table}: {document:#}"))["rows"]
        .as_array()
        .unwrap();
    let row = rows
        .iter()
        .find(|row| row["names"] == serde_json::json!(names));
    let row = row.unwrap_or_else(|| panic!("{names:?}: {rows:#?}"));
    let values = row["values"].as_array().expect("values").iter();
    values.map(|value| value["value"].as_f64()).collect()
}

fn near(said: &[Option<f64>], known: &[f64]) {
    assert_eq!(said.len(), known.len(), "{said:?} {known:?}");
    for (said, known) in said.iter().zip(known) {
        let said = said.unwrap_or_else(|| panic!("not known: {known}"));
        // What Prometheus adds at the ends of a time, of which it has a sample each five minutes.
        assert!(
            (said - known).abs() <= 0.005 * known.abs() + 1e-9,
            "{said} for {known}"
        );
    }
}

/// Passes on what shows these words, counts who does not, and says what is posted.
struct Gate {
    address: SocketAddr,
    posted: Receiver<String>,
}

impl Gate {
    fn start(to: SocketAddr, authorization: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, posted) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = request(&mut stream);
                let is_known = request
                    .to_lowercase()
                    .contains(&format!("\r\nauthorization: {authorization}\r\n").to_lowercase());
                let is_post = request.starts_with("POST /hook");
                if is_post {
                    let _gone = sender.send(request.clone());
                }
                let answer = if is_post {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned()
                } else if is_known {
                    let mut server = TcpStream::connect(to).expect("Prometheus");
                    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                    server.write_all(request.as_bytes()).expect("it reads");
                    let mut answer = String::new();
                    server.read_to_string(&mut answer).expect("it answers");
                    answer
                } else {
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_owned()
                };
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, posted }
    }
}

/// A request with its body.
fn request(stream: &mut TcpStream) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).expect("a request");
        all.extend(&part[..count]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if count == 0 {
            return text;
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
            return text;
        }
    }
}

#[test]
fn each_figure_of_a_week_that_is_known_is_right() {
    let folder = blocks();
    let server = Prometheus::start_with_blocks(
        &installed("prometheus").expect("it is installed"),
        &folder.path().join("data"),
        CONFIGURATION,
    );
    let url = url(server.address());
    let text = written(folder.path(), "day.json", &url, &[]);
    let day: Value = serde_json::from_str(&text).expect("JSON");
    let all = |name| row(&day, "In all", &[name]);
    // This day, the day before, the same day of the week before.
    near(&all("Sessions started"), &[168.0, 168.0, 96.0]);
    near(&all("Most sessions at once"), &[9.0, 9.0, 9.0]);
    near(&all("Sessions ended"), &[120.0; 3]);
    near(&all("of them failed"), &[10.0; 3]);
    near(&all("Start until something listens, p50"), &[10.0; 3]);
    near(&all("Start until something listens, p95"), &[15.4; 3]);
    near(&all("Length of a session, p50"), &[2_700.0; 3]);
    near(&all("CPU time"), &[12.0; 3]);
    near(&all("CPU time that others had instead"), &[2.4; 3]);
    near(&all("GPU time"), &[8.0; 3]);
    near(&all("GPU energy"), &[2.88; 3]);
    // Started, failed, CPU and GPU hours, kWh.
    near(
        &row(&day, "By template", &["lab", "desktop"]),
        &[144.0, 10.0, 11.0, 6.0, 1.8],
    );
    let notebook = row(&day, "By template", &["lab", "notebook"]);
    assert_eq!(notebook[1], None, "no end of it is known");
    near(&[notebook[0], notebook[4]], &[24.0, 0.6]);
    near(&row(&day, "Ends by reason", &["signal"]), &[10.0]);
    let reasons = day.to_string();
    assert!(!reasons.contains("\"evicted\""), "nobody was");
    // Good, wanted, of the budget used.
    near(
        &row(&day, "Attained", &["A session has a listener within 64 s"]),
        &[0.975, 0.95, 0.5],
    );
    near(
        &row(
            &day,
            "Attained",
            &["A session that is watched does not stutter"],
        ),
        &[0.98, 0.99, 2.0],
    );
    let busy = ["busy", "lab", "desktop", "n1"];
    assert_eq!(
        row(&day, "Sessions that felt worst", &busy),
        [Some(0.2), Some(0.2), None, None]
    );
    let lost = row(&day, "Sessions that lost most to their neighbours", &busy);
    near(&lost[..3], &[2.4, 11.0, 5_000.0]);
    near(
        &row(&day, "GPUs, the least used first", &["n1", "1"])[..1],
        &[0.03],
    );
    let fired = row(&day, "Fired", &["VdiSessionStutter", "warning"]);
    near(&fired[..2], &[2.0, 1.0]);
    assert!(
        (2_400.0..=2_600.0).contains(&fired[2].unwrap()),
        "{fired:?}"
    );
    near(
        &row(&day, "Agents, the worst first", &["n1"]),
        &[0.9, 3.0, 1.0, 0.01],
    );
    let missing: Vec<&Value> = day["sections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["missing"].as_array().unwrap())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");

    // The same for people.
    let page = written(folder.path(), "day.html", &url, &[]);
    for said in [
        "<svg",
        "Sessions started",
        ">168<",
        "VdiSessionStutter",
        "2026-01-09T00:00:00Z to 2026-01-10T00:00:00Z",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let printed = report(&url, &["--since", "7d"]);
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    // Four days of 72, three of 144, and seven of 24.
    assert!(printed.contains("| Sessions started | 888 | "), "{printed}");
    assert!(
        printed.contains("|  | this time | a week before |"),
        "{printed}"
    );
}

#[test]
fn what_is_empty_away_or_locked_is_said_and_a_chat_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Prometheus::start_configured(
        &installed("prometheus").expect("it is installed"),
        &[],
        CONFIGURATION,
    );
    let text = written(folder.path(), "empty.json", &url(server.address()), &[]);
    let day: Value = serde_json::from_str(&text).expect("JSON");
    let started = row(&day, "In all", &["Sessions started"]);
    assert_eq!(started, [None, None, None]);
    assert!(!text.contains("\"value\": 0.0"), "{text}");
    let missing: Vec<String> = day["sections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["missing"].as_array().unwrap())
        .map(Value::to_string)
        .collect();
    for said in [
        "Sessions started",
        "vdi_gpu_utilization_ratio",
        "ALERTS",
        "there was no event of it",
        "up{job=",
    ] {
        assert!(
            missing.iter().any(|one| one.contains(said)),
            "{said}: {missing:?}"
        );
    }
    let printed = report(&url(server.address()), &[]);
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    assert!(
        printed.contains("| Sessions started | - | - | - |"),
        "{printed}"
    );

    let said = fails("http://127.0.0.1:9", &[]);
    assert!(
        said.contains("127.0.0.1:9") && said.contains("refused"),
        "{said}"
    );
    for wrong in ["api/v1", "?a=b"] {
        let output = report(&format!("{}{wrong}", url(server.address())), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("--prometheus: an address"),
            "{said}"
        );
    }
    // A file that is there keeps its mode; what somebody has laid beside it is not written through.
    let (file, victim) = (folder.path().join("kept.md"), folder.path().join("victim"));
    fs::write(&file, "old").expect("it can be written");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
    fs::write(&victim, "precious").expect("it can be written");
    symlink(&victim, folder.path().join("kept.partial")).expect("a link");
    written(folder.path(), "kept.md", &url(server.address()), &[]);
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(fs::read_to_string(&victim).expect("text"), "precious");
    let names = || {
        let all = fs::read_dir(folder.path()).expect("a folder");
        all.map(|one| one.expect("a file").file_name())
            .collect::<BTreeSet<_>>()
    };
    let before = names();
    fs::create_dir(folder.path().join("taken.html")).expect("a folder");
    let taken = folder.path().join("taken.html").display().to_string();
    let output = report(&url(server.address()), &["--out", &taken]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(names().len(), before.len() + 1, "nothing is left over");

    // A token, or a name and a password.
    let secret = folder.path().join("secret");
    fs::write(&secret, "open sesame\n").expect("it can be written");
    let secret = secret.display().to_string();
    let gate = Gate::start(server.address(), "Bearer open sesame");
    let said = fails(&url(gate.address), &[]);
    assert!(said.contains("--token-file"), "{said}");
    let hook = format!("{}hook/T0/secret", url(gate.address));
    let output = report(
        &url(gate.address),
        &["--token-file", &secret, "--webhook", &hook],
    );
    assert!(output.status.success(), "{output:?}");
    let posted = gate.posted.recv().expect("it was posted");
    let (_, body) = posted.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let text = body["text"].as_str().expect("a text");
    assert!(
        text.contains("Sessions started: -") && text.contains("Not known: GPUs"),
        "{text}"
    );
    let gate = Gate::start(server.address(), "Basic YWRhOm9wZW4gc2VzYW1l");
    let options = ["--user", "ada", "--password-file", &secret];
    let output = report(&url(gate.address), &options);
    assert!(output.status.success(), "{output:?}");

    // A webhook that is away: its secret part is not told.
    let said = fails(
        &url(server.address()),
        &["--webhook", "http://127.0.0.1:9/T0/secret"],
    );
    assert!(
        said.contains("webhook of 127.0.0.1:9") && !said.contains("secret"),
        "{said}"
    );
}
