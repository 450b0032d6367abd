//! What can be set of rules: the keys of a rule, and whether the built-in ones follow.

use super::{Rule, RuleDefinition};
use crate::setting::{Field, Key, Table};

/// Which rules there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Configured rules, in the order in which they are asked.
    pub configured: Vec<Rule>,
    /// Whether the built-in ones follow.
    pub builtin: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configured: Vec::new(),
            builtin: true,
        }
    }
}

/// The table `sessions`.
pub const TABLE: Table<Settings> = Table {
    name: "sessions",
    about: "",
    keys: &[Key {
        name: "builtin_rules",
        flag: None,
        doc: "Recognise the cgroups of the common runtimes (see the table of built-in rules) after the configured rules.",
        field: Field::Boolean {
            get: |settings| settings.builtin,
            set: |settings, value| settings.builtin = value,
        },
    }],
};

/// One key of a rule's table.
#[derive(Debug)]
pub struct RuleKey {
    /// The key.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    pub(crate) field: RuleField,
}

/// The place of a rule's key.
#[derive(Debug)]
pub(crate) enum RuleField {
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
