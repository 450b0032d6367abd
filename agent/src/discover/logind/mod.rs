//! logind: who is logged in, how and since when, and whether anybody is there.
//!
//! ```text
//!  the bus's address ─► connection ─► who owns logind's name ─► comparison ─► signals ─┐
//!        ▲                  │                   ▲                   ▲           │      │
//!        └── lost: Down, ◄──┴───────────────────┼───────────────────┼───────────┘      │
//!            tried again                        └── another logind ─┴── every 30 s ────┘
//! ```
//!
//! Signals only tell which session to look at: what is said of one is always all that logind says of it at
//! one moment. Subscribing comes before listing, so that nothing falls in between.
//!
//! Not everything is signalled. logind of systemd 252 says nothing when a session's state becomes
//! "closing" or when its scope has started (`session_stop` and `match_job_removed` of src/login), and works
//! out the idleness of a terminal when it is asked (`session_get_idle_hint`). So all is compared often
//! enough for people, and a session that is being opened is looked at until it is open.
//!
//! How long a login took is told by others: when its leader started by `/proc`, when the user's service manager was
//! started by systemd, and that a home folder was mounted by the table of mounts, which is watched for two minutes after
//! each login. The leader's end is when a logout begins: the kernel tells of it at once, and the session is looked at.

mod address;
mod bus;
mod login;
mod mounts;
pub mod settings;

use crate::{clock, kernel::readiness, telemetry::log_event};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::File,
    future,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::{Interest, unix::AsyncFd},
    select,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

pub use self::settings::Settings;
use self::{
    bus::{Bus, Trouble},
    login::Login,
    mounts::Mounts,
};
use super::settings::Watch;
use super::{
    peer::{Failure, Peer, Setback},
    platform::{Closed, ErrorType, Facts, Key, Outcome, Sender, Update},
};

/// Between two comparisons: a terminal counts as idle after five minutes, and what is left of a session
/// that has been closed may stay for days.
const COMPARISON: Duration = Duration::from_secs(30);
/// Between two looks at sessions that are being opened.
const OPENING: Duration = Duration::from_secs(1);

/// Leaders whose ends are waited for: each is an open file. Beyond them a logout begins when it is noticed, and how long it
/// takes is not known.
const MOST_LEADERS: usize = 1024;

/// Runs until nobody listens any more. (`settings.watch` is not `Off`.)
pub async fn run(settings: Settings, sender: Sender) {
    let mut account = Account::new(sender.clone(), settings.watch);
    select! {
        () = sender.closed() => {}
        Err(Closed) = attempts(&settings, &mut account) => {}
    }
}

