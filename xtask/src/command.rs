//! Running other programs: where they are, how they start and what is said when they fail.
//!
//! Every command ends up here so that a failure always names the whole command line.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail, ensure};

/// The repository, known at compile time so that the binary also finds it when sudo has emptied
/// the environment.
pub(crate) fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where cargo puts host binaries; the kernel programs always go below `target/`, because that is
/// where the agent's build script looks.
fn target_directory() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => repository().join(directory),
        None => repository().join("target"),
    }
}

/// The agent's release binary, whether or not it is built.
pub(crate) fn agent_binary() -> PathBuf {
    target_directory().join("release/sessionscope")
}

/// The library that answers in the driver's place, whether or not it is built.
pub(crate) fn scenario_library() -> PathBuf {
    target_directory().join("release/libnvml_scenario.so")
}

/// Where cargo puts what is built for tests.
pub(crate) fn development_directory() -> PathBuf {
    target_directory().join("debug")
}

/// The cargo that runs this program, started in the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository());
    cargo
}

/// Builds the agent's release binary and returns its path.
pub(crate) fn build_agent() -> Result<PathBuf> {
    build_release("sessionscope", agent_binary())
}

/// Builds the library that answers in the driver's place, as fast as it gets, and returns its path.
pub(crate) fn build_scenario_library() -> Result<PathBuf> {
    build_release("nvml-scenario", scenario_library())
}

fn build_release(package: &str, product: PathBuf) -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", package]))?;
    ensure!(
        product.is_file(),
        "cargo built the package {package} but there is no {}: is build.target-dir set?",
        product.display()
    );
    Ok(product)
}

/// Runs a command to its end and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// Runs a command and returns what it prints on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    check(command, output.status)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", line(command)))
}

/// Fails unless the command succeeded.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// What to say about a command that could not be started at all.
pub(crate) fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs as root: itself for root, through sudo for anybody else.
pub(crate) fn as_root(program: impl AsRef<Path>) -> Command {
    if is_root() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("sudo");
    command.arg("--preserve-env").arg(program.as_ref());
    command
}

/// Finds a program on `PATH`, where cargo installs, or where Debian keeps root's programs; the
/// last two are often missing from `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// Says on standard error which part of a longer command begins.
pub(crate) fn step(number: usize, of: usize, what: &str) {
    eprintln!("[{number}/{of}] {what}");
}
