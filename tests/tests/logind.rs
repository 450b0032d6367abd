//! What the agent knows of logins, against systemd's own logind on a bus of the test's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use integration_tests::{
    agent::SHOW_LIMIT,
    capability,
    logind::{Login, Logind, Request, UID, USER, bus::Bus, leader},
    process, wait,
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use sessionscope::{
    clock,
    discover::{
        logind,
        platform::{
            ErrorType, Facts, Key, LoginStart, Message, Named, Outcome, PlatformPhase, Sender,
            Source, Start, Update,
        },
        settings::Watch,
    },
    session::logon::{self, LogonPhase, Phases},
};
use tokio::{runtime::Runtime, sync::mpsc};
use zbus::{ObjectPath, Variant};

/// What logind does not signal is found by a comparison, of which there is one every 30 s.
const COMPARISON_LIMIT: Duration = Duration::from_secs(40);
/// An answer is waited for so long, and 10 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// Logins at once, as after a reboot of a terminal server.
const LOGINS: usize = 40;

/// The source under test, and what it has said.
struct Heard {
    updates: mpsc::Receiver<Message>,
    /// What stands.
    facts: BTreeMap<Key, Facts>,
    /// Whether logind answers.
    up: Option<bool>,
    /// How often all was said.
    all: usize,
    gone: BTreeSet<Key>,
    comparisons: Vec<Outcome>,
    /// What it runs on; dropped last.
    _runtime: Runtime,
}

impl Heard {
    fn of(bus: String) -> Self {
        let (messages, updates) = mpsc::channel(16);
        let runtime = Runtime::new().expect("a runtime can be made");
        let settings = logind::Settings {
            watch: Watch::On,
            bus: Some(bus),
        };
        runtime.spawn(logind::run(settings, Sender::new(Source::Logind, messages)));
        Self {
            updates,
            facts: BTreeMap::new(),
            up: None,
            all: 0,
            gone: BTreeSet::new(),
            comparisons: Vec::new(),
            _runtime: runtime,
        }
    }

    fn take(&mut self, message: Message) {
        assert_eq!(message.source, Source::Logind);
        match message.update {
            Update::All(all) => {
                self.facts = all;
                self.all += 1;
            }
            Update::Changed(key, facts) => {
                self.facts.insert(key, facts);
            }
            Update::Gone(key) => {
                self.facts.remove(&key);
                self.gone.insert(key);
            }
            Update::Reconciled { outcome, .. } => self.comparisons.push(outcome),
            Update::Up => self.up = Some(true),
            Update::Down(reason) => {
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
                self.up = Some(false);
            }
        }
    }

    /// Listens until `look` finds something.
    fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        wait::until(what, limit, || {
            while let Ok(message) = self.updates.try_recv() {
                self.take(message);
            }
            look(self)
        })
    }

    /// Listens until `look` finds something in what is said of a unit.
    fn until_of<T>(
        &mut self,
        unit: &str,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Facts) -> Option<T>,
    ) -> T {
        let key = key(unit);
        let what = format!("{unit}: {what}");
        self.until(&what, limit, |heard| {
            heard.facts.get(&key).and_then(&mut look)
        })
    }

    fn until_up(&mut self) {
        self.until("logind answers", SHOW_LIMIT * 2, |heard| {
            (heard.up == Some(true)).then_some(())
        });
    }

    fn until_down(&mut self) {
        self.until("logind is lost", SHOW_LIMIT, |heard| {
            (heard.up == Some(false)).then_some(())
        });
    }

    fn until_gone(&mut self, unit: &str) {
        let key = key(unit);
        self.until(&format!("{unit} is gone"), SHOW_LIMIT, |heard| {
            heard.gone.contains(&key).then_some(())
        });
        assert!(!self.facts.contains_key(&key));
    }

    fn units(&self) -> Vec<String> {
        let names = self.facts.keys().map(|key| match key {
            Key::Unit(name) => name.clone(),
            other => panic!("{other:?} is no unit"),
        });
        names.collect()
    }
}

