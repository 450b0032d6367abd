//! Decides from a cgroup's path whether it is a session, and which.
//!
//! A rule is a regular expression over the path plus templates for the labels. The rules of the
//! configuration come first, so that they can override or exclude what the built-in rules would
//! take; the first rule that matches decides. A verdict is about one cgroup only: a cgroup that is
//! not a session belongs to the nearest session above it, which is the caller's to find.
//!
//! A path is believed where its platform makes cgroups and nobody else can ([`Ground`], [`Standing`]):
//! whoever may make a directory chooses its name. A rule that is not believed at a place does not apply there.
//!
//! Patterns work on bytes, without Unicode classes: a name that is not UTF-8 must not be a way to
//! escape being measured.

mod builtin;
mod ground;
#[cfg(any(test, fuzzing))]
mod properties;
pub mod settings;
mod template;
mod text;

use std::{borrow::Cow, cell::LazyCell};

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::platform::{Key, Named, Source};
use crate::telemetry::Subject;
pub use builtin::{BUILTIN, Builtin, Example, builtin_markdown};
pub use ground::{Ground, Standing};
#[cfg(any(test, fuzzing))]
pub(crate) use properties::{must_hold_of_path, must_hold_of_rule};
use template::{Captured, Template};
pub use text::{LONGEST, digest, label, printable};

/// A rule as it is written in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleDefinition {
    /// What errors and the identity call the rule.
    pub name: String,
    /// The regular expression, over the cgroup's path within the v2 hierarchy.
    pub pattern: String,
    /// Template of the session's name; without it, the capture `session`.
    pub session: Option<String>,
    /// Template of the namespace; without it, the capture `namespace`.
    pub namespace: Option<String>,
    /// Template of the label `template`; without it, the capture `template`.
    pub template: Option<String>,
    /// Template of the runtime; without it, the capture `runtime`.
    pub runtime: Option<String>,
    /// The cgroup and what is below it is no session.
    pub ignore: bool,
    /// The rule is believed everywhere, also where tenants make cgroups.
    pub trust: bool,
    /// How the captures are encoded in the path: `systemd` or `pod-uid`; without it, not at all.
    pub decode: Option<String>,
}

/// What is wrong with a rule: the key of its table, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct RuleError {
    /// The key at fault.
    pub key: &'static str,
    /// Completes the sentence that begins with the key.
    pub reason: String,
}

/// A compiled rule.
#[derive(Debug, Clone)]
pub struct Rule {
    definition: RuleDefinition,
    pattern: Regex,
    effect: Effect,
    decoding: Decoding,
    ground: Ground,
    below: Standing,
    /// It is one of the configuration.
    configured: bool,
    session: Option<Template>,
    namespace: Option<Template>,
    template: Option<Template>,
    runtime: Option<Template>,
    pod: Option<Template>,
    container: Option<Template>,
    machine: Option<Template>,
}

/// Two rules are the same if they are written the same.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition
            && self.effect == other.effect
            && self.decoding == other.decoding
            && self.ground == other.ground
    }
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The cgroup is a session.
    Session,
    /// The cgroup, and all below it, is no session.
    Ignore,
}

/// How the captures of a pattern are encoded in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// Not at all.
    Plain,
    /// As systemd escapes unit names: `\x2d` for `-`.
    SystemdUnit,
    /// As the kubelet's systemd driver writes pod uids: `_` for `-`.
    PodUid,
}

impl Decoding {
    /// By the name that the configuration has for it.
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "systemd" => Ok(Self::SystemdUnit),
            "pod-uid" => Ok(Self::PodUid),
            other => Err(format!(
                "must be \"systemd\" or \"pod-uid\", found {other:?}"
            )),
        }
    }
}

