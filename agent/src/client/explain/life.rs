//! Who a session is, where it is in its life, and what became of its processes.

use super::{
    super::units::{age, clock, count, or_absent, printable, time},
    section::Section,
};
use crate::api::{Logoff, Session};

pub(super) fn identity(session: &Session) -> Section {
    let mut section = Section::new("Identity");
    let origins = &session.origins;
    let labels = [
        ("session", &session.session, &origins.session),
        ("namespace", &session.namespace, &origins.namespace),
        ("template", &session.template, &origins.template),
    ];
    let from = |origin: &Option<String>| {
        let origin = origin.as_deref().map(printable);
        origin.map_or_else(String::new, |origin| format!("  (from the {origin})"))
    };
    for (label, name, origin) in labels {
        let known = Some(name).filter(|name| !name.is_empty());
        let name = or_absent(known, |name| printable(name));
        section.line(label, format!("{name}{}", from(origin)));
    }
    match (&session.user, &origins.user) {
        (Some(user), origin) => {
            section.line("user", format!("{}{}", printable(user), from(origin)));
        }
        (None, Some(_)) => section.line("user", "not told: sessions.user is off"),
        (None, None) => {}
    }
    section.line(
        "found by",
        format!(
            "the rule \"{}\" on the path of its cgroup{}",
            printable(&session.rule),
            match session.source.as_str() {
                "cgroup" => String::new(),
                source => format!(", named by {source}"),
            }
        ),
    );
    section.line("cgroup", printable(&session.cgroup));
    for (label, name) in [
        ("runtime", &session.runtime),
        ("pod", &session.pod),
        ("container", &session.container),
    ] {
        section.known(label, name.as_deref().map(printable));
    }
    for (name, text) in &session.details {
        section.line(name, printable(text));
    }
    section
}

pub(super) fn life(session: &Session, now: f64) -> Section {
    let mut section = Section::new("Life");
    let moment = |at: f64| format!("{}, {} ago", clock(at), age(now - at));
    if let Some(phase) = &session.phase {
        let since = session.phase_start_time.map_or_else(
            || "since before the agent watched".to_owned(),
            |at| format!("for {}, since {}", age(now - at), clock(at)),
        );
        section.line("phase", format!("{phase} {since}"));
    }
    if session.ended {
        let reason = session.end_reason.as_deref().map_or("", why);
        section.line(
            "ended",
            format!("{}{reason}", or_absent(session.end_time, moment)),
        );
    }
    if let Some(logoff) = &session.logoff {
        section.line("logoff", left(logoff));
    }
    section.line(
        "began",
        session
            .start_time
            .map_or_else(|| "not known".to_owned(), moment),
    );
    let used = session.idle_seconds.map(|idle| match idle {
        idle if idle < 1.0 => "now".to_owned(),
        idle => format!("{} ago", age(idle)),
    });
    let by = "(a client sent, a GPU was used, or over 5 % of a CPU)";
    section.known("last used", used.map(|used| format!("{used} {by}")));
    section
}

/// How long a logoff took, and who held the session.
fn left(logoff: &Logoff) -> String {
    let took = logoff.seconds.map_or_else(
        || "logged out".to_owned(),
        |seconds| format!("took {}", time(seconds)),
    );
    let by = logoff.held_by.as_ref();
    let by = by.map(|by| format!("; last held by {} ({})", printable(&by.command), by.pid));
    format!("{took}{}", by.unwrap_or_default())
}

/// Completes the sentence on a session's end.
fn why(reason: &str) -> &'static str {
    match reason {
        "completed" => ": as it was meant to",
        "error" => ": its main process ended with an error",
        "signal" => ": a signal killed its main process",
        "oom_killed" => ": the out-of-memory killer killed a process of it",
        "evicted" => ": its platform evicted it",
        "gpu_error" => ": a process failed after an Xid error of the GPU",
        _ => ": nobody saw how",
    }
}

pub(super) fn processes(session: &Session, now: f64) -> Section {
    let mut section = Section::new("Processes");
    let process = &session.process;
    if !session.ended {
        let alive = or_absent(session.processes, count);
        let threads = or_absent(session.threads, count);
        // A limit of processes is one of threads: the kernel counts each of them.
        let of = session.processes_limit.map_or_else(String::new, |limit| {
            format!(", of {} that may be", count(limit))
        });
        section.line("alive", format!("{alive} with {threads} threads{of}"));
    }
    section.line(
        "started",
        format!(
            "{} processes, {} programs executed",
            count(process.forks),
            count(process.execs)
        ),
    );
    if let Some(refused) = session.forks_refused.filter(|refused| *refused > 0) {
        let warning =
            "any is too much: its limit (pids.max) was used up, and what it started failed";
        section.judged(
            "refused",
            format!("{} processes and threads", count(refused)),
            Some(warning.to_owned()),
        );
    }
    let exits = process.exits;
    section.line(
        "ended",
        format!(
            "{} with success, {} with an error, {} by a signal, {} killed for want of memory",
            count(exits.success),
            count(exits.error),
            count(exits.signal),
            count(exits.oom_killed)
        ),
    );
    if let Some(kill) = &session.last_oom_kill {
        let when = kill.time.map_or_else(String::new, |at| {
            format!(", {}, {} ago", clock(at), age(now - at))
        });
        section.judged(
            "last OOM kill",
            format!("{} (pid {}){when}", printable(&kill.command), kill.pid),
            Some(
                "it was killed for want of memory: raise the limit or make it use less".to_owned(),
            ),
        );
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Holder;

    #[test]
    fn a_logoff_says_how_long_it_took_and_who_held_it() {
        let held_by = Holder {
            pid: 4711,
            command: "tmux: server".to_owned(),
        };
        let mut logoff = Logoff {
            seconds: None,
            held_by: Some(held_by),
        };
        assert_eq!(
            left(&logoff),
            "logged out; last held by tmux: server (4711)"
        );
        logoff.seconds = Some(42.0);
        assert_eq!(left(&logoff), "took 42 s; last held by tmux: server (4711)");
        logoff.held_by = None;
        assert_eq!(left(&logoff), "took 42 s");
    }
}
