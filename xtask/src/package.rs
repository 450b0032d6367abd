//! `cargo xtask package`: the Debian package of the agent, and the bill of what is in it.
//!
//! cargo-deb packs it, of the release that comes as a Python package: that one does not know the edition of this
//! workspace. So it is given a package of its own, `target/package/stage`, with the table of
//! `deploy/debian/package.toml` and all files in the places that the table names. The unit is that of
//! `deploy/systemd/` but for the program's path, since there is one unit to keep right.

mod bill;
mod crates;
mod glibc;
mod licences;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lab::programs::{AGENT, target_directory};
use toml::{Table, Value};

use crate::setup::{self, Purpose};
use crate::{build_ebpf, command, python};

/// The newest C library that the program may need: that of Debian 10 and of RHEL 8.
const GLIBC: glibc::Version = glibc::Version {
    major: 2,
    minor: 28,
};
/// Where the unit has the program, which is right for who installs by hand, and where the package has it.
const PROGRAM: [&str; 2] = ["/usr/local/bin/sessionscope", "/usr/bin/sessionscope"];
/// What of `deploy/debian/` goes in as it is: the file, and where it stands in the stage.
const FILES: [(&str, &str); 2] = [
    ("sessionscope.toml", "sessionscope.toml"),
    ("postrm", "scripts/postrm"),
];
/// What the program prints, and where that stands in the stage.
const PRINTED: [(&[&str], &str); 4] = [
    (&["completions", "bash"], "completions/sessionscope.bash"),
    (&["completions", "zsh"], "completions/_sessionscope"),
    (&["completions", "fish"], "completions/sessionscope.fish"),
    (&["manual"], "sessionscope.1"),
];

/// The options of `package`.
#[derive(Args)]
pub(crate) struct Options {
    /// Pack this program instead of building one. It must run on this machine; the package depends on the C
    /// library that it needs, however new that is.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Revision of the package, for another one of the same version.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    revision: u32,
    /// Where the package and the bill go, from the repository on.
    #[arg(long, value_name = "FOLDER", default_value = "target/package")]
    output: PathBuf,
    /// Compress for speed, not for size.
    #[arg(long)]
    fast: bool,
}

/// What was made.
pub(crate) struct Made {
    /// The package.
    pub(crate) package: PathBuf,
    /// What the program is made of, in `CycloneDX`'s JSON.
    pub(crate) bill: PathBuf,
    /// The program, with its symbols.
    pub(crate) program: PathBuf,
}

/// Runs `cargo xtask package`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let made = make(options)?;
    println!("{}\n{}", made.package.display(), made.bill.display());
    Ok(())
}

/// The same for `release`, with the options that nobody has given.
pub(crate) fn release(output: PathBuf) -> Result<Made> {
    make(&Options {
        binary: None,
        revision: 1,
        output,
        fast: false,
    })
}

