//! Clients that come in crowds, take all they can, or ask for what is not theirs: they get whole answers or a
//! plain refusal, and nobody else notices.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::{Exposition, Format},
    http,
    logind::{Logind, Request, USER},
    peers::{connect_from, get_from, loopback},
    wait,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const DROPPED: &str = "vdi_agent_series_dropped_total";
/// How soon a health check is answered.
const HEALTHY: Duration = Duration::from_millis(50);
const CHECKS: usize = 60;
/// Between two requests of a scraper that has been told to come back.
const PAUSE: Duration = Duration::from_millis(100);

/// What scrapers have been told.
#[derive(Debug, Default)]
struct Told {
    whole: usize,
    refused: usize,
    /// What must not be.
    wrong: Vec<String>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.whole += other.whole;
        self.refused += other.refused;
        self.wrong.extend(other.wrong);
    }

    fn scrape(&mut self, own: Ipv4Addr, agent: SocketAddr) {
        let answer = match get_from(own, agent, "/metrics", &[]) {
            Ok(answer) => answer,
            Err(error) => return self.wrong.push(format!("{own}: {error}")),
        };
        let said = answer.header("content-length").unwrap_or_default();
        let length = answer.body.len();
        let is_whole = said == length.to_string();
        match answer.status {
            // The last of all families.
            200 if is_whole && contains_last(&answer.body, "\nvdi_agent_series ") => {
                self.whole += 1;
            }
            503 if is_whole && answer.header("retry-after").is_some() => {
                self.refused += 1;
                thread::sleep(PAUSE);
            }
            status => {
                let wrong = format!("{own}: status {status}, {length} bytes of {said}");
                self.wrong.push(wrong);
            }
        }
    }
}

/// Whether a line that begins so is at the end of a text.
fn contains_last(text: &[u8], begin: &str) -> bool {
    let end = &text[text.len().saturating_sub(64)..];
    end.windows(begin.len())
        .any(|part| part == begin.as_bytes())
}

/// An agent with as many sessions as a large node has.
fn large_node(sessions: usize) -> (Tree, Vec<Cgroup>, Agent) {
    let tree = Tree::new();
    let cgroups = (0..sessions).map(|n| tree.child(format!("desk-{n}")));
    let cgroups: Vec<Cgroup> = cgroups.collect();
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk-0", &format!("desk-{}", sessions - 1)]);
    (tree, cgroups, agent)
}

/// How long health checks take, from an address, in order.
fn health_checks(own: Ipv4Addr, agent: SocketAddr) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..CHECKS {
        let began = Instant::now();
        let answer = get_from(own, agent, "/healthz", &[]).expect("a health check is answered");
        took.push(began.elapsed());
        assert_eq!(answer.status, 200);
        thread::sleep(Duration::from_millis(20));
    }
    took.sort();
    took
}

#[test]
fn a_hundred_scrapers_get_whole_answers_or_are_told_to_come_back() {
    if !capability::kernel() {
        return;
    }
    let (_tree, _cgroups, agent) = large_node(200);
    let address = agent.address();
    let stop = AtomicBool::new(false);
    let crowd = |own: Ipv4Addr| {
        let mut told = Told::default();
        while !stop.load(Ordering::Relaxed) {
            told.scrape(own, address);
        }
        told
    };
    let (mut many, mut few) = (Told::default(), Told::default());
    let took = thread::scope(|scope| {
        // The last address is within its share.
        let of_peers = [(2, 60), (3, 36), (4, 4)];
        let scrapers = of_peers.map(|(last, count)| {
            let start = move |_| scope.spawn(move || crowd(loopback(last)));
            (0..count).map(start).collect::<Vec<_>>()
        });
        // From an address of the crowd, too.
        let checks = [2, 5].map(|last| scope.spawn(move || health_checks(loopback(last), address)));
        let took = checks.map(thread::ScopedJoinHandle::join);
        stop.store(true, Ordering::Relaxed);
        let [first, second, third] = scrapers;
        for scraper in first.into_iter().chain(second) {
            many.add(scraper.join().expect("no panic"));
        }
        for scraper in third {
            few.add(scraper.join().expect("no panic"));
        }
        took.map(|took| took.expect("all health checks succeed"))
    });
    eprintln!(
        "whole {} and {}, refused {}",
        many.whole, few.whole, many.refused
    );
    let medians = took.map(|took| took[CHECKS / 2]);
    eprintln!("health checks, medians: {medians:?}");
    let wrong = [many.wrong, few.wrong].concat();
    assert!(
        wrong.is_empty(),
        "{} wrong, as {:?}",
        wrong.len(),
        wrong.first()
    );
    assert!(many.whole > 0 && few.whole > 0);
    assert!(many.refused > 0, "nobody was told to come back");
    assert_eq!(few.refused, 0, "refused within its share");
    for median in medians {
        assert!(median <= wait::patient(HEALTHY), "{median:?}");
    }
}

