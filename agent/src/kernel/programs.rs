//! The table of kernel programs: what each hooks, whether the agent can do without it, and what stands
//! in for it. Which metric families die with a program is in the catalogue (`metrics::catalog`), where
//! each family names its source.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, Iter, Program},
};
use serde::Serialize;

use crate::error::Error;

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF-typed tracepoint (`tp_btf`).
    Tracepoint(&'static str),
    /// A BPF iterator, run when the agent samples.
    Iterator(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    /// Name in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// Whether the agent refuses to run without it.
    pub required: bool,
    /// What happens instead, for an optional one.
    pub fallback: &'static str,
}

/// Every program of the object. Tests compare the list with the object.
pub const PROGRAMS: &[ProgramSpec] = &[
    ProgramSpec {
        name: "self_check",
        hook: Hook::Iterator("task"),
        required: true,
        fallback: "",
    },
    ProgramSpec {
        name: "sched_switch",
        hook: Hook::Tracepoint("sched_switch"),
        required: true,
        fallback: "",
    },
    ProgramSpec {
        name: "sched_process_fork",
        hook: Hook::Tracepoint("sched_process_fork"),
        required: true,
        fallback: "",
    },
    ProgramSpec {
        name: "sched_process_exec",
        hook: Hook::Tracepoint("sched_process_exec"),
        required: true,
        fallback: "",
    },
    ProgramSpec {
        name: "sched_process_exit",
        hook: Hook::Tracepoint("sched_process_exit"),
        required: true,
        fallback: "",
    },
    ProgramSpec {
        name: "census",
        hook: Hook::Iterator("task"),
        required: false,
        fallback: "processes are not counted, and CPU time is counted up to each thread's last switch",
    },
    ProgramSpec {
        name: "cgroup_mkdir",
        hook: Hook::Tracepoint("cgroup_mkdir"),
        required: false,
        fallback: "new sessions are found by scanning the hierarchy every second",
    },
    ProgramSpec {
        name: "cgroup_rmdir",
        hook: Hook::Tracepoint("cgroup_rmdir"),
        required: false,
        fallback: "ended sessions are found by scanning the hierarchy every second",
    },
    ProgramSpec {
        name: "cgroup_attach_task",
        hook: Hook::Tracepoint("cgroup_attach_task"),
        required: false,
        fallback: "the first process of a session is stamped only when it is born there",
    },
    ProgramSpec {
        name: "inet_sock_set_state",
        hook: Hook::Tracepoint("inet_sock_set_state"),
        required: false,
        fallback: "TCP connections are not measured",
    },
    ProgramSpec {
        name: "connections",
        hook: Hook::Iterator("tcp"),
        required: false,
        fallback: "TCP bytes are counted when a connection closes; there are no round-trip times",
    },
    ProgramSpec {
        name: "tcp_destroy_sock",
        hook: Hook::Tracepoint("tcp_destroy_sock"),
        required: false,
        fallback: "after 65,536 connections further ones are counted but not timed",
    },
    ProgramSpec {
        name: "tcp_receive_reset",
        hook: Hook::Tracepoint("tcp_receive_reset"),
        required: false,
        fallback: "resets received are not counted",
    },
    ProgramSpec {
        name: "tcp_send_reset",
        hook: Hook::Tracepoint("tcp_send_reset"),
        required: false,
        fallback: "resets sent are not counted",
    },
    ProgramSpec {
        name: "sock_send_length",
        hook: Hook::Tracepoint("sock_send_length"),
        required: false,
        fallback: "UDP is not measured (Linux 6.3 has the tracepoint)",
    },
    ProgramSpec {
        name: "sock_recv_length",
        hook: Hook::Tracepoint("sock_recv_length"),
        required: false,
        fallback: "UDP is not measured (Linux 6.3 has the tracepoint)",
    },
    ProgramSpec {
        name: "udp_fail_queue_rcv_skb",
        hook: Hook::Tracepoint("udp_fail_queue_rcv_skb"),
        required: false,
        fallback: "UDP drops are not counted",
    },
];

/// How a program is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramStatus {
    /// Name in the object.
    pub name: &'static str,
    /// Whether the agent refuses to run without it.
    pub required: bool,
    /// Loaded and attached.
    pub up: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Runs since BPF statistics were turned on; absent while they are off.
    pub runs: Option<u64>,
    /// Seconds in the program since then.
    pub seconds: Option<f64>,
}

/// Loads and attaches every program. A required one that fails is an error.
pub(super) fn attach_all(ebpf: &mut Ebpf, btf: &Btf) -> Result<Vec<ProgramStatus>, Error> {
    let mut statuses = Vec::new();
    for spec in PROGRAMS {
        let result = attach(ebpf, btf, spec);
        let reason = result.err().map(|e| one_line(e.as_ref()));
        if let Some(reason) = &reason {
            if spec.required {
                return Err(Error::Program {
                    name: spec.name.to_owned(),
                    reason: reason.clone(),
                });
            }
            tracing::warn!(program = spec.name, %reason, fallback = spec.fallback, "program is off");
        }
        statuses.push(ProgramStatus {
            name: spec.name,
            required: spec.required,
            up: reason.is_none(),
            reason,
            runs: None,
            seconds: None,
        });
    }
    Ok(statuses)
}

fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    spec: &ProgramSpec,
) -> Result<(), Box<dyn std::error::Error>> {
    let program: &mut Program = ebpf
        .program_mut(spec.name)
        .ok_or_else(|| format!("no program {} in the object", spec.name))?;
    match spec.hook {
        Hook::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
            program.attach()?;
        }
        Hook::Iterator(name) => {
            // Attached each time it is run.
            let program: &mut Iter = program.try_into()?;
            program.load(name, btf)?;
        }
    }
    Ok(())
}

/// What a verifier log ends with, after its reason.
const LOG_STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];

/// An error and its causes in one line. A verifier log has thousands: its reason is the last one before
/// the statistics.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let is_statistics = |line: &str| LOG_STATISTICS.iter().any(|s| line.starts_with(s));
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !is_statistics(line))
            .collect();
        let part = match lines[..] {
            [] => String::new(),
            [only] => only.to_owned(),
            [first, .., last] => format!("{first} … {last}"),
        };
        if !part.is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_program_says_what_stands_in_for_it() {
        for spec in PROGRAMS {
            assert_eq!(spec.required, spec.fallback.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn a_verifier_log_becomes_one_line() {
        let log = "load failed\n0: R1=ctx\n1: (79) r1\ninvalid mem access\nstack depth 0\nprocessed 2 insns";
        let error: Box<dyn std::error::Error> = log.into();
        assert_eq!(one_line(error.as_ref()), "load failed … invalid mem access");
    }
}
