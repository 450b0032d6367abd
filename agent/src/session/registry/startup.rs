//! How sessions start: each milestone of each, observed once, and the phases of a logon, when nothing more can come of it.

use std::{collections::BTreeMap, time::Duration};

use agent_common::{
    histogram::{Histogram, long_bucket_of},
    net::NetMilestones,
};

use super::{LogonKey, SlotTable, StartupKey};
use crate::{
    discover::{
        cgroup::Found,
        platform::{PlatformPhase, Start},
        rules::Identity,
    },
    session::{
        logon::{self, LogonPhase},
        model::{Milestone, Session},
    },
};

/// A logon of which nothing more has come for so long is over.
const QUIET: Duration = Duration::from_mins(2);
/// Containers of a pod whose cgroups are known by their ids.
const MOST_CONTAINERS: usize = 64;
/// Digits of a container's id.
const ID_DIGITS: usize = 64;
/// Templates that have a 0 of every phase and milestone that their platform may tell; of others a series begins with its
/// first observation.
const MOST_WITH_ZEROS: usize = 32;

/// Observes each milestone once, for a session made while the agent watched.
pub(super) fn note_milestones(
    session: &mut Session,
    table: &impl SlotTable,
    net: NetMilestones,
    now_ns: u64,
    startup: &mut BTreeMap<StartupKey, Histogram>,
) {
    let Some(began_ns) = session.watched_ns() else {
        return;
    };
    let NetMilestones {
        first_listener_ns,
        first_client_ns,
    } = net;
    let facts = session.platform.as_deref();
    let told = facts.map(logon::told).unwrap_or_default();
    let told_ns = |milestone| told.get(&milestone).copied().unwrap_or(0);
    for milestone in Milestone::ALL {
        if session.milestones.contains_key(&milestone) {
            continue;
        }
        let at_ns = match milestone {
            Milestone::Scheduled
            | Milestone::Sandbox
            | Milestone::Started
            | Milestone::Ready
            | Milestone::UserManager
            | Milestone::HomeMounted => told_ns(milestone),
            Milestone::Pulled => pulled_ns(session),
            Milestone::FirstProcess => first_process_ns(session, table),
            Milestone::FirstListener => first_listener_ns,
            Milestone::Settled => settled_ns(session, now_ns),
            Milestone::FirstClient => first_client_ns,
            Milestone::FirstGpuContext => session.counts.gpu.first_context_ns,
            Milestone::FirstEncoder => session.counts.gpu.first_encoder_ns,
        };
        if at_ns == 0 {
            continue;
        }
        session.milestones.insert(milestone, at_ns);
        session.had_process |= milestone.shows_a_process();
        let took_ns = at_ns.saturating_sub(began_ns);
        let Identity {
            namespace,
            template,
            ..
        } = &session.identity;
        let key = (namespace.clone(), template.clone(), milestone);
        let histogram = startup.entry(key).or_default();
        histogram.buckets[long_bucket_of(took_ns)] += 1;
        histogram.sum_ns += took_ns;
    }
}

/// Observes the phases of a logon once, when it is complete, when nothing more has come of it for some time, or when the
/// session has ended; only of one made while the agent watched.
pub(super) fn note_logon(
    session: &mut Session,
    now_ns: u64,
    logons: &mut BTreeMap<LogonKey, Histogram>,
    startup: &mut BTreeMap<StartupKey, Histogram>,
) {
    if session.made_ns.is_none() || session.logon.is_some() {
        return;
    }
    let Some(facts) = session.platform.clone() else {
        return;
    };
    let Some(start) = &facts.start else { return };
    note_zeros(session, start, logons, startup);
    let created = session.created.map(|(_, created_ns)| created_ns);
    let created_ns = created.filter(|&created_ns| created_ns > 0);
    let Some(logon) = logon::of(start, created_ns, &session.milestones) else {
        return;
    };
    let quiet = Duration::from_nanos(now_ns.saturating_sub(logon.ended_ns));
    let is_starting = matches!(
        facts.phase,
        Some(PlatformPhase::Pending | PlatformPhase::Starting)
    );
    let is_over = session.ended.is_some() || (quiet >= QUIET && !is_starting);
    // A pod that ends before anything of it was started has not kept anybody waiting for it.
    let has_begun =
        matches!(start, Start::Login(_)) || session.milestones.contains_key(&Milestone::Started);
    if !(logon.is_complete || (is_over && has_begun)) {
        return;
    }
    let (namespace, template) = session.template();
    for (&phase, took) in &logon.phases {
        let took_ns = took.as_nanos() as u64;
        let key = (namespace.clone(), template.clone(), phase);
        let histogram = logons.entry(key).or_default();
        histogram.buckets[long_bucket_of(took_ns)] += 1;
        histogram.sum_ns += took_ns;
    }
    session.logon = Some(logon.phases);
}

