//! The Debian package, with the agent under test in it: what it contains, and its life in a clean root of Debian, from
//! the installation to the purge.
//!
//! `cargo xtask package` packs a program that is there already, so that no release has to be built; that one needs
//! glibc 2.28 is then an error of that command, and what finds it out is tested with it.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use integration_tests::{
    agent, capability, cgroup,
    documents::document,
    http::{self, Response},
    mount_namespace::with_folder_at,
    process, repository, systemd, target_directory, tools, wait,
};
use lab::programs::developed;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Fixed, so that what is known of this dpkg stays true; its C library is newer than that of any machine with which
/// the agent is built.
const SUITE: &str = "trixie";
/// dpkg, what it and the package's scripts start, and `setpriv`.
const PACKAGES: [&str; 12] = [
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "init-system-helpers",
    "libc-bin",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
];
const CONFIGURATION: &str = "etc/sessionscope/sessionscope.toml";
const UNIT: &str = "lib/systemd/system/sessionscope.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/sessionscope.service";
const SOCKET: &str = "run/sessionscope/agent.sock";
const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What the package has, with the mode of each.
const CONTENTS: [(&str, &str); 10] = [
    ("etc/sessionscope/sessionscope.toml", "-rw-r--r--"),
    ("lib/systemd/system/sessionscope.service", "-rw-r--r--"),
    ("usr/bin/sessionscope", "-rwxr-xr-x"),
    (
        "usr/share/bash-completion/completions/sessionscope",
        "-rw-r--r--",
    ),
    ("usr/share/doc/sessionscope/copyright", "-rw-r--r--"),
    ("usr/share/doc/sessionscope/crates.cdx.json", "-rw-r--r--"),
    ("usr/share/doc/sessionscope/crates.txt", "-rw-r--r--"),
    (
        "usr/share/fish/vendor_completions.d/sessionscope.fish",
        "-rw-r--r--",
    ),
    ("usr/share/man/man1/sessionscope.1.gz", "-rw-r--r--"),
    (
        "usr/share/zsh/vendor-completions/_sessionscope",
        "-rw-r--r--",
    ),
];

/// A program's standard output; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn dpkg_deb(option: &str, package: &Path, more: &[&str]) -> String {
    run(Command::new("dpkg-deb").arg(option).arg(package).args(more))
}

/// The package, with the revision 1, or the one at `SESSIONSCOPE_TEST_PACKAGE`, as one that is to be released; says why
/// it cannot be made.
fn package() -> Option<PathBuf> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    if let Some(released) = env::var_os("SESSIONSCOPE_TEST_PACKAGE") {
        return Some(released.into());
    }
    let cargo_deb = target_directory().join("tools/python/bin/cargo-deb");
    if !cargo_deb.is_file() {
        capability::skip("cargo-deb is not there: `cargo xtask setup --for test` fetches it");
        return None;
    }
    let made = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let said = run(Command::new(developed("xtask"))
            .args(["package", "--fast", "--binary"])
            .arg(agent::binary())
            .arg("--output")
            .arg(&folder));
        let mut paths = said.lines().map(PathBuf::from);
        let package = paths.find(|path| path.extension().is_some_and(|kind| kind == "deb"));
        package.expect("the package's path")
    });
    Some(made.clone())
}

/// The same, as its successor: with another number and another configuration file.
fn successor(package: &Path, folder: &Path) -> PathBuf {
    let unpacked = folder.join("unpacked");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package)
        .arg(&unpacked));
    let change = |file: &str, change: &dyn Fn(&str) -> String| {
        let file = unpacked.join(file);
        let text = fs::read_to_string(&file).expect("a text");
        fs::write(file, change(&text)).expect("a file can be written");
    };
    change("DEBIAN/control", &|text| {
        let (before, after) = text.split_once("\nVersion: ").expect("a version");
        let (version, after) = after.split_once('\n').expect("a line");
        format!("{before}\nVersion: {version}+next\n{after}")
    });
    change(CONFIGURATION, &|text| {
        format!("{text}\n# of the next version\n")
    });
    let built = folder.join("next.deb");
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .arg(&unpacked)
        .arg(&built));
    built
}

/// The package unpacked on this machine, without its scripts.
fn unpacked(package: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(package)
        .arg(folder.path()));
    folder
}