#[test]
fn clients_that_take_all_they_can_keep_no_other_address_out() {
    if !capability::kernel() {
        return;
    }
    let (_tree, _cgroups, agent) = large_node(50);
    let address = agent.address();
    let mut greedy: Vec<TcpStream> = Vec::new();
    for last in 2..7 {
        // Some ask and do not read, some say nothing.
        for n in 0..32 {
            let mut stream = connect_from(loopback(last), address).expect("a connection");
            if n % 2 == 0 {
                let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8);
                // One that is closed already is not in the way.
                let _closed = stream.write_all(request.as_bytes());
            }
            greedy.push(stream);
        }
    }
    let took = health_checks(loopback(30), address);
    assert!(took[CHECKS / 2] <= wait::patient(HEALTHY), "{took:?}");
    let mut told = Told::default();
    told.scrape(loopback(30), address);
    assert_eq!((told.whole, told.refused), (1, 0), "{:?}", told.wrong);
    let answer = get_from(loopback(30), address, "/api/v1/sessions", &[]);
    assert_eq!(answer.expect("an answer").status, 200);
    drop(greedy);
}

/// The series that were left out by the time of an exposition.
fn dropped(own: Ipv4Addr, agent: SocketAddr, format: Format) -> u64 {
    let headers: &[(&str, &str)] = match format {
        Format::Text => &[],
        Format::OpenMetrics => &[("Accept", OPEN_METRICS)],
    };
    let answer = get_from(own, agent, "/metrics", headers).expect("an answer");
    assert_eq!(answer.status, 200);
    let exposition = Exposition::parse(&answer.text(), format);
    let exposition = exposition.unwrap_or_else(|error| panic!("{error}"));
    let all = exposition.matching(DROPPED, &[]);
    all.map(|sample| sample.value as u64).sum()
}

#[test]
fn what_is_left_out_is_counted_once_for_each_exposition_however_many_scrape() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("metrics.max_series", "1000"));
    let cgroups = (0..60).map(|n| tree.child(format!("desk-{n}")));
    let _cgroups: Vec<Cgroup> = cgroups.collect();
    let names: Vec<String> = (0..60).map(|n| format!("desk-{n}")).collect();
    agent.wait_for(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let address = agent.address();
    let scrape = |last: u8, format: Format| {
        let scrapes = (0..30).map(|_| dropped(loopback(last), address, format));
        let counts: Vec<u64> = scrapes.collect();
        assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
        counts
    };
    let [text, open_metrics] = thread::scope(|scope| {
        let scrapers = [Format::Text, Format::OpenMetrics].map(|format| {
            let start = |last| scope.spawn(move || scrape(last, format));
            [2, 3, 4].map(start)
        });
        scrapers.map(|of_format| {
            let counts = of_format.map(|scraper| scraper.join().expect("no panic"));
            counts.concat().into_iter().collect::<BTreeSet<u64>>()
        })
    });
    // Expositions in two formats are two, and the later one has left out more.
    let common: Vec<_> = text.intersection(&open_metrics).collect();
    assert!(common.is_empty(), "two with the same count: {common:?}");
}

