//! Who may ask the agent: users, tokens, certificates, and how often; and files that change while it runs.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT, binary},
    capability,
    certificates::{Authority, Client, Issued},
    cgroup::Tree,
    exposition::{Exposition, Format},
    http,
    peers::{connect_from, loopback},
    wait,
};
use tempfile::TempDir;

const SCRAPER: &str = "token-of-the-scraper";
const DESK: &str = "token-of-the-service-desk";
/// The user's password is `secret`, hashed at the least cost.
const USER: &str = "ada";

/// The files of a door, and an agent behind it.
struct House {
    folder: TempDir,
    agent: Agent,
    _tree: Tree,
}

impl House {
    /// With an empty web configuration.
    fn new(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = Tree::new();
        let mut configuration = Configuration::of(&tree);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file can be written");
            format!("{:?}", path.display().to_string())
        };
        configuration = configuration.set("web.config_file", &write("web.yml", ""));
        for (key, content) in settings {
            configuration = configuration.set(key, &write(key, content));
        }
        let agent = Agent::start(&configuration);
        Self {
            folder,
            agent,
            _tree: tree,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file anew, as a Secret's volume changes: what was there is replaced at once.
    fn change(&self, name: &str, text: &str) {
        let new = self.file("new");
        fs::write(&new, text).expect("a file can be written");
        fs::rename(&new, self.file(name)).expect("it replaces the old one");
    }

    fn address(&self) -> SocketAddr {
        self.agent.address()
    }

    /// The status of an answer, without TLS.
    fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let answer = http::get(self.address(), path, headers);
        answer.expect("an answer").status
    }

    /// Waits until a file has been read so many times, with an error so many times, by what a scraper is told.
    fn wait_for_reloads(
        &self,
        file: &str,
        counts: [u64; 2],
        scrape: impl Fn() -> Option<Exposition>,
    ) {
        let path = self.file(file).display().to_string();
        wait::until(&format!("{file} is read again"), SHOW_LIMIT, || {
            let metrics = scrape()?;
            let count = |result| {
                let labels = [("file", path.as_str()), ("result", result)];
                metrics.count("vdi_agent_reloads_total", &labels)
            };
            ([count("success"), count("error")] == counts).then_some(())
        });
    }
}

