//! `sessionscope rules test`: which rule takes each cgroup of this node, and why none does.
//!
//! Nothing is measured and no platform is asked: it says what the rules make of the hierarchy as it stands. What only a
//! platform can say, a name or that a session is over, is said to be the platform's.

use std::{
    fmt::{self, Write as _},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
    time::Instant,
};

use agent_common::MAX_LEVEL;
use serde::Serialize;

use crate::error::Error;

use super::{
    cgroup::Hierarchy,
    recognised::Recognition,
    rules::{Identity, Judgement, Rule, Rules, Standing, Verdict, printable},
};

/// The path within the hierarchy of a directory below its mount; one that is elsewhere is such a path already.
pub fn path_within(mount: &Path, path: &Path) -> Vec<u8> {
    let within = path.strip_prefix(mount).unwrap_or(path);
    let names = within.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    });
    let path: Vec<u8> = names.flat_map(|name| [b"/", name].concat()).collect();
    if path.is_empty() { b"/".to_vec() } else { path }
}

/// The path within the hierarchy of the cgroup that a process is in.
///
/// # Errors
///
/// When there is no such process, or it is in no cgroup of version 2.
pub fn path_of_process(pid: u32) -> Result<Vec<u8>, Error> {
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read(&file).map_err(Error::io(&file))?;
    let own = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"));
    own.map(<[u8]>::to_vec)
        .ok_or_else(|| Error::Other(format!("{file} has no line of version 2, `0::`")))
}

/// What the rules make of a node's cgroups.
#[derive(Debug, Serialize)]
pub struct Trial {
    /// Each cgroup, ordered by path; one that was asked for alone.
    pub cgroups: Vec<Tried>,
    /// Rules of the configuration that take none of them. Empty where one cgroup was asked for.
    pub unused: Vec<String>,
}

/// What the rules make of a cgroup.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Its path within the hierarchy; bytes that are no text are replaced.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a cgroup is by the rules.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum What {
    /// A session.
    Session {
        /// The rule that takes it.
        rule: String,
        /// Its name.
        session: String,
        /// Its namespace, empty for none.
        namespace: String,
        /// Its template, empty for none.
        template: String,
        /// Whether it is one only once its platform has named it.
        must_be_named: bool,
    },
    /// Left out by a rule, with all below it.
    Ignored {
        /// The rule.
        rule: String,
    },
    /// No session of its own.
    NoSession {
        /// Why.
        reason: String,
        /// The session that it belongs to, as the path of its cgroup; null for the node.
        within: Option<String>,
    },
}

impl Trial {
    /// Tries the rules on each cgroup of the hierarchy that is mounted there.
    ///
    /// # Errors
    ///
    /// When its root cannot be read.
    pub fn of_node(mount: &Path, rules: &Rules) -> io::Result<Self> {
        let bench = Bench::new(mount, rules)?;
        let ids = bench.hierarchy.in_order();
        let mut cgroups: Vec<Tried> = ids.iter().filter_map(|id| bench.tried(*id)).collect();
        cgroups.sort_by(|one, other| one.path.cmp(&other.path));
        let unused = bench.recognition.unused_rules(rules);
        let unused = unused.map(ToOwned::to_owned).collect();
        Ok(Self { cgroups, unused })
    }

    /// Tries them on one cgroup, by its path within the hierarchy. One that is not there is judged by its path alone, as
    /// if root had made it.
    ///
    /// # Errors
    ///
    /// When the hierarchy's root cannot be read.
    pub fn of_path(mount: &Path, rules: &Rules, path: &[u8]) -> io::Result<Self> {
        let bench = Bench::new(mount, rules)?;
        let ids = bench.hierarchy.in_order();
        let id = ids
            .into_iter()
            .find(|id| bench.hierarchy.path(*id).is_some_and(|own| own == path));
        let tried = id.and_then(|id| bench.tried(id));
        let tried = tried.unwrap_or_else(|| {
            let judgement = rules.judge(path, || Standing::Platform);
            Tried {
                path: shown(path),
                exists: false,
                what: match (judgement.rule, judgement.verdict) {
                    (Some(rule), verdict) => taken(rule, verdict),
                    (None, _) => What::NoSession {
                        reason: no_rule(judgement.disbelieved),
                        within: None,
                    },
                },
            }
        });
        Ok(Self {
            cgroups: vec![tried],
            unused: Vec::new(),
        })
    }

