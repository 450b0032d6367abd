//! What logind needs of systemd: that units start when asked for, and that their ends are told.
//!
//! No unit runs anything. Each is active from when it is asked for until it is stopped or
//! [`Systemd::end`]s, as a scope does when its last process has gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use sessionscope::clock;
use zbus::{Connection, Message, ObjectPath, OwnedObjectPath, Structure, Variant};

use super::bus::{Bus, Service};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// It answers as long as it is not dropped.
#[derive(Debug)]
pub struct Systemd {
    service: Service,
    units: Arc<Mutex<Units>>,
}

#[derive(Debug, Default)]
struct Units {
    /// Paths of the objects of active units.
    active: BTreeSet<String>,
    /// When each was asked for, and when its job ended, by the same path; microseconds of the monotonic clock.
    started: BTreeMap<String, [u64; 2]>,
    jobs: u32,
    /// Jobs do not end.
    held: bool,
    /// Those that have not ended: number and unit.
    pending: Vec<(u32, String)>,
}

impl Systemd {
    /// Answers in the name of systemd.
    pub fn serve(bus: &Bus) -> Self {
        let units = Arc::new(Mutex::new(Units::default()));
        let shared = Arc::clone(&units);
        let service = bus.serve(NAME, move |connection, call| {
            let units = Arc::clone(&shared);
            // Only a bus that is gone takes no answer.
            async move { drop(answer(&connection, &call, &units).await) }
        });
        Self { service, units }
    }

    /// Lets units that are asked for from now on not be done with starting and stopping.
    pub fn hold(&self) {
        lock(&self.units).held = true;
    }

    /// Lets them be done.
    pub fn release(&self, bus: &Bus) {
        let jobs = {
            let mut units = lock(&self.units);
            units.held = false;
            let jobs = std::mem::take(&mut units.pending);
            for (_, unit) in &jobs {
                units.done(unit);
            }
            jobs
        };
        for (number, unit) in jobs {
            let removed = job_removed(&self.service.connection, number, &unit);
            bus.runtime
                .block_on(removed)
                .expect("the bus takes signals");
        }
    }

    /// Ends a unit, whose last process has gone.
    pub fn end(&self, bus: &Bus, unit: &str) {
        let path = unit_path(unit);
        lock(&self.units).active.remove(&path);
        let path = ObjectPath::try_from(path).expect("a unit's path is one");
        let connection = &self.service.connection;
        let none: Option<&str> = None;
        let body = (unit, path);
        let told = connection.emit_signal(none, PATH, MANAGER, "UnitRemoved", &body);
        bus.runtime.block_on(told).expect("the bus takes signals");
    }
}

impl Units {
    fn asked_for(&mut self, unit: &str) {
        let path = unit_path(unit);
        self.started
            .insert(path.clone(), [clock::monotonic_us(), 0]);
        self.active.insert(path);
    }

    fn done(&mut self, unit: &str) {
        if let Some([_, active]) = self.started.get_mut(&unit_path(unit)) {
            *active = clock::monotonic_us();
        }
    }
}

fn lock(units: &Mutex<Units>) -> std::sync::MutexGuard<'_, Units> {
    units.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(connection: &Connection, call: &Message, units: &Mutex<Units>) -> zbus::Result<()> {
    let header = call.header();
    let member = header.member().map(|name| name.as_str().to_owned());
    let path = header.path().map(ToString::to_string).unwrap_or_default();
    match member.as_deref() {
        Some("StartTransientUnit" | "StartUnit") => {
            let unit = first_argument(call);
            lock(units).asked_for(&unit);
            job(connection, call, units, unit).await
        }
        Some("StopUnit") => {
            let unit = first_argument(call);
            lock(units).active.remove(&unit_path(&unit));
            job(connection, call, units, unit).await
        }
        // Of a job: `State`. Of a unit: `ActiveState`.
        Some("Get") if path.starts_with(&format!("{PATH}/job/")) => {
            let number = path.rsplit('/').next().and_then(|text| text.parse().ok());
            let is_pending = lock(units)
                .pending
                .iter()
                .any(|(pending, _)| Some(*pending) == number);
            if is_pending {
                return connection.reply(&header, &Variant::from("running")).await;
            }
            let name = "org.freedesktop.DBus.Error.UnknownObject";
            connection.reply_error(&header, name, &"no such job").await
        }
        Some("Get") if property(call).ends_with("TimestampMonotonic") => {
            let started = lock(units).started.get(&path).copied();
            let [asked_for, active] = started.unwrap_or_default();
            let is_end = property(call).starts_with("ActiveEnter");
            let moment = if is_end { active } else { asked_for };
            connection.reply(&header, &Variant::from(moment)).await
        }
        Some("Get") => {
            let active = lock(units).active.contains(&path);
            let state = if active { "active" } else { "inactive" };
            connection.reply(&header, &Variant::from(state)).await
        }
        _ => connection.reply(&header, &()).await,
    }
}

/// Answers with a job, which then ends unless jobs are held.
async fn job(
    connection: &Connection,
    call: &Message,
    units: &Mutex<Units>,
    unit: String,
) -> zbus::Result<()> {
    let (number, held) = {
        let mut units = lock(units);
        units.jobs += 1;
        let number = units.jobs;
        if units.held {
            units.pending.push((number, unit.clone()));
        } else {
            units.done(&unit);
        }
        (number, units.held)
    };
    // logind knows a job by its path, so the answer comes before the end.
    connection.reply(&call.header(), &job_path(number)).await?;
    if held {
        return Ok(());
    }
    job_removed(connection, number, &unit).await
}

async fn job_removed(connection: &Connection, number: u32, unit: &str) -> zbus::Result<()> {
    let none: Option<&str> = None;
    let body = (number, job_path(number), unit, "done");
    connection
        .emit_signal(none, PATH, MANAGER, "JobRemoved", &body)
        .await
}

fn job_path(number: u32) -> OwnedObjectPath {
    let path = format!("{PATH}/job/{number}");
    OwnedObjectPath::try_from(path).expect("a job's path is one")
}

/// The path of a unit's object: letters and digits stay, all else is escaped (`bus_label_escape` of
/// systemd).
fn unit_path(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            path.push(char::from(byte));
        } else {
            write!(path, "_{byte:02x}").expect("a string takes all");
        }
    }
    path
}

/// The property that is asked for, behind its interface.
fn property(call: &Message) -> String {
    let body = call.body();
    let asked: (String, String) = body.deserialize().expect("an interface and a property");
    asked.1
}

fn first_argument(call: &Message) -> String {
    let body = call.body();
    let arguments: Structure<'_> = body.deserialize().expect("a call has a body");
    match arguments.fields().first() {
        Some(Variant::Str(name)) => name.to_string(),
        other => panic!("the first argument is the name of a unit, not {other:?}"),
    }
}
