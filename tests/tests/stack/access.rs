//! Who may ask Kubernetes for what.

use regex::Regex;

use super::*;

const RULES: &str = "rules/platform/kube-state-metrics.yml";

#[test]
fn nobody_may_write_or_read_a_secret() {
    let Some(builds) = builds() else { return };
    let mut roles = 0;
    let all = builds.values().flatten();
    for role in all.filter(|object| text(&object["kind"]).ends_with("Role")) {
        for rule in list(&role["rules"]) {
            for verb in list(&rule["verbs"]).map(text) {
                assert!(["get", "list", "watch"].contains(&verb), "{role}");
            }
            for resource in list(&rule["resources"]).map(text) {
                assert!(!resource.contains('*') && resource != "secrets", "{role}");
            }
            for group in list(&rule["apiGroups"]).map(text) {
                assert!(!group.contains('*'), "{role}");
            }
        }
        roles += 1;
    }
    assert!(roles > 20, "{roles}");
}

#[test]
fn accounts_are_there_and_those_without_a_role_have_no_token() {
    let Some(builds) = builds() else { return };
    for (name, workload, objects) in all_workloads(builds) {
        let pod = pod(workload);
        assert_eq!(pod["serviceAccountName"], name);
        named(objects, "ServiceAccount", name);
        let subjects = of_kind(objects, "ClusterRoleBinding");
        let mut subjects = subjects.flat_map(|binding| list(&binding["subjects"]));
        let has_a_role = subjects.any(|subject| subject["name"] == name);
        let has_a_token = pod["automountServiceAccountToken"] != false;
        assert_eq!(has_a_token, has_a_role, "{name}");
    }
}

#[test]
fn bindings_are_of_roles_and_accounts_that_are_there() {
    let Some(builds) = builds() else { return };
    for folder in [AGENT, STACK, PROMTAIL] {
        let objects = &builds[folder];
        for binding in of_kind(objects, "ClusterRoleBinding") {
            named(objects, "ClusterRole", text(&binding["roleRef"]["name"]));
            for subject in list(&binding["subjects"]) {
                let account = named(objects, "ServiceAccount", text(&subject["name"]));
                assert_eq!(account["metadata"]["namespace"], subject["namespace"]);
            }
        }
    }
}

/// The kinds of objects that rules ask kube-state-metrics for, as Kubernetes calls them.
fn kinds_of_rules() -> BTreeSet<String> {
    let metric = Regex::new(r"\bkube_([a-z]+)_[a-z_]+").expect("a pattern");
    let rules = document(RULES);
    let kinds = metric.captures_iter(&rules);
    kinds.map(|found| format!("{}s", &found[1])).collect()
}

#[test]
fn kube_state_metrics_has_what_the_rules_ask_for_and_may_see_no_more() {
    let Some(builds) = builds() else { return };
    let objects = &builds[STACK];
    let workload = named(objects, "Deployment", "kube-state-metrics");
    let first = containers(workload).next().expect("a container");
    let option = |name: &str| {
        let mut arguments = list(&first["args"]).map(text);
        arguments.find(|argument| argument.starts_with(name))
    };
    let kinds = option("--resources=").and_then(|argument| argument.strip_prefix("--resources="));
    let kinds: BTreeSet<String> = kinds
        .expect("a list of kinds")
        .split(',')
        .map(str::to_owned)
        .collect();
    assert_eq!(kinds, kinds_of_rules());

    let role = named(objects, "ClusterRole", "sessionscope-kube-state-metrics");
    let resources = list(&role["rules"]).flat_map(|rule| list(&rule["resources"]));
    let resources: BTreeSet<String> = resources.map(|one| text(one).to_owned()).collect();
    assert_eq!(resources, kinds);

    let labels = option("--metric-labels-allowlist=").expect("a list of labels");
    let documented = document("docs/alerts.md");
    assert!(documented.lines().any(|line| line == labels), "{labels}");
}
