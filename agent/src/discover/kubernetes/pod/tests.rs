//! Tests of what a pod says, from objects as an API server writes them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    discover::rules::LONGEST,
    fuzz::{self, text_like},
};

const UID: &str = "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40";

/// A notebook of JupyterHub that runs and is ready, with changes.
fn notebook(change: impl FnOnce(&mut Value)) -> Pod {
    serde_json::from_value(object(change)).unwrap()
}

/// The same as the API server writes it.
fn object(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": {
            "name": "jupyter-ada", "namespace": "hub", "uid": UID,
            "creationTimestamp": "2026-11-25T10:00:00Z",
            "labels": {"component": "singleuser-server", "hub.jupyter.org/username": "ada-2elovelace"},
            "annotations": {"hub.jupyter.org/username": "ada.lovelace"},
        },
        "spec": {"containers": [
            {"name": "notebook", "image": "registry.example:5000/lab/pytorch-notebook:2026-11@sha256:00"},
            {"name": "sidecar", "image": "proxy:1"},
        ]},
        "status": {
            "phase": "Running", "qosClass": "Burstable",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-25T10:00:02Z"},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-11-25T10:00:20Z"},
            ],
            "containerStatuses": [
                status("sidecar", true, &json!({"running": {"startedAt": "2026-11-25T10:00:06Z"}})),
                status("notebook", true, &json!({"running": {"startedAt": "2026-11-25T10:00:05Z"}})),
            ],
        },
    });
    change(&mut pod);
    pod
}

fn status(name: &str, ready: bool, state: &Value) -> Value {
    json!({
        "name": name, "ready": ready, "restartCount": 0, "image": "x", "imageID": "", "state": state,
    })
}

fn terminated(code: i32, reason: &str) -> Value {
    json!({"terminated": {
        "exitCode": code, "reason": reason,
        "startedAt": "2026-11-25T10:00:05Z", "finishedAt": "2026-11-25T10:30:00Z",
    }})
}

fn read(change: impl FnOnce(&mut Value)) -> Facts {
    let settings = Settings::default();
    let (key, read) = facts(&notebook(change), &settings).unwrap();
    assert_eq!(key, Key::Pod(UID.to_owned()));
    read
}

fn main_is(pod: &mut Value, state: &Value) {
    pod["status"]["containerStatuses"][1] = status("notebook", false, state);
}

fn name(named: Option<&Named>) -> (&str, &str) {
    let named = named.unwrap();
    (&named.name, &named.from)
}

#[test]
fn a_notebook_has_its_names_its_times_and_its_phase() {
    let facts = read(|_| ());
    assert!(facts.is_session);
    assert_eq!(
        name(facts.session.as_ref()),
        ("jupyter-ada", "name of the pod")
    );
    assert_eq!(
        name(facts.namespace.as_ref()),
        ("hub", "namespace of the pod")
    );
    let image = ("pytorch-notebook", "image of the main container");
    assert_eq!(name(facts.template.as_ref()), image);
    // An annotation may hold what a label may not.
    let user = ("ada.lovelace", "annotation hub.jupyter.org/username");
    assert_eq!(name(facts.user.as_ref()), user);
    assert_eq!(facts.phase, Some(PlatformPhase::Running));
    let (created, scheduled) = (facts.created.unwrap(), facts.scheduled.unwrap());
    let took = scheduled.duration_since(created).unwrap();
    assert_eq!(took, Duration::from_secs(2));
    assert_eq!(facts.end, None);
}

