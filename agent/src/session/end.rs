//! How a session ended.

use agent_common::process::{LAST_EXIT_KNOWN, LAST_EXIT_OOM_KILLED};

use super::model::Session;
use crate::discover::platform::EndReason;

/// Of a session that has ended. Where kernel, GPU driver and platform disagree, in this order:
///
/// 1. `evicted`: the platform took its place, and whatever its processes died of came of that;
/// 2. `gpu_error`: what an Xid error does to a process looks like any other failure;
/// 3. `oom_killed`, whoever saw it;
/// 4. what else the platform says, which knows the session's main process;
/// 5. what became of the last of its processes to end, which in a container is its first one. The last one of
///    a pod holds its namespaces and is always killed, so that says nothing.
pub fn reason(session: &Session) -> EndReason {
    let platform = session.platform.as_ref().and_then(|facts| facts.end);
    let kernel = of_last_exit(session.counts.process.last_exit);
    let is_pod = session.identity.pod.is_some();
    let kernel = kernel.filter(|reason| !(is_pod && *reason == EndReason::Signal));
    match (platform, kernel) {
        (Some(EndReason::Evicted), _) => EndReason::Evicted,
        _ if session.gpu_fault.is_some() => EndReason::GpuError,
        (Some(EndReason::OomKilled), _) | (_, Some(EndReason::OomKilled)) => EndReason::OomKilled,
        (Some(EndReason::Unknown) | None, kernel) => kernel.unwrap_or(EndReason::Unknown),
        (Some(platform), _) => platform,
    }
}

/// Of [`agent_common::process::ProcessStats::last_exit`].
fn of_last_exit(last: u64) -> Option<EndReason> {
    let (signal, code) = (last & 0x7f, (last >> 8) & 0xff);
    match (signal, code) {
        _ if last & LAST_EXIT_KNOWN == 0 => None,
        _ if last & LAST_EXIT_OOM_KILLED != 0 => Some(EndReason::OomKilled),
        (0, 0) => Some(EndReason::Completed),
        (0, _) => Some(EndReason::Error),
        _ => Some(EndReason::Signal),
    }
}
