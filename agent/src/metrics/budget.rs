//! How many series an exposition may have, and what is left out when there are more.
//!
//! Left out first is what a session has only once something has happened to it (the families that are
//! [`Samples::Occasional`]), the most numerous family first: means and totals stay. Then, session by
//! session, everything but who it is: idle sessions before others, the youngest first, because the old and
//! busy ones are whom somebody looks at. Families of the node are never left out. What was left out is
//! counted by family in `vdi_agent_series_dropped_total`.

use std::{cmp::Reverse, collections::BTreeSet};

use super::family::{Dropped, Family, Samples};
use crate::{
    session::phase::Phase,
    snapshot::{SessionView, Snapshot},
};

/// Families by which a session is known at all.
const IDENTITY: [&str; 2] = ["vdi_session_info", "vdi_session_start_time"];

/// Series of one family, of all sessions together and of each in the snapshot's order.
pub(super) struct Size {
    pub(super) family: &'static Family,
    pub(super) series: u64,
    /// Empty for a family of the node.
    pub(super) of_sessions: Vec<u64>,
}

/// What is left out of one exposition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Whole families, by stem.
    families: BTreeSet<&'static str>,
    /// Positions of sessions in the snapshot.
    sessions: BTreeSet<usize>,
}

impl Cut {
    /// Chooses what is left out so that no more than `most` series remain, as far as that is possible.
    pub(super) fn choose(snapshot: &Snapshot, sizes: &[Size], most: u64) -> Self {
        let mut cut = Self::default();
        let mut total: u64 = sizes.iter().map(|size| size.series).sum();
        if total <= most {
            return cut;
        }
        let mut optional: Vec<&Size> = sizes
            .iter()
            .filter(|size| matches!(size.family.samples, Samples::Occasional(_)))
            .collect();
        optional.sort_by_key(|size| Reverse(size.series));
        for size in optional {
            if total <= most {
                return cut;
            }
            cut.families.insert(size.family.stem);
            total -= size.series;
        }
        let mut sessions: Vec<(usize, &SessionView)> =
            snapshot.sessions.iter().enumerate().collect();
        sessions.sort_by_key(|(_, s)| (s.phase != Some(Phase::Idle), Reverse(s.started)));
        for (position, _) in sessions {
            if total <= most {
                return cut;
            }
            cut.sessions.insert(position);
            let own = sizes
                .iter()
                .filter(|size| !cut.families.contains(size.family.stem) && is_detail(size.family))
                .filter_map(|size| size.of_sessions.get(position));
            total = total.saturating_sub(own.sum());
        }
        cut
    }

    /// Whether a family is left out of a session.
    pub(super) fn leaves_out(&self, family: &Family, session: usize) -> bool {
        self.families.contains(family.stem)
            || (self.sessions.contains(&session) && is_detail(family))
    }

    /// Counts what is left out.
    pub(super) fn count(&self, sizes: &[Size], dropped: &mut Dropped) {
        for size in sizes {
            let of_sessions = size.of_sessions.iter().enumerate();
            let left_out =
                of_sessions.filter(|(session, _)| self.leaves_out(size.family, *session));
            let series: u64 = left_out.map(|(_, series)| series).sum();
            if series > 0 {
                *dropped.entry(size.family.sample_name()).or_default() += series;
            }
        }
    }
}

fn is_detail(family: &Family) -> bool {
    !matches!(family.samples, Samples::Node(_)) && !IDENTITY.contains(&family.stem)
}
