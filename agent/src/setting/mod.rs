//! What a setting is: a key of a table of the configuration, how its value is written, and its place in the settings of
//! the module that uses it.
//!
//! A module that can be configured has its keys as rows in its own `settings.rs`, beside the type that they fill. The
//! module `config` puts all of them together, and nothing below it knows of it. A new key is a field, its default and a
//! row there, and its use.

pub(crate) mod duration;
mod error;
pub mod form;
pub mod regular;

use std::{ops::RangeInclusive, time::Duration};

pub(crate) use error::hint;
pub use error::{ConfigError, Origin};

/// A table of the configuration, or a part of one, with the settings that its keys are of.
#[derive(Debug)]
pub struct Table<S: 'static> {
    /// Its name in the file; empty for the keys above all tables.
    pub name: &'static str,
    /// What it is about, in Markdown; empty of the further parts of one table.
    pub about: &'static str,
    /// Its keys, in the order in which they are printed.
    pub keys: &'static [Key<S>],
}

/// A key.
#[derive(Debug)]
pub struct Key<S: 'static> {
    /// Its name in its table.
    pub name: &'static str,
    /// The flag that overrides it, if there is one.
    pub flag: Option<&'static str>,
    /// What it is for.
    pub doc: &'static str,
    /// How it is written, and its place.
    pub field: Field<S>,
}

type Get<S, T> = fn(&S) -> T;
type Set<S, T> = fn(&mut S, T);
type Check<S, T> = fn(&mut S, T) -> Result<(), String>;

/// How a key is written, and its place in the settings.
#[derive(Debug)]
pub enum Field<S> {
    /// Text that the setter validates; only text may be absent.
    Text {
        /// How it looks, in Markdown.
        form: &'static str,
        /// What is set.
        get: Get<S, Option<String>>,
        /// Sets it, or says what was expected.
        set: fn(&mut S, &str) -> Result<(), String>,
    },
    /// A number.
    Integer {
        /// What is accepted.
        range: RangeInclusive<u32>,
        /// What is set.
        get: Get<S, u32>,
        /// Sets what is in range.
        set: Set<S, u32>,
    },
    /// A time, which has a unit.
    Duration {
        /// What is accepted.
        range: RangeInclusive<Duration>,
        /// What is set.
        get: Get<S, Duration>,
        /// Sets what is in range.
        set: Set<S, Duration>,
    },
    /// Yes or no.
    Boolean {
        /// What is set.
        get: Get<S, bool>,
        /// Sets it.
        set: Set<S, bool>,
    },
    /// Texts, of which the setter validates each; in a variable or a flag they are separated by `;`.
    List {
        /// How they look, in Markdown.
        form: &'static str,
        /// What is set.
        get: Get<S, Vec<String>>,
        /// Sets them, or says what was expected.
        set: Check<S, Vec<String>>,
    },
    /// The same, of which one alone is written as a string.
    OneOrMore {
        /// How one looks, in Markdown.
        form: &'static str,
        /// What is set.
        get: Get<S, Vec<String>>,
        /// Sets them, or says what was expected.
        set: Check<S, Vec<String>>,
    },
}

/// A value before it is known to be acceptable.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// An array of strings.
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

/// The upper end of a range of durations that has none.
pub const FOREVER: Duration = Duration::from_hours(365 * 24);

impl<S> Field<S> {
    /// How a value looks, in Markdown.
    pub fn form(&self) -> String {
        match self {
            Self::Text { form, .. } => (*form).to_owned(),
            Self::Integer { range, .. } => {
                format!("integer, {} to {}", range.start(), range.end())
            }
            Self::Duration { range, .. } => format!("duration, {}", bounds(range)),
            Self::Boolean { .. } => "boolean".to_owned(),
            Self::List { form, .. } => format!("array of {form}"),
            Self::OneOrMore { form, .. } => one_or_more(form),
        }
    }

