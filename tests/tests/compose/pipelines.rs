//! Lines of a real agent and of others go through both pipelines, as the documentation of Alloy and Promtail has their
//! stages: neither program can be had here. `JMESPath` and Go's templates are read by crates.

use std::collections::BTreeMap;

use gtmpl::{FuncError, Template, Value as Go};
use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    wait,
};
use serde_json::Value;

use super::*;

type Strings = BTreeMap<String, String>;

/// A stage with what it is told. In a map of names an empty text stands for the name itself.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Nested stages, for entries that a selector takes.
    Match(String, Vec<Stage>),
    /// Name and expression of each field.
    Json(Strings),
    Logfmt(Strings),
    /// Source and format.
    Timestamp(String, String),
    /// Source and template.
    Template(String, String),
    Labels(Strings),
    Metadata(Strings),
    Drop(Vec<String>),
}

// --- Promtail's file

fn strings(value: &Yaml) -> Strings {
    let entries = value.as_mapping().into_iter().flatten();
    let text = |value: &Yaml| value.as_str().unwrap_or_default().to_owned();
    entries
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn of_promtail(stages: &Yaml) -> Vec<Stage> {
    let stages = stages.as_sequence().expect("stages").iter();
    stages.filter_map(of_promtail_stage).collect()
}

fn of_promtail_stage(stage: &Yaml) -> Option<Stage> {
    let (name, value) = stage.as_mapping()?.iter().next()?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Some(match name.as_str()? {
        // The runtime's own frame of a line, which Docker's API does not have.
        "cri" => return None,
        "match" => Stage::Match(text("selector"), of_promtail(&value["stages"])),
        "json" => Stage::Json(strings(&value["expressions"])),
        "logfmt" => Stage::Logfmt(strings(&value["mapping"])),
        "timestamp" => Stage::Timestamp(text("source"), text("format")),
        "template" => Stage::Template(text("source"), text("template")),
        "labels" => Stage::Labels(strings(value)),
        "structured_metadata" => Stage::Metadata(strings(value)),
        "labeldrop" => {
            let names = value.as_sequence()?.iter().filter_map(Yaml::as_str);
            // What the API of Docker does not give either.
            let names = names.filter(|name| !["filename", "stream"].contains(name));
            Stage::Drop(names.map(str::to_owned).collect())
        }
        other => panic!("Promtail's stage {other} is not known"),
    })
}

// --- Alloy's file

/// A piece of Alloy's configuration language.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Mark(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let piece = Regex::new(
        r#"//[^\n]*|`(?<raw>[^`]*)`|(?<text>"(?:\\.|[^"\\])*")|(?<name>[\w.]+)|(?<mark>[{}\[\](),=])"#,
    );
    let piece = piece.expect("a pattern");
    let token = |found: regex::Captures<'_>| {
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        let unquoted = |text: &str| serde_json::from_str(text).expect("a text");
        part("raw")
            .map(|raw| Token::Text(raw.to_owned()))
            .or_else(|| part("text").map(|text| Token::Text(unquoted(text))))
            .or_else(|| part("name").map(|name| Token::Name(name.to_owned())))
            .or_else(|| {
                part("mark")
                    .and_then(|mark| mark.chars().next())
                    .map(Token::Mark)
            })
    };
    piece.captures_iter(text).filter_map(token).collect()
}

/// What stands between braces: attributes and blocks.
#[derive(Default)]
struct Block {
    texts: Strings,
    maps: BTreeMap<String, Strings>,
    lists: BTreeMap<String, Vec<String>>,
    blocks: Vec<(String, Block)>,
}

/// Reads until the brace that closes it.
fn block(tokens: &mut impl Iterator<Item = Token>) -> Block {
    let mut block = Block::default();
    while let Some(Token::Name(name)) = tokens.next() {
        match tokens.next() {
            Some(Token::Mark('{')) => {
                let inner = self::block(tokens);
                block.blocks.push((name, inner));
            }
            Some(Token::Mark('=')) => attribute(&mut block, name, tokens),
            other => panic!("{name} is followed by {other:?}"),
        }
    }
    block
}

