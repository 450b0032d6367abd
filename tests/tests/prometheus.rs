//! What users see: the result of a query in a real Prometheus that scraped the agent.
//!
//! Debian's Prometheus reads OpenMetrics and has classic histograms; a newer one reads protobuf and has
//! native ones beside them. The quantiles of both are compared with each other and with those that the
//! agent itself reports.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use integration_tests::{
    accounts::Accounts,
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    prometheus::{self, Prometheus, newer},
    workload::{Workload, two_cpus},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")];
const WAIT: &str = "vdi_session_runqueue_wait_seconds";
/// Names that a scraper must unescape.
const HOSTILE: [&str; 4] = ["quo\"te", "back\\slash", "{a=\"b\"} 1", "# EOF"];

/// An agent and a Prometheus that scrapes it, after a session has worked for some seconds and stopped.
struct Scraped {
    prometheus: Prometheus,
    agent: Agent,
    _workloads: [Workload; 2],
    _cgroups: Vec<Cgroup>,
    _tree: Tree,
}

fn scraped(binary: &Path, flags: &[&str], job: &str) -> Scraped {
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let every_power_of_four = Configuration::of(&tree).set("metrics.classic_buckets", "\"full\"");
    let agent = Agent::start(&every_power_of_four);
    let mut cgroups: Vec<Cgroup> = HOSTILE.iter().map(|name| tree.child(name)).collect();
    let desk = tree.child("desk");
    agent.wait_for(&["desk"]);
    // Short waits of those that talk and long ones of those that fight for the same CPU, about as many
    // of either, so that the quantiles lie far apart.
    let talk = ["pingpong", "--switches", "4000", "--cpu", &cpu];
    let fight = ["spin", "--threads", "3", "--seconds", "8", "--cpu", &cpu];
    let mut workloads = [&talk[..], &fight[..]].map(|work| Workload::start(WORKLOAD, &desk, work));
    let prometheus = Prometheus::start(binary, flags, job, agent.address());
    // Seconds after it is ready.
    prometheus.wait_for("up", 1.0);
    workloads.iter_mut().for_each(Workload::go);
    for workload in &mut workloads {
        workload.finish();
    }
    Accounts::settled(&desk);
    let metrics = agent.fresh_metrics();
    let count = metrics.value(&format!("{WAIT}_count"), &[("session", "desk")]);
    prometheus.wait_for(&format!("{WAIT}_count{{session=\"desk\"}}"), count);
    cgroups.push(desk);
    Scraped {
        prometheus,
        agent,
        _workloads: workloads,
        _cgroups: cgroups,
        _tree: tree,
    }
}

impl Scraped {
    fn value(&self, expression: &str) -> f64 {
        let value = self.prometheus.value(expression);
        value.unwrap_or_else(|| panic!("{expression} has no result"))
    }

    fn assert_no_scrape_failed(&self) {
        assert_eq!(self.prometheus.last_error(), "");
        assert!(self.value("min_over_time(up[1m])") > 0.0, "a scrape failed");
        let scrapes = self.value("count_over_time(up[1m])");
        assert!(scrapes >= 7.0, "only {scrapes} scrapes");
        let sessions = self.prometheus.query("vdi_session_info");
        let names: BTreeSet<_> = sessions
            .iter()
            .map(|(labels, _)| labels["session"].as_str())
            .collect();
        let expected: BTreeSet<_> = HOSTILE.into_iter().chain(["desk"]).collect();
        assert_eq!(names, expected);
        // Not negative and not above the largest boundary, over the time that it worked.
        let recent = self.value(&format!(
            "histogram_quantile(0.99, sum by (le) (rate({WAIT}_bucket{{session=\"desk\"}}[30s])))"
        ));
        assert!(recent > 0.0 && recent <= 16.0, "{recent}");
    }

    /// The quantile that the agent itself reports.
    fn reported(&self, name: &str) -> f64 {
        let session = self.agent.session("desk").expect("the session is there");
        session["runqueue_wait"][name].as_f64().expect("a number")
    }

    fn classic(&self, q: f64) -> f64 {
        let series = format!("{WAIT}_bucket{{session=\"desk\"}}");
        self.value(&format!("histogram_quantile({q}, {series})"))
    }
}

/// Number of the classic bucket: the boundaries are powers of four from 2^-20 s.
fn classic_bucket(seconds: f64) -> i32 {
    let bound = |bucket: i32| f64::exp2(f64::from(2 * bucket - 20));
    let at_most = |bucket: &i32| seconds <= bound(*bucket) * (1.0 + 1e-9);
    (0..14).find(at_most).expect("at most the largest boundary")
}

#[test]
fn debians_prometheus_computes_the_quantiles_that_the_agent_reports() {
    if !capability::kernel() {
        return;
    }
    let binary = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    let scraped = scraped(&binary, &[], "");
    for (q, name) in QUANTILES {
        let (classic, reported) = (scraped.classic(q), scraped.reported(name));
        eprintln!("{name}: {classic} by Prometheus, {reported} by the agent");
        assert_eq!(classic_bucket(classic), classic_bucket(reported), "{name}");
    }
    scraped.assert_no_scrape_failed();
}

