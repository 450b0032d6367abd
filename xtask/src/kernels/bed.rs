//! THE list of machines that a kernel is booted on: what they have, and which tests run there.

use std::time::Duration;

use clap::ValueEnum;

use super::Architecture;

/// The test program that has a machine to itself.
const PRESSURE: &str = "memory_pressure";

/// A machine for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bed {
    /// Has what the tests need: memory, a file system, a slow disk.
    Ordinary,
    /// Has little memory and a disk that is twelve times as large, for the test that wants kswapd to be woken
    /// all the time. Should the agent freeze it, no other test is lost.
    Pressure,
}

impl Bed {
    pub(super) const ALL: [Self; 2] = [Self::Ordinary, Self::Pressure];

    /// What files and messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Pressure => "pressure",
        }
    }

    /// Whether a test program runs there.
    pub(super) fn runs(self, program: &str) -> bool {
        (program == PRESSURE) == (self == Self::Pressure)
    }

    pub(super) fn memory_mib(self) -> u32 {
        match self {
            Self::Ordinary => 2048,
            // 54 of them are its files, which no disk has: the rest is half a gigabyte.
            Self::Pressure => 576,
        }
    }

    /// Size of the first disk, which takes only the space that is written.
    pub(super) fn disk_bytes(self) -> u64 {
        match self {
            Self::Ordinary => 256 << 20,
            Self::Pressure => 6 << 30,
        }
    }

    /// Whether kernels of an architecture are booted there. The order of locks is the same on each; arm64 is
    /// emulated at half the speed.
    pub(super) fn takes(self, architecture: Architecture) -> bool {
        self == Self::Ordinary || architecture == Architecture::X86
    }

    /// How long a guest may print nothing; the test under memory pressure says every five seconds that it
    /// lives.
    pub(super) fn silence(self) -> Option<Duration> {
        match self {
            Self::Ordinary => None,
            Self::Pressure => Some(Duration::from_secs(45)),
        }
    }

    /// Whether that disk has a file system.
    pub(super) fn has_file_system(self) -> bool {
        self == Self::Ordinary
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Bed, PRESSURE};
    use crate::command;

    #[test]
    fn every_test_program_has_one_bed() {
        for program in ["truth", PRESSURE] {
            let beds = Bed::ALL.iter().filter(|bed| bed.runs(program));
            assert_eq!(beds.count(), 1, "{program}");
        }
        let source = command::repository().join(format!("tests/tests/{PRESSURE}.rs"));
        assert!(fs::exists(&source).unwrap(), "{}", source.display());
    }
}
