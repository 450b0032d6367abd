//! THE list of configuration keys.
//!
//! The file, the environment, the flags, the generated reference and `--print-config` all derive
//! from it. A key is its path, its documentation and an accessor of [`Config`]; the default is what
//! `Config::default()` has there, so that it is stated once. A new key is a field of `Config`, its
//! default, and a row here.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ClassicBuckets, Config, LogFormat, TaskState, duration};
use crate::{discover::rules::RuleDefinition, logging};

/// What every environment variable of the agent begins with.
pub const PREFIX: &str = "SESSIONSCOPE_";
/// Environment variables that are no keys: the path of the file, and the binary that the end-to-end
/// tests run.
pub(super) const OTHER_VARIABLES: &[&str] = &["SESSIONSCOPE_CONFIG", "SESSIONSCOPE_BIN"];

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Its dotted path in the file.
    pub path: &'static str,
    /// The flag that overrides it, if there is one.
    pub flag: Option<&'static str>,
    /// What it is for.
    pub doc: &'static str,
    pub(super) field: Field,
}

type Get<T> = fn(&Config) -> T;
type Set<T> = fn(&mut Config, T);
type SetText = fn(&mut Config, &str) -> Result<(), String>;

/// How a key is written, and its place in [`Config`].
#[derive(Debug)]
pub(super) enum Field {
    /// Text that the setter validates; `form` says how it looks. Only text may be absent.
    Text {
        form: &'static str,
        get: Get<Option<String>>,
        set: SetText,
    },
    Integer {
        range: RangeInclusive<u32>,
        get: Get<u32>,
        set: Set<u32>,
    },
    Duration {
        range: RangeInclusive<Duration>,
        get: Get<Duration>,
        set: Set<Duration>,
    },
    Boolean {
        get: Get<bool>,
        set: Set<bool>,
    },
}

/// A value before it is known to be acceptable.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

impl Scalar {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
        }
    }
}

const FOREVER: Duration = Duration::from_hours(365 * 24);

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
        doc: "Classic buckets of the sessions' histograms: few, at the bounds that matter to each, or full, one at each power of four. Native histograms have all of them always.",
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
        doc: "Where the programs keep their state of each thread: task storage (kernel 5.13 and later), an array indexed by pid, or what the kernel allows.",
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
        doc: "The driver's library libnvidia-ml.so.1. Without it, the usual places are searched, here and in the host's file system: the loader's path, the driver container, GKE's installer, the distributions' folders.",
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
];

impl Key {
    /// The key at a dotted path.
    pub fn at(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// The table and the last part of the path; the table is empty at the top level.
    pub fn table_and_name(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// The environment variable that overrides the key.
    pub fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.path.replace('.', "_").to_ascii_uppercase()
        )
    }

    /// How a value looks, in Markdown.
    pub fn form(&self) -> String {
        match &self.field {
            Field::Text { form, .. } => (*form).to_owned(),
            Field::Integer { range, .. } => {
                format!("integer, {} to {}", range.start(), range.end())
            }
            Field::Duration { range, .. } => format!("duration, {}", bounds(range)),
            Field::Boolean { .. } => "boolean".to_owned(),
        }
    }

    /// The value that `config` has, in TOML; `None` if it is not set.
    pub fn value(&self, config: &Config) -> Option<String> {
        match &self.field {
            Field::Text { get, .. } => get(config).map(|text| toml_string(&text)),
            Field::Integer { get, .. } => Some(get(config).to_string()),
            Field::Duration { get, .. } => Some(toml_string(&duration::format(get(config)))),
            Field::Boolean { get, .. } => Some(get(config).to_string()),
        }
    }