fn key(unit: &str) -> Key {
    Key::Unit(unit.to_owned())
}

fn of_user() -> String {
    format!("user@{UID}.service")
}

fn detail<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.details.get(name).map(String::as_str)
}

fn is_recent(time: SystemTime) -> bool {
    let age = time.elapsed().expect("it is not in the future");
    age < wait::patient(Duration::from_mins(1))
}

fn check_desktop(facts: &Facts) {
    assert!(facts.is_session);
    assert_eq!(facts.user, Named::new(USER, "logind User"));
    assert_eq!(facts.template, Named::new("x11", "logind Type"));
    assert_eq!(facts.phase, Some(PlatformPhase::Running));
    assert!(facts.created.is_some_and(is_recent));
    assert_eq!((facts.idle_since, facts.end), (None, None));
    assert_eq!((&facts.session, &facts.namespace), (&None, &None));
    for (name, value) in [("type", "x11"), ("class", "user"), ("service", "lightdm")] {
        assert_eq!(detail(facts, name), Some(value));
    }
    assert_eq!(detail(facts, "display"), Some(":7"));
    for absent in ["seat", "tty", "remote host", "locked", "locked since"] {
        assert_eq!(detail(facts, absent), None, "{absent}");
    }
}

/// A logind with a session, and a source that knows it.
fn with_desktop() -> (Logind, Login, Heard) {
    let logind = Logind::start();
    let desktop = logind.login(&Request::desktop());
    let mut heard = Heard::of(logind.address());
    heard.until_up();
    (logind, desktop, heard)
}

#[test]
fn a_session_is_followed_from_login_to_logout() {
    if !capability::logind() {
        return;
    }
    // One that is there before the source.
    let (logind, desktop, mut heard) = with_desktop();
    assert_eq!(
        (heard.all, &heard.comparisons[..]),
        (1, &[Outcome::Success][..])
    );
    assert_eq!(heard.units(), [desktop.scope(), of_user()]);
    check_desktop(&heard.facts[&key(&desktop.scope())]);
    let user = &heard.facts[&key(&of_user())];
    assert_eq!(user.user, Named::new(USER, "logind User"));
    assert_eq!(detail(user, "type"), Some("x11"));

    // One that comes later.
    let remote = logind.login(&Request::remote());
    heard.until_of(&remote.scope(), "it is there", SHOW_LIMIT, |facts| {
        assert_eq!(facts.user, Named::new(USER, "logind User"));
        assert_eq!(facts.template, Named::new("tty", "logind Type"));
        assert_eq!(detail(facts, "remote host"), Some("192.0.2.7"));
        assert_eq!(detail(facts, "service"), Some("sshd"));
        Some(())
    });
    heard.until_of(&remote.scope(), "it is open", SHOW_LIMIT, |facts| {
        (facts.phase == Some(PlatformPhase::Running)).then_some(())
    });

    // Idle, the user only when nobody is at the other one.
    logind.set_idle(&desktop, true);
    let idle_since = heard.until_of(&desktop.scope(), "it is idle", SHOW_LIMIT, |facts| {
        facts.idle_since
    });
    assert!(is_recent(idle_since));
    assert_eq!(heard.facts[&key(&of_user())].idle_since, None);
    let scope = remote.scope();
    logind.end(remote);
    heard.until_gone(&scope);
    let user_idle_since = heard.until_of(&of_user(), "the user is idle", SHOW_LIMIT, |facts| {
        facts.idle_since
    });
    assert_eq!(user_idle_since, idle_since);
    logind.set_idle(&desktop, false);
    for unit in [desktop.scope(), of_user()] {
        heard.until_of(&unit, "it is in use", SHOW_LIMIT, |facts| {
            facts.idle_since.is_none().then_some(())
        });
    }

    // Locked and unlocked.
    logind.set_locked(&desktop, true);
    let since = heard.until_of(&desktop.scope(), "it is locked", SHOW_LIMIT, |facts| {
        detail(facts, "locked since").map(str::to_owned)
    });
    assert_eq!(since.len(), "2023-11-14T22:18:20Z".len(), "{since}");
    logind.set_locked(&desktop, false);
    heard.until_of(&desktop.scope(), "it is unlocked", SHOW_LIMIT, |facts| {
        detail(facts, "locked since").is_none().then_some(())
    });

    let scope = desktop.scope();
    logind.end(desktop);
    heard.until_gone(&scope);
    heard.until_gone(&of_user());
    assert_eq!((heard.facts.len(), heard.all), (0, 1));
}