/// Who a session is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The session's name, never empty.
    pub session: String,
    /// Its namespace, or empty.
    pub namespace: String,
    /// What it was made from (an image, a flavour, a template), or empty.
    pub template: String,
    /// What started it: `kubernetes`, `docker`, `logind`, …
    pub runtime: Option<String>,
    /// The rule that recognised it.
    pub rule: String,
    /// The uid of the pod.
    pub pod: Option<String>,
    /// The id of the container.
    pub container: Option<String>,
    /// What libvirt's own id makes of the machine: `qemu-3`.
    pub machine: Option<String>,
    /// Who uses it, as far as that is told.
    pub user: Option<String>,
    /// What joins it with its platform.
    pub platform: Option<Key>,
    /// The user's service manager in which the user has made it.
    pub within: Option<Key>,
    /// It is a session only if its platform names it.
    pub must_be_named: bool,
    /// What it is called where another session has its name.
    pub unique: Option<Named>,
    /// The platform that named it; `None` when the rule did.
    pub source: Option<Source>,
    /// Where the platform has the names from.
    pub origins: Origins,
}

impl Identity {
    /// What told of it: the label `source`.
    pub fn source_name(&self) -> &'static str {
        self.source.map_or("cgroup", Source::name)
    }
}

impl<'a> From<&'a Identity> for Subject<'a> {
    fn from(identity: &'a Identity) -> Self {
        let known = |text: &'a str| (!text.is_empty()).then_some(text);
        Self {
            session: Some(&identity.session),
            namespace: known(&identity.namespace),
            template: known(&identity.template),
            pod: None,
            pod_uid: identity.pod.as_deref(),
            trace_id: None,
        }
    }
}

/// What in the platform each name is from; `None` for those that the rule gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Origins {
    /// The session's name.
    pub session: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The template.
    pub template: Option<String>,
    /// The user, whether it is told or not.
    pub user: Option<String>,
}

/// What one cgroup is by its own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A session of its own.
    Session(Identity),
    /// Excluded by a rule, with all below it.
    Ignored,
    /// One that its platform says is over, though its cgroup is still there.
    Over(Identity),
    /// No session; it belongs to the nearest session above, if there is one.
    NotASession,
    /// Not known yet: its platform has not spoken.
    Held,
}

impl Rule {
    /// Compiles and checks a rule of the configuration.
    pub fn compile(definition: RuleDefinition) -> Result<Self, RuleError> {
        let effect = if definition.ignore {
            Effect::Ignore
        } else {
            Effect::Session
        };
        let decoding = match &definition.decode {
            Some(name) => Decoding::named(name).map_err(|reason| RuleError {
                key: "decode",
                reason,
            })?,
            None => Decoding::Plain,
        };
        let ground = if definition.trust {
            Ground::Anywhere
        } else {
            Ground::Configured
        };
        let mut rule = Self::with(definition, effect, decoding)?;
        (rule.ground, rule.configured) = (ground, true);
        let given = [
            ("session", &rule.definition.session),
            ("namespace", &rule.definition.namespace),
            ("template", &rule.definition.template),
            ("runtime", &rule.definition.runtime),
        ];
        match (
            effect,
            given.iter().find(|(_, template)| template.is_some()),
        ) {
            (Effect::Ignore, Some((key, _))) => Err(RuleError {
                key,
                reason: "has no use in a rule with ignore = true; remove one of them".to_owned(),
            }),
            (Effect::Session, _) if rule.session.is_none() => Err(RuleError {
                key: "session",
                reason: "is missing: set it, or name a capture of the pattern (?<session>…)"
                    .to_owned(),
            }),
            _ => Ok(rule),
        }
    }