    /// Validates a value and puts it in its place.
    pub(super) fn set(&self, config: &mut Config, value: &Scalar) -> Result<(), String> {
        let wrong = |expected: &str| Err(format!("expected {expected}, found {}", value.kind()));
        match &self.field {
            Field::Text { set, .. } => match value {
                Scalar::Text(text) => set(config, text),
                _ => wrong("a string"),
            },
            Field::Integer { range, set, .. } => match value {
                Scalar::Integer(integer) => {
                    let value = u32::try_from(*integer)
                        .ok()
                        .filter(|value| range.contains(value));
                    let (least, most) = (range.start(), range.end());
                    set(
                        config,
                        value.ok_or(format!("expected {least} to {most}, found {integer}"))?,
                    );
                    Ok(())
                }
                _ => wrong("an integer"),
            },
            Field::Duration { range, set, .. } => match value {
                Scalar::Text(text) => {
                    let value = duration::parse(text)?;
                    if !range.contains(&value) {
                        return Err(format!("expected {}, found \"{text}\"", bounds(range)));
                    }
                    set(config, value);
                    Ok(())
                }
                Scalar::Integer(_) => Err(duration::NEEDS_UNIT.to_owned()),
                Scalar::Boolean(_) => wrong("a duration such as \"5m\""),
            },
            Field::Boolean { set, .. } => match value {
                Scalar::Boolean(value) => {
                    set(config, *value);
                    Ok(())
                }
                _ => wrong("true or false"),
            },
        }
    }

    /// The same for text without a type: an environment variable or a flag.
    pub(super) fn set_text(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let value = match &self.field {
            Field::Text { .. } | Field::Duration { .. } => Scalar::Text(text.to_owned()),
            Field::Integer { .. } => Scalar::Integer(
                text.parse()
                    .map_err(|_| format!("expected an integer, found \"{text}\""))?,
            ),
            Field::Boolean { .. } => Scalar::Boolean(
                text.parse()
                    .map_err(|_| format!("expected true or false, found \"{text}\""))?,
            ),
        };
        self.set(config, &value)
    }
}

/// One key of a rule's table.
#[derive(Debug)]
pub struct RuleKey {
    /// The key.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    pub(super) field: RuleField,
}

/// The place of a rule's key.
#[derive(Debug)]
pub(super) enum RuleField {
    Required(fn(&mut RuleDefinition) -> &mut String),
    Optional(fn(&mut RuleDefinition) -> &mut Option<String>),
    Boolean(fn(&mut RuleDefinition) -> &mut bool),
}

/// The keys of a rule.
pub const RULE_KEYS: &[RuleKey] = &[
    RuleKey {
        name: "name",
        doc: "What the log and `vdi_session_info` call the rule. Required, and unique.",
        field: RuleField::Required(|rule| &mut rule.name),
    },
    RuleKey {
        name: "pattern",
        doc: "Regular expression over the bytes of the cgroup's path, which begins with `/`. It is not anchored: without `^` and `$` it also takes the cgroups below. Required.",
        field: RuleField::Required(|rule| &mut rule.pattern),
    },
    RuleKey {
        name: "session",
        doc: "Name of the session, with references to captures (`$name`, `${name}`). Default: the capture `session`.",
        field: RuleField::Optional(|rule| &mut rule.session),
    },
    RuleKey {
        name: "namespace",
        doc: "The same for the label `namespace`. Default: the capture `namespace`, or empty.",
        field: RuleField::Optional(|rule| &mut rule.namespace),
    },
    RuleKey {
        name: "template",
        doc: "The same for the label `template`. Default: the capture `template`, or empty.",
        field: RuleField::Optional(|rule| &mut rule.template),
    },
    RuleKey {
        name: "runtime",
        doc: "The same for `runtime` of `vdi_session_info`. Default: the capture `runtime`, or none.",
        field: RuleField::Optional(|rule| &mut rule.runtime),
    },
    RuleKey {
        name: "ignore",
        doc: "The cgroup and all below it are no session. Default: false.",
        field: RuleField::Boolean(|rule| &mut rule.ignore),
    },
];

/// Text as a TOML string, in the style that needs the fewest escapes.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn bounds(range: &RangeInclusive<Duration>) -> String {
    let least = duration::format(*range.start());
    if *range.end() == FOREVER {
        format!("at least {least}")
    } else {
        format!("{least} to {}", duration::format(*range.end()))
    }
}

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

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("expected an absolute path, found \"{text}\""))
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
