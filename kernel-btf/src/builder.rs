//! BTF for tests: types given as words, and their strings.

#![expect(missing_docs, reason = "for tests: each does what its name says")]

use crate::{KIND_FUNC, KIND_FUNC_PROTO, KIND_INT, KIND_STRUCT, KIND_UNION, MAGIC};

/// See the module. Types have the ids 1, 2, … in the order in which they are added.
#[derive(Debug, Default)]
pub struct Builder {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
}

impl Builder {
    pub fn new() -> Self {
        Self {
            types: Vec::new(),
            count: 0,
            strings: vec![0],
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, words: impl IntoIterator<Item = u32>) {
        self.types.extend(words);
        self.count += 1;
    }

    pub fn int(&mut self, name: &str, bytes: u32) {
        let name = self.string(name);
        self.add([name, KIND_INT << 24, bytes, bytes * 8]);
    }

    /// Members: name, type id, bit offset.
    pub fn composite(&mut self, kind: u32, name: &str, flag: bool, members: &[(&str, u32, u32)]) {
        let name = self.string(name);
        let mut words = vec![
            name,
            u32::from(flag) << 31 | kind << 24 | members.len() as u32,
            64,
        ];
        for &(member, ty, bits) in members {
            words.extend([self.string(member), ty, bits]);
        }
        self.add(words);
    }

    /// A function and, before it, the type of it; its parameters are of the first type.
    pub fn function(&mut self, name: &str, parameters: &[&str]) {
        let mut words = vec![0, KIND_FUNC_PROTO << 24 | parameters.len() as u32, 1];
        for parameter in parameters {
            words.extend([self.string(parameter), 1]);
        }
        self.add(words);
        let name = self.string(name);
        self.add([name, KIND_FUNC << 24, self.count]);
    }

    pub fn build(self) -> Vec<u8> {
        let type_len = self.types.len() as u32 * 4;
        let mut out = Vec::new();
        out.extend(MAGIC.to_le_bytes());
        out.extend([1, 0]);
        for word in [24, 0, type_len, type_len, self.strings.len() as u32]
            .into_iter()
            .chain(self.types)
        {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.strings);
        out
    }
}

/// A file with some of everything: what tests and fuzzers begin with.
pub fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    b.int("int", 4); // 1
    b.composite(KIND_UNION, "", false, &[("inner", 1, 0), ("other", 1, 32)]); // 2
    b.composite(KIND_STRUCT, "info", false, &[("delay", 1, 64)]); // 3
    b.composite(
        KIND_STRUCT,
        "task",
        false,
        &[("pid", 1, 32), ("", 2, 128), ("info", 3, 256)],
    ); // 4
    b.composite(KIND_STRUCT, "twin", false, &[("x", 1, 0)]); // 5
    b.composite(KIND_STRUCT, "twin", false, &[("x", 1, 32)]); // 6
    b.composite(
        KIND_STRUCT,
        "flags",
        true,
        &[("bit", 1, 1 << 24 | 3), ("whole", 1, 32)],
    ); // 7
    b.function("update", &["owner", "flags"]); // 8 and 9
    b.build()
}
