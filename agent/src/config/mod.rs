//! The configuration: defaults, then one TOML file, then the environment, then flags.
//!
//! Everything is validated here, once, before anything is opened: the rest of the agent sees plain
//! types that cannot be wrong. `keys.rs` is the list that all four sources, the reference and
//! `--print-config` derive from; a file is therefore not deserialised into a second set of types that
//! would have to agree with it, but walked along the list, which also gives every error its line.

mod duration;
mod error;
mod file;
mod keys;
mod operators;
mod print;
mod reference;
pub(crate) mod regular;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use error::{ConfigError, Origin};
pub use keys::{KEYS, Key, PREFIX, RULE_KEYS, RuleKey};
pub use reference::reference_markdown;

use crate::discover::{rules::Rule, selector::Selector};

/// The agent's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// The log.
    pub log: Log,
    /// What counts as a session, and for how long.
    pub sessions: Sessions,
    /// Rhythms.
    pub sampling: Sampling,
    /// The exposition.
    pub metrics: Metrics,
    /// What tells of sessions over HTTP.
    pub api: Api,
    /// The kernel border.
    pub kernel: Kernel,
    /// The GPUs.
    pub gpu: Gpu,
    /// The Kubernetes API.
    pub kubernetes: Kubernetes,
    /// Logins.
    pub logind: Logind,
    /// Virtual machines.
    pub libvirt: Libvirt,
    /// Containers without Kubernetes.
    pub containers: Containers,
    /// Configured rules, in the order in which they are asked.
    pub rules: Vec<Rule>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its form.
    pub format: LogFormat,
    /// A filter that [`crate::logging::filter`] accepts.
    pub level: String,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line a record.
    Text,
    /// One JSON object a record.
    Json,
}

/// What counts as a session, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Most sessions measured at once, 1 to 4096.
    pub max_sessions: u32,
    /// How long an ended session's series stay.
    pub linger: Duration,
    /// Not used for this long, a session is idle.
    pub idle_after: Duration,
    /// Where the living sessions are kept for a restart.
    pub state: PathBuf,
    /// Whether the built-in rules follow the configured ones.
    pub builtin_rules: bool,
    /// What is told of who uses them.
    pub user: UserPolicy,
    /// The file with the key of [`UserPolicy::Hashed`].
    pub user_key: Option<PathBuf>,
}

/// What is told of who uses a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserPolicy {
    /// Nothing.
    Off,
    /// A keyed hash of the name.
    Hashed,
    /// The name.
    Plain,
}

/// Whether a platform is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Where there are signs of it.
    Auto,
    /// Even where there are none yet.
    On,
    /// Never.
    Off,
}

/// The Kubernetes API.
#[derive(Debug, Clone, PartialEq)]
pub struct Kubernetes {
    /// Whether it is asked.
    pub watch: Watch,
    /// How to reach it from outside; `None` uses the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Folder of the service account.
    pub service_account: PathBuf,
    /// Name of the node; `None` asks the environment.
    pub node: Option<String>,
    /// Which pods are sessions: one of these; empty for all.
    pub sessions: Vec<Selector>,
    /// Annotations and labels with a session's name.
    pub names: Vec<String>,
    /// Those with its template.
    pub templates: Vec<String>,
    /// Those with its user.
    pub users: Vec<String>,
}

/// Logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logind {
    /// Whether logind is asked.
    pub watch: Watch,
    /// Address of the system bus; `None` for the usual places.
    pub bus: Option<String>,
}

/// Virtual machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libvirt {
    /// Whether libvirt's files are read.
    pub watch: Watch,
    /// Where they are.
    pub state: PathBuf,
}

/// Containers without Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// Whether runtimes are asked.
    pub watch: Watch,
    /// Sockets with Docker's API.
    pub sockets: Vec<PathBuf>,
    /// Folders with OCI bundles.
    pub bundles: Vec<PathBuf>,
}

