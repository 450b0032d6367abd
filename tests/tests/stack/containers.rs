//! What each container may do, takes and is.

use super::*;

/// The files of `/var/log/pods` are root's alone.
const ROOT: [&str; 2] = ["alloy", "promtail"];

#[test]
fn no_pod_has_rights_that_it_does_not_need() {
    let Some(builds) = builds() else { return };
    for (name, workload, _) in all_workloads(builds) {
        let pod = pod(workload);
        let security = &pod["securityContext"];
        if ROOT.contains(&name) {
            assert_eq!(security["runAsUser"], 0, "{name}");
        } else {
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert_ne!(security["runAsUser"], 0, "{name}");
        }
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[shared].is_null(), "{name}: {shared}");
        }
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            let expected = json!({
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            });
            assert_eq!(container["securityContext"], expected, "{name}");
        }
    }
}

#[test]
fn what_is_the_node_s_is_mounted_read_only_but_for_positions() {
    let Some(builds) = builds() else { return };
    for (name, workload, _) in all_workloads(builds) {
        let volumes = list(&pod(workload)["volumes"]);
        let of_the_node = volumes.filter(|volume| !volume["hostPath"].is_null());
        for volume in of_the_node {
            let mut mounts = containers(workload).flat_map(|one| list(&one["volumeMounts"]));
            let mount = mounts.find(|mount| mount["name"] == volume["name"]);
            let mount = mount.unwrap_or_else(|| panic!("{name}: {volume} is not mounted"));
            let is_own = text(&volume["hostPath"]["path"]).starts_with("/var/lib/sessionscope-");
            assert!(is_own || mount["readOnly"] == true, "{name}: {mount}");
        }
    }
}

#[test]
fn each_container_asks_for_what_it_takes_and_says_how_it_is() {
    let Some(builds) = builds() else { return };
    for (name, workload, _) in all_workloads(builds) {
        let pod = pod(workload);
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            let resources = &container["resources"];
            for needed in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                assert!(resources.pointer(needed).is_some(), "{name}: {needed}");
            }
            // Throttled, a scrape or a rule comes too late.
            assert!(resources["limits"]["cpu"].is_null(), "{name}");
        }
        for container in containers(workload) {
            for probe in ["readinessProbe", "livenessProbe"] {
                assert!(container[probe].is_object(), "{name}: {probe}");
            }
        }
        // Variables such as LOKI_PORT would be among those that configuration reads.
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
    }
}

#[test]
fn images_have_the_versions_of_compose() {
    let Some(builds) = builds() else { return };
    let compose: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&document("deploy/compose/compose.yaml")).expect("YAML");
    let mut compared = 0;
    for (name, workload, _) in all_workloads(builds) {
        let pod = pod(workload);
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            let image = text(&container["image"]);
            let (_, version) = image.rsplit_once(':').expect("a version");
            let begin = version.trim_start_matches('v');
            assert!(
                begin.starts_with(|one: char| one.is_ascii_digit()),
                "{image}"
            );
            if let Some(there) = compose["services"][name]["image"].as_str() {
                assert_eq!(image, there);
                compared += 1;
            }
        }
    }
    assert!(compared >= 8, "{compared}");
}

#[test]
fn prometheus_keeps_30_days_as_far_as_its_volume_reaches() {
    let Some(builds) = builds() else { return };
    let prometheus = named(&builds[STACK], "StatefulSet", "prometheus");
    let first = containers(prometheus).next().expect("a container");
    let arguments: Vec<&str> = list(&first["args"]).map(text).collect();
    for argument in [
        "--storage.tsdb.retention.time=30d",
        "--storage.tsdb.retention.size=$(RETENTION_SIZE)",
        "--config.auto-reload",
    ] {
        assert!(arguments.contains(&argument), "{arguments:?}");
    }
}