fn make(options: &Options) -> Result<Made> {
    let output = command::repository().join(&options.output);
    create(&output)?;
    let program = match &options.binary {
        Some(program) => program.clone(),
        None => build()?,
    };
    let needed = glibc::needed(&program)?;
    python::prepare()?;

    let stage = Stage::new(output.join("stage"))?;
    stage.put(&program, &Path::new("target/release").join(AGENT))?;
    for (name, place) in FILES {
        let file = command::repository().join("deploy/debian").join(name);
        stage.put(&file, Path::new(place))?;
    }
    for (arguments, place) in PRINTED {
        let printed = command::output(lab::agent::command(&program).args(arguments))?;
        stage.write(place, &printed)?;
    }
    let unit = read(&command::repository().join("deploy/systemd/sessionscope.service"))?;
    stage.write("scripts/sessionscope.service", &packaged_unit(&unit)?)?;
    let crates = crates::of_agent(&target())?;
    stage.write("copyright", &licences::copyright()?)?;
    stage.write("crates.txt", &licences::texts(&crates)?)?;
    let bill = format!("{:#}\n", bill::of(&crates, commit().as_deref()));
    stage.write("crates.cdx.json", &bill)?;
    // What cargo wants of a package.
    stage.write("src/main.rs", "fn main() {}\n")?;
    let table = read(&command::repository().join("deploy/debian/package.toml"))?;
    stage.write("Cargo.toml", &manifest(&table, needed)?)?;

    let name = format!(
        "{AGENT}_{}-{}_{}.deb",
        debian_version(VERSION),
        options.revision,
        architecture()?
    );
    let package = output.join(name);
    pack(&stage, &package, options)?;
    let beside = output.join(format!("{AGENT}-{VERSION}.cdx.json"));
    write(&beside, &bill)?;
    Ok(Made {
        package,
        bill: beside,
        program,
    })
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds the agent so that it runs with an old C library, and makes sure that it does.
fn build() -> Result<PathBuf> {
    setup::prepare(Purpose::Package)?;
    build_ebpf::build()?;
    let mut cargo = python::with_zig(command::cargo());
    cargo
        .args(["zigbuild", "--locked", "--release", "--package", AGENT])
        .args(["--target", &format!("{}.{GLIBC}", target())])
        // They are compiled already, by a compiler that needs nothing of zig's.
        .env(
            "SESSIONSCOPE_BPF_DIR",
            command::repository().join("target/bpf"),
        );
    if let Some(commit) = commit() {
        cargo.env("SESSIONSCOPE_COMMIT", commit);
    }
    command::run(&mut cargo)?;
    let program = target_directory()
        .join(target())
        .join("release")
        .join(AGENT);
    let needed = glibc::needed(&program)?;
    ensure!(
        needed <= GLIBC,
        "{} needs glibc {needed}, and must run with {GLIBC}: `objdump -T` shows which symbols are newer",
        program.display()
    );
    Ok(program)
}

/// Has cargo-deb make the package.
fn pack(stage: &Stage, package: &Path, options: &Options) -> Result<()> {
    let mut cargo_deb = Command::new(python::program("cargo-deb"));
    cargo_deb
        .current_dir(&stage.0)
        .args(["--no-build", "--deb-revision"])
        .arg(options.revision.to_string())
        .arg("--output")
        .arg(package)
        .env("CARGO_TARGET_DIR", stage.0.join("target"));
    if options.fast {
        cargo_deb.args(["--fast", "--compress-type", "gz"]);
    }
    // The same sources make the same package.
    if let Some(seconds) = git(&["log", "-1", "--format=%ct"]) {
        cargo_deb.env("SOURCE_DATE_EPOCH", seconds);
    }
    command::output(&mut cargo_deb)?;
    ensure!(
        package.is_file(),
        "cargo-deb has not written {}",
        package.display()
    );
    Ok(())
}

/// The unit with the package's path of the program.
fn packaged_unit(unit: &str) -> Result<String> {
    let [by_hand, packaged] = PROGRAM;
    let line = format!("\nExecStart={by_hand} ");
    ensure!(
        unit.matches(&line).count() == 1 && unit.matches(by_hand).count() == 1,
        "the unit has no line that begins with ExecStart={by_hand}, or names that path elsewhere"
    );
    Ok(unit.replace(by_hand, packaged))
}

/// The manifest that cargo-deb is given.
fn manifest(table: &str, needed: glibc::Version) -> Result<String> {
    let mut table: Table = table
        .parse()
        .context("deploy/debian/package.toml is not TOML")?;
    let depends = format!("libc6 (>= {needed})");
    table.insert("depends".to_owned(), Value::String(depends));
    let text = |text: &str| Value::String(text.to_owned());
    let package = Table::from_iter([
        ("name".to_owned(), text(AGENT)),
        ("version".to_owned(), text(VERSION)),
        // The newest that cargo-deb's release knows.
        ("edition".to_owned(), text("2021")),
        ("license".to_owned(), text(env!("CARGO_PKG_LICENSE"))),
        (
            "description".to_owned(),
            Value::String(description(&read(
                &command::repository().join("agent/Cargo.toml"),
            )?)?),
        ),
        (
            "metadata".to_owned(),
            Value::Table(Table::from_iter([("deb".to_owned(), Value::Table(table))])),
        ),
    ]);
    let manifest = Table::from_iter([
        ("package".to_owned(), Value::Table(package)),
        // It is in the folder of another workspace, and no member of it.
        ("workspace".to_owned(), Value::Table(Table::new())),
    ]);
    toml::to_string(&manifest).context("cannot write the manifest")
}

/// The agent's description.
fn description(manifest: &str) -> Result<String> {
    let manifest: Table = manifest.parse().context("agent/Cargo.toml is not TOML")?;
    let text = manifest["package"].get("description");
    let text = text.and_then(Value::as_str);
    text.map(str::to_owned)
        .context("agent/Cargo.toml has no description")
}

/// A version as Debian orders them: before `1.0` comes `1.0~rc.1`.
fn debian_version(version: &str) -> String {
    version.replacen('-', "~", 1)
}

/// This machine's architecture, as Debian calls it.
fn architecture() -> Result<&'static str> {
    match ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("there is no package for {other}: the agent is for x86_64 and aarch64"),
    }
}

