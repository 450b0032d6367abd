//! How long a logon took, by phase.
//!
//! There is one list of what happens when a session starts, [`Milestone`]: moments, whoever tells them. A phase of a logon
//! is the time that led to one of them, and a milestone ends one phase or none. Two phases are ended by no milestone:
//! `authentication` ends where the session itself begins, and `unaccounted` is what nothing explains.
//!
//! The phases of a logon add up to the whole, from the connection to the last moment that ends one:
//!
//! ```text
//!  connection      opened            active      mounted          listens   settled
//!      ├─authentication─┤ ···· ├─user_manager─┤─home_mounted─┤ ···· ├─display─┤─desktop─┤
//!                        unaccounted                          unaccounted
//! ```
//!
//! Where two overlap, the time is that one's that began later: a mount within a start of the service manager is the mount's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use super::model::Milestone;
use crate::{
    clock,
    discover::platform::{Facts, LoginStart, PodStart, Start},
    named::named,
};

named! {
    /// A phase of a logon.
    pub enum LogonPhase {
        /// From the connection until the session was opened.
        Authentication = "authentication",
        /// The user's service manager started.
        UserManager = "user_manager",
        /// What of the user's home is elsewhere was mounted.
        HomeMounted = "home_mounted",
        /// A node was found.
        Scheduled = "scheduled",
        /// Namespaces, network and volumes were made.
        Sandbox = "sandbox",
        /// The image was pulled.
        Pulled = "pulled",
        /// The main container was made and started.
        Started = "started",
        /// It became ready.
        Ready = "ready",
        /// From the first process until something listens.
        Display = "display",
        /// From then on until the session has settled.
        Desktop = "desktop",
        /// What no phase explains.
        Unaccounted = "unaccounted",
    }
}

/// How long each phase took.
pub type Phases = BTreeMap<LogonPhase, Duration>;

/// A logon as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logon {
    /// The end of its last phase, nanoseconds since boot.
    pub ended_ns: u64,
    /// Its phases, `unaccounted` always among them: together they are the whole.
    pub phases: Phases,
    /// Nothing more can come of it.
    pub is_complete: bool,
}

/// A phase from when to when, nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    phase: LogonPhase,
    from_ns: u64,
    to_ns: u64,
}

impl Milestone {
    /// The phase that it ends.
    pub const fn phase(self) -> Option<LogonPhase> {
        match self {
            Self::Scheduled => Some(LogonPhase::Scheduled),
            Self::Sandbox => Some(LogonPhase::Sandbox),
            Self::Pulled => Some(LogonPhase::Pulled),
            Self::Started => Some(LogonPhase::Started),
            Self::Ready => Some(LogonPhase::Ready),
            Self::UserManager => Some(LogonPhase::UserManager),
            Self::HomeMounted => Some(LogonPhase::HomeMounted),
            Self::FirstListener => Some(LogonPhase::Display),
            Self::Settled => Some(LogonPhase::Desktop),
            Self::FirstProcess | Self::FirstClient | Self::FirstGpuContext | Self::FirstEncoder => {
                None
            }
        }
    }
}

impl Start {
    /// The phases that such a start may have.
    pub const fn phases(&self) -> &'static [LogonPhase] {
        use LogonPhase as P;
        match self {
            Self::Login(_) => &[
                P::Authentication,
                P::UserManager,
                P::HomeMounted,
                P::Display,
                P::Desktop,
                P::Unaccounted,
            ],
            Self::Pod(_) => &[
                P::Scheduled,
                P::Sandbox,
                P::Pulled,
                P::Started,
                P::Ready,
                P::Display,
                P::Desktop,
                P::Unaccounted,
            ],
        }
    }
}

/// The milestones that a platform tells, nanoseconds since boot.
pub fn told(facts: &Facts) -> BTreeMap<Milestone, u64> {
    let mut told = BTreeMap::new();
    told.extend(since_boot(facts.scheduled).map(|at| (Milestone::Scheduled, at)));
    match &facts.start {
        None => {}
        Some(Start::Login(login)) => {
            let active = login.manager_ns.map(|(_, to)| to);
            told.extend(active.map(|at| (Milestone::UserManager, at)));
            told.extend(login.home_ns.map(|at| (Milestone::HomeMounted, at)));
        }
        Some(Start::Pod(pod)) => {
            for (milestone, at) in [
                (Milestone::Sandbox, pod.sandbox),
                (Milestone::Started, pod.started),
                (Milestone::Ready, pod.ready),
            ] {
                told.extend(since_boot(at).map(|at| (milestone, at)));
            }
        }
    }
    told
}

/// Of a moment of this boot.
fn since_boot(time: Option<SystemTime>) -> Option<u64> {
    time.map(clock::boot_of_wall).filter(|&ns| ns > 0)
}

