//! What holds of any path and of any rule, for tests and for what cargo-fuzz builds.

use std::sync::LazyLock;

use super::{Judgement, LONGEST, Rule, RuleDefinition, Rules, Standing, Verdict};
use crate::fuzz::in_proportion;

/// However a cgroup is called and wherever it is, it is judged in bounds.
pub(crate) fn must_hold_of_path(path: &[u8]) {
    for standing in [Standing::Platform, Standing::User, Standing::Tenant] {
        must_hold_as(path, standing);
    }
}

/// The same where it stands so.
pub(super) fn must_hold_as(path: &[u8], standing: Standing) {
    static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new(&[], true));
    let judgement = RULES.judge(path, || standing);
    assert!(is_in_bounds(&judgement), "{judgement:?}");
    assert_eq!(
        judgement.rule.is_none(),
        judgement.verdict == Verdict::NotASession
    );
}

/// Whatever a rule says, it is refused in a line or judges in bounds.
pub(crate) fn must_hold_of_rule(pattern: &str, session: &str, decode: Option<&str>, path: &[u8]) {
    let definition = RuleDefinition {
        name: "strange".to_owned(),
        pattern: pattern.to_owned(),
        session: Some(session.to_owned()),
        decode: decode.map(str::to_owned),
        ..RuleDefinition::default()
    };
    match Rule::compile(definition) {
        Ok(rule) => {
            let rules = Rules::new(&[rule], false);
            let judgement = rules.judge(path, || Standing::Platform);
            assert!(is_in_bounds(&judgement), "{judgement:?}");
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            let read = pattern.len() + session.len();
            assert!(in_proportion(&error, read), "{error}");
        }
    }
}

fn is_in_bounds(judgement: &Judgement<'_>) -> bool {
    let Verdict::Session(identity) = &judgement.verdict else {
        return true;
    };
    let told = [&identity.session, &identity.namespace, &identity.template];
    let joined = [
        &identity.runtime,
        &identity.pod,
        &identity.container,
        &identity.machine,
    ];
    let mut texts = told.into_iter().chain(joined.into_iter().flatten());
    texts.all(|text| text.chars().count() <= LONGEST) && !identity.session.is_empty()
}
