//! `cargo xtask release`: all that a release consists of, in `target/release-VERSION`.
//!
//! It begins at a tag: `v` and the version of the workspace, at the commit that is checked out, of which nothing is
//! changed. Nothing is published here: who does has the credentials, and the commands are in `RELEASE.md`, which is
//! one of the files. With `--dry-run` it is rehearsed before there is a tag.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::package::git;
use crate::{command, package, python};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The heading of what is not released yet.
const UNRELEASED: &str = "Unreleased";
/// The recipe of the image, here and in the release.
const RECIPE: [&str; 2] = ["deploy/container/Dockerfile", "Dockerfile"];
/// The bytes that the image may have, compressed as registries keep it.
const IMAGE_LIMIT: u64 = 40_000_000;
/// What it has but for the program. The packages of debian:bookworm-slim for x86-64 without their documents come to
/// 27.5 MB by gzip, and the certificates to 0.13 MB; the rest is for newer packages, and for those of arm64.
const IMAGE_BASE: u64 = 29_000_000;
/// The sums of all other files.
const SUMS: &str = "SHA256SUMS";

/// The options of `release`.
#[derive(Args)]
pub(crate) struct Options {
    /// Rehearse: without the tag, of what is there, with the changes that are not released yet.
    #[arg(long)]
    dry_run: bool,
}

/// Runs `cargo xtask release`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let chart = read("deploy/chart/Chart.yaml")?;
    check_versions(&chart)?;
    let changelog = read("CHANGELOG.md")?;
    let released = section(&changelog, VERSION);
    let changes = if options.dry_run {
        released.or_else(|| section(&changelog, UNRELEASED))
    } else {
        check_tag()?;
        released
    };
    let changes = changes.with_context(|| {
        format!("CHANGELOG.md has no section `## {VERSION}`: give `## {UNRELEASED}` that name")
    })?;

    let folder = command::repository().join(format!("target/release-{VERSION}"));
    let _absent = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Beside it, so that the folder that is packed is not among the files.
    let beside = Path::new("target/package");
    let made = package::release(beside.to_owned())?;
    let program = compressed(&made.program, &command::repository().join(beside))?;
    let size = image_size(program)?;
    for file in [&made.package, &made.bill] {
        copy(file, &folder)?;
    }
    let [recipe, name] = RECIPE;
    write(&folder.join(name), &read(recipe)?)?;
    pack_chart(&folder)?;
    let commit = git(&["rev-parse", "HEAD"]);
    write(
        &folder.join("RELEASE.md"),
        &page(&changes, commit.as_deref(), size),
    )?;
    write_sums(&folder)?;
    println!("{}", folder.display());
    Ok(())
}

/// Fails unless what is checked out is what the tag names.
fn check_tag() -> Result<()> {
    let tag = format!("v{VERSION}");
    let head = git(&["rev-parse", "HEAD"]).context("there is no git repository here")?;
    let Some(tagged) = git(&["rev-parse", &format!("{tag}^{{commit}}")]) else {
        bail!("there is no tag {tag}: `git tag --annotate {tag}`, or rehearse with --dry-run");
    };
    ensure!(
        head == tagged,
        "the tag {tag} is at {tagged}, and {head} is checked out"
    );
    let changed = git(&["status", "--porcelain"]).unwrap_or_default();
    ensure!(
        changed.is_empty(),
        "these files are not as committed:\n{changed}"
    );
    Ok(())
}

/// Fails where the chart is for another version.
fn check_versions(chart: &str) -> Result<()> {
    for key in ["version", "appVersion"] {
        let mut lines = chart.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = value.map(|value| value.trim().trim_matches('"'));
        ensure!(
            value == Some(VERSION),
            "deploy/chart/Chart.yaml: {key} is {}, and the workspace's version {VERSION}",
            value.unwrap_or("not there")
        );
    }
    Ok(())
}

/// What stands below a heading of the changelog, which may be followed by a date.
fn section(changelog: &str, name: &str) -> Option<String> {
    let mut lines = changelog.lines();
    lines.find(|line| {
        let heading = line.strip_prefix("## ");
        heading.and_then(|heading| heading.split_whitespace().next()) == Some(name)
    })?;
    let section: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    Some(section.join("\n").trim().to_owned())
}

/// The bytes of a program as they are in a layer of the image: without symbols, and compressed. The file for that is
/// made in a folder.
fn compressed(program: &Path, folder: &Path) -> Result<u64> {
    let stripped = folder.join("stripped");
    let mut strip = Command::new("strip");
    command::run(strip.arg("-o").arg(&stripped).arg(program))?;
    command::run(Command::new("gzip").arg("--force").arg(&stripped))?;
    let file = stripped.with_extension("gz");
    let cannot_read = || format!("cannot read {}", file.display());
    Ok(fs::metadata(&file).with_context(cannot_read)?.len())
}

