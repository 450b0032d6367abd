//! `--print-config`: the effective configuration as a file, each key below its documentation.
//!
//! What it prints is valid input, so that it can be edited and given back; a key that is not set
//! is there as a comment.

use std::fmt::Write as _;

use super::{Config, keys};
use crate::{
    discover::rules::{
        RuleDefinition,
        settings::{RULE_KEYS, RuleField},
    },
    setting::toml_string,
};

const WIDTH: usize = 98;

// Writing to a string cannot fail.
pub(super) fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    let mut current = "";
    let default = Config::default();
    for key in keys() {
        let (table, name) = (key.table, key.name);
        if table != current {
            let _ = writeln!(text, "\n[{table}]");
            current = table;
        }
        comment(
            &mut text,
            &format!("{} ({}; {})", key.doc, key.form(), key.variable()),
        );
        let by_default = key.value(&default);
        if key.value(config) != by_default {
            let by_default = by_default.unwrap_or_else(|| "not set".to_owned());
            comment(
                &mut text,
                &format!("Not the default, which is {by_default}."),
            );
        }
        let _ = match (key.value(config), key.elements(config)) {
            (Some(value), Some(elements)) if name.len() + value.len() > WIDTH => {
                writeln!(text, "{name} = [\n    {},\n]", elements.join(",\n    "))
            }
            (Some(value), _) => writeln!(text, "{name} = {value}"),
            (None, _) => writeln!(text, "# {name} is not set"),
        };
    }
    for rule in &config.discover.rules.configured {
        text.push_str("\n[[rules]]\n");
        let mut definition = rule.definition().clone();
        for key in RULE_KEYS {
            if let Some(value) = rule_value(&key.field, &mut definition) {
                let _ = writeln!(text, "{} = {value}", key.name);
            }
        }
    }
    text
}

fn rule_value(field: &RuleField, rule: &mut RuleDefinition) -> Option<String> {
    match field {
        RuleField::Required(field) => Some(toml_string(field(rule))),
        RuleField::Optional(field) => field(rule).as_deref().map(toml_string),
        RuleField::Boolean(field) => field(rule).then(|| "true".to_owned()),
    }
}

/// Appends `words` as a comment, wrapped.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            text.push_str(&line);
            text.push('\n');
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Key, file};

    fn parse(text: &str) -> Config {
        let mut config = Config::default();
        file::apply(&mut config, Path::new("printed.toml"), text).unwrap();
        config
    }

    #[test]
    fn the_printed_default_parses_back_to_the_default() {
        assert_eq!(parse(&to_toml(&Config::default())), Config::default());
    }

    #[test]
    fn what_is_not_the_default_says_so() {
        let default = to_toml(&Config::default());
        assert!(!default.contains("# Not the default"), "{default}");
        let text = to_toml(&parse("[log]\nlevel = \"debug\"\n"));
        let marked = "# Not the default, which is \"info\".\nlevel = \"debug\"\n";
        assert!(text.contains(marked), "{text}");
        assert_eq!(text.matches("# Not the default").count(), 1, "{text}");
    }

    /// Values of all forms that keys have, none of which is a default.
    const VALUES: [&str; 20] = [
        "false",
        "true",
        "7",
        "7000",
        "1s 200ms",
        "1h 30m",
        "[::]:1",
        "/x/\"y\"",
        "json",
        "plain",
        "off",
        "full",
        "pid-array",
        "unix:path=/x",
        "desks.example; d'sks",
        "warn,a::b=trace",
        "http://a:1",
        "grpc",
        "failed",
        "0.5",
    ];

    /// Sets a key to something that it has not by default.
    fn change(key: &Key, config: &mut Config) {
        let default = key.value(&Config::default());
        let mut values = VALUES.iter();
        let changed = values.any(|value| {
            let mut other = config.clone();
            let accepted = key.set_text(&mut other, value).is_ok() && key.value(&other) != default;
            if accepted {
                *config = other;
            }
            accepted
        });
        assert!(
            changed,
            "no value of the list is one of {}: add one",
            key.path
        );
    }

    #[test]
    fn a_configuration_without_any_default_parses_back_to_itself() {
        let mut config = parse(
            "[[rules]]\nname = \"k'\\\"asm\"\npattern = '^/kasm/(?<u>\\d+)\\x2d'\nsession = \"$u\"\n\
             [[rules]]\nname = \"none\"\npattern = \"x\"\nignore = true\n\
             trust = true\ndecode = \"systemd\"\n",
        );
        for key in keys() {
            change(key, &mut config);
        }
        assert_eq!(parse(&to_toml(&config)), config);
        let default = Config::default();
        for key in keys() {
            assert_ne!(key.value(&config), key.value(&default), "{}", key.path);
        }
    }

    #[test]
    fn several_addresses_parse_back_to_the_same() {
        let config = parse("listen = [\"[::]:1\", \"unix:/run/x y.sock\"]\n");
        assert_eq!(parse(&to_toml(&config)), config);
    }

    #[test]
    fn every_key_is_printed_below_its_documentation() {
        let text = to_toml(&Config::default());
        for key in keys() {
            let name = key.name;
            assert!(text.contains(&format!("\n{name} ")) || text.contains(&format!("# {name} ")));
            assert!(text.contains(&key.variable()), "{}", key.path);
        }
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