#[test]
fn what_logind_does_not_signal_is_found_too() {
    if !capability::logind() {
        return;
    }
    let (logind, mut desktop, mut heard) = with_desktop();
    // On its way in for longer than a moment, as with a slow home folder.
    logind.hold();
    let opening = logind.begin(&Request::remote());
    let is_starting = |facts: &Facts| facts.phase == Some(PlatformPhase::Starting);
    let unit = heard.until("a session is opened", SHOW_LIMIT, |heard| {
        let starting = heard.facts.iter().find(|(_, facts)| is_starting(facts));
        starting.map(|(key, _)| key.clone())
    });
    logind.release();
    let remote = logind.finish(opening);
    assert_eq!(unit, key(&remote.scope()));
    heard.until_of(&remote.scope(), "it is open", SHOW_LIMIT, |facts| {
        (facts.phase == Some(PlatformPhase::Running)).then_some(())
    });

    // Logged out, but something of it still runs.
    logind.log_out(&mut desktop);
    heard.until_of(
        &desktop.scope(),
        "it is closing",
        COMPARISON_LIMIT,
        |facts| {
            let is_closing = facts.phase == Some(PlatformPhase::Terminating);
            // Its leader is still there, so nobody has seen when that began.
            assert_eq!(facts.closing_ns, None);
            is_closing.then_some(())
        },
    );
    let scope = desktop.scope();
    logind.end(desktop);
    heard.until_gone(&scope);
    assert!(heard.facts.contains_key(&key(&remote.scope())));
    // Signals and comparisons: nothing of it was said anew as a whole.
    assert_eq!(heard.all, 1);
    let failed = heard.comparisons.iter().any(|one| *one != Outcome::Success);
    assert!(!failed, "{:?}", heard.comparisons);
}

/// How far a moment may be from the truth.
const TOLERANCE: Duration = Duration::from_millis(50);

/// A moment, nanoseconds since boot, by the clock before and after what has happened then.
fn around<T>(happens: impl FnOnce() -> T) -> (T, [u64; 2]) {
    let before = clock::boot_ns();
    let value = happens();
    (value, [before, clock::boot_ns()])
}

fn check_moment(what: &str, told_ns: u64, [before_ns, after_ns]: [u64; 2]) {
    let tolerance = TOLERANCE.as_nanos() as u64;
    assert!(
        told_ns + tolerance >= before_ns && told_ns <= after_ns + tolerance,
        "{what}: {told_ns} is not near {before_ns} to {after_ns}"
    );
}

fn login_start(facts: &Facts) -> Option<LoginStart> {
    match facts.start {
        Some(Start::Login(start)) => Some(start),
        _ => None,
    }
}

/// The phases of a logon as far as logind's source tells them, which must be the whole.
fn phases_of(facts: &Facts) -> Phases {
    let start = facts.start.as_ref().expect("somebody has logged in");
    let logon = logon::of(start, None, &logon::told(facts)).expect("its beginning is known");
    let began_ns = login_start(facts).expect("it is a login").began_ns();
    let whole = Duration::from_nanos(logon.ended_ns - began_ns);
    assert_eq!(logon.phases.values().sum::<Duration>(), whole);
    logon.phases
}

