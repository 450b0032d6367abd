//! What scanners of rights find in the chart, the stack, the recipe of the image and compose stands in a table with the
//! reason why it stays; nothing else is found, and each row is needed.

use std::{fmt, path::Path, process::Command};

use integration_tests::{capability, target_directory};

use super::{validation::distinct, *};

const TABLE: &str = "tests/tests/stack/waived.txt";
const RECIPE: &str = "deploy/container/Dockerfile";
const COMPOSE: &str = "deploy/compose/compose.yaml";
/// The situation of the chart whose rights are told apart from the privileged ones of all others.
const CAPABILITIES: &str = "capabilities";
const OPERATOR: [&str; 2] = ["--api-versions", "monitoring.coreos.com/v1"];

/// What is scanned together.
struct Shipped {
    /// Each object of the stack, and of the chart but for the profile `capabilities`.
    objects: Vec<Value>,
    /// The chart with that profile.
    capabilities: Vec<Value>,
    recipe: String,
    compose: String,
}

/// A check that something has not passed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    check: String,
    /// What a row of the table calls it.
    place: String,
    /// What the check is about.
    about: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} | {}: {}", self.check, self.place, self.about)
    }
}

/// A check that need not be passed in one place, or in none.
#[derive(Debug)]
struct Waiver<'t> {
    check: &'t str,
    place: &'t str,
}

impl Waiver<'_> {
    fn is_of(&self, finding: &Finding) -> bool {
        self.check == finding.check && (self.place == "*" || self.place == finding.place)
    }
}

fn waivers(table: &str) -> Vec<Waiver<'_>> {
    let rows = table.lines().filter(|row| !row.starts_with('#'));
    let waivers = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [check, places, reason] = cells[..] else {
            panic!("three cells: {row}");
        };
        assert!(reason.contains(' '), "a reason: {row}");
        let places = places.split(", ");
        places.map(move |place| Waiver { check, place })
    });
    waivers.collect()
}

/// A program of the scanners; says why it cannot be had.
fn scanner(name: &str) -> Option<Command> {
    let program = target_directory().join("tools/scanners/bin").join(name);
    if program.is_file() {
        return Some(Command::new(program));
    }
    capability::skip("the scanners are not there: `cargo xtask setup --for test` fetches them");
    None
}

/// Neither files of configuration, whose texts take long to read, nor objects of operators.
fn scanned(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| {
        let api = text(&object["apiVersion"]);
        let is_of_an_operator = ["monitoring.coreos.com/", "cert-manager.io/"]
            .iter()
            .any(|group| api.starts_with(group));
        object["kind"] != "ConfigMap" && !is_of_an_operator
    })
}

/// All that is shipped, with objects as Helm and kustomize make them.
fn shipped() -> Option<Shipped> {
    let [_, helm] = helm::both()?;
    let mut objects: Vec<Value> = scanned(&distinct(builds()?)).cloned().collect();
    let mut capabilities = Vec::new();
    for (situation, values) in helm::situations() {
        let values = values.to_str().expect("UTF-8");
        let rendered = helm.objects(&[&OPERATOR[..], &["--values", values]].concat());
        let to = match situation.as_str() {
            CAPABILITIES => &mut capabilities,
            _ => &mut objects,
        };
        to.extend(scanned(&rendered).cloned());
    }
    let mut seen = BTreeSet::new();
    objects.retain(|object| seen.insert(object.to_string()));
    Some(Shipped {
        objects,
        capabilities,
        recipe: document(RECIPE),
        compose: document(COMPOSE),
    })
}

/// What a scanner prints. It ends as it does when it has found something, so what tells a failure is that it prints
/// something else.
fn report(mut scanner: Command) -> Value {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let output = scanner
        // What a person has configured is nothing to a test.
        .env("HOME", home.path())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {scanner:?}: {error}"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{scanner:?}: {error}: {said}")
    })
}

/// What Checkov finds in a folder.
fn found_by_checkov(mut checkov: Command, folder: &Path) -> Vec<Finding> {
    checkov
        .current_dir(folder)
        .args(["--framework", "kubernetes", "dockerfile"])
        // It would ask its maker what there is to read about each check.
        .args(["--skip-download", "--compact", "--quiet"])
        .args(["--output", "json", "--directory", "."]);
    let report = report(checkov);
    let mut found = Vec::new();
    for part in list(&report) {
        assert_eq!(part["summary"]["parsing_errors"], 0, "{}", part["summary"]);
        for failed in list(&part["results"]["failed_checks"]) {
            let (file, resource) = (text(&failed["file_path"]), text(&failed["resource"]));
            // Kind, namespace and name; of a recipe something else.
            let mut words = resource.splitn(3, '.');
            let place = match (file, words.next(), words.nth(1)) {
                ("/Dockerfile", ..) => "Dockerfile".to_owned(),
                ("/objects.yaml", Some(kind), Some(name)) => format!("{kind}/{name}"),
                ("/capabilities.yaml", Some(kind), Some(name)) => {
                    format!("{CAPABILITIES}/{kind}/{name}")
                }
                _ => panic!("this place is not known: {file} {resource}"),
            };
            found.push(Finding {
                check: text(&failed["check_id"]).to_owned(),
                place,
                about: text(&failed["check_name"]).to_owned(),
            });
        }
    }
    found
}