    /// For a terminal: a page on one cgroup, a list of several.
    pub fn text(&self, alone: bool) -> String {
        match self.cgroups.as_slice() {
            [one] if alone => one.page(),
            _ => self.list(),
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text and booleans are always JSON")
    }

    fn list(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for tried in &self.cgroups {
            let _ = writeln!(text, "{}\n    {}", tried.path, tried.what);
        }
        let is_session = |tried: &&Tried| matches!(tried.what, What::Session { .. });
        let sessions = self.cgroups.iter().filter(is_session).count();
        let _ = writeln!(
            text,
            "{} cgroups, {sessions} of them sessions",
            self.cgroups.len()
        );
        for rule in &self.unused {
            let _ = writeln!(
                text,
                "the rule \"{rule}\" takes none: its pattern fits no cgroup that is there now, or it is not believed there"
            );
        }
        text
    }
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session {
                rule,
                session,
                namespace,
                template,
                must_be_named,
            } => {
                write!(formatter, "session \"{session}\" by the rule \"{rule}\"")?;
                for (label, name) in [("namespace", namespace), ("template", template)] {
                    if !name.is_empty() {
                        write!(formatter, ", {label} \"{name}\"")?;
                    }
                }
                if *must_be_named {
                    formatter.write_str(", once its platform names it")?;
                }
                Ok(())
            }
            Self::Ignored { rule } => {
                write!(
                    formatter,
                    "ignored by the rule \"{rule}\", with all below it"
                )
            }
            Self::NoSession { reason, within } => match within {
                Some(session) => write!(formatter, "part of the session {session}: {reason}"),
                None => write!(formatter, "part of the node: {reason}"),
            },
        }
    }
}

impl Tried {
    fn page(&self) -> String {
        let absent = if self.exists {
            ""
        } else {
            " (not there; judged as if root had made it)"
        };
        format!("{}{absent}\n    {}\n", self.path, self.what)
    }
}

/// The hierarchy, and what the rules have made of it.
struct Bench<'r> {
    hierarchy: Hierarchy,
    recognition: Recognition,
    rules: &'r Rules,
}

impl<'r> Bench<'r> {
    fn new(mount: &Path, rules: &'r Rules) -> io::Result<Self> {
        let hierarchy = Hierarchy::scan(mount)?;
        let mut recognition = Recognition::default();
        recognition.judge_all(&hierarchy, rules, Instant::now());
        Ok(Self {
            hierarchy,
            recognition,
            rules,
        })
    }

    fn tried(&self, id: u64) -> Option<Tried> {
        let path = self.hierarchy.path(id)?;
        let what = self.taken(id).unwrap_or_else(|| self.not_taken(id, &path));
        Some(Tried {
            path: shown(&path),
            exists: true,
            what,
        })
    }

    fn taken(&self, id: u64) -> Option<What> {
        let recognised = self.recognition.get(id)?;
        let reason = self.recognition.reason(id, &self.hierarchy, self.rules)?;
        Some(taken(reason.judgement.rule?, recognised.verdict.clone()))
    }

    /// What one is that no rule takes.
    fn not_taken(&self, id: u64, path: &[u8]) -> What {
        let verdict = |at| self.recognition.get(at).map(|one| &one.verdict);
        let above = self.hierarchy.above(id);
        let taken = above.into_iter().find(|at| verdict(*at).is_some());
        let ignored = taken.filter(|at| verdict(*at) == Some(&Verdict::Ignored));
        if let Some(ignored) = ignored {
            return What::NoSession {
                reason: format!("{} is ignored, with all below it", self.shown(ignored)),
                within: None,
            };
        }
        What::NoSession {
            reason: self.why_not(id, path, taken.is_some()),
            within: taken.map(|at| self.shown(at)),
        }
    }

    fn why_not(&self, id: u64, path: &[u8], below_session: bool) -> String {
        if path == b"/" {
            return "the root is never a session".to_owned();
        }
        let Some(reason) = self.recognition.reason(id, &self.hierarchy, self.rules) else {
            return format!("it is more than {MAX_LEVEL} levels deep");
        };
        let Judgement {
            rule, disbelieved, ..
        } = reason.judgement;
        if let Some(rule) = rule {
            return format!(
                "{} fits, and its user has made as many sessions as one may",
                named(rule)
            );
        }
        let Some(rule) = disbelieved else {
            return no_rule(None);
        };
        let place = match reason.standing {
            _ if below_session => "a tenant may make cgroups below a session",
            Standing::User => "users make cgroups here",
            _ => "a directory above is not root's, or others may write it",
        };
        let remedy = if rule.is_configured() {
            "; set trust = true in the rule if it is meant"
        } else {
            ""
        };
        format!("{}: {place}{remedy}", no_rule(Some(rule)))
    }

