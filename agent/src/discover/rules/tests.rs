//! Tests of the rules of a configuration; those of the built-in ones are in `builtin`.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::fuzz::{self, bytes_like, text_like};

fn rule(name: &str, pattern: &str) -> RuleDefinition {
    RuleDefinition {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        ..Default::default()
    }
}

fn classify(definition: RuleDefinition, path: &[u8]) -> Verdict {
    at(definition, path, Standing::Platform)
}

fn at(definition: RuleDefinition, path: &[u8], standing: Standing) -> Verdict {
    let rules = Rules::new(&[Rule::compile(definition).unwrap()], true);
    rules.judge(path, || standing).verdict
}

fn by_builtin(path: &[u8]) -> Verdict {
    Rules::new(&[], true)
        .judge(path, || Standing::Platform)
        .verdict
}

fn identity(verdict: Verdict) -> Identity {
    match verdict {
        Verdict::Session(identity) => identity,
        other => panic!("{other:?} is no session"),
    }
}

#[test]
fn captures_of_the_labels_names_fill_the_labels() {
    let kasm = rule("kasm", "^/kasm/(?<template>[^/-]+)-(?<session>[^/]+)$");
    let found = identity(classify(kasm, b"/kasm/chrome-ada"));
    assert_eq!(
        (found.session.as_str(), found.template.as_str()),
        ("ada", "chrome")
    );
    assert_eq!(
        (found.rule.as_str(), found.namespace.as_str()),
        ("kasm", "")
    );
    assert_eq!(found.runtime, None);
}

#[test]
fn templates_come_before_captures() {
    let definition = RuleDefinition {
        session: Some("$user-${session}".to_owned()),
        namespace: Some("labs".to_owned()),
        runtime: Some("kasm".to_owned()),
        ..rule("kasm", "^/kasm/(?<user>[^/]+)/(?<session>[^/]+)$")
    };
    let found = identity(classify(definition, b"/kasm/ada/7"));
    assert_eq!(
        (found.session.as_str(), found.namespace.as_str()),
        ("ada-7", "labs")
    );
    assert_eq!(found.runtime.as_deref(), Some("kasm"));
}

#[test]
fn a_configured_rule_overrides_a_builtin_one() {
    let path = b"/user.slice/user-7.slice/session-3.scope";
    let ignore = RuleDefinition {
        ignore: true,
        ..rule("no-logins", r"^/user\.slice/")
    };
    assert_eq!(classify(ignore, path), Verdict::Ignored);
    assert_eq!(identity(by_builtin(path)).rule, "logind-session");
    let none = Rules::new(&[], false);
    let judgement = none.judge(path, || Standing::Platform);
    assert_eq!(judgement.verdict, Verdict::NotASession);
}

#[test]
fn a_name_that_is_not_utf8_is_a_session_all_the_same() {
    let found = identity(classify(
        rule("any", "^/x/(?<session>[^/]+)$"),
        b"/x/a\xffb",
    ));
    assert_eq!(found.session, r"a\xffb");
    let found = identity(by_builtin(b"/lxc.payload.\xff\xfe"));
    assert_eq!(found.session, r"\xff\xfe");
}

#[test]
fn an_empty_session_name_leaves_the_cgroup_to_later_rules() {
    let definition = rule("any", "^/lxc/(?<session>[0-9]*)");
    assert_eq!(identity(classify(definition, b"/lxc/desk")).rule, "lxc");
}

#[test]
fn the_root_is_never_a_session() {
    let all = RuleDefinition {
        session: Some("all".to_owned()),
        ..rule("all", ".*")
    };
    assert_eq!(classify(all, b"/"), Verdict::NotASession);
}

#[test]
fn a_pattern_that_does_not_compile_is_refused_in_one_line() {
    let error = Rule::compile(rule("kasm", "^/kasm/(")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pattern does not compile: unclosed group"
    );
}

#[test]
fn a_rule_that_names_no_session_is_refused() {
    let error = Rule::compile(rule("kasm", "^/kasm/")).unwrap_err();
    assert!(
        error.to_string().starts_with("session is missing"),
        "{error}"
    );
}

#[test]
fn a_rule_that_ignores_and_names_is_refused() {
    let definition = RuleDefinition {
        ignore: true,
        namespace: Some("x".to_owned()),
        ..rule("kasm", "^/kasm/")
    };
    assert_eq!(Rule::compile(definition).unwrap_err().key, "namespace");
}

#[test]
fn a_rule_of_the_configuration_is_believed_below_a_tenant_only_if_it_says_so() {
    let desk = || rule("desk", "/desk-(?<session>[a-z]+)$");
    let path = b"/system.slice/docker-x.scope/desk-ada";
    let tenant = at(desk(), path, Standing::Tenant);
    assert_eq!(tenant, Verdict::NotASession);
    let trusted = RuleDefinition {
        trust: true,
        ..desk()
    };
    assert_eq!(identity(at(trusted, path, Standing::Tenant)).session, "ada");
    // A tenant could also hide behind such a name.
    let hidden = RuleDefinition {
        ignore: true,
        ..rule("hidden", "/desk-")
    };
    let rules = Rules::new(&[Rule::compile(hidden).unwrap()], true);
    let judgement = rules.judge(path, || Standing::Tenant);
    assert_eq!(judgement.verdict, Verdict::NotASession);
    assert_eq!(judgement.disbelieved.unwrap().definition().name, "hidden");
}

#[test]
fn captures_are_decoded_as_a_rule_says() {
    let decoded = |decode: &str, path: &[u8]| {
        let definition = RuleDefinition {
            decode: Some(decode.to_owned()),
            ..rule("desk", r"^/desk-(?<session>[^/]+)\.scope$")
        };
        identity(classify(definition, path)).session
    };
    assert_eq!(
        decoded("systemd", br"/desk-cad\x2dada\x2e7.scope"),
        "cad-ada.7"
    );
    assert_eq!(decoded("pod-uid", b"/desk-cad_ada.scope"), "cad-ada");
    let wrong = RuleDefinition {
        decode: Some("base64".to_owned()),
        ..rule("desk", "^/(?<session>x)$")
    };
    let error = Rule::compile(wrong).unwrap_err();
    assert_eq!(
        error.to_string(),
        "decode must be \"systemd\" or \"pod-uid\", found \"base64\""
    );
}

/// Whatever a session is called, its labels are short, and it has a name.
fn paths() -> impl Strategy<Value = Vec<u8>> {
    let examples = BUILTIN.iter().flat_map(|rule| rule.examples);
    let paths: Vec<&[u8]> = examples.map(|example| example.path.as_bytes()).collect();
    bytes_like(&paths)
}

fn standings() -> impl Strategy<Value = Standing> {
    select(vec![Standing::Platform, Standing::User, Standing::Tenant])
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_a_cgroup_is_called_it_is_judged_in_bounds(path in paths(), standing in standings()) {
        properties::must_hold_as(&path, standing);
    }

    #[test]
    fn whatever_a_rule_says_it_is_refused_in_a_line_or_judges_in_bounds(
        pattern in text_like(&BUILTIN.iter().map(|rule| rule.pattern).collect::<Vec<_>>()),
        session in text_like(&["pod-$pod", "$session", "${container}$$x-$1${machine}"]),
        decode in select(vec![None, Some("systemd"), Some("pod-uid")]),
        path in paths(),
    ) {
        must_hold_of_rule(&pattern, &session, decode, &path);
    }
}
