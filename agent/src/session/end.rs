//! How a session ended.

use agent_common::process::{LAST_EXIT_KNOWN, LAST_EXIT_OOM_KILLED};

use super::model::Session;
use crate::discover::platform::{EndReason, Source};

/// Of a session that has ended. Where kernel, GPU driver and platform disagree, in this order:
///
/// 1. `evicted`: the platform took its place, and whatever its processes died of came of that;
/// 2. `gpu_error`: what an Xid error does to a process looks like any other failure;
/// 3. `oom_killed`, whoever saw it;
/// 4. what else the platform says, which knows the session's main process;
/// 5. of a login that logind has closed: it has completed. Its last process is a shell that returns its last
///    command's status, an sshd that exits with 255 when its client has left (OpenSSH 9.9), or what systemd killed
///    because the login was over;
/// 6. what became of the last of its processes to end, which in a container is its first one. The last one of
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
        (None, _) if is_closed_login(session) => EndReason::Completed,
        (Some(EndReason::Unknown) | None, kernel) => kernel.unwrap_or(EndReason::Unknown),
        (Some(platform), _) => platform,
    }
}

fn is_closed_login(session: &Session) -> bool {
    let is_login = session.identity.source == Some(Source::Logind);
    is_login
        && session
            .platform
            .as_ref()
            .is_some_and(|facts| facts.is_over())
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
