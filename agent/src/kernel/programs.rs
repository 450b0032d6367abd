//! The table of kernel programs: what each hooks, whether the agent can do without it, and what stands
//! in for it. Which metric families die with a program is in the catalogue (`metrics::catalog`), where
//! each family names its source.

pub mod name;
mod off;

pub use off::OffCode;

use crate::telemetry::log_event;
use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, FEntry, FExit, Iter, Program, RawTracePoint, fentry::FEntryLink,
        fexit::FExitLink, tp_btf::BtfTracePointLink,
    },
};
use serde::Serialize;

use super::{allocation::Allocation, xid};
use crate::error::Error;

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF-typed tracepoint (`tp_btf`).
    Tracepoint(&'static str),
    /// The entry of a kernel function (`fentry`).
    FunctionEntry(&'static str),
    /// The return from a kernel function (`fexit`).
    FunctionExit(&'static str),
    /// A BPF iterator, run when the agent samples or wants to know.
    Iterator(&'static str),
    /// One that may sleep.
    SleepableIterator(&'static str),
    /// Nowhere: the agent runs it (`BPF_PROG_TEST_RUN`), with what it asks in a map.
    OnDemand,
    /// A tracepoint that a driver brings with it (`tracepoint`), attached when it is there.
    DriverTracepoint {
        /// The driver's folder among the events of tracefs.
        category: &'static str,
        /// The tracepoint in it.
        name: &'static str,
    },
}

impl Hook {
    /// The ELF section of its program.
    pub fn section(self) -> String {
        match self {
            Self::Tracepoint(name) => format!("tp_btf/{name}"),
            Self::FunctionEntry(name) => format!("fentry/{name}"),
            Self::FunctionExit(name) => format!("fexit/{name}"),
            Self::Iterator(name) => format!("iter/{name}"),
            Self::SleepableIterator(name) => format!("iter.s/{name}"),
            Self::OnDemand => "raw_tp/on_demand".to_owned(),
            Self::DriverTracepoint { category, name } => format!("tracepoint/{category}/{name}"),
        }
    }

    /// Whether the driver that it belongs to is not loaded, which is not worth a warning: most nodes do
    /// not have it.
    fn awaits_driver(self) -> bool {
        match self {
            Self::DriverTracepoint { category, name } => !xid::is_there(category, name),
            _ => false,
        }
    }
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
    /// Loaded only where this other program does not run, and then does its work.
    pub stands_in_for: Option<&'static str>,
    /// Loaded only where these other programs run, which come before it.
    pub after: &'static [&'static str],
    /// Controller of cgroup v2 without which the program would see nothing.
    pub controller: Option<&'static str>,
    /// Loaded only where task storage is in use and allocated this way.
    pub only_with: Option<Allocation>,
}

impl ProgramSpec {
    /// One that the agent cannot do without.
    const fn required(name: &'static str, hook: Hook) -> Self {
        Self {
            required: true,
            ..Self::optional(name, hook, "")
        }
    }

    /// One that is off where it cannot be loaded; `fallback` says what that means.
    const fn optional(name: &'static str, hook: Hook, fallback: &'static str) -> Self {
        Self {
            name,
            hook,
            required: false,
            fallback,
            stands_in_for: None,
            after: &[],
            controller: None,
            only_with: None,
        }
    }
}

use Hook::{
    DriverTracepoint, FunctionEntry, FunctionExit, Iterator, OnDemand, SleepableIterator,
    Tracepoint,
};

/// Every program of the object. Tests compare the list with the object.
pub const PROGRAMS: &[ProgramSpec] = &[
    ProgramSpec::required(name::SELF_CHECK, Iterator("task")),
    // Scheduler and processes.
    ProgramSpec::required(name::SCHED_SWITCH, Tracepoint("sched_switch")),
    ProgramSpec::required(name::TASK_NEWTASK, Tracepoint("task_newtask")),
    ProgramSpec::required(name::SCHED_WAKEUP_NEW, Tracepoint("sched_wakeup_new")),
    ProgramSpec::required(name::SCHED_PROCESS_EXEC, Tracepoint("sched_process_exec")),
    ProgramSpec::required(name::SCHED_PROCESS_EXIT, Tracepoint("sched_process_exit")),
    ProgramSpec::required(name::CENSUS, Iterator("task")),
    ProgramSpec::optional(
        name::SETTLE_RUNNING,
        OnDemand,
        "the CPU time of a thread is counted when it is switched out, not while it runs",
    ),
    ProgramSpec {
        only_with: Some(Allocation::BeforeTheLock),
        ..ProgramSpec::required(name::ENROL_THREADS, SleepableIterator("task"))
    },
    // Cgroups.
    ProgramSpec::optional(
        name::CGROUP_MKDIR,
        Tracepoint("cgroup_mkdir"),
        "new sessions are found by scanning the hierarchy every second",
    ),
    ProgramSpec::optional(
        name::CGROUP_RMDIR,
        Tracepoint("cgroup_rmdir"),
        "ended sessions are found by scanning the hierarchy every second",
    ),
    ProgramSpec::optional(
        name::CGROUP_ATTACH_TASK,
        Tracepoint("cgroup_attach_task"),
        "the first process of a session is stamped only when it is born there, and all threads are walked for a hundredth of the time to find those that have moved",
    ),
    // TCP.
    ProgramSpec::optional(
        name::INET_SOCK_SET_STATE,
        Tracepoint("inet_sock_set_state"),
        "TCP connections are not measured",
    ),
    // The second program of a tracepoint is called after the first: the kernel keeps their order.
    ProgramSpec {
        after: &[name::INET_SOCK_SET_STATE],
        ..ProgramSpec::optional(
            name::INET_SOCK_SET_STATE_AGAIN,
            Tracepoint("inet_sock_set_state"),
            "a change of state that comes while another is being counted on that CPU is not counted",
        )
    },
    ProgramSpec::optional(
        name::TCP_DESTROY_SOCK,
        Tracepoint("tcp_destroy_sock"),
        "TCP bytes are counted when a connection closes; there are no round-trip times",
    ),
    ProgramSpec {
        after: &[name::TCP_DESTROY_SOCK],
        ..ProgramSpec::optional(
            name::TCP_DESTROY_SOCK_AGAIN,
            Tracepoint("tcp_destroy_sock"),
            "a connection that is destroyed while another is, on that CPU, keeps its place",
        )
    },
    ProgramSpec::optional(
        name::CONNECTIONS,
        OnDemand,
        "TCP bytes are counted when a connection closes; there are no round-trip times",
    ),
    ProgramSpec::optional(
        name::OPEN_SOCKETS,
        Iterator("task_file"),
        "connections that are older than their session's adoption are measured when they close",
    ),
    ProgramSpec::optional(
        name::TCP_RECEIVE_RESET,
        Tracepoint("tcp_receive_reset"),
        "resets received are not counted",
    ),
    ProgramSpec::optional(
        name::TCP_SEND_RESET,
        Tracepoint("tcp_send_reset"),
        "resets sent are not counted",
    ),
    // UDP, and what is sent and taken on marked sockets.
    ProgramSpec::optional(
        name::SOCK_SEND_LENGTH,
        Tracepoint("sock_send_length"),
        "before Linux 6.3 the functions udp_sendmsg and udpv6_sendmsg are hooked",
    ),
    ProgramSpec::optional(
        name::SOCK_RECV_LENGTH,
        Tracepoint("sock_recv_length"),
        "before Linux 6.3 the function skb_consume_udp is hooked",
    ),
    ProgramSpec {
        stands_in_for: Some(name::SOCK_SEND_LENGTH),
        ..ProgramSpec::optional(
            name::UDP_SENDMSG,
            FunctionExit("udp_sendmsg"),
            "UDP is not measured",
        )
    },
    ProgramSpec {
        stands_in_for: Some(name::SOCK_SEND_LENGTH),
        ..ProgramSpec::optional(
            name::UDPV6_SENDMSG,
            FunctionExit("udpv6_sendmsg"),
            "UDP sent over IPv6 is not counted",
        )
    },
    ProgramSpec {
        stands_in_for: Some(name::SOCK_RECV_LENGTH),
        ..ProgramSpec::optional(
            name::SKB_CONSUME_UDP,
            FunctionEntry("skb_consume_udp"),
            "UDP is not measured",
        )
    },
    ProgramSpec::optional(
        name::UDP_FAIL_QUEUE_RCV_SKB,
        Tracepoint("udp_fail_queue_rcv_skb"),
        "UDP drops are not counted",
    ),
    // Input.
    ProgramSpec {
        after: &[name::SOCK_SEND_LENGTH, name::SOCK_RECV_LENGTH],
        ..ProgramSpec::optional(
            name::SK_DATA_READY,
            Tracepoint("sk_data_ready"),
            "input delay, response time and unresponsive applications are not measured (before Linux 6.3)",
        )
    },
    // After the one that enters the connection.
    ProgramSpec {
        after: &[name::SK_DATA_READY],
        ..ProgramSpec::optional(
            name::CLIENT_CONNECTS,
            Tracepoint("inet_sock_set_state"),
            "input at the connections of clients is not measured",
        )
    },
    ProgramSpec {
        after: &[name::SK_DATA_READY],
        ..ProgramSpec::optional(
            name::MARK_OPEN_SOCKETS,
            Iterator("task_file"),
            "input is measured at connections that are made from now on",
        )
    },
    ProgramSpec {
        after: &[name::SK_DATA_READY],
        ..ProgramSpec::optional(
            name::MARKED_SOCKETS,
            Iterator("bpf_sk_storage_map"),
            "the open files of all processes are walked for the sockets at which input is measured",
        )
    },
    ProgramSpec {
        after: &[name::SK_DATA_READY],
        stands_in_for: Some(name::MARKED_SOCKETS),
        ..ProgramSpec::optional(
            name::MARKED_OPEN_SOCKETS,
            Iterator("task_file"),
            "unresponsive applications are not found, and an input that is not answered is counted when the next one comes",
        )
    },
    // Disk.
    ProgramSpec {
        controller: Some("io"),
        ..ProgramSpec::optional(
            name::BLOCK_RQ_COMPLETE,
            Tracepoint("block_rq_complete"),
            "block I/O is not measured",
        )
    },
    // Memory.
    ProgramSpec::optional(
        name::RECLAIM_BEGIN,
        Tracepoint("mm_vmscan_direct_reclaim_begin"),
        "stalls because the node is out of memory are not measured",
    ),
    ProgramSpec::optional(
        name::RECLAIM_END,
        Tracepoint("mm_vmscan_direct_reclaim_end"),
        "stalls because the node is out of memory are not measured",
    ),
    ProgramSpec::optional(
        name::CGROUP_RECLAIM_BEGIN,
        Tracepoint("mm_vmscan_memcg_reclaim_begin"),
        "stalls at the memory limit of a cgroup are not measured",
    ),
    ProgramSpec::optional(
        name::CGROUP_RECLAIM_END,
        Tracepoint("mm_vmscan_memcg_reclaim_end"),
        "stalls at the memory limit of a cgroup are not measured",
    ),
    // GPUs.
    ProgramSpec::optional(
        name::NVIDIA_DEV_XID,
        DriverTracepoint {
            category: "nvidia",
            name: "nvidia_dev_xid",
        },
        "Xid errors are read as NVML events",
    ),
];

/// Whether a program, or one that stands in for it, runs.
pub fn is_up(statuses: &[ProgramStatus], program: &str) -> bool {
    statuses.iter().any(|status| {
        status.up && (status.name == program || status.stands_in_for == Some(program))
    })
}

/// How a program is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramStatus {
    /// Name in the object.
    pub name: &'static str,
    /// Whether the agent refuses to run without it.
    pub required: bool,
    /// Whose work it does, when it stands in for another.
    pub stands_in_for: Option<&'static str>,
    /// Loaded and attached.
    pub up: bool,
    /// Why not, of a closed list.
    pub code: Option<OffCode>,
    /// Why not.
    pub reason: Option<String>,
    /// Times that it was passed over because it was running on that CPU already; from 7.0 on that is when it
    /// was preempted.
    pub missed: Option<u64>,
    /// Instructions that the verifier walked to let it pass; it refuses a program at a million
    /// (`BPF_COMPLEXITY_LIMIT_INSNS`, `include/linux/bpf_verifier.h`). Absent before 5.16.
    pub verified_instructions: Option<u32>,
    /// Runs since BPF statistics were turned on; absent while they are off.
    pub runs: Option<u64>,
    /// Seconds in the program since then.
    pub seconds: Option<f64>,
}

/// A program on its hook; dropping it takes it off.
#[expect(dead_code, reason = "held for its drop")]
pub(super) enum Link {
    Tracepoint(BtfTracePointLink),
    Entry(FEntryLink),
    Exit(FExitLink),
}

/// The programs that are on their hooks. Those of drivers stay with the programs.
pub(super) type Links = Vec<Link>;

/// Puts the loaded programs on their hooks again, after their links have been dropped.
pub(super) fn attach_again(ebpf: &mut Ebpf, statuses: &[ProgramStatus]) -> Result<Links, Error> {
    let mut links = Links::new();
    let is_up = |spec: &&ProgramSpec| statuses.iter().any(|s| s.up && s.name == spec.name);
    for spec in PROGRAMS.iter().filter(is_up) {
        let link = put_on_hook(ebpf, spec).map_err(|reason| Error::Program {
            name: spec.name.to_owned(),
            reason: one_line(reason.as_ref()),
        })?;
        links.extend(link);
    }
    Ok(links)
}

/// Loads and attaches every program. A required one that fails is an error; one whose controller is not
/// among `controllers` is not tried, and neither is a stand-in for one that runs, nor one for another way to
/// allocate task storage than `allocation`.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    controllers: &[String],
    allocation: Option<Allocation>,
) -> Result<(Vec<ProgramStatus>, Links), Error> {
    let mut statuses = Vec::new();
    let mut links = Links::new();
    for spec in PROGRAMS {
        if spec.only_with.is_some() && spec.only_with != allocation {
            continue;
        }
        if spec
            .stands_in_for
            .is_some_and(|other| is_up(&statuses, other) && !stands_beside(&statuses, other))
        {
            continue;
        }
        let missing = spec
            .controller
            .filter(|wanted| !controllers.iter().any(|there| there == wanted));
        let result = if let Some(controller) = missing {
            let reason = format!("the {controller} controller is not in the cgroup v2 hierarchy");
            Err((OffCode::NoController, reason))
        } else if let Some(off) = spec
            .after
            .iter()
            .find_map(|other| goes_without(&statuses, other))
        {
            Err(off)
        } else {
            attach(ebpf, btf, spec).map_err(|error| why(spec, error.as_ref()))
        };
        let (link, off) = match result {
            Ok(link) => (link, None),
            Err(off) => (None, Some(off)),
        };
        let (code, reason) = off.unzip();
        links.extend(link);
        if let Some(reason) = &reason {
            if spec.required {
                return Err(Error::Program {
                    name: spec.name.to_owned(),
                    reason: reason.clone(),
                });
            }
            say_off(spec, reason);
        }
        statuses.push(ProgramStatus {
            name: spec.name,
            required: spec.required,
            stands_in_for: spec.stands_in_for,
            up: reason.is_none(),
            code,
            reason,
            missed: None,
            verified_instructions: None,
            runs: None,
            seconds: None,
        });
    }
    Ok((statuses, links))
}

/// Attaches the programs of drivers that have been loaded since, and says whether there was one. For a
/// driver that is not there this costs two `stat`s.
pub(super) fn attach_drivers(ebpf: &mut Ebpf, statuses: &mut [ProgramStatus]) -> bool {
    let mut any = false;
    for status in statuses.iter_mut().filter(|status| !status.up) {
        let Some(spec) = PROGRAMS.iter().find(|spec| spec.name == status.name) else {
            continue;
        };
        let DriverTracepoint { category, name } = spec.hook else {
            continue;
        };
        if !xid::is_there(category, name) {
            continue;
        }
        let result = xid::attach(ebpf, spec.name, category, name);
        let off = result.err().map(|error| why(spec, error.as_ref()));
        let (code, reason) = off.unzip();
        match &reason {
            None => {
                log_event!(ProgramOn, program = spec.name);
                any = true;
            }
            Some(new) if status.reason.as_ref() != Some(new) => say_off(spec, new),
            Some(_) => {}
        }
        status.up = reason.is_none();
        (status.code, status.reason) = (code, reason);
    }
    any
}

/// Why a program does not run: for alerts, and for people.
fn why(spec: &ProgramSpec, error: &(dyn std::error::Error + 'static)) -> (OffCode, String) {
    let code = match OffCode::of(error) {
        OffCode::Other | OffCode::NoHook if spec.hook.awaits_driver() => OffCode::NoDriver,
        code => code,
    };
    (code, one_line(error))
}

/// Why one that is wanted only where another runs is off: for the reason that the other has.
fn goes_without(statuses: &[ProgramStatus], other: &str) -> Option<(OffCode, String)> {
    let off = statuses
        .iter()
        .find(|status| status.name == other && !status.up)?;
    let reason = format!("{other}, without which it has nothing to do, is off");
    Some((off.code.unwrap_or(OffCode::Other), reason))
}

/// Logs that a program is off, and what that means.
fn say_off(spec: &ProgramSpec, reason: &str) {
    let (program, fallback) = (spec.name, spec.fallback);
    if spec.hook.awaits_driver() {
        log_event!(ProgramAwaitsDriver, program, reason, fallback);
    } else {
        log_event!(ProgramOff, program, reason, fallback);
    }
}

/// Whether the work of a program is done by stand-ins: then all of them are wanted.
fn stands_beside(statuses: &[ProgramStatus], program: &str) -> bool {
    statuses
        .iter()
        .any(|status| status.stands_in_for == Some(program))
}

/// Loads a program and puts it on its hook, if it has one that is held by a link.
fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    spec: &ProgramSpec,
) -> Result<Option<Link>, Box<dyn std::error::Error>> {
    let program = program(ebpf, spec)?;
    match spec.hook {
        Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, btf)?,
        FunctionEntry(name) => <&mut FEntry>::try_from(program)?.load(name, btf)?,
        FunctionExit(name) => <&mut FExit>::try_from(program)?.load(name, btf)?,
        // Attached each time it is run.
        Iterator(name) | SleepableIterator(name) => {
            <&mut Iter>::try_from(program)?.load(name, btf)?;
        }
        OnDemand => <&mut RawTracePoint>::try_from(program)?.load()?,
        DriverTracepoint { category, name } => xid::attach(ebpf, spec.name, category, name)?,
    }
    put_on_hook(ebpf, spec)
}

