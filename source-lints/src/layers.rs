//! The layers of the agent: which of its modules may use which others.
//!
//! The agent is one crate, so the compiler would allow any module to use any other. That the
//! kernel border knows nothing of sessions, and sessions nothing of HTTP, is what lets each be
//! tested alone; this check keeps it so. It reads text and not syntax: `crate::` paths are the
//! only way from one top-level module to another, and text needs no parser.

use std::path::Path;

use anyhow::Result;

use crate::sources;

/// A top-level module and what it may use besides itself and [`EVERYWHERE`].
const LAYERS: [(&str, &[&str]); 21] = [
    ("allocator", &[]),
    ("resident", &[]),
    ("limits", &[]),
    ("error", &[]),
    ("setting", &[]),
    // It composes the modules' settings, and knows nothing else of them; nothing but the top knows it.
    (
        "config",
        &[
            "app::settings",
            "discover::rules",
            "discover::settings",
            "gpu::settings",
            "kernel::settings",
            "metrics::settings",
            "serve::address",
            "serve::settings",
            "session::settings",
            "telemetry::settings",
            "trace::settings",
        ],
    ),
    ("telemetry", &[]),
    ("clock", &[]),
    ("fuzz", &[]),
    ("named", &[]),
    ("version", &[]),
    ("kernel", &["allocator"]),
    ("discover", &["kernel"]),
    ("gpu", &[]),
    ("session", &["kernel", "discover", "gpu"]),
    ("snapshot", &["kernel", "discover", "gpu", "session"]),
    (
        "metrics",
        &[
            "discover::directory",
            "discover::platform",
            "kernel",
            "gpu",
            "session",
            "snapshot",
            "allocator",
        ],
    ),
    (
        "trace",
        &[
            "discover::platform",
            "discover::rules",
            "kernel::accounts",
            "session",
            "snapshot",
        ],
    ),
    (
        "serve",
        &[
            "api",
            "trace",
            "discover::directory",
            "discover::platform",
            "discover::users",
            "gpu",
            "kernel::accounts",
            // What it reads when somebody asks, and nobody keeps.
            "kernel::processes",
            "kernel::programs",
            "session",
            "snapshot",
            "metrics",
        ],
    ),
    ("api", &[]),
    // It sees another agent through its API, never this one's insides.
    ("client", &["api", "serve::address"]),
];

/// The top, which puts the layers together and may use them all.
const UNRESTRICTED: [&str; 5] = ["app", "cli", "fuzz_targets", "main", "lib"];

/// What any module may use: plain data, what the system says to anybody, and what tests share.
const EVERYWHERE: &[&str] = &[
    "error",
    "setting",
    "clock",
    "metrics::catalog",
    "fuzz",
    "named",
    "telemetry",
    "version",
];

/// Checks every file below a source folder and returns one line per finding.
pub(crate) fn check(source: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (path, text) in sources::below(source)? {
        let relative = path.strip_prefix(source).unwrap_or(&path);
        findings.extend(check_file(relative, &text));
    }
    Ok(findings)
}

fn check_file(relative: &Path, text: &str) -> Vec<String> {
    let name = relative.display();
    let Some(module) = top_level_module(relative) else {
        return vec![format!("{name}: not a name of a module")];
    };
    if UNRESTRICTED.contains(&module.as_str()) {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module) else {
        return vec![format!("{name}: the module `{module}` is in no layer")];
    };
    let permitted = |used: &str| {
        let starts_with = |path: &str| {
            used.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        starts_with(&module)
            || allowed.iter().any(|path| starts_with(path))
            || EVERYWHERE.iter().any(|path| starts_with(path))
    };
    used_paths(text)
        .into_iter()
        .filter(|(_, used)| !permitted(used))
        .map(|(line, used)| format!("{name}:{line}: `{module}` may not use `crate::{used}`"))
        .collect()
}

/// `kernel` for both `kernel.rs` and `kernel/load/maps.rs`.
fn top_level_module(relative: &Path) -> Option<String> {
    let first = Path::new(relative.components().next()?.as_os_str());
    Some(first.file_stem()?.to_str()?.to_owned())
}

/// The paths after `crate::`, with their lines; at most two segments of each, which is as deep as
/// the table goes. Names with a capital and macros stand in the crate's root and are no layer.
fn used_paths(text: &str) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut used = Vec::new();
    for (position, found) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` are other things.
        let before = code[..position].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..position].matches('\n').count() + 1;
        let rest = &code[position + found.len()..];
        let paths = match rest.strip_prefix('{') {
            Some(group) => group_members(group),
            None => vec![rest],
        };
        used.extend(
            paths
                .into_iter()
                .flat_map(leading_paths)
                .map(|path| (line, path)),
        );
    }
    used
}

/// Removes what follows `//`. A string that holds `//` loses its end, which hides nothing: paths
/// are not written in strings.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The members of `{a::b, c::{d, e}}`, given without the opening brace.
fn group_members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let mut depth = 0_usize;
    let mut begin = 0;
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(group[begin..position].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(group[begin..position].trim());
                begin = position + 1;
            }
            _ => {}
        }
    }
    members
}

