//! `bpf(2)` for what aya 0.14 has no call for.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya::Pod;

// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;

/// Of `enum bpf_attach_type`.
const BPF_TRACE_ITER: u32 = 28;

/// Flag of `BPF_PROG_TEST_RUN`.
const BPF_F_TEST_RUN_ON_CPU: u32 = 1;

/// Length of `struct bpf_prog_info` with its `recursion_misses` (5.12) and `verified_insns` (5.16), and where these
/// are (include/uapi/linux/bpf.h).
const INFO_BYTES: usize = 224;
const RECURSION_MISSES: usize = 208;
const VERIFIED_INSNS: usize = 216;

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct Element {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A value of a map of any kind whose keys are 32 bits; `None` when it is not there.
pub(super) fn value_at<V: Pod + Default>(map: BorrowedFd<'_>, key: u32) -> io::Result<Option<V>> {
    let mut value = V::default();
    let mut attributes = Element {
        map: map.as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const key) as u64,
        value: (&raw mut value) as u64,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fills a value of an array with zeros; `bytes` are those of a value, on all CPUs together where each has one.
pub(super) fn clear(map: BorrowedFd<'_>, key: u32, bytes: usize) -> io::Result<()> {
    // The kernel rounds a CPU's value up to words.
    let zeros = vec![0u64; bytes.div_ceil(size_of::<u64>())];
    let mut attributes = Element {
        map: map.as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const key) as u64,
        value: zeros.as_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attributes).map(|_| ())
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
struct LookupBatch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Copies entries of a hash map, as many as there is room for, and says how many. `position` is `None` at
/// first, then where to go on, and `None` again at the end. A chain of the table is copied under its lock, so
/// no entry is copied twice (kernel/bpf/hashtab.c, `__htab_map_lookup_and_delete_batch`, Linux 5.6).
fn entries<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    position: &mut Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<usize> {
    let from = *position;
    let mut to = 0u32;
    let mut attributes = LookupBatch {
        from: from
            .as_ref()
            .map_or(0, |from| std::ptr::from_ref(from) as u64),
        to: (&raw mut to) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map: map.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    let result = bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes);
    *position = match result {
        Ok(_) => Some(to),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        Err(error) => return Err(error),
    };
    Ok(attributes.count as usize)
}

/// Entries of one system call; more than a chain of a hash table can hold, which is copied whole.
const ENTRIES_PER_CALL: usize = 4096;

/// All entries of a hash map, in the order of its table.
pub(super) fn all_entries<K: Pod + Default, V: Pod + Default>(
    map: BorrowedFd<'_>,
) -> io::Result<Vec<(K, V)>> {
    let mut all = Vec::new();
    let mut keys = vec![K::default(); ENTRIES_PER_CALL];
    let mut values = vec![V::default(); ENTRIES_PER_CALL];
    let mut position = None;
    loop {
        let found = entries(map, &mut position, &mut keys, &mut values)?;
        all.extend(keys.iter().copied().zip(values.iter().copied()).take(found));
        if position.is_none() {
            return Ok(all);
        }
    }
}

/// The first values of an array, one for each of the keys from 0 on (Linux 5.6).
pub(super) fn first_values<V: Pod + Default>(
    map: BorrowedFd<'_>,
    count: usize,
) -> io::Result<Vec<V>> {
    let mut keys = vec![0u32; count];
    let mut values = vec![V::default(); count];
    let mut position = None;
    let found = entries(map, &mut position, &mut keys, &mut values)?;
    values.truncate(found);
    Ok(values)
}

/// `union bpf_attr` of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_lengths: [u32; 2],
    data: [u64; 2],
    repeat: u32,
    duration: u32,
    context_lengths: [u32; 2],
    context: [u64; 2],
    flags: u32,
    cpu: u32,
}

/// Runs a program of type raw tracepoint on this CPU; it gets no context (Linux 5.10).
pub(super) fn run(program: BorrowedFd<'_>) -> io::Result<()> {
    test_run(program, 0, 0)
}

/// Runs it on another CPU, whose thread is interrupted. A CPU that is offline is `ENXIO`.
pub(super) fn run_on(cpu: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    test_run(program, BPF_F_TEST_RUN_ON_CPU, cpu)
}

fn test_run(program: BorrowedFd<'_>, flags: u32, cpu: u32) -> io::Result<()> {
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        flags,
        cpu,
        ..TestRun::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut attributes).map(|_| ())
}