/// Why a connection's work is over.
enum Stop {
    Closed,
    Trouble(Trouble),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

async fn attempts(settings: &Settings, account: &mut Account) -> Result<Infallible, Closed> {
    loop {
        let pause = match address::find(settings) {
            Ok(address) => match attend(&address, account).await {
                Ok(never) => match never {},
                Err(Stop::Closed) => return Err(Closed),
                Err(Stop::Trouble(trouble)) => {
                    account
                        .failed(Failure::new(trouble.kind, trouble.reason))
                        .await?
                }
            },
            Err(reason) => {
                account.began = Some(Instant::now());
                let absent = Failure {
                    absent: true,
                    ..Failure::new(ErrorType::NotFound, reason)
                };
                account.failed(absent).await?
            }
        };
        sleep(pause).await;
    }
}

/// One connection, as long as it lasts.
async fn attend(address: &str, account: &mut Account) -> Result<Infallible, Stop> {
    account.began = Some(Instant::now());
    let mut bus = Bus::connect(address).await?;
    loop {
        if let Some(owner) = bus.owner().await? {
            follow(&mut bus, &owner, account).await?;
        } else {
            let reason = "logind is not running: org.freedesktop.login1 is not on the bus";
            account.down(reason.to_owned()).await?;
            account.began = None;
            while !bus.news().await?.owner {}
        }
    }
}

/// One logind, until it is another one or none.
async fn follow(bus: &mut Bus, owner: &str, account: &mut Account) -> Result<(), Stop> {
    account.compare(bus, owner, Telling::All).await?;
    let mut compared = Instant::now();
    // Since when somebody is on the way, or when that was looked at last. What happens meanwhile, as mounts of others,
    // does not put off the next look.
    let mut looked: Option<Instant> = None;
    loop {
        let mut next = compared + COMPARISON;
        if account.logins.values().any(is_on_its_way) {
            next = next.min(*looked.get_or_insert_with(Instant::now) + OPENING);
        } else {
            looked = None;
        }
        account.watch_mounts();
        select! {
            news = bus.news() => {
                let news = news?;
                if news.owner {
                    return Ok(());
                }
                for path in news.sessions {
                    account.look(bus, owner, &path).await?;
                }
                account.tell().await?;
            }
            Some(ended) = account.leaders.join_next() => {
                // Of a login that is forgotten it is given up.
                if let Ok(ended) = ended {
                    account.leader_ended(bus, &ended).await;
                    // Before the look: logind may have forgotten it by now.
                    account.tell().await?;
                    account.look(bus, owner, &ended.path).await?;
                    account.tell().await?;
                }
            }
            (at_ns, places) = changed(account.mounts.as_mut()) => {
                for login in account.logins.values_mut() {
                    for place in &places {
                        login.mounted(place, at_ns);
                    }
                }
                account.tell().await?;
            }
            () = sleep_until(next) => {
                if compared.elapsed() >= COMPARISON {
                    account.compare(bus, owner, Telling::Differences).await?;
                    compared = Instant::now();
                } else {
                    account.look_at_opening(bus, owner).await?;
                    looked = Some(Instant::now());
                    account.tell().await?;
                }
            }
        }
    }
}

/// On its way in or out, and looked at more often.
fn is_on_its_way(login: &Login) -> bool {
    login.is_opening() || login.is_leaving()
}

/// Waits for new mounts; for ever where they are not watched.
async fn changed(mounts: Option<&mut Mounts>) -> (u64, Vec<String>) {
    match mounts {
        Some(mounts) => mounts.changed().await,
        None => future::pending().await,
    }
}

/// What a comparison tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    All,
    Differences,
}

/// A leader that has ended.
struct Ended {
    /// Of its login's object.
    path: String,
    leader: u32,
    /// Nanoseconds since boot.
    at_ns: u64,
}

/// What is known of logind, and what has been said of it.
struct Account {
    sender: Sender,
    /// By the path of the session's object.
    logins: BTreeMap<String, Login>,
    said: BTreeMap<Key, Facts>,
    peer: Peer,
    /// When the comparison that is being made began, connecting included.
    began: Option<Instant>,
    /// Leaders of logins that have not ended.
    leaders: JoinSet<Ended>,
    /// The same by the path of the login's object.
    led: BTreeMap<String, AbortHandle>,
    /// While somebody logs in.
    mounts: Option<Mounts>,
}

impl Account {
    fn new(sender: Sender, watch: Watch) -> Self {
        Self {
            sender,
            logins: BTreeMap::new(),
            said: BTreeMap::new(),
            peer: Peer::here(watch),
            began: None,
            leaders: JoinSet::new(),
            led: BTreeMap::new(),
            mounts: None,
        }
    }

    /// Reads all sessions and tells of them.
    async fn compare(&mut self, bus: &mut Bus, owner: &str, telling: Telling) -> Result<(), Stop> {
        self.began = Some(Instant::now());
        let outcome = self.read(bus, owner).await?;
        match telling {
            Telling::All => self.tell_all().await?,
            Telling::Differences => self.tell().await?,
        }
        self.reconciled(outcome).await?;
        self.peer.is_steady();
        let up = self.peer.up();
        Ok(self.say(up).await?)
    }

    /// Reads all sessions. The outcome is an error when what is said of one could not be read, of which then
    /// stays what was known.
    async fn read(&mut self, bus: &mut Bus, owner: &str) -> Result<Outcome, Trouble> {
        let paths = bus.sessions(owner).await?;
        self.logins.retain(|path, _| paths.contains(path));
        self.forget_leaders();
        let mut outcome = Outcome::Success;
        for path in &paths {
            if let Some(kind) = self.look(bus, owner, path).await? {
                outcome = Outcome::Error(kind);
            }
        }
        Ok(outcome)
    }