/// The logon of a session: how its platform says that it started, when that took it on, and the milestones that it has
/// reached. `None` where it is not known when it began.
pub fn of(
    start: &Start,
    created_ns: Option<u64>,
    reached: &BTreeMap<Milestone, u64>,
) -> Option<Logon> {
    let at = |milestone| reached.get(&milestone).copied();
    let (began_ns, mut stretches, mut ended_ns) = match start {
        Start::Login(login) => {
            let began_ns = login.began_ns();
            let authentication = login.connected_ns.map(|from_ns| Stretch {
                phase: LogonPhase::Authentication,
                from_ns,
                to_ns: login.opened_ns,
            });
            let stretches: Vec<Stretch> = authentication.into_iter().collect();
            (began_ns, stretches, login.opened_ns)
        }
        Start::Pod(_) => (created_ns?, Vec::new(), created_ns?),
    };
    for (&milestone, &to_ns) in reached {
        let Some(phase) = milestone.phase() else {
            continue;
        };
        let from_ns = match start {
            Start::Login(login) => of_login(login, phase, to_ns, at),
            Start::Pod(pod) => of_pod(pod, created_ns, phase, to_ns, at),
        };
        let Led::From(from_ns) = from_ns else {
            continue;
        };
        ended_ns = ended_ns.max(to_ns);
        stretches.extend(from_ns.map(|from_ns| Stretch {
            phase,
            from_ns,
            to_ns,
        }));
    }
    let settled = reached.contains_key(&Milestone::Settled);
    let is_complete = match start {
        Start::Login(login) => login.is_graphical && settled,
        Start::Pod(_) => reached.contains_key(&Milestone::Ready) && settled,
    };
    Some(Logon {
        ended_ns,
        phases: shares(&stretches, began_ns, ended_ns),
        is_complete,
    })
}

/// Whether a phase is of a logon, and since when; that may not be known.
enum Led {
    From(Option<u64>),
    NotOfIt,
}

fn of_login(
    login: &LoginStart,
    phase: LogonPhase,
    to_ns: u64,
    at: impl Fn(Milestone) -> Option<u64>,
) -> Led {
    let manager = login.manager_ns;
    match phase {
        LogonPhase::UserManager => Led::From(manager.map(|(from, _)| from)),
        // When a mount began is not known, but what came before it is. One before the session was opened is a part of the
        // authentication, within which it has no beginning.
        LogonPhase::HomeMounted if to_ns >= login.opened_ns => {
            let before = [Some(login.opened_ns), manager.map(|(_, to)| to)];
            Led::From(latest(before, to_ns))
        }
        // In a terminal somebody starts a server when he likes.
        LogonPhase::Display if login.is_graphical => {
            let before = [Some(login.opened_ns), at(Milestone::FirstProcess)];
            Led::From(latest(before, to_ns))
        }
        LogonPhase::Desktop if login.is_graphical => Led::From(at(Milestone::FirstListener)),
        _ => Led::NotOfIt,
    }
}

fn of_pod(
    pod: &PodStart,
    created_ns: Option<u64>,
    phase: LogonPhase,
    to_ns: u64,
    at: impl Fn(Milestone) -> Option<u64>,
) -> Led {
    let scheduled = at(Milestone::Scheduled);
    let can_pull = [
        scheduled,
        at(Milestone::Sandbox),
        since_boot(pod.initialized),
    ];
    Led::From(match phase {
        LogonPhase::Scheduled => created_ns,
        LogonPhase::Sandbox => scheduled,
        LogonPhase::Pulled => latest(can_pull, to_ns),
        LogonPhase::Started => at(Milestone::Pulled).or_else(|| latest(can_pull, to_ns)),
        LogonPhase::Ready => at(Milestone::Started),
        LogonPhase::Display => {
            let before = [
                at(Milestone::FirstProcess),
                at(Milestone::Pulled),
                at(Milestone::Started),
            ];
            latest(before, to_ns)
        }
        LogonPhase::Desktop => at(Milestone::FirstListener),
        LogonPhase::Authentication
        | LogonPhase::UserManager
        | LogonPhase::HomeMounted
        | LogonPhase::Unaccounted => return Led::NotOfIt,
    })
}

/// The last of these moments that is not after another one.
fn latest<const N: usize>(moments: [Option<u64>; N], not_after: u64) -> Option<u64> {
    let before = moments.into_iter().flatten();
    before.filter(|&moment| moment <= not_after).max()
}

/// Divides the time from `from_ns` to `to_ns` among the phases: each moment is that one's of those around it that began
/// last, and of two that began at once that one's that ended first. What is in none is unaccounted.
fn shares(stretches: &[Stretch], from_ns: u64, to_ns: u64) -> Phases {
    let within = |ns: u64| ns.clamp(from_ns, to_ns.max(from_ns));
    let stretches = stretches.iter().map(|stretch| Stretch {
        from_ns: within(stretch.from_ns),
        to_ns: within(stretch.to_ns),
        ..*stretch
    });
    let stretches: Vec<Stretch> = stretches.collect();
    let edges: BTreeSet<u64> = stretches
        .iter()
        .flat_map(|stretch| [stretch.from_ns, stretch.to_ns])
        .chain([within(from_ns), within(to_ns)])
        .collect();
    let edges: Vec<u64> = edges.into_iter().collect();
    // A phase that took no time is there with none.
    let mut shares: Phases = stretches
        .iter()
        .map(|stretch| (stretch.phase, Duration::ZERO))
        .chain([(LogonPhase::Unaccounted, Duration::ZERO)])
        .collect();
    for part in edges.windows(2) {
        let &[from, to] = part else { continue };
        let around = stretches
            .iter()
            .filter(|stretch| stretch.from_ns <= from && to <= stretch.to_ns);
        let last = around.max_by_key(|stretch| (stretch.from_ns, std::cmp::Reverse(stretch.to_ns)));
        let phase = last.map_or(LogonPhase::Unaccounted, |stretch| stretch.phase);
        *shares.entry(phase).or_default() += Duration::from_nanos(to - from);
    }
    shares
}

#[cfg(test)]
mod tests;
