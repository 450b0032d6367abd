//! What the running kernel's types say, and how it gets into the programs.

use std::{mem::offset_of, time::Duration};

use agent_common::{
    MAX_CONNECTIONS,
    constants::{Constants, PLACEHOLDER},
    layout::ABSENT,
};
use object::{Object, ObjectSection, SectionKind};

use super::{Options, allocation::Allocation, btf::Btf, layout};
use crate::{clock, error::Error};

/// `BPF_ALU64 | BPF_MOV | BPF_K` and `BPF_LD | BPF_IMM | BPF_DW`, which takes two places (include/uapi/linux/bpf.h).
const MOVE_NUMBER: u8 = 0xb7;
const LOAD_64: u8 = 0x18;
/// Bytes of an instruction, and where its number is.
const INSTRUCTION: usize = 8;
const NUMBER: usize = 4;
const UPPER_HALF: u32 = 0xffff_0000;

/// Finds the constants of the kernel with these types; `allocation` is that of task storage, where it is used.
pub(super) fn resolve(
    btf: &Btf,
    allocation: Option<Allocation>,
    options: &Options,
) -> Result<Constants, Error> {
    let create_without_sleeping = allocation != Some(Allocation::BeforeTheLock);
    let mut layout = layout::resolve(btf)?;
    let regs = Registers::of(btf);
    if regs == Registers::NotFound {
        // Who yields is not told.
        layout.regs_syscall = ABSENT;
    }
    Ok(Constants {
        layout,
        create_without_sleeping: create_without_sleeping.into(),
        tracepoints_are_preemptible: tracepoints_may_be_preemptible(btf).into(),
        connections_of_each: (MAX_CONNECTIONS / 4 / options.slots).max(1),
        sched_yield: libc::SYS_sched_yield as u32,
        regs_in_stack: match regs {
            Registers::InStack(offset) => offset,
            Registers::ByHelper | Registers::NotFound => ABSENT,
        },
        tells_execs: options.tells_execs.into(),
        tick_ns: clock::tick_ns(),
        idle_after_ms: milliseconds(options.idle_after),
    })
}

/// Whole milliseconds, at most 49 days of them: jiffies do not tell more either.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// How a program finds the registers that user space had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registers {
    /// A helper says it (`bpf_task_pt_regs`, 5.15).
    ByHelper,
    /// They are so far from the beginning of a kernel stack, at its top (`task_pt_regs` in
    /// arch/x86/include/asm/processor.h and arch/arm64/include/asm/processor.h, 5.10 to 5.14). A stack has 16 KiB, or a
    /// page if that is larger (`THREAD_SIZE`).
    InStack(u32),
    /// Not at all.
    NotFound,
}

impl Registers {
    fn of(btf: &Btf) -> Self {
        const THREAD_SIZE: u32 = 16 << 10;
        if btf.parameters_of("bpf_task_pt_regs").is_some() {
            return Self::ByHelper;
        }
        // With FRED (6.9) the top of a stack is padded; such a kernel has the helper, whatever its BTF names.
        if btf.has_member("pt_regs", "fred_cs") {
            return Self::NotFound;
        }
        let stack = THREAD_SIZE.max(procfs::page_size() as u32);
        let size = btf.size_of("pt_regs").filter(|size| *size < stack);
        size.map_or(Self::NotFound, |size| Self::InStack(stack - size))
    }
}

/// Whether programs of tracepoints may be preempted, as they are from 7.0 on. They are then protected by an SRCU
/// that is for readers of a certain kind (`tracepoint_srcu`, kernel/tracepoint.c), and a kernel whose SRCU does not
/// know the kinds cannot have it; one that does may have it.
pub fn tracepoints_may_be_preemptible(btf: &Btf) -> bool {
    btf.has_member("srcu_struct", "srcu_reader_flavor")
}

/// The object with the constants in the placeholders' place.
pub(super) fn written_into(object: &[u8], constants: &Constants) -> Result<Vec<u8>, String> {
    let file = object::File::parse(object).map_err(|e| e.to_string())?;
    let code: Vec<_> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .filter_map(|section| section.file_range())
        .map(|(from, bytes)| from as usize..(from + bytes) as usize)
        .collect();
    let mut written = object.to_vec();
    for range in code {
        let code = written
            .get_mut(range)
            .ok_or("a section ends beyond the file")?;
        write(code, constants)?;
    }
    Ok(written)
}

fn write(code: &mut [u8], constants: &Constants) -> Result<(), String> {
    let mut instructions = code.chunks_exact_mut(INSTRUCTION);
    while let Some(instruction) = instructions.next() {
        if instruction[0] == LOAD_64 {
            instructions.next();
        }
        let Some(number) = instruction[NUMBER..].first_chunk_mut() else {
            continue;
        };
        let placeholder = u32::from_le_bytes(*number);
        if placeholder & UPPER_HALF != PLACEHOLDER {
            continue;
        }
        let constant = (instruction[0] == MOVE_NUMBER)
            .then(|| at(constants, placeholder & !UPPER_HALF))
            .flatten();
        let constant = constant
            .ok_or_else(|| format!("no constant belongs in an instruction's {placeholder:#x}"))?;
        if let Some(number) = instruction[NUMBER..].first_chunk_mut() {
            *number = constant.to_le_bytes();
        }
    }
    Ok(())
}