/// Rhythms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// Time between two samples.
    pub period: Duration,
    /// Time between two walks of the cgroup tree.
    pub rescan: Duration,
    /// Time between two readings of a session's cgroup files.
    pub accounts: Duration,
}

/// The exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// How many classic buckets the histograms of sessions have.
    pub classic_buckets: ClassicBuckets,
    /// The most series of an exposition.
    pub max_series: u32,
    /// The most different templates, each with its namespace, that labels tell apart.
    pub max_templates: u32,
}

/// What tells of sessions over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Names to which it answers besides addresses, `localhost` and the node's own.
    pub hosts: Vec<String>,
}

/// How many classic buckets the histograms of sessions have. Native histograms have all of them always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassicBuckets {
    /// Those at the bounds that matter to each family.
    Few,
    /// These, and one at each power of four.
    Full,
}

/// The kernel border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel's type information.
    pub btf: PathBuf,
    /// The mount point of cgroup v2; `None` looks for it.
    pub cgroup_root: Option<PathBuf>,
    /// Where per-thread state lives.
    pub task_state: TaskState,
    /// Whether log records of the programs are forwarded.
    pub debug_log: bool,
    /// Whether the kernel's BPF statistics are on while the agent runs.
    pub statistics: bool,
}

/// The GPUs. A period of zero is never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Whether they are measured.
    pub enabled: bool,
    /// The driver's library; `None` looks for it.
    pub library: Option<PathBuf>,
    /// Time between two rounds: utilisation and memory.
    pub period: Duration,
    /// Time between two readings of the encoder and capture sessions.
    pub streams: Duration,
    /// Time between two readings of the lists of processes and of the MIG instances.
    pub processes: Duration,
    /// Time between two readings of temperature, power, clocks and errors.
    pub health: Duration,
    /// Time between two measurements of PCI Express throughput.
    pub pcie: Duration,
    /// Time without a process on any GPU after which the driver is let go, so that the kernel can suspend them.
    pub release: Duration,
}

/// Where the programs keep their state of each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// What the kernel allows.
    Auto,
    /// BPF task storage.
    TaskStorage,
    /// An array indexed by pid.
    PidArray,
}

impl LogFormat {
    pub(super) const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl ClassicBuckets {
    pub(super) const ALL: [Self; 2] = [Self::Few, Self::Full];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Few => "few",
            Self::Full => "full",
        }
    }
}

impl UserPolicy {
    pub(super) const ALL: [Self; 3] = [Self::Off, Self::Hashed, Self::Plain];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Hashed => "hashed",
            Self::Plain => "plain",
        }
    }
}

