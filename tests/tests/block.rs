//! What a session reads and writes, compared with the kernel's own account of its cgroup.
//!
//! That account is `io.stat`, so these need the io controller in cgroup v2: where v1 has it, the guests of
//! `cargo xtask test --kernels` run them.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    disk::{self, Aligned},
    exposition::Exposition,
    sockets::inside,
};

const SECONDS: &str = "vdi_session_block_io_seconds";
const BYTES: &str = "vdi_session_block_io_bytes_total";
const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 128;

struct Stage {
    agent: Agent,
    session: Cgroup,
    other: Cgroup,
    _tree: Tree,
}

impl Stage {
    fn new() -> Option<Self> {
        if !capability::kernel() || !capability::controller("io") {
            return None;
        }
        let tree = Tree::new();
        tree.enable("io");
        let often = Configuration::of(&tree).set("sampling.accounts", "\"200ms\"");
        let agent = Agent::start(&often);
        let (session, other) = (tree.child("desk"), tree.child("other"));
        agent.wait_for(&["desk", "other"]);
        // That the cgroup has the controller is known from its second sample on.
        agent.fresh_metrics();
        Some(Self {
            agent,
            session,
            other,
            _tree: tree,
        })
    }
}

/// `rbytes` and `wbytes` of all devices.
fn account(cgroup: &Cgroup) -> [u64; 2] {
    let text = cgroup.read("io.stat");
    ["rbytes=", "wbytes="].map(|key| {
        let values = text.split_whitespace().filter_map(|f| f.strip_prefix(key));
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    })
}

fn said(metrics: &Exposition, session: &str) -> [u64; 2] {
    ["read", "write"]
        .map(|operation| metrics.count(BYTES, &[("session", session), ("operation", operation)]))
}

fn assert_within_a_hundredth(said: u64, truth: u64) {
    let off = said.abs_diff(truth);
    assert!(100 * off <= truth, "{said} where the kernel has {truth}");
}

#[test]
fn bytes_of_direct_io_are_those_of_the_cgroups_account() {
    let Some(stage) = Stage::new() else { return };
    let folder = disk::folder();
    let mut block = Aligned::new(BLOCK);
    inside(&stage.session, || {
        let file = disk::open_direct(&folder.path().join("file"));
        for number in 0..BLOCKS {
            let at = (number * BLOCK) as u64;
            file.write_all_at(block.bytes(), at).unwrap();
        }
        for number in 0..BLOCKS / 2 {
            let at = (number * BLOCK) as u64;
            file.read_exact_at(block.bytes(), at).unwrap();
        }
    });
    let metrics = stage.agent.fresh_metrics();
    let (truth, said) = (account(&stage.session), said(&metrics, "desk"));
    eprintln!("{said:?} read and written where the kernel has {truth:?}");
    assert!(truth[0] >= (BLOCKS / 2 * BLOCK) as u64 && truth[1] >= (BLOCKS * BLOCK) as u64);
    assert_within_a_hundredth(said[0], truth[0]);
    assert_within_a_hundredth(said[1], truth[1]);
    for (operation, requests) in [("read", BLOCKS / 2), ("write", BLOCKS)] {
        let labels = [("session", "desk"), ("operation", operation)];
        let count = metrics.count(&format!("{SECONDS}_count"), &labels);
        assert!(count >= requests as u64, "{operation}: {count}");
    }
    assert_eq!(account(&stage.other), [0, 0]);
}

/// The kernel writes the pages of a file when it likes, in threads of its own.
#[test]
fn buffered_writes_are_charged_to_who_wrote_them() {
    let Some(stage) = Stage::new() else { return };
    let folder = disk::folder();
    let file = inside(&stage.session, || {
        let mut file = File::create(folder.path().join("file")).unwrap();
        file.write_all(&vec![b'x'; BLOCK * BLOCKS]).unwrap();
        file
    });
    // Asked for by somebody else.
    inside(&stage.other, || file.sync_all().unwrap());
    let metrics = stage.agent.fresh_metrics();
    for (cgroup, name) in [(&stage.session, "desk"), (&stage.other, "other")] {
        let (truth, said) = (account(cgroup), said(&metrics, name));
        eprintln!("{name}: {said:?} where the kernel has {truth:?}");
        assert_within_a_hundredth(said[1], truth[1]);
    }
}

#[test]
fn latency_is_what_the_reader_waits() {
    const READS: u32 = 60;
    let Some(stage) = Stage::new() else { return };
    let Some(slow) = disk::slow() else {
        capability::skip_on_this_kernel("no disk of a known slowness");
        return;
    };
    let mut block = Aligned::new(4096);
    let file = disk::open_direct(&slow);
    let mut read = |times: u32| {
        let began = Instant::now();
        for number in 0..times {
            let at = u64::from(number) * 4096;
            file.read_exact_at(block.bytes(), at).unwrap();
        }
        began.elapsed()
    };
    // A disk that is limited by its rate lets the first ones through at once.
    inside(&stage.session, || read(READS / 2));
    let of = |metrics: &Exposition, part: &str| {
        let labels = [("session", "desk"), ("operation", "read")];
        metrics.value(&format!("{SECONDS}_{part}"), &labels)
    };
    let before = stage.agent.fresh_metrics();
    let waited = inside(&stage.session, || read(READS));
    let after = stage.agent.fresh_metrics();
    let [count, sum] = ["count", "sum"].map(|part| of(&after, part) - of(&before, part));
    assert!((count - f64::from(READS)).abs() < 0.5, "{count} reads");
    let (mean, truth) = (sum / count, waited.as_secs_f64() / f64::from(READS));
    eprintln!("{mean:.5} s a read where the reader waited {truth:.5} s");
    assert!(truth > Duration::from_millis(5).as_secs_f64(), "not slow");
    assert!(
        (mean - truth).abs() <= 0.1 * truth,
        "{mean} s where it waited {truth} s"
    );
}

#[test]
fn without_the_io_controller_there_is_no_block_io_instead_of_none() {
    if !capability::kernel() {
        return;
    }
    // Where v2 has the controller, the children of this tree do not.
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sampling.accounts", "\"200ms\""));
    let session = tree.child("desk");
    agent.wait_for(&["desk"]);
    inside(&session, || disk::evict(&std::env::current_exe().unwrap()));
    agent.fresh_metrics();
    assert!(agent.fresh_metrics().find(BYTES, &[]).is_none());
}