/// The bytes of the image, from those of the program in it; fails where they are too many.
fn image_size(program: u64) -> Result<u64> {
    let size = IMAGE_BASE + program;
    ensure!(
        size <= IMAGE_LIMIT,
        "the image would have {} compressed, {} of them the program, and may have {}",
        megabytes(size),
        megabytes(program),
        megabytes(IMAGE_LIMIT)
    );
    Ok(size)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What is to be done, and what has changed.
fn page(changes: &str, commit: Option<&str>, image: u64) -> String {
    let [recipe, _] = RECIPE;
    let commit = commit.unwrap_or_default();
    let (size, limit) = (megabytes(image), megabytes(IMAGE_LIMIT));
    format!(
        "# Sessionscope {VERSION}\n\
         \n\
         Where the files are: `sha256sum --check {SUMS}`. Then, with the registry and the host of your own, in the \
         repository:\n\
         \n\
         ```sh\n\
         git push origin v{VERSION}\n\
         docker buildx create --use\n\
         docker buildx build --platform linux/amd64,linux/arm64 --file {recipe} --build-arg COMMIT={commit} \
         --sbom=true --provenance=mode=max --tag registry.example/sessionscope:{VERSION} --push .\n\
         cd target/release-{VERSION}\n\
         oras attach --artifact-type application/vnd.cyclonedx+json registry.example/sessionscope:{VERSION} \
         sessionscope-{VERSION}.cdx.json:application/vnd.cyclonedx+json\n\
         helm push sessionscope-{VERSION}.tgz oci://registry.example/charts\n\
         ```\n\
         \n\
         The architecture that the machine does not have is compiled under QEMU, which is slow, unless the builder \
         has a node of it (`docker buildx create --append`). The image comes to about {size} compressed, and may have \
         {limit} for each architecture: `docker manifest inspect --verbose` has the sizes of the layers. It has two \
         bills: `--sbom` makes that of Debian's packages, in SPDX, and what oras attaches is that of the crates in \
         the program, in CycloneDX.\n\
         \n\
         Packages of Debian's kind go to a repository of yours, or by `apt-get install ./sessionscope_*.deb` to a \
         node.\n\
         \n\
         ## Changes\n\
         \n\
         {changes}\n"
    )
}

/// Has Helm pack the chart.
fn pack_chart(folder: &Path) -> Result<()> {
    let mut helm = Command::new(python::helm());
    helm.arg("package")
        .arg(command::repository().join("deploy/chart"))
        .arg("--destination")
        .arg(folder);
    command::output(&mut helm)
        .context("cannot pack the chart: Helm comes for x86-64 only")
        .map(drop)
}

/// Writes the sums of all files of a folder.
fn write_sums(folder: &Path) -> Result<()> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        names.push(entry.with_context(cannot_read)?.file_name());
    }
    names.sort();
    let mut sha256sum = Command::new("sha256sum");
    let sums = command::output(sha256sum.current_dir(folder).arg("--").args(&names))?;
    write(&folder.join(SUMS), &sums)
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(command::repository().join(path))
        .with_context(|| format!("cannot read {path}"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- new\n\n\
        ## 0.2.0 (2026-11-30)\n\n### Added\n\n- second\n\n## 0.1.0\n\n- first\n";

    #[test]
    fn a_section_is_what_stands_below_its_heading() {
        let of = |name| section(CHANGELOG, name);
        assert_eq!(of("Unreleased").as_deref(), Some("- new"));
        assert_eq!(of("0.2.0").as_deref(), Some("### Added\n\n- second"));
        assert_eq!(of("0.1.0").as_deref(), Some("- first"));
        assert_eq!(of("0.2"), None);
    }

    #[test]
    fn a_chart_of_another_version_is_refused() {
        check_versions(&read("deploy/chart/Chart.yaml").unwrap()).unwrap();
        let error = check_versions("version: 9.9.9\nappVersion: \"9.9.9\"\n").unwrap_err();
        assert!(error.to_string().contains("9.9.9"), "{error}");
    }

    #[test]
    fn every_other_file_has_its_sum() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), "").unwrap();
        fs::write(folder.path().join("a"), "a").unwrap();
        write_sums(folder.path()).unwrap();
        let sums = fs::read_to_string(folder.path().join(SUMS)).unwrap();
        let names: Vec<&str> = sums
            .lines()
            .filter_map(|line| line.split("  ").nth(1))
            .collect();
        assert_eq!(names, ["a", "b"]);
        // Of nothing, by the standard.
        assert!(
            sums.contains("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b")
        );
    }

    #[test]
    fn the_page_has_the_commands_and_the_changes() {
        let page = page("- one", Some("0a1b2c"), 34_567_890);
        for part in [
            "--build-arg COMMIT=0a1b2c --sbom=true",
            "--platform linux/amd64,linux/arm64",
            concat!(" sessionscope-", env!("CARGO_PKG_VERSION"), ".cdx.json:"),
            "comes to about 34.6 MB compressed, and may have 40.0 MB",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.ends_with("- one\n"), "{page}");
    }

    #[test]
    fn an_image_that_is_too_large_is_refused() {
        assert_eq!(image_size(11_000_000).unwrap(), IMAGE_LIMIT);
        let error = image_size(11_100_000).unwrap_err().to_string();
        assert!(
            error.contains("40.1 MB") && error.contains("11.1 MB"),
            "{error}"
        );
    }

    #[test]
    fn a_program_is_measured_compressed_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new("/bin/true");
        let whole = fs::metadata(program).unwrap().len();
        let measured = compressed(program, folder.path()).unwrap();
        assert!((1..whole).contains(&measured), "{measured} of {whole}");
        let text = folder.path().join("text");
        fs::write(&text, "no program").unwrap();
        compressed(&text, folder.path()).unwrap_err();
    }
}