/// What a kernel counts of a program.
pub(super) struct Counts {
    /// How often it was passed over because it was running on that CPU already; 0 before 5.12, which does not count it.
    pub missed: u64,
    /// Instructions that the verifier walked until it let the program pass, each as often as there were ways to it;
    /// `None` before 5.16, which does not keep it.
    pub verified_instructions: Option<u32>,
}

/// Asks the kernel for its counts of a program.
pub(super) fn counts(program: BorrowedFd<'_>) -> io::Result<Counts> {
    let mut info = [0u8; INFO_BYTES];
    let mut attributes = GetInfo {
        descriptor: program.as_raw_fd() as u32,
        length: INFO_BYTES as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    let missed = info[RECURSION_MISSES..].first_chunk().copied();
    let verified = info[VERIFIED_INSNS..].first_chunk().copied();
    Ok(Counts {
        missed: missed.map_or(0, u64::from_ne_bytes),
        verified_instructions: verified.map(u32::from_ne_bytes).filter(|&count| count > 0),
    })
}

/// `union bpf_attr` of `BPF_LINK_CREATE` for an iterator.
#[repr(C)]
struct LinkIterator {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_length: u32,
    /// What the compiler would leave there otherwise.
    padding: u32,
}

/// `union bpf_iter_link_info` of iterators over tasks.
#[repr(C)]
struct OfTasks {
    thread: u32,
    process: u32,
    pid_descriptor: u32,
}

/// `union bpf_iter_link_info` of iterators over the elements of a map.
#[repr(C)]
struct OfMap {
    map: u32,
}

/// `union bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
struct CreateIterator {
    link: u32,
    flags: u32,
}

/// What an iterator over tasks, or what they have, writes of one process alone, which is named as this process sees it.
/// Kernels before 6.1 cannot, and answer `E2BIG`, because what it says to them is longer than they know, or `EINVAL`.
pub(super) fn iterator_of_process(program: BorrowedFd<'_>, process: u32) -> io::Result<File> {
    iterator(
        program,
        &OfTasks {
            thread: 0,
            process,
            pid_descriptor: 0,
        },
    )
}

/// What an iterator over the elements of a map writes (Linux 5.9).
pub(super) fn iterator_of_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<File> {
    let map = map.as_raw_fd() as u32;
    iterator(program, &OfMap { map })
}

/// What an iterator writes; `info` is a `union bpf_iter_link_info`, as long as it is used.
fn iterator<T>(program: BorrowedFd<'_>, info: &T) -> io::Result<File> {
    let mut attributes = LinkIterator {
        program: program.as_raw_fd() as u32,
        target: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        info: std::ptr::from_ref(info) as u64,
        info_length: size_of::<T>() as u32,
        padding: 0,
    };
    let link = descriptor(bpf(BPF_LINK_CREATE, &mut attributes)?);
    let mut attributes = CreateIterator {
        link: link.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(BPF_ITER_CREATE, &mut attributes).map(|number| descriptor(number).into())
}

fn descriptor(number: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just made it, and nobody else has it.
    #[expect(
        unsafe_code,
        reason = "a descriptor comes as a number from a system call"
    )]
    unsafe {
        OwnedFd::from_raw_fd(number as i32)
    }
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes outlive the call, and so does what they point to; the kernel checks the size.
    #[expect(unsafe_code, reason = "the system call has no wrapper for this")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