/// What compose-lint finds in a file.
fn found_by_compose_lint(mut lint: Command, file: &Path) -> Vec<Finding> {
    // A .env of whoever runs the tests is not read.
    lint.args(["check", "--no-env", "--format", "json"])
        .arg(file);
    let report = report(lint);
    assert_eq!(report["errors"], json!([]), "{report}");
    let found = list(&report["findings"]).map(|found| Finding {
        check: text(&found["rule_id"]).to_owned(),
        place: format!("compose/{}", text(&found["service"])),
        about: text(&found["message"]).to_owned(),
    });
    found.collect()
}

/// What both find; says why they cannot be had.
fn findings(shipped: &Shipped) -> Option<BTreeSet<Finding>> {
    let (checkov, lint) = (scanner("checkov")?, scanner("compose-lint")?);
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let write = |file: &Path, text: &str| fs::write(file, text).expect("a file can be written");
    for (name, objects) in [
        ("objects.yaml", &shipped.objects),
        ("capabilities.yaml", &shipped.capabilities),
    ] {
        let documents = objects.iter().map(|object| format!("---\n{object}\n"));
        write(&folder.path().join(name), &documents.collect::<String>());
    }
    write(&folder.path().join("Dockerfile"), &shipped.recipe);
    let compose = other.path().join("compose.yaml");
    write(&compose, &shipped.compose);
    let mut found = found_by_checkov(checkov, folder.path());
    found.extend(found_by_compose_lint(lint, &compose));
    Some(found.into_iter().collect())
}

#[test]
fn what_scanners_find_has_a_reason_and_each_reason_is_needed() {
    let Some(found) = shipped().and_then(|shipped| findings(&shipped)) else {
        return;
    };
    let table = document(TABLE);
    let waivers = waivers(&table);
    let without_reason: Vec<String> = found
        .iter()
        .filter(|one| !waivers.iter().any(|waiver| waiver.is_of(one)))
        .map(Finding::to_string)
        .collect();
    assert!(without_reason.is_empty(), "{without_reason:#?}");
    let idle: Vec<&Waiver<'_>> = waivers
        .iter()
        .filter(|waiver| !found.iter().any(|one| waiver.is_of(one)))
        .collect();
    assert!(idle.is_empty(), "nothing is found any more: {idle:#?}");
}

/// The first container of an object.
fn container<'a>(objects: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    let mut objects = objects.iter_mut();
    let object = objects.find(|object| helm::name(object) == (kind, name));
    let object = object.expect("an object");
    &mut object["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn a_right_that_nobody_has_waived_is_found() {
    let Some(mut shipped) = shipped() else { return };
    let grafana = container(&mut shipped.objects, "StatefulSet", "grafana");
    grafana["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let agent = container(&mut shipped.capabilities, "DaemonSet", "sessionscope");
    agent["securityContext"]["privileged"] = true.into();
    shipped.recipe.push_str("EXPOSE 22\n");
    let service = "\n  grafana:\n    <<: *service\n";
    assert_eq!(shipped.compose.matches(service).count(), 1);
    let open = format!("{service}    pid: host\n");
    shipped.compose = shipped.compose.replace(service, &open);
    let Some(found) = findings(&shipped) else {
        return;
    };
    let table = document(TABLE);
    let waivers = waivers(&table);
    let without_reason: BTreeSet<(&str, &str)> = found
        .iter()
        .filter(|one| !waivers.iter().any(|waiver| waiver.is_of(one)))
        .map(|one| (one.check.as_str(), one.place.as_str()))
        .collect();
    let expected = [
        ("CKV_DOCKER_1", "Dockerfile"),
        ("CKV_K8S_16", "capabilities/DaemonSet/sessionscope"),
        ("CKV_K8S_20", "StatefulSet/grafana"),
        ("CL-0010", "compose/grafana"),
    ];
    assert_eq!(without_reason, BTreeSet::from(expected));
}