fn parsed(response: http::Response) -> Option<Exposition> {
    (response.status == 200).then(|| {
        let text = response.text();
        Exposition::parse(&text, Format::Text).expect("it can be read")
    })
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn users() -> String {
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    format!("basic_auth_users:\n  {USER}: {hash}\n")
}

/// Failures by method and reason, and attempts by method.
fn failures(metrics: &Exposition, method: &str, reason: &str) -> u64 {
    let labels = [("method", method), ("reason", reason)];
    metrics.count("vdi_agent_auth_failures_total", &labels)
}

#[test]
fn a_door_is_open_to_who_may_and_each_who_may_not_is_told_so_and_counted() {
    if !capability::kernel() {
        return;
    }
    let house = House::new(&[
        (
            "web.metrics_tokens",
            &format!("# of Prometheus\n{SCRAPER}\n"),
        ),
        ("web.session_tokens", DESK),
    ]);
    let bearer = |token: &str| format!("Bearer {token}");
    let scrape = || {
        let headers = [("Authorization", &*bearer(SCRAPER))];
        parsed(http::get(house.address(), "/metrics", &headers).ok()?)
    };
    house.change("web.yml", &users());
    house.wait_for_reloads("web.yml", [1, 0], scrape);
    let before = scrape().expect("the scraper may");
    let twice = ["Bearer a", "Bearer b"];
    let (right, wrong) = (basic(USER, "secret"), basic(USER, "Secret"));
    let nobody = basic("eve", "secret");
    let table: [(&str, &[&str], u16); 16] = [
        ("/metrics", &[], 401),
        ("/metrics", &[&bearer(SCRAPER)], 200),
        ("/metrics", &[&bearer(DESK)], 403),
        ("/metrics", &[&bearer("token-of-nobody-at-all")], 401),
        ("/metrics", &[&right], 200),
        ("/metrics", &[&wrong], 401),
        ("/metrics", &[&nobody], 401),
        ("/metrics", &["Basic %%%"], 401),
        ("/metrics", &["Digest a=b"], 401),
        ("/metrics", &twice, 401),
        ("/api/v1/sessions", &[], 401),
        ("/api/v1/sessions", &[&bearer(DESK)], 200),
        ("/api/v1/sessions", &[&bearer(SCRAPER)], 403),
        ("/", &[&right], 200),
        ("/healthz", &[], 200),
        ("/readyz", &["Bearer nonsense"], 200),
    ];
    for (path, credentials, expected) in table {
        let headers: Vec<_> = credentials
            .iter()
            .map(|one| ("Authorization", *one))
            .collect();
        assert_eq!(
            house.status(path, &headers),
            expected,
            "{path} {credentials:?}"
        );
    }
    let metrics = scrape().expect("the scraper may");
    for (method, reason, count) in [
        ("none", "missing", 2),
        ("none", "malformed", 2),
        ("basic", "invalid", 2),
        ("basic", "malformed", 1),
        ("bearer", "invalid", 1),
        ("bearer", "other_door", 2),
    ] {
        let more = failures(&metrics, method, reason) - failures(&before, method, reason);
        assert_eq!(more, count, "{method} {reason}");
    }
    let attempts = |metrics: &Exposition, method| {
        metrics.count("vdi_agent_auth_attempts_total", &[("method", method)])
    };
    assert_eq!(attempts(&metrics, "basic") - attempts(&before, "basic"), 5);
    // Two of the table, three that were refused, and the scrape itself.
    assert_eq!(
        attempts(&metrics, "bearer") - attempts(&before, "bearer"),
        6
    );
    // A user is asked for a password, and a program for a token.
    let asked = http::get(house.address(), "/metrics", &[]).expect("an answer");
    assert_eq!(asked.header("www-authenticate"), Some("Basic"));
    // What is wrong is logged, and opens nothing.
    house.change("web.yml", &format!("{}basic_auth: {{}}\n", users()));
    house.wait_for_reloads("web.yml", [1, 1], scrape);
    assert_eq!(house.status("/metrics", &[("Authorization", &right)]), 200);
    assert_eq!(house.status("/metrics", &[]), 401);
    let log = house.agent.log();
    assert!(
        log.contains("unknown field `basic_auth`") && log.contains("web.yml"),
        "{log}"
    );
    assert!(!log.contains("$2b$") && !log.contains(SCRAPER), "{log}");
    // A token that is taken away opens no more.
    house.change("web.session_tokens", "another-token-of-the-desk\n");
    house.wait_for_reloads("web.session_tokens", [1, 0], scrape);
    let asked = |token| house.status("/api/v1/sessions", &[("Authorization", &bearer(token))]);
    assert_eq!(asked(DESK), 401);
    assert_eq!(asked("another-token-of-the-desk"), 200);
    // The last one, too: then nobody is let in.
    house.change("web.session_tokens", "# none\n");
    house.wait_for_reloads("web.session_tokens", [2, 0], scrape);
    assert_eq!(asked("another-token-of-the-desk"), 401);
}

#[test]
fn where_nobody_has_a_password_none_is_compared_and_who_came_in_before_tls_has_to_begin_anew() {
    if !capability::kernel() {
        return;
    }
    let house = House::new(&[("web.session_tokens", DESK)]);
    let right = basic(USER, "secret");
    assert_eq!(
        house.status("/api/v1/sessions", &[("Authorization", &right)]),
        401
    );
    let metrics = parsed(http::get(house.address(), "/metrics", &[]).expect("an answer"));
    let metrics = metrics.expect("nobody is asked");
    let passwords = [("cache", "passwords")];
    let misses = metrics.find("vdi_agent_cache_misses_total", &passwords);
    assert!(misses.is_none(), "{misses:?}");
    // On a connection that is kept.
    let mut kept = TcpStream::connect(house.address()).expect("a connection");
    let mut ask = || -> String {
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("it is sent");
        let mut answer = [0; 1024];
        let length = kept.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    let servers = Authority::new("servers");
    let server = servers.issue(&["127.0.0.1"], 2040);
    server.write(&house.file("tls.crt"), &house.file("tls.key"));
    house.change(
        "web.yml",
        "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n",
    );
    let client = Client::new(&servers, None);
    wait::until("TLS is spoken", SHOW_LIMIT, || {
        client.get(house.address(), "/healthz", &[]).ok()
    });
    assert!(ask().starts_with("HTTP/1.1 401"));
}

#[test]
fn more_requests_than_the_rate_allows_are_refused_and_health_is_not() {
    if !capability::kernel() {
        return;
    }
    let house = House::new(&[]);
    let scrape = || parsed(http::get(house.address(), "/metrics", &[]).ok()?);
    let text = "rate_limit:\n  interval: 1h\n  burst: 60\n\
                http_server_config:\n  headers:\n    X-Frame-Options: deny\n";
    house.change("web.yml", text);
    wait::until("the headers are there", SHOW_LIMIT, || {
        let answer = http::get(house.address(), "/healthz", &[]).ok()?;
        (answer.header("x-frame-options") == Some("deny")).then_some(())
    });
    let statuses: Vec<u16> = (0..70).map(|_| house.status("/metrics", &[])).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(refused, 10, "{statuses:?}");
    assert_eq!(house.status("/healthz", &[]), 200);
    // That a file is read again fills no bucket.
    house.change(
        "web.yml",
        &format!("{text}    X-Content-Type-Options: nosniff\n"),
    );
    wait::until("the new headers are there", SHOW_LIMIT, || {
        let answer = http::get(house.address(), "/healthz", &[]).ok()?;
        answer.header("x-content-type-options").map(drop)
    });
    assert_eq!(house.status("/metrics", &[]), 429);
    // A file that is about to be written opens nothing; this does.
    fs::write(house.file("web.yml"), "").expect("a file can be written");
    wait::until("it is refused", SHOW_LIMIT, || {
        house
            .agent
            .log()
            .contains("write {} to open it")
            .then_some(())
    });
    assert_eq!(house.status("/metrics", &[]), 429);
    house.change("web.yml", "{}\n");
    wait::until("nothing is limited", SHOW_LIMIT, scrape);
}

/// What the web configuration says for a server with these files that wants certificates of clients.
fn mutual_tls() -> String {
    "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  client_ca_file: clients.crt\n  \
     client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example, 127.0.0.1]\n  \
     min_version: TLS12\n"
        .to_owned()
}

/// Not before, and ends with a year, seconds since 1970.
fn end_of(year: u64) -> f64 {
    // Days from 1970 to the last day of the year.
    let days = (year - 1969) * 365 + (year - 1968) / 4 - 1;
    (days * 86_400) as f64
}

#[test]
fn a_certificate_is_wanted_of_an_authority_of_a_name_and_of_now_and_one_renewed_is_in_effect_under_load()
 {
    if !capability::kernel() {
        return;
    }
    let house = House::new(&[]);
    let (servers, clients, others) = (
        Authority::new("servers"),
        Authority::new("clients"),
        Authority::new("others"),
    );
    let server = servers.issue(&["127.0.0.1"], 2040);
    let renew = |issued: &Issued| issued.write(&house.file("tls.crt"), &house.file("tls.key"));
    renew(&server);
    clients.write(house.file("clients.crt"));
    let with = |own: Option<&Issued>| Client::new(&servers, own);
    let own = clients.issue(&["prometheus.example"], 2040);
    let rightful = with(Some(&own));
    let scrape = || parsed(rightful.get(house.address(), "/metrics", &[]).ok()?.0);
    house.change("web.yml", &mutual_tls());
    wait::until("TLS is spoken", SHOW_LIMIT, scrape);
    let before = scrape().expect("the rightful client may");
    for (client, reason) in [
        (with(None), "missing"),
        (
            with(Some(&others.issue(&["prometheus.example"], 2040))),
            "untrusted",
        ),
        (
            with(Some(&clients.issue(&["prometheus.example"], 2021))),
            "expired",
        ),
        (
            with(Some(&clients.issue(&["grafana.example"], 2040))),
            "name",
        ),
    ] {
        let answer = client.get(house.address(), "/metrics", &[]);
        assert!(answer.is_err(), "{reason}: {answer:?}");
        let metrics = scrape().expect("the rightful client may");
        let more =
            failures(&metrics, "certificate", reason) - failures(&before, "certificate", reason);
        assert_eq!(more, 1, "{reason}");
    }
    // So is one of the command line that shows its certificate.
    own.write(&house.file("own.crt"), &house.file("own.key"));
    let authority = servers.write(house.file("servers.crt"));
    let listed = |options: Vec<(&str, &Path)>| {
        let options = options
            .into_iter()
            .flat_map(|(option, file)| [OsStr::new(option), file.as_os_str()]);
        Command::new(binary())
            .args(["sessions", "--address", &house.address().to_string()])
            .args([OsStr::new("--ca-file"), authority.as_os_str()])
            .args(options)
            .output()
            .expect("it runs")
    };
    let (certificate, key) = (house.file("own.crt"), house.file("own.key"));
    let shown = listed(vec![("--cert-file", &certificate), ("--key-file", &key)]);
    assert!(shown.status.success(), "{shown:?}");
    for (options, said) in [
        // By the alert, or by the end of the connection where that comes first.
        (vec![], &["ertificate", "reset", "roken pipe"][..]),
        (
            vec![("--cert-file", certificate.as_path())],
            &["--key-file"],
        ),
        (
            vec![("--cert-file", &*certificate), ("--key-file", &*authority)],
            &["servers.crt: there is no private key in it"],
        ),
        (
            vec![("--cert-file", &*key), ("--key-file", &*key)],
            &["own.key: there is no certificate in it"],
        ),
    ] {
        let refused = listed(options);
        let error = String::from_utf8_lossy(&refused.stderr);
        let is_said = said.iter().any(|said| error.contains(said));
        assert!(!refused.status.success() && is_said, "{error}");
    }
    let plain = http::get(house.address(), "/metrics", &[]).expect("an answer");
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"));
    let metrics = scrape().expect("the rightful client may");
    let failed = metrics.count("vdi_agent_tls_handshake_errors_total", &[]);
    assert!(failed >= 4, "{failed}");
    let expiry = |metrics: &Exposition, name: &str| {
        let file = house.file(name).display().to_string();
        let labels = [("file", file.as_str())];
        metrics.find("vdi_agent_certificate_expiry_timestamp_seconds", &labels)
    };
    assert_eq!(expiry(&metrics, "tls.crt"), Some(end_of(2040)));
    assert!(expiry(&metrics, "clients.crt").is_some());

    // Renewed five times while four clients ask all the time.
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let last = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = rightful.get(house.address(), "/api/v1/sessions", &[]);
                    match answer {
                        Ok((answer, _)) => assert!([200, 503].contains(&answer.status)),
                        Err(error) => panic!("{error}"),
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut last = server.clone();
        for year in 2041..2046 {
            last = servers.issue(&["127.0.0.1"], year);
            renew(&last);
            wait::until("the new one is in effect", SHOW_LIMIT, || {
                (expiry(&scrape()?, "tls.crt") == Some(end_of(year as u64))).then_some(())
            });
        }
        done.store(true, Ordering::Relaxed);
        last
    });
    eprintln!("{} answers meanwhile", answers.load(Ordering::Relaxed));
    assert!(answers.load(Ordering::Relaxed) > 100);
    let (_, shown) = rightful
        .get(house.address(), "/healthz", &[])
        .expect("an answer");
    assert!(
        last.certificate.contains(&base64_line(&shown)),
        "the last one is shown"
    );
    // Half of a renewal: the key is not the certificate's, and what was in effect stays.
    let errors = || {
        let file = house.file("tls.key").display().to_string();
        let labels = [("file", file.as_str()), ("result", "error")];
        scrape().map(|metrics| metrics.count("vdi_agent_reloads_total", &labels))
    };
    let before = errors().expect("the rightful client may");
    house.change("tls.key", &server.key);
    wait::until("it is refused", SHOW_LIMIT, || {
        (errors()? == before + 1).then_some(())
    });
    assert!(scrape().is_some());
    // A file that is named before it is there is read when it comes.
    house.change("web.yml", &mutual_tls().replace("tls.", "other."));
    thread::sleep(Duration::from_secs(3));
    assert!(scrape().is_some());
    let other = servers.issue(&["127.0.0.1"], 2050);
    other.write(&house.file("other.crt"), &house.file("other.key"));
    wait::until("it is in effect", SHOW_LIMIT, || {
        (expiry(&scrape()?, "other.crt") == Some(end_of(2050))).then_some(())
    });
}

/// The first line of a certificate in PEM.
fn base64_line(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(der)[..64].to_owned()
}

#[test]
fn clients_that_are_slow_or_send_too_much_keep_the_rightful_one_from_nothing() {
    if !capability::kernel() {
        return;
    }
    let house = House::new(&[("web.session_tokens", DESK)]);
    let servers = Authority::new("servers");
    let authority = servers.write(house.file("servers.crt"));
    let server = servers.issue(&["127.0.0.1"], 2040);
    server.write(&house.file("tls.crt"), &house.file("tls.key"));
    let rightful = Client::new(&servers, None);
    let authorization = basic(USER, "secret");
    let headers = [("Authorization", authorization.as_str())];
    let scrape = || parsed(rightful.get(house.address(), "/metrics", &headers).ok()?.0);
    let tls = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";
    house.change("web.yml", &format!("{tls}{}", users()));
    wait::until("TLS is spoken", SHOW_LIMIT, scrape);
    // The command line is a client as any other, and of this node it knows all that it needs.
    let tokens = house.file("web.session_tokens");
    let address = format!("https://{}", house.address());
    let of_node = [
        "--config",
        &house.agent.configuration_file().display().to_string(),
    ]
    .map(str::to_owned);
    let by_options = [
        "--token-file",
        &tokens.display().to_string(),
        "--ca-file",
        &authority.display().to_string(),
    ]
    .map(str::to_owned);
    let listed = |options: &[String]| {
        let output = Command::new(binary())
            .args(["sessions", "--address", &address])
            .args(options)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(error)
        }
    };
    assert_eq!(listed(&by_options), Ok("no sessions\n".to_owned()));
    let refused = listed(&[]).expect_err("no token");
    assert!(
        refused.contains("credentials are missing: show a token"),
        "{refused}"
    );
    let stranger = Authority::new("others").write(house.file("others.crt"));
    let mut other = by_options.to_vec();
    other[3] = stranger.display().to_string();
    assert!(listed(&other).is_err());
    let own = Command::new(binary())
        .arg("sessions")
        .args(&of_node)
        .args(["--listen", &house.address().to_string()])
        .output()
        .expect("it runs");
    assert!(own.status.success(), "{own:?}");
    // A thousand that begin, and do not go on: half of them with half of a hello.
    let slow: Vec<TcpStream> = (0..1000)
        .filter_map(|number| {
            let own = loopback(10 + (number % 40) as u8);
            let mut stream = connect_from(own, house.address()).ok()?;
            if number % 2 == 0 {
                stream.write_all(&[22, 3, 1, 2, 0, 1]).ok()?;
            }
            Some(stream)
        })
        .collect();
    assert!(slow.len() > 900, "{}", slow.len());
    for _ in 0..10 {
        let began = Instant::now();
        assert!(scrape().is_some());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    // A head of 10 MB.
    let head = [("x", &*"y".repeat(10 << 20))];
    let answer = rightful.get(house.address(), "/metrics", &head);
    assert!(answer.is_err() || answer.is_ok_and(|(answer, _)| answer.status == 431));
    // Wrong passwords without number, of clients half of whom hang up at once, take one CPU at most, and the rightful
    // one is answered: what is right is remembered.
    let cpu = || {
        let metrics = scrape().expect("the rightful one may");
        let seconds = metrics.find("process_cpu_seconds_total", &[]);
        seconds.expect("a process uses some")
    };
    let (began, before) = (Instant::now(), cpu());
    let statuses = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..20_u16 {
            // Of four other machines.
            let stranger = rightful.from(loopback(60 + (thread % 4) as u8));
            let (statuses, house) = (&statuses, &house);
            scope.spawn(move || {
                for guess in 0..10 {
                    let wrong = basic("eve", &format!("{thread}-{guess}"));
                    let headers = [("Authorization", &*wrong)];
                    if guess % 2 == 0 {
                        stranger.hang_up(house.address(), "/metrics", &headers);
                        continue;
                    }
                    if let Ok((answer, _)) = stranger.get(house.address(), "/metrics", &headers) {
                        statuses.lock().expect("no panic").push(answer.status);
                    }
                }
            });
        }
        for _ in 0..10 {
            let began = Instant::now();
            assert!(scrape().is_some());
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    });
    let statuses = statuses.into_inner().expect("no panic");
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&401) && statuses.contains(&503),
        "{statuses:?}"
    );
    let used = (cpu() - before) / began.elapsed().as_secs_f64();
    eprintln!("{used:.2} CPUs while passwords were guessed");
    assert!(used < 1.5, "{used}");
    drop(slow);
}

