//! `bench rules`: what the recordings and alerts cost a Prometheus, with a part of a large fleet.
//!
//! The nodes are one agent's exposition, said under many names, and the Prometheus is the machine's own with the rules
//! as they are shipped. Two parts of the fleet are measured, so that it shows what grows with the nodes, and how.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::gpu_node::Node;
use super::measuring::{self, Bench};
use super::memory::memory_of;
use super::rules_fleet::{self, Template};
use super::rules_prometheus::{Group, Prometheus};
use super::staging::Stage;
use crate::agent;
use crate::interrupt::pause;
use crate::machine::{Machine, process_cpu_time};
use crate::waiting::wait_until;

/// The fleet that is reckoned: its nodes, and the sessions of each.
pub(super) const FLEET: usize = 1_000;
pub(super) const SESSIONS: usize = 60;
/// The parts of it that are measured: a hundredth and a fiftieth.
pub(super) const NODES: [usize; 2] = [FLEET / 100, FLEET / 50];
/// As many as these sessions use.
pub(super) const GPUS: usize = 8;
/// Templates of the sessions, by the last digit of a session's name.
pub(super) const TEMPLATES: usize = 10;
const RULES: &str = r#"[[rules]]
name = "bench"
pattern = '^/sessionscope-bench/(?P<session>session-[0-9]*(?P<template>[0-9]))$'
namespace = "bench"
"#;
/// How long the agent has been there when its exposition is taken: that is what its counters' rates are from.
const AGE: Duration = Duration::from_secs(30);
/// Between two looks at the groups, of which each is evaluated once a minute.
const LOOK: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_mins(1);

/// The options of `bench rules`.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Minutes before evaluations are read. After six the rates over five minutes, which cost most, are whole.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    settle: u32,
    /// Minutes of evaluations that are read, of which each group has one a minute.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    minutes: u32,
}

impl Options {
    /// As they are typed.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--settle={}", self.settle),
            format!("--minutes={}", self.minutes),
        ]
    }
}

/// What `bench rules` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    /// As Prometheus says it of itself.
    pub(super) prometheus: String,
    pub(super) settle_minutes: u32,
    pub(super) minutes: u32,
    /// Series of one node.
    pub(super) series_of_node: usize,
    pub(super) loads: Vec<Load>,
}

/// A Prometheus with so many nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) nodes: usize,
    /// Series that it has in memory: those that it scrapes, and those that the rules make.
    pub(super) series: f64,
    /// CPU time of its process, in CPUs: scrapes and rules.
    pub(super) cpus: f64,
    pub(super) resident_bytes: u64,
    /// By their names.
    pub(super) groups: BTreeMap<String, Evaluations>,
}

/// How a group of rules was evaluated.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Evaluations {
    /// In `rules/`.
    pub(super) file: String,
    pub(super) rules: usize,
    pub(super) interval: f64,
    /// The longest time that an expression looks back, in seconds.
    pub(super) window: u64,
    /// Samples that one evaluation makes.
    pub(super) samples: f64,
    /// How long each evaluation took.
    pub(super) seconds: Vec<f64>,
    /// The rule that took longest, and its share of the group's time.
    pub(super) slowest: (String, f64),
}

/// Takes all measurements.
pub(super) fn measure(options: &Options, bench: &Bench<'_>) -> Result<Measurements> {
    let template = capture(bench)?;
    let series_of_node = template.series();
    let fleet = rules_fleet::serve(template)?;
    let mut loads = Vec::new();
    let mut version = String::new();
    for nodes in NODES {
        let minutes = options.settle + options.minutes;
        eprintln!("{nodes} nodes, {minutes} minutes");
        let prometheus = Prometheus::start(nodes, &fleet, bench.interrupted)?;
        version = prometheus.version()?;
        loads.push(load(nodes, &prometheus, options, bench)?);
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("rules", &options.arguments()),
        prometheus: version,
        settle_minutes: options.settle,
        minutes: options.minutes,
        series_of_node,
        loads,
    })
}

/// The exposition of an agent whose sessions are in use, on GPUs too, some of which have ended.
fn capture(bench: &Bench<'_>) -> Result<Template> {
    eprintln!("one agent, {SESSIONS} sessions");
    // The scenario outlives the agent.
    let node = Node::create(GPUS)?;
    let configuration = format!("{RULES}{}", node.configuration());
    let begin = Instant::now();
    let mut stage = Stage::set_with(SESSIONS, bench.interrupted, || {
        agent::start(&configuration, &node.environment(), bench.interrupted)
    })?;
    node.occupy(&stage.pids())?;
    // One of each template.
    stage.let_some_end(TEMPLATES, bench.interrupted)?;
    let agent = &mut stage.agent;
    wait_until(
        "the agent knows the processes on the GPUs",
        bench.interrupted,
        || {
            let metrics = agent.metrics()?;
            let using = metrics.matching("vdi_session_gpu_memory_bytes", &[]);
            Ok(using.count() == SESSIONS)
        },
    )?;
    pause(AGE, bench.interrupted)?;
    let text = agent.get("/metrics")?;
    Ok(Template::of(&text, begin.elapsed()))
}

