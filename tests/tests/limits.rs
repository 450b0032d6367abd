//! Sessions at a limit and on a slow disk: what holds each back is the first that is concluded of it.
//!
//! The limits are those of cgroup v2, so where v1 has the controllers, the guests of `cargo xtask test --kernels` run this.

use std::{
    os::unix::fs::FileExt,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    disk::{self, Aligned},
    findings::{causes, first_is},
    sockets::inside,
    workload::{Workload, two_cpus},
};

/// What the session `full` may have.
const MEMORY: u64 = 64 << 20;
/// The disk does 25 requests a second, so each of these waits for 160 ms.
const READERS: u64 = 4;
/// Some steps of a history.
const READS_FOR: Duration = Duration::from_secs(16);

#[test]
fn a_cpu_limit_memory_at_its_limit_and_a_slow_disk_are_told_apart() {
    if !capability::kernel()
        || !["cpu", "memory", "io"]
            .into_iter()
            .all(capability::controller)
    {
        return;
    }
    let Some(slow) = disk::slow() else {
        capability::skip_on_this_kernel("no disk of a known slowness");
        return;
    };
    let tree = Tree::new();
    for controller in ["cpu", "memory", "io"] {
        tree.enable(controller);
    }
    let names = ["limited", "full", "reader", "quiet"];
    let [limited, full, reader, quiet] = names.map(|name| tree.child(name));
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&names);
    let [cpu, _] = two_cpus();
    let inner = tree.limit_cpu(&limited, 0.2);
    let arguments = ["spin", "--cpu", &cpu, "--threads", "2", "--seconds", "80"];
    let workload = env!("CARGO_BIN_EXE_workload");
    let mut spinner = Workload::start(workload, &limited, &arguments);
    inner.take(spinner.pid());
    spinner.go();
    let _idle = Workload::start(workload, &quiet, &["idle"]);
    let _limit = tree.limit_memory(&full, MEMORY);
    // Charged to the cgroup of who touches it first, and stays there.
    let held = inside(&full, || vec![1_u8; MEMORY as usize / 100 * 95]);
    let file = disk::open_direct(&slow);
    let read = &|first: u64| {
        let mut block = Aligned::new(4096);
        let end = Instant::now() + READS_FOR;
        let mut at = first;
        while Instant::now() < end {
            let read = file.read_exact_at(block.bytes(), at * 4096);
            read.expect("the disk can be read");
            at = (at + READERS) % 1024;
        }
    };
    inside(&reader, || {
        thread::scope(|scope| {
            for first in 0..READERS {
                scope.spawn(move || read(first));
            }
        });
    });
    first_is(&agent, "reader", "slow_disk");
    first_is(&agent, "limited", "cpu_limit");
    first_is(&agent, "full", "memory_limit");
    drop(held);
    assert_eq!(causes(&agent, "quiet"), [""; 0]);
}
