//! The table of locks in docs/architecture.md, against the instructions of the programs.
//!
//! A program that allocates under a lock which a waking thread needs freezes the machine, and does so on the
//! kernels that nobody has at hand. So what each program does is read from its instructions, its subprograms
//! included, and what the table does not say is refused.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
};

use aya_obj::{
    Object,
    generated::{bpf_insn, bpf_map_type},
    maps::Map,
};
use integration_tests::{
    instructions::{Call, Value, calls},
    objects, repository,
};
use sessionscope::kernel::programs::{Hook, PROGRAMS};

/// Instructions by the name of the program.
type Programs = BTreeMap<String, Vec<bpf_insn>>;
/// Names and maps by the numbers that stand for them.
type Maps = HashMap<i32, (String, Map)>;
/// What is done with maps, in the words of the table.
type Operations = BTreeSet<&'static str>;

const HASH: u32 = bpf_map_type::BPF_MAP_TYPE_HASH as u32;
const LRU_HASH: u32 = bpf_map_type::BPF_MAP_TYPE_LRU_HASH as u32;
const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_LOCAL_STORAGE_GET_F_CREATE: i32 = 1;
/// The maps that are no hashes and yet not allocated whole, and their types.
const STORAGES: [(&str, u32); 2] = [
    (
        "TASK_STATES",
        bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as u32,
    ),
    (
        "MARKED_SOCKETS",
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as u32,
    ),
];

// `enum bpf_func_id` (include/uapi/linux/bpf.h).
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const MAP_DELETE_ELEM: i32 = 3;
const SK_STORAGE_GET: i32 = 107;
const SEQ_WRITE: i32 = 127;
const RINGBUF_OUTPUT: i32 = 130;
const RINGBUF_RESERVE: i32 = 131;
const TASK_STORAGE_GET: i32 = 156;
/// Helpers that take no lock and allocate nothing: clocks, what is current, on which CPU, where a thread's registers are, reads of
/// the kernel's memory, how full the ring is, what ends a reservation in it, and which socket a file is.
const HARMLESS: [i32; 16] = [
    5, 8, 14, 16, 35, 80, 113, 115, 118, 125, 132, 133, 134, 158, 162, 175,
];

/// The programs of an object with their subprograms, and its maps by the number that stands for each.
fn linked(content: &[u8]) -> (Programs, Maps) {
    let mut object = Object::parse(content).expect("an object");
    let maps: Maps = object
        .maps
        .clone()
        .into_iter()
        .enumerate()
        .map(|(number, map)| (number as i32 + 1, map))
        .collect();
    let sections = object.functions.keys().map(|(section, _)| *section);
    let sections = sections.collect();
    let numbered = maps
        .iter()
        .map(|(number, (name, map))| (name.as_str(), *number, map));
    object
        .relocate_maps(numbered, &sections)
        .expect("the maps are there");
    object
        .relocate_calls(&sections)
        .expect("so are the functions");
    let programs = object.programs.iter().map(|(name, program)| {
        let function = &object.functions[&program.function_key()];
        (name.clone(), function.instructions.clone())
    });
    (programs.collect(), maps)
}

/// What a program does.
fn operations(program: &str, code: &[bpf_insn], maps: &Maps) -> Operations {
    let mut operations = Operations::new();
    for Call {
        helper,
        first,
        fourth,
    } in calls(code)
    {
        let kinds = || {
            first.iter().map(|value| match value {
                Value::Map(number) => maps[number].1.map_type(),
                other => panic!("{program}: {other:?} as the map of helper {helper}"),
            })
        };
        match helper {
            MAP_LOOKUP_ELEM => operations.extend(["looks up"]),
            MAP_UPDATE_ELEM => operations.extend(kinds().map(|kind| match kind {
                LRU_HASH => "inserts (LRU)",
                HASH => "inserts",
                other => panic!("{program}: inserts into a map of the type {other}"),
            })),
            MAP_DELETE_ELEM => operations.extend(["removes"]),
            SEQ_WRITE => operations.extend(["writes records"]),
            RINGBUF_OUTPUT | RINGBUF_RESERVE => operations.extend(["sends"]),
            TASK_STORAGE_GET => operations.extend(fourth.iter().map(|flags| match flags {
                Value::Number(0) => "looks up",
                Value::Number(BPF_LOCAL_STORAGE_GET_F_CREATE) => "creates",
                other => panic!("{program}: task storage with the flags {other:?}"),
            })),
            SK_STORAGE_GET => operations.extend(fourth.iter().map(|flags| match flags {
                Value::Number(0) => "looks up",
                Value::Number(BPF_LOCAL_STORAGE_GET_F_CREATE) => "creates (socket)",
                other => panic!("{program}: socket storage with the flags {other:?}"),
            })),
            other => assert!(
                HARMLESS.contains(&other),
                "{program}: what does helper {other} do under a lock? Say it here and in the table"
            ),
        }
    }
    operations
}

