//! Pages for people, and what the Prometheus operator reads.

use kcr_monitoring_coreos_com::v1::servicemonitors::ServiceMonitor;
use regex::Regex;

use super::*;

const MONITOR: &str = "deploy/kubernetes/stack/servicemonitor";
const NGINX: &str = "nginx.ingress.kubernetes.io";

fn only_rule(ingress: &Value) -> &Value {
    let rules: Vec<&Value> = list(&ingress["spec"]["rules"]).collect();
    let [rule] = rules[..] else {
        panic!("{ingress}");
    };
    rule
}

#[test]
fn pages_are_encrypted_and_ask_who_is_there() {
    let Some(builds) = builds() else { return };
    let ingresses: Vec<&Value> = of_kind(&builds[INGRESS], "Ingress").collect();
    assert_eq!(ingresses.len(), 4);
    for ingress in ingresses {
        let name = helm::name(ingress).1;
        let spec = &ingress["spec"];
        let host = &only_rule(ingress)["host"];
        assert_eq!(spec["tls"][0]["hosts"], json!([host]), "{name}");
        assert!(spec["tls"][0]["secretName"].is_string(), "{name}");
        let annotations = &ingress["metadata"]["annotations"];
        let annotation = |key: &str| &annotations[format!("{NGINX}/{key}")];
        assert!(annotations["cert-manager.io/cluster-issuer"].is_string());
        assert_eq!(*annotation("force-ssl-redirect"), "true", "{name}");
        // Another controller would not know what asks for a password.
        assert_eq!(spec["ingressClassName"], "nginx", "{name}");
        // Grafana has users of its own.
        if name != "grafana" {
            assert_eq!(*annotation("auth-type"), "basic", "{name}");
            assert_eq!(*annotation("auth-secret"), "stack-users", "{name}");
        }
    }
}

#[test]
fn pages_lead_to_ports_that_are_there_and_their_policy_lets_them_through() {
    let Some(builds) = builds() else { return };
    let objects = &builds[STACK];
    let policy = named(&builds[INGRESS], "NetworkPolicy", "ingress");
    let selected = &policy["spec"]["podSelector"]["matchExpressions"][0]["values"];
    let mut names = Vec::new();
    for ingress in of_kind(&builds[INGRESS], "Ingress") {
        let paths: Vec<&Value> = list(&only_rule(ingress)["http"]["paths"]).collect();
        assert_eq!(paths.len(), 1);
        let backend = &paths[0]["backend"]["service"];
        let name = text(&backend["name"]);
        let service = named(objects, "Service", name);
        let mut ports = list(&service["spec"]["ports"]);
        let port = ports.find(|port| port["name"] == backend["port"]["name"]);
        let port = port.unwrap_or_else(|| panic!("{name}: {backend}"));
        let mut open = list(&policy["spec"]["ingress"][0]["ports"]);
        assert!(open.any(|one| one["port"] == port["targetPort"]), "{name}");
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(*selected, json!(names));
}

#[test]
fn links_in_messages_lead_to_the_pages() {
    let Some(builds) = builds() else { return };
    for (name, own) in [
        ("prometheus", "EXTERNAL_URL"),
        ("alertmanager", "EXTERNAL_URL"),
        ("grafana", "GF_SERVER_ROOT_URL"),
    ] {
        let host = &only_rule(named(&builds[INGRESS], "Ingress", name))["host"];
        let address = variable(named(&builds[STACK], "StatefulSet", name), own);
        let address = text(address).trim_end_matches('/');
        assert_eq!(address, format!("https://{}", text(host)));
    }
}

#[test]
fn the_operator_takes_the_monitor_which_finds_what_asks_for_it_in_three_environments() {
    let Some(builds) = builds() else { return };
    let monitor = helm::only(&builds[MONITOR], "ServiceMonitor");
    helm::assert_round_trip::<ServiceMonitor>(monitor);
    let spec = &monitor["spec"];
    assert_eq!(
        spec["selector"],
        json!({"matchLabels": {"monitoring": "enabled"}})
    );
    let namespaces = &spec["namespaceSelector"]["matchNames"];
    assert_eq!(*namespaces, json!(["dev", "staging", "prod"]));
    let endpoint = &spec["endpoints"][0];
    assert_eq!(endpoint["port"], "metrics");
    assert_eq!(endpoint["path"], "/metrics");

    let mut relabellings = list(&endpoint["relabelings"]);
    let relabelling = relabellings.find(|one| one["targetLabel"] == "environment");
    let relabelling = relabelling.expect("the environment of the namespace");
    let pattern = format!("^(?:{})$", text(&relabelling["regex"]));
    let pattern = Regex::new(&pattern).expect("a pattern");
    for namespace in list(namespaces).map(text) {
        for name in [namespace.to_owned(), format!("team-{namespace}")] {
            let found = pattern.captures(&name).expect("an environment");
            assert_eq!(&found[1], namespace);
        }
    }
    assert!(!pattern.is_match("product"));
}