/// What a session's platform may tell of it is 0 before it has been observed, so that a rate sees the first.
fn note_zeros(
    session: &Session,
    start: &Start,
    logons: &mut BTreeMap<LogonKey, Histogram>,
    startup: &mut BTreeMap<StartupKey, Histogram>,
) {
    let (namespace, template) = session.template();
    let mut key = (namespace, template, LogonPhase::Unaccounted);
    let templates = logons.keys();
    let templates = templates.filter(|(.., phase)| *phase == LogonPhase::Unaccounted);
    if logons.contains_key(&key) || templates.count() >= MOST_WITH_ZEROS {
        return;
    }
    for &phase in start.phases() {
        key.2 = phase;
        logons.entry(key.clone()).or_default();
    }
    let (namespace, template, _) = key;
    for milestone in Milestone::ALL {
        let is_told = milestone
            .phase()
            .is_some_and(|phase| start.phases().contains(&phase));
        let is_the_kernels = matches!(milestone, Milestone::FirstListener | Milestone::Settled);
        if is_told && !is_the_kernels {
            let key = (namespace.clone(), template.clone(), milestone);
            startup.entry(key).or_default();
        }
    }
}

/// Notes when the cgroup of a pod's container was made, which the runtime does once it has the image.
pub(super) fn note_container(session: &mut Session, found: &Found, made_ns: u64) {
    if session.identity.pod.is_none() || session.containers.len() >= MOST_CONTAINERS {
        return;
    }
    let id = found.path.as_deref().and_then(container_of);
    if let Some(id) = id {
        session.containers.entry(id).or_insert(made_ns);
    }
}

/// The id of a container in its cgroup's name: `cri-containerd-ID.scope`, `crio-ID.scope`, or the id alone.
fn container_of(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let mut runs = name.split(|byte| !byte.is_ascii_hexdigit());
    let id = runs.find(|run| run.len() == ID_DIGITS)?;
    Some(String::from_utf8_lossy(id).into_owned())
}

/// When the cgroup of a pod's main container was made, 0 while that is not known.
fn pulled_ns(session: &Session) -> u64 {
    let facts = session.platform.as_ref();
    let container = facts.and_then(|facts| match &facts.start {
        Some(Start::Pod(pod)) => pod.container.as_ref(),
        _ => None,
    });
    let made = container.and_then(|id| session.containers.get(id));
    made.copied().unwrap_or(0)
}

/// When a session that listens has settled, 0 while it has not.
fn settled_ns(session: &mut Session, now_ns: u64) -> u64 {
    let listens = session.milestones.get(&Milestone::FirstListener).copied();
    listens.map_or(0, |listens_ns| {
        let cpu_ns = session.counts.cpu_ns;
        session.calm.take(now_ns, cpu_ns, listens_ns)
    })
}

/// The earliest first process of the session's cgroups, 0 while there is none.
fn first_process_ns(session: &Session, table: &impl SlotTable) -> u64 {
    let births = session.cgroups.iter().filter_map(|&id| table.birth(id));
    births
        .map(|b| b.first_process_ns)
        .filter(|&ns| ns != 0)
        .min()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_cgroups_name() {
        let id = "0123456789abcdef".repeat(4);
        for name in [
            format!("/pod/cri-containerd-{id}.scope"),
            format!("/pod/crio-{id}.scope"),
            format!("/pod/{id}"),
        ] {
            assert_eq!(container_of(name.as_bytes()), Some(id.clone()), "{name}");
        }
        let below = format!("/pod/{id}/init.scope");
        for name in [below.as_str(), "/pod", &id[..63], ""] {
            assert_eq!(container_of(name.as_bytes()), None, "{name}");
        }
    }
}
