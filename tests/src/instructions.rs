//! The calls of a kernel program, with what may be in their registers: constants and maps are followed through
//! moves and jumps, and from both sides of a branch.

use std::collections::BTreeSet;

use aya_obj::generated::bpf_insn;

/// Something that a register may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A constant.
    Number(i32),
    /// The map that this number was put in the place of.
    Map(i32),
    /// Anything else.
    Unknown,
}

/// A call of a helper of the kernel.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number in `enum bpf_func_id` (include/uapi/linux/bpf.h).
    pub helper: i32,
    /// What its first argument may be.
    pub first: BTreeSet<Value>,
    /// The same for its fourth.
    pub fourth: BTreeSet<Value>,
}

/// What each register may hold.
type Registers = [BTreeSet<Value>; 11];

// include/uapi/linux/bpf.h and bpf_common.h
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
/// With the distance in the constant.
const LONG_JUMP: u8 = 0x06;
/// Stores of registers; in the mode of atomic operations they may load.
const STORE: u8 = 0x03;
const MODE: u8 = 0xe0;
const ATOMIC: u8 = 0xc0;
const LOAD_64: u8 = 0x18;
/// Of 64 and of 32 bits.
const MOVE_NUMBER: [u8; 2] = [0xb7, 0xb4];
const MOVE_REGISTER: [u8; 2] = [0xbf, 0xbc];
const CLASS: u8 = 0x07;
/// Loads into a register, and arithmetic of 64 and 32 bits.
const WRITING_CLASSES: [u8; 4] = [0x00, 0x01, 0x07, 0x04];
const JUMPING_CLASSES: [u8; 2] = [0x05, 0x06];
/// Values of an instruction's source register that say what its number is.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_FUNCTION: u8 = 1;
const HELPER: u8 = 0;

/// The calls in a linked program, its subprograms included. Panics at a call of anything but a helper or a
/// subprogram, and at a call that no way is seen to lead to: what it does is not known.
pub fn calls(code: &[bpf_insn]) -> Vec<Call> {
    let mut before: Vec<Option<Registers>> = vec![None; code.len()];
    let mut open = vec![(0, unknown())];
    while let Some((at, arriving)) = open.pop() {
        let Some(registers) = joined(&mut before[at], &arriving) else {
            continue;
        };
        open.extend(after(code, at, registers));
    }
    code.iter()
        .zip(before)
        .enumerate()
        .filter(|(_, (instruction, _))| instruction.code == CALL && instruction.src_reg() == HELPER)
        .map(|(at, (instruction, registers))| {
            let registers = registers.unwrap_or_else(|| panic!("no way leads to the call at {at}"));
            let [_, first, _, _, fourth, ..] = registers;
            Call {
                helper: instruction.imm,
                first,
                fourth,
            }
        })
        .collect()
}

/// Nothing is known of any register.
fn unknown() -> Registers {
    std::array::from_fn(|_| [Value::Unknown].into())
}

/// What is known with what arrives from one more side; `None` where that is nothing new.
fn joined(known: &mut Option<Registers>, arriving: &Registers) -> Option<Registers> {
    let new = known.is_none();
    let known = known.get_or_insert_with(Registers::default);
    let mut grown = new;
    for (known, arriving) in known.iter_mut().zip(arriving) {
        let before = known.len();
        known.extend(arriving);
        grown |= known.len() > before;
    }
    grown.then(|| known.clone())
}

