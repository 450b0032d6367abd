use std::io;

use proptest::prelude::*;
use serde_json::{Value, json};
use tracing::Level;

use super::Lines;
use crate::telemetry::{Event, Subject, captured::written, log_event};

const DESK: Subject<'_> = Subject {
    trace_id: None,
    session: Some("desk"),
    namespace: Some("vdi"),
    template: None,
    pod: None,
    pod_uid: Some("3f9a"),
};

/// A line's fields without the time.
fn object(line: &str) -> Value {
    let mut object: Value = serde_json::from_str(line).unwrap();
    let ts = object.as_object_mut().unwrap().remove("ts").unwrap();
    let ts = ts.as_str().unwrap();
    assert!(
        ts.ends_with('Z') && ts.len() == "2026-01-02T03:04:05.678901Z".len(),
        "{ts}"
    );
    object
}

#[test]
fn an_event_is_an_object_with_the_fields_that_are_known() {
    let line = written(Lines::Json, || {
        log_event!(SessionFound, of = DESK, rule = "pod", slot = 3_u32);
    });
    assert_eq!(
        object(&line),
        json!({
            "level": "info",
            "target": "sessionscope::telemetry::lines::tests",
            "event": "session_found",
            "message": "session found",
            "session": "desk",
            "namespace": "vdi",
            "pod_uid": "3f9a",
            "rule": "pod",
            "slot": 3,
        })
    );
}

#[test]
fn an_event_of_nobody_has_no_session() {
    let error = io::Error::other("no room");
    let line = written(Lines::Json, || {
        log_event!(
            ProcessKilled,
            of = None::<Subject<'_>>,
            pid = 7_u32,
            command = "a b",
            signal = 9_u32
        );
        log_event!(KernelUnread, what = "a map", %error);
        log_event!(GpuWoken);
    });
    let lines: Vec<Value> = line.lines().map(object).collect();
    assert_eq!(lines[0].get("session"), None);
    assert_eq!(lines[0]["command"], "a b");
    assert_eq!(lines[1]["error"], "no room");
    assert_eq!(lines[1]["level"], "warn");
    assert_eq!(lines[2]["event"], "gpu_woken");
}

#[test]
fn logfmt_has_the_same_fields_and_quotes_what_needs_it() {
    let line = written(Lines::Logfmt, || {
        log_event!(
            ProcessKilled,
            of = DESK,
            pid = 7_u32,
            command = "a \"b\"=\n",
            signal = 9_u32
        );
    });
    let (ts, rest) = line.split_once(' ').unwrap();
    assert!(ts.starts_with("ts=2") && ts.ends_with('Z'), "{ts}");
    assert_eq!(
        rest,
        "level=info target=sessionscope::telemetry::lines::tests event=process_killed \
         message=\"process killed by a signal\" session=desk namespace=vdi pod_uid=3f9a pid=7 \
         command=\"a \\\"b\\\"=\\n\" signal=9\n"
    );
}

#[test]
fn what_a_library_says_is_told_apart() {
    let line = written(Lines::Json, || {
        tracing::event!(target: "hyper::proto", Level::DEBUG, bytes = 7, "parsed");
    });
    let object = object(&line);
    assert_eq!(object["event"], "library");
    assert_eq!(object["target"], "hyper::proto");
    assert_eq!(object["message"], "parsed");
    assert_eq!(object["level"], "debug");
}

#[test]
fn every_event_is_one_that_its_line_names() {
    for event in Event::ALL {
        assert_eq!(Event::named(event.name()), Some(event));
    }
}

#[test]
fn no_line_has_a_character_that_a_terminal_obeys() {
    let hostile = "a\u{1b}[31m\u{9b}31m\u{7f}\r\nb";
    for form in [Lines::Json, Lines::Logfmt] {
        let line = written(form, || {
            log_event!(
                ProcessKilled,
                of = DESK,
                pid = 7_u32,
                command = hostile,
                signal = 9_u32
            );
        });
        assert!(
            !line.trim_end_matches('\n').chars().any(char::is_control),
            "{line:?}"
        );
    }
}

/// Reads logfmt as its readers do.
fn parsed(line: &str) -> Vec<(String, String)> {
    let mut rest = line.trim_end_matches('\n');
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').unwrap();
        let (value, after) = if after.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
            let value = values.next().unwrap().unwrap();
            (value, &after[values.byte_offset()..])
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        fields.push((name.to_owned(), value));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    fields
}

proptest! {
    #[test]
    fn whatever_a_process_is_called_comes_back_from_each_form(command in any::<String>()) {
        let log = || log_event!(ProcessKilled, of = DESK, pid = 7_u32, command = command.as_str(), signal = 9_u32);
        let line = written(Lines::Json, log);
        prop_assert_eq!(line.lines().count(), 1);
        let found = object(&line);
        prop_assert_eq!(found["command"].as_str(), Some(command.as_str()));
        let line = written(Lines::Logfmt, log);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let fields = parsed(&line);
        let found = fields.iter().find(|(name, _)| name == "command");
        prop_assert_eq!(found.map(|(_, value)| value), Some(&command));
    }
}
