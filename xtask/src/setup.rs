//! `cargo xtask setup`: installs what building, testing and benchmarking need.
//!
//! The other commands call it for their own needs, so a fresh Debian machine goes from checkout to
//! demo with one command. It looks for programs first and asks the package system only for what is
//! missing, so on a prepared machine it costs nothing and needs no root.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use ebpf_build::toolchain as installed;

use crate::toolchain::{self, DEBIAN_CLIPPY_PACKAGE, DEBIAN_COMPILER_PACKAGES};
use crate::{command, python};

/// The options of `setup`.
#[derive(Args)]
pub(crate) struct Options {
    /// What to prepare the machine for.
    #[arg(
        long = "for",
        value_name = "PURPOSE",
        value_enum,
        default_value = "all"
    )]
    purpose: Purpose,
}

/// What a machine is prepared for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Compilers and linker.
    Build,
    /// Clippy for the kernel programs, the checker of dependencies, and the compilers.
    Lint,
    /// The programs that tests compare the agent with, what checks manifests, and what `lint` needs.
    Test,
    /// What the guests of the kernel matrix are made with, and the compilers. QEMU itself is not
    /// installed but unpacked below target/.
    Kernels,
    /// The programs that benchmarks compare the agent with, and the compilers.
    Bench,
    /// What links with an old C library and packs, and the compilers.
    Package,
    /// All of them.
    All,
}

/// A program and the Debian package that holds it.
struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

const C_COMPILER: Need = need("cc", "gcc");
const TEST: [Need; 10] = [
    need("prometheus", "prometheus"),
    // What draws the dashboards.
    need("chromium", "chromium"),
    need("npm", "npm"),
    // System calls of the agent that fail.
    need("strace", "strace"),
    // A terminal that a test can look at.
    need("tmux", "tmux"),
    // The bus on which tests run systemd's logind.
    need("dbus-daemon", "dbus-daemon"),
    // Display servers and applications, whose input is delayed.
    need("Xtigervnc", "tigervnc-standalone-server"),
    need("xterm", "xterm"),
    need("weston-simple-shm", "weston"),
    need("xrdp", "xrdp"),
];
/// Its clients: Debian 12 has the first, Debian 13 the second.
const RDP_CLIENTS: [Need; 2] = [
    need("xfreerdp", "freerdp2-x11"),
    need("xfreerdp3", "freerdp3-x11"),
];
/// Files that tests need and that are on no path, and their packages.
const TEST_FILES: [(&str, &str); 2] = [
    ("/lib/systemd/systemd-logind", "systemd"),
    // The font without which xterm does not start.
    (
        "/usr/share/fonts/X11/misc/6x13-ISO8859-1.pcf.gz",
        "xfonts-base",
    ),
];
const BENCH: [Need; 5] = [
    need("perf", "linux-perf"),
    need("runqlat", "libbpf-tools"),
    need("bpftrace", "bpftrace"),
    need("prometheus-node-exporter", "prometheus-node-exporter"),
    // What evaluates the rules.
    need("prometheus", "prometheus"),
];
const KERNELS: [Need; 4] = [
    need("make", "make"),
    need("mkfs.ext4", "e2fsprogs"),
    need("xz", "xz-utils"),
    need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
];
/// The C library that static binaries for arm64 are linked with; it comes with no program.
const ARM64_C_LIBRARY: &str = "libc6-dev-arm64-cross";

/// Packages with a service that must not run just because a test wants the program.
const SERVICES: [(&str, &str); 4] = [
    ("prometheus", "prometheus.service"),
    ("xrdp", "xrdp.service"),
    ("xrdp", "xrdp-sesman.service"),
    (
        "prometheus-node-exporter",
        "prometheus-node-exporter.service",
    ),
];

/// Installs with services held back: while `policy-rc.d` answers 101 no package starts one, and
/// `SYSTEMD_OFFLINE` makes systemctl take away the link that would start it at the next boot. A
/// machine that has its own policy keeps it. `--no-remove` makes apt fail where a package
/// conflicts with an installed one, instead of taking that away.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
services=$1
shift
apt-get update
apt-get install --yes --no-install-recommends --no-remove "$@"
if command -v systemctl >/dev/null; then
    for service in $services; do
        SYSTEMD_OFFLINE=1 systemctl disable "$service" || true
    done
fi
"#;

/// Runs `cargo xtask setup`.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare(options.purpose)?;
    println!("nothing is missing");
    Ok(())
}