fn load(
    nodes: usize,
    prometheus: &Prometheus,
    options: &Options,
    bench: &Bench<'_>,
) -> Result<Load> {
    wait_until("Prometheus scrapes all nodes", bench.interrupted, || {
        // And itself.
        Ok(prometheus.value("sum(up)")? == Some(nodes as f64 + 1.0))
    })?;
    let mut watched = Watched::default();
    watched.watch(prometheus, MINUTE * options.settle, bench)?;
    watched.forget();

    let (before, begin) = (process_cpu_time(prometheus.pid())?, Instant::now());
    watched.watch(prometheus, MINUTE * options.minutes, bench)?;
    let taken = process_cpu_time(prometheus.pid())?.saturating_sub(before);
    let cpus = taken.as_secs_f64() / begin.elapsed().as_secs_f64();

    let samples = prometheus.samples_of_groups()?;
    let series = prometheus.value("prometheus_tsdb_head_series")?;
    Ok(Load {
        nodes,
        series: series.context("Prometheus does not say how many series it has")?,
        cpus,
        resident_bytes: memory_of(prometheus.pid())?.resident_bytes,
        groups: watched.evaluations(&samples)?,
    })
}

/// What was seen of the groups.
#[derive(Default)]
struct Watched(BTreeMap<String, Seen>);

struct Seen {
    /// As it was last.
    group: Group,
    seconds: Vec<f64>,
    /// Of each rule, all evaluations together.
    of_rules: Vec<f64>,
}

impl Watched {
    /// Looks at the groups for a while.
    fn watch(&mut self, prometheus: &Prometheus, time: Duration, bench: &Bench<'_>) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            pause(LOOK, bench.interrupted)?;
            for group in prometheus.groups()? {
                self.see(group)?;
            }
        }
        Ok(())
    }

    /// Takes an evaluation that has not been seen.
    fn see(&mut self, group: Group) -> Result<()> {
        for rule in &group.rules {
            let (name, error) = (&rule.name, &rule.last_error);
            ensure!(
                error.is_empty(),
                "Prometheus cannot evaluate {name}: {error}"
            );
        }
        let of_rules = || group.rules.iter().map(|rule| rule.seconds);
        match self.0.get_mut(&group.name) {
            Some(seen) if seen.group.evaluated == group.evaluated => {}
            Some(seen) => {
                seen.seconds.push(group.seconds);
                for (sum, seconds) in seen.of_rules.iter_mut().zip(of_rules()) {
                    *sum += seconds;
                }
                seen.group = group;
            }
            // Whether it has been evaluated is not known yet.
            None => {
                let seen = Seen {
                    seconds: Vec::new(),
                    of_rules: vec![0.0; group.rules.len()],
                    group,
                };
                self.0.insert(seen.group.name.clone(), seen);
            }
        }
        Ok(())
    }

    /// Forgets all evaluations, but not which was the last.
    fn forget(&mut self) {
        for seen in self.0.values_mut() {
            seen.seconds.clear();
            seen.of_rules.fill(0.0);
        }
    }

    fn evaluations(self, samples: &BTreeMap<String, f64>) -> Result<BTreeMap<String, Evaluations>> {
        let mut all = BTreeMap::new();
        for (name, seen) in self.0 {
            ensure!(!seen.seconds.is_empty(), "{name} was not evaluated");
            let samples = samples.get(&name).copied();
            let rules = &seen.group.rules;
            let sum = seen.of_rules.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let of_rules = rules.iter().zip(&seen.of_rules);
            let slowest = of_rules.max_by(|(_, one), (_, other)| one.total_cmp(other));
            let slowest = slowest.map(|(rule, seconds)| (rule.name.clone(), seconds / sum));
            let evaluations = Evaluations {
                file: seen.group.file.clone(),
                rules: rules.len(),
                interval: seen.group.interval,
                window: rules.iter().map(|rule| rule.window).max().unwrap_or(0),
                samples: samples.with_context(|| format!("{name} has no samples"))?,
                seconds: seen.seconds,
                slowest: slowest.unwrap_or_default(),
            };
            all.insert(name, evaluations);
        }
        ensure!(!all.is_empty(), "Prometheus has no rules");
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::rules_prometheus::{Group, Rule};
    use super::Watched;

    fn group(evaluated: &str, seconds: f64, error: &str) -> Group {
        let rule = |name: &str, seconds, window| Rule {
            name: name.to_owned(),
            last_error: error.to_owned(),
            seconds,
            window,
        };
        Group {
            name: "a".to_owned(),
            file: "recordings/a.yml".to_owned(),
            interval: 60.0,
            seconds,
            evaluated: evaluated.to_owned(),
            rules: vec![
                rule("quick", seconds / 4.0, 300),
                rule("slow", seconds * 3.0 / 4.0, 60),
            ],
        }
    }

    #[test]
    fn each_evaluation_is_seen_once() {
        let mut watched = Watched::default();
        for (evaluated, seconds) in [("1", 9.0), ("2", 8.0), ("2", 8.0)] {
            watched.see(group(evaluated, seconds, "")).unwrap();
        }
        watched.forget();
        for (evaluated, seconds) in [("2", 8.0), ("3", 1.0), ("3", 1.0), ("4", 3.0)] {
            watched.see(group(evaluated, seconds, "")).unwrap();
        }
        let samples = BTreeMap::from([("a".to_owned(), 7.0)]);
        let all = watched.evaluations(&samples).unwrap();
        let one = &all["a"];
        assert_eq!(one.seconds, [1.0, 3.0]);
        assert_eq!(one.slowest, ("slow".to_owned(), 0.75));
        assert_eq!((one.window, one.samples), (300, 7.0));
    }

    #[test]
    fn a_rule_with_an_error_ends_it() {
        let error = Watched::default().see(group("1", 1.0, "many-to-many"));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "Prometheus cannot evaluate quick: many-to-many");
    }

    #[test]
    fn a_group_that_was_not_evaluated_is_named() {
        let mut watched = Watched::default();
        watched.see(group("1", 1.0, "")).unwrap();
        let error = watched.evaluations(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "a was not evaluated");
    }
}