/// The rows of the table: program, what is held, what it does.
fn table() -> Vec<(String, String, BTreeSet<String>)> {
    let page = fs::read_to_string(repository().join("docs/architecture.md")).expect("the page");
    let (_, rest) = page.split_once("<!-- locks -->").expect("the table begins");
    let (table, _) = rest.split_once("<!-- /locks -->").expect("and ends");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [program, held, does] = cells[..] else {
            panic!("not three cells: {row}")
        };
        (
            program.trim_matches('`').to_owned(),
            held.to_owned(),
            does.split(", ").map(str::to_owned).collect(),
        )
    })
    .collect()
}

#[test]
fn every_program_is_in_the_table_once_and_in_the_order_of_the_list() {
    let rows = table();
    let rows: Vec<&str> = rows
        .iter()
        .map(|(program, _, _)| program.as_str())
        .collect();
    let programs: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    assert_eq!(rows, programs);
}

#[test]
fn every_program_does_what_the_table_says() {
    let mut done: BTreeMap<String, Operations> = BTreeMap::new();
    for (_, content) in objects() {
        let (programs, maps) = linked(&content);
        for (name, code) in programs {
            let operations = operations(&name, &code, &maps);
            done.entry(name).or_default().extend(operations);
        }
    }
    for (program, _, does) in table() {
        let done: BTreeSet<String> = done[&program]
            .iter()
            .map(|operation| (*operation).to_owned())
            .collect();
        assert_eq!(
            done, does,
            "{program}: left what it does, right what the table says"
        );
    }
}

/// Whether a cell says that nothing is held, and after that perhaps where or how.
fn holds_nothing(held: &str) -> bool {
    held.split([':', '(']).next().map(str::trim) == Some("nothing")
}

#[test]
fn nothing_is_created_under_a_lock() {
    for (program, held, does) in table() {
        assert!(
            !does.contains("creates") || holds_nothing(&held),
            "{program} creates under {held}"
        );
        // TCP itself allocates under the lock of a socket, which sleeps where it is a process that has it.
        let allowed = ["nothing", "the socket;"];
        assert!(
            !does.contains("creates (socket)")
                || allowed.iter().any(|&start| held.starts_with(start)),
            "{program} creates socket storage under {held}"
        );
    }
}

/// The programs that create, with their hooks. That nothing is held there is for a reader of the kernel to say, who
/// then adds a line here.
const CREATORS: [(&str, Hook); 3] = [
    ("task_newtask", Hook::Tracepoint("task_newtask")),
    ("census", Hook::Iterator("task")),
    ("enrol_threads", Hook::SleepableIterator("task")),
];

#[test]
fn what_creates_is_on_the_hooks_where_nothing_is_held() {
    let creators = table()
        .into_iter()
        .filter(|(_, _, does)| does.contains("creates"))
        .map(|(program, _, _)| program);
    let creators: Vec<(String, Hook)> = creators
        .map(|name| {
            let program = PROGRAMS.iter().find(|program| program.name == name);
            (name, program.expect("a program").hook)
        })
        .collect();
    let expected = CREATORS.map(|(name, hook)| (name.to_owned(), hook));
    assert_eq!(creators, expected);
}

#[test]
fn every_hash_is_allocated_whole() {
    for (path, content) in objects() {
        let (_, maps) = linked(&content);
        for (name, map) in maps.values() {
            let on_demand = map.map_flags() & BPF_F_NO_PREALLOC != 0;
            let is_storage = STORAGES.contains(&(name.as_str(), map.map_type()));
            assert_eq!(on_demand, is_storage, "{}: {name}", path.display());
        }
    }
}
