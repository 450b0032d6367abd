//! Pages of the agent's own files that its start alone needs.
//!
//! The dynamic linker reads a megabyte of relocations, and what reads the command line, the settings, BTF and the kernel
//! programs runs once. The kernel maps such pages by sixteen (`fault_around_bytes`, mm/memory.c), and they stay resident
//! for as long as nobody wants the memory: of 21 MiB of an agent that has started, 17 are pages of its files, and it goes on
//! with 12.

use std::ffi::c_void;

use procfs::{
    ProcResult,
    process::{MMPermissions, MMapPath, MemoryMap, Process},
};
use rustix::mm::{Advice, madvise};

/// Lets go of every page of the program and its libraries. What is used again is mapped again from the kernel's cache of
/// the file, which keeps it as what may go first. What the kernel refuses stays.
pub fn give_back_files() {
    let Ok(mappings) = mappings() else { return };
    for mapping in mappings.iter().filter(|one| is_unwritten_file(one)) {
        let (start, end) = mapping.address;
        // First, so that the next step does not count as a use (`zap_pte_range`, mm/memory.c).
        for advice in [Advice::LinuxCold, Advice::LinuxDontNeed] {
            // SAFETY: the mapping is private, cannot be written and has no page but those of its file, so that what is read
            // there before and after is the same.
            #[expect(unsafe_code, reason = "advice on memory has no safe wrapper")]
            let _refused = unsafe { madvise(start as *mut c_void, (end - start) as usize, advice) };
        }
    }
}

fn mappings() -> ProcResult<Vec<MemoryMap>> {
    let mappings = Process::myself()?.smaps()?;
    Ok(mappings.into_iter().collect())
}

/// Whether all that is mapped there is still as it is in a file. What the dynamic linker has relocated is not.
fn is_unwritten_file(mapping: &MemoryMap) -> bool {
    let is_file = matches!(mapping.pathname, MMapPath::Path(_));
    let anonymous = mapping.extension.map.get("Anonymous");
    is_file
        && mapping.perms.contains(MMPermissions::PRIVATE)
        && !mapping.perms.contains(MMPermissions::WRITE)
        && anonymous == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of unwritten files.
    fn resident() -> u64 {
        let mappings = mappings().expect("its own");
        let of_files = mappings.iter().filter(|one| is_unwritten_file(one));
        of_files.map(|one| one.extension.map["Rss"]).sum()
    }

    #[test]
    fn what_the_start_has_read_of_files_is_let_go() {
        let before = resident();
        give_back_files();
        let after = resident();
        // What runs meanwhile is mapped again.
        assert!(2 * after < before, "{after} of {before}");
    }
}
