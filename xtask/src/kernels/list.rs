//! THE list of kernels that the agent is tested on.
//!
//! Everything else is derived from it: what is fetched, what boots, and the columns of
//! `docs/kernels.md`. A new kernel is a row here. They are Debian's kernels for virtual machines,
//! because these boot in QEMU within seconds and come from an archive that is signed.

use clap::ValueEnum;

/// A processor architecture that the agent runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Architecture {
    X86,
    Arm64,
}

impl Architecture {
    pub(super) const ALL: [Self; 2] = [Self::X86, Self::Arm64];

    /// As Debian calls it.
    pub(super) fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust, the kernel and QEMU call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// What static binaries for it are compiled for.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// A kernel of the matrix.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What the command line, the log files and the page call it.
    pub(super) name: &'static str,
    pub(super) architecture: Architecture,
    /// The Debian suite that has it.
    pub(super) suite: &'static str,
    /// Its packages, `{}` standing for the rest of the version. The newest of the first is taken,
    /// the others with the same version.
    pub(super) packages: &'static [&'static str],
    /// The package of the programs that modules for it are built with, where they run on every machine
    /// that runs the matrix: from 6.12 on they want a newer C library than Debian 12 has.
    pub(super) module_tools: Option<&'static str>,
}

/// The packages of a kernel that Debian delivers in one piece.
macro_rules! whole {
    ($version:literal, $architecture:literal) => {
        &[concat!(
            "linux-image-",
            $version,
            ".{}-cloud-",
            $architecture,
            "-unsigned"
        )]
    };
}

/// Those of a kernel that comes in parts, as all do from 7.0 on.
const PARTS: &[&str] = &[
    "linux-binary-unsigned-{}-cloud-amd64",
    "linux-modules-{}-cloud-amd64",
    "linux-base-{}-cloud-amd64",
];

/// Every kernel.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "x86-5.10",
        architecture: Architecture::X86,
        suite: "bullseye",
        packages: whole!("5.10", "amd64"),
        module_tools: Some("linux-kbuild-5.10"),
    },
    Kernel {
        name: "x86-6.1",
        architecture: Architecture::X86,
        suite: "bookworm",
        packages: whole!("6.1", "amd64"),
        module_tools: Some("linux-kbuild-6.1"),
    },
    Kernel {
        name: "x86-6.12",
        architecture: Architecture::X86,
        suite: "trixie",
        packages: whole!("6.12", "amd64"),
        module_tools: None,
    },
    Kernel {
        name: "x86-backport",
        architecture: Architecture::X86,
        suite: "trixie-backports",
        packages: PARTS,
        module_tools: None,
    },
    Kernel {
        name: "x86-sid",
        architecture: Architecture::X86,
        suite: "sid",
        packages: PARTS,
        module_tools: None,
    },
    Kernel {
        name: "arm64-6.1",
        architecture: Architecture::Arm64,
        suite: "bookworm",
        packages: whole!("6.1", "arm64"),
        module_tools: None,
    },
    Kernel {
        name: "arm64-6.12",
        architecture: Architecture::Arm64,
        suite: "trixie",
        packages: whole!("6.12", "arm64"),
        module_tools: None,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::KERNELS;

    #[test]
    fn names_are_unique_and_every_package_has_a_place_for_the_version() {
        let names: BTreeSet<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        assert_eq!(names.len(), KERNELS.len());
        for kernel in KERNELS {
            assert!(!kernel.packages.is_empty(), "{}", kernel.name);
            for package in kernel.packages {
                assert_eq!(package.matches("{}").count(), 1, "{package}");
            }
        }
    }
}