/// A newer Prometheus with flags and lines of the scrape job for native histograms and, if wanted, for the zeros that
/// it puts where a series began; `None` where it cannot be had, which is said.
fn newer_one(zeros: bool) -> Option<(PathBuf, Vec<&'static str>, String)> {
    let binary = match newer::binary() {
        Ok(binary) => binary,
        Err(reason) => {
            capability::skip(&format!("no newer Prometheus: {reason:#}"));
            return None;
        }
    };
    let version = newer::version(&binary);
    assert!(version >= (3, 0), "{version:?}");
    let mut job =
        "  scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]\n\
         \x20 always_scrape_classic_histograms: true\n"
            .to_owned();
    let mut flags = Vec::new();
    // Since 3.8 a line of the scrape job; before it a feature of the whole server.
    if version >= (3, 8) {
        job.push_str("  scrape_native_histograms: true\n");
    } else {
        flags.push("--enable-feature=native-histograms");
    }
    if zeros {
        flags.push("--enable-feature=created-timestamp-zero-ingestion");
    }
    Some((binary, flags, job))
}

#[test]
fn a_newer_prometheus_sees_what_the_first_value_of_a_series_has_grown_by() {
    if !capability::kernel() {
        return;
    }
    let Some((binary, flags, job)) = newer_one(true) else {
        return;
    };
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let prometheus = Prometheus::start(&binary, &flags, &job, agent.address());
    prometheus.wait_for("up", 1.0);
    // Scrapes in which neither the sessions nor their template are there.
    prometheus.wait_for("count_over_time(up[1m]) >= bool 3", 1.0);
    let cgroups = ["first", "second", "third"].map(|name| tree.child(name));
    agent.wait_for(&["first", "second", "third"]);
    let [first, ..] = &cgroups;
    let _idle = cgroups
        .each_ref()
        .map(|cgroup| Workload::start(WORKLOAD, cgroup, &["idle"]));
    let forks = 100;
    let storm = ["storm", "--forks", &forks.to_string()];
    Workload::start(WORKLOAD, first, &storm).run();
    agent.fresh_metrics();
    let exits = "vdi_session_process_exits_total{session=\"first\"}";
    prometheus.wait_for(&format!("sum({exits}) >= bool {forks}"), 1.0);
    let value = |expression: &str| {
        let value = prometheus.value(expression);
        value.unwrap_or_else(|| panic!("{expression} has no result"))
    };
    let grown = |series: &str| value(&format!("sum(increase({series}[1m]))"));
    // What Prometheus makes of the ends of the window may add a half, and takes nothing away.
    let seen = grown(exits);
    assert!(seen >= f64::from(forks), "{seen} exits of {forks}");
    // Three sessions that started for the first time in their template.
    let milestone = "{template=\"child\",milestone=\"first_process\"}";
    let started = grown(&format!("vdi_session_startup_seconds_count{milestone}"));
    assert!(started >= 3.0, "{started} starts of 3");
    for series in [
        format!("vdi_session_startup_seconds_bucket{milestone}"),
        format!("vdi_session_startup_seconds{milestone}"),
    ] {
        let p95 = value(&format!(
            "histogram_quantile(0.95, sum by (le) (rate({series}[1m])))"
        ));
        assert!(p95 > 0.0 && p95 < 60.0, "{series}: {p95}");
    }
    assert_eq!(prometheus.last_error(), "");
}

#[test]
fn a_newer_prometheus_computes_the_same_from_native_histograms() {
    if !capability::kernel() {
        return;
    }
    let Some((binary, flags, job)) = newer_one(false) else {
        return;
    };
    let scraped = scraped(&binary, &flags, &job);
    let native = format!("{WAIT}{{session=\"desk\"}}");
    for (q, name) in QUANTILES {
        let classic = scraped.classic(q);
        let native = scraped.value(&format!("histogram_quantile({q}, {native})"));
        let reported = scraped.reported(name);
        eprintln!("{name}: {classic} classic, {native} native, {reported} by the agent");
        assert_eq!(classic_bucket(classic), classic_bucket(native), "{name}");
        assert_eq!(classic_bucket(classic), classic_bucket(reported), "{name}");
        // A native bucket is a quarter of an octave wide.
        let apart = (native / reported).log2().abs();
        assert!(
            apart <= 0.25,
            "{name}: {native} and {reported} are {apart} octaves apart"
        );
    }
    let count = scraped.value(&format!("{WAIT}_count{{session=\"desk\"}}"));
    let native_count = scraped.value(&format!("histogram_count({native})"));
    assert!(
        (native_count - count).abs() < 0.5,
        "{native_count} and {count}"
    );
    let sum = scraped.value(&format!("{WAIT}_sum{{session=\"desk\"}}"));
    let native_sum = scraped.value(&format!("histogram_sum({native})"));
    assert!(
        (native_sum - sum).abs() <= 1e-9 * sum,
        "{native_sum} and {sum}"
    );

    // Each classic boundary is a native one too, so below it are exactly as many.
    for (labels, below) in scraped
        .prometheus
        .query(&format!("{WAIT}_bucket{{session=\"desk\"}}"))
    {
        let le = &labels["le"];
        let fraction = scraped.value(&format!("histogram_fraction(0, {le}, {native})"));
        assert!(
            (fraction * count - below).abs() < 0.5,
            "le {le}: {} and {below}",
            fraction * count
        );
    }
    scraped.assert_no_scrape_failed();
}
