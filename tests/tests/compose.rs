//! The stack of compose and the configuration that it shares with Kubernetes: that Compose takes it, that it mounts what
//! there is, keeps no password and opens no port to others; that Prometheus's and Alertmanager's own tools take their
//! files; and that data sources, log pipelines and retention are those that dashboards and documents count on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use integration_tests::{
    agent,
    alertmanager::{self, amtool},
    documents::document,
    operations::files,
    prometheus::newer,
    repository,
    tools::{self, Package},
};
use regex::Regex;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;
use sessionscope::telemetry::{Event, SUBJECT};
use tempfile::TempDir;

#[path = "compose/pipelines.rs"]
mod pipelines;
#[path = "compose/retention.rs"]
mod retention;

const FOLDER: &str = "deploy/compose";
const STACK: &str = "deploy/stack";
/// What the stack needs of whoever starts it. Compose must ask for each of them.
const REQUIRED: [&str; 2] = ["NODE_NAME", "GRAFANA_ADMIN_PASSWORD"];
/// The ways in which the stack is started.
const WAYS: [&[&str]; 4] = [
    &["--file", "compose.yaml"],
    &["--file", "compose.yaml", "--profile", "demo"],
    &["--file", "compose.yaml", "--file", "gpu.yaml"],
    &["--file", "compose.yaml", "--file", "host-agent.yaml"],
];
const SLICE: &str = "sessionscope.slice";

