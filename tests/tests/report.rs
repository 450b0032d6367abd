//! What the agent has on this kernel: each program with the reason why it does not run, the metric
//! families that are absent for it, and the state stores that work.
//!
//! On the kernels of `cargo xtask test --kernels` the page docs/kernels.md is made of the line that this
//! prints; anywhere it is a check that the exposition says the same as the tables of the agent.

use std::{collections::BTreeMap, fs, path::Path};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
};
use serde_json::{Value, json};
use sessionscope::{
    kernel::{
        btf::Btf,
        programs::{OffCode, PROGRAMS},
    },
    metrics::{catalog::families, family::Source},
};

/// The types of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The stores, by the name of their configuration.
const STORES: [&str; 2] = ["task-storage", "pid-array"];
/// What the verifier may walk of one program: a quarter of the million at which it refuses it. The verifiers of other
/// kernels prune less, and walking 883,081 takes a small machine seconds and a gigabyte.
const MOST_VERIFIED: u64 = 250_000;

#[test]
fn every_program_is_up_or_says_why_and_its_families_are_absent_then() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("one");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["one"]);
    let metrics = agent.fresh_metrics();
    let status = agent.report();
    let chosen = status["agent"]["task_state"].clone();
    every_program_leaves_the_verifier_room(&status);
    the_maps_take_what_is_said(
        agent.pid(),
        metrics.value("vdi_agent_map_memory_bytes", &[]),
    );

    let mut probes = Vec::new();
    for program in PROGRAMS {
        let mut of_program = metrics.samples.iter().filter(|sample| {
            sample.name == "vdi_agent_probe_up"
                && sample.labels.get("probe").map(String::as_str) == Some(program.name)
        });
        let Some(sample) = of_program.next() else {
            // Not wanted, because what it would stand in for runs, or for another way to allocate.
            let is_conditional = program.stands_in_for.is_some() || program.only_with.is_some();
            assert!(is_conditional, "no {}", program.name);
            continue;
        };
        assert!(of_program.next().is_none(), "{} twice", program.name);
        let reason = &sample.labels["reason"];
        let up = sample.value > 0.0;
        assert_eq!(up, reason.is_empty(), "{}: {reason:?}", program.name);
        let code = &sample.labels["code"];
        let is_known = OffCode::ALL.iter().any(|known| known.name() == code);
        assert_eq!(up, code.is_empty(), "{}: {code:?}", program.name);
        assert!(up || is_known, "{}: {code:?}", program.name);
        assert!(up || !program.required, "{}: {reason}", program.name);
        probes.push(json!({ "name": program.name, "reason": (!up).then_some(reason) }));
    }
    let is_up = |name: &str| {
        PROGRAMS
            .iter()
            .filter(|program| program.name == name || program.stands_in_for == Some(name))
            .any(|program| {
                let labels = [("probe", program.name), ("reason", "")];
                metrics.find("vdi_agent_probe_up", &labels) == Some(1.0)
            })
    };
    let mut absent = Vec::new();
    for family in families() {
        if let Source::Program(program) = family.source
            && !is_up(program)
        {
            let sample = family.sample_name();
            assert!(
                !metrics.types.contains_key(&sample),
                "{sample} without {program}"
            );
            absent.push(sample);
        }
    }

    drop(agent);
    let mut stores = vec![chosen];
    for store in STORES {
        let configuration =
            Configuration::of(&tree).set("kernel.task_state", &format!("{store:?}"));
        let started = Agent::try_start(&configuration);
        let can = store != "task-storage" || capability::task_storage();
        assert_eq!(started.is_ok(), can, "{store}: {:?}", started.err());
        if can && stores[0] != store {
            stores.push(store.into());
        }
    }
    let report = json!({ "task_states": stores, "probes": probes, "absent_families": absent });
    println!("KERNEL-REPORT {report}");
}

/// Kernels before 5.16 do not keep the count.
fn every_program_leaves_the_verifier_room(status: &Value) {
    let programs = status["agent"]["programs"].as_array().expect("programs");
    let verified = |program: &Value| program["verified_instructions"].as_u64();
    let mut counts: Vec<_> = programs
        .iter()
        .filter_map(|program| Some((verified(program)?, &program["name"])))
        .collect();
    counts.sort_unstable_by_key(|(count, _)| *count);
    println!("instructions that the verifier walked: {counts:?}");
    let over = counts.iter().find(|(count, _)| *count > MOST_VERIFIED);
    assert!(over.is_none(), "{over:?}");
    let btf = Btf::from_file(Path::new(BTF)).expect("the kernel's types");
    let is_kept = btf.has_member("bpf_prog_info", "verified_insns");
    let up = programs.iter().filter(|program| program["up"] == true);
    assert_eq!(counts.len(), if is_kept { up.count() } else { 0 });
}

/// The agent reckons from the sizes of its maps, because kernels before 6.4 do not add up what a map takes.
fn the_maps_take_what_is_said(pid: u32, said: f64) {
    let btf = Btf::from_file(Path::new(BTF)).expect("the kernel's types");
    if !btf.has_member("bpf_map_ops", "map_mem_usage") {
        return;
    }
    let field = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    };
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("its files");
    let maps: BTreeMap<u64, u64> = files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|text| Some((field(&text, "map_id:")?, field(&text, "memlock:")?)))
        .collect();
    let truth = maps.values().sum::<u64>() as f64;
    println!("{said} bytes of maps where the kernel has {truth}");
    assert!((said - truth).abs() <= 0.02 * truth, "{said} of {truth}");
}