#[test]
fn a_start_has_the_moments_that_the_status_tells() {
    let start = |change: fn(&mut Value)| match read(change).start {
        Some(Start::Pod(start)) => start,
        other => panic!("{other:?}"),
    };
    let second = |of: u64| {
        let created = read(|_| ()).created.unwrap();
        Some(created + Duration::from_secs(of))
    };
    let expected = PodStart {
        started: second(5),
        ready: second(20),
        ..PodStart::default()
    };
    assert_eq!(start(|_| ()), expected);
    let whole = start(|pod| {
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        for (kind, at) in [
            ("PodReadyToStartContainers", "2026-11-25T10:00:03Z"),
            ("Initialized", "2026-11-25T10:00:04Z"),
            ("Ready", "2026-11-25T10:00:21Z"),
        ] {
            conditions.push(json!({"type": kind, "status": "True", "lastTransitionTime": at}));
        }
        pod["status"]["containerStatuses"][1]["containerID"] = json!("containerd://c0ffee");
    });
    let expected = PodStart {
        sandbox: second(3),
        initialized: second(4),
        ready: second(21),
        container: Some("c0ffee".to_owned()),
        ..expected
    };
    assert_eq!(whole, expected);
    // What is not so has no moment.
    let waiting = start(|pod| {
        pod["status"]["conditions"][1]["status"] = json!("False");
        main_is(pod, &json!({"waiting": {"reason": "ContainerCreating"}}));
    });
    assert_eq!(waiting, PodStart::default());
    // The first start of a container that was started again is forgotten.
    let again = start(|pod| pod["status"]["containerStatuses"][1]["restartCount"] = json!(1));
    assert_eq!(again, PodStart::default());
}

#[test]
fn labels_of_other_operators_name_their_sessions_and_what_they_do_not_mark_is_none() {
    let labels = |labels: Value| {
        read(|pod| {
            pod["metadata"]["labels"] = labels;
            pod["metadata"]["annotations"] = Value::Null;
        })
    };
    let machine = labels(json!({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "win11"}));
    assert!(machine.is_session);
    assert_eq!(
        name(machine.session.as_ref()),
        ("win11", "label vm.kubevirt.io/name")
    );
    let desktop = labels(json!({
        "vdi.kasm.io/session": "s-42", "vdi.kasm.io/template": "chrome", "vdi.kasm.io/user": "ada",
    }));
    assert!(desktop.is_session);
    assert_eq!(name(desktop.session.as_ref()).0, "s-42");
    assert_eq!(
        name(desktop.template.as_ref()),
        ("chrome", "label vdi.kasm.io/template")
    );
    assert_eq!(name(desktop.user.as_ref()).0, "ada");
    let marked = labels(json!({"sessionscope/session": "true"}));
    assert!(marked.is_session);
    assert_eq!(
        name(marked.session.as_ref()),
        ("jupyter-ada", "name of the pod")
    );
    let hub = labels(json!({"app": "jupyterhub", "component": "hub"}));
    assert!(!hub.is_session);
}

#[test]
fn the_phases_of_a_start_are_told_apart() {
    let phase = |change: fn(&mut Value)| read(change).phase.unwrap();
    let pulling = phase(|pod| {
        pod["status"]["phase"] = json!("Pending");
        pod["status"]["containerStatuses"] = json!([status(
            "notebook",
            false,
            &json!({"waiting": {"reason": "ImagePullBackOff"}})
        )]);
    });
    assert_eq!(pulling, PlatformPhase::Pending);
    let initialising = phase(|pod| {
        pod["status"]["phase"] = json!("Pending");
        pod["status"]["initContainerStatuses"] = json!([status(
            "copy",
            false,
            &json!({"running": {"startedAt": "2026-11-25T10:00:03Z"}})
        )]);
        main_is(pod, &json!({"waiting": {"reason": "PodInitializing"}}));
    });
    assert_eq!(initialising, PlatformPhase::Starting);
    let not_ready_yet = phase(|pod| {
        pod["status"]["conditions"][1] = json!({
            "type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-11-25T10:00:02Z",
        });
        main_is(
            pod,
            &json!({"running": {"startedAt": "2026-11-25T10:00:05Z"}}),
        );
    });
    assert_eq!(not_ready_yet, PlatformPhase::Starting);
    let not_ready_any_more = phase(|pod| {
        pod["status"]["conditions"][1] = json!({
            "type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-11-25T11:00:00Z",
        });
        main_is(
            pod,
            &json!({"running": {"startedAt": "2026-11-25T10:00:05Z"}}),
        );
    });
    assert_eq!(not_ready_any_more, PlatformPhase::Running);
    let crashing = phase(|pod| {
        main_is(pod, &json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    });
    assert_eq!(crashing, PlatformPhase::Starting);
    let deleted = phase(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-25T10:30:30Z");
    });
    assert_eq!(deleted, PlatformPhase::Terminating);
}