/// Sends text on a connection of its own, and reads until the agent closes it.
fn send(agent: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(agent).expect("a connection");
    // The agent may have heard enough before it is all sent.
    let _enough = stream.write_all(text);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_asked_is_counted_by_route_and_status_and_not_as_a_client_calls_it() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    agent.fresh_metrics();
    let requests = |metrics: &Exposition, method: &str, path: &str, status: &str| {
        let labels = [("method", method), ("path", path), ("status", status)];
        metrics.count_if_any("vdi_agent_http_requests_total", &labels)
    };
    let before = agent.fresh_metrics();
    assert_eq!(requests(&before, "GET", "/api/v1/sessions", "200"), 0);
    let line = |line: &str| {
        send(
            agent.address(),
            format!("{line}\r\nHost: a\r\n\r\n").as_bytes(),
        )
    };
    for path in [
        "/healthz",
        "/healthz?a=b",
        "/metrics/../etc",
        "/../../x",
        "/Metrics",
    ] {
        line(&format!("GET {path} HTTP/1.0"));
    }
    line("HEAD /metrics HTTP/1.0");
    line("POST /metrics HTTP/1.0");
    line("BREW /coffee HTTP/1.0");
    assert!(line("no request").starts_with("HTTP/1.1 400"));
    let far = format!("GET /{} HTTP/1.1", "x".repeat(100_000));
    assert!(line(&far).starts_with("HTTP/1.1 414"));
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(10 << 20));
    send(agent.address(), long.as_bytes());
    let held = TcpStream::connect(agent.address()).expect("a connection");
    let metrics = agent.fresh_metrics();
    let counted = [
        ("GET", "/healthz", "200", 2),
        ("GET", "other", "404", 3),
        ("HEAD", "/metrics", "200", 1),
        ("other", "/metrics", "405", 1),
        ("other", "other", "404", 1),
        ("other", "other", "400", 1),
        ("other", "other", "414", 1),
        ("other", "other", "431", 1),
    ];
    for (method, path, status, count) in counted {
        let more =
            requests(&metrics, method, path, status) - requests(&before, method, path, status);
        assert_eq!(more, count, "{method} {path} {status}");
    }
    // Nothing that they sent is in a label.
    let all = metrics.matching("vdi_agent_http_requests_total", &[]);
    let paths: BTreeSet<_> = all.map(|one| one.labels["path"].clone()).collect();
    let known = [
        "/",
        "/api/v1/agent",
        "/api/v1/ended",
        "/api/v1/node",
        "/api/v1/openapi.json",
        "/api/v1/sessions",
        "/healthz",
        "/metrics",
        "/readyz",
        "other",
    ];
    assert_eq!(paths, known.map(str::to_owned).into());
    // The one that is held, and that of this scrape.
    assert!(metrics.count("vdi_agent_http_connections", &[]) >= 2);
    let scrapes = [("method", "GET"), ("path", "/metrics")];
    let of_scrapes = |metrics: &Exposition, family: &str| {
        let family = format!("vdi_agent_http_{family}");
        metrics.find(&family, &scrapes).expect("it was scraped")
    };
    let size = |metrics: &Exposition| of_scrapes(metrics, "response_size_bytes_sum");
    assert!(size(&metrics) - size(&before) > 1000.0);
    let count = of_scrapes(&metrics, "request_duration_seconds_count");
    let answered = requests(&metrics, "GET", "/metrics", "200");
    assert_eq!(count as u64, answered);
    let sizes = of_scrapes(&metrics, "request_size_bytes_count");
    assert_eq!(sizes as u64, answered);
    drop(held);
}

#[test]
fn sessions_are_told_to_no_page_of_another_name() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let agent = Agent::start(&Configuration::of(&tree).set("api.hosts", "['desks.example']"));
    let ask = |host: &str, path: &str| {
        let stream = TcpStream::connect(agent.address()).expect("a connection");
        http::ask(stream, host, path, &[]).expect("an answer")
    };
    let node = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let node = node.trim();
    let address = agent.address().to_string();
    let address = address.as_str();
    let port = agent.address().port();
    let of_sessions = ["/api/v1/sessions", "/"];
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1.evil.example",
    ] {
        for path in of_sessions {
            let refused = ask(host, path);
            assert_eq!(refused.status, 421, "{host}{path}");
            let said = refused.text();
            assert!(
                said.contains("evil.example") && said.contains("api.hosts"),
                "{said}"
            );
        }
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(ask(host, path).status, 200, "{host}{path}");
        }
    }
    let named = format!("{node}:{port}");
    for host in [
        address,
        "localhost",
        "[::1]:80",
        node,
        &named,
        "Desks.example:8080",
    ] {
        for path in of_sessions {
            assert_eq!(ask(host, path).status, 200, "{host}{path}");
        }
    }
}

#[test]
fn where_somebody_logs_in_from_is_told_only_where_users_are() {
    if !capability::kernel() || !capability::logind() {
        return;
    }
    let logind = Logind::start();
    let login = logind.login(&Request::remote());
    let tree = Tree::new();
    let cgroup = tree.child(login.scope());
    cgroup.take(login.leader());
    let scope = login.scope();
    let name = scope.trim_end_matches(".scope");
    let pattern = format!("^{}/(?<session>session-[^/]+)\\.scope$", tree.path());
    let of_policy = |policy: &str| {
        let configuration = Configuration::without_rules()
            .rule("login", &pattern, "runtime = 'logind'")
            .set("logind.bus", &format!("'{}'", logind.address()))
            .set("logind.watch", "'on'")
            .set("sessions.user", &format!("'{policy}'"));
        let agent = Agent::start(&configuration);
        agent.session_that(name, "is known to logind", |session| {
            let is_named = policy == "off" || session["user"] == USER;
            session["details"]["service"] == "sshd" && is_named
        })
    };
    let off = of_policy("off");
    assert!(off["details"]["remote host"].is_null(), "{off}");
    assert!(off["user"].is_null(), "{off}");
    let plain = of_policy("plain");
    assert_eq!(plain["details"]["remote host"], "192.0.2.7", "{plain}");
    assert_eq!(plain["user"], USER, "{plain}");
}