#[test]
fn a_web_configuration_that_is_wrong_keeps_the_agent_from_starting_and_says_why() {
    if !capability::kernel() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let tree = Tree::new();
    let path = |name: &str| folder.path().join(name);
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let authority = Authority::new("servers");
    let issued = authority.issue(&["127.0.0.1"], 2040);
    issued.write(&path("tls.crt"), &path("tls.key"));
    let tls = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";
    for (text, reason) in [
        ("tls_server_configuration: {}\n".to_owned(), "unknown field"),
        (
            "tls_server_config:\n  cert_file: tls.crt\n".to_owned(),
            "key or key_file is missing",
        ),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n".to_owned(),
            "cert_file",
        ),
        (
            format!("{tls}  min_version: TLS10\n"),
            "TLS10 is not to be had",
        ),
        (
            format!("{tls}  min_version: TLS13\n  max_version: TLS12\n"),
            "above max_version",
        ),
        (
            format!("{tls}  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n"),
            "TLS_RSA_WITH_AES_128_CBC_SHA is not to be had",
        ),
        (
            format!("{tls}  curve_preferences: [CurveP521]\n"),
            "CurveP521 is not to be had",
        ),
        (
            format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n"),
            "client_ca_file is missing",
        ),
        (
            format!("{tls}  client_ca_file: tls.crt\n"),
            "asks no client",
        ),
        (
            format!("{tls}  client_allowed_sans: [a]\n"),
            "client_allowed_sans needs",
        ),
        (
            "basic_auth_users:\n  ada: plain\n".to_owned(),
            "not a bcrypt hash",
        ),
    ] {
        fs::write(path("web.yml"), &text).expect("a file can be written");
        let configuration =
            Configuration::of(&tree).set("web.config_file", &quoted(&path("web.yml")));
        let error = Agent::try_start(&configuration).map(drop).expect_err(&text);
        assert!(
            error.contains(reason) && error.contains("web.yml"),
            "{text}: {error}"
        );
    }
    fs::write(path("tokens"), "short\n").expect("a file can be written");
    let configuration =
        Configuration::of(&tree).set("web.metrics_tokens", &quoted(&path("tokens")));
    let error = Agent::try_start(&configuration)
        .map(drop)
        .expect_err("short");
    assert!(
        error.contains("line 1: expected a token of 16 characters"),
        "{error}"
    );
}