    /// Reads one session; says what was wrong where it cannot be read but others may be.
    async fn look(
        &mut self,
        bus: &mut Bus,
        owner: &str,
        path: &str,
    ) -> Result<Option<ErrorType>, Trouble> {
        match bus.session(owner, path).await {
            Ok(Some(properties)) => {
                let before = self.logins.get(path);
                let mut login = Login::read(&properties, before, SystemTime::now());
                let now_ns = clock::boot_ns();
                login.look_again(now_ns);
                if let Some(leader) = login.meet() {
                    self.meet(path, leader, &mut login);
                }
                ask_for_manager(bus, &mut login, now_ns).await;
                self.logins.insert(path.to_owned(), login);
                Ok(None)
            }
            Ok(None) => {
                self.logins.remove(path);
                self.forget_leaders();
                Ok(None)
            }
            Err(trouble) if trouble.is_of_connection() => Err(trouble),
            Err(trouble) => {
                log_event!(PlatformDetail, source = "logind", what = path, reason = %trouble);
                Ok(Some(trouble.kind))
            }
        }
    }

    async fn look_at_opening(&mut self, bus: &mut Bus, owner: &str) -> Result<(), Trouble> {
        let opening = self.logins.iter().filter(|(_, login)| is_on_its_way(login));
        let paths: Vec<String> = opening.map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.look(bus, owner, &path).await?;
        }
        Ok(())
    }

    /// Learns when the leader of a new login started, and waits for its end.
    fn meet(&mut self, path: &str, leader: u32, login: &mut Login) {
        // Opened before it is looked at: what is waited for is then what was looked at, or has ended.
        let waited = (self.led.len() < MOST_LEADERS)
            .then(|| waited_for(leader))
            .flatten();
        if let Some(started_ns) = started_ns(leader) {
            login.led_since(started_ns);
        }
        if let Some(waited) = waited {
            let end = end_of(path.to_owned(), leader, waited);
            let ended = self.leaders.spawn(end);
            if let Some(before) = self.led.insert(path.to_owned(), ended) {
                before.abort();
            }
        }
    }

    async fn leader_ended(&mut self, bus: &mut Bus, ended: &Ended) {
        // Another login may have the path by now.
        let login = self.logins.get_mut(&ended.path);
        if let Some(login) = login.filter(|login| login.is_led_by(ended.leader)) {
            login.left(ended.at_ns);
            // One that was shorter than the time between two looks, as of a single command.
            ask_for_manager(bus, login, ended.at_ns).await;
            self.led.remove(&ended.path);
        }
    }

    fn forget_leaders(&mut self) {
        let logins = &self.logins;
        for (_, leader) in self
            .led
            .extract_if(.., |path, _| !logins.contains_key(path))
        {
            leader.abort();
        }
    }

    /// Watches the table of mounts while somebody logs in, and not otherwise.
    fn watch_mounts(&mut self) {
        let now_ns = clock::boot_ns();
        let is_awaited = self.logins.values().any(|login| login.awaits_home(now_ns));
        match (&self.mounts, is_awaited) {
            (None, true) => self.mounts = Mounts::open(),
            (Some(_), false) => self.mounts = None,
            _ => {}
        }
    }

    async fn tell_all(&mut self) -> Result<(), Closed> {
        self.said = login::facts(self.logins.values());
        self.sender.send(Update::All(self.said.clone())).await
    }

    /// Tells what has not been said yet.
    async fn tell(&mut self) -> Result<(), Closed> {
        let facts = login::facts(self.logins.values());
        for update in differences(&self.said, &facts) {
            self.sender.send(update).await?;
        }
        self.said = facts;
        Ok(())
    }

    /// Tells how the comparison went that is being made, if one is.
    async fn reconciled(&mut self, outcome: Outcome) -> Result<(), Closed> {
        let Some(began) = self.began.take() else {
            return Ok(());
        };
        let took = began.elapsed();
        self.sender.send(Update::Reconciled { took, outcome }).await
    }

    /// Tells of a failure; returns how long to wait before the next attempt.
    async fn failed(&mut self, failure: Failure) -> Result<Duration, Closed> {
        let took = self.began.take().map(|began| began.elapsed());
        let Setback { updates, wait } = self.peer.failed(failure, took);
        self.say(updates).await?;
        Ok(wait)
    }

    /// Tells that logind does not answer, though the bus does.
    async fn down(&mut self, reason: String) -> Result<(), Closed> {
        let down = self.peer.down(reason);
        self.say(down).await
    }

    async fn say(&self, updates: impl IntoIterator<Item = Update>) -> Result<(), Closed> {
        for update in updates {
            self.sender.send(update).await?;
        }
        Ok(())
    }
}

