//! `--print-config`: the effective configuration as a file, each key below its documentation.
//!
//! What it prints is valid input, so that it can be edited and given back; a key that is not set
//! is there as a comment.

use std::fmt::Write as _;

use super::{
    Config, KEYS, RULE_KEYS,
    keys::{RuleField, toml_string},
};
use crate::discover::rules::RuleDefinition;

const WIDTH: usize = 98;

// Writing to a string cannot fail.
pub(super) fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    let mut current = "";
    for key in KEYS {
        let (table, name) = key.table_and_name();
        if table != current {
            let _ = writeln!(text, "\n[{table}]");
            current = table;
        }
        comment(
            &mut text,
            &format!("{} ({}; {})", key.doc, key.form(), key.variable()),
        );
        let _ = match (key.value(config), key.elements(config)) {
            (Some(value), Some(elements)) if name.len() + value.len() > WIDTH => {
                writeln!(text, "{name} = [\n    {},\n]", elements.join(",\n    "))
            }
            (Some(value), _) => writeln!(text, "{name} = {value}"),
            (None, _) => writeln!(text, "# {name} is not set"),
        };
    }
    for rule in &config.rules {
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
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::config::{
        Api, ClassicBuckets, Containers, Gpu, Kernel, Kubernetes, Libvirt, Log, LogFormat, Logind,
        Metrics, Sampling, Sessions, TaskState, UserPolicy, Watch, file,
    };

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
    fn a_configuration_without_any_default_parses_back_to_itself() {
        let rules = "[[rules]]\nname = \"k'\\\"asm\"\npattern = '^/kasm/(?<u>\\d+)\\x2d'\nsession = \"$u\"\n\
                     [[rules]]\nname = \"none\"\npattern = \"x\"\nignore = true\n\
                     trust = true\ndecode = \"systemd\"\n";
        // Literals without `..`: a new field must be given here, and then fails without its row in
        // the list of keys.
        let config = Config {
            listen: "[::]:1".parse().unwrap(),
            log: Log {
                format: LogFormat::Json,
                level: "warn,a::b=trace".to_owned(),
            },
            sessions: Sessions {
                max_sessions: 7,
                linger: Duration::from_millis(90_500),
                idle_after: Duration::from_hours(1),
                state: "/x/state".into(),
                builtin_rules: false,
                user: UserPolicy::Plain,
                user_key: Some("/x/key".into()),
            },
            sampling: Sampling {
                period: Duration::from_millis(1200),
                rescan: Duration::from_secs(3),
                accounts: Duration::from_secs(4),
            },
            metrics: Metrics {
                classic_buckets: ClassicBuckets::Full,
                max_series: 7_000,
                max_templates: 9,
            },
            api: Api {
                hosts: vec!["desks.example".to_owned()],
            },
            kernel: Kernel {
                btf: "/x/\"btf\"".into(),
                cgroup_root: Some("/host/cgroup".into()),
                task_state: TaskState::PidArray,
                debug_log: true,
                statistics: true,
            },
            gpu: Gpu {
                enabled: false,
                library: Some("/x/libnvidia-ml.so.1".into()),
                period: Duration::from_secs(2),
                streams: Duration::from_secs(3),
                processes: Duration::ZERO,
                health: Duration::from_secs(4),
                pcie: Duration::from_mins(1),
                release: Duration::from_mins(2),
            },
            kubernetes: Kubernetes {
                watch: Watch::On,
                kubeconfig: Some("/x/kubeconfig".into()),
                service_account: "/x/account".into(),
                node: Some("node-1".to_owned()),
                sessions: vec!["a=b,c in (d, e),!f".parse().unwrap()],
                names: vec!["x/name".to_owned(), "y".to_owned()],
                templates: Vec::new(),
                users: vec!["x/user".to_owned()],
            },
            logind: Logind {
                watch: Watch::Off,
                bus: Some("unix:path=/x".to_owned()),
            },
            libvirt: Libvirt {
                watch: Watch::On,
                state: "/x/libvirt".into(),
            },
            containers: Containers {
                watch: Watch::Off,
                sockets: vec!["/x.sock".into()],
                bundles: Vec::new(),
            },
            rules: parse(rules).rules,
        };
        assert_eq!(parse(&to_toml(&config)), config);
        let default = Config::default();
        for key in KEYS {
            assert_ne!(
                key.value(&config),
                key.value(&default),
                "{} is not covered",
                key.path
            );
        }
    }

    #[test]
    fn every_key_is_printed_below_its_documentation() {
        let text = to_toml(&Config::default());
        for key in KEYS {
            let (_, name) = key.table_and_name();
            assert!(text.contains(&format!("\n{name} ")) || text.contains(&format!("# {name} ")));
            assert!(text.contains(&key.variable()), "{}", key.path);
        }
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
