//! How sessions start: each milestone of each, observed once.

use std::collections::BTreeMap;

use agent_common::{
    histogram::{Histogram, long_bucket_of},
    net::NetMilestones,
};

use super::{SlotTable, StartupKey};
use crate::{
    discover::rules::Identity,
    session::model::{Milestone, Session},
};

/// Observes each milestone once, for a session made while the agent watched.
pub(super) fn note_milestones(
    session: &mut Session,
    table: &impl SlotTable,
    net: NetMilestones,
    startup: &mut BTreeMap<StartupKey, Histogram>,
) {
    let Some(began_ns) = session.watched_ns() else {
        return;
    };
    let NetMilestones {
        first_listener_ns,
        first_client_ns,
    } = net;
    let scheduled = session.platform.as_ref().and_then(|facts| facts.scheduled);
    let scheduled_ns = scheduled.map_or(0, crate::clock::boot_of_wall);
    for milestone in Milestone::ALL {
        if session.milestones.contains_key(&milestone) {
            continue;
        }
        let at_ns = match milestone {
            Milestone::Scheduled => scheduled_ns,
            Milestone::FirstProcess => first_process_ns(session, table),
            Milestone::FirstListener => first_listener_ns,
            Milestone::FirstClient => first_client_ns,
            Milestone::FirstGpuContext => session.counts.gpu.first_context_ns,
            Milestone::FirstEncoder => session.counts.gpu.first_encoder_ns,
        };
        if at_ns == 0 {
            continue;
        }
        session.milestones.insert(milestone, at_ns);
        session.had_process |= milestone != Milestone::Scheduled;
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

/// The earliest first process of the session's cgroups, 0 while there is none.
fn first_process_ns(session: &Session, table: &impl SlotTable) -> u64 {
    let births = session.cgroups.iter().filter_map(|&id| table.birth(id));
    births
        .map(|b| b.first_process_ns)
        .filter(|&ns| ns != 0)
        .min()
        .unwrap_or(0)
}
