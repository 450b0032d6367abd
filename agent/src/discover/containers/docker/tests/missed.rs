//! What happens while nobody follows an engine's events, and what a comparison makes of it.

use super::*;

/// Seconds since the epoch, of a query's parameter.
fn parameter(path: &str, name: &str) -> f64 {
    let (_, value) = path.split_once(&format!("{name}=")).unwrap();
    value.split('&').next().unwrap().parse().unwrap()
}

/// It comes back after a second, and is followed again.
async fn back(engine: &mut Engine, told: &mut Told) {
    engine.listen();
    while told.next().await != Update::Up {}
}

#[tokio::test]
async fn what_was_missed_is_told_before_the_list_and_followed_on_from_there() {
    let (mut engine, mut told) = followed(false).await;
    engine.say("create", OTHER, "");
    told.changed().await;
    let last = SystemTime::now();
    let ns = last
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let said = format!(
        r#"{{"Type":"container","Action":"unpause","timeNano":{ns},"Actor":{{"ID":"{OTHER}"}}}}"#
    );
    engine.events.send(said).unwrap();
    engine.say("pause", OTHER, r#""name":"desk-bob""#);
    engine.asked();
    while engine.asked().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(100)).await;
    engine.stop().await;
    {
        let mut script = engine.script.lock().unwrap();
        script.list = "[]".to_owned();
        // One has been stopped and is still described, which does not say that somebody stopped it; the other has
        // been removed.
        let stopped = DOCKER_RUNNING.replace("\"running\"", "\"exited\"");
        let stopped = stopped.replace("\"Running\": true", "\"Running\": false");
        let stopped = stopped.replace("\"ExitCode\": 0", "\"ExitCode\": 7");
        script.containers.insert(ID, stopped);
        script.containers.remove(OTHER);
        script.past = vec![
            event("rename", ID, r#""name":"desk-ada""#),
            event("kill", ID, r#""signal":"15""#),
            event("die", ID, r#""exitCode":"7""#),
            event("kill", OTHER, r#""signal":"9","name":"desk-bob""#),
            event("die", OTHER, r#""exitCode":"137","name":"desk-bob""#),
            event("destroy", OTHER, ""),
        ];
    }
    back(&mut engine, &mut told).await;
    // At no time has it ended otherwise.
    assert_eq!(told.changed().await.end, Some(EndReason::Completed));
    told.gone(OTHER).await;
    let Update::All(all) = told.next().await else {
        panic!("all of them")
    };
    let ends: Vec<_> = all.values().map(|facts| facts.end).collect();
    assert_eq!(ends, [Some(EndReason::Completed)]);
    told.success().await;
    connected(&engine).await;
    let script = engine.script.lock().unwrap();
    let [replay] = &script.replays[..] else {
        panic!("{:?}", script.replays)
    };
    // From the last event on that was taken, however long ago.
    let since = instant(last + Duration::from_nanos(1));
    let begins = format!("/events?since={since}&until=");
    assert!(replay.starts_with(&begins), "{replay}");
    let until = parameter(&script.streams[1], "since");
    assert!((parameter(replay, "until") - until).abs() < 1e-6);
}

#[tokio::test]
async fn podman_tells_again_what_was_missed() {
    let (mut engine, mut told) = followed(true).await;
    engine.stop().await;
    {
        let mut script = engine.script.lock().unwrap();
        script.list = "[]".to_owned();
        script.containers.clear();
    }
    back(&mut engine, &mut told).await;
    assert_eq!(told.names().await, Vec::<String>::new());
    told.success().await;
    connected(&engine).await;
    {
        let script = engine.script.lock().unwrap();
        assert_eq!(script.replays, Vec::<String>::new());
        let since = parameter(&script.streams[1], "since");
        assert!(since.fract() == 0.0, "{since}");
    }
    // It is gone by now.
    engine.say("kill", ID, r#""name":"desk-ada""#);
    assert_eq!(told.changed().await.session.unwrap().name, "desk-ada");
    engine.say("died", ID, r#""containerExitCode":"137","name":"desk-ada""#);
    assert_eq!(told.changed().await.end, Some(EndReason::Completed));
    engine.say("remove", ID, "");
    told.gone(ID).await;
}

#[tokio::test]
async fn a_comparison_leaves_an_end_to_the_events_once() {
    let (engine, mut told) = followed(false).await;
    {
        let mut script = engine.script.lock().unwrap();
        script.list = "[]".to_owned();
        let ended = DOCKER_RUNNING.replace("\"running\"", "\"exited\"");
        let ended = ended.replace("\"Running\": true", "\"Running\": false");
        script
            .containers
            .insert(ID, ended.replace("\"ExitCode\": 0", "\"ExitCode\": 7"));
    }
    let too_long = format!(r#""x":"{}""#, "x".repeat(5 << 20));
    for end in [None, Some(EndReason::Error)] {
        engine.say("create", OTHER, &too_long);
        let Update::All(all) = told.next().await else {
            panic!("all of them")
        };
        let ends: Vec<_> = all.values().map(|facts| facts.end).collect();
        assert_eq!(ends, [end]);
        told.success().await;
    }
}
