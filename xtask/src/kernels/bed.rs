//! THE list of machines that a kernel is booted on: what they have, and which tests run there.

use std::time::Duration;

use clap::ValueEnum;

use super::Architecture;

/// The test program that has a machine to itself.
const PRESSURE: &str = "memory_pressure";
/// The test program that needs a whole system.
const LOGON: &str = "logon";

/// A machine for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bed {
    /// Has what the tests need: memory, a file system, a slow disk.
    Ordinary,
    /// Has little memory and a disk that is twelve times as large, for the test that wants kswapd to be woken
    /// all the time. Should the agent freeze it, no other test is lost.
    Pressure,
    /// Boots Debian with systemd as its first process, and its clock counts instructions: somebody logs in there, and
    /// how long each step takes must be the machine's own time and not the emulation's.
    System,
}

impl Bed {
    pub(super) const ALL: [Self; 3] = [Self::Ordinary, Self::Pressure, Self::System];

    /// What files and messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Pressure => "pressure",
            Self::System => "system",
        }
    }

    /// Whether a test program runs there.
    pub(super) fn runs(self, program: &str) -> bool {
        match program {
            PRESSURE => self == Self::Pressure,
            LOGON => self == Self::System,
            _ => self == Self::Ordinary,
        }
    }

    pub(super) fn memory_mib(self) -> u32 {
        match self {
            Self::Ordinary | Self::System => 2048,
            // 54 of them are its files, which no disk has: the rest is half a gigabyte.
            Self::Pressure => 576,
        }
    }

    /// Size of the first disk, which takes only the space that is written.
    pub(super) fn disk_bytes(self) -> u64 {
        match self {
            Self::Ordinary => 256 << 20,
            // Its files are in memory.
            Self::System => 1 << 20,
            Self::Pressure => 6 << 30,
        }
    }

    /// Whether kernels of an architecture are booted there. The order of locks and what a logon is made of are the
    /// same on each; arm64 is emulated at half the speed.
    pub(super) fn takes(self, architecture: Architecture) -> bool {
        self == Self::Ordinary || architecture == Architecture::X86
    }

    /// How long a guest may print nothing; the test under memory pressure says every five seconds that it
    /// lives.
    pub(super) fn silence(self) -> Option<Duration> {
        match self {
            Self::Ordinary | Self::System => None,
            Self::Pressure => Some(Duration::from_secs(45)),
        }
    }

    /// Whether that disk has a file system.
    pub(super) fn has_file_system(self) -> bool {
        self == Self::Ordinary
    }

    /// Whether its clock counts instructions, a nanosecond for each, instead of the time that passes here: the guest
    /// is then about as fast as a machine, whatever else runs on this one, and takes longer to emulate, on one CPU.
    pub(super) fn counts_instructions(self) -> bool {
        self == Self::System
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Bed, LOGON, PRESSURE};
    use crate::command;

    #[test]
    fn every_test_program_has_one_bed() {
        for program in ["truth", PRESSURE, LOGON] {
            let beds = Bed::ALL.iter().filter(|bed| bed.runs(program));
            assert_eq!(beds.count(), 1, "{program}");
            let source = command::repository().join(format!("tests/tests/{program}.rs"));
            assert!(fs::exists(&source).unwrap(), "{}", source.display());
        }
    }
}