    fn shown(&self, id: u64) -> String {
        shown(&self.hierarchy.path(id).unwrap_or_default())
    }
}

fn shown(path: &[u8]) -> String {
    printable(path)
}

fn named(rule: &Rule) -> String {
    format!("the rule \"{}\"", rule.definition().name)
}

fn no_rule(disbelieved: Option<&Rule>) -> String {
    disbelieved.map_or_else(
        || "no rule fits".to_owned(),
        |rule| format!("{} fits, and is not believed here", named(rule)),
    )
}

fn taken(rule: &Rule, verdict: Verdict) -> What {
    let name = rule.definition().name.clone();
    match verdict {
        Verdict::Session(identity) | Verdict::Over(identity) => {
            let Identity {
                session,
                namespace,
                template,
                must_be_named,
                ..
            } = identity;
            What::Session {
                rule: name,
                session,
                namespace,
                template,
                must_be_named,
            }
        }
        Verdict::Ignored => What::Ignored { rule: name },
        Verdict::NotASession | Verdict::Held => What::NoSession {
            reason: no_rule(None),
            within: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::rules::RuleDefinition;

    /// Directories that root has made, and the rules `desks` and `nothing`.
    fn node(paths: &[&str]) -> (tempfile::TempDir, Rules) {
        let tree = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(tree.path().join(path)).unwrap();
        }
        let rule = |name: &str, pattern: &str| {
            let definition = RuleDefinition {
                name: name.to_owned(),
                pattern: pattern.to_owned(),
                ignore: name == "builds",
                ..RuleDefinition::default()
            };
            Rule::compile(definition).unwrap()
        };
        let rules = [
            rule("desks", "/(?<template>[^/]+)-desks/(?<session>[^/]+)$"),
            rule("builds", "^/builds$"),
            rule("nothing", "^/nowhere/(?<session>.+)$"),
        ];
        (tree, Rules::new(&rules, false))
    }

    #[test]
    fn each_cgroup_has_the_rule_that_takes_it_or_why_none_does() {
        let (tree, rules) = node(&["blue-desks/ada/blue-desks/inner", "builds/one", "system"]);
        let trial = Trial::of_node(tree.path(), &rules).unwrap();
        assert_eq!(
            trial.text(false),
            "/
    part of the node: the root is never a session
/blue-desks
    part of the node: no rule fits
/blue-desks/ada
    session \"ada\" by the rule \"desks\", template \"blue\"
/blue-desks/ada/blue-desks
    part of the session /blue-desks/ada: no rule fits
/blue-desks/ada/blue-desks/inner
    part of the session /blue-desks/ada: the rule \"desks\" fits, and is not believed here: a tenant may make \
             cgroups below a session; set trust = true in the rule if it is meant
/builds
    ignored by the rule \"builds\", with all below it
/builds/one
    part of the node: /builds is ignored, with all below it
/system
    part of the node: no rule fits
8 cgroups, 1 of them sessions
the rule \"nothing\" takes none: its pattern fits no cgroup that is there now, or it is not believed there
"
        );
        let json: serde_json::Value = serde_json::from_str(&trial.json()).unwrap();
        assert_eq!(json["cgroups"][2]["is"], "session");
        assert_eq!(json["unused"], serde_json::json!(["nothing"]));
    }

    #[test]
    fn a_path_that_is_not_there_is_judged_by_itself() {
        let (tree, rules) = node(&["red-desks/bob"]);
        let text = |path: &str| {
            let trial = Trial::of_path(tree.path(), &rules, path.as_bytes());
            trial.unwrap().text(true)
        };
        assert_eq!(
            text("/nowhere/x"),
            "/nowhere/x (not there; judged as if root had made it)\n    session \"x\" by the rule \"nothing\"\n"
        );
        assert_eq!(
            text("/red-desks/bob"),
            "/red-desks/bob\n    session \"bob\" by the rule \"desks\", template \"red\"\n"
        );
        assert!(text("/elsewhere").ends_with("part of the node: no rule fits\n"));
    }

    #[test]
    fn a_directory_is_a_path_of_the_hierarchy_below_its_mount() {
        let mount = Path::new("/sys/fs/cgroup");
        for (given, path) in [
            ("/sys/fs/cgroup/a.slice/b.scope/", "/a.slice/b.scope"),
            ("/a.slice/b.scope", "/a.slice/b.scope"),
            ("/sys/fs/cgroup", "/"),
            ("a.slice", "/a.slice"),
        ] {
            assert_eq!(
                path_within(mount, Path::new(given)),
                path.as_bytes(),
                "{given}"
            );
        }
    }
}
