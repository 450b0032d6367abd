//! A login: from the properties of logind's session to facts.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use zbus::{OwnedVariant, Structure, Variant};

use super::bus::Properties;
use crate::{
    clock,
    discover::platform::{Facts, Key, LoginStart, Named, PlatformPhase, Start},
};

/// The last second of the year 9999, beyond which RFC 3339 has no time.
const LAST_SECOND: u64 = 253_402_300_799;

/// Types with a picture.
const GRAPHICAL: [&str; 4] = ["x11", "wayland", "mir", "web"];
/// How long what happens after a login may be a part of it.
const LOGON: Duration = Duration::from_mins(2);
/// How long after the end of its leader a login may still not be closing: logind hears of that end by a pipe.
const LEAVING: Duration = Duration::from_mins(1);
/// Classes of sessions in which nobody sits: of jobs, and of the user's service manager itself.
const UNATTENDED: [&str; 4] = ["background", "background-light", "manager", "manager-early"];

/// What logind says of one session. What it does not say, or says with another type than it should, is
/// absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// Name of the unit with the session's processes; absent for one that has none of its own.
    pub(super) scope: Option<String>,
    /// Of the user.
    pub(super) uid: Option<u32>,
    user: Option<String>,
    opened: Option<SystemTime>,
    seat: Option<String>,
    kind: Option<String>,
    class: Option<String>,
    tty: Option<String>,
    display: Option<String>,
    service: Option<String>,
    remote_host: Option<String>,
    phase: Option<PlatformPhase>,
    idle_since: Option<SystemTime>,
    lock: Lock,
    /// The process that leads it.
    leader: Option<u32>,
    /// How it went, of a person's.
    start: Option<LoginStart>,
    /// Its leader has been looked at.
    is_met: bool,
    /// Nothing more is to be heard of the user's service manager.
    manager_is_told: bool,
    /// When its leader ended, nanoseconds since boot.
    left_ns: Option<u64>,
}

/// Whether the screen is locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lock {
    #[default]
    Open,
    /// It was when it was first looked at.
    Found,
    Seen(SystemTime),
}

impl Login {
    /// From the properties. `before` is what was known under the same path; `now` is for what logind does
    /// not date.
    pub(super) fn read(properties: &Properties, before: Option<&Self>, now: SystemTime) -> Self {
        let text = |name| text(properties, name);
        let flag = |name| flag(properties, name);
        let opened = time(properties, "Timestamp");
        // logind gives the path of a session to another one after it.
        let before = before.filter(|before| before.opened == opened);
        let kind = text("Type").filter(|kind| kind != "unspecified");
        let class = text("Class");
        let start = match before {
            // A login may say later of what kind it is.
            Some(before) => before.start.map(|start| LoginStart {
                is_graphical: is_graphical(kind.as_deref()),
                ..start
            }),
            None => start(properties, class.as_deref(), kind.as_deref()),
        };
        let idle = flag("IdleHint").unwrap_or(false);
        let noticed = || before.and_then(|before| before.idle_since).unwrap_or(now);
        let lock = match (flag("LockedHint"), before) {
            (Some(true), None) => Lock::Found,
            (Some(true), Some(before)) if before.lock == Lock::Open => Lock::Seen(now),
            (Some(true), Some(before)) => before.lock,
            _ => Lock::Open,
        };
        Self {
            scope: scope(properties),
            uid: user_id(properties),
            user: text("Name"),
            opened,
            seat: seat(properties),
            kind,
            class,
            tty: text("TTY"),
            display: text("Display"),
            service: text("Service"),
            remote_host: flag("Remote")
                .filter(|remote| *remote)
                .map(|_| text("RemoteHost").unwrap_or_else(|| "yes".to_owned())),
            phase: text("State").and_then(|state| phase(&state)),
            idle_since: idle.then(|| time(properties, "IdleSinceHint").unwrap_or_else(noticed)),
            lock,
            leader: number(properties, "Leader").filter(|leader| *leader > 0),
            start,
            is_met: before.is_some_and(|before| before.is_met),
            manager_is_told: before.is_some_and(|before| before.manager_is_told),
            left_ns: before.and_then(|before| before.left_ns),
        }
    }

    /// The leader of a person's login that has not been looked at; it is asked for once.
    pub(super) fn meet(&mut self) -> Option<u32> {
        let is_met = std::mem::replace(&mut self.is_met, true);
        self.leader.filter(|_| !is_met && self.start.is_some())
    }

    /// Whether this process leads it.
    pub(super) fn is_led_by(&self, leader: u32) -> bool {
        self.leader == Some(leader)
    }

    /// Takes when its leader started. It began the user's wait if it was forked for the login: not if somebody sits at
    /// the machine, where it may be the `getty` of days ago.
    pub(super) fn led_since(&mut self, started_ns: u64) {
        if let Some(start) = &mut self.start
            && self.seat.is_none()
            && is_of_login(started_ns, start.opened_ns)
        {
            start.connected_ns = Some(started_ns);
        }
    }

    /// The user of whose service manager it is to be learnt when it was started.
    pub(super) fn awaits_manager(&self, now_ns: u64) -> Option<u32> {
        self.uid
            .filter(|_| !self.manager_is_told && self.is_fresh(now_ns))
    }

