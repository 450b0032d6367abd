//! The compiled kernel programs against the table that the agent loads them by.
//!
//! Needs neither root nor a kernel: what this finds would otherwise show as a failed start on somebody's
//! node.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::generated::bpf_map_type;
use integration_tests::objects;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use sessionscope::kernel::{HASHES, per_slot_maps, programs::PROGRAMS};

/// Kernels give task storage and the helpers that read kernel memory to programs under the GPL only.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";
/// How the sections of programs begin.
const HOOKS: [&str; 7] = [
    "tp_btf/",
    "fentry/",
    "fexit/",
    "iter/",
    "iter.s/",
    "raw_tp/",
    "tracepoint/",
];

#[test]
fn every_program_of_the_table_is_in_each_object_under_its_hook() {
    for (path, content) in objects() {
        let file = object::File::parse(&*content).expect("an ELF");
        for program in PROGRAMS {
            let symbol = file
                .symbols()
                .find(|symbol| {
                    symbol.kind() == SymbolKind::Text && symbol.name() == Ok(program.name)
                })
                .unwrap_or_else(|| panic!("{}: no program {}", path.display(), program.name));
            let index = symbol.section_index().expect("a program is in a section");
            let section = file.section_by_index(index).expect("a section");
            let wanted = program.hook.section();
            assert_eq!(
                section.name(),
                Ok(wanted.as_str()),
                "{}: {}",
                path.display(),
                program.name
            );
        }
    }
}

#[test]
fn no_object_has_a_program_that_is_not_in_the_table() {
    for (path, content) in objects() {
        let file = object::File::parse(&*content).expect("an ELF");
        for symbol in file.symbols().filter(ObjectSymbol::is_global) {
            let Some(index) = symbol.section_index() else {
                continue;
            };
            let section = file.section_by_index(index).expect("a section");
            let section = section.name().expect("a name");
            if symbol.kind() == SymbolKind::Text
                && HOOKS.iter().any(|hook| section.starts_with(hook))
            {
                let name = symbol.name().expect("a name");
                let known = PROGRAMS.iter().any(|program| program.name == name);
                assert!(known, "{}: {name} in {section}", path.display());
            }
        }
    }
}

/// Arrays that are the node's or the threads', and not the sessions'.
const OTHERS: [&str; 12] = [
    "CGROUP_EVENT",
    "CONNECTION_BATCH",
    "DISPLAYS_AWAITED",
    "DISPLAYS_GIVEN_UP",
    "EVENTS_LOST",
    "GENERATION",
    "ON_CPU",
    "SELF_CHECK",
    "TASK_STATES",
    "UNMEASURED_SWITCHES",
    "XID_EVENT",
    "XID_FIELDS",
];

#[test]
fn every_array_with_a_value_for_each_slot_is_sized_cleared_and_accounted_for() {
    let listed: BTreeMap<String, usize> = per_slot_maps()
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect();
    let arrays = [
        bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32,
    ];
    for (path, content) in objects() {
        let object = aya_obj::Object::parse(&content).expect("an object");
        let declared: BTreeMap<String, usize> = object
            .maps
            .iter()
            .filter(|(name, map)| {
                // Sections of data are maps too.
                let is_data = name.starts_with('.');
                !is_data && arrays.contains(&map.map_type())
            })
            .filter(|(name, _)| !OTHERS.contains(&name.as_str()))
            .map(|(name, map)| (name.clone(), map.value_size() as usize))
            .collect();
        assert_eq!(declared, listed, "{}", path.display());
    }
}

#[test]
fn every_hash_is_accounted_for_and_cleared_with_a_slot_or_not_for_a_reason() {
    let hashes = [
        bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        bpf_map_type::BPF_MAP_TYPE_LRU_HASH as u32,
    ];
    for (path, content) in objects() {
        let object = aya_obj::Object::parse(&content).expect("an object");
        let declared: BTreeSet<(&str, u32, u32, u32)> = object
            .maps
            .iter()
            .filter(|(_, map)| hashes.contains(&map.map_type()))
            .map(|(name, map)| {
                let (key, value) = (map.key_size(), map.value_size());
                (name.as_str(), key, value, map.max_entries())
            })
            .collect();
        let listed = HASHES.iter().map(|hash| {
            let (key, value) = (hash.key_bytes as u32, hash.value_bytes as u32);
            (hash.name, key, value, hash.entries)
        });
        assert_eq!(declared, listed.collect(), "{}", path.display());
    }
}

#[test]
fn each_object_is_under_the_licence_that_the_kernel_asks_for() {
    for (path, content) in objects() {
        let file = object::File::parse(&*content).expect("an ELF");
        let section = file.section_by_name("license").expect("a section");
        assert_eq!(
            section.data().expect("its data"),
            LICENCE,
            "{}",
            path.display()
        );
    }
}
