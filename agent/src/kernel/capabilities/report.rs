//! What `check --security` prints: which capabilities are held, which of them the agent gives up, and for what it has
//! them; and what else confines it.

use std::{fmt::Write as _, fs, path::Path};

use serde::Serialize;

use super::{CAP_SETPCAP, Capabilities, NEEDS, Need, Node, When, bounding, kept};
use crate::kernel::preflight::{Facts, below};

/// All that is said.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each need of the table.
    pub needs: Vec<Row>,
    /// What is held besides, which no feature needs.
    pub needless: Vec<&'static str>,
    /// What a running agent has of those that are held here.
    pub kept: Vec<&'static str>,
    /// What a program that it starts may gain at most.
    pub bounding: Vec<&'static str>,
    /// Whether anything is given up: `kernel.keep_capabilities` is not set.
    pub gives_up: bool,
    /// This process.
    pub process: Process,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// The lockdown mode.
    pub lockdown: Option<String>,
}

/// A need, and what is held for it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The capability.
    pub capability: &'static str,
    /// What it is for.
    pub feature: &'static str,
    /// Which call asks for it.
    pub why: &'static str,
    /// When it is asked for.
    pub needed: Needed,
    /// It is in the effective set.
    pub effective: bool,
    /// It is in the permitted set.
    pub permitted: bool,
    /// It is in the bounding set.
    pub bounding: bool,
    /// What becomes of it once the programs are attached.
    pub then: Then,
}

/// When something is needed on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// Until the programs are attached.
    AtStart,
    /// For as long as the agent runs.
    Always,
    /// Not with this kernel and this configuration.
    NotHere,
}

/// What becomes of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The agent keeps it.
    Kept,
    /// It is given up once the programs are attached.
    GivenUp,
    /// It is not held to begin with.
    NotHeld,
}

/// What the kernel says of this process.
#[derive(Debug, Default, Serialize)]
pub struct Process {
    #[serde(skip)]
    effective: Capabilities,
    #[serde(skip)]
    permitted: Capabilities,
    #[serde(skip)]
    bounding: Capabilities,
    /// `NoNewPrivs`; `None` where it is not told.
    pub no_new_privs: Option<bool>,
    /// `Seccomp`: `off`, `strict` or `filter`.
    pub seccomp: Option<&'static str>,
    /// Its label of the security module, as `docker-default (enforce)`.
    pub label: Option<String>,
}

/// What a process of these privileges has and keeps; `keeps` is `kernel.keep_capabilities`.
pub fn report(facts: &Facts, node: &Node, keeps: bool) -> Report {
    of(Process::read(Path::new("/")), facts, node, keeps)
}

fn of(process: Process, facts: &Facts, node: &Node, keeps: bool) -> Report {
    let held = process.effective;
    let (kept, bounding) = if keeps {
        (held, process.bounding)
    } else {
        // As `give_up` has it.
        let bound = if held.has(CAP_SETPCAP) {
            bounding(held, node).0
        } else {
            u64::MAX
        };
        (kept(held, node), Capabilities(bound & process.bounding.0))
    };
    let row = |need: &Need| Row {
        capability: need.capability.name(),
        feature: need.feature,
        why: need.why,
        needed: match need.when {
            _ if !node.has(need) => Needed::NotHere,
            When::AtStart => Needed::AtStart,
            When::Always => Needed::Always,
        },
        effective: held.has(need.capability),
        permitted: process.permitted.has(need.capability),
        bounding: process.bounding.has(need.capability),
        then: if kept.has(need.capability) {
            Then::Kept
        } else if held.has(need.capability) {
            Then::GivenUp
        } else {
            Then::NotHeld
        },
    };
    let is_needless = |name: &&str| NEEDS.iter().all(|need| need.capability.name() != *name);
    Report {
        needs: NEEDS.iter().map(row).collect(),
        needless: held.names().into_iter().filter(is_needless).collect(),
        kept: kept.names(),
        bounding: bounding.names(),
        gives_up: !keeps,
        process,
        unprivileged_bpf_disabled: facts.unprivileged_bpf_disabled,
        lockdown: facts.lockdown.clone(),
    }
}