/// Where the program goes on, and with what.
fn after(code: &[bpf_insn], at: usize, mut registers: Registers) -> Vec<(usize, Registers)> {
    let instruction = &code[at];
    let to = |offset: i64| (at as i64 + 1 + offset) as usize;
    let written = instruction.dst_reg() as usize;
    match instruction.code {
        EXIT => Vec::new(),
        CALL => {
            let mut next = Vec::new();
            match instruction.src_reg() {
                HELPER => {}
                PSEUDO_FUNCTION => next.push((to(instruction.imm.into()), registers.clone())),
                other => panic!("instruction {at}: a call of the kind {other}"),
            }
            registers[..=5].fill([Value::Unknown].into());
            next.push((to(0), registers));
            next
        }
        JUMP => vec![(to(instruction.off.into()), registers)],
        LONG_JUMP => vec![(to(instruction.imm.into()), registers)],
        other if other & CLASS == STORE && other & MODE == ATOMIC => {
            // One that fetches writes where it took its operand from, and one that compares writes R0.
            registers[0] = [Value::Unknown].into();
            registers[instruction.src_reg() as usize] = [Value::Unknown].into();
            vec![(to(0), registers)]
        }
        LOAD_64 => {
            registers[written] = if instruction.src_reg() == PSEUDO_MAP {
                [Value::Map(instruction.imm)].into()
            } else {
                [Value::Unknown].into()
            };
            // It is two instructions long.
            vec![(to(1), registers)]
        }
        jump if JUMPING_CLASSES.contains(&(jump & CLASS)) => vec![
            (to(0), registers.clone()),
            (to(instruction.off.into()), registers),
        ],
        other => {
            if MOVE_REGISTER.contains(&other) {
                let copied = registers[instruction.src_reg() as usize].clone();
                registers[written] = copied;
            } else if MOVE_NUMBER.contains(&other) {
                registers[written] = [Value::Number(instruction.imm)].into();
            } else if WRITING_CLASSES.contains(&(other & CLASS)) {
                registers[written] = [Value::Unknown].into();
            }
            vec![(to(0), registers)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, registers: [u8; 2], off: i16, imm: i32) -> bpf_insn {
        let [destination, source] = registers;
        let mut instruction = bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(destination, source),
            off,
            imm,
        };
        instruction.set_dst_reg(destination);
        instruction
    }

    #[test]
    fn what_is_loaded_or_computed_is_unknown() {
        for (code, registers) in [(0x79, [4, 10]), (0x57, [4, 0]), (0x61, [4, 6])] {
            let code = [
                instruction(MOVE_NUMBER[0], [4, 0], 0, 0),
                instruction(0x15, [7, 0], 1, 0), // jump if equal, over one
                instruction(code, registers, 0, 1),
                instruction(CALL, [0, 0], 0, 156),
                instruction(EXIT, [0, 0], 0, 0),
            ];
            let fourth = &calls(&code)[0].fourth;
            assert_eq!(*fourth, [Value::Number(0), Value::Unknown].into());
        }
    }

    #[test]
    fn what_an_atomic_operation_fetches_is_unknown() {
        let code = [
            instruction(MOVE_NUMBER[0], [4, 0], 0, 7),
            instruction(0xdb, [10, 4], -8, 1), // fetch and add
            instruction(CALL, [0, 0], 0, 156),
            instruction(EXIT, [0, 0], 0, 0),
        ];
        assert_eq!(calls(&code)[0].fourth, [Value::Unknown].into());
    }

    #[test]
    #[should_panic(expected = "no way leads to the call at 2")]
    fn a_call_that_nothing_leads_to_is_refused() {
        calls(&[
            instruction(LONG_JUMP, [0, 0], 0, 2),
            instruction(EXIT, [0, 0], 0, 0),
            instruction(CALL, [0, 0], 0, 156),
            instruction(EXIT, [0, 0], 0, 0),
        ]);
    }

    #[test]
    fn both_sides_of_a_branch_are_seen() {
        // A map in one register, another in the other branch, and one call for both.
        let code = [
            instruction(LOAD_64, [6, PSEUDO_MAP], 0, 1),
            instruction(0, [0, 0], 0, 0),
            instruction(0x15, [7, 0], 2, 0), // jump if equal, over two
            instruction(LOAD_64, [6, PSEUDO_MAP], 0, 2),
            instruction(0, [0, 0], 0, 0),
            instruction(MOVE_REGISTER[0], [1, 6], 0, 0),
            instruction(MOVE_NUMBER[1], [4, 0], 0, 1),
            instruction(CALL, [0, 0], 0, 156),
            instruction(CALL, [0, 0], 0, 14),
            instruction(EXIT, [0, 0], 0, 0),
        ];
        let calls = calls(&code);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].helper, 156);
        assert_eq!(calls[0].first, [Value::Map(1), Value::Map(2)].into());
        assert_eq!(calls[0].fourth, [Value::Number(1)].into());
        assert_eq!(
            calls[1].first,
            [Value::Unknown].into(),
            "a call leaves nothing behind"
        );
    }
}