/// A file of a root.
fn text(root: &Path, file: &str) -> String {
    let path = root.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn it_has_what_it_should_and_no_more() {
    let Some(package) = package() else { return };
    let listed = dpkg_deb("--contents", &package, &[]);
    let files = listed.lines().filter(|line| !line.starts_with('d'));
    let files: BTreeSet<(&str, &str)> = files
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1], "0/0", "{line}");
            let path = words.last().expect("a path");
            (path.trim_start_matches("./"), words[0])
        })
        .collect();
    assert_eq!(files, BTreeSet::from(CONTENTS));
    let of_administrator = dpkg_deb("--info", &package, &["conffiles"]);
    assert_eq!(of_administrator.trim(), format!("/{CONFIGURATION}"));
    for (field, value) in [
        ("Package", "sessionscope"),
        ("Version", concat!(env!("CARGO_PKG_VERSION"), "-1")),
        ("Recommends", "ca-certificates"),
    ] {
        assert_eq!(dpkg_deb("--field", &package, &[field]).trim(), value);
    }
}

#[test]
fn it_depends_on_the_c_library_that_the_program_was_linked_with() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let program = root.path().join("usr/bin/sessionscope");
    let symbols = run(Command::new("objdump").arg("-T").arg(program));
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        let (major, minor) = rest[..end?].split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let (major, minor) = versions.max().expect("symbols of glibc");
    let depends = dpkg_deb("--field", &package, &["Depends"]);
    assert_eq!(depends.trim(), format!("libc6 (>= {major}.{minor})"));
}

#[test]
fn its_unit_is_the_one_of_the_repository_at_the_packages_path() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let by_hand = document("deploy/systemd/sessionscope.service");
    let expected = by_hand.replace("/usr/local/bin/", "/usr/bin/");
    assert_ne!(expected, by_hand);
    assert_eq!(text(root.path(), UNIT), expected);
}

#[test]
fn its_documents_name_the_crates_and_their_licences() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let documents = root.path().join("usr/share/doc/sessionscope");
    let copyright = text(&documents, "copyright");
    assert!(copyright.starts_with("Format: "), "{copyright}");
    let bill: Value = serde_json::from_str(&text(&documents, "crates.cdx.json")).expect("JSON");
    let components = bill["components"].as_array().expect("a list");
    let crates = text(&documents, "crates.txt");
    // Of the agent, and of the kernel programs in it.
    for name in ["tokio", "aya-ebpf"] {
        let found = components.iter().find(|one| one["name"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} is not in the bill"));
        assert_eq!(found["scope"], "required", "{found}");
        assert!(crates.contains(&format!("\n{name} ")), "{name}");
    }
    // What only the tests use.
    assert!(!components.iter().any(|one| one["name"] == "rcgen"));
    for text in [
        "Apache License",
        "Permission is hereby granted",
        "Redistribution and use in source and binary forms",
    ] {
        assert!(crates.contains(text), "{text}");
    }
    // Where the sources are on this machine is nobody's business.
    let folder = repository().display().to_string();
    assert!(!bill.to_string().contains(&folder) && !crates.contains(&folder));
}

#[test]
fn the_bill_is_what_its_schema_says() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let bill = root
        .path()
        .join("usr/share/doc/sessionscope/crates.cdx.json");
    let validate = |bill: &Path| -> Output {
        Command::new(target_directory().join("tools/python/bin/python"))
            .arg(repository().join("tests/tests/package/validate.py"))
            .arg(bill)
            .output()
            .expect("the environment of the checkers has a python")
    };
    let output = validate(&bill);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // What it would find.
    let mut wrong: Value = serde_json::from_slice(&fs::read(&bill).expect("a file")).expect("JSON");
    wrong["dependencies"] = json!([]);
    wrong["components"] = json!([{"type": "crate", "name": "one", "bom-ref": "one"}]);
    fs::write(&bill, wrong.to_string()).expect("a file can be written");
    let output = validate(&bill);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("crate"), "{said}");
}

#[test]
fn bash_takes_the_completions() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let file = root
        .path()
        .join("usr/share/bash-completion/completions/sessionscope");
    let asked = r#"source "$1" && COMP_WORDS=(sessionscope exp) COMP_CWORD=1 &&
        _sessionscope sessionscope exp sessionscope && echo "${COMPREPLY[@]}""#;
    let bash = &mut Command::new("bash");
    let said = run(bash.args(["-c", asked, "bash"]).arg(&file));
    assert_eq!(said.trim(), "explain");
}