fn put_on_hook(
    ebpf: &mut Ebpf,
    spec: &ProgramSpec,
) -> Result<Option<Link>, Box<dyn std::error::Error>> {
    let program = program(ebpf, spec)?;
    Ok(match spec.hook {
        Tracepoint(_) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            let link = program.attach()?;
            Some(Link::Tracepoint(program.take_link(link)?))
        }
        FunctionEntry(_) => {
            let program: &mut FEntry = program.try_into()?;
            let link = program.attach()?;
            Some(Link::Entry(program.take_link(link)?))
        }
        FunctionExit(_) => {
            let program: &mut FExit = program.try_into()?;
            let link = program.attach()?;
            Some(Link::Exit(program.take_link(link)?))
        }
        Iterator(_) | SleepableIterator(_) | OnDemand | DriverTracepoint { .. } => None,
    })
}

fn program<'a>(ebpf: &'a mut Ebpf, spec: &ProgramSpec) -> Result<&'a mut Program, String> {
    ebpf.program_mut(spec.name)
        .ok_or_else(|| format!("no program {} in the object", spec.name))
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
    fn a_stand_in_comes_after_the_program_that_it_stands_in_for() {
        for (position, spec) in PROGRAMS.iter().enumerate() {
            if let Some(other) = spec.stands_in_for {
                let found = PROGRAMS[..position].iter().any(|p| p.name == other);
                assert!(found, "{}: {other}", spec.name);
            }
        }
    }

    #[test]
    fn a_verifier_log_becomes_one_line() {
        let log = "load failed\n0: R1=ctx\n1: (79) r1\ninvalid mem access\nstack depth 0\nprocessed 2 insns";
        let error: Box<dyn std::error::Error> = log.into();
        assert_eq!(one_line(error.as_ref()), "load failed … invalid mem access");
    }
}
