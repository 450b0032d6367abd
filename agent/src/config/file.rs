//! The TOML file, walked along the list of keys.
//!
//! The parser's tree carries the place of every key and value, so an error names its line. Keys are
//! visited in the order of the file, so that the first error is the topmost one.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Config, Key, keys};
use crate::{
    discover::rules::{
        Rule, RuleDefinition,
        settings::{RULE_KEYS, RuleField, RuleKey},
    },
    setting::{ConfigError, Origin, Scalar, hint},
};

const RULES: &str = "rules";

/// Puts what the file says into `config`.
pub(super) fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        origin: file.origin(error.span().map_or(0, |span| span.start)),
        reason: error.message().replace('\n', "; "),
    })?;
    file.table(config, "", table.get_ref())
}

struct File<'t> {
    path: &'t Path,
    text: &'t str,
}

/// The entries of a table in the order of the file.
fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t str, usize, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value))
        .collect();
    entries.sort_by_key(|(_, at, _)| *at);
    entries
}

impl File<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }

    fn invalid(&self, offset: usize, key: &str, reason: String) -> ConfigError {
        ConfigError::Invalid {
            origin: self.origin(offset),
            key: key.to_owned(),
            reason,
        }
    }

    fn table(
        &self,
        config: &mut Config,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        for (name, at, value) in entries(table) {
            let path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}.{name}")
            };
            if let Some(key) = Key::at(&path) {
                let scalar = scalar(value.get_ref(), &key.form());
                let set = scalar.and_then(|scalar| key.set(config, &scalar));
                set.map_err(|reason| self.invalid(value.span().start, &path, reason))?;
            } else if path == RULES {
                config.discover.rules.configured = self.rules(value)?;
            } else if prefix.is_empty() && keys().any(|key| key.table == name) {
                let DeValue::Table(inner) = value.get_ref() else {
                    let reason = format!("expected a table, found {}", kind(value.get_ref()));
                    return Err(self.invalid(at, &path, reason));
                };
                self.table(config, name, inner)?;
            } else {
                return Err(self.unknown(at, name, prefix, &known(prefix)));
            }
        }
        Ok(())
    }

    fn unknown(&self, at: usize, key: &str, table: &str, known: &[&str]) -> ConfigError {
        ConfigError::UnknownKey {
            origin: self.origin(at),
            key: key.to_owned(),
            table: match table {
                "" => String::new(),
                table if table.starts_with(RULES) => format!(" in {table}"),
                table => format!(" in [{table}]"),
            },
            hint: hint(key, known.iter().copied()),
        }
    }

    fn rules(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Rule>, ConfigError> {
        let expected = |found: &Spanned<DeValue<'_>>| {
            let reason = format!("expected [[rules]] tables, found {}", kind(found.get_ref()));
            self.invalid(found.span().start, RULES, reason)
        };
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(expected(value));
        };
        let mut rules: Vec<Rule> = Vec::new();
        for (index, element) in tables.iter().enumerate() {
            let DeValue::Table(table) = element.get_ref() else {
                return Err(expected(element));
            };
            let rule = self.rule(index, element.span().start, table)?;
            let name = &rule.definition().name;
            if let Some(first) = rules
                .iter()
                .position(|other| other.definition().name == *name)
            {
                return Err(ConfigError::Rule {
                    origin: self.origin(element.span().start),
                    index,
                    name: name.clone(),
                    reason: format!("rules[{first}] has the same name; give each its own"),
                });
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    fn rule(&self, index: usize, start: usize, table: &DeTable<'_>) -> Result<Rule, ConfigError> {
        let mut definition = RuleDefinition::default();
        let place = format!("{RULES}[{index}]");
        for (name, at, value) in entries(table) {
            let Some(key) = RULE_KEYS.iter().find(|key| key.name == name) else {
                let known: Vec<&str> = RULE_KEYS.iter().map(|key| key.name).collect();
                return Err(self.unknown(at, name, &place, &known));
            };
            set(key, &mut definition, value.get_ref()).map_err(|reason| {
                self.invalid(value.span().start, &format!("{place}.{name}"), reason)
            })?;
        }
        for key in RULE_KEYS
            .iter()
            .filter(|key| matches!(key.field, RuleField::Required(_)))
        {
            if !table.contains_key(key.name) {
                let reason = format!("a rule needs the key \"{}\"", key.name);
                return Err(self.invalid(start, &place, reason));
            }
        }
        let name = definition.name.clone();
        Rule::compile(definition).map_err(|error| {
            let at = entries(table)
                .iter()
                .find(|(key, ..)| *key == error.key)
                .map(|(_, at, _)| *at);
            let origin = self.origin(at.unwrap_or(start));
            ConfigError::Rule {
                origin,
                index,
                name,
                reason: error.to_string(),
            }
        })
    }
}

fn set(key: &RuleKey, rule: &mut RuleDefinition, value: &DeValue<'_>) -> Result<(), String> {
    let wrong = |expected: &str| Err(format!("expected {expected}, found {}", kind(value)));
    match (&key.field, value) {
        (RuleField::Required(field), DeValue::String(text)) => *field(rule) = text.to_string(),
        (RuleField::Optional(field), DeValue::String(text)) => {
            *field(rule) = Some(text.to_string());
        }
        (RuleField::Boolean(field), DeValue::Boolean(value)) => *field(rule) = *value,
        (RuleField::Required(_) | RuleField::Optional(_), _) => return wrong("a string"),
        (RuleField::Boolean(_), _) => return wrong("true or false"),
    }
    Ok(())
}

/// What may stand in a table: its keys, and at the top level the tables themselves.
fn known(table: &str) -> Vec<&'static str> {
    let mut known: Vec<&str> = Vec::new();
    for key in keys() {
        let of = key.table;
        let candidate = if of == table { key.name } else { of };
        if (of == table || table.is_empty()) && !known.contains(&candidate) {
            known.push(candidate);
        }
    }
    if table.is_empty() {
        known.push(RULES);
    }
    known
}

