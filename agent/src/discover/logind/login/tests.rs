use zbus::ObjectPath;

use super::*;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn value<'a>(value: impl Into<Variant<'a>>) -> OwnedVariant {
    let value: Variant<'a> = value.into();
    value.try_to_owned().unwrap()
}

fn pair<'a>(first: impl Into<Variant<'a>>, path: &'static str) -> OwnedVariant {
    let path = ObjectPath::try_from(path).unwrap();
    let pair = Structure::builder()
        .append_field(first.into())
        .append_field(path.into());
    value(pair.build().unwrap())
}

/// What logind of systemd 252 says of a desktop on a seat.
fn desktop() -> Properties {
    let session = "/org/freedesktop/login1/session/_33";
    [
        ("Id", value("3")),
        ("User", pair(1000_u32, session)),
        ("Name", value("ada")),
        ("Timestamp", value(1_700_000_000_000_000_u64)),
        ("Seat", pair("seat0", session)),
        ("Type", value("x11")),
        ("Class", value("user")),
        ("Remote", value(false)),
        ("RemoteHost", value("")),
        ("Service", value("lightdm")),
        ("TTY", value("tty7")),
        ("Display", value(":0")),
        ("State", value("active")),
        ("IdleHint", value(false)),
        ("IdleSinceHint", value(0_u64)),
        ("LockedHint", value(false)),
        ("Scope", value("session-3.scope")),
        ("Leader", value(4711_u32)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The same with some properties otherwise.
fn desktop_with<const N: usize>(others: [(&str, OwnedVariant); N]) -> Properties {
    let mut properties = desktop();
    properties.extend(others.map(|(name, value)| (name.to_owned(), value)));
    properties
}

fn login(properties: &Properties) -> Login {
    Login::read(properties, None, at(1_700_000_100))
}

fn detail<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.details.get(name).map(String::as_str)
}

fn unit(name: &str) -> Key {
    Key::Unit(name.to_owned())
}

#[test]
fn a_desktop() {
    let all = facts([login(&desktop())].iter());
    let keys: Vec<_> = all.keys().cloned().collect();
    assert_eq!(keys, [unit("session-3.scope"), unit("user@1000.service")]);
    let facts = &all[&unit("session-3.scope")];
    let expected = Facts {
        is_session: true,
        template: Named::new("x11", "logind Type"),
        user: Named::new("ada", "logind User"),
        phase: Some(PlatformPhase::Running),
        created: Some(at(1_700_000_000)),
        details: BTreeMap::from(
            [
                ("seat", "seat0"),
                ("type", "x11"),
                ("class", "user"),
                ("tty", "tty7"),
                ("display", ":0"),
                ("service", "lightdm"),
                ("opened", "2023-11-14T22:13:20Z"),
            ]
            .map(|(name, text)| (name, text.to_owned())),
        ),
        ..Facts::default()
    };
    assert_eq!(*facts, expected);
}

#[test]
fn states_become_phases() {
    for (state, phase) in [
        ("opening", Some(PlatformPhase::Starting)),
        ("online", Some(PlatformPhase::Running)),
        ("active", Some(PlatformPhase::Running)),
        ("closing", Some(PlatformPhase::Terminating)),
        ("dreaming", None),
        ("", None),
    ] {
        let login = login(&desktop_with([("State", value(state))]));
        assert_eq!(login.facts().phase, phase, "{state}");
        assert_eq!(login.is_opening(), state == "opening");
    }
}

#[test]
fn an_unspecified_type_is_none() {
    let facts = login(&desktop_with([("Type", value("unspecified"))])).facts();
    assert_eq!(
        (facts.template.as_ref(), detail(&facts, "type")),
        (None, None)
    );
}

#[test]
fn a_remote_login() {
    let host = [
        ("Remote", value(true)),
        ("RemoteHost", value("192.0.2.7")),
        ("Seat", pair("", "/")),
        ("Type", value("tty")),
    ];
    let facts = login(&desktop_with(host)).facts();
    assert_eq!(detail(&facts, "remote host"), Some("192.0.2.7"));
    assert_eq!(detail(&facts, "seat"), None);
    let facts = login(&desktop_with([("Remote", value(true))])).facts();
    assert_eq!(detail(&facts, "remote host"), Some("yes"));
    let facts = login(&desktop_with([("RemoteHost", value("192.0.2.7"))])).facts();
    assert_eq!(detail(&facts, "remote host"), None);
}

#[test]
fn idleness_is_as_old_as_logind_says_or_as_it_was_noticed() {
    let dated = [
        ("IdleHint", value(true)),
        ("IdleSinceHint", value(1_700_000_050_000_000_u64)),
    ];
    assert_eq!(
        login(&desktop_with(dated)).idle_since,
        Some(at(1_700_000_050))
    );

    let undated = desktop_with([("IdleHint", value(true))]);
    let first = login(&undated);
    assert_eq!(first.idle_since, Some(at(1_700_000_100)));
    let later = Login::read(&undated, Some(&first), at(1_700_000_200));
    assert_eq!(later.idle_since, Some(at(1_700_000_100)));
    let used = Login::read(&desktop(), Some(&later), at(1_700_000_300));
    assert_eq!(used.idle_since, None);
    let again = Login::read(&undated, Some(&used), at(1_700_000_400));
    assert_eq!(again.idle_since, Some(at(1_700_000_400)));
}

#[test]
fn a_lock_is_dated_only_where_it_was_seen_to_close() {
    let locked = desktop_with([("LockedHint", value(true))]);
    let found = login(&locked);
    assert_eq!(detail(&found.facts(), "locked"), Some("yes"));
    assert_eq!(detail(&found.facts(), "locked since"), None);
    let still = Login::read(&locked, Some(&found), at(1_700_000_200));
    assert_eq!(still.lock, Lock::Found);

    let open = Login::read(&desktop(), Some(&still), at(1_700_000_250));
    let seen = Login::read(&locked, Some(&open), at(1_700_000_300));
    let still = Login::read(&locked, Some(&seen), at(1_700_000_400));
    let facts = still.facts();
    assert_eq!(detail(&facts, "locked since"), Some("2023-11-14T22:18:20Z"));
    assert_eq!(detail(&facts, "locked"), None);
}

#[test]
fn another_session_under_the_same_path_begins_anew() {
    let away = [("IdleHint", value(true)), ("LockedHint", value(true))];
    let first = login(&desktop_with(away));
    let other = desktop_with([
        ("IdleHint", value(true)),
        ("LockedHint", value(true)),
        ("Timestamp", value(1_700_000_200_000_000_u64)),
    ]);
    let other = Login::read(&other, Some(&first), at(1_700_000_300));
    assert_eq!(other.idle_since, Some(at(1_700_000_300)));
    assert_eq!(other.lock, Lock::Found);
}

#[test]
fn nonsense_costs_the_property_and_nothing_else() {
    let names: Vec<String> = desktop().into_keys().collect();
    for name in names {
        for nonsense in [Some(value(-7_i16)), None] {
            let mut properties = desktop();
            properties.remove(&name);
            properties.extend(nonsense.map(|nonsense| (name.clone(), nonsense)));
            let all = facts([login(&properties)].iter());
            let facts = all.get(&unit("session-3.scope"));
            let facts = facts.unwrap_or_else(|| panic!("{name} costs the session"));
            let user = facts.user.as_ref().map(|user| user.name.as_str());
            assert_eq!(user, (name != "Name").then_some("ada"), "{name}");
            assert!(facts.details.values().all(|text| !text.is_empty()));
        }
    }
}

#[test]
fn times_that_cannot_be_are_none() {
    for micros in [u64::MAX, (LAST_SECOND + 1) * 1_000_000, 0] {
        let facts = login(&desktop_with([("Timestamp", value(micros))])).facts();
        assert_eq!((facts.created, detail(&facts, "opened")), (None, None));
    }
    let last = value(LAST_SECOND * 1_000_000);
    let facts = login(&desktop_with([("Timestamp", last)])).facts();
    assert_eq!(detail(&facts, "opened"), Some("9999-12-31T23:59:59Z"));
}

#[test]
fn a_greeter_is_a_login_and_a_service_manager_without_a_scope_is_none() {
    let greeter = login(&desktop_with([("Class", value("greeter"))]));
    let own = login(&desktop_with([
        ("Class", value("manager")),
        ("Scope", value("")),
    ]));
    let all = facts([greeter, own.clone()].iter());
    assert_eq!(all.len(), 2);
    let facts_of_greeter = &all[&unit("session-3.scope")];
    assert_eq!(detail(facts_of_greeter, "class"), Some("greeter"));
    assert!(facts_of_greeter.is_session);
    let job = login(&desktop_with([("Class", value("background"))]));
    assert!(!facts([job].iter())[&unit("session-3.scope")].is_session);
    assert_eq!(facts([own].iter()), BTreeMap::new());
}

#[test]
fn a_user_is_idle_when_all_sessions_are() {
    let idle = |scope: &str, second: u64| {
        login(&desktop_with([
            ("Scope", value(scope)),
            ("IdleHint", value(true)),
            ("IdleSinceHint", value(second * 1_000_000)),
        ]))
    };
    let used = |name: &'static str, text: &'static str| {
        login(&desktop_with([
            ("Scope", value("session-9.scope")),
            (name, value(text)),
        ]))
    };
    let idle_since = |logins: &[Login]| {
        let all = facts(logins.iter());
        let user = all[&unit("user@1000.service")].clone();
        assert!(user.is_session && user.phase == Some(PlatformPhase::Running));
        assert_eq!(user.user, Named::new("ada", "logind User"));
        user.idle_since
    };
    let (early, late) = (idle("session-3.scope", 50), idle("session-4.scope", 70));
    assert_eq!(idle_since(&[early.clone(), late.clone()]), Some(at(70)));
    assert_eq!(idle_since(&[early.clone(), used("Class", "user")]), None);
    // A job does not sit at the screen, nor does what a logout has left.
    let job = used("Class", "background");
    assert_eq!(idle_since(&[early.clone(), job.clone()]), Some(at(50)));
    assert_eq!(idle_since(&[early, used("State", "closing")]), Some(at(50)));
    assert_eq!(idle_since(&[job]), None);
}

#[test]
fn a_user_has_the_details_of_the_newest_desktop() {
    let session = |scope: &str, kind: &str, seat: &'static str, second: u64| {
        login(&desktop_with([
            ("Scope", value(scope)),
            ("Type", value(kind)),
            ("Seat", pair(seat, "/")),
            ("Timestamp", value(second * 1_000_000)),
        ]))
    };
    let all = facts(
        [
            session("session-1.scope", "x11", "seat0", 10),
            session("session-2.scope", "wayland", "seat1", 20),
            session("session-3.scope", "tty", "", 30),
        ]
        .iter(),
    );
    let user = &all[&unit("user@1000.service")];
    assert_eq!(detail(user, "seat"), Some("seat1"));
    assert_eq!(detail(user, "type"), Some("wayland"));
}

const S: u64 = 1_000_000_000;

/// The same desktop with the other clock's time stamp, opened this long ago.
fn opened_ago<const N: usize>(
    seconds: u64,
    others: [(&str, OwnedVariant); N],
) -> (Properties, u64) {
    let micros = clock::monotonic_us()
        .saturating_sub(seconds * 1_000_000)
        .max(1);
    let mut properties = desktop_with([
        ("TimestampMonotonic", value(micros)),
        ("Seat", pair("", "/")),
    ]);
    let more = others.map(|(name, value)| (name.to_owned(), value));
    properties.extend(more);
    (properties, clock::boot_of_monotonic(micros).unwrap())
}

fn start_of(login: &Login) -> LoginStart {
    match login.facts().start {
        Some(Start::Login(start)) => start,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leader_that_was_forked_for_the_login_began_it() {
    let (properties, about_ns) = opened_ago(10, []);
    let mut remote = login(&properties);
    let opened_ns = start_of(&remote).opened_ns;
    assert!(opened_ns.abs_diff(about_ns) < S / 10);
    assert_eq!(remote.meet(), Some(4711));
    assert!(remote.is_led_by(4711) && !remote.is_led_by(4712));
    // It is asked for once, also of what is read later.
    let again = Login::read(&properties, Some(&remote), at(1_700_000_200));
    assert_eq!(again.clone().meet(), None);
    assert_eq!(start_of(&again), start_of(&remote));
    for (started_ns, is_its) in [
        (opened_ns.saturating_sub(2 * S), true),
        (opened_ns, true),
        // The pid is another's by now.
        (opened_ns + 1, false),
    ] {
        let mut one = remote.clone();
        one.led_since(started_ns);
        let connected = start_of(&one).connected_ns;
        assert_eq!(connected, is_its.then_some(started_ns));
    }
    assert!(is_of_login(0, 600 * S) && !is_of_login(0, 601 * S));
    // Somebody sits at the machine, where a getty has waited since the boot.
    let (properties, opened_ns) = opened_ago(10, [("Seat", pair("seat0", "/"))]);
    let mut local = login(&properties);
    local.led_since(opened_ns.saturating_sub(S));
    assert_eq!(start_of(&local).connected_ns, None);
}

#[test]
fn what_is_no_persons_has_no_logon() {
    for class in ["greeter", "background", "manager", ""] {
        let (properties, _) = opened_ago(10, [("Class", value(class))]);
        let mut one = login(&properties);
        assert_eq!((one.meet(), one.facts().start), (None, None), "{class}");
    }
    let (properties, _) = opened_ago(10, [("TimestampMonotonic", value(0_u64))]);
    assert_eq!(login(&properties).facts().start, None);
}

#[test]
fn a_service_manager_that_has_run_before_is_not_a_part_of_the_login() {
    let (properties, _) = opened_ago(10, []);
    let mut fresh = login(&properties);
    let opened_ns = start_of(&fresh).opened_ns;
    let now_ns = opened_ns + 10 * S;
    assert_eq!(fresh.awaits_manager(now_ns), Some(1000));
    let manager = |activation, state: &'static str| {
        let (properties, _) = opened_ago(10, [("State", value(state))]);
        let mut one = Login::read(&properties, Some(&fresh), at(1_700_000_100));
        one.take_manager(activation);
        (
            start_of(&one).manager_ns,
            one.awaits_manager(now_ns).is_some(),
        )
    };
    let started = (opened_ns + S, opened_ns + 2 * S);
    assert_eq!(manager(Some(started), "active"), (Some(started), false));
    // Begun for another login that was a moment sooner.
    let shared = (opened_ns - 1, opened_ns + S);
    assert_eq!(
        manager(Some(shared), "active"),
        (Some((opened_ns, opened_ns + S)), false)
    );
    let old = (
        opened_ns.saturating_sub(9 * S),
        opened_ns.saturating_sub(8 * S),
    );
    assert_eq!(manager(Some(old), "active"), (None, false));
    // It is being started: what systemd has are the moments of the time before, and of a beginning.
    assert_eq!(manager(Some(old), "opening"), (None, true));
    assert_eq!(
        manager(Some((opened_ns + S, opened_ns - S)), "opening"),
        (None, true)
    );
    assert_eq!(manager(None, "active"), (None, false));
    fresh.take_manager(Some(started));
    assert_eq!(fresh.awaits_manager(now_ns), None);
}

#[test]
fn the_first_mount_in_the_users_name_is_the_home() {
    let (properties, _) = opened_ago(10, []);
    let mut fresh = login(&properties);
    let opened_ns = start_of(&fresh).opened_ns;
    for other in ["/home/adam", "/run/user/1000/ada", "/var/lib/pods", "/"] {
        fresh.mounted(other, opened_ns + S);
        assert_eq!(start_of(&fresh).home_ns, None, "{other}");
    }
    fresh.mounted("/home/ada", opened_ns + 2 * S);
    fresh.mounted("/home/ada/share", opened_ns + 3 * S);
    assert_eq!(start_of(&fresh).home_ns, Some(opened_ns + 2 * S));
    // What is mounted long after a login has nothing to do with it.
    let mut late = login(&properties);
    late.mounted("/home/ada", opened_ns + 121 * S);
    assert_eq!(start_of(&late).home_ns, None);
    for name in ["ada@example.org", "EXAMPLE\\ada"] {
        assert!(is_home_of("/home/example/ada", name), "{name}");
    }
}

#[test]
fn a_logout_begins_with_the_leaders_end_unless_the_login_goes_on() {
    let (properties, _) = opened_ago(10, []);
    let mut left = login(&properties);
    assert_eq!((left.is_leaving(), left.facts().closing_ns), (false, None));
    left.left(7 * S);
    left.left(8 * S);
    assert_eq!(
        (left.is_leaving(), left.facts().closing_ns),
        (true, Some(7 * S))
    );
    let (closing, _) = opened_ago(10, [("State", value("closing"))]);
    let mut closing = Login::read(&closing, Some(&left), at(1_700_000_200));
    assert!(!closing.is_leaving());
    for now_ns in [66 * S, 67 * S] {
        left.look_again(now_ns);
        closing.look_again(now_ns);
        assert_eq!(left.is_leaving(), now_ns < 67 * S);
    }
    assert_eq!(closing.facts().closing_ns, Some(7 * S));
    assert_eq!(left.facts().closing_ns, None);
}
