//! The configuration: defaults, then one TOML file, then the environment, then flags.
//!
//! Everything is validated here, once, before anything is opened: the rest of the agent sees plain
//! types that cannot be wrong. Each module has its keys beside its settings (`settings.rs`); `tables.rs` puts them
//! together, and all four sources, the reference and `--print-config` derive from that. A file is therefore not
//! deserialised into a second set of types that would have to agree with it, but walked along the keys, which also
//! gives every error its line.

mod file;
mod print;
mod reference;
mod tables;

use std::{fmt::Write as _, path::PathBuf};

pub use reference::reference_markdown;
use sha2::{Digest as _, Sha256};
pub use tables::{Key, PARTS, PREFIX, Part, keys};

use crate::{
    app::settings as app,
    discover::settings as discover,
    gpu::settings as gpu,
    kernel::settings as kernel,
    metrics::settings as metrics,
    serve::settings as serve,
    session::settings as session,
    setting::{self, ConfigError, Origin, regular},
    telemetry::settings as telemetry,
    trace::settings as trace,
};

/// Environment variables that are no keys: the path of the file, and the binary that the end-to-end
/// tests run.
const OTHER_VARIABLES: &[&str] = &["SESSIONSCOPE_CONFIG", "SESSIONSCOPE_BIN"];

/// The agent's configuration: the settings of each module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The HTTP side.
    pub serve: serve::Settings,
    /// The log.
    pub log: telemetry::Settings,
    /// Traces.
    pub trace: trace::Settings,
    /// How many sessions there may be, and for how long.
    pub session: session::Settings,
    /// Rhythms.
    pub sampling: app::Settings,
    /// The exposition.
    pub metrics: metrics::Settings,
    /// The kernel border.
    pub kernel: kernel::Settings,
    /// The GPUs.
    pub gpu: gpu::Settings,
    /// Where sessions are looked for, and who is asked what they are.
    pub discover: discover::Settings,
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
                    origin: Origin::Flag(key.flag.unwrap_or(&key.path)),
                    key: key.path.clone(),
                    reason,
                })?;
        }
        config.discover.users.check()?;
        Ok(config)
    }

    /// The keys that another configuration has otherwise, by path.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let differing = keys().filter(|key| key.value(self) != key.value(other));
        differing.map(|key| key.path.as_str()).collect()
    }

    /// 16 hexadecimal digits of the SHA-256 of [`Config::to_toml`].
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.to_toml());
        let mut text = String::with_capacity(16);
        for byte in &digest[..8] {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// The configuration as a commented file that parses back to the same.
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }
}

fn apply_variable(config: &mut Config, name: &str, value: &str) -> Result<(), ConfigError> {
    if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&name) || is_service_link(name, value)
    {
        return Ok(());
    }
    let Some(key) = keys().find(|key| key.variable() == name) else {
        let variables: Vec<String> = keys().map(Key::variable).collect();
        let hint = setting::hint(name, variables.iter().map(String::as_str));
        return Err(ConfigError::UnknownVariable {
            name: name.to_owned(),
            hint,
        });
    };
    key.set_text(config, value)
        .map_err(|reason| ConfigError::Invalid {
            origin: Origin::Environment(name.to_owned()),
            key: key.path.clone(),
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
    use std::time::Duration;

    use super::*;
    use crate::serve::address::Address;

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
        let flagged = Address::Tcp(([127, 0, 0, 1], 3).into());
        assert_eq!(config.serve.listen, [flagged]);
        assert_eq!(config.session.max_sessions, 3);
        assert_eq!(config.session.linger, Duration::from_secs(9));
    }

    #[test]
    fn keys_that_differ_are_named_and_the_hash_differs() {
        let default = Config::default();
        let inputs = environment(&[("SESSIONSCOPE_GPU_PERIOD", "2s")]);
        let other = Config::load(&inputs).unwrap();
        assert_eq!(other.differing(&default), ["gpu.period"]);
        assert_eq!(default.differing(&default), Vec::<&str>::new());
        assert_ne!(other.hash(), default.hash());
        assert_eq!(default.hash(), Config::default().hash());
        assert_eq!(default.hash().len(), 16);
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
    fn addresses_of_a_variable_are_separated_as_those_of_a_list() {
        let inputs = environment(&[("SESSIONSCOPE_LISTEN", "127.0.0.1:1; unix:/run/x.sock")]);
        let listen = Config::load(&inputs).unwrap().serve.listen;
        let listen: Vec<String> = listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, ["127.0.0.1:1", "unix:/run/x.sock"]);
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
        for key in keys() {
            assert!(!is_service_link(&key.variable(), "x"), "{}", key.path);
        }
    }
}