#[test]
fn the_agent_takes_its_configuration_with_and_without_the_marks() {
    let Some(package) = package() else { return };
    let root = unpacked(&package);
    let shipped = text(root.path(), CONFIGURATION);
    let printed = |configuration: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("sessionscope.toml");
        fs::write(&file, configuration).expect("a file can be written");
        let mut command = agent::command(&agent::binary());
        run(command.args(["--print-config", "--config"]).arg(&file))
    };
    let defaults = printed("");
    assert_eq!(printed(&shipped), defaults);
    // A sentence begins with a space.
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let without_marks = |keep: &dyn Fn(&str) -> bool| -> String {
        let lines = shipped.lines().map(|line| {
            let is_taken = is_setting(line) && keep(line);
            format!("{}\n", &line[usize::from(is_taken)..])
        });
        lines.collect()
    };
    let (_, rule) = shipped.split_once("#[[rules]]").expect("a rule");
    let is_example =
        |line: &str| line.contains("/etc/") || line == "#[[rules]]" || rule.contains(line);
    assert_eq!(printed(&without_marks(&|line| !is_example(line))), defaults);
    let all = printed(&without_marks(&|_| true));
    for line in [
        "name = \"desktops\"",
        "config_file = \"/etc/sessionscope/web.yml\"",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }
}

/// A machine with a clean Debian: a folder that is its root.
struct Machine(TempDir);

impl Machine {
    /// A new one; says why it cannot be had.
    fn new() -> Option<Self> {
        if !capability::kernel() {
            return None;
        }
        let clean = match tools::root("debian", SUITE, &PACKAGES) {
            Ok(clean) => clean,
            Err(error) => {
                capability::skip(&format!("no Debian can be fetched: {error:#}"));
                return None;
            }
        };
        let folder = tempfile::Builder::new().prefix("sessionscope-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        run(Command::new("cp")
            .arg("-a")
            .arg(clean.join("."))
            .arg(folder.path()));
        // What the installation of Debian would have made.
        for name in ["info", "triggers", "updates"] {
            let made = folder.path().join("var/lib/dpkg").join(name);
            fs::create_dir_all(made).expect("a folder can be made");
        }
        fs::create_dir_all(folder.path().join("var/log")).expect("a folder can be made");
        run(Command::new("cp")
            .args(["-a", "/dev/null"])
            .arg(folder.path().join("dev")));
        Some(Self(folder))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// A command inside.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(self.root())
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Has dpkg do something with a package.
    fn dpkg(&self, arguments: &[&str]) {
        run(self.command("dpkg").args(arguments));
    }

    /// Has dpkg install a package, which is not there any more afterwards.
    fn install(&self, package: &Path, options: &[&str]) {
        let place = self.root().join("tmp/package.deb");
        fs::copy(package, &place).expect("a file can be copied");
        self.dpkg(&[options, &["--install", "/tmp/package.deb"]].concat());
        fs::remove_file(place).expect("a file can be removed");
    }

    /// All files but dpkg's own notes, and whatever folder is called like the package.
    fn files(&self) -> BTreeSet<String> {
        let root = self.root();
        let mut found = BTreeSet::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder can be read") {
                let entry = entry.expect("an entry");
                let path = entry.path();
                let name = path.strip_prefix(root).expect("it is below the root");
                if name.starts_with("var/lib/dpkg") || name.starts_with("var/log") {
                    continue;
                }
                let is_folder = entry.file_type().expect("a type").is_dir();
                if !is_folder || name.ends_with("sessionscope") {
                    found.insert(name.display().to_string());
                }
                if is_folder {
                    folders.push(path);
                }
            }
        }
        found
    }

    /// Starts what the unit starts, as the unit does: with its capabilities, and the folder that systemd makes.
    fn start(&self) -> Agent<'_> {
        let unit = text(self.root(), UNIT);
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let words: Vec<&str> = line.expect("a command").split(' ').collect();
        let as_unit = systemd::command(Path::new(words[0]));
        let program = as_unit.get_program().to_str().expect("UTF-8");
        let mut command = self.command(program);
        command.args(as_unit.get_args()).args(&words[1..]);
        let run = self.root().join("run/sessionscope");
        fs::create_dir_all(&run).expect("a folder can be made");
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&run, mode).expect("root may set a mode");
        let cgroups = cgroup::v2_mount().expect("cgroup v2 is mounted");
        let at = |place: &str| self.root().join(place);
        // What a machine has mounted where Debian runs.
        let process = with_folder_at(Path::new("/proc"), &at("proc"), || {
            with_folder_at(Path::new("/sys"), &at("sys"), || {
                with_folder_at(&cgroups, &at("sys/fs/cgroup"), || {
                    with_folder_at(Path::new("/dev"), &at("dev"), || {
                        command.spawn().expect("chroot is installed with coreutils")
                    })
                })
            })
        });
        Agent {
            process,
            machine: self,
        }
    }
}

