//! The configurations with real ends, at which series are counted.

use super::{arithmetic::Figures, *};

/// A node with two sessions that fight for a CPU.
struct Node {
    agent: Agent,
    _workloads: Vec<Workload>,
    _cgroups: Vec<Cgroup>,
    _gpus: Gpus,
    _tree: Tree,
}

impl Node {
    fn start() -> Self {
        let tree = Tree::new();
        let gpus = Gpus::new(vec![device(0)]);
        let agent = gpus.start(&Configuration::of(&tree));
        let cgroups: Vec<Cgroup> = ["desk", "lab"].map(|name| tree.child(name)).into();
        agent.wait_for(&["desk", "lab"]);
        let [cpu, _] = two_cpus();
        let fight = ["spin", "--threads", "2", "--seconds", "80", "--cpu", &cpu];
        let start = |cgroup| {
            let mut workload = Workload::start(WORKLOAD, cgroup, &fight);
            workload.go();
            workload
        };
        let workloads = cgroups.iter().map(start).collect();
        Self {
            agent,
            _workloads: workloads,
            _cgroups: cgroups,
            _gpus: gpus,
            _tree: tree,
        }
    }
}

/// Makes what a file says happen each second, with rules and a job for the agent.
fn hurried(mut configuration: Value, rules: &TempDir, agent: SocketAddr) -> Value {
    if configuration["global"].is_null() {
        configuration["global"] = yaml("{}");
    }
    for key in ["scrape_interval", "scrape_timeout", "evaluation_interval"] {
        configuration["global"][key] = "1s".into();
    }
    configuration["rule_files"] = yaml(&format!("['{}/*.yml']", rules.path().display()));
    configuration["scrape_configs"] = yaml(&format!(
        "- {{job_name: sessionscope, honor_labels: true, static_configs: [{{targets: ['{agent}'], labels: \
         {{instance: node-1, environment: prod}}}}]}}"
    ));
    configuration
}

/// One that takes what others send.
fn receiver(binary: &Path) -> Prometheus {
    let flags = ["--web.enable-remote-write-receiver"];
    Prometheus::start_configured(binary, &flags, "global: {scrape_interval: 1s}\n")
}

fn url(of: &Prometheus) -> String {
    format!("http://{}/api/v1/write", of.address())
}

/// An entry of `remote_write` under another name and to another place.
fn towards(mut entry: Value, name: &str, url: &str) -> Value {
    entry["name"] = name.into();
    entry["url"] = url.into();
    entry
}

/// Waits until a sender has recordings of each level.
fn until_recorded(prometheus: &Prometheus) {
    prometheus.wait_for("count(vdi_session_start_time_seconds)", 2.0);
    for level in ["session", "instance", "gpu", "template", "cluster"] {
        let names = format!("count({{__name__=~\"{level}(_[a-z_]+)?:.+\"}}) >= bool 1");
        prometheus.wait_for(&names, 1.0);
    }
}

fn ever(prometheus: &Prometheus) -> BTreeSet<Labels> {
    prometheus.series(ALL).into_iter().collect()
}

fn has_session(labels: &Labels) -> bool {
    labels
        .get("session")
        .is_some_and(|session| !session.is_empty())
}

/// What of a sender's series is to arrive, with the labels that are added on the way.
fn chosen(
    sender: &Prometheus,
    is_chosen: impl Fn(&Labels) -> bool,
    external: &Value,
) -> BTreeSet<Labels> {
    let external = external.as_mapping().expect("labels");
    let with_external = |mut labels: Labels| {
        for (name, value) in external {
            let [name, value] = [name, value].map(|one| one.as_str().expect("text").to_owned());
            labels.entry(name).or_insert(value);
        }
        labels
    };
    let series = ever(sender).into_iter().filter(is_chosen);
    series.map(with_external).collect()
}