impl Watch {
    pub(super) const ALL: [Self; 3] = [Self::Auto, Self::On, Self::Off];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl TaskState {
    pub(super) const ALL: [Self; 3] = [Self::Auto, Self::TaskStorage, Self::PidArray];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::TaskStorage => "task-storage",
            Self::PidArray => "pid-array",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Loopback: what a session is called can be personal, so who may scrape is a decision.
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9709)),
            log: Log {
                format: LogFormat::Text,
                level: "info".to_owned(),
            },
            sessions: Sessions {
                max_sessions: 256,
                linger: Duration::from_mins(5),
                idle_after: Duration::from_mins(15),
                state: PathBuf::from("/run/sessionscope/sessions.json"),
                builtin_rules: true,
                user: UserPolicy::Off,
                user_key: None,
            },
            sampling: Sampling {
                period: Duration::from_secs(1),
                rescan: Duration::from_secs(30),
                accounts: Duration::from_secs(5),
            },
            metrics: Metrics {
                classic_buckets: ClassicBuckets::Few,
                max_series: 50_000,
                max_templates: 200,
            },
            api: Api { hosts: Vec::new() },
            kernel: Kernel {
                btf: PathBuf::from("/sys/kernel/btf/vmlinux"),
                cgroup_root: None,
                task_state: TaskState::Auto,
                debug_log: false,
                statistics: false,
            },
            gpu: Gpu {
                enabled: true,
                library: None,
                period: Duration::from_secs(1),
                streams: Duration::from_secs(1),
                processes: Duration::from_secs(5),
                health: Duration::from_secs(5),
                pcie: Duration::ZERO,
                release: Duration::from_mins(1),
            },
            kubernetes: Kubernetes {
                watch: Watch::Auto,
                kubeconfig: None,
                service_account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
                node: None,
                sessions: operators::selectors(),
                names: texts(operators::NAMES),
                templates: texts(operators::TEMPLATES),
                users: texts(operators::USERS),
            },
            logind: Logind {
                watch: Watch::Auto,
                bus: None,
            },
            libvirt: Libvirt {
                watch: Watch::Auto,
                state: PathBuf::from("/run/libvirt/qemu"),
            },
            containers: Containers {
                watch: Watch::Auto,
                sockets: ["/run/docker.sock", "/run/podman/podman.sock"]
                    .map(PathBuf::from)
                    .into(),
                bundles: [
                    "/run/containerd/io.containerd.runtime.v2.task",
                    "/run/containers/storage/overlay-containers",
                ]
                .map(PathBuf::from)
                .into(),
            },
            rules: Vec::new(),
        }
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What a configuration is made from. It is kept, so that a reload sees the same environment and
/// flags as the start, and only the file anew.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment; only what begins with `SESSIONSCOPE_` is looked at.
    pub environment: Vec<(String, String)>,
    /// Flags that were given, by the path of their key.
    pub flags: Vec<(&'static str, String)>,
}

impl Config {
    /// Reads and validates everything.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = &inputs.file {
            let text = regular::text(path).map_err(|source| ConfigError::Unreadable {
                path: path.clone(),
                source,
            })?;
            file::apply(&mut config, path, &text)?;
        }
        for (name, value) in &inputs.environment {
            apply_variable(&mut config, name, value)?;
        }
        for (path, value) in &inputs.flags {
            let key = Key::at(path).expect("a test compares the flags with the keys");
            key.set_text(&mut config, value)
                .map_err(|reason| ConfigError::Invalid {
                    origin: Origin::Flag(key.flag.unwrap_or(key.path)),
                    key: key.path.to_owned(),
                    reason,
                })?;
        }
        if config.sessions.user == UserPolicy::Hashed && config.sessions.user_key.is_none() {
            return Err(ConfigError::no_user_key());
        }
        Ok(config)
    }

    /// Reads everything again, of which the rules can change while the agent runs.
    pub fn reload_rules(inputs: &Inputs) -> Result<Vec<Rule>, ConfigError> {
        Self::load(inputs).map(|config| config.rules)
    }

    /// The configuration as a commented file that parses back to the same.
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }
}

fn apply_variable(config: &mut Config, name: &str, value: &str) -> Result<(), ConfigError> {
    if !name.starts_with(PREFIX)
        || keys::OTHER_VARIABLES.contains(&name)
        || is_service_link(name, value)
    {
        return Ok(());
    }
    let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
        let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        let hint = error::hint(name, variables.iter().map(String::as_str));
        return Err(ConfigError::UnknownVariable {
            name: name.to_owned(),
            hint,
        });
    };
    key.set_text(config, value)
        .map_err(|reason| ConfigError::Invalid {
            origin: Origin::Environment(name.to_owned()),
            key: key.path.to_owned(),
            reason,
        })
}

