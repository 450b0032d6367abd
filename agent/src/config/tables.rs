//! THE composition: which modules have settings, and in which tables their keys are.
//!
//! The file, the environment, the flags, the generated reference and `--print-config` derive from it.

use std::sync::LazyLock;

use super::Config;
use crate::{
    app::settings as app,
    discover::settings::{containers, kubernetes, libvirt, logind, rules, users},
    gpu::settings as gpu,
    kernel::settings as kernel,
    metrics::settings as metrics,
    serve::settings as serve,
    session::settings as session,
    setting::{self, Field, Scalar, Table},
    telemetry::settings as telemetry,
    trace::settings as trace,
};

/// What every environment variable of the agent begins with.
pub const PREFIX: &str = "SESSIONSCOPE_";

macro_rules! parts {
    ($($table:path: $($field:ident).+,)*) => {
        vec![$(Part::new(&$table, |config| &config.$($field).+, |config| &mut config.$($field).+),)*]
    };
}

/// All tables, the keys above them first, as TOML wants it; the parts of one table follow each other.
pub static PARTS: LazyLock<Vec<Part>> = LazyLock::new(|| {
    parts! {
        serve::ABOVE: serve,
        telemetry::TABLE: log,
        trace::TABLE: trace,
        session::TABLE: session,
        rules::TABLE: discover.rules,
        users::TABLE: discover.users,
        app::TABLE: sampling,
        metrics::TABLE: metrics,
        serve::API: serve,
        serve::WEB: serve,
        serve::SOCKET: serve,
        kernel::TABLE: kernel,
        gpu::TABLE: gpu,
        kubernetes::TABLE: discover.kubernetes,
        logind::TABLE: discover.logind,
        libvirt::TABLE: discover.libvirt,
        containers::TABLE: discover.containers,
    }
});

/// All keys, in the order of the tables.
pub fn keys() -> impl Iterator<Item = &'static Key> + Clone {
    PARTS.iter().flat_map(|part| &part.keys)
}

/// A table, or a part of one.
#[derive(Debug)]
pub struct Part {
    /// Its name in the file; empty for the keys above all tables.
    pub name: &'static str,
    /// What it is about, in Markdown; empty of the further parts of one table.
    pub about: &'static str,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// A key with its place in [`Config`].
#[derive(Debug)]
pub struct Key {
    /// Its table, empty for none.
    pub table: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its dotted path in the file.
    pub path: String,
    /// The flag that overrides it, if there is one.
    pub flag: Option<&'static str>,
    /// What it is for.
    pub doc: &'static str,
    place: Box<dyn Place>,
}

/// A field of some module's settings, found from the whole.
trait Place: std::fmt::Debug + Send + Sync {
    fn form(&self) -> String;
    fn value(&self, config: &Config) -> Option<String>;
    fn elements(&self, config: &Config) -> Option<Vec<String>>;
    fn scalar(&self, text: &str) -> Result<Scalar, String>;
    fn set(&self, config: &mut Config, value: &Scalar) -> Result<(), String>;
}

type Of<S> = fn(&Config) -> &S;
type OfMut<S> = fn(&mut Config) -> &mut S;

#[derive(Debug)]
struct At<S: 'static> {
    field: &'static Field<S>,
    of: Of<S>,
    of_mut: OfMut<S>,
}

impl<S: std::fmt::Debug> Place for At<S> {
    fn form(&self) -> String {
        self.field.form()
    }

    fn value(&self, config: &Config) -> Option<String> {
        self.field.value((self.of)(config))
    }

    fn elements(&self, config: &Config) -> Option<Vec<String>> {
        self.field.elements((self.of)(config))
    }

    fn scalar(&self, text: &str) -> Result<Scalar, String> {
        self.field.scalar(text)
    }

    fn set(&self, config: &mut Config, value: &Scalar) -> Result<(), String> {
        self.field.set((self.of_mut)(config), value)
    }
}

impl Part {
    fn new<S: std::fmt::Debug>(table: &'static Table<S>, of: Of<S>, of_mut: OfMut<S>) -> Self {
        let key = |key: &'static setting::Key<S>| Key {
            table: table.name,
            name: key.name,
            path: match table.name {
                "" => key.name.to_owned(),
                table => format!("{table}.{}", key.name),
            },
            flag: key.flag,
            doc: key.doc,
            place: Box::new(At {
                field: &key.field,
                of,
                of_mut,
            }),
        };
        Self {
            name: table.name,
            about: table.about,
            keys: table.keys.iter().map(key).collect(),
        }
    }
}

impl Key {
    /// The key at a dotted path.
    pub fn at(path: &str) -> Option<&'static Self> {
        keys().find(|key| key.path == path)
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
        self.place.form()
    }

    /// The value that `config` has, in TOML; `None` if it is not set.
    pub fn value(&self, config: &Config) -> Option<String> {
        self.place.value(config)
    }

    /// The elements of a list, in TOML; `None` of anything else.
    pub(super) fn elements(&self, config: &Config) -> Option<Vec<String>> {
        self.place.elements(config)
    }

    /// Validates a value and puts it in its place.
    pub(super) fn set(&self, config: &mut Config, value: &Scalar) -> Result<(), String> {
        self.place.set(config, value)
    }

    /// The same for text without a type: an environment variable or a flag.
    pub(super) fn set_text(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let value = self.place.scalar(text)?;
        self.set(config, &value)
    }
}