/// The constant at a place, in words.
fn at(constants: &Constants, place: u32) -> Option<u32> {
    const CREATE: usize = offset_of!(Constants, create_without_sleeping) / 4;
    const PREEMPTIBLE: usize = offset_of!(Constants, tracepoints_are_preemptible) / 4;
    const OF_EACH: usize = offset_of!(Constants, connections_of_each) / 4;
    const SCHED_YIELD: usize = offset_of!(Constants, sched_yield) / 4;
    const REGS_IN_STACK: usize = offset_of!(Constants, regs_in_stack) / 4;
    const TELLS_EXECS: usize = offset_of!(Constants, tells_execs) / 4;
    const TICK: usize = offset_of!(Constants, tick_ns) / 4;
    const IDLE_AFTER: usize = offset_of!(Constants, idle_after_ms) / 4;
    match place as usize {
        CREATE => Some(constants.create_without_sleeping),
        PREEMPTIBLE => Some(constants.tracepoints_are_preemptible),
        OF_EACH => Some(constants.connections_of_each),
        SCHED_YIELD => Some(constants.sched_yield),
        REGS_IN_STACK => Some(constants.regs_in_stack),
        TELLS_EXECS => Some(constants.tells_execs),
        TICK => Some(constants.tick_ns),
        IDLE_AFTER => Some(constants.idle_after_ms),
        member => layout::MEMBERS
            .get(member)
            .map(|member| (member.get)(&constants.layout)),
    }
}

#[cfg(test)]
mod tests {
    use agent_common::layout::Layout;

    use super::*;

    const CONSTANTS: Constants = Constants {
        layout: Layout {
            task_tgid: 1234,
            ..Layout::UNRESOLVED
        },
        create_without_sleeping: 0,
        tracepoints_are_preemptible: 1,
        connections_of_each: 51,
        sched_yield: 24,
        regs_in_stack: 77,
        tells_execs: 1,
        tick_ns: 4_000_000,
        idle_after_ms: 900_000,
    };

    /// An instruction with a number, and one that takes two places.
    fn code(operation: u8, number: u32) -> Vec<u8> {
        let mut code = vec![operation, 1, 0, 0];
        code.extend(number.to_le_bytes());
        code.extend([LOAD_64, 1, 0, 0, 0, 0, 0, 0]);
        code.extend([0, 0, 0, 0]);
        code.extend((PLACEHOLDER + 1).to_le_bytes());
        code
    }

    fn number(code: &[u8]) -> u32 {
        u32::from_le_bytes(*code[NUMBER..].first_chunk().unwrap())
    }

    #[test]
    fn each_placeholder_gets_its_constant() {
        let last = (size_of::<Constants>() / 4) as u32 - 1;
        let places = [
            (1, 1234),
            (last - 7, 0),
            (last - 6, 1),
            (last - 5, 51),
            (last - 4, 24),
            (last - 3, 77),
            (last - 2, 1),
            (last - 1, 4_000_000),
            (last, 900_000),
        ];
        for (place, expected) in places {
            let mut code = code(MOVE_NUMBER, PLACEHOLDER + place);
            write(&mut code, &CONSTANTS).unwrap();
            assert_eq!(number(&code), expected, "{place}");
            // The second half of a number of 64 bits is none.
            assert_eq!(number(&code[2 * INSTRUCTION..]), PLACEHOLDER + 1);
        }
    }

    #[test]
    fn a_length_that_is_too_long_is_the_longest() {
        assert_eq!(milliseconds(Duration::from_mins(15)), 900_000);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn what_is_no_placeholder_stays_and_what_cannot_be_one_is_refused() {
        let mut plain = code(MOVE_NUMBER, 77);
        let before = plain.clone();
        write(&mut plain, &CONSTANTS).unwrap();
        assert_eq!(plain, before);
        let beyond = PLACEHOLDER + (size_of::<Constants>() / 4) as u32;
        assert!(write(&mut code(MOVE_NUMBER, beyond), &CONSTANTS).is_err());
        assert!(write(&mut code(0x07, PLACEHOLDER), &CONSTANTS).is_err());
    }

    #[test]
    fn every_constant_is_in_the_objects_and_all_are_found() {
        for store in [
            super::super::object::TaskStore::TaskStorage,
            super::super::object::TaskStore::PidArray,
        ] {
            let written = written_into(store.object(), &CONSTANTS).unwrap();
            let changed = written.iter().zip(store.object()).filter(|(a, b)| a != b);
            assert!(changed.count() > 0);
            // Nothing is left to find.
            let again = written_into(&written, &CONSTANTS).unwrap();
            assert_eq!(again, written);
        }
    }
}
