//! THE list of configuration keys.
//!
//! The file, the environment, the flags, the generated reference and `--print-config` all derive
//! from it. A key is its path, its documentation and an accessor of [`Config`]; the default is what
//! `Config::default()` has there, so that it is stated once. A new key is a field of `Config`, its
//! default, and a row here.

use std::{ops::RangeInclusive, time::Duration};

mod list;

use super::{Config, duration};
use crate::discover::rules::RuleDefinition;
pub use list::KEYS;

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
type SetList = fn(&mut Config, Vec<String>) -> Result<(), String>;

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
    /// Texts, of which the setter validates each; in a variable or a flag they are separated by `;`.
    List {
        form: &'static str,
        get: Get<Vec<String>>,
        set: SetList,
    },
}

/// A value before it is known to be acceptable.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
}

impl Scalar {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "an array",
        }
    }
}

const FOREVER: Duration = Duration::from_hours(365 * 24);

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
            Field::List { form, .. } => format!("array of {form}"),
        }
    }

    /// The value that `config` has, in TOML; `None` if it is not set.
    pub fn value(&self, config: &Config) -> Option<String> {
        match &self.field {
            Field::Text { get, .. } => get(config).map(|text| toml_string(&text)),
            Field::Integer { get, .. } => Some(get(config).to_string()),
            Field::Duration { get, .. } => Some(toml_string(&duration::format(get(config)))),
            Field::Boolean { get, .. } => Some(get(config).to_string()),
            Field::List { .. } => self
                .elements(config)
                .map(|elements| format!("[{}]", elements.join(", "))),
        }
    }

    /// The elements of a list, in TOML; `None` of anything else.
    pub(super) fn elements(&self, config: &Config) -> Option<Vec<String>> {
        match &self.field {
            Field::List { get, .. } => {
                Some(get(config).iter().map(|text| toml_string(text)).collect())
            }
            _ => None,
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
                Scalar::Boolean(_) | Scalar::List(_) => wrong("a duration such as \"5m\""),
            },
            Field::Boolean { set, .. } => match value {
                Scalar::Boolean(value) => {
                    set(config, *value);
                    Ok(())
                }
                _ => wrong("true or false"),
            },
            Field::List { form, set, .. } => match value {
                Scalar::List(texts) => set(config, texts.clone()),
                _ => wrong(&format!("an array of {form}")),
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
            Field::List { .. } => {
                let texts = text
                    .split(';')
                    .map(str::trim)
                    .filter(|text| !text.is_empty());
                Scalar::List(texts.map(str::to_owned).collect())
            }
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
    RuleKey {
        name: "trust",
        doc: "Believe the path also below a session, or below a directory that is not root's: whoever may make cgroups there chooses what they are called. For a node in a container (kind, k3s) whose pods are sessions of their own. Default: false.",
        field: RuleField::Boolean(|rule| &mut rule.trust),
    },
    RuleKey {
        name: "decode",
        doc: "How the captures are encoded in the path: `systemd` undoes the escapes of unit names (`\\x2d` is `-`), `pod-uid` those of the kubelet (`_` is `-`). Default: not at all.",
        field: RuleField::Optional(|rule| &mut rule.decode),
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