/// Learns when the user's service manager was started, where that is not known yet.
async fn ask_for_manager(bus: &mut Bus, login: &mut Login, now_ns: u64) {
    if let Some(uid) = login.awaits_manager(now_ns) {
        let activation = bus.activation(&login::manager(uid)).await;
        login.take_manager(activation.and_then(|[from, to]| {
            clock::boot_of_monotonic(from).zip(clock::boot_of_monotonic(to))
        }));
    }
}

/// When a process started, nanoseconds since boot.
fn started_ns(pid: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let ticks = process.stat().ok()?.starttime;
    Some(clock::boot_of_ticks(ticks, procfs::ticks_per_second()))
}

/// A process whose end can be waited for.
fn waited_for(pid: u32) -> Option<AsyncFd<File>> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    readiness::watch(File::from(process), Interest::READABLE).ok()
}

/// Waits for the end of the leader of the login whose object has this path.
async fn end_of(path: String, leader: u32, waited: AsyncFd<File>) -> Ended {
    let _ready = waited.ready(Interest::READABLE).await;
    Ended {
        path,
        leader,
        at_ns: clock::boot_ns(),
    }
}

/// The updates that make `new` of `old`.
fn differences(old: &BTreeMap<Key, Facts>, new: &BTreeMap<Key, Facts>) -> Vec<Update> {
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let changed = new
        .iter()
        .filter(|(key, facts)| old.get(key) != Some(facts));
    gone.map(|key| Update::Gone(key.clone()))
        .chain(changed.map(|(key, facts)| Update::Changed(key.clone(), facts.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        discover::platform::{Message, Source},
        discover::settings::Watch,
    };

    fn unit(name: &str) -> Key {
        Key::Unit(name.to_owned())
    }

    fn facts(is_session: bool) -> Facts {
        Facts {
            is_session,
            ..Facts::default()
        }
    }

    #[test]
    fn differences_lead_from_the_old_to_the_new() {
        let old = BTreeMap::from([
            (unit("same"), facts(true)),
            (unit("changed"), facts(true)),
            (unit("gone"), facts(true)),
        ]);
        let new = BTreeMap::from([
            (unit("same"), facts(true)),
            (unit("changed"), facts(false)),
            (unit("new"), facts(true)),
        ]);
        let expected = [
            Update::Gone(unit("gone")),
            Update::Changed(unit("changed"), facts(false)),
            Update::Changed(unit("new"), facts(true)),
        ];
        assert_eq!(differences(&old, &new), expected);
        assert_eq!(differences(&new, &new), []);
    }

    async fn listen(watch: Watch, bus: String, times: usize) -> Vec<Update> {
        let (messages, mut receiver) = mpsc::channel::<Message>(16);
        let bus = Some(bus);
        let source = run(
            Settings { watch, bus },
            Sender::new(Source::Logind, messages),
        );
        let source = tokio::spawn(source);
        let mut updates = Vec::new();
        while updates.len() < times {
            let limit = Duration::from_secs(20);
            let next = tokio::time::timeout(limit, receiver.recv()).await;
            updates.push(next.expect("it says something").expect("it runs").update);
        }
        // Nothing more is said without a reason.
        let more = tokio::time::timeout(Duration::from_millis(125), receiver.recv()).await;
        assert!(more.is_err(), "{more:?}");
        drop(receiver);
        let ended = tokio::time::timeout(Duration::from_secs(5), source).await;
        ended
            .expect("it ends when nobody listens")
            .expect("it does not panic");
        updates
    }

    #[tokio::test]
    async fn an_absent_bus_is_said_once() {
        let bus = "unix:path=/nowhere/bus".to_owned();
        let updates = listen(Watch::Auto, bus, 1).await;
        let [Update::Down(reason)] = &updates[..] else {
            panic!("{updates:?}")
        };
        assert!(reason.contains("/nowhere/bus"), "{reason}");
    }

    #[tokio::test]
    async fn a_peer_that_is_no_bus_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                let _gone = tokio::io::AsyncWriteExt::write_all(&mut peer, b"220 hello\r\n").await;
            }
        });
        let bus = format!("unix:path={}", path.display());
        let updates = listen(Watch::Auto, bus, 2).await;
        let [Update::Reconciled { outcome, .. }, Update::Down(reason)] = &updates[..] else {
            panic!("{updates:?}")
        };
        assert!(matches!(outcome, Outcome::Error(_)), "{outcome:?}");
        assert!(
            reason.contains("cannot use the bus at unix:path="),
            "{reason}"
        );
    }
}