#[test]
fn the_end_is_that_of_the_main_container_once_it_is_for_good() {
    let end = |phase: &str, code, reason: &str| {
        let phase = json!(phase);
        read(|pod| {
            pod["status"]["phase"] = phase;
            main_is(pod, &terminated(code, reason));
        })
        .end
    };
    assert_eq!(end("Running", 1, "Error"), None);
    assert_eq!(end("Succeeded", 0, "Completed"), Some(EndReason::Completed));
    assert_eq!(end("Failed", 3, "Error"), Some(EndReason::Error));
    assert_eq!(end("Failed", 139, "Error"), Some(EndReason::Signal));
    assert_eq!(end("Failed", 137, OOM_KILLED), Some(EndReason::OomKilled));
    // Another process of it was killed, earlier.
    assert_eq!(end("Failed", 1, OOM_KILLED), Some(EndReason::Error));
    assert_eq!(end("Succeeded", 0, OOM_KILLED), Some(EndReason::Completed));
    // The node was away.
    let lost = end("Failed", 137, STATUS_UNKNOWN);
    assert_eq!(lost, Some(EndReason::Unknown));
    // Windows' codes are beyond all signals.
    assert_eq!(end("Failed", 255, "Error"), Some(EndReason::Error));
}

#[test]
fn what_a_process_does_when_it_is_told_to_end_is_an_end_as_it_was_meant() {
    let deleted = |over: &str, code, reason: &str| {
        let over = json!(over);
        read(|pod| {
            pod["metadata"]["deletionTimestamp"] = over;
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
            main_is(pod, &terminated(code, reason));
        })
        .end
    };
    // Asked for at 10:29:59, ended at 10:30:00.
    let asked = "2026-11-25T10:30:29Z";
    assert_eq!(deleted(asked, 143, "Error"), Some(EndReason::Completed));
    assert_eq!(deleted(asked, 137, "Error"), Some(EndReason::Completed));
    assert_eq!(deleted(asked, 137, OOM_KILLED), Some(EndReason::OomKilled));
    // It had failed before.
    let later = "2026-11-25T10:45:30Z";
    assert_eq!(deleted(later, 1, "Error"), Some(EndReason::Error));
    // Deleted before it ran: what the kubelet writes then.
    let cancelled = notebook(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!(asked);
        pod["status"]["phase"] = json!("Failed");
        let mut state = terminated(137, STATUS_UNKNOWN);
        state["terminated"]["finishedAt"] = Value::Null;
        main_is(pod, &state);
    });
    let (_, facts) = facts_of_deleted(&cancelled, &Settings::default()).unwrap();
    assert_eq!(facts.end, Some(EndReason::Completed));
    // Deleted by force, nobody reports how it ended.
    let forced = notebook(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-25T10:30:00Z");
    });
    let settings = Settings::default();
    let (_, facts) = facts_of_deleted(&forced, &settings).unwrap();
    assert_eq!(facts.end, Some(EndReason::Completed));
}

#[test]
fn whose_place_was_taken_is_evicted_whatever_its_process_did() {
    let evicted = read(|pod| {
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["reason"] = json!("Evicted");
        main_is(pod, &terminated(137, "Error"));
    });
    assert_eq!(evicted.end, Some(EndReason::Evicted));
    let preempted = read(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-25T10:30:30Z");
        pod["status"]["conditions"][0] = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        });
    });
    assert_eq!(preempted.end, Some(EndReason::Evicted));
    let time_is_over = read(|pod| {
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["reason"] = json!("DeadlineExceeded");
    });
    assert_eq!(time_is_over.end, Some(EndReason::Completed));
}