    /// The value that is set, in TOML; `None` if there is none.
    pub fn value(&self, settings: &S) -> Option<String> {
        match self {
            Self::Text { get, .. } => get(settings).map(|text| toml_string(&text)),
            Self::Integer { get, .. } => Some(get(settings).to_string()),
            Self::Duration { get, .. } => Some(toml_string(&duration::format(get(settings)))),
            Self::Boolean { get, .. } => Some(get(settings).to_string()),
            Self::List { .. } => self.array(settings),
            Self::OneOrMore { get, .. } => match get(settings).as_slice() {
                [one] => Some(toml_string(one)),
                _ => self.array(settings),
            },
        }
    }

    /// The elements of a list, in TOML; `None` of anything else.
    pub fn elements(&self, settings: &S) -> Option<Vec<String>> {
        let texts = match self {
            Self::List { get, .. } => get(settings),
            Self::OneOrMore { get, .. } => Some(get(settings)).filter(|texts| texts.len() != 1)?,
            _ => return None,
        };
        Some(texts.iter().map(|text| toml_string(text)).collect())
    }

    fn array(&self, settings: &S) -> Option<String> {
        let elements = self.elements(settings)?;
        Some(format!("[{}]", elements.join(", ")))
    }

    /// Validates a value and puts it in its place; an error says what was expected.
    pub fn set(&self, settings: &mut S, value: &Scalar) -> Result<(), String> {
        let wrong = |expected: &str| Err(format!("expected {expected}, found {}", value.kind()));
        match self {
            Self::Text { set, .. } => match value {
                Scalar::Text(text) => set(settings, text),
                _ => wrong("a string"),
            },
            Self::Integer { range, set, .. } => match value {
                Scalar::Integer(integer) => {
                    let value = u32::try_from(*integer)
                        .ok()
                        .filter(|value| range.contains(value));
                    let (least, most) = (range.start(), range.end());
                    set(
                        settings,
                        value.ok_or(format!("expected {least} to {most}, found {integer}"))?,
                    );
                    Ok(())
                }
                _ => wrong("an integer"),
            },
            Self::Duration { range, set, .. } => match value {
                Scalar::Text(text) => {
                    let value = duration::parse(text)?;
                    if !range.contains(&value) {
                        return Err(format!("expected {}, found \"{text}\"", bounds(range)));
                    }
                    set(settings, value);
                    Ok(())
                }
                Scalar::Integer(_) => Err(duration::NEEDS_UNIT.to_owned()),
                Scalar::Boolean(_) | Scalar::List(_) => wrong("a duration such as \"5m\""),
            },
            Self::Boolean { set, .. } => match value {
                Scalar::Boolean(value) => {
                    set(settings, *value);
                    Ok(())
                }
                _ => wrong("true or false"),
            },
            Self::List { form, set, .. } => match value {
                Scalar::List(texts) => set(settings, texts.clone()),
                _ => wrong(&format!("an array of {form}")),
            },
            Self::OneOrMore { form, set, .. } => match value {
                Scalar::Text(text) => set(settings, vec![text.clone()]),
                Scalar::List(texts) => set(settings, texts.clone()),
                _ => wrong(&one_or_more(form)),
            },
        }
    }

    /// What text without a type stands for: an environment variable or a flag.
    pub fn scalar(&self, text: &str) -> Result<Scalar, String> {
        Ok(match self {
            Self::Text { .. } | Self::Duration { .. } => Scalar::Text(text.to_owned()),
            Self::Integer { .. } => Scalar::Integer(
                text.parse()
                    .map_err(|_| format!("expected an integer, found \"{text}\""))?,
            ),
            Self::Boolean { .. } => Scalar::Boolean(
                text.parse()
                    .map_err(|_| format!("expected true or false, found \"{text}\""))?,
            ),
            Self::List { .. } | Self::OneOrMore { .. } => {
                let texts = text
                    .split(';')
                    .map(str::trim)
                    .filter(|text| !text.is_empty());
                Scalar::List(texts.map(str::to_owned).collect())
            }
        })
    }
}

/// Text as a TOML string, in the style that needs the fewest escapes.
pub fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn one_or_more(form: &str) -> String {
    format!("{form}, or an array of them")
}

fn bounds(range: &RangeInclusive<Duration>) -> String {
    let least = duration::format(*range.start());
    if *range.end() == FOREVER {
        format!("at least {least}")
    } else {
        format!("{least} to {}", duration::format(*range.end()))
    }
}