#[test]
fn a_logon_is_told_by_phase_and_the_phases_are_the_whole() {
    if !capability::logind() {
        return;
    }
    // What is heard must not be late for others that run beside this.
    process::favour(std::process::id());
    let logind = Logind::start();
    let mut heard = Heard::of(logind.address());
    heard.until_up();

    // PAM takes 700 ms, the service manager 600, and the home folder, which is mounted then, 400.
    let (leader, connected) = around(leader);
    thread::sleep(Duration::from_millis(700));
    logind.hold();
    let (opening, opened) = around(|| logind.begin_led(leader, &Request::desktop()));
    thread::sleep(Duration::from_millis(600));
    let ((), active) = around(|| logind.release());
    let login = logind.finish(opening);
    thread::sleep(Duration::from_millis(400));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let home = folder.path().join(USER);
    fs::create_dir(&home).expect("a folder can be made");
    let ((), mounted) = around(|| {
        let none: Option<&str> = None;
        let flags = MsFlags::empty();
        mount(none, &home, Some("tmpfs"), flags, none).expect("root may mount");
    });
    let mounts = fs::read_to_string("/proc/1/mountinfo").expect("the table of mounts");
    assert!(
        mounts.contains(home.to_str().expect("its path is text")),
        "the agent looks at the mounts that the first process sees, and this one it does not see"
    );
    let all = heard.until_of(&login.scope(), "all is known", SHOW_LIMIT, |facts| {
        let start = login_start(facts)?;
        let is_known = start.manager_ns.is_some() && start.home_ns.is_some();
        is_known.then(|| facts.clone())
    });
    umount2(&home, MntFlags::MNT_DETACH).expect("root may unmount");
    let start = login_start(&all).expect("it is a login");
    let (from_ns, to_ns) = start.manager_ns.expect("it is known");
    assert!(start.is_graphical);
    check_moment(
        "connection",
        start.connected_ns.expect("it is known"),
        connected,
    );
    check_moment("opened", start.opened_ns, opened);
    check_moment("service manager asked for", from_ns, opened);
    check_moment("service manager active", to_ns, active);
    check_moment("mounted", start.home_ns.expect("it is known"), mounted);

    let phases = phases_of(&all);
    let took = |phase| phases.get(&phase).copied().unwrap_or_default();
    let between = |[_, from]: [u64; 2], [to, _]: [u64; 2]| Duration::from_nanos(to - from);
    for (phase, truth) in [
        (LogonPhase::Authentication, between(connected, opened)),
        (LogonPhase::UserManager, between(opened, active)),
        (LogonPhase::HomeMounted, between(active, mounted)),
        (LogonPhase::Unaccounted, Duration::ZERO),
    ] {
        let took = took(phase);
        assert!(
            took.abs_diff(truth) < TOLERANCE,
            "{phase:?}: {took:?}, {truth:?}"
        );
    }
    assert_eq!(phases.len(), 4, "{phases:?}");

    // The user comes again: the service manager runs, and the home folder is there.
    let again = logind.login(&Request::remote());
    let facts = heard.until_of(&again.scope(), "it is open", SHOW_LIMIT, |facts| {
        let is_open = facts.phase == Some(PlatformPhase::Running);
        is_open.then(|| facts.clone())
    });
    let phases: Vec<LogonPhase> = phases_of(&facts).into_keys().collect();
    assert_eq!(
        phases,
        [LogonPhase::Authentication, LogonPhase::Unaccounted]
    );
}

#[test]
fn a_logout_begins_when_the_leader_ends() {
    if !capability::logind() {
        return;
    }
    // What is heard must not be late for others that run beside this.
    process::favour(std::process::id());
    let (logind, mut desktop, mut heard) = with_desktop();
    assert_eq!(heard.facts[&key(&desktop.scope())].closing_ns, None);
    let ((), left) = around(|| logind.leave(&mut desktop));
    // Sooner than by a comparison, which is made every 30 s.
    let closing_ns = heard.until_of(&desktop.scope(), "it is closing", SHOW_LIMIT, |facts| {
        let is_closing = facts.phase == Some(PlatformPhase::Terminating);
        is_closing.then_some(facts.closing_ns)
    });
    check_moment("leader ended", closing_ns.expect("it was seen"), left);
    let scope = desktop.scope();
    logind.end(desktop);
    heard.until_gone(&scope);
}