fn target() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

/// The commit of the sources, and whether they differ from it; nothing for an archive of the sources, unless
/// `SESSIONSCOPE_COMMIT` says it.
fn commit() -> Option<String> {
    let given = std::env::var("SESSIONSCOPE_COMMIT").ok();
    given.filter(|given| !given.is_empty()).or_else(|| {
        let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        let changed = git(&["status", "--porcelain"]).is_some_and(|changed| !changed.is_empty());
        Some(commit + if changed { "-changed" } else { "" })
    })
}

/// What git says; nothing if there is none, or no repository.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    let output = git
        .current_dir(command::repository())
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The folder that cargo-deb packs.
struct Stage(PathBuf);

impl Stage {
    /// An empty one.
    fn new(folder: PathBuf) -> Result<Self> {
        let _absent = fs::remove_dir_all(&folder);
        create(&folder)?;
        Ok(Self(folder))
    }

    fn put(&self, file: &Path, place: &Path) -> Result<()> {
        let to = self.place(place)?;
        fs::copy(file, &to)
            .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
        Ok(())
    }

    fn write(&self, place: &str, text: &str) -> Result<()> {
        write(&self.place(Path::new(place))?, text)
    }

    /// A path below it, whose folder is made.
    fn place(&self, place: &Path) -> Result<PathBuf> {
        let path = self.0.join(place);
        if let Some(folder) = path.parent() {
            create(folder)?;
        }
        Ok(path)
    }
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_the_package_differs_by_the_path_alone() {
        let unit =
            read(&command::repository().join("deploy/systemd/sessionscope.service")).unwrap();
        let packaged = packaged_unit(&unit).unwrap();
        let differ: Vec<_> = unit
            .lines()
            .zip(packaged.lines())
            .filter(|(a, b)| a != b)
            .collect();
        assert_eq!(differ.len(), 1);
        assert!(
            differ[0]
                .1
                .starts_with("ExecStart=/usr/bin/sessionscope --config ")
        );
        for unknown in [
            "[Service]\nExecStart=/opt/sessionscope\n",
            &format!("{unit}{unit}"),
        ] {
            assert!(packaged_unit(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_manifest_has_the_table_and_the_library_that_is_needed() {
        let table = read(&command::repository().join("deploy/debian/package.toml")).unwrap();
        let manifest: Table = manifest(&table, GLIBC).unwrap().parse().unwrap();
        let package = &manifest["package"];
        assert_eq!(package["version"].as_str(), Some(VERSION));
        let deb = &package["metadata"]["deb"];
        assert_eq!(deb["depends"].as_str(), Some("libc6 (>= 2.28)"));
        let sources = deb["assets"].as_array().unwrap().iter();
        let sources: Vec<&str> = sources.map(|asset| asset[0].as_str().unwrap()).collect();
        for (_, place) in PRINTED {
            assert!(sources.contains(&place), "{place} is not packed");
        }
    }

    #[test]
    fn a_candidate_comes_before_its_release() {
        assert_eq!(debian_version("1.0.0-rc.1"), "1.0.0~rc.1");
        assert_eq!(debian_version("1.0.0"), "1.0.0");
    }
}
