//! THE list of what the log says. A new event is a row here; the reference (`docs/log.md`) derives from it, and nothing
//! else can be logged: [`log_event`] takes a row, and the macros of `tracing` are refused by clippy everywhere else.

use tracing::{Level, field::DisplayValue};

use super::trace_id::TraceId;

/// How an event gets into the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Not at all.
    No,
    /// Whoever keeps such a log wants it.
    Always,
    /// If `log.audit_processes` is `failed` or `all`.
    OfProcesses,
    /// If `log.audit_processes` is `all`.
    OfExecs,
}

/// Fields that say which session an event is of, in the order in which they stand.
pub const SUBJECT: [&str; 6] = [
    "session",
    "namespace",
    "template",
    "pod",
    "pod_uid",
    "trace_id",
];

/// What an event is, but for its name.
#[derive(Debug)]
struct Row {
    level: Level,
    message: &'static str,
    /// Whether it says which session it is of.
    is_of_session: bool,
    fields: &'static [&'static str],
    audit: Audit,
    about: &'static str,
}

/// `true` if a token was given.
macro_rules! given {
    () => {
        false
    };
    ($token:tt) => {
        true
    };
}

/// The audit of a row; none unless it says one.
macro_rules! audit {
    () => {
        Audit::No
    };
    ($audit:ident) => {
        Audit::$audit
    };
}

/// Declares the events: `Member = "name", LEVEL, "message", [fields];`, with `of_session` before the fields of one that is of a
/// session, and with `audit` behind them. The comment is what the reference says.
macro_rules! events {
    ($(
        #[doc = $about:literal]
        $Member:ident = $name:literal, $LEVEL:ident, $message:literal,
        $($of_session:ident)? [$($field:ident),* $(,)?] $(, audit $audit:ident)?;
    )+) => {
        /// An event of the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Event {
            $(#[doc = $about] $Member,)+
        }

        impl Event {
            /// Every event, in the order of the reference.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$Member),+];

            /// Its name: what the field `event` has.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Member => $name,)+
                }
            }

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$Member => &Row {
                        level: Level::$LEVEL,
                        message: $message,
                        is_of_session: given!($($of_session)?),
                        fields: &[$(stringify!($field)),*],
                        audit: audit!($($audit)?),
                        about: $about,
                    },)+
                }
            }
        }
    };
}

