//! What becomes of log lines, and how long lines, samples and spans stay.

use super::*;

/// The fields that a line of the agent may have.
fn fields() -> BTreeSet<&'static str> {
    let own = Event::ALL.into_iter().flat_map(Event::fields);
    own.copied()
        .chain(SUBJECT)
        .chain(["ts", "level", "target", "event"])
        .collect()
}

/// The part of a text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before}"));
    rest.split_once(after)
        .unwrap_or_else(|| panic!("no {after} after {before}"))
        .0
}

fn words<'a>(text: &'a str, end: &str) -> BTreeSet<&'a str> {
    text.lines()
        .map(str::trim)
        .filter_map(|line| line.strip_suffix(end))
        .map(str::trim)
        .collect()
}

#[test]
fn both_pipelines_take_a_line_of_the_agent_apart_into_the_documented_fields() {
    let fields = fields();
    // The time of a line, and a label.
    let metadata: BTreeSet<&str> = fields
        .iter()
        .copied()
        .filter(|field| !matches!(*field, "ts" | "level"))
        .collect();

    let alloy = document("deploy/stack/alloy/pipeline.alloy");
    let own = between(&alloy, "selector = `{job=\"sessionscope\"}`", "stage.match");
    let end = "= \"\",";
    let taken = words(between(own, "expressions = {", "}"), end);
    assert_eq!(taken, fields);
    let kept = words(between(own, "values = {", "}"), end);
    assert_eq!(kept, metadata);
    assert!(own.contains("source = \"ts\"\n"));

    let promtail = yaml("deploy/stack/promtail/promtail.yaml");
    let stages = promtail["scrape_configs"][0]["pipeline_stages"]
        .as_sequence()
        .expect("stages");
    let own = stages
        .iter()
        .find(|stage| stage["match"]["selector"] == "{job=\"sessionscope\"}")
        .expect("a stage for the agents");
    let names = |value: &Yaml| -> BTreeSet<String> {
        let keys = value.as_mapping().expect("names").keys();
        keys.map(|key| key.as_str().expect("a name").to_owned())
            .collect()
    };
    let own = &own["match"]["stages"];
    let taken = names(&own[0]["json"]["expressions"]);
    assert!(taken.iter().map(String::as_str).eq(fields.iter().copied()));
    assert_eq!(own[1]["timestamp"]["source"], "ts");
    let kept = names(&own[2]["structured_metadata"]);
    assert!(kept.iter().map(String::as_str).eq(metadata.iter().copied()));
}

/// The spellings of each level that a template takes.
fn levels(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let branch = Regex::new(r#"eq \$level((?: "\w+")+) \}\}(\w+)\{\{"#).expect("a pattern");
    let mut levels = BTreeMap::new();
    for found in branch.captures_iter(text) {
        let spellings = found[1].split('"').skip(1).step_by(2);
        let spellings = spellings.map(str::to_owned).collect();
        levels.insert(found[2].to_owned(), spellings);
    }
    levels
}

#[test]
fn both_pipelines_know_the_same_levels_and_loki_keeps_each_as_long_as_it_should() {
    let alloy = levels(&document("deploy/stack/alloy/pipeline.alloy"));
    let promtail = levels(&document("deploy/stack/promtail/promtail.yaml"));
    assert_eq!(alloy, promtail);
    // Those of the agent are among them, as they are.
    for event in Event::ALL {
        let level = event.level().to_string().to_lowercase();
        assert!(alloy[&level].contains(&level), "{level}");
    }

    let loki = yaml("deploy/stack/loki/loki.yaml");
    let limits = &loki["limits_config"];
    let days = |hours: &Yaml| -> u32 {
        let hours = hours.as_str().and_then(|text| text.strip_suffix('h'));
        hours
            .and_then(|text| text.parse().ok())
            .map_or(0, |hours: u32| hours / 24)
    };
    let of = |level: &str| -> u32 {
        let streams = limits["retention_stream"].as_sequence().expect("streams");
        let own = streams.iter().find(|stream| {
            let selector = stream["selector"].as_str().expect("a selector");
            between(selector, "\"", "\"")
                .split('|')
                .any(|one| one == level)
        });
        days(own.map_or(&limits["retention_period"], |stream| &stream["period"]))
    };
    for (level, wanted) in [
        ("error", 90),
        ("warn", 30),
        ("info", 30),
        ("debug", 7),
        ("trace", 7),
    ] {
        assert!(alloy.contains_key(level), "{level}");
        assert_eq!(of(level), wanted, "{level}");
    }
    assert_eq!(loki["compactor"]["retention_enabled"].as_bool(), Some(true));
    assert!(!loki["compactor"]["delete_request_store"].is_null());
    assert_eq!(days(&limits["max_query_lookback"]), 90);
}

#[test]
fn samples_stay_30_days_and_spans_seven() {
    let project = project(WAYS[0]);
    let command = project["services"]["prometheus"]["command"].to_string();
    assert!(
        command.contains("--storage.tsdb.retention.time=30d"),
        "{command}"
    );
    let jaeger = yaml("deploy/stack/jaeger/config.yaml");
    let store = &jaeger["extensions"]["jaeger_storage"]["backends"]["spans"]["badger"];
    assert_eq!(store["ttl"]["spans"], "168h");
    assert_eq!(store["ephemeral"].as_bool(), Some(false));
    // What is kept is below the volume.
    let volumes = project["services"]["jaeger"]["volumes"]
        .as_array()
        .expect("volumes");
    let volume = volumes
        .iter()
        .find(|volume| volume["type"] == "volume")
        .expect("a volume");
    let target = volume["target"].as_str().expect("a path");
    let keys = store["directories"]["keys"].as_str().expect("a path");
    assert!(Path::new(keys).starts_with(target), "{keys}");
}

#[test]
fn components_of_alloy_are_joined_and_closed() {
    let pipeline = document("deploy/stack/alloy/pipeline.alloy");
    let component = Regex::new(r#"(?m)^([a-z._]+) "(\w+)" \{"#).expect("a pattern");
    let reference =
        Regex::new(r"\b((?:loki|discovery|local)\.[a-z_.]+?)\.(\w+)\.(receiver|output|targets)\b")
            .expect("a pattern");
    for source in ["docker.alloy", "kubernetes.alloy"] {
        let text = pipeline.clone() + &document(&format!("{STACK}/alloy/{source}"));
        let made: BTreeSet<(&str, &str)> = component
            .captures_iter(&text)
            .filter_map(|found| Some((found.get(1)?.as_str(), found.get(2)?.as_str())))
            .collect();
        for found in reference.captures_iter(&text) {
            let name = (
                found.get(1).map_or("", |one| one.as_str()),
                found.get(2).map_or("", |one| one.as_str()),
            );
            assert!(made.contains(&name), "{source}: {name:?}");
        }
        // Braces of strings are closed as well.
        let count = |brace| text.matches(brace).count();
        assert_eq!(
            count('{'),
            count('}') + text.matches("\\{").count(),
            "{source}"
        );
    }
}
