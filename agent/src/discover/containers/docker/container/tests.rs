//! What Docker 20.10.24 and Podman 4.3.1 answered; of what was recorded, the parts that concern host and
//! network are left away.

use proptest::prelude::*;

use super::*;
use crate::{
    discover::{platform::EndReason, rules::LONGEST},
    fuzz::{self, bytes_like},
};

const DOCKER_RUNNING: &str = include_str!("../recorded/docker-running.json");
const DOCKER_STOPPED: &str = include_str!("../recorded/docker-stopped.json");
const DOCKER_OOM: &str = include_str!("../recorded/docker-oom.json");
const PODMAN_EXITED: &str = include_str!("../recorded/podman-exited.json");

fn container(text: &str) -> Container {
    serde_json::from_str(text).unwrap()
}

fn docker(text: &str) -> Facts {
    let container = container(text);
    container.facts(Engine::Docker, Heard::default()).unwrap()
}

fn asked(asked: Asked) -> Heard {
    Heard {
        asked,
        ..Heard::default()
    }
}

#[test]
fn a_recorded_container_of_docker() {
    let facts = docker(DOCKER_RUNNING);
    assert!(facts.is_session);
    let name = Named::new("desk-ada", "docker name");
    assert_eq!((&facts.session, &facts.unique), (&name, &name));
    let project = Named::new("lab", "label com.docker.compose.project");
    assert_eq!(facts.namespace, project);
    assert_eq!(facts.template, Named::new("desks/blender", "image"));
    assert_eq!(facts.user, Named::new("ada", "label sessionscope/user"));
    assert_eq!(facts.phase, Some(PlatformPhase::Starting));
    assert_eq!(facts.end, None);
    assert_eq!(facts.details["health"], "starting");
    assert_eq!(facts.details["image"], "registry.example/desks/blender:4.2");
    // Of this life of it; of one that has never been started, when it was made.
    let created = |facts: &Facts| facts.created.unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(created(&facts).as_millis(), 1_795_637_907_965);
    let never = DOCKER_RUNNING.replace("2026-11-25T20:18:27.965561873Z", "0001-01-01T00:00:00Z");
    assert_eq!(created(&docker(&never)).as_millis(), 1_795_637_907_587);

    let healthy = docker(&DOCKER_RUNNING.replace("\"starting\"", "\"healthy\""));
    assert_eq!(healthy.phase, Some(PlatformPhase::Running));
    let paused = docker(&DOCKER_RUNNING.replace("\"running\"", "\"paused\""));
    assert_eq!(paused.phase, Some(PlatformPhase::Running));
    assert_eq!(paused.details["state"], "paused");
    let created = docker(&DOCKER_RUNNING.replace("\"running\"", "\"created\""));
    assert_eq!(created.phase, Some(PlatformPhase::Pending));
}

#[test]
fn a_recorded_container_of_podman() {
    let container = container(PODMAN_EXITED);
    let facts = container.facts(Engine::Podman, Heard::default()).unwrap();
    assert_eq!(facts.session, Named::new("three", "podman name"));
    let template = Named::new("render", "label sessionscope/template");
    assert_eq!(facts.template, template);
    assert_eq!(facts.phase, Some(PlatformPhase::Terminating));
    assert_eq!(facts.end, Some(EndReason::Error));
    assert_eq!(facts.details["exit code"], "3");
}

#[test]
fn a_container_that_somebody_stopped_has_ended_well() {
    let container = container(DOCKER_STOPPED);
    let end = |heard| container.facts(Engine::Docker, heard).unwrap().end;
    assert_eq!(end(Heard::default()), Some(EndReason::Signal));
    assert_eq!(end(asked(Asked::Yes)), Some(EndReason::Completed));
    let facts = docker(DOCKER_OOM);
    assert_eq!(facts.end, Some(EndReason::OomKilled));
    assert_eq!(facts.details["exit code"], "137");
}

#[test]
fn what_is_heard_of_the_end_comes_before_what_is_read() {
    let container = container(DOCKER_RUNNING);
    let heard = Heard {
        code: Some(3),
        ..Heard::default()
    };
    let asked = container.facts(Engine::Docker, heard).unwrap();
    assert_eq!(asked.end, Some(EndReason::Error));
    assert_eq!(asked.phase, Some(PlatformPhase::Terminating));
    assert_eq!(asked.details["exit code"], "3");
}

#[test]
fn podman_says_that_somebody_stopped_a_container_unless_it_was_a_signal_of_its_own() {
    let exited = PODMAN_EXITED.replace("\"ExitCode\": 3", "\"ExitCode\": 143");
    let stopped = exited.replace("\"OOMKilled\"", "\"StoppedByUser\": true, \"OOMKilled\"");
    let end = |text: &str, heard| container(text).facts(Engine::Podman, heard).unwrap().end;
    assert_eq!(end(&exited, Heard::default()), Some(EndReason::Signal));
    assert_eq!(end(&stopped, Heard::default()), Some(EndReason::Completed));
    // `podman kill --signal HUP` sets it too, and the container goes on for days.
    let failed = stopped.replace("143", "1");
    let signalled = end(&failed, asked(Asked::Perhaps));
    assert_eq!(signalled, Some(EndReason::Error));
    assert_eq!(end(&failed, Heard::default()), Some(EndReason::Completed));
}