events! {
    /// The agent takes requests there.
    Listening = "listening", INFO, "listening", [address], audit Always;
    /// It answers more than this machine, and asks nobody who they are. Shut the door or keep others from the port.
    OpenToAll = "open_to_all", WARN,
        "who reaches the port may read what is served: web.config_file, web.metrics_tokens and web.session_tokens \
         shut the door",
        [];
    /// It ends because it was asked to.
    Stopping = "stopping", INFO, "stopping", [signal], audit Always;
    /// Files of the configuration were read again, and are in effect.
    ConfigurationReloaded = "configuration_reloaded", INFO, "read again: in effect for what comes from now on",
        [files, rules], audit Always;
    /// Files of the configuration have changed, and something is wrong with them.
    ConfigurationRefused = "configuration_refused", ERROR, "not read again: what was in effect stays", [files, error],
        audit Always;
    /// Keys of the configuration file have changed that are read at the start alone.
    RestartWanted = "restart_wanted", WARN, "what else has changed takes a restart", [keys];
    /// What the agent must remember over a restart is there, and cannot be used.
    StateUnread = "state_unread", WARN,
        "sessions.state not read: what ended while the agent was away is not counted", [path, error];
    /// It cannot be kept.
    StateUnwritten = "state_unwritten", WARN,
        "sessions.state not written: what ends while the agent is away would not be counted; it is tried again",
        [path, error];
    /// It can be kept again.
    StateWritten = "state_written", INFO, "sessions.state written again", [path];
    /// The limit of open files could not be raised, so that fewer connections have room.
    OpenFilesLimited = "open_files_limited", WARN, "the limit of open files stays as it is", [error];

    /// What the agent may do from now on, of all that it could at its start.
    CapabilitiesGivenUp = "capabilities_given_up", INFO, "capabilities given up", [kept], audit Always;
    /// It may do more than it needs, because the system did not let it give that up.
    CapabilitiesKept = "capabilities_kept", WARN, "capabilities not given up", [reason], audit Always;

    /// A cgroup has become a session: it is measured from now on.
    SessionFound = "session_found", INFO, "session found", of_session [rule, slot];
    /// A session has labels of other values from now on.
    SessionRenamed = "session_renamed", INFO, "session renamed", of_session [before];
    /// Its last cgroup is gone.
    SessionEnded = "session_ended", INFO, "session ended", of_session [];
    /// Somebody has logged out ten seconds ago, and a process of the session is still there.
    SessionHeld = "session_held", INFO, "logged out, and a process holds the session", of_session [pid, command];
    /// There are as many sessions as may be measured.
    SessionLimitReached = "session_limit_reached", WARN, "session not measured: sessions.max_sessions is reached",
        of_session [limit];
    /// The kernel's map of cgroups takes no more.
    SessionUnmeasured = "session_unmeasured", ERROR, "session not measured", of_session [error];
    /// The same of a cgroup of a session.
    CgroupUnmeasured = "cgroup_unmeasured", ERROR, "cgroup not measured", [cgroup, error];
    /// The kernel's map has no room for a session within another one.
    CgroupWithAbove = "cgroup_with_above", ERROR, "cgroup measured with the session above", [cgroup, error];
    /// An administrator's rule fits a cgroup in a place where a tenant may make cgroups.
    RuleNotTrusted = "rule_not_trusted", WARN,
        "rule not applied to a cgroup that a tenant may have made: set trust = true in it if it is meant",
        [rule, cgroup];
    /// An administrator's rule takes no cgroup that is there when the rules come into effect.
    RuleUnused = "rule_unused", INFO,
        "rule takes no cgroup that is there now; `sessionscope rules test` says which rule takes which",
        [rule];
    /// What the agent has of a session and what the kernel has differ.
    FigureDiffers = "figure_differs", WARN, "a figure of a session is not what the kernel has",
        of_session [account, discrepancy];

    /// An application has not read its display for five seconds. A session has a line every ten seconds at most.
    ApplicationUnresponsive = "application_unresponsive", INFO, "an application does not respond",
        of_session [pid, command, why, standing];
    /// A process of a session was killed for want of memory.
    ProcessOomKilled = "process_oom_killed", INFO, "process killed by the out-of-memory killer",
        of_session [pid, command], audit OfProcesses;
    /// A process of a session was killed by a signal.
    ProcessKilled = "process_killed", INFO, "process killed by a signal", of_session [pid, command, signal],
        audit OfProcesses;
    /// A process of a session has ended with an exit code that is not 0.
    ProcessFailed = "process_failed", DEBUG, "process failed", of_session [pid, command, code], audit OfProcesses;
    /// More were killed than have lines of their own.
    ProcessesKilled = "processes_killed", INFO, "further processes were killed", of_session [processes],
        audit OfProcesses;
    /// More have failed than have lines of their own.
    ProcessesFailed = "processes_failed", DEBUG, "further processes failed", of_session [processes],
        audit OfProcesses;

    /// A process of a session has executed a program. It is told with `log.audit_processes = "all"` alone.
    ProcessExecuted = "process_executed", DEBUG, "program executed", of_session [pid, command], audit OfExecs;
    /// More were executed than have lines of their own.
    ProcessesExecuted = "processes_executed", DEBUG, "further programs were executed", of_session [processes],
        audit OfExecs;

    /// All programs that this kernel takes are on.
    ProgramsAttached = "programs_attached", INFO, "kernel programs attached", [store, allocation, programs, map_bytes];
    /// This kernel does not take a program: what takes its place, or what is not measured, is said.
    ProgramOff = "program_off", WARN, "program is off", [program, reason, fallback];
    /// A program waits for its driver to be loaded.
    ProgramAwaitsDriver = "program_awaits_driver", INFO, "program waits for its driver", [program, reason, fallback];
    /// The driver that a program waits for has been loaded.
    ProgramOn = "program_on", INFO, "program is on: the driver is loaded", [program];
    /// A structure of this kernel does not have a member; what is read from it is not measured, or read elsewhere.
    MemberAbsent = "member_absent", INFO, "kernel structure member absent", [member, reason];
    /// States of threads are not kept in this way on this kernel.
    StoreUnusable = "store_unusable", INFO, "state store not usable here", [store, error];
    /// `kernel.statistics` is set, and the kernel refuses it.
    StatisticsOff = "statistics_off", WARN, "BPF statistics stay off", [error];
    /// `kernel.debug_log` is set, and the programs' records cannot be read.
    DebugRecordsOff = "debug_records_off", WARN, "debug records of the programs are not available", [error];
    /// Events got lost because they came faster than they were read. What came of them is found by a scan.
    EventsLost = "events_lost", WARN, "events lost: scanning the hierarchy", [lost];
    /// Figures that the programs keep were not read this time.
    KernelUnread = "kernel_unread", WARN, "figures of the kernel programs not read", [what, error];
    /// What the programs must know was not written. Figures may be of another session than they say.
    KernelUnwritten = "kernel_unwritten", ERROR, "what the kernel programs must know is not written",
        [what, slot, error];
    /// Threads have higher pids than there is room for.
    PidMaxRaised = "pid_max_raised", ERROR,
        "kernel.pid_max has been raised: threads with higher pids are not measured; restart the agent",
        [at_start, now];
    /// A step of the kernel side takes its slower way.
    KernelDetail = "kernel_detail", DEBUG, "a step of the kernel side takes another way", [what, cpu, error];

    /// The cgroup hierarchy could not be walked. What was known stays.
    ScanFailed = "scan_failed", ERROR, "scan of the cgroup hierarchy failed", [error];
    /// Some cgroups could not be read.
    CgroupsUnread = "cgroups_unread", WARN, "cgroups not read: what was known below them stays",
        [cgroup, cgroups, error];

    /// A platform answers.
    PlatformAnswers = "platform_answers", INFO, "platform answers", [source, runtime];
    /// A platform that has answered does not any more.
    PlatformLost = "platform_lost", WARN, "platform does not answer any more", [source, reason];
    /// A platform does not answer, and has not before: it may not be there.
    PlatformAbsent = "platform_absent", INFO, "platform does not answer", [source, runtime, reason];
    /// The pods of the node are known.
    PodsListed = "pods_listed", INFO, "pods of the node listed", [node, pods];
    /// What a platform says of one session cannot be used.
    DescriptionRefused = "description_refused", WARN, "a session keeps the name of its cgroup",
        [source, file, container, reason, remedy];
    /// An answer of a platform was left out or asked for anew. The next comparison makes up for it.
    PlatformDetail = "platform_detail", DEBUG, "an answer of a platform is not used", [source, what, reason];

    /// NVIDIA's driver is asked.
    DriverInitialised = "driver_initialised", INFO, "NVIDIA driver initialised", [library];
    /// GPUs are not measured.
    GpusUnmeasured = "gpus_unmeasured", INFO, "GPUs are not measured", [reason];
    /// A library of the driver's is passed over.
    LibraryUnusable = "library_unusable", DEBUG, "a library of the driver is not usable", [library, reason];
    /// The processes that the driver names are not those of the node.
    ForeignPidNamespace = "foreign_pid_namespace", WARN,
        "not in the host's pid namespace: processes on GPUs cannot be told (hostPID)", [];
    /// Which process an Xid error is of cannot be told.
    KernelLogOff = "kernel_log_off", INFO, "Xid errors are charged to no process", [reason];
    /// It cannot be told any more.
    KernelLogLost = "kernel_log_lost", WARN, "kernel log not read any more", [path, error];
    /// A GPU that is there cannot be opened.
    GpuUnopened = "gpu_unopened", WARN, "GPU cannot be opened", [gpu, reason];
    /// A GPU does not answer any more.
    GpuDown = "gpu_down", WARN, "GPU is down", [gpu, reason];
    /// The driver has no figures of that kind for this GPU.
    UtilisationUnknown = "utilisation_unknown", INFO,
        "the driver does not account utilisation by process on this GPU", [gpu, mig];
    /// One call is not answered by this driver or for this GPU.
    DriverNoAnswer = "driver_no_answer", DEBUG, "no answer from the driver", [function, parameter, error];
    /// The driver has a fault that could have damaged the agent.
    DriverOverran = "driver_overran", ERROR,
        "the NVIDIA driver has written past the room that it was told of: version 3 of its lists is not used",
        [function, room, count, entry_bytes];
    /// A GPU that slept is in use.
    GpuWoken = "gpu_woken", INFO, "a GPU has been woken", [];
    /// The driver is let go, so that the GPUs can sleep.
    DriverLetGo = "driver_let_go", INFO, "nobody uses a GPU: the NVIDIA driver is let go", [];
    /// The GPUs do not sleep although the agent has let them go.
    GpusHeld = "gpus_held", INFO, "the GPUs are not suspended: somebody else holds them", [];
    /// The driver has reported an error of a GPU.
    GpuXid = "gpu_xid", WARN, "Xid error of a GPU", [gpu, pci, code, text];
    /// The driver blames a process for an error of a GPU.
    ProcessXid = "process_xid", WARN, "Xid error of a process", of_session [pci, code, pid, command];

    /// Somebody asked for what they may not have.
    AccessRefused = "access_refused", DEBUG, "access refused", [peer, method, path, status, auth, reason],
        audit Always;
    /// The file of a socket stays behind.
    SocketLeft = "socket_left", WARN, "socket not removed", [path, error];
    /// More was refused to one client than has lines of its own.
    AccessesRefused = "accesses_refused", DEBUG, "further requests were refused", [peer, requests], audit Always;
    /// The file of the audit log does not take a line; it is tried again each second.
    AuditUnwritten = "audit_unwritten", WARN, "audit log not written", [error];
    /// It takes them again.
    AuditWritten = "audit_written", INFO, "audit log written again", [];
    /// A connection was not taken.
    ConnectionRefused = "connection_refused", WARN, "connection not accepted", [error];
    /// A connection has ended before its request was answered.
    ConnectionFailed = "connection_failed", DEBUG, "connection ended", [what, error];
    /// The collector of traces does not take what is sent; it is asked again.
    CollectorAway = "collector_away", WARN, "the collector of traces does not answer", [error];
    /// It takes it again.
    CollectorAnswers = "collector_answers", INFO, "the collector of traces answers", [];
    /// An answer could not be made.
    AnswerFailed = "answer_failed", ERROR, "answer not made", [what, error];
}

