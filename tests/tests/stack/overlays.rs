//! The environments, and what documents say of their sizes.

use super::*;

/// Environment, and the part of all traces that is kept, as a number and in per cent.
const OVERLAYS: [(&str, &str, u32); 3] = [
    ("dev", "1", 100),
    ("staging", "1", 100),
    ("prod", "0.1", 10),
];
const README: &str = "deploy/kubernetes/stack/README.md";

fn overlay<'a>(builds: &'a Builds, name: &str) -> &'a [Value] {
    &builds[&format!("deploy/kubernetes/overlays/{name}")]
}

/// A quantity of memory or of a volume in MiB.
fn mebibytes(quantity: &Value) -> u64 {
    let quantity = text(quantity);
    let number = quantity.trim_end_matches(char::is_alphabetic);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{quantity}"));
    match &quantity[quantity.len() - 2..] {
        "Mi" => number,
        "Gi" => number * 1024,
        _ => panic!("{quantity}"),
    }
}

/// As people write it.
fn in_words(quantity: &Value) -> String {
    text(quantity).replace("Gi", " GiB").replace("Mi", " MiB")
}

fn volume(workload: &Value) -> &Value {
    &workload["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
}

fn gibibytes(objects: &[Value], name: &str) -> u64 {
    mebibytes(volume(named(objects, "StatefulSet", name))) / 1024
}

fn resources(workload: &Value) -> &Value {
    &containers(workload).next().expect("a container")["resources"]
}

#[test]
fn services_and_pods_have_the_environment_and_volumes_and_selectors_do_not() {
    let Some(builds) = builds() else { return };
    for (name, _, _) in OVERLAYS {
        let objects = overlay(builds, name);
        let has_it =
            |labels: &Value| labels["environment"] == name && labels["cluster"].is_string();
        assert!(of_kind(objects, "Service").count() >= 9);
        for service in of_kind(objects, "Service") {
            assert!(has_it(&service["metadata"]["labels"]), "{service}");
            assert!(service["spec"]["selector"]["environment"].is_null());
        }
        assert!(workloads(objects).count() >= 9);
        for workload in workloads(objects) {
            let spec = &workload["spec"];
            let which = helm::name(workload);
            assert!(has_it(&spec["template"]["metadata"]["labels"]), "{which:?}");
            // Both are fixed once they are there.
            assert!(
                spec["selector"]["matchLabels"]["environment"].is_null(),
                "{which:?}"
            );
            for template in list(&spec["volumeClaimTemplates"]) {
                assert!(template["metadata"]["labels"].is_null(), "{which:?}");
            }
        }
    }
}

#[test]
fn agents_send_as_many_traces_as_the_environment_wants_to_a_service_that_is_there() {
    let Some(builds) = builds() else { return };
    for (name, rate, _) in OVERLAYS {
        let objects = overlay(builds, name);
        let agent = named(objects, "DaemonSet", "sessionscope");
        assert_eq!(variable(agent, "OTEL_SAMPLING_RATE"), rate, "{name}");
        let address = text(variable(agent, "OTEL_EXPORTER_OTLP_ENDPOINT"));
        let address = address.strip_prefix("http://").expect("an address");
        let (host, port) = address.split_once(':').expect("a port");
        let (service, namespace) = host.split_once('.').expect("a namespace");
        let jaeger = named(objects, "Service", service);
        assert_eq!(jaeger["metadata"]["namespace"], namespace);
        let port: u16 = port.parse().expect("a number");
        let mut ports = list(&jaeger["spec"]["ports"]);
        assert!(ports.any(|there| there["port"] == port), "{port}");
    }
    // Without an overlay there is nobody to send them to.
    let agent = named(&builds[AGENT], "DaemonSet", "sessionscope");
    assert!(!agent.to_string().contains("OTEL_"));
}

#[test]
fn samples_go_before_the_volume_is_full() {
    let Some(builds) = builds() else { return };
    let overlays = OVERLAYS.map(|(name, _, _)| overlay(builds, name));
    for objects in overlays.into_iter().chain([builds[STACK].as_slice()]) {
        let prometheus = named(objects, "StatefulSet", "prometheus");
        let kept = text(variable(prometheus, "RETENTION_SIZE"));
        // Prometheus's GB is 1024³ bytes.
        let kept: u64 = kept
            .strip_suffix("GB")
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{kept}"));
        let volume = gibibytes(objects, "prometheus");
        let part = kept * 100 / volume;
        assert!((80..=85).contains(&part), "{kept} of {volume} GiB");
    }
}

#[test]
fn the_table_of_overlays_is_what_they_ask_for() {
    let Some(builds) = builds() else { return };
    let readme = document(README);
    for (name, _, percent) in OVERLAYS {
        let objects = overlay(builds, name);
        let [prometheus, alertmanager] =
            ["prometheus", "alertmanager"].map(|one| named(objects, "StatefulSet", one));
        let memory = in_words(&resources(prometheus)["limits"]["memory"]);
        let volumes = ["prometheus", "alertmanager", "grafana", "loki", "jaeger"]
            .map(|one| gibibytes(objects, one).to_string())
            .join(", ");
        let row = format!(
            "| [{name}](../overlays/{name}/kustomization.yaml) | `{name}` | {percent} % | {} of {memory} | {} | {volumes} GiB |",
            prometheus["spec"]["replicas"], alertmanager["spec"]["replicas"]
        );
        assert!(readme.lines().any(|line| line == row), "{row}");
    }
}

#[test]
fn the_table_of_components_is_what_they_ask_for() {
    let Some(builds) = builds() else { return };
    let readme = document(README);
    for (name, workload, _) in all_workloads(builds) {
        let resources = resources(workload);
        let volume = match volume(workload) {
            Value::Null => String::new(),
            size => in_words(size) + " ",
        };
        let each = if helm::name(workload).0 == "DaemonSet" {
            " a node"
        } else {
            ""
        };
        let [request, limit] =
            ["requests", "limits"].map(|bound| in_words(&resources[bound]["memory"]));
        let end = format!("| {volume}| {request}, {limit}{each} |");
        let link = format!("| [{name}]({name}) |");
        let row = readme.lines().find(|line| line.contains(&link));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert!(row.ends_with(&end), "{row}: {end}");
    }
}

/// What all volumes have together, in GiB, and what is asked for of memory but on each node, in MiB.
fn sums(objects: &[Value]) -> (u64, u64) {
    let everywhere = workloads(objects).filter(|one| helm::name(one).0 != "DaemonSet");
    everywhere.fold((0, 0), |(volumes, memory), workload| {
        let replicas = workload["spec"]["replicas"].as_u64().expect("a number");
        let own = match volume(workload) {
            Value::Null => 0,
            size => mebibytes(size) / 1024,
        };
        let asked = mebibytes(&resources(workload)["requests"]["memory"]);
        (volumes + replicas * own, memory + replicas * asked)
    })
}

#[test]
fn the_sums_are_right() {
    let Some(builds) = builds() else { return };
    let readme = document(README);
    let sentence = readme.lines().find(|line| line.starts_with("Together "));
    let sentence = sentence.expect("a sentence with sums");
    for objects in [builds[STACK].as_slice(), overlay(builds, "prod")] {
        let (volumes, memory) = sums(objects);
        assert!(sentence.contains(&format!(" {volumes} GiB, ")), "{volumes}");
        let memory = format!(" {:.1} GiB", memory as f64 / 1024.0);
        assert!(sentence.contains(&memory), "{memory}");
    }
}
