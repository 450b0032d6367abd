//! The rows of the list of keys.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{FOREVER, Field, Key};
use crate::{
    config::{ClassicBuckets, LogFormat, TaskState, UserPolicy, Watch},
    discover::selector::Selector,
    logging,
};

/// All keys, grouped by table; those without a table come first, as TOML wants it.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        flag: Some("--listen"),
        doc: "Address and port on which /metrics, the status page and the health checks are served.",
        field: Field::Text {
            form: "address:port",
            get: |config| Some(config.listen.to_string()),
            set: |config, text| {
                config.listen = text.parse::<SocketAddr>().map_err(|_| {
                    format!("expected address:port such as \"127.0.0.1:9709\" or \"[::]:9709\", found \"{text}\"")
                })?;
                Ok(())
            },
        },
    },
    Key {
        path: "log.format",
        flag: Some("--log-format"),
        doc: "Form of the log on stderr: text, or one JSON object a line.",
        field: Field::Text {
            form: "`text` or `json`",
            get: |config| Some(config.log.format.name().to_owned()),
            set: |config, text| {
                config.log.format = choose(text, &LogFormat::ALL, LogFormat::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "log.level",
        flag: Some("--log-level"),
        doc: "Least level that is logged: off, error, warn, info, debug or trace; modules apart as in \"info,sessionscope::kernel=debug\".",
        field: Field::Text {
            form: "level, or target=level pairs",
            get: |config| Some(config.log.level.clone()),
            set: |config, text| {
                logging::filter(text)?;
                text.clone_into(&mut config.log.level);
                Ok(())
            },
        },
    },
    Key {
        path: "sessions.max_sessions",
        flag: Some("--max-sessions"),
        doc: "Most sessions measured at once. The kernel maps are sized by it; sessions beyond it are counted, not measured.",
        field: Field::Integer {
            range: 1..=4096,
            get: |config| config.sessions.max_sessions,
            set: |config, value| config.sessions.max_sessions = value,
        },
    },
    Key {
        path: "sessions.linger",
        flag: Some("--linger"),
        doc: "How long an ended session's series stay, so that its last values are scraped. At least two scrape intervals.",
        field: Field::Duration {
            range: Duration::from_secs(1)..=FOREVER,
            get: |config| config.sessions.linger,
            set: |config, value| config.sessions.linger = value,
        },
    },
    Key {
        path: "sessions.idle_after",
        flag: None,
        doc: "How long a session must go without data from a client, GPU use and more than 5 % of a CPU to be idle.",
        field: Field::Duration {
            range: Duration::from_secs(1)..=FOREVER,
            get: |config| config.sessions.idle_after,
            set: |config, value| config.sessions.idle_after = value,
        },
    },
    Key {
        path: "sessions.state",
        flag: None,
        doc: "File in which the living sessions are kept, so that those that end while the agent is away are counted when it is back. One for each agent; in memory is enough.",
        field: Field::Text {
            form: "absolute path",
            get: |config| Some(path_text(&config.sessions.state)),
            set: |config, text| {
                config.sessions.state = absolute(text)?;
                Ok(())
            },
        },
    },
    Key {
        path: "sessions.builtin_rules",
        flag: None,
        doc: "Recognise the cgroups of the common runtimes (see the table of built-in rules) after the configured rules.",
        field: Field::Boolean {
            get: |config| config.sessions.builtin_rules,
            set: |config, value| config.sessions.builtin_rules = value,
        },
    },
    Key {
        path: "sessions.user",
        flag: None,
        doc: "What vdi_session_info says of who uses a session: nothing, a keyed hash that tells users apart without naming them, or the name.",
        field: Field::Text {
            form: "`off`, `hashed` or `plain`",
            get: |config| Some(config.sessions.user.name().to_owned()),
            set: |config, text| {
                config.sessions.user = choose(text, &UserPolicy::ALL, UserPolicy::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "sessions.user_key",
        flag: None,
        doc: "File with the key of sessions.user = \"hashed\", 16 bytes or more; the same on every node, so that a user has one hash.",
        field: Field::Text {
            form: "absolute path",
            get: |config| {
                config
                    .sessions
                    .user_key
                    .as_ref()
                    .map(|path| path_text(path))
            },
            set: |config, text| {
                config.sessions.user_key = Some(absolute(text)?);
                Ok(())
            },
        },
    },
    Key {
        path: "sampling.period",
        flag: None,
        doc: "How often what has no event is sampled.",
        field: Field::Duration {
            range: Duration::from_millis(200)..=Duration::from_mins(1),
            get: |config| config.sampling.period,
            set: |config, value| config.sampling.period = value,
        },
    },
    Key {
        path: "sampling.rescan",
        flag: None,
        doc: "How often the cgroup tree is walked in full, to find what an event was lost for.",
        field: Field::Duration {
            range: Duration::from_secs(1)..=FOREVER,
            get: |config| config.sampling.rescan,
            set: |config, value| config.sampling.rescan = value,
        },
    },
    Key {
        path: "sampling.accounts",
        flag: None,
        doc: "How often the kernel's own accounts of each session's cgroup are read: memory, throttled time, pressure. A reading costs about 0.1 ms a session.",
        field: Field::Duration {
            range: Duration::from_millis(200)..=Duration::from_mins(10),
            get: |config| config.sampling.accounts,
            set: |config, value| config.sampling.accounts = value,
        },
    },
    Key {
        path: "metrics.classic_buckets",
        flag: None,
        doc: "Classic buckets of the sessions' histograms: few, at the bounds that matter to each, or full, these and one at each power of four. Native histograms have all of them always.",
        field: Field::Text {
            form: "`few` or `full`",
            get: |config| Some(config.metrics.classic_buckets.name().to_owned()),
            set: |config, text| {
                config.metrics.classic_buckets =
                    choose(text, &ClassicBuckets::ALL, ClassicBuckets::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "metrics.max_series",
        flag: None,
        doc: "The most series of an exposition, counted in classic buckets. Beyond it optional families are left out, then the details of idle and young sessions; vdi_agent_series_dropped_total says which.",
        field: Field::Integer {
            range: 1_000..=10_000_000,
            get: |config| config.metrics.max_series,
            set: |config, value| config.metrics.max_series = value,
        },
    },
    Key {
        path: "metrics.max_templates",
        flag: None,
        doc: "The most different templates, each with its namespace, that the labels tell apart. Sessions of further ones are of the template overflow.",
        field: Field::Integer {
            range: 1..=10_000,
            get: |config| config.metrics.max_templates,
            set: |config, value| config.metrics.max_templates = value,
        },
    },
    Key {
        path: "api.hosts",
        flag: None,
        doc: "Names by which the sessions may be asked for over HTTP (/api and the page /) besides addresses, localhost and the node's own name: of a proxy, say. A request for another name is refused, so that no web page has its own name point here and reads them. /metrics and the health checks answer to every name.",
        field: Field::List {
            form: "host names",
            get: |config| config.api.hosts.clone(),
            set: |config, hosts| {
                if let Some(wrong) = hosts.iter().find(|host| !is_host_name(host)) {
                    return Err(format!(
                        "expected a host name without a port such as \"desks.example\", found \"{wrong}\""
                    ));
                }
                config.api.hosts = hosts;
                Ok(())
            },
        },
    },
    Key {
        path: "kernel.btf",
        flag: None,
        doc: "The kernel's type information.",
        field: Field::Text {
            form: "absolute path",
            get: |config| Some(path_text(&config.kernel.btf)),
            set: |config, text| {
                config.kernel.btf = absolute(text)?;
                Ok(())
            },
        },
    },
    Key {
        path: "kernel.cgroup_root",
        flag: None,
        doc: "Mount point of the cgroup v2 hierarchy. Without it, the one in /proc/self/mounts.",
        field: Field::Text {
            form: "absolute path",
            get: |config| {
                config
                    .kernel
                    .cgroup_root
                    .as_ref()
                    .map(|path| path_text(path))
            },
            set: |config, text| {
                config.kernel.cgroup_root = Some(absolute(text)?);
                Ok(())
            },
        },
    },
    Key {
        path: "kernel.task_state",
        flag: None,
        doc: "Where the programs keep their state of each thread: task storage, which follows the number of threads (a kernel that can create it without a lock: 5.18 and later), or an array indexed by pid, which takes 64 bytes for each of kernel.pid_max. By itself the agent takes the array up to a pid limit of 131,072, and beyond it where there is no such task storage.",
        field: Field::Text {
            form: "`auto`, `task-storage` or `pid-array`",
            get: |config| Some(config.kernel.task_state.name().to_owned()),
            set: |config, text| {
                config.kernel.task_state = choose(text, &TaskState::ALL, TaskState::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "kernel.debug_log",
        flag: None,
        doc: "Forward the log records of the kernel programs to the log.",
        field: Field::Boolean {
            get: |config| config.kernel.debug_log,
            set: |config, value| config.kernel.debug_log = value,
        },
    },
    Key {
        path: "kernel.statistics",
        flag: None,
        doc: "Turn on the kernel's run-time statistics of BPF programs while the agent runs. They cost about 60 ns a program run, for all programs of the node.",
        field: Field::Boolean {
            get: |config| config.kernel.statistics,
            set: |config, value| config.kernel.statistics = value,
        },
    },
    Key {
        path: "gpu.enabled",
        flag: None,
        doc: "Measure NVIDIA GPUs. Where there is none the agent says so once and looks again every minute.",
        field: Field::Boolean {
            get: |config| config.gpu.enabled,
            set: |config, value| config.gpu.enabled = value,
        },
    },
    Key {
        path: "gpu.library",
        flag: None,
        doc: "The driver's library libnvidia-ml.so.1. Without it, the usual places are searched, here and in the host's file system: the driver container, GKE's installer, the distributions' folders. It must be root's, with every folder and link on the way, and nobody else's to write: otherwise it is not loaded.",
        field: Field::Text {
            form: "absolute path",
            get: |config| config.gpu.library.as_ref().map(|path| path_text(path)),
            set: |config, text| {
                config.gpu.library = Some(absolute(text)?);
                Ok(())
            },
        },
    },
    Key {
        path: "gpu.period",
        flag: None,
        doc: "How often utilisation and memory are read. The driver keeps few utilisation samples: with more than 5s some are lost.",
        field: Field::Duration {
            range: Duration::from_millis(200)..=Duration::from_mins(10),
            get: |config| config.gpu.period,
            set: |config, value| config.gpu.period = value,
        },
    },
    Key {
        path: "gpu.streams",
        flag: None,
        doc: "How often encoder and frame-capture sessions are read; 0s never.",
        field: Field::Duration {
            range: Duration::ZERO..=Duration::from_mins(10),
            get: |config| config.gpu.streams,
            set: |config, value| config.gpu.streams = value,
        },
    },
    Key {
        path: "gpu.processes",
        flag: None,
        doc: "How often the processes on each GPU are listed, and its MIG instances; 0s never. A list was measured at 4.5 ms with the driver's global lock held, so not often; a change of the memory in use brings one reading forward.",
        field: Field::Duration {
            range: Duration::ZERO..=Duration::from_mins(10),
            get: |config| config.gpu.processes,
            set: |config, value| config.gpu.processes = value,
        },
    },
    Key {
        path: "gpu.health",
        flag: None,
        doc: "How often temperature, power, clocks, throttling and errors are read; 0s never.",
        field: Field::Duration {
            range: Duration::ZERO..=Duration::from_mins(10),
            get: |config| config.gpu.health,
            set: |config, value| config.gpu.health = value,
        },
    },
    Key {
        path: "gpu.pcie",
        flag: None,
        doc: "How often PCI Express throughput is measured; 0s never. The driver takes 20 ms for each direction.",
        field: Field::Duration {
            range: Duration::ZERO..=Duration::from_mins(10),
            get: |config| config.gpu.pcie,
            set: |config, value| config.gpu.pcie = value,
        },
    },
    Key {
        path: "gpu.release",
        flag: None,
        doc: "After how long without a process on any GPU the driver is let go, where the kernel may suspend all GPUs; 0s never.",
        field: Field::Duration {
            range: Duration::ZERO..=Duration::from_hours(24),
            get: |config| config.gpu.release,
            set: |config, value| config.gpu.release = value,
        },
    },
    Key {
        path: "kubernetes.watch",
        flag: None,
        doc: "Ask the Kubernetes API for the pods of this node. auto: where there is a service account or a kubeconfig.",
        field: Field::Text {
            form: "`auto`, `on` or `off`",
            get: |config| Some(config.kubernetes.watch.name().to_owned()),
            set: |config, text| {
                config.kubernetes.watch = choose(text, &Watch::ALL, Watch::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.kubeconfig",
        flag: None,
        doc: "How to reach the API from outside the cluster. Without it, the service account of the pod.",
        field: Field::Text {
            form: "absolute path",
            get: |config| {
                config
                    .kubernetes
                    .kubeconfig
                    .as_ref()
                    .map(|path| path_text(path))
            },
            set: |config, text| {
                config.kubernetes.kubeconfig = Some(absolute(text)?);
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.service_account",
        flag: None,
        doc: "Folder with the token and the certificate authority of the pod's service account.",
        field: Field::Text {
            form: "absolute path",
            get: |config| Some(path_text(&config.kubernetes.service_account)),
            set: |config, text| {
                config.kubernetes.service_account = absolute(text)?;
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.node",
        flag: None,
        doc: "Name of this node. Without it, the environment variable NODE_NAME, which the manifests set, otherwise the host name.",
        field: Field::Text {
            form: "name",
            get: |config| config.kubernetes.node.clone(),
            set: |config, text| {
                config.kubernetes.node = Some(text.to_owned());
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.sessions",
        flag: None,
        doc: "Label selectors, as of kubectl: a pod that one of them selects is a session, and no other is. With none, every pod is one.",
        field: Field::List {
            form: "selectors",
            get: |config| {
                config
                    .kubernetes
                    .sessions
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            },
            set: |config, selectors| {
                let selectors = selectors.iter().map(|text| text.parse::<Selector>());
                config.kubernetes.sessions = selectors.collect::<Result<_, _>>()?;
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.names",
        flag: None,
        doc: "Annotations or labels of a pod with the name of its session, the first that is there. Otherwise the pod's name.",
        field: Field::List {
            form: "labels or annotations",
            get: |config| config.kubernetes.names.clone(),
            set: |config, names| {
                config.kubernetes.names = names;
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.templates",
        flag: None,
        doc: "The same for the template. Otherwise the image of its main container, without registry and tag.",
        field: Field::List {
            form: "labels or annotations",
            get: |config| config.kubernetes.templates.clone(),
            set: |config, names| {
                config.kubernetes.templates = names;
                Ok(())
            },
        },
    },
    Key {
        path: "kubernetes.users",
        flag: None,
        doc: "The same for who uses it (sessions.user).",
        field: Field::List {
            form: "labels or annotations",
            get: |config| config.kubernetes.users.clone(),
            set: |config, names| {
                config.kubernetes.users = names;
                Ok(())
            },
        },
    },
    Key {
        path: "logind.watch",
        flag: None,
        doc: "Ask logind for the users, kinds and idleness of logins over D-Bus. auto: where the bus is there.",
        field: Field::Text {
            form: "`auto`, `on` or `off`",
            get: |config| Some(config.logind.watch.name().to_owned()),
            set: |config, text| {
                config.logind.watch = choose(text, &Watch::ALL, Watch::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "logind.bus",
        flag: None,
        doc: "Address of the D-Bus system bus. Without it, the usual socket, here and in the host's file system.",
        field: Field::Text {
            form: "D-Bus address",
            get: |config| config.logind.bus.clone(),
            set: |config, text| {
                config.logind.bus = Some(text.to_owned());
                Ok(())
            },
        },
    },
    Key {
        path: "libvirt.watch",
        flag: None,
        doc: "Read what libvirt says of its virtual machines. auto: where its folder is there.",
        field: Field::Text {
            form: "`auto`, `on` or `off`",
            get: |config| Some(config.libvirt.watch.name().to_owned()),
            set: |config, text| {
                config.libvirt.watch = choose(text, &Watch::ALL, Watch::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "libvirt.state",
        flag: None,
        doc: "Folder in which libvirt keeps the state of running machines, here or in the host's file system.",
        field: Field::Text {
            form: "absolute path",
            get: |config| Some(path_text(&config.libvirt.state)),
            set: |config, text| {
                config.libvirt.state = absolute(text)?;
                Ok(())
            },
        },
    },
    Key {
        path: "containers.watch",
        flag: None,
        doc: "Ask container runtimes for the names and images of their containers. auto: those whose sockets or folders are there.",
        field: Field::Text {
            form: "`auto`, `on` or `off`",
            get: |config| Some(config.containers.watch.name().to_owned()),
            set: |config, text| {
                config.containers.watch = choose(text, &Watch::ALL, Watch::name)?;
                Ok(())
            },
        },
    },
    Key {
        path: "containers.sockets",
        flag: None,
        doc: "Sockets of runtimes with Docker's API, here or in the host's file system.",
        field: Field::List {
            form: "absolute paths",
            get: |config| paths_text(&config.containers.sockets),
            set: |config, paths| {
                config.containers.sockets = absolutes(&paths)?;
                Ok(())
            },
        },
    },
    Key {
        path: "containers.bundles",
        flag: None,
        doc: "Folders in which containerd and CRI-O keep the bundles of running containers, here or in the host's file system.",
        field: Field::List {
            form: "absolute paths",
            get: |config| paths_text(&config.containers.bundles),
            set: |config, paths| {
                config.containers.bundles = absolutes(&paths)?;
                Ok(())
            },
        },
    },
];

fn choose<T: Copy>(text: &str, choices: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    choices
        .iter()
        .copied()
        .find(|choice| name(*choice) == text)
        .ok_or_else(|| {
            let names: Vec<String> = choices
                .iter()
                .map(|c| format!("\"{}\"", name(*c)))
                .collect();
            format!("expected {}, found \"{text}\"", names.join(" or "))
        })
}

fn is_host_name(text: &str) -> bool {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_named)
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("expected an absolute path, found \"{text}\""))
    }
}

fn absolutes(texts: &[String]) -> Result<Vec<PathBuf>, String> {
    texts.iter().map(|text| absolute(text)).collect()
}

fn paths_text(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path_text(path)).collect()
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