/// What a line has as `event` that is not the agent's but of a library that it is built of.
pub(super) const OF_LIBRARY: &str = "library";

impl Event {
    /// How urgent it is: the field `level`.
    pub const fn level(self) -> Level {
        self.row().level
    }

    /// What it says to a person.
    pub const fn message(self) -> &'static str {
        self.row().message
    }

    /// Whether the fields of a session are there, those that are known.
    pub const fn is_of_session(self) -> bool {
        self.row().is_of_session
    }

    /// Its own fields. One that is not known is absent.
    pub const fn fields(self) -> &'static [&'static str] {
        self.row().fields
    }

    /// How it gets into the audit log.
    pub const fn audit(self) -> Audit {
        self.row().audit
    }

    /// What the reference says.
    pub const fn about(self) -> &'static str {
        self.row().about
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Whether it has all of these fields, as [`log_event`] asks when the agent is compiled.
    pub const fn has(self, wanted: &[&str]) -> bool {
        let mut at = 0;
        while at < wanted.len() {
            if !is_one_of(wanted[at], self.fields()) {
                return false;
            }
            at += 1;
        }
        true
    }
}

const fn is_one_of(wanted: &str, names: &[&str]) -> bool {
    let mut at = 0;
    while at < names.len() {
        if are_equal(wanted.as_bytes(), names[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn are_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Which session an event is of: what of it is known.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    /// Its name.
    pub session: Option<&'a str>,
    /// Its namespace.
    pub namespace: Option<&'a str>,
    /// What it was made from.
    pub template: Option<&'a str>,
    /// The name of its pod.
    pub pod: Option<&'a str>,
    /// The uid of its pod.
    pub pod_uid: Option<&'a str>,
    /// The id of its trace.
    pub trace_id: Option<DisplayValue<TraceId>>,
}

impl<'a, T> From<Option<T>> for Subject<'a>
where
    T: Into<Subject<'a>>,
{
    fn from(subject: Option<T>) -> Self {
        subject.map(Into::into).unwrap_or_default()
    }
}

/// Logs an event of the list: its row, `of = ` the session if it is of one, and fields as `name = value`, `name = %shown`, or
/// the name alone where it is that of a variable. A field that the row does not have does not compile.
macro_rules! log_event {
    ($Event:ident, of = $subject:expr $(, $($fields:tt)*)?) => {{
        const {
            assert!($crate::telemetry::Event::$Event.is_of_session(), "the event is not of a session");
        }
        let subject = $crate::telemetry::Subject::from($subject);
        $crate::telemetry::log_event!(@take $Event [] [
            session = subject.session,
            namespace = subject.namespace,
            template = subject.template,
            pod = subject.pod,
            pod_uid = subject.pod_uid,
            trace_id = subject.trace_id,
        ] $($($fields)*)?)
    }};
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] $(,)?) => {{
        const EVENT: $crate::telemetry::Event = $crate::telemetry::Event::$Event;
        const {
            assert!(EVENT.has(&[$(stringify!($name)),*]), "the event does not have this field");
        }
        ::tracing::event!(
            name: EVENT.name(),
            target: ::core::module_path!(),
            EVENT.level(),
            { $($taken)* },
            "{}",
            EVENT.message()
        );
    }};
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] % $field:ident $(, $($rest:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [$($name)* $field] [$($taken)* $field = %$field,] $($($rest)*)?)
    };
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] $field:ident = % $value:expr $(, $($rest:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [$($name)* $field] [$($taken)* $field = %$value,] $($($rest)*)?)
    };
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] $field:ident = ? $value:expr $(, $($rest:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [$($name)* $field] [$($taken)* $field = ?$value,] $($($rest)*)?)
    };
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] $field:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [$($name)* $field] [$($taken)* $field = $value,] $($($rest)*)?)
    };
    (@take $Event:ident [$($name:ident)*] [$($taken:tt)*] $field:ident $(, $($rest:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [$($name)* $field] [$($taken)* $field = $field,] $($($rest)*)?)
    };
    ($Event:ident $(, $($fields:tt)*)?) => {
        $crate::telemetry::log_event!(@take $Event [] [] $($($fields)*)?)
    };
}
pub(crate) use log_event;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Event, OF_LIBRARY, SUBJECT};

    /// What a line has of every event.
    const ALWAYS: [&str; 5] = ["ts", "level", "target", "event", "message"];

    #[test]
    fn names_are_unique_and_of_one_form() {
        let names: BTreeSet<_> = Event::ALL.map(Event::name).into_iter().collect();
        assert_eq!(names.len(), Event::ALL.len());
        assert!(!names.contains(OF_LIBRARY));
        for name in names {
            assert!(
                name.bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase()),
                "{name}"
            );
        }
    }

    #[test]
    fn no_field_has_the_name_of_another() {
        for event in Event::ALL {
            let mut seen: BTreeSet<&str> = ALWAYS.into_iter().chain(SUBJECT).collect();
            for field in event.fields() {
                assert!(seen.insert(field), "{}: {field}", event.name());
            }
        }
    }

    #[test]
    fn a_message_says_the_same_of_one_event_alone() {
        let messages: BTreeSet<_> = Event::ALL.map(Event::message).into_iter().collect();
        assert_eq!(messages.len(), Event::ALL.len());
    }

    #[test]
    fn a_field_that_an_event_does_not_have_is_told() {
        assert!(Event::SessionFound.has(&["rule", "slot"]));
        assert!(Event::SessionFound.has(&[]));
        assert!(!Event::SessionFound.has(&["rule", "slots"]));
        assert!(!Event::SessionFound.has(&["slo"]));
    }
}