#[test]
fn logind_and_the_bus_may_go_and_come_back() {
    if !capability::logind() {
        return;
    }
    let (mut logind, desktop, mut heard) = with_desktop();
    logind.set_locked(&desktop, true);
    heard.until_of(&desktop.scope(), "it is locked", SHOW_LIMIT, |facts| {
        facts.details.contains_key("locked since").then_some(())
    });
    let before = heard.facts.clone();

    logind.stop();
    heard.until_down();
    assert_eq!(heard.facts, before, "what was said still stands");
    logind.start_again();
    heard.until_up();
    assert_eq!(heard.all, 2);
    // A lock is nothing that logind keeps over a restart (session_save, src/login/logind-session.c, 252).
    let mut after = before.clone();
    for facts in after.values_mut() {
        facts.details.remove("locked since");
    }
    assert_eq!(heard.facts, after);

    // The bus with all that is on it.
    logind.stop_bus();
    heard.until_down();
    assert_eq!(heard.facts, after, "what was said still stands");
    logind.start_bus_again();
    heard.until("logind answers again", SILENCE_LIMIT, |heard| {
        (heard.up == Some(true)).then_some(())
    });
    assert_eq!(heard.facts, after);
    assert!(heard.gone.is_empty(), "{:?}", heard.gone);

    // And signals are heard again.
    let remote = logind.login(&Request::remote());
    heard.until_of(&remote.scope(), "it is there", SHOW_LIMIT, |_| Some(()));
    let scope = desktop.scope();
    logind.end(desktop);
    heard.until_gone(&scope);
}

#[test]
fn a_logind_that_hangs_is_down_until_it_answers() {
    if !capability::logind() {
        return;
    }
    let logind = Logind::start();
    let desktop = logind.login(&Request::desktop());
    logind.signal(Signal::SIGSTOP);
    let mut heard = Heard::of(logind.address());
    heard.until("logind is down", SILENCE_LIMIT, |heard| {
        (heard.up == Some(false)).then_some(())
    });
    assert_eq!(heard.comparisons, [Outcome::Error(ErrorType::Timeout)]);
    assert_eq!(heard.all, 0);
    logind.signal(Signal::SIGCONT);
    heard.until("logind answers", SILENCE_LIMIT, |heard| {
        (heard.up == Some(true)).then_some(())
    });
    assert_eq!(heard.units(), [desktop.scope(), of_user()]);
}

#[test]
fn a_burst_of_logins_is_followed_to_the_last() {
    if !capability::logind() {
        return;
    }
    let (logind, _desktop, mut heard) = with_desktop();
    let began = Instant::now();
    let logins: Vec<Login> = (0..LOGINS)
        .map(|_| logind.login(&Request::desktop()))
        .collect();
    // Some hundred signals before the source is listened to.
    for login in &logins {
        for _ in 0..2 {
            logind.set_idle(login, true);
            logind.set_idle(login, false);
        }
        logind.set_idle(login, true);
    }
    for login in &logins {
        heard.until_of(&login.scope(), "it is idle", SHOW_LIMIT, |facts| {
            facts.idle_since
        });
    }
    assert!(
        began.elapsed() < wait::patient(SILENCE_LIMIT),
        "{:?}",
        began.elapsed()
    );
    let scopes: Vec<String> = logins.iter().map(Login::scope).collect();
    for login in logins {
        logind.end(login);
    }
    for scope in scopes {
        heard.until_gone(&scope);
    }
    assert_eq!((heard.facts.len(), heard.all), (2, 1));
}

/// Properties as something that only calls itself logind has them: by session.
type Nonsense = BTreeMap<String, Vec<(&'static str, Variant<'static>)>>;

const SESSIONS: &str = "/org/freedesktop/login1/session";

