//! What Docker 20.10.24 and Podman 4.3.1 answered; of what was recorded, the parts that concern host and
//! network are left away.

use proptest::prelude::*;

use super::*;
use crate::fuzz::{self, bytes_like, in_proportion};

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
fn statuses_are_reasons() {
    use Asked::{No, Perhaps, Yes};
    use EndReason::{Completed, Error, OomKilled, Signal};
    for (code, oom, asked, reason) in [
        (0, false, No, Completed),
        (3, false, No, Error),
        (128, false, No, Error),
        (137, false, No, Signal),
        (192, false, No, Signal),
        (193, false, No, Error),
        (137, true, No, OomKilled),
        // A part of it was killed for memory, and it went on.
        (0, true, No, Completed),
        (7, false, Yes, Completed),
        (137, true, Yes, Completed),
        (137, false, Perhaps, Completed),
        (1, false, Perhaps, Error),
    ] {
        let heard = Heard {
            asked,
            oom,
            code: None,
        };
        assert_eq!(heard.end(code), reason, "{code} {oom} {asked:?}");
    }
}

#[test]
fn only_some_signals_ask_to_end() {
    for (signal, asked) in [
        (Some("15"), Asked::Yes),
        (Some("SIGKILL"), Asked::Yes),
        (Some("1"), Asked::No),
        (Some("SIGUSR1"), Asked::No),
        (None, Asked::Perhaps),
    ] {
        assert_eq!(Asked::by_signal(signal), asked, "{signal:?}");
    }
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
    // The same without asking again, but for what only a running container has.
    let mut told = docker(DOCKER_RUNNING);
    heard.apply(&mut told);
    assert_eq!(told.end, asked.end);
    assert_eq!(told.phase, asked.phase);
    assert_eq!(told.details["exit code"], asked.details["exit code"]);
}

#[test]
fn parts_of_pods_are_not_told_of_and_pause_containers_are_no_sessions() {
    let labelled = DOCKER_RUNNING.replace("sessionscope/user", POD);
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
    let facts = docker(&DOCKER_RUNNING.replace("sessionscope/user", KASM));
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
        let Ok(container) = serde_json::from_slice::<Container>(&answer) else {
            return Ok(());
        };
        for engine in [Engine::Docker, Engine::Podman] {
            for code in [None, Some(code)] {
                let heard = Heard { code, ..Heard::default() };
                let facts = container.facts(engine, heard);
                prop_assert!(in_proportion(&facts, answer.len()), "{facts:?}");
            }
        }
    }
}
