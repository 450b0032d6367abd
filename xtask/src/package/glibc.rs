//! The C library that a program needs, by the versions of the symbols that it takes from it.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::FileHeader as _;

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// That of a symbol, as `GLIBC_2.28`; a third number says nothing that a distribution tells apart.
    fn of(symbol: &str) -> Option<Self> {
        let mut numbers = symbol.strip_prefix("GLIBC_")?.split('.');
        let mut number = || numbers.next()?.parse().ok();
        Some(Self {
            major: number()?,
            minor: number()?,
        })
    }
}

/// The oldest C library that a program runs with.
pub(super) fn needed(program: &Path) -> Result<Version> {
    let name = program.display();
    let data = fs::read(program).with_context(|| format!("cannot read {name}"))?;
    let versions = symbol_versions(&data).with_context(|| format!("{name} is not a program"))?;
    let newest = versions.iter().filter_map(|version| Version::of(version));
    match newest.max() {
        Some(newest) => Ok(newest),
        None => bail!(
            "{name} takes nothing from glibc: the agent must not be linked statically, since NVIDIA's \
             library is loaded at run time"
        ),
    }
}

/// The versions of all symbols that a program takes from libraries.
fn symbol_versions(data: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, data, strings)?;
    let mut found = Vec::new();
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = version.name(endian, strings)?;
            found.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_needs_at_most_its_library() {
        let own = std::env::current_exe().unwrap();
        let data = fs::read(&own).unwrap();
        let versions = symbol_versions(&data).unwrap();
        // What x86-64 and arm64 began with.
        let first = if cfg!(target_arch = "aarch64") {
            "GLIBC_2.17"
        } else {
            "GLIBC_2.2.5"
        };
        assert!(
            versions.iter().any(|version| version == first),
            "{versions:?}"
        );
        let needed = needed(&own).unwrap();
        assert!(
            needed
                >= Version {
                    major: 2,
                    minor: 17
                },
            "{needed}"
        );
        assert!(needed < Version { major: 3, minor: 0 }, "{needed}");
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let of = |symbol| Version::of(symbol).unwrap();
        assert!(of("GLIBC_2.4") < of("GLIBC_2.28"));
        assert!(of("GLIBC_2.2.5") < of("GLIBC_2.17"));
        assert_eq!(of("GLIBC_2.28").to_string(), "2.28");
        for other in ["GLIBC_PRIVATE", "GCC_3.0", "GLIBC_2"] {
            assert_eq!(Version::of(other), None, "{other}");
        }
    }

    #[test]
    fn something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let error = format!("{:#}", needed(&file).unwrap_err());
        assert!(error.contains("is not a program"), "{error}");
    }
}
