//! What many sessions, and names from a broken operator, may do to the number of series.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    wait,
    workload::scaled,
};

const DROPPED: &str = "vdi_agent_series_dropped_total";

#[test]
fn beyond_the_budget_details_are_left_out_and_named_and_every_session_stays_known() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let most = 1500;
    let few = Configuration::of(&tree).set("metrics.max_series", &most.to_string());
    let agent = Agent::start(&few);
    let names: Vec<String> = (0..60).map(|n| format!("desk-{n}")).collect();
    let cgroups: Vec<Cgroup> = names.iter().map(|name| tree.child(name)).collect();
    agent.wait_for(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let metrics = agent.fresh_metrics();
    let series = metrics.count("vdi_agent_series", &[]);
    assert!(series <= most, "{series}");
    assert_eq!(
        metrics.matching("vdi_session_info", &[]).count(),
        names.len()
    );
    let families = metrics.values_of(DROPPED, "family");
    assert!(
        families.contains("vdi_session_runqueue_wait_seconds"),
        "{families:?}"
    );
    // Those that are left whole are the oldest.
    let whole: BTreeSet<String> = metrics.values_of("vdi_session_cpu_seconds_total", "session");
    let oldest: BTreeSet<String> = names[..whole.len()].iter().cloned().collect();
    assert!(!whole.is_empty() && whole.len() < names.len());
    assert_eq!(whole, oldest);
    drop(cgroups);
    // What fits again is whole again, when the ended ones have stopped lingering; here they do not.
    assert!(metrics.count(DROPPED, &[("family", "vdi_session_runqueue_wait_seconds")]) > 0);
}

#[test]
fn ten_thousand_templates_are_as_many_as_are_allowed_and_an_overflow() {
    if !capability::kernel() {
        return;
    }
    // Each batch costs two samples of waiting, so few and large; slots rest for some seconds after use, so of
    // these there are as many as there may be.
    let (most, batches, each) = (50, 25, scaled(400).max(10));
    let tree = Tree::new();
    let pattern = format!("^{}/(?<template>[^/]+)-desk$", tree.path());
    let configuration = Configuration::without_rules()
        .rule("desk", &pattern, "session = '$template'")
        .set("sessions.max_sessions", "4096")
        .set("sessions.linger", "\"1s\"")
        .set("metrics.max_templates", &most.to_string());
    let agent = Agent::start(&configuration);
    let tracked = |wanted: u64| {
        wait::until(&format!("{wanted} sessions"), SHOW_LIMIT * 4, || {
            let metrics = agent.metrics();
            // To read that many series is work for both sides.
            thread::sleep(Duration::from_millis(20));
            let tracked = metrics.count("vdi_agent_sessions_tracked", &[]);
            (tracked == wanted).then_some(metrics)
        })
    };
    for batch in 0..batches {
        let folders: Vec<_> = (0..each)
            .map(|n| tree.child(format!("t{}-desk", batch * each + n)))
            .collect();
        tracked(each);
        for folder in &folders {
            fs::remove_dir(folder.path()).expect("an empty cgroup can be removed");
        }
        tracked(0);
        drop(folders);
    }
    let metrics = agent.fresh_metrics();
    let total = batches * each;
    assert_eq!(metrics.count("vdi_agent_sessions_overflowed_total", &[]), 0);
    let overflowed = metrics.count("vdi_agent_templates_overflowed_total", &[]);
    assert_eq!(overflowed, total - most);
    let ended = "vdi_session_ended_total";
    wait::until("all are counted as ended", SHOW_LIMIT * 4, || {
        let ended: f64 = agent.metrics().matching(ended, &[]).map(|s| s.value).sum();
        (ended >= total as f64).then_some(())
    });
    let metrics = agent.fresh_metrics();
    let templates = metrics.values_of(ended, "template");
    assert_eq!(templates.len() as u64, most + 1);
    let overflow = [("template", "overflow")];
    let of_overflow: f64 = metrics.matching(ended, &overflow).map(|s| s.value).sum();
    assert!(
        (of_overflow - overflowed as f64).abs() < 0.5,
        "{of_overflow}"
    );
    // The sessions' own series are gone, and what stays is a constant for each template.
    wait::until("nothing lingers", Duration::from_secs(20), || {
        let lingering = agent.metrics().matching("vdi_session_info", &[]).count();
        (lingering == 0).then_some(())
    });
}
