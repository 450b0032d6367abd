//! What the user of a session feels.

use super::{buckets, observed};
use crate::{
    kernel::programs::name,
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Gauge, Histogram},
            Samples::{Occasional, PerSession},
            Source, Unit,
        },
        label::OneOf,
    },
    named::named,
    session::experience::Experience,
    snapshot::SessionView,
};

/// Half a second, which is poor (web.dev/articles/inp).
const FELT: Buckets = buckets(&[-1]);

named! {
    /// Where input waits.
    enum Stage {
        /// At an application's connection to its display server.
        Application = "application",
        /// At the connection of a client.
        Server = "server",
    }
}
const STAGE: OneOf<Stage> = OneOf::new("stage").about("each from its first observation on");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_input_delay",
        help: "From when bytes could be read until their reader took them: application at connections to an X11 or Wayland display, server at those of clients",
        kind: Histogram(FELT),
        unit: Unit::Seconds,
        labels: &[STAGE.label()],
        source: Source::Program(name::SK_DATA_READY),
        samples: Occasional(|s, out| {
            let Some(experience) = experience(s) else {
                return;
            };
            for stage in Stage::ALL {
                let delay = match stage {
                    Stage::Application => &experience.application_delay,
                    Stage::Server => &experience.server_delay,
                };
                observed(out, &[STAGE.is(stage)], delay);
            }
        }),
    },
    Family {
        stem: "vdi_session_response",
        help: "On a client's TCP connection, from the first bytes that come after 100 ms and a round trip of quiet both ways until bytes are sent, up to 2 s; absent where a connection is never quiet",
        kind: Histogram(FELT),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::CLIENT_CONNECTS),
        samples: Occasional(|s, out| {
            if let Some(experience) = experience(s) {
                observed(out, &[], &experience.response);
            }
        }),
    },
    Family {
        stem: "vdi_session_unanswered_inputs",
        help: "Such inputs after which nothing was sent for 2 s: a frozen screen, or an input that changes nothing",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CLIENT_CONNECTS),
        samples: PerSession(|s, out| {
            if let Some(experience) = experience(s) {
                out.number(&[], experience.unanswered as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_unresponsive_applications",
        help: "Applications that have not read their X11 or Wayland connection for 5 s, though bytes wait there",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::MARKED_SOCKETS),
        samples: Occasional(|s, out| {
            let Some(experience) = experience(s).filter(|e| has_display(e)) else {
                return;
            };
            if let Some(unresponsive) = &experience.unresponsive {
                out.number(&[], unresponsive.len() as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_unresponsive",
        help: "For how long applications have not read it, each from the first byte on, added up; counted once it is 5 s",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::MARKED_SOCKETS),
        samples: Occasional(|s, out| {
            let Some(experience) = experience(s).filter(|e| has_display(e)) else {
                return;
            };
            out.number(&[], experience.unresponsive_for.as_secs_f64());
        }),
    },
];

fn experience(session: &SessionView) -> Option<&Experience> {
    session.counts.experience.as_ref()
}

/// Whether an application of the session has been connected to a display.
fn has_display(experience: &Experience) -> bool {
    experience.application_delay.count() > 0 || !experience.unresponsive_for.is_zero()
}