impl Process {
    /// Reads it from a tree that looks like the system's root.
    fn read(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(below(root, Path::new(path)));
        let status = read("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let mut values = status.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::trim)
        };
        let set = |name| {
            let bits = field(name).and_then(|bits| u64::from_str_radix(bits, 16).ok());
            Capabilities(bits.unwrap_or_default())
        };
        Self {
            effective: set("CapEff:"),
            permitted: set("CapPrm:"),
            bounding: set("CapBnd:"),
            no_new_privs: field("NoNewPrivs:").map(|value| value != "0"),
            // The modes of `include/uapi/linux/seccomp.h` (Linux 5.10).
            seccomp: field("Seccomp:").and_then(|mode| match mode {
                "0" => Some("off"),
                "1" => Some("strict"),
                "2" => Some("filter"),
                _ => None,
            }),
            // SELinux ends it with a zero byte. Without a module that has labels the read fails.
            label: read("/proc/self/attr/current")
                .map(|text| text.trim_matches(['\0', '\n']).to_owned())
                .ok()
                .filter(|label| !label.is_empty()),
        }
    }
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |cells: [&str; 5]| {
            let [capability, held, needed, then, feature] = cells;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{capability:<19}  {held:<4}  {needed:<8}  {then:<8}  {feature}"
            );
        };
        line(["capability", "held", "needed", "then", "for"]);
        for row in &self.needs {
            let held = if row.effective { "yes" } else { "no" };
            line([
                row.capability,
                held,
                row.needed.words(),
                row.then.words(),
                row.feature,
            ]);
            line(["", "", "", "", &format!("  {}", row.why)]);
        }
        let yes_or_no = |value: Option<bool>| match value {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        let number = self
            .unprivileged_bpf_disabled
            .map(|value| value.to_string());
        for (name, value) in [
            ("held besides, for nothing", list(&self.needless)),
            ("kept by a running agent", list(&self.kept)),
            ("programs that it starts", list(&self.bounding)),
            ("kernel.keep_capabilities", (!self.gives_up).to_string()),
            (
                "no_new_privs",
                yes_or_no(self.process.no_new_privs).to_owned(),
            ),
            ("seccomp", known(self.process.seccomp)),
            ("security label", known(self.process.label.as_deref())),
            ("unprivileged_bpf_disabled", known(number.as_deref())),
            ("lockdown", known(self.lockdown.as_deref())),
        ] {
            let _ = writeln!(text, "{name:<25}  {value}");
        }
        text
    }

    /// As a JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are always JSON")
    }
}

impl Needed {
    fn words(self) -> &'static str {
        match self {
            Self::AtStart => "at start",
            Self::Always => "always",
            Self::NotHere => "not here",
        }
    }
}

impl Then {
    fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::GivenUp => "given up",
            Self::NotHeld => "",
        }
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

fn known(value: Option<&str>) -> String {
    value.unwrap_or("not known").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Settings, capabilities::Condition, preflight::KernelVersion};

    /// Root without anything taken away, but for `no_new_privs` and a filter.
    const STATUS: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
        CapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    fn process() -> Process {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/self/attr");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("current"), "docker-default (enforce)\n").unwrap();
        fs::write(root.path().join("proc/self/status"), STATUS).unwrap();
        Process::read(root.path())
    }

    fn facts() -> Facts {
        let root = tempfile::tempdir().unwrap();
        Facts::gather_below(root.path(), &Settings::default())
    }

    fn row<'r>(report: &'r Report, feature: &str) -> &'r Row {
        let mut rows = report.needs.iter().filter(|row| row.feature == feature);
        rows.next().unwrap()
    }

    #[test]
    fn what_the_kernel_says_of_the_process_is_read() {
        let process = process();
        assert_eq!(process.effective, Capabilities((1 << 41) - 1));
        assert_eq!(process.no_new_privs, Some(true));
        assert_eq!(process.seccomp, Some("filter"));
        assert_eq!(process.label.as_deref(), Some("docker-default (enforce)"));
        let nothing = Process::read(tempfile::tempdir().unwrap().path());
        assert_eq!(nothing.effective, Capabilities::default());
        assert_eq!((nothing.no_new_privs, nothing.seccomp), (None, None));
    }

    #[test]
    fn each_need_says_when_it_is_one_and_what_becomes_of_the_capability() {
        let node = Node::of(KernelVersion(6, 12), &[]);
        let report = of(process(), &facts(), &node, false);
        let load = row(&report, "kernel programs");
        assert_eq!((load.needed, load.then), (Needed::AtStart, Then::GivenUp));
        let read = row(&report, "reading what the programs count");
        assert_eq!((read.needed, read.then), (Needed::NotHere, Then::GivenUp));
        assert_eq!(report.kept, ["CAP_DAC_READ_SEARCH"]);
        assert!(report.needless.contains(&"CAP_SYS_MODULE"));
        let text = report.text();
        assert!(
            text.contains("kept by a running agent    CAP_DAC_READ_SEARCH\n"),
            "{text}"
        );
        assert!(
            !text
                .lines()
                .any(|line| line.contains("not known") && line.contains("seccomp"))
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["needs"][0]["needed"], "at_start");
        assert_eq!(json["process"]["no_new_privs"], true);
    }

    #[test]
    fn with_the_setting_everything_is_kept() {
        let node = Node::of(KernelVersion(6, 12), &[Condition::Gpus]);
        let report = of(process(), &facts(), &node, true);
        assert_eq!(report.kept.len(), 41);
        assert!(report.needs.iter().all(|row| row.then == Then::Kept));
    }
}