    /// Takes when the user's service manager was started the last time. One that has run since before is not a part of
    /// this login, and logind opens none before it runs.
    pub(super) fn take_manager(&mut self, activation: Option<(u64, u64)>) {
        let is_opening = self.is_opening();
        let Some(start) = &mut self.start else { return };
        let began_ns = start.began_ns();
        start.manager_ns = activation
            .filter(|(from, to)| from <= to && *to > began_ns)
            .map(|(from, to)| (from.max(began_ns), to));
        self.manager_is_told = start.manager_ns.is_some() || !is_opening;
    }

    /// Whether a mount may be a part of it.
    pub(super) fn awaits_home(&self, now_ns: u64) -> bool {
        let has_home = self.start.is_some_and(|start| start.home_ns.is_some());
        !has_home && self.is_fresh(now_ns)
    }

    /// Something has been mounted at a place: the first one that is named after the user counts.
    pub(super) fn mounted(&mut self, place: &str, at_ns: u64) {
        let is_its = self
            .user
            .as_deref()
            .is_some_and(|user| is_home_of(place, user));
        if is_its
            && self.awaits_home(at_ns)
            && let Some(start) = &mut self.start
        {
            start.home_ns = Some(at_ns);
        }
    }

    fn is_fresh(&self, now_ns: u64) -> bool {
        self.start.is_some_and(|start| {
            Duration::from_nanos(now_ns.saturating_sub(start.opened_ns)) < LOGON
        })
    }

    /// Its leader has ended.
    pub(super) fn left(&mut self, at_ns: u64) {
        self.left_ns = self.left_ns.or(Some(at_ns));
    }

    /// Its leader has ended, and logind has not said yet that it is closing.
    pub(super) fn is_leaving(&self) -> bool {
        self.left_ns.is_some() && self.phase != Some(PlatformPhase::Terminating)
    }

    /// One that goes on without its leader has not been left.
    pub(super) fn look_again(&mut self, now_ns: u64) {
        let is_over = |left: &u64| Duration::from_nanos(now_ns.saturating_sub(*left)) >= LEAVING;
        if self.is_leaving() && self.left_ns.as_ref().is_some_and(is_over) {
            self.left_ns = None;
        }
    }

    /// Whether it is still being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.phase == Some(PlatformPhase::Starting)
    }

    /// What finds its cgroup.
    fn key(&self) -> Option<Key> {
        self.scope.clone().map(Key::Unit)
    }

    /// What there is to say of it.
    fn facts(&self) -> Facts {
        let mut details = BTreeMap::new();
        let (locked, locked_since) = match self.lock {
            Lock::Open => (None, None),
            Lock::Found => (Some("yes".to_owned()), None),
            Lock::Seen(time) => (None, Some(rfc3339(time))),
        };
        for (name, value) in [
            ("seat", self.seat.clone()),
            ("type", self.kind.clone()),
            ("class", self.class.clone()),
            ("tty", self.tty.clone()),
            ("display", self.display.clone()),
            ("service", self.service.clone()),
            ("remote host", self.remote_host.clone()),
            // Since when is not known.
            ("locked", locked),
            ("locked since", locked_since),
            ("opened", self.opened.map(rfc3339)),
        ] {
            details.extend(value.map(|value| (name, value)));
        }
        Facts {
            is_session: !self.is_of_a_service(),
            template: named(self.kind.as_ref(), "logind Type"),
            user: named(self.user.as_ref(), "logind User"),
            phase: self.phase,
            created: self.opened,
            start: self.start.map(Start::Login),
            idle_since: self.idle_since,
            closing_ns: self.left_ns,
            details,
            ..Facts::default()
        }
    }

    fn is_graphical(&self) -> bool {
        is_graphical(self.kind.as_deref())
    }

    /// Whether it is a job's, or the user's service manager's own.
    fn is_of_a_service(&self) -> bool {
        let class = self.class.as_deref();
        class.is_some_and(|class| UNATTENDED.contains(&class))
    }

    /// Whether somebody sits there who can be idle.
    fn is_attended(&self) -> bool {
        !self.is_of_a_service() && self.phase != Some(PlatformPhase::Terminating)
    }
}

fn is_graphical(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| GRAPHICAL.contains(&kind))
}

/// What is known of the start of a person's login, whose class is `user` or a kind of it.
fn start(properties: &Properties, class: Option<&str>, kind: Option<&str>) -> Option<LoginStart> {
    class.filter(|class| class.starts_with("user"))?;
    let micros: u64 = properties.get("TimestampMonotonic")?.try_into().ok()?;
    Some(LoginStart {
        opened_ns: clock::boot_of_monotonic(micros)?,
        is_graphical: is_graphical(kind),
        ..LoginStart::default()
    })
}

/// Whether a process that started then may have been forked for a login. One that is younger than the login has the pid of
/// the leader and is not the leader; an older one than `LONGEST` has led others before. sshd gives up after two minutes.
fn is_of_login(started_ns: u64, opened_ns: u64) -> bool {
    const LONGEST: Duration = Duration::from_mins(10);
    let before = opened_ns.checked_sub(started_ns);
    before.is_some_and(|ns| Duration::from_nanos(ns) <= LONGEST)
}