/// Debian's Compose, with nothing of the environment but these variables.
fn compose(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let package = Package {
        name: "docker-compose",
        suite: "sid",
        component: "main",
    };
    let program = "usr/libexec/docker/cli-plugins/docker-compose";
    let program = tools::file("docker-compose", &package, program)
        .unwrap_or_else(|error| panic!("{error:#}"));
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        // A .env of whoever runs the tests is not read.
        .env("COMPOSE_DISABLE_ENV_FILE", "1")
        .output()
        .expect("Compose starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The project as Compose reads it.
fn project(way: &[&str]) -> Value {
    let arguments = [way, &["config", "--format", "json"]].concat();
    let environment = REQUIRED.map(|name| (name, "node-1"));
    let output = compose(&repository().join(FOLDER), &arguments, &environment);
    assert!(output.status.success(), "{way:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn services(project: &Value) -> impl Iterator<Item = (&String, &Value)> {
    project["services"].as_object().expect("services").iter()
}

/// Whether a service belongs to the stack, and not to the sessions of the demo.
fn is_of_the_stack(service: &Value) -> bool {
    service["profiles"].is_null()
}

/// Source and target of each mount of a service from the host.
fn binds(service: &Value) -> Vec<(PathBuf, PathBuf)> {
    let volumes = service["volumes"].as_array().cloned().unwrap_or_default();
    let binds = volumes.iter().filter(|volume| volume["type"] == "bind");
    let path = |text: &Value| PathBuf::from(text.as_str().expect("a path"));
    binds
        .map(|volume| (path(&volume["source"]), path(&volume["target"])))
        .collect()
}

fn yaml(path: &str) -> Yaml {
    serde_yaml_ng::from_str(&document(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn compose_takes_each_way_of_starting_and_says_what_is_missing() {
    for way in WAYS {
        project(way);
        for absent in REQUIRED {
            let rest = REQUIRED.into_iter().filter(|name| *name != absent);
            let environment: Vec<_> = rest.map(|name| (name, "node-1")).collect();
            let arguments = [way, &["config", "--quiet"]].concat();
            let output = compose(&repository().join(FOLDER), &arguments, &environment);
            let said = said(&output);
            assert!(!output.status.success(), "{way:?} without {absent}");
            // What is to be done, not only what is wrong.
            assert!(
                said.contains(absent) && said.contains("deploy/compose/.env"),
                "{said}"
            );
        }
    }
    // A Compose that takes everything would prove nothing.
    let broken = tempfile::tempdir().expect("a folder");
    let text = document("deploy/compose/compose.yaml").replacen("image:", "imagee:", 2);
    fs::write(broken.path().join("compose.yaml"), text).expect("a file");
    let environment = REQUIRED.map(|name| (name, "node-1"));
    let output = compose(broken.path(), &["config", "--quiet"], &environment);
    assert!(said(&output).contains("imagee"), "{}", said(&output));
}

#[test]
fn the_way_with_the_host_s_agent_has_no_other_and_reaches_the_host() {
    let project = project(WAYS[3]);
    assert!(project["services"]["agent"].is_null());
    let prometheus = &project["services"]["prometheus"];
    let hosts = prometheus["extra_hosts"].to_string();
    assert!(
        hosts.contains("host.docker.internal") && hosts.contains("host-gateway"),
        "{hosts}"
    );
    // And nothing else asks for it.
    for (name, service) in services(&project).filter(|(name, _)| *name != "prometheus") {
        assert!(service["extra_hosts"].is_null(), "{name}");
    }
}

#[test]
fn every_file_that_is_mounted_is_there() {
    let root = repository().canonicalize().expect("the repository");
    let mut own = 0;
    for way in WAYS {
        for (name, service) in services(&project(way)) {
            for (source, _) in binds(service) {
                if source.starts_with(&root) {
                    own += 1;
                    assert!(source.exists(), "{name}: {}", source.display());
                }
            }
        }
    }
    assert!(own > 40, "{own} mounts of the repository");
}

#[test]
fn rules_dashboards_and_routes_are_the_repository_s_own() {
    let project = project(WAYS[0]);
    let root = repository().canonicalize().expect("the repository");
    for (service, wanted) in [
        ("prometheus", "rules/recordings"),
        ("prometheus", "rules/alerts"),
        ("prometheus", "rules/platform/node-exporter.yml"),
        ("grafana", "dashboards"),
        ("alertmanager", alertmanager::CONFIGURATION),
    ] {
        let mut sources = binds(&project["services"][service]).into_iter();
        let is_mounted = sources.any(|(source, _)| source == root.join(wanted));
        assert!(is_mounted, "{service}: {wanted}");
    }
}

#[test]
fn no_port_is_open_to_other_machines() {
    for way in WAYS {
        let mut ports = 0;
        for (name, service) in services(&project(way)) {
            assert_ne!(service["network_mode"], "host", "{name}");
            for port in service["ports"].as_array().into_iter().flatten() {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
                ports += 1;
            }
        }
        assert!(ports >= 6, "{way:?}: {ports} ports");
    }
}

#[test]
fn every_container_has_its_bounds() {
    for (name, service) in services(&project(WAYS[1])) {
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert!(
            service["security_opt"]
                .to_string()
                .contains("no-new-privileges"),
            "{name}"
        );
        assert!(!service["mem_limit"].is_null(), "{name}");
        if name != "agent" {
            assert_ne!(service["privileged"], true, "{name}");
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        }
        let image = service["image"].as_str().expect("an image");
        let (_, version) = image.rsplit_once(':').expect("a version");
        assert_ne!(version, "latest", "{name}");
        if is_of_the_stack(service) {
            assert!(!service["healthcheck"].is_null(), "{name}");
            assert_eq!(service["cgroup_parent"], SLICE, "{name}");
        }
    }
}

#[test]
fn the_demo_has_three_sessions_away_from_the_stack_s_network() {
    let project = project(WAYS[1]);
    let demo: Vec<_> = services(&project)
        .filter(|(_, service)| !is_of_the_stack(service))
        .collect();
    let sessions: BTreeSet<&str> = demo
        .iter()
        .filter(|(_, service)| service["cgroup_parent"] != SLICE)
        .map(|(name, service)| {
            let labels = &service["labels"];
            for label in ["sessionscope/template", "sessionscope/user"] {
                assert!(labels[label].is_string(), "{name}: {label}");
            }
            let session = labels["sessionscope/session"].as_str();
            session.unwrap_or_else(|| panic!("{name} has no name"))
        })
        .collect();
    assert_eq!(sessions.len(), 3, "{sessions:?}");
    for (name, service) in demo {
        assert!(service["networks"]["monitoring"].is_null(), "{name}");
    }
}

#[test]
fn the_agent_takes_its_file_whose_rule_is_about_the_stack_s_cgroup() {
    let file = repository().join(FOLDER).join("sessionscope.toml");
    let output = agent::command(&agent::binary())
        .args(["--print-config", "--config"])
        .arg(file)
        .output()
        .expect("the agent starts");
    assert!(output.status.success(), "{}", said(&output));
    let text = document("deploy/compose/sessionscope.toml");
    let pattern = text
        .lines()
        .find_map(|line| line.strip_prefix("pattern = '")?.strip_suffix('\''))
        .expect("a pattern");
    let pattern = Regex::new(pattern).expect("a pattern");
    let id = "6d1f0a7c25b3".repeat(5);
    for ignored in [
        format!("/{SLICE}/docker-{id}.scope"),
        format!("/system.slice/docker.service/{SLICE}/{id}"),
    ] {
        assert!(pattern.is_match(&ignored), "{ignored}");
    }
    assert!(!pattern.is_match(&format!("/system.slice/docker-{id}.scope")));
}

/// What is given to a name that sounds like a secret and is no reference, with the line. Tried on a broken twin below.
fn secrets(text: &str) -> Vec<&str> {
    let named = Regex::new(
        r#"(?im)^[ \t]*(?:- )?["']?[\w.-]*(?:password|passwd|secret|token|_key|slack_url|credentials)[\w-]*["']?[ \t]*[:=][ \t]*(?P<value>\S.*)$"#,
    )
    .expect("a pattern");
    named
        .captures_iter(text)
        .filter(|found| {
            let value = found["value"].trim_matches(['"', '\'']);
            // A reference, a file, a switch, or a block that begins.
            !(value.starts_with("${")
                || value.starts_with('/')
                || value.starts_with('#')
                || matches!(value, "true" | "false" | "|" | ">-"))
        })
        .map(|found| found.get(0).map_or("", |line| line.as_str()))
        .collect()
}

#[test]
fn no_file_has_a_password() {
    let twin = "services:\n  grafana:\n    environment:\n      GF_SECURITY_ADMIN_PASSWORD: admin\n";
    assert_eq!(secrets(twin).len(), 1);
    for folder in [FOLDER, STACK] {
        for (path, text) in files(folder) {
            // Nobody's own: git does not know it.
            if path.ends_with(".env") {
                continue;
            }
            let found = secrets(&text);
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
    }
    let ignored = document(".gitignore");
    assert!(ignored.lines().any(|line| line == "/deploy/compose/.env"));
    let not_built = document("deploy/container/Dockerfile.dockerignore");
    assert!(not_built.lines().any(|line| line == "deploy/compose/.env"));
}

#[test]
fn the_example_has_each_variable_and_no_value_of_a_secret() {
    let example = document("deploy/compose/.env.example");
    let given: BTreeMap<&str, &str> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    let asked = Regex::new(r"\$\{([A-Z_]+)").expect("a pattern");
    let compose = document("deploy/compose/compose.yaml");
    for name in asked.captures_iter(&compose) {
        let name = name.get(1).map_or("", |name| name.as_str());
        // Ports and the user's name have defaults that do.
        if name.ends_with("_PORT") || name == "GRAFANA_ADMIN_USER" {
            continue;
        }
        assert!(given.contains_key(name), "{name}");
    }
    for (name, value) in given {
        let is_secret = name.starts_with("ALERTMANAGER_") || REQUIRED.contains(&name);
        assert_eq!(value.is_empty(), is_secret, "{name}");
    }
}

/// A script of the stack, with paths of its container below a folder, run by the shell. What it becomes is `env`.
fn script(name: &str, folder: &Path, paths: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut text = document(&format!("{FOLDER}/{name}"));
    for program in ["/bin/prometheus", "/bin/alertmanager"] {
        text = text.replace(&format!("exec {program}"), "exec /usr/bin/env");
    }
    for path in paths {
        let here = folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(&here).expect("a folder");
        text = text.replace(path, &here.display().to_string());
    }
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    Command::new("/bin/sh")
        .arg(file)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("a shell")
}

fn targets(folder: &Path, environment: &[(&str, &str)]) -> Output {
    script("prometheus.sh", folder, &["/run/prometheus"], environment)
}

const TARGETS: [(&str, &str); 4] = [
    ("NODE_NAME", "node-1.example"),
    ("CLUSTER", "compose"),
    ("ENVIRONMENT", "dev"),
    ("AGENT_ADDRESS", "agent:9709"),
];

#[test]
fn prometheus_s_targets_have_the_node_and_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = targets(folder.path(), &TARGETS);
    assert!(output.status.success(), "{}", said(&output));
    let list = |name: &str| -> Vec<Value> {
        let file = folder.path().join("run/prometheus").join(name);
        serde_json::from_str(&fs::read_to_string(file).expect("a list")).expect("JSON")
    };
    let agents = list("sessionscope.json");
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0]["targets"][0], "agent:9709");
    assert_eq!(agents[0]["labels"]["job"], "sessionscope");
    assert_eq!(agents[0]["labels"]["instance"], "node-1.example");
    let stack = list("stack.json");
    let project = project(WAYS[0]);
    for target in stack.iter().chain(&agents) {
        let labels = &target["labels"];
        assert_eq!(labels["environment"], "dev", "{target}");
        assert_eq!(labels["cluster"], "compose", "{target}");
        let address = target["targets"][0].as_str().expect("an address");
        let service = address.split(':').next().expect("a name");
        assert!(project["services"][service].is_object(), "{address}");
    }
    // All of the stack are asked.
    assert_eq!(stack.len() + 1, services(&project).count());

    for (name, value) in [
        ("NODE_NAME", ""),
        ("NODE_NAME", "a\"b"),
        ("ENVIRONMENT", "a b"),
    ] {
        let mut wrong = TARGETS;
        for entry in &mut wrong {
            if entry.0 == name {
                entry.1 = value;
            }
        }
        let output = targets(folder.path(), &wrong);
        assert!(!output.status.success(), "{name}={value}");
        assert!(said(&output).contains(name), "{}", said(&output));
    }
}

/// What Prometheus finds below /etc/prometheus, and the folder that holds it.
fn prometheus_folder(scrape: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("scrape")).expect("a folder");
    let stack = repository().join(STACK).join("prometheus");
    let link = |from: PathBuf, to: &str| symlink(from, folder.path().join(to)).expect("a link");
    link(stack.join("prometheus.yml"), "prometheus.yml");
    link(
        stack.join("scrape").join(scrape),
        &format!("scrape/{scrape}"),
    );
    link(repository().join("rules"), "rules");
    folder
}

#[test]
fn prometheus_takes_its_files() {
    let promtool = newer::promtool().unwrap_or_else(|error| panic!("{error:#}"));
    let check = |file: &Path| {
        let output = Command::new(&promtool)
            .args(["check", "config", "--lint=all", "--lint-fatal"])
            .arg(file)
            .output()
            .expect("promtool starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    };
    for scrape in ["compose.yml", "kubernetes.yml"] {
        let folder = prometheus_folder(scrape);
        let (success, said) = check(&folder.path().join("prometheus.yml"));
        assert!(success, "{scrape}: {said}");
        assert!(said.contains("alerts/agent.yml"), "{scrape}: {said}");
        // Its twin with a wrong word is refused, so what is scraped is read as well.
        let broken = folder.path().join("scrape").join(scrape);
        let text = fs::read_to_string(&broken).expect("a file");
        fs::remove_file(&broken).expect("a link");
        fs::write(&broken, text.replace("honor_labels", "honour_labels")).expect("a file");
        let (success, said) = check(&folder.path().join("prometheus.yml"));
        assert!(!success, "{scrape}: {said}");
    }
}

#[test]
fn alertmanager_gets_the_shipped_routes_with_alloy_for_its_log_sink_and_keeps_secrets_in_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::create_dir_all(root.join("etc/alertmanager")).expect("a folder");
    let shipped = repository().join(alertmanager::CONFIGURATION);
    symlink(&shipped, root.join("etc/alertmanager/alertmanager.yml")).expect("a link");
    fs::create_dir_all(root.join("etc/alertmanager/secrets")).expect("a folder");
    let secrets = [
        ("ALERTMANAGER_SMTP_PASSWORD", "one"),
        ("ALERTMANAGER_SLACK_URL", "https://slack.example/two"),
        ("ALERTMANAGER_PAGERDUTY_KEY", "three"),
    ];
    let output = script(
        "alertmanager.sh",
        root,
        &["/etc/alertmanager", "/run/alertmanager"],
        &secrets,
    );
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("ALERTMANAGER_WATCHDOG_TOKEN"),
        "{}",
        said(&output)
    );
    // Alertmanager does not inherit them.
    let environment = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!environment.contains("ALERTMANAGER_"), "{environment}");
    for (file, value) in [("smtp-password", "one"), ("pagerduty-key", "three")] {
        let path = root.join("etc/alertmanager/secrets").join(file);
        assert_eq!(fs::read_to_string(path).expect(file), value);
    }

    let made = root.join("run/alertmanager/alertmanager.yml");
    let before = document(alertmanager::CONFIGURATION);
    let after = fs::read_to_string(&made).expect("a file");
    let differences: Vec<_> = before
        .lines()
        .zip(after.lines())
        .filter(|(before, after)| before != after)
        .collect();
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(
        differences[0]
            .1
            .contains("http://alloy:9095/loki/api/v1/raw")
    );
    let program = amtool().unwrap_or_else(|error| panic!("{error:#}"));
    let output = Command::new(program)
        .arg("check-config")
        .arg(&made)
        .output()
        .expect("amtool starts");
    assert!(output.status.success(), "{}", said(&output));
    // Alloy listens there.
    let pipeline = document("deploy/stack/alloy/pipeline.alloy");
    assert!(pipeline.contains("listen_port    = 9095"));
}

#[test]
fn each_data_source_that_a_dashboard_asks_for_is_there_once_and_links_lead_to_one() {
    let sources = yaml("deploy/stack/grafana/provisioning/datasources/sessionscope.yaml");
    let sources = sources["datasources"].as_sequence().expect("a list");
    let word = |source: &Yaml, key: &str| source[key].as_str().unwrap_or_default().to_owned();
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources {
        let kind = word(source, "type");
        by_kind.entry(kind).or_default().push(word(source, "uid"));
        assert_eq!(source["editable"].as_bool(), Some(false));
    }
    let fixed = Regex::new(r#""uid": "([a-z]+)",?\s*\n\s*"type": "(?:prometheus|loki|jaeger)""#)
        .expect("a pattern");
    // A dashboard has a fixed uid, or a variable of a kind.
    for (path, text) in files("dashboards") {
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        let variables = dashboard["templating"]["list"].as_array().expect("a list");
        for variable in variables {
            if variable["type"] == "datasource" {
                let kind = variable["query"].as_str().expect("a kind");
                let found = by_kind.get(kind).map_or(0, Vec::len);
                assert_eq!(found, 1, "{}: {kind}", path.display());
            }
        }
        for found in fixed.captures_iter(&text) {
            let is_there = by_kind.values().flatten().any(|uid| *uid == found[1]);
            assert!(is_there, "{}: {}", path.display(), &found[1]);
        }
    }
    let text = document("deploy/stack/grafana/provisioning/datasources/sessionscope.yaml");
    let links = Regex::new(r"(?:datasourceUid|alertmanagerUid): (\w+)").expect("a pattern");
    let mut leads: BTreeSet<&str> = BTreeSet::new();
    for link in links.captures_iter(&text) {
        let uid = link.get(1).map_or("", |uid| uid.as_str());
        assert!(
            by_kind.values().flatten().any(|known| known == uid),
            "{uid}"
        );
        leads.insert(uid);
    }
    // From metrics and logs to traces, from traces to logs and metrics.
    assert_eq!(
        leads,
        BTreeSet::from(["alertmanager", "jaeger", "loki", "prometheus"])
    );
    let provider = yaml("deploy/stack/grafana/provisioning/dashboards/sessionscope.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str();
    let project = project(WAYS[0]);
    let mut mounts = binds(&project["services"]["grafana"]).into_iter();
    let is_mounted = mounts.any(|(_, target)| Some(target.as_path()) == path.map(Path::new));
    assert!(is_mounted, "{path:?}");
}