/// An agent that runs on a machine.
struct Agent<'m> {
    process: Child,
    machine: &'m Machine,
}

impl Agent<'_> {
    /// What it answers, when it does.
    fn get(&mut self, path: &str) -> Response {
        let socket = self.machine.root().join(SOCKET);
        let mut stream = wait::until("the agent listens", START_LIMIT, || {
            if let Some(status) = self.process.try_wait().expect("it can be waited for") {
                panic!("the agent has ended ({status})");
            }
            UnixStream::connect(&socket).ok()
        });
        http::exchange(&mut stream, "localhost", path, &[]).expect("an answer")
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        process::end(&mut self.process, STOP_LIMIT);
    }
}

/// The labels of the metric that says which agent it is.
fn build(agent: &mut Agent<'_>) -> String {
    wait::until("the agent is ready", START_LIMIT, || {
        (agent.get("/readyz").status == 200).then_some(())
    });
    let metrics = agent.get("/metrics").text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("vdi_agent_build_info{"));
    line.expect("the metric").to_owned()
}

#[test]
fn a_clean_debian_installs_runs_upgrades_and_forgets_it() {
    let Some(package) = package() else { return };
    let Some(machine) = Machine::new() else {
        return;
    };
    let root = machine.root();
    let before = machine.files();

    machine.install(&package, &[]);
    let version = run(machine.command("/usr/bin/sessionscope").arg("--version"));
    assert!(
        version.starts_with(concat!("sessionscope ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    // It starts with the machine.
    let unit = fs::read_link(root.join(WANTED)).expect("a link");
    assert_eq!(unit, Path::new("/").join(UNIT));

    // What the administrator wants: a socket, and no sessions of this machine.
    let own = "listen = \"unix:/run/sessionscope/agent.sock\"\n[sessions]\nbuiltin_rules = false\n";
    fs::write(root.join(CONFIGURATION), own).expect("a file can be written");
    let mut agent = machine.start();
    let labels = build(&mut agent);
    assert!(
        labels.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")),
        "{labels}"
    );
    drop(agent);

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let next = successor(&package, folder.path());
    // As apt is told where nobody can be asked.
    machine.install(&next, &["--force-confold"]);
    assert_eq!(text(root, CONFIGURATION), own);
    let shipped = text(root, &format!("{CONFIGURATION}.dpkg-dist"));
    assert!(shipped.ends_with("# of the next version\n"), "{shipped}");
    assert!(root.join(WANTED).is_symlink());
    assert_eq!(build(&mut machine.start()), labels);

    machine.dpkg(&["--remove", "sessionscope"]);
    assert!(!root.join("usr/bin/sessionscope").exists());
    assert!(!root.join(UNIT).exists());
    assert_eq!(text(root, CONFIGURATION), own);
    machine.dpkg(&["--purge", "sessionscope"]);
    assert_eq!(machine.files(), before);
}

#[test]
fn a_unit_that_was_disabled_stays_so_when_it_is_upgraded() {
    let Some(package) = package() else { return };
    let Some(machine) = Machine::new() else {
        return;
    };
    machine.install(&package, &[]);
    let link = machine.root().join(WANTED);
    // What `systemctl disable` does.
    fs::remove_file(&link).expect("a link can be removed");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    machine.install(&successor(&package, folder.path()), &[]);
    assert!(!link.is_symlink());
}
