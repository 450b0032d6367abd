//! Who has a place among those whose input is measured, and who gets one later.

use super::*;

/// Whoever had no place gets one when there is one again, and displays take none of the clients'.
#[test]
fn who_comes_when_all_places_are_taken_is_measured_later() {
    let Some((_tree, agent, [server, outside])) = stage(["server", "outside"]) else {
        return;
    };
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).expect("root may");
    let display = Display::at(".X11-unix/X6");
    let mut displays = display.crowd(&server, 600);
    for [near, _] in &mut displays {
        near.write_all(b"hello").expect("there is room");
    }
    let observed = |agent: &Agent| delays(&agent.fresh_metrics(), "server", "server").0;
    let mut ends = client(&agent, &server, &outside);
    asks(&mut ends, Duration::ZERO, Duration::ZERO);
    assert!(observed(&agent) > 0, "beside many displays");
    // More than there are places: an emulated machine takes so long for them that those that are closed would have given
    // theirs back.
    let listener = listen(&server);
    let held: Vec<_> = (0..1_200)
        .map(|_| {
            let near = connect(&outside, &listener);
            (near, listener.accept().expect("a client"))
        })
        .collect();
    let exceeded = [("session", "server"), ("resource", "input_sockets")];
    let refused = agent
        .fresh_metrics()
        .count_if_any("vdi_session_budget_exceeded_total", &exceeded);
    assert!(refused > 0, "there was no place left");
    let mut late = client(&agent, &server, &outside);
    drop(held);
    wait::until("it is measured", patient(Duration::from_secs(20)), || {
        let before = observed(&agent);
        asks(&mut late, Duration::ZERO, Duration::ZERO);
        (observed(&agent) > before).then_some(())
    });
    // An application that is silent for longer than it is waited for.
    let [mut near, mut far] = display.crowd(&server, 1).pop().expect("one");
    thread::sleep(Duration::from_secs(11));
    near.write_all(b"hello").expect("it is read");
    far.read_exact(&mut [0; 5]).expect("it was written");
    let mut ends = [near, far];
    wait::until("it is measured", patient(Duration::from_secs(20)), || {
        let before = delays(&agent.fresh_metrics(), "server", "application").0;
        reads_after(&mut ends, Duration::ZERO);
        let after = delays(&agent.fresh_metrics(), "server", "application").0;
        (after > before).then_some(())
    });
}

/// Whether the agent's programs look for displays at each message of a Unix socket: `MAY_SEND` of `agent-ebpf/src/marks.rs`,
/// the only variable that they write, is not 0.
fn are_displays_awaited(agent: &Agent) -> bool {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).expect("it runs");
    let id = files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|text| {
            let id = text.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            id.trim().parse().ok()
        })
        .find(|id| MapInfo::from_id(*id).is_ok_and(|map| map.name_as_str() == Some(".bss")))
        .expect("it has that map");
    let map = Map::Array(MapData::from_id(id).expect("it can be opened"));
    let numbers: Array<_, u64> = Array::try_from(map).expect("one number");
    numbers.get(&0, 0).expect("one value") != 0
}

#[test]
fn displays_are_looked_for_only_while_there_is_one_on_which_nothing_has_been_sent() {
    let Some((_tree, agent, [desk, silent])) = stage(["desk", "silent"]) else {
        return;
    };
    assert!(!are_displays_awaited(&agent), "nobody has connected");
    let display = Display::at("wayland-3");
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).expect("root may");
    let _introduced = display.connect(&desk);
    assert!(!are_displays_awaited(&agent), "who has sent is marked");
    // A session's many, whether they were noted or there was no room. They are open, so they take that session's places.
    for many in [1, 1_100] {
        let _silent = display.crowd(&silent, many);
        assert!(are_displays_awaited(&agent), "{many} have not sent");
        let limit = patient(Duration::from_secs(20));
        wait::until("they are given up", limit, || {
            (!are_displays_awaited(&agent)).then_some(())
        });
        let mut comes = display.connect(&desk);
        let before = delays(&agent.fresh_metrics(), "desk", "application").0;
        reads_after(&mut comes, Duration::ZERO);
        let after = delays(&agent.fresh_metrics(), "desk", "application").0;
        assert_eq!(after - before, 1, "one that comes after {many} silent ones");
    }
}

#[test]
fn a_tenant_with_many_displays_takes_no_others_place() {
    let Some((_tree, agent, [greedy, modest])) = stage(["greedy", "modest"]) else {
        return;
    };
    let display = Display::at(".X11-unix/X3");
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).expect("root may");
    // Of so many only some have a place, and those on which nothing is sent take none.
    let introduced = |many: usize| {
        let mut ends = display.crowd(&greedy, many);
        for [near, _] in &mut ends {
            near.write_all(b"hello").expect("there is room");
        }
        ends
    };
    let mut many = introduced(1_000);
    let exceeded = [("session", "greedy"), ("resource", "input_sockets")];
    // A look at them counts those that are marked while it looks another time, or not.
    wait::until("it has no place for more", SHOW_LIMIT, || {
        many.extend(introduced(50));
        let metrics = agent.fresh_metrics();
        let refused = metrics.count_if_any("vdi_session_budget_exceeded_total", &exceeded);
        (refused > 0).then_some(())
    });
    assert!(many.len() >= 1_024, "{}", many.len());
    let silent = display.crowd(&greedy, 1_100);
    // While there is no place for who has not sent yet, each that sends is asked.
    let mut meanwhile = display.connect(&modest);
    let before = delays(&agent.fresh_metrics(), "modest", "application").0;
    reads_after(&mut meanwhile, Duration::ZERO);
    let after = delays(&agent.fresh_metrics(), "modest", "application").0;
    assert_eq!(
        after - before,
        1,
        "a display that was connected during the flood"
    );
    // Who has been given up makes room for who comes.
    thread::sleep(Duration::from_secs(11));
    let mut ends = display.connect(&modest);
    let before = delays(&agent.fresh_metrics(), "modest", "application");
    let truth = reads_after(&mut ends, Duration::from_millis(50));
    let after = delays(&agent.fresh_metrics(), "modest", "application");
    assert_eq!(after.0 - before.0, 1);
    let said = after.1 - before.1;
    assert!((said - truth).abs() <= moment(), "{said} for {truth}");
    drop((many, silent));
}