#[test]
fn the_container_that_people_mean_may_be_another_than_the_first() {
    let facts = read(|pod| {
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "sidecar"});
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["containerStatuses"][0] = status("sidecar", false, &terminated(7, "Error"));
    });
    assert_eq!(name(facts.template.as_ref()).0, "proxy");
    assert_eq!(facts.end, Some(EndReason::Error));
}

#[test]
fn restarts_are_told_and_a_static_pod_is_known_by_the_hash_of_its_file() {
    let restarted = read(|pod| {
        let main = &mut pod["status"]["containerStatuses"][1];
        main["restartCount"] = json!(2);
        main["lastState"] = terminated(137, OOM_KILLED);
    });
    assert_eq!(restarted.details["restarts"], "2");
    assert_eq!(
        restarted.details["last restart"],
        "OOMKilled, exit code 137"
    );
    let settings = Settings::default();
    let pod = notebook(|pod| {
        pod["metadata"]["annotations"] = json!({MIRROR_OF: "abc"});
    });
    let (key, _) = facts(&pod, &settings).unwrap();
    assert_eq!(key, Key::Pod("abc".to_owned()));
}

#[test]
fn a_pod_of_which_little_is_known_is_no_error() {
    let settings = Settings::default();
    assert_eq!(facts(&Pod::default(), &settings), None);
    let bare: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).unwrap();
    let (_, bare) = facts(&bare, &settings).unwrap();
    assert_eq!((bare.session, bare.phase, bare.end), (None, None, None));
}

#[test]
fn nothing_that_is_kept_of_a_pod_is_longer_than_a_name() {
    let long = "x".repeat(1 << 18);
    let facts = read(|pod| {
        pod["metadata"]["name"] = json!(long);
        pod["metadata"]["namespace"] = json!(long);
        pod["metadata"]["annotations"] = json!({"hub.jupyter.org/username": long});
        pod["spec"]["containers"][0]["image"] = json!(long);
        pod["status"]["reason"] = json!(long);
        pod["status"]["qosClass"] = json!(long);
        let main = &mut pod["status"]["containerStatuses"][1];
        main["image"] = json!(long);
        main["state"] = json!({"waiting": {"reason": long}});
        main["lastState"] = terminated(1, &long);
        main["restartCount"] = json!(1);
    });
    let names = [
        &facts.session,
        &facts.unique,
        &facts.namespace,
        &facts.template,
        &facts.user,
    ];
    let names = names.map(|named| named.as_ref().unwrap().name.as_str());
    let details = facts.details.values().map(String::as_str);
    let mut kept = names.into_iter().chain(details);
    assert!(kept.all(|text| text.chars().count() <= LONGEST));
    assert_eq!(facts.details.len(), 7);
}

/// A notebook that runs, one whose image is not there, and one that was deleted after it had failed.
fn samples() -> [String; 3] {
    let waits = object(|pod| {
        pod["status"]["phase"] = json!("Pending");
        main_is(pod, &json!({"waiting": {"reason": "ImagePullBackOff"}}));
    });
    let deleted = object(|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-25T10:30:30Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        pod["status"]["phase"] = json!("Failed");
        main_is(pod, &terminated(137, OOM_KILLED));
        pod["status"]["containerStatuses"][1]["lastState"] = terminated(1, "Error");
        pod["status"]["containerStatuses"][1]["restartCount"] = json!(2);
    });
    [object(|_| ()), waits, deleted].map(|pod| pod.to_string())
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_an_api_server_says_is_an_error_or_in_proportion(
        text in text_like(&samples().each_ref().map(String::as_str))
    ) {
        must_hold(&text);
    }
}