#[test]
fn what_events_tell_makes_up_for_a_description() {
    let event = |action: &str, attributes: &str| -> Event {
        let text = format!(
            r#"{{"Action":"{action}","Actor":{{"ID":"x","Attributes":{{{attributes}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let mut container = Container::unknown(&"35".repeat(32));
    let made = r#""name":"desk-ada","image":"desks/blender:4.2","sessionscope/user":"ada","x":"y""#;
    container.take(&event("create", made));
    let facts = container.facts(Engine::Docker, Heard::default()).unwrap();
    let name = Named::new("desk-ada", "docker name");
    assert_eq!((&facts.session, &facts.unique), (&name, &name));
    assert_eq!(facts.template, Named::new("desks/blender", "image"));
    assert_eq!(facts.user, Named::new("ada", "label sessionscope/user"));
    assert_eq!(facts.phase, Some(PlatformPhase::Pending));
    assert_eq!((facts.created, facts.end), (None, None));

    container.take(&event(
        "rename",
        r#""name":"desk-bob","oldName":"/desk-ada""#,
    ));
    container.take(&event("start", made.replace("ada", "bob").as_str()));
    let heard = Heard {
        code: Some(7),
        ..Heard::default()
    };
    let facts = container.facts(Engine::Docker, heard).unwrap();
    assert_eq!(facts.session, Named::new("desk-bob", "docker name"));
    assert_eq!(facts.end, Some(EndReason::Error));
    // What was read of an earlier life is not of this one.
    let mut container = self::container(DOCKER_STOPPED);
    container.take(&event("start", ""));
    let facts = container.facts(Engine::Docker, Heard::default()).unwrap();
    assert_eq!(facts.phase, Some(PlatformPhase::Running));
    assert_eq!((facts.created, facts.end), (None, None));
    assert_eq!(facts.namespace.unwrap().name, "lab");
}

#[test]
fn nothing_that_is_kept_of_a_container_is_longer_than_a_name() {
    let long = "x".repeat(1 << 20);
    let text = DOCKER_RUNNING
        .replace(
            "sessionscope/user\": \"ada",
            &format!("kasm.kasmid\": \"{long}"),
        )
        .replace("registry.example/desks/blender:4.2", &long)
        .replace("/desk-ada", &long)
        .replace("\"lab\"", &format!("\"{long}\""));
    let container = container(&text);
    let facts = container.facts(Engine::Docker, Heard::default()).unwrap();
    let names = [
        &facts.session,
        &facts.unique,
        &facts.namespace,
        &facts.template,
    ];
    let names = names.map(|named| named.as_ref().unwrap().name.as_str());
    let details = facts.details.values().map(String::as_str);
    let mut kept = names.into_iter().chain(details);
    assert!(kept.all(|text| text.chars().count() <= LONGEST));
    assert_eq!(facts.details.len(), 4);
    assert!(format!("{container:?}").len() < 4096);
}

#[test]
fn parts_of_pods_are_not_told_of_and_pause_containers_are_no_sessions() {
    let labelled = DOCKER_RUNNING.replace("sessionscope/user", names::POD);
    let facts = container(&labelled).facts(Engine::Docker, Heard::default());
    assert_eq!(facts, None);
    let pause = DOCKER_RUNNING.replace("desks/blender:4.2", "pause:3.9");
    assert!(!docker(&pause).is_session);
    let infra = DOCKER_RUNNING
        .replace("registry.example/desks/blender:4.2", "")
        .replace("/desk-ada", "/0f7c1d9e-infra");
    assert!(!docker(&infra).is_session);
}

#[test]
fn an_image_that_is_named_by_its_id_is_no_template() {
    for id in ["20bd6b3a241e", "20bd"] {
        let text = DOCKER_RUNNING.replace("registry.example/desks/blender:4.2", id);
        let facts = docker(&text);
        assert_eq!(facts.template, None);
        assert_eq!(facts.details["image"], id);
    }
}

#[test]
fn desktops_of_kasm_say_their_id() {
    let facts = docker(&DOCKER_RUNNING.replace("sessionscope/user", names::KASM));
    assert_eq!(facts.details["kasm id"], "ada");
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_an_engine_answers_is_an_error_or_in_proportion(
        answer in bytes_like(
            &[DOCKER_RUNNING, DOCKER_STOPPED, DOCKER_OOM, PODMAN_EXITED].map(str::as_bytes)
        ),
        code in any::<i64>(),
    ) {
        must_hold(&answer, Some(code));
    }
}