    fn with(
        definition: RuleDefinition,
        effect: Effect,
        decoding: Decoding,
    ) -> Result<Self, RuleError> {
        if definition.name.is_empty() {
            return Err(RuleError {
                key: "name",
                reason: "must not be empty".to_owned(),
            });
        }
        let pattern = RegexBuilder::new(&definition.pattern)
            .unicode(false)
            .build()
            .map_err(|error| RuleError {
                key: "pattern",
                reason: one_line(&error),
            })?;
        let template = |key: &'static str, text: &Option<String>| match text {
            Some(text) => Template::parse(text, &pattern)
                .map(Some)
                .map_err(|reason| RuleError { key, reason }),
            None => Ok(Template::capture(key, &pattern)),
        };
        Ok(Self {
            session: template("session", &definition.session)?,
            namespace: template("namespace", &definition.namespace)?,
            template: template("template", &definition.template)?,
            runtime: template("runtime", &definition.runtime)?,
            pod: Template::capture("pod", &pattern),
            container: Template::capture("container", &pattern),
            machine: Template::capture("machine", &pattern),
            definition,
            pattern,
            effect,
            decoding,
            ground: Ground::Platform,
            below: Standing::Tenant,
            configured: false,
        })
    }

    /// The rule as it is written.
    pub fn definition(&self) -> &RuleDefinition {
        &self.definition
    }

    /// Whether it is one of the configuration.
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// Who makes cgroups below one that the rule takes.
    pub fn below(&self) -> Standing {
        self.below
    }

    /// The verdict if the rule matches. A match whose session name comes out empty is none: an
    /// optional group that took no part names nothing.
    fn verdict(&self, path: &[u8]) -> Option<Verdict> {
        match self.effect {
            Effect::Ignore => self.pattern.is_match(path).then_some(Verdict::Ignored),
            Effect::Session => {
                let captures = self.pattern.captures(path)?;
                self.identity(&self.decode(&captures)).map(Verdict::Session)
            }
        }
    }

    fn decode<'p>(&self, captures: &Captures<'p>) -> Vec<Option<Cow<'p, [u8]>>> {
        let decode = |bytes: &'p [u8]| match self.decoding {
            Decoding::Plain => Cow::Borrowed(bytes),
            Decoding::SystemdUnit => text::systemd_unescape(bytes),
            Decoding::PodUid => Cow::Owned(
                bytes
                    .iter()
                    .map(|b| if *b == b'_' { b'-' } else { *b })
                    .collect(),
            ),
        };
        captures
            .iter()
            .map(|group| group.map(|group| decode(group.as_bytes())))
            .collect()
    }

    fn identity(&self, captured: &Captured<'_>) -> Option<Identity> {
        let text = |template: &Option<Template>| {
            let text = template
                .as_ref()
                .map(|template| label(&template.expand(captured)));
            text.filter(|text| !text.is_empty())
        };
        Some(Identity {
            session: text(&self.session)?,
            namespace: text(&self.namespace).unwrap_or_default(),
            template: text(&self.template).unwrap_or_default(),
            runtime: text(&self.runtime),
            rule: self.definition.name.clone(),
            pod: text(&self.pod),
            container: text(&self.container),
            machine: text(&self.machine),
            must_be_named: self.ground == Ground::Named,
            ..Identity::default()
        })
    }
}

/// All rules, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// The rules of the configuration, then, if wanted, the built-in ones.
    pub fn new(configured: &[Rule], builtin: bool) -> Self {
        let builtin = BUILTIN.iter().filter(|_| builtin).map(Builtin::rule);
        Self(configured.iter().cloned().chain(builtin).collect())
    }

    /// Those of the configuration.
    pub fn configured(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.is_configured())
    }

    /// What the cgroup at `path` (absolute within the v2 hierarchy) is by itself. `standing` is asked once, if a
    /// rule matches.
    pub fn judge(&self, path: &[u8], standing: impl FnOnce() -> Standing) -> Judgement<'_> {
        let mut judgement = Judgement {
            verdict: Verdict::NotASession,
            rule: None,
            disbelieved: None,
        };
        // The root is the node; a careless `.*` must not make it one big session.
        if path.is_empty() || path == b"/" {
            return judgement;
        }
        let standing = LazyCell::new(standing);
        for rule in &self.0 {
            let Some(verdict) = rule.verdict(path) else {
                continue;
            };
            if rule.ground.holds(*standing) {
                judgement.verdict = verdict;
                judgement.rule = Some(rule);
                break;
            }
            judgement.disbelieved.get_or_insert(rule);
        }
        judgement
    }
}

/// What the rules make of a path.
#[derive(Debug)]
pub struct Judgement<'a> {
    /// What the cgroup is.
    pub verdict: Verdict,
    /// The rule that says so.
    pub rule: Option<&'a Rule>,
    /// The first rule that matches and is not believed there.
    pub disbelieved: Option<&'a Rule>,
}

/// The last line of a pattern's error, which says what is wrong; those before it draw the pattern
/// with a marker below, and a log line has no room for a drawing.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!(
        "does not compile: {}",
        last.trim().trim_start_matches("error: ")
    )
}

#[cfg(test)]
mod tests;
