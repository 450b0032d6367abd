//! A login: from the properties of logind's session to facts.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use zbus::{OwnedVariant, Structure, Variant};

use super::bus::Properties;
use crate::discover::platform::{Facts, Key, Named, PlatformPhase};

/// The last second of the year 9999, beyond which RFC 3339 has no time.
const LAST_SECOND: u64 = 253_402_300_799;

/// Types with a picture.
const GRAPHICAL: [&str; 4] = ["x11", "wayland", "mir", "web"];
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
            kind: text("Type").filter(|kind| kind != "unspecified"),
            class: text("Class"),
            tty: text("TTY"),
            display: text("Display"),
            service: text("Service"),
            remote_host: flag("Remote")
                .filter(|remote| *remote)
                .map(|_| text("RemoteHost").unwrap_or_else(|| "yes".to_owned())),
            phase: text("State").and_then(|state| phase(&state)),
            idle_since: idle.then(|| time(properties, "IdleSinceHint").unwrap_or_else(noticed)),
            lock,
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
            idle_since: self.idle_since,
            details,
            ..Facts::default()
        }
    }

    fn is_graphical(&self) -> bool {
        let kind = self.kind.as_deref();
        kind.is_some_and(|kind| GRAPHICAL.contains(&kind))
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
        let unit = format!("user@{uid}.service");
        all.insert(Key::Unit(unit), user_facts(&logins));
    }
    all
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