/// Waits until two sets of series are the same, and returns how many there are.
fn the_same(
    what: &str,
    wanted: impl Fn() -> BTreeSet<Labels>,
    found: impl Fn() -> BTreeSet<Labels>,
) -> usize {
    let began = Instant::now();
    loop {
        let (wanted, found) = (wanted(), found());
        if wanted == found {
            return found.len();
        }
        if began.elapsed() > patient(LIMIT) {
            let missing: Vec<_> = wanted.difference(&found).take(3).collect();
            let more: Vec<_> = found.difference(&wanted).take(3).collect();
            panic!(
                "{what}: {} series wanted, {} found; missing {missing:#?}; too many {more:#?}",
                wanted.len(),
                found.len()
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// A counter of a sender, of one of the ends it sends to.
fn of_queue(sender: &Prometheus, counter: &str, end: &str) -> f64 {
    let metrics = sender.own_metrics();
    let begin = format!("{counter}{{");
    let end = format!("remote_name=\"{end}\"");
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with(&begin) && line.contains(&end));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no {counter} of {end}"));
    let (_, value) = line.rsplit_once(' ').expect("a value");
    value.parse().expect("a number")
}

#[test]
fn what_is_sent_arrives_with_sessions_kept_or_dropped_as_the_page_says() {
    if !capability::kernel() {
        return;
    }
    let node = Node::start();
    let rules = faster_rules(FASTER);
    let [older, newer] = both_majors();
    let agent = node.agent.address();

    // The files to a Prometheus of each major and to VictoriaMetrics; beside the first its other two choices.
    let (far, everything, alone) = (receiver(&older), receiver(&newer), receiver(&newer));
    let thanos = receiver(&newer);
    let binary = victoria_metrics::binary().unwrap_or_else(|error| panic!("{error:#}"));
    let victoria = VictoriaMetrics::start(&binary);

    let mut mimir = remote_write("mimir");
    let entry = mimir["remote_write"][0].clone();
    let mut without = entry.clone();
    let keys = without.as_mapping_mut().expect("an entry");
    assert!(keys.remove("write_relabel_configs").is_some());
    let mut only = entry.clone();
    only["write_relabel_configs"] = Value::Sequence(vec![recordings_alone()]);
    mimir["remote_write"] = Value::Sequence(vec![
        towards(entry, "mimir", &url(&far)),
        towards(without, "everything", &url(&everything)),
        towards(only, "alone", &url(&alone)),
    ]);
    let start = |binary: &Path, configuration: Value| {
        let configuration = hurried(configuration, &rules, agent);
        Prometheus::start_configured(binary, &[], &text(&configuration))
    };
    let to_one = |end: &str, url: &str| {
        let mut configuration = remote_write(end);
        let entry = configuration["remote_write"][0].clone();
        configuration["remote_write"] = Value::Sequence(vec![towards(entry, end, url)]);
        configuration
    };
    let labels_of = |end: &str| remote_write(end)["global"]["external_labels"].clone();
    let senders = [
        start(&older, mimir),
        start(&newer, to_one("thanos", &url(&thanos))),
        start(&older, to_one("victoriametrics", &victoria.url())),
    ];
    for sender in &senders {
        until_recorded(sender);
    }
    let [to_mimir, to_thanos, to_victoria] = &senders;

    let names = recordings_alone();
    let names = names["regex"].as_str().expect("a pattern");
    let names = Regex::new(&format!("^(?:{names})$")).expect("a pattern");
    let is_recording = |labels: &Labels| names.is_match(&labels["__name__"]);
    let external = labels_of("mimir");
    let all = the_same(
        "everything",
        || chosen(to_mimir, |_| true, &external),
        || ever(&everything),
    );
    let kept = the_same(
        "all but sessions",
        || chosen(to_mimir, |labels| !has_session(labels), &external),
        || ever(&far),
    );
    let recorded = the_same(
        "recordings alone",
        || chosen(to_mimir, is_recording, &external),
        || ever(&alone),
    );
    eprintln!("{all} series, {kept} without sessions, {recorded} recordings");
    assert!(all > kept && kept > recorded && recorded > 20);
    the_same(
        "to Thanos",
        || {
            chosen(
                to_thanos,
                |labels| !has_session(labels),
                &labels_of("thanos"),
            )
        },
        || ever(&thanos),
    );
    let external = labels_of("victoriametrics");
    the_same(
        "to VictoriaMetrics",
        || chosen(to_victoria, |labels| !has_session(labels), &external),
        || victoria.series(),
    );

    // The samples, and not their series alone.
    for (sender, ends) in [
        (to_mimir, &["mimir", "everything", "alone"][..]),
        (to_thanos, &["thanos"][..]),
        (to_victoria, &["victoriametrics"][..]),
    ] {
        for end in ends {
            let failed = of_queue(
                sender,
                "prometheus_remote_storage_samples_failed_total",
                end,
            );
            assert!(failed < 0.5, "{failed} samples to {end} failed");
        }
    }
    let counter = "prometheus_remote_storage_samples_total";
    let sent = of_queue(to_victoria, counter, "victoriametrics");
    assert!(sent > 100.0, "{sent}");
    let began = Instant::now();
    while victoria.samples() < sent {
        assert!(
            began.elapsed() < patient(LIMIT),
            "{} of {sent}",
            victoria.samples()
        );
        thread::sleep(Duration::from_millis(200));
    }
    let up = "cluster:vdi_agent_up:ratio";
    for end in [&far, &everything, &alone, &thanos] {
        end.wait_for(up, 1.0);
    }
    let begun = |of: &Prometheus| {
        let found = of.query("vdi_session_start_time_seconds").into_iter();
        let mut found: Vec<_> = found
            .map(|(labels, value)| (labels["session"].clone(), value.to_string()))
            .collect();
        found.sort();
        found
    };
    assert_eq!(begun(&everything), begun(to_mimir));

    figures_hold(to_mimir);
}

/// What the page says that a node has at most is not less than what one has.
fn figures_hold(prometheus: &Prometheus) {
    let figures = Figures::of(&document(PAGE));
    let series = ever(prometheus);
    let most = |begin: &str, is_one: &dyn Fn(&Labels) -> bool| {
        let count = series.iter().filter(|labels| is_one(labels)).count();
        let most = figures.get(begin);
        assert!(
            count > 0 && count as f64 <= most,
            "{begin}: {count} of {most}"
        );
    };
    let level = |labels: &Labels| {
        let (level, _) = labels["__name__"].split_once(':')?;
        Some(level.split('_').next().unwrap_or_default().to_owned())
    };
    let is_of =
        |wanted: &'static str| move |labels: &Labels| level(labels).as_deref() == Some(wanted);
    let is =
        |labels: &Labels, name: &str, value: &str| labels.get(name).is_some_and(|has| has == value);
    most("recordings of a node", &is_of("instance"));
    most("recordings of a GPU", &is_of("gpu"));
    most("recordings of a template", &is_of("template"));
    most("recordings of a cluster", &is_of("cluster"));
    let is_alert = |labels: &Labels| labels["__name__"].starts_with("ALERTS");
    most("recordings of a session", &|labels| {
        is(labels, "session", "desk") && is_of("session")(labels)
    });
    most("series of a session", &|labels| {
        is(labels, "session", "desk") && level(labels).is_none() && !is_alert(labels)
    });
    most("series of a further template", &|labels| {
        is(labels, "template", "child")
            && !has_session(labels)
            && level(labels).is_none()
            && !is_alert(labels)
    });
}

#[test]
fn without_the_label_the_sessions_of_a_template_are_one_series() {
    if !capability::kernel() {
        return;
    }
    let node = Node::start();
    let rules = tempfile::tempdir().expect("a temporary folder can be made");
    let [older, _] = both_majors();
    let far = receiver(&older);
    let mut configuration = remote_write("thanos");
    let mut entry = towards(
        configuration["remote_write"][0].clone(),
        "wrong",
        &url(&far),
    );
    entry["write_relabel_configs"] = yaml("[{regex: session, action: labeldrop}]");
    configuration["remote_write"] = Value::Sequence(vec![entry]);
    let configuration = hurried(configuration, &rules, node.agent.address());
    let sender = Prometheus::start_configured(&older, &[], &text(&configuration));
    let begun = "count(vdi_session_start_time_seconds)";
    sender.wait_for(begun, 2.0);
    far.wait_for(begun, 1.0);
}

#[test]
fn the_recordings_of_a_cluster_are_fetched_label_for_label_and_no_session() {
    if !capability::kernel() {
        return;
    }
    let node = Node::start();
    let rules = faster_rules(FASTER);
    let external =
        "global: {external_labels: {cluster: east, __replica__: one, prometheus_replica: one}}";
    let cluster = hurried(yaml(external), &rules, node.agent.address());
    let [older, newer] = both_majors();
    let cluster = Prometheus::start_configured(&older, &[], &text(&cluster));
    until_recorded(&cluster);
    for binary in [older, newer] {
        let mut global = yaml(&document(FEDERATION));
        let selectors = selectors(&global);
        global["global"]["scrape_interval"] = "1s".into();
        let job = &mut global["scrape_configs"][0];
        job["scrape_timeout"] = "1s".into();
        job["static_configs"][0]["targets"] = yaml(&format!("['{}']", cluster.address()));
        let global = Prometheus::start_configured(&binary, &[], &text(&global));
        global.wait_for("up", 1.0);
        // External labels are added where there are none of these names, but for those of a pair.
        let there = |labels: Labels| {
            let mut labels = labels;
            labels
                .entry("cluster".to_owned())
                .or_insert_with(|| "east".to_owned());
            labels
        };
        let fetched = "{__name__=~\".+\", job!=\"sessionscope-federation\"}";
        let fetched = || -> BTreeSet<Labels> { global.series(fetched).into_iter().collect() };
        let began = Instant::now();
        loop {
            let now = selectors
                .iter()
                .flat_map(|selector| cluster.query(selector));
            let now: BTreeSet<Labels> = now.map(|(labels, _)| there(labels)).collect();
            let found = fetched();
            let missing: Vec<_> = now.difference(&found).collect();
            if missing.is_empty() && now.len() > 50 {
                break;
            }
            assert!(
                began.elapsed() < patient(LIMIT),
                "{} of {}: {missing:#?}",
                found.len(),
                now.len()
            );
            thread::sleep(Duration::from_millis(200));
        }
        let found = fetched();
        let known = selectors
            .iter()
            .flat_map(|selector| cluster.series(selector));
        let known: BTreeSet<Labels> = known.map(there).collect();
        let more: Vec<_> = found.difference(&known).collect();
        assert!(more.is_empty(), "{more:#?}");
        for labels in found.iter().filter(|labels| has_session(labels)) {
            assert_eq!(labels["__name__"], "ALERTS");
        }
        eprintln!("{} series fetched of {}", found.len(), ever(&cluster).len());
        global.wait_for("cluster:vdi_agent_up:ratio", 1.0);
        assert_eq!(global.last_error(), "");
    }
}

#[test]
fn in_agent_mode_all_is_sent_and_the_other_end_evaluates_the_rules() {
    if !capability::kernel() {
        return;
    }
    let node = Node::start();
    let rules = faster_rules(FASTER);
    let [older, newer] = both_majors();
    for (binary, flag) in [(&older, "--enable-feature=agent"), (&newer, "--agent")] {
        let far = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/*.yml']\n",
            rules.path().display()
        );
        let far =
            Prometheus::start_configured(&newer, &["--web.enable-remote-write-receiver"], &far);
        let mut configuration = yaml(&document(AGENT_MODE));
        configuration["global"]["scrape_interval"] = "1s".into();
        configuration["global"]["scrape_timeout"] = "1s".into();
        let job = &mut configuration["scrape_configs"][0];
        let keys = job.as_mapping_mut().expect("a job");
        assert!(keys.remove("kubernetes_sd_configs").is_some());
        // What Kubernetes would have said of the agent's pod.
        job["static_configs"] = yaml(&format!(
            "[{{targets: ['{}'], labels: {{__meta_kubernetes_pod_container_port_name: metrics, \
             __meta_kubernetes_pod_node_name: node-1}}}}]",
            node.agent.address()
        ));
        configuration["remote_write"][0]["url"] = url(&far).into();
        let _agent = Prometheus::start_agent(binary, &[flag], &text(&configuration));
        let labels = "{job=\"sessionscope\", instance=\"node-1\", node=\"node-1\", cluster=\"east\", \
                      environment=\"prod\"}";
        far.wait_for(
            &format!("count(vdi_session_start_time_seconds{labels})"),
            2.0,
        );
        far.wait_for("cluster:vdi_agent_up:ratio{cluster=\"east\"}", 1.0);
        far.wait_for("count({__name__=~\"session(_[a-z]+)?:.+\"}) >= bool 1", 1.0);
    }
}