/// Whether a place is the user's by one of its components: the home folder, or a share below it. The kernel's own file
/// systems and what systemd mounts below `/run/user` are not.
fn is_home_of(place: &str, user: &str) -> bool {
    const NOT_HOMES: [&str; 4] = ["/run/", "/proc/", "/sys/", "/dev/"];
    if NOT_HOMES.iter().any(|above| place.starts_with(above)) {
        return false;
    }
    // A name with its domain: `ada@example.org`, `EXAMPLE\ada`.
    let short = user.split('@').next().unwrap_or(user);
    let short = short.rsplit('\\').next().unwrap_or(short);
    let names = [user, short];
    place
        .split('/')
        .any(|part| !part.is_empty() && names.contains(&part))
}

/// What there is to say of all logins and of the service manager of each user.
pub(super) fn facts<'a>(logins: impl Iterator<Item = &'a Login>) -> BTreeMap<Key, Facts> {
    let mut all = BTreeMap::new();
    let mut users: BTreeMap<u32, Vec<&Login>> = BTreeMap::new();
    for login in logins {
        let Some(key) = login.key() else { continue };
        all.insert(key, login.facts());
        if let Some(uid) = login.uid {
            users.entry(uid).or_default().push(login);
        }
    }
    for (uid, logins) in users {
        all.insert(Key::Unit(manager(uid)), user_facts(&logins));
    }
    all
}

/// The unit of a user's service manager.
pub(super) fn manager(uid: u32) -> String {
    format!("user@{uid}.service")
}

/// Of a user's service manager, in which a desktop runs its applications: idle when nobody uses any of the
/// user's sessions.
fn user_facts(logins: &[&Login]) -> Facts {
    let attended = logins.iter().filter(|login| login.is_attended());
    // Of options, `None` if one is.
    let idle: Option<Vec<SystemTime>> = attended.clone().map(|login| login.idle_since).collect();
    let graphical = attended.filter(|login| login.is_graphical());
    let desktop = graphical.max_by_key(|login| login.opened);
    let mut details = BTreeMap::new();
    if let Some(desktop) = desktop {
        details.extend(desktop.seat.clone().map(|seat| ("seat", seat)));
        details.extend(desktop.kind.clone().map(|kind| ("type", kind)));
    }
    let user = logins.iter().find_map(|login| login.user.as_ref());
    Facts {
        is_session: true,
        user: named(user, "logind User"),
        phase: Some(PlatformPhase::Running),
        idle_since: idle.and_then(|times| times.into_iter().max()),
        details,
        ..Facts::default()
    }
}

fn named(name: Option<&String>, from: &str) -> Option<Named> {
    Named::new(name?.as_str(), from)
}

fn phase(state: &str) -> Option<PlatformPhase> {
    match state {
        "opening" => Some(PlatformPhase::Starting),
        "online" | "active" => Some(PlatformPhase::Running),
        "closing" => Some(PlatformPhase::Terminating),
        _ => None,
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A text that is not empty.
fn text(properties: &Properties, name: &str) -> Option<String> {
    let text: &str = properties.get(name)?.try_into().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(properties: &Properties, name: &str) -> Option<u32> {
    properties.get(name)?.try_into().ok()
}

fn flag(properties: &Properties, name: &str) -> Option<bool> {
    properties.get(name)?.try_into().ok()
}

/// A point in time, which logind gives in microseconds since 1970, 0 for never.
fn time(properties: &Properties, name: &str) -> Option<SystemTime> {
    let micros: u64 = properties.get(name)?.try_into().ok()?;
    let since_1970 = Duration::from_micros(micros);
    let known = micros > 0 && since_1970.as_secs() <= LAST_SECOND;
    known.then(|| UNIX_EPOCH.checked_add(since_1970)).flatten()
}

/// The unit. One that is empty means that there is none; where the property itself is not to be had, the
/// name is what logind makes of the session's id (`session_start_scope` of src/login/logind-session.c).
fn scope(properties: &Properties) -> Option<String> {
    let is_told = properties
        .get("Scope")
        .is_some_and(|scope| <&str>::try_from(scope).is_ok());
    if is_told {
        text(properties, "Scope")
    } else {
        text(properties, "Id").map(|id| format!("session-{id}.scope"))
    }
}

/// `User` is a number and the path of an object.
fn user_id(properties: &Properties) -> Option<u32> {
    match first_field(properties.get("User")?)? {
        Variant::U32(uid) => Some(*uid),
        _ => None,
    }
}

/// `Seat` is a name and the path of an object; without a seat the name is empty.
fn seat(properties: &Properties) -> Option<String> {
    match first_field(properties.get("Seat")?)? {
        Variant::Str(name) => (!name.is_empty()).then(|| name.to_string()),
        _ => None,
    }
}

fn first_field(value: &OwnedVariant) -> Option<&Variant<'_>> {
    <&Structure<'_>>::try_from(value).ok()?.fields().first()
}

#[cfg(test)]
mod tests;