/// Installs what is missing for one purpose.
pub(crate) fn prepare(purpose: Purpose) -> Result<()> {
    let mut packages = missing_build_packages();
    let for_tests = matches!(purpose, Purpose::Test | Purpose::All);
    let for_checks = for_tests || purpose == Purpose::Lint;
    let for_packages = matches!(purpose, Purpose::Package | Purpose::All);
    if for_checks {
        let debian =
            installed::has_debian_compiler() || packages.contains(&DEBIAN_COMPILER_PACKAGES[0]);
        let has_clippy = installed::find().is_ok_and(|toolchain| toolchain.clippy().is_some());
        if debian && !has_clippy {
            packages.push(DEBIAN_CLIPPY_PACKAGE);
        }
    }
    if (for_checks || for_packages) && !python::is_usable() {
        packages.push(python::DEBIAN_PACKAGE);
    }
    if for_tests {
        packages.extend(missing(&TEST));
        packages.extend(missing_rdp_client());
        let missing = TEST_FILES
            .iter()
            .filter(|(file, _)| !Path::new(file).exists());
        packages.extend(missing.map(|(_, package)| *package));
    }
    if matches!(purpose, Purpose::Bench | Purpose::All) {
        packages.extend(missing(&BENCH));
    }
    if matches!(purpose, Purpose::Kernels | Purpose::All) && has_apt() {
        packages.extend(missing(&KERNELS));
        if !is_installed(ARM64_C_LIBRARY) {
            packages.push(ARM64_C_LIBRARY);
        }
    }
    let new = |(package, _): &&(&str, &str)| packages.contains(package);
    let services: Vec<&str> = SERVICES.iter().filter(new).map(|(_, name)| *name).collect();
    install(&packages, &services)?;
    if for_checks || for_packages {
        python::prepare()?;
    }
    if for_tests {
        python::prepare_scanners()?;
    }
    if for_packages {
        python::prepare_zig()?;
    }
    if installed::has_debian_compiler() && installed::find_linker().is_none() {
        toolchain::install_linker()?;
    }
    match installed::find() {
        Ok(_) => Ok(()),
        // Says what to do where this program cannot.
        Err(missing) => bail!("{missing}.\n{}", toolchain::remedies()),
    }
}

fn missing_build_packages() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if command::find_program(C_COMPILER.program).is_none() {
        packages.extend([C_COMPILER.package, "libc6-dev"]);
    }
    // A complete nightly toolchain is as good, and a machine without apt gets its error from
    // `prepare`, which knows the commands for it.
    if installed::find().is_err() && has_apt() {
        if !installed::has_debian_compiler() {
            packages.extend(DEBIAN_COMPILER_PACKAGES);
        }
        if installed::find_linker().is_none() {
            let wanted = toolchain::DEBIAN_LLVM_PACKAGES;
            packages.extend(wanted.into_iter().filter(|package| !is_installed(package)));
        }
    }
    packages
}

fn missing(needs: &[Need]) -> impl Iterator<Item = &'static str> {
    needs
        .iter()
        .filter(|need| command::find_program(need.program).is_none())
        .map(|need| need.package)
}

/// The package of a client of RDP, if there is no client.
fn missing_rdp_client() -> Option<&'static str> {
    let is_there = |need: &Need| command::find_program(need.program).is_some();
    if RDP_CLIENTS.iter().any(is_there) {
        return None;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let [older, newer] = RDP_CLIENTS.map(|need| need.package);
    Some(if has_third_freerdp(&release) {
        newer
    } else {
        older
    })
}

/// Whether a release of Debian, by its `os-release`, has `FreeRDP` 3 and no other.
fn has_third_freerdp(release: &str) -> bool {
    let is = |line: &str| release.lines().any(|other| other == line);
    let version = release.lines().find_map(|line| {
        let quoted = line.strip_prefix("VERSION_ID=")?;
        quoted.trim_matches('"').parse::<u32>().ok()
    });
    // Those that are not released yet have no version.
    is("ID=debian") && version.is_none_or(|version| version >= 13)
}

fn install(packages: &[&str], services: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !has_apt() {
        bail!(
            "these Debian packages, or what your distribution calls them, are missing: {list}. \
             Install them by hand and run the command again"
        );
    }
    ensure!(
        command::is_root() || command::find_program("sudo").is_some(),
        "the packages {list} are missing: run `apt-get install --no-install-recommends {list}` \
         as root"
    );
    eprintln!("installing {list}");
    command::run(
        command::as_root("sh")
            .args(["-c", INSTALL, "install", &services.join(" ")])
            .args(packages),
    )
    .with_context(|| {
        format!(
            "cannot install the packages {list}. For the compiler:\n{}",
            toolchain::remedies()
        )
    })
}

fn has_apt() -> bool {
    command::find_program("apt-get").is_some()
}

/// Whether dpkg has a package that is recognised by no program of its own.
fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

#[cfg(test)]
mod tests {
    use super::has_third_freerdp;

    #[test]
    fn the_client_of_rdp_is_that_of_the_release() {
        let debian = |version: &str| format!("ID=debian\nNAME=\"Debian\"\n{version}");
        assert!(!has_third_freerdp(&debian("VERSION_ID=\"12\"\n")));
        assert!(has_third_freerdp(&debian("VERSION_ID=\"13\"\n")));
        assert!(has_third_freerdp(&debian("VERSION_CODENAME=forky\n")));
        assert!(!has_third_freerdp("ID=ubuntu\nVERSION_ID=\"24.04\"\n"));
    }
}
