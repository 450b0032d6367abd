//! `bench size`: how large the agent's kernel programs are.
//!
//! The same kernel always says the same. So a program that has grown is seen here without any noise, and before the
//! other benchmarks feel it.

use std::collections::BTreeMap;
use std::process;

use anyhow::{Result, ensure};
use aya::programs::loaded_programs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;
use sessionscope::kernel::programs::PROGRAMS;

use super::side::Programs;
use crate::cost::measuring;
use crate::cost::programs::{held, named};
use crate::machine::Machine;
use crate::numbers::grouped;
use crate::table::table;

/// Bytes of an instruction (`struct bpf_insn`, `include/uapi/linux/bpf.h`).
const INSTRUCTION: u32 = 8;

/// A program in the kernel, its subprograms included.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Size {
    /// As the verifier has made them; `None` where the kernel hides them.
    instructions: Option<u32>,
    /// Of the machine's own code; 0 where the kernel interprets.
    jited_bytes: u32,
    /// Instructions that the verifier walked, each as often as there are ways to it; `None` before 5.16.
    verified: Option<u32>,
}

/// What `bench size` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    /// By program, then by where the state of threads is.
    sizes: BTreeMap<String, BTreeMap<String, Size>>,
}

/// Loads the programs with either store and asks the kernel.
pub(crate) fn measure() -> Result<Measurements> {
    let mut sizes: BTreeMap<String, BTreeMap<String, Size>> = BTreeMap::new();
    for store in [TaskStore::PidArray, TaskStore::TaskStorage] {
        for (program, size) in sizes_with(store)? {
            let by_store = sizes.entry(program).or_default();
            by_store.insert(store.name().to_owned(), size);
        }
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("size", &[]),
        sizes,
    })
}

fn sizes_with(store: TaskStore) -> Result<BTreeMap<String, Size>> {
    let _loaded = Programs::load_with_block_io(store, false)?;
    let full: Vec<String> = PROGRAMS
        .iter()
        .map(|program| program.name.to_owned())
        .collect();
    let names = named(&held(process::id())?, &full);
    ensure!(!names.is_empty(), "this process holds no program");
    let mut sizes = BTreeMap::new();
    // Those of others may be unloaded meanwhile.
    for info in loaded_programs().filter_map(Result::ok) {
        if let Some(name) = names.get(&info.id()) {
            let size = Size {
                instructions: info.size_translated().map(|bytes| bytes / INSTRUCTION),
                jited_bytes: info.size_jitted(),
                verified: info.verified_instruction_count(),
            };
            sizes.insert(name.clone(), size);
        }
    }
    Ok(sizes)
}

impl measuring::Measurements for Measurements {
    const NAME: &'static str = "size";

    fn summary(&self) -> Value {
        serde_json::json!({ "sizes": self.sizes })
    }

    fn markdown(&self) -> String {
        let stores = [TaskStore::PidArray, TaskStore::TaskStorage];
        let mut headings = vec!["program".to_owned()];
        for store in stores {
            let of_store = |what: &&str| format!("{what}, {}", store.name());
            headings.extend(
                ["instructions", "JITed bytes", "verified"]
                    .iter()
                    .map(of_store),
            );
        }
        let optional = |count: Option<u32>| {
            count.map_or_else(|| "–".to_owned(), |count| grouped(count.into()))
        };
        let rows: Vec<Vec<String>> = self
            .sizes
            .iter()
            .map(|(program, by_store)| {
                let mut cells = vec![format!("`{program}`")];
                for store in stores {
                    let size = by_store.get(store.name());
                    cells.extend([
                        optional(size.and_then(|size| size.instructions)),
                        optional(size.map(|size| size.jited_bytes)),
                        optional(size.and_then(|size| size.verified)),
                    ]);
                }
                cells
            })
            .collect();
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        [
            format!("{}. `{}`", self.machine, self.command),
            table(&headings, &rows),
        ]
        .join("\n\n")
    }
}