/// The first two segments of a path, of each path where it ends in a group.
fn leading_paths(path: &str) -> Vec<String> {
    let identifier = |text: &str| {
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        text[..end].to_owned()
    };
    let first = identifier(path);
    let rest = &path[first.len()..];
    if !first.starts_with(|c: char| c.is_lowercase()) || rest.starts_with('!') {
        return Vec::new();
    }
    let seconds = match (rest.strip_prefix("::{"), rest.strip_prefix("::")) {
        // A comma before the brace has nothing behind it.
        (Some(group), _) => {
            let members = group_members(group).into_iter();
            members
                .filter(|member| !member.is_empty())
                .map(identifier)
                .collect()
        }
        (None, Some(second)) => vec![identifier(second)],
        (None, None) => vec![String::new()],
    };
    let whole = |second: String| match second.as_str() {
        "" | "self" => first.clone(),
        second => format!("{first}::{second}"),
    };
    seconds.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::check_file;

    fn findings(file: &str, text: &str) -> Vec<String> {
        check_file(Path::new(file), text)
    }

    #[test]
    fn a_layer_may_use_itself_its_neighbours_and_what_is_open_to_all() {
        let text = "use crate::kernel::Loader;\nuse crate::session::Id;\nuse crate::error::Error;\n\
                    use crate::{setting, metrics::catalog::WAIT};\n";
        assert_eq!(findings("session/table.rs", text), Vec::<String>::new());
    }

    #[test]
    fn the_kernel_border_may_not_use_sessions() {
        let text = "//! See [`crate::serve`].\n\nuse crate::session::Id;\n";
        assert_eq!(
            findings("kernel/mod.rs", text),
            ["kernel/mod.rs:3: `kernel` may not use `crate::session::Id`"]
        );
    }

    #[test]
    fn members_of_a_group_are_looked_at_one_by_one() {
        let text =
            "use crate::{\n    setting::{Key, Table},\n    kernel,\n    metrics::{self},\n};\n";
        assert_eq!(
            findings("serve.rs", text),
            ["serve.rs:1: `serve` may not use `crate::kernel`"]
        );
    }

    #[test]
    fn groups_in_groups_are_looked_at_too() {
        let text = "use crate::{\n    discover::{\n        cgroup::Found,\n        platform::Source,\n    },\n};\n";
        assert_eq!(
            findings("serve.rs", text),
            ["serve.rs:1: `serve` may not use `crate::discover::cgroup`"]
        );
    }

    #[test]
    fn paths_inside_code_count_too() {
        let text = "fn f() { crate::serve::start(); $crate::x(); my_crate::y(); crate::log!(); }";
        assert_eq!(
            findings("session.rs", text),
            ["session.rs:1: `session` may not use `crate::serve::start`"]
        );
    }

    #[test]
    fn only_the_catalog_of_the_metrics_is_open_to_all() {
        assert_eq!(
            findings("kernel.rs", "use crate::metrics::catalog;").len(),
            0
        );
        assert_eq!(
            findings("kernel.rs", "use crate::metrics::encode;").len(),
            1
        );
        assert_eq!(findings("kernel.rs", "use crate::metrics;").len(), 1);
    }

    #[test]
    fn the_top_may_use_everything_and_a_new_module_needs_a_layer() {
        assert_eq!(findings("app.rs", "use crate::serve;").len(), 0);
        assert_eq!(
            findings("bin/x.rs", ""),
            ["bin/x.rs: the module `bin` is in no layer"]
        );
    }
}