fn attribute(block: &mut Block, name: String, tokens: &mut impl Iterator<Item = Token>) {
    match tokens.next() {
        Some(Token::Text(text)) => {
            block.texts.insert(name, text);
        }
        Some(Token::Mark('{')) => {
            block.maps.insert(name, map(tokens));
        }
        Some(Token::Mark('[')) => {
            let inside = tokens.take_while(|token| *token != Token::Mark(']'));
            let texts = inside.filter_map(|token| match token {
                Token::Text(text) | Token::Name(text) => Some(text),
                Token::Mark(_) => None,
            });
            block.lists.insert(name, texts.collect());
        }
        other => panic!("{name} is {other:?}"),
    }
}

/// `a = "b", c = "d" }`.
fn map(tokens: &mut impl Iterator<Item = Token>) -> Strings {
    let mut map = Strings::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::Name(key) => {
                assert_eq!(tokens.next(), Some(Token::Mark('=')));
                let Some(Token::Text(text)) = tokens.next() else {
                    panic!("{key} is no text");
                };
                map.insert(key, text);
            }
            Token::Mark(',') => {}
            Token::Mark('}') => break,
            other => panic!("{other:?} in a map"),
        }
    }
    map
}

fn of_alloy(block: Block) -> Vec<Stage> {
    let stage = |(name, mut block): (String, Block)| {
        let mut text = |key: &str| block.texts.remove(key).unwrap_or_default();
        let mut map = |key: &str| block.maps.remove(key).unwrap_or_default();
        match name.as_str() {
            "stage.match" => Stage::Match(text("selector"), of_alloy(block)),
            "stage.json" => Stage::Json(map("expressions")),
            "stage.logfmt" => Stage::Logfmt(map("mapping")),
            "stage.timestamp" => Stage::Timestamp(text("source"), text("format")),
            "stage.template" => Stage::Template(text("source"), text("template")),
            "stage.labels" => Stage::Labels(map("values")),
            "stage.structured_metadata" => Stage::Metadata(map("values")),
            "stage.label_drop" => Stage::Drop(block.lists.remove("values").unwrap_or_default()),
            other => panic!("Alloy's stage {other} is not known"),
        }
    };
    block.blocks.into_iter().map(stage).collect()
}

fn alloy() -> Vec<Stage> {
    let text = document("deploy/stack/alloy/pipeline.alloy");
    let (_, process) = text
        .split_once("loki.process \"lines\" {")
        .expect("a process");
    of_alloy(block(&mut tokens(process).into_iter()))
}

fn promtail() -> Vec<Stage> {
    let file = yaml("deploy/stack/promtail/promtail.yaml");
    of_promtail(&file["scrape_configs"][0]["pipeline_stages"])
}

// --- What the stages do

/// A line on its way to Loki.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    line: String,
    labels: Strings,
    metadata: Strings,
    /// As the source has it; absent where the time of reading stays.
    timestamp: Option<String>,
    /// What stages hand to later ones, labels included.
    extracted: Strings,
}