/// Whether a variable is one that the kubelet sets for a Service: with one named `sessionscope` in
/// the namespace, every pod there has `SESSIONSCOPE_SERVICE_HOST`, `SESSIONSCOPE_PORT` and more, and
/// the agent must start all the same.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Inputs {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Inputs {
            environment: owned.collect(),
            ..Inputs::default()
        }
    }

    fn refused(inputs: &Inputs) -> String {
        Config::load(inputs).unwrap_err().to_string()
    }

    #[test]
    fn without_inputs_everything_has_its_default() {
        assert_eq!(Config::load(&Inputs::default()).unwrap(), Config::default());
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(
            &file,
            "listen = \"[::]:1\"\n[sessions]\nmax_sessions = 2\nlinger = \"9s\"\n",
        )
        .unwrap();
        let mut inputs = environment(&[
            ("SESSIONSCOPE_LISTEN", "127.0.0.1:2"),
            ("SESSIONSCOPE_SESSIONS_MAX_SESSIONS", "3"),
            ("HOME", "/root"),
        ]);
        inputs.file = Some(file);
        inputs.flags = vec![("listen", "127.0.0.1:3".to_owned())];
        let config = Config::load(&inputs).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.sessions.max_sessions, 3);
        assert_eq!(config.sessions.linger, Duration::from_secs(9));
    }

    #[test]
    fn an_unknown_variable_is_refused_by_name() {
        assert_eq!(
            refused(&environment(&[("SESSIONSCOPE_SESSIONS_LINGR", "5m")])),
            "unknown environment variable SESSIONSCOPE_SESSIONS_LINGR; did you mean \
             \"SESSIONSCOPE_SESSIONS_LINGER\"?"
        );
    }

    #[test]
    fn a_bad_variable_is_named_with_its_key() {
        assert_eq!(
            refused(&environment(&[("SESSIONSCOPE_SESSIONS_LINGER", "5")])),
            "environment variable SESSIONSCOPE_SESSIONS_LINGER: sessions.linger: a duration needs \
             a unit, for example \"5m\""
        );
        let error = refused(&environment(&[("SESSIONSCOPE_KERNEL_STATISTICS", "yes")]));
        assert!(
            error.ends_with("expected true or false, found \"yes\""),
            "{error}"
        );
    }

    #[test]
    fn a_host_with_a_port_or_a_scheme_is_refused() {
        for wrong in ["desks.example:80", "http://desks.example", "*.example"] {
            let hosts = format!("desks.example; {wrong}");
            assert_eq!(
                refused(&environment(&[("SESSIONSCOPE_API_HOSTS", &hosts)])),
                format!(
                    "environment variable SESSIONSCOPE_API_HOSTS: api.hosts: expected a host name \
                     without a port such as \"desks.example\", found \"{wrong}\""
                )
            );
        }
    }

    #[test]
    fn a_bad_flag_is_named() {
        let inputs = Inputs {
            flags: vec![("sessions.max_sessions", "5000".to_owned())],
            ..Inputs::default()
        };
        assert_eq!(
            refused(&inputs),
            "flag --max-sessions: sessions.max_sessions: expected 1 to 4096, found 5000"
        );
    }

    #[test]
    fn variables_of_tests_and_of_kubernetes_services_are_left_alone() {
        let inputs = environment(&[
            ("SESSIONSCOPE_BIN", "/usr/bin/sessionscope"),
            ("SESSIONSCOPE_CONFIG", "/etc/sessionscope.toml"),
            ("SESSIONSCOPE_SERVICE_HOST", "10.0.0.1"),
            ("SESSIONSCOPE_SERVICE_PORT_METRICS", "9709"),
            ("SESSIONSCOPE_PORT", "tcp://10.0.0.1:9709"),
            ("SESSIONSCOPE_PORT_9709_TCP_ADDR", "10.0.0.1"),
        ]);
        assert_eq!(Config::load(&inputs).unwrap(), Config::default());
        assert!(Config::load(&environment(&[("SESSIONSCOPE_PORT", "9709")])).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let inputs = Inputs {
            file: Some("/nonexistent/a.toml".into()),
            ..Inputs::default()
        };
        let error = refused(&inputs);
        assert!(
            error.starts_with("cannot read the configuration /nonexistent/a.toml: "),
            "{error}"
        );
    }

    #[test]
    fn no_key_looks_like_a_service_link() {
        for key in KEYS {
            assert!(!is_service_link(&key.variable(), "x"), "{}", key.path);
        }
    }
}