fn scalar(value: &DeValue<'_>, form: &str) -> Result<Scalar, String> {
    Ok(match value {
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Boolean(value) => Scalar::Boolean(*value),
        DeValue::Integer(integer) => Scalar::Integer(
            i64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| format!("the integer {integer} is too large"))?,
        ),
        DeValue::Array(elements) => {
            let texts = elements.iter().map(|element| match element.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!("expected {form}, found {} in it", kind(other))),
            });
            Scalar::List(texts.collect::<Result<_, _>>()?)
        }
        other => return Err(format!("expected {form}, found {}", kind(other))),
    })
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::settings::TaskState;

    fn parse(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        apply(&mut config, Path::new("config.toml"), text).map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn tables_dotted_keys_and_rules_are_read() {
        let config = parse(
            "sampling.period = \"250ms\"\n[kernel]\ntask_state = \"pid-array\"\n\
             cgroup_root = \"/host/cgroup\"\n[[rules]]\nname = \"kasm\"\n\
             pattern = '^/kasm/(?<session>[^/]+)$'\n[[rules]]\nname = \"no-ci\"\n\
             pattern = '^/ci/'\nignore = true\n",
        )
        .unwrap();
        assert_eq!(config.sampling.period, Duration::from_millis(250));
        assert_eq!(config.kernel.task_state, TaskState::PidArray);
        assert_eq!(
            config.kernel.cgroup_root.as_deref(),
            Some(Path::new("/host/cgroup"))
        );
        assert_eq!(config.discover.rules.configured.len(), 2);
        assert!(config.discover.rules.configured[1].definition().ignore);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
        assert_eq!(
            refused("# sessions\n\n[sessions]\nlingr = \"5m\"\n"),
            "config.toml:4: unknown key \"lingr\" in [sessions]; did you mean \"linger\"?"
        );
        assert_eq!(
            refused("lisen = 1\n"),
            "config.toml:1: unknown key \"lisen\"; did you mean \"listen\"?"
        );
        assert_eq!(
            refused("[graphics]\nx = 1\n"),
            "config.toml:1: unknown key \"graphics\"; expected one of listen, log, traces, sessions, sampling, \
             metrics, api, web, socket, kernel, gpu, kubernetes, logind, libvirt, containers, rules"
        );
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_its_line() {
        let expected =
            "config.toml:3: sessions.linger: a duration needs a unit, for example \"5m\"";
        assert_eq!(refused("\n[sessions]\nlinger = 5\n"), expected);
        assert_eq!(refused("\n[sessions]\nlinger = \"5\"\n"), expected);
    }

    #[test]
    fn a_wrong_type_is_refused_with_what_was_found() {
        assert_eq!(
            refused("[sessions]\nmax_sessions = \"9\"\n"),
            "config.toml:2: sessions.max_sessions: expected an integer, found a string"
        );
        assert_eq!(
            refused("log = 3\n"),
            "config.toml:1: log: expected a table, found an integer"
        );
        assert_eq!(
            refused("[log]\nlevel = [1]\n"),
            "config.toml:2: log.level: expected level, or target=level pairs, found an integer in it"
        );
        assert_eq!(
            refused("[log]\nlevel = [\"info\"]\n"),
            "config.toml:2: log.level: expected a string, found an array"
        );
        assert_eq!(
            refused("[kubernetes]\nnames = \"app\"\n"),
            "config.toml:2: kubernetes.names: expected an array of labels or annotations, found a string"
        );
        assert_eq!(
            refused("[kubernetes]\nsessions = [\"app in x\"]\n"),
            "config.toml:2: kubernetes.sessions: \"app in x\" is no label selector: expected ( after in"
        );
        assert_eq!(
            refused("rules = 3\n"),
            "config.toml:1: rules: expected [[rules]] tables, found an integer"
        );
    }

    #[test]
    fn one_address_is_a_string_and_more_are_an_array() {
        let listen = |text: &str| parse(text).unwrap().serve.listen.len();
        assert_eq!(listen("listen = \"unix:/x\"\n"), 1);
        assert_eq!(listen("listen = [\"unix:/x\"]\n"), 1);
        assert_eq!(listen("listen = [\"[::]:1\", \"unix:/x\"]\n"), 2);
        assert_eq!(
            refused("listen = 9709\n"),
            "config.toml:1: listen: expected address:port or unix:/path, or an array of them, found an integer"
        );
        assert_eq!(
            refused("listen = []\n"),
            "config.toml:1: listen: expected an address at least, found none"
        );
        let error = refused("listen = [\"unix:/x\", \"x\"]\n");
        assert!(error.ends_with("found \"x\""), "{error}");
        assert_eq!(
            refused("[socket]\nmode = 432\n"),
            "config.toml:2: socket.mode: expected a string, found an integer"
        );
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        assert_eq!(
            refused("[sampling]\nperiod = \"10ms\"\n"),
            "config.toml:2: sampling.period: expected 200ms to 1m, found \"10ms\""
        );
        assert_eq!(
            refused("[sessions]\nmax_sessions = -1\n"),
            "config.toml:2: sessions.max_sessions: expected 1 to 4096, found -1"
        );
        assert_eq!(
            refused("[log]\nformat = \"xml\"\n"),
            "config.toml:2: log.format: expected \"text\" or \"json\" or \"logfmt\", found \"xml\""
        );
    }

    #[test]
    fn a_rule_that_does_not_compile_is_refused_with_the_line_of_its_pattern() {
        assert_eq!(
            refused("[[rules]]\nname = \"kasm\"\npattern = '^/kasm/('\n"),
            "config.toml:3: rules[0] (\"kasm\"): pattern does not compile: unclosed group"
        );
    }

    #[test]
    fn a_rule_with_a_bad_key_is_refused() {
        assert_eq!(
            refused("[[rules]]\nname = \"kasm\"\npatern = 'x'\n"),
            "config.toml:3: unknown key \"patern\" in rules[0]; did you mean \"pattern\"?"
        );
        assert_eq!(
            refused("\n[[rules]]\nname = \"kasm\"\n"),
            "config.toml:2: rules[0]: a rule needs the key \"pattern\""
        );
        assert_eq!(
            refused("[[rules]]\nname = \"a\"\npattern = 'x'\nignore = \"yes\"\n"),
            "config.toml:4: rules[0].ignore: expected true or false, found a string"
        );
    }

    #[test]
    fn two_rules_of_one_name_are_refused() {
        let rule = "[[rules]]\nname = \"a\"\npattern = 'x'\nignore = true\n";
        assert_eq!(
            refused(&rule.repeat(2)),
            "config.toml:5: rules[1] (\"a\"): rules[0] has the same name; give each its own"
        );
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line_in_one_line() {
        let error = refused("[log]\nlevel = \n");
        assert!(error.starts_with("config.toml:2: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn the_first_error_in_the_file_is_the_one_reported() {
        assert!(refused("zzz = 1\naaa = 1\n").starts_with("config.toml:1: "));
    }
}