#[test]
fn nonsense_costs_what_it_is_about_and_nothing_else() {
    if !capability::logind() {
        return;
    }
    let bus = Bus::start();
    let sessions: Arc<Mutex<Nonsense>> = Arc::default();
    let shared = Arc::clone(&sessions);
    let lock = |sessions: &Mutex<Nonsense>| -> Nonsense {
        let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = sessions.iter().map(|(id, properties)| {
            let copy = |(name, value): &(&'static str, Variant<'static>)| {
                (*name, value.try_clone().expect("no file descriptor"))
            };
            (id.clone(), properties.iter().map(copy).collect())
        });
        copied.collect()
    };
    let add = |id: &str, properties: Vec<(&'static str, Variant<'static>)>| {
        let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(id.to_owned(), properties);
    };
    add(
        "c1",
        vec![
            ("Id", "c1".into()),
            ("Name", 7_u32.into()),
            ("User", "nobody".into()),
            ("Seat", true.into()),
            ("Timestamp", u64::MAX.into()),
            ("State", "active".into()),
            ("Type", "".into()),
            ("IdleHint", "yes".into()),
            ("LockedHint", 1_u32.into()),
            ("Remote", 1_u64.into()),
        ],
    );
    add("c2", vec![]);
    let service = bus.serve("org.freedesktop.login1", move |connection, call| {
        let sessions = lock(&shared);
        async move {
            let header = call.header();
            let member = header.member().map(|name| name.as_str().to_owned());
            let id = header
                .path()
                .and_then(|path| path.rsplit('/').next().map(str::to_owned));
            let answered = match member.as_deref() {
                Some("ListSessions") => {
                    let listed: Vec<_> = sessions
                        .keys()
                        .map(|id| (id.clone(), 1_u32, "", "", path_of(id)))
                        .collect();
                    connection.reply(&header, &listed).await
                }
                // Another shape than it must have.
                Some("GetAll") if id.as_deref() == Some("c2") => {
                    connection.reply(&header, &"nothing").await
                }
                Some("GetAll") => {
                    let mut sessions = sessions;
                    let properties = id.and_then(|id| sessions.remove(&id)).unwrap_or_default();
                    let properties: BTreeMap<_, _> = properties.into_iter().collect();
                    connection.reply(&header, &properties).await
                }
                _ => connection.reply_error(&header, "a.b", &"no").await,
            };
            drop(answered);
        }
    });
    let mut heard = Heard::of(bus.address());
    heard.until_up();
    assert_eq!(heard.comparisons, [Outcome::Error(ErrorType::Validation)]);
    assert_eq!(heard.units(), ["session-c1.scope"]);
    let facts = &heard.facts[&key("session-c1.scope")];
    let expected = Facts {
        is_session: true,
        phase: Some(PlatformPhase::Running),
        ..Facts::default()
    };
    assert_eq!(*facts, expected);

    // The connection is still the same, and what is right is heard.
    add(
        "c3",
        vec![
            ("Id", "c3".into()),
            ("Name", USER.into()),
            ("Scope", "session-c3.scope".into()),
        ],
    );
    let emit = |path: &str, interface: &str, member: &str, id: &str| {
        let none: Option<&str> = None;
        let body = (id, path_of(id));
        let sent = service
            .connection
            .emit_signal(none, path, interface, member, &body);
        bus.runtime.block_on(sent).expect("the bus takes signals");
    };
    let (path, manager) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
    emit(path, manager, "SessionNew", "c2");
    emit(path, manager, "SessionNew", "c3");
    heard.until_of("session-c3.scope", "it is there", SHOW_LIMIT, |facts| {
        assert_eq!(facts.user, Named::new(USER, "logind User"));
        Some(())
    });
    assert_eq!((heard.up, heard.all), (Some(true), 1));
}

fn path_of(id: &str) -> ObjectPath<'static> {
    let path = format!("{SESSIONS}/{id}");
    ObjectPath::try_from(path).expect("an id of letters and digits")
}