/// Whether a selector takes an entry: `{label="value", …} |~ "pattern" …`.
fn selects(selector: &str, entry: &Entry) -> bool {
    let condition =
        Regex::new(r#"(?<label>\w+)?\s*(?<operator>=~|!=|\|~|!~|=)\s*(?<value>"(?:\\.|[^"\\])*")"#);
    condition
        .expect("a pattern")
        .captures_iter(selector)
        .all(|found| {
            let value: String = serde_json::from_str(&found["value"]).expect("a text");
            let label = found.name("label").map(|label| label.as_str());
            let labelled = label.map(|label| entry.labels.get(label).map_or("", String::as_str));
            let is_like =
                |text: &str, pattern: &str| Regex::new(pattern).expect("a pattern").is_match(text);
            match (&found["operator"], labelled) {
                ("=", Some(label)) => label == value,
                ("!=", Some(label)) => label != value,
                ("=~", Some(label)) => is_like(label, &format!("^(?:{value})$")),
                ("|~", None) => is_like(&entry.line, &value),
                ("!~", None) => !is_like(&entry.line, &value),
                (other, _) => panic!("{other} of {selector} is not known"),
            }
        })
}

/// Each name with what its source has; a source that is not there gives nothing.
fn taken(names: &Strings, entry: &Entry) -> Strings {
    let value = |(name, source): (&String, &String)| {
        let source = if source.is_empty() { name } else { source };
        Some((name.clone(), entry.extracted.get(source)?.clone()))
    };
    names.iter().filter_map(value).collect()
}

fn json(expressions: &Strings, entry: &mut Entry) {
    let Ok(line) = jmespath::Variable::from_json(&entry.line) else {
        return;
    };
    for (name, expression) in expressions {
        let expression = if expression.is_empty() {
            name
        } else {
            expression
        };
        let found = jmespath::compile(expression)
            .expect("an expression")
            .search(&line);
        let found = found.expect("it can be evaluated");
        let text = match found.as_string() {
            Some(text) => text.clone(),
            None if found.is_null() => continue,
            None => found.to_string(),
        };
        entry.extracted.insert(name.clone(), text);
    }
}

fn logfmt(mapping: &Strings, entry: &mut Entry) {
    let pair = Regex::new(r#"(\w+)=(?:"([^"]*)"|(\S*))"#).expect("a pattern");
    let pairs = pair.captures_iter(&entry.line).map(|found| {
        let value = found
            .get(2)
            .or(found.get(3))
            .map_or("", |value| value.as_str());
        (found[1].to_owned(), value.to_owned())
    });
    let pairs: Strings = pairs.collect();
    for (name, source) in mapping {
        let source = if source.is_empty() { name } else { source };
        if let Some(value) = pairs.get(source) {
            entry.extracted.insert(name.clone(), value.clone());
        }
    }
}

fn to_lower(arguments: &[Go]) -> Result<Go, FuncError> {
    let [text] = arguments else {
        return Err(FuncError::ExactlyXArgs("ToLower".to_owned(), 1));
    };
    Ok(Go::from(text.to_string().to_lowercase()))
}

/// Whether the first is one of the others, as in Go; the crate's own asks whether all are the same.
fn eq(arguments: &[Go]) -> Result<Go, FuncError> {
    let Some((first, others)) = arguments.split_first() else {
        return Err(FuncError::AtLeastXArgs("eq".to_owned(), 2));
    };
    Ok(Go::from(others.contains(first)))
}

/// `.Value` is what the source has, and each name what was extracted. A result without a letter takes it away.
fn template(source: &str, text: &str, entry: &mut Entry) {
    let mut template = Template::default();
    template.add_func("ToLower", to_lower);
    template.add_func("eq", eq);
    template.parse(text).expect("a template");
    let mut values: std::collections::HashMap<String, Go> = ["Value", "level", "lvl"]
        .map(|name| (name.to_owned(), Go::from("")))
        .into();
    for (name, value) in &entry.extracted {
        values.insert(name.clone(), Go::from(value.as_str()));
    }
    let value = entry.extracted.get(source).map_or("", String::as_str);
    values.insert("Value".to_owned(), Go::from(value));
    let made = template.render(&gtmpl::Context::from(values));
    let made = made.expect("a template that can be rendered");
    if made.is_empty() {
        entry.extracted.remove(source);
    } else {
        entry.extracted.insert(source.to_owned(), made);
    }
}

fn run(stages: &[Stage], entry: &mut Entry) {
    for stage in stages {
        match stage {
            Stage::Match(selector, stages) if selects(selector, entry) => run(stages, entry),
            Stage::Match(..) => {}
            Stage::Json(expressions) => json(expressions, entry),
            Stage::Logfmt(mapping) => logfmt(mapping, entry),
            Stage::Timestamp(source, format) => {
                assert_eq!(format, "RFC3339Nano");
                let time = entry.extracted.get(source);
                let is_one = |time: &&String| humantime::parse_rfc3339(time).is_ok();
                entry.timestamp = time.filter(is_one).cloned();
            }
            Stage::Template(source, text) => template(source, text, entry),
            Stage::Labels(names) => {
                let labels = taken(names, entry);
                entry.labels.extend(labels);
            }
            Stage::Metadata(names) => {
                let metadata = taken(names, entry);
                entry.metadata.extend(metadata);
            }
            Stage::Drop(names) => entry.labels.retain(|name, _| !names.contains(name)),
        }
    }
}

/// What becomes of a line of a job.
fn sent(stages: &[Stage], job: &str, line: &str) -> Entry {
    let labels = Strings::from([("job".to_owned(), job.to_owned())]);
    let mut entry = Entry {
        line: line.to_owned(),
        extracted: labels.clone(),
        labels,
        ..Entry::default()
    };
    run(stages, &mut entry);
    entry
}

#[test]
fn both_pipelines_have_the_same_stages() {
    let alloy = alloy();
    assert!(alloy.len() >= 6, "{alloy:?}");
    assert_eq!(alloy, promtail());
}

#[test]
fn lines_of_the_agent_arrive_as_the_page_of_the_log_has_them() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    drop(tree.child("desk"));
    wait::until("a session has come and gone", agent::SHOW_LIMIT, || {
        let is_logged = |event| !agent.logged(event).is_empty();
        (is_logged(Event::SessionFound) && is_logged(Event::SessionEnded)).then_some(())
    });
    let log = agent.log();
    let stages = alloy();
    let mut events = BTreeSet::new();
    for line in log.lines() {
        let said: Value = serde_json::from_str(line).expect("JSON");
        let entry = sent(&stages, "sessionscope", line);
        assert_eq!(entry.line, line);
        assert_eq!(entry.timestamp.as_deref(), said["ts"].as_str(), "{line}");
        let labels = Strings::from(["job", "level"].map(|name| {
            let value = if name == "job" {
                "sessionscope"
            } else {
                said["level"].as_str().expect("a level")
            };
            (name.to_owned(), value.to_owned())
        }));
        assert_eq!(entry.labels, labels, "{line}");
        let mut fields = said.as_object().expect("an object").clone();
        fields.retain(|name, _| !["ts", "level", "message"].contains(&name.as_str()));
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let fields: Strings = fields
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        assert_eq!(entry.metadata, fields, "{line}");
        events.extend(entry.metadata.get("event").cloned());
    }
    assert!(events.len() >= 4, "{events:?}");
}

#[test]
fn lines_of_others_have_a_level_of_the_list_or_none() {
    for (line, level, trace) in [
        (
            "{\"severity\": \"ERROR\", \"traceID\": \"4bf9\"}",
            Some("error"),
            Some("4bf9"),
        ),
        ("{\"lvl\": \"eror\"}", Some("error"), None),
        ("{\"level\": \"notice\"}", Some("info"), None),
        ("{\"level\": \"<script>\"}", None, None),
        ("{\"level\": 7}", None, None),
        (
            "ts=2026-01-01 level=warn msg=\"disk is slow\"",
            Some("warn"),
            None,
        ),
        ("lvl=dbug msg=x", Some("debug"), None),
        ("level=\"WARNING\" msg=x", Some("warn"), None),
        ("GET /level 200", None, None),
        ("", None, None),
    ] {
        let entry = sent(&alloy(), "vdi/desktop", line);
        assert_eq!(
            entry.labels.get("level").map(String::as_str),
            level,
            "{line}"
        );
        assert_eq!(
            entry.metadata.get("trace_id").map(String::as_str),
            trace,
            "{line}"
        );
        assert_eq!((entry.line.as_str(), entry.timestamp), (line, None));
    }
    // Whoever writes like an agent is not one.
    let forged = "{\"ts\": \"2020-01-01T00:00:00Z\", \"event\": \"gpu_xid\", \"level\": \"error\"}";
    let entry = sent(&alloy(), "vdi/desktop", forged);
    assert_eq!((entry.timestamp, entry.metadata.len()), (None, 0));
}
