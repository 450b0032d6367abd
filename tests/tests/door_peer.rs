//! The same web configuration and the same requests to the agent and to an exporter of Prometheus's own toolkit: both
//! must answer alike.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    certificates::{Authority, Client, Issued},
    cgroup::Tree,
    http,
    tools::{Package, file},
    wait,
};

/// The first of Debian's that knows the allowed names of clients' certificates; the machine's own suite has an older one.
const PEER: Package<'_> = Package {
    name: "prometheus-node-exporter",
    suite: "sid",
    component: "main",
};
const PROGRAM: &str = "usr/bin/prometheus-node-exporter";

/// node_exporter, which ends when it is dropped.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts it; `None` if it ends instead.
    fn start(program: &Path, web: &Path) -> Option<Self> {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let mut child = Command::new(program)
            .arg(format!("--web.config.file={}", web.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--collector.disable-defaults", "--collector.loadavg"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let is_there = wait::until("it listens or ends", SHOW_LIMIT, || {
            match child.try_wait().expect("it is ours") {
                Some(_) => Some(false),
                None => TcpStream::connect(address).ok().map(|_| true),
            }
        });
        let mut peer = is_there.then_some(Self { child, address })?;
        // It listens before it reads the rest.
        thread::sleep(Duration::from_millis(300));
        let has_ended = peer.child.try_wait().expect("it is ours").is_some();
        (!has_ended).then_some(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Who asks, and with what.
struct Asks<'a> {
    what: &'a str,
    /// Without, plain HTTP.
    client: Option<&'a Client>,
    authorization: Option<String>,
}

/// What came: the status and a header, or that there was no connection.
type Came = Option<(u16, Option<String>)>;

impl Asks<'_> {
    fn of(&self, address: SocketAddr) -> Came {
        let authorization = self.authorization.as_deref();
        let headers: Vec<_> = authorization
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        let response = match self.client {
            // A server that closes before it has read all is reset, and then its answer may be lost on the way.
            None => {
                let mut answers = (0..20).map(|_| http::get(address, "/metrics", &headers));
                let first = answers.next().expect("there are twenty");
                first.or_else(|error| answers.find_map(Result::ok).ok_or(error))
            }
            Some(client) => client
                .get(address, "/metrics", &headers)
                .map(|(response, _)| response),
        };
        let response = response.ok()?;
        let header = response.header("x-frame-options").map(str::to_owned);
        Some((response.status, header))
    }
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

const TLS: &str = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";
const HEADERS: &str = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n";

#[test]
fn an_exporter_of_the_toolkit_and_the_agent_answer_alike() {
    if !capability::kernel() {
        return;
    }
    let program = file("node_exporter", &PEER, PROGRAM).expect("a package of Debian");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (servers, clients, others) = (
        Authority::new("servers"),
        Authority::new("clients"),
        Authority::new("others"),
    );
    servers
        .issue(&["127.0.0.1"], 2040)
        .write(&path("tls.crt"), &path("tls.key"));
    clients.write(path("clients.crt"));
    let client = |issued: Issued| Client::new(&servers, Some(&issued));
    let nobody = Client::new(&servers, None);
    let named = client(clients.issue(&["prometheus.example"], 2040));
    let by_address = client(clients.issue(&["192.0.2.7"], 2040));
    let unnamed = client(clients.issue(&["grafana.example"], 2040));
    let expired = client(clients.issue(&["prometheus.example"], 2021));
    let foreign = client(others.issue(&["prometheus.example"], 2040));
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let users = format!("basic_auth_users:\n  ada: {hash}\n");
    let ada = || Some(basic("ada:secret"));
    let asks = |what, client, authorization| Asks {
        what,
        client,
        authorization,
    };
    let of_users = || {
        vec![
            asks("nobody", Some(&nobody), None),
            asks("a user", Some(&nobody), ada()),
            asks("a wrong password", Some(&nobody), Some(basic("ada:Secret"))),
            asks("no password", Some(&nobody), Some(basic("ada:"))),
            asks("an unknown user", Some(&nobody), Some(basic("eve:secret"))),
            asks("no colon", Some(&nobody), Some(basic("ada"))),
            asks("no base64", Some(&nobody), Some("Basic %%".to_owned())),
            asks(
                "in lower case",
                Some(&nobody),
                ada().map(|text| text.replace("Basic", "basic")),
            ),
            asks(
                "a token",
                Some(&nobody),
                Some("Bearer 0123456789abcdef".to_owned()),
            ),
            asks("without TLS", None, ada()),
        ]
    };
    let of_certificates = || {
        vec![
            asks("no certificate", Some(&nobody), ada()),
            asks("a name", Some(&named), ada()),
            asks("an address", Some(&by_address), ada()),
            asks("another name", Some(&unnamed), ada()),
            asks("expired", Some(&expired), ada()),
            asks("of another authority", Some(&foreign), ada()),
            asks("a name and no user", Some(&named), None),
        ]
    };
    let mutual = |auth: &str, more: &str| format!("{TLS}  client_auth_type: {auth}\n{more}{users}");
    let authority = "  client_ca_file: clients.crt\n";
    let names = "  client_allowed_sans: [prometheus.example, 192.0.2.7]\n";
    let mut requests = 0;
    for (web, all) in [
        (format!("{TLS}{HEADERS}{users}"), of_users()),
        (
            mutual("RequireAndVerifyClientCert", &format!("{authority}{names}")),
            of_certificates(),
        ),
        (
            mutual("RequireAndVerifyClientCert", authority),
            of_certificates(),
        ),
        (
            mutual("VerifyClientCertIfGiven", authority),
            of_certificates(),
        ),
        (mutual("RequireAnyClientCert", ""), of_certificates()),
        (mutual("RequestClientCert", ""), of_certificates()),
        (
            format!("{TLS}rate_limit:\n  interval: 1h\n  burst: 3\n"),
            (0..5).map(|_| asks("again", Some(&nobody), None)).collect(),
        ),
    ] {
        fs::write(path("web.yml"), &web).expect("a file can be written");
        let peer = Peer::start(&program, &path("web.yml")).unwrap_or_else(|| panic!("{web}"));
        let agent = Behind::start(&path("web.yml"));
        for one in all {
            let (of_peer, of_agent) = (one.of(peer.address), one.of(agent.address()));
            assert_eq!(of_agent, of_peer, "{}: {web}", one.what);
            requests += 1;
        }
    }
    // What is wrong keeps both from starting.
    for web in [
        "tls_server_config:\n  certfile: a\n",
        "tls_server_config:\n  cert_file: tls.crt\n",
        "basic_auth_users:\n  ada: plain\n",
        "http_server_config:\n  headers:\n    Server: x\n",
        &format!("{TLS}  client_auth_type: Always\n"),
        &format!("{TLS}  client_ca_file: clients.crt\n"),
        &format!("{TLS}  min_version: TLS99\n"),
        &format!("{TLS}  cipher_suites: [NONE]\n"),
        &format!("{TLS}  curve_preferences: [NONE]\n"),
    ] {
        fs::write(path("web.yml"), web).expect("a file can be written");
        assert!(Peer::start(&program, &path("web.yml")).is_none(), "{web}");
        let error = Behind::try_start(&path("web.yml")).expect_err(web);
        assert!(error.contains("web.yml"), "{error}");
        requests += 1;
    }
    eprintln!("{requests} alike");
    assert!(requests > 50);
}

/// An agent that a web configuration is put in front of while it runs: what says that it is ready speaks no TLS.
struct Behind {
    agent: Agent,
    _tree: Tree,
}

impl Behind {
    fn configuration(tree: &Tree, web: &Path) -> Configuration {
        Configuration::of(tree).set(
            "web.config_file",
            &format!("{:?}", web.display().to_string()),
        )
    }

    fn try_start(web: &Path) -> Result<(), String> {
        let tree = Tree::new();
        Agent::try_start(&Self::configuration(&tree, web)).map(drop)
    }

    fn start(web: &Path) -> Self {
        let text = fs::read_to_string(web).expect("it has been written");
        let own = web.with_file_name("own.yml");
        fs::write(&own, "").expect("a file can be written");
        let tree = Tree::new();
        let agent = Agent::start(&Self::configuration(&tree, &own));
        fs::write(&own, text).expect("a file can be written");
        wait::until("it is in effect", SHOW_LIMIT, || {
            agent.log().contains("read again: in effect").then_some(())
        });
        Self { agent, _tree: tree }
    }

    fn address(&self) -> SocketAddr {
        self.agent.address()
    }
}
