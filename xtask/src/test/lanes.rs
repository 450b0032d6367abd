//! Which test programs run beside each other, and which alone.
//!
//! Most of them wait most of the time: for the agent's next sample, for a period to pass, for a driver that
//! hangs. Those run some at once. Those that measure how long something took, or how much the machine did,
//! have the machine for themselves.
//!
//! It is not cargo-nextest that runs them: it would have to be compiled first. After 200 s of CPU time 128 of the
//! 492 packages that it names were, and what would be used of it here is a queue.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::program::{Call, Ended, Program};

/// Programs at a time. On two CPUs four of them leave some of the time unused; more make those late that
/// promise something within seconds.
const AT_ONCE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Beside,
    Alone,
}
use Lane::{Alone, Beside};

/// A test program, its lane, and why. Of those that run beside each other the longest begin first.
///
/// Each has cgroups, ports, folders and an agent of its own, whose rules know no other cgroups; so all that
/// an agent says of its sessions is as exact beside others. Nothing but the reasons here speaks against it.
/// One that is not named runs alone.
const LANES: [(&str, Lane, &str); 67] = [
    (
        "runtimes",
        Beside,
        "waits for engines, half of the time; their cgroups are below its own",
    ),
    ("pod", Beside, "as runtimes"),
    ("on_call", Beside, "waits for alerts to fire and to end"),
    ("platform", Beside, "as on_call"),
    ("rollout", Beside, "as on_call"),
    (
        "scaling",
        Beside,
        "waits for what Prometheus sends and fetches",
    ),
    ("budget", Beside, "waits for samples"),
    (
        "alerts",
        Beside,
        "reads rules and pages; promtool takes a minute of each CPU, and lets others run first",
    ),
    ("traces", Beside, "waits for batches"),
    (
        "input",
        Beside,
        "waits for pauses between inputs; it runs before the others",
    ),
    ("unresponsive", Beside, "waits until applications hang"),
    ("crowd", Beside, "memory is the agent's own"),
    (
        "gpu_faults",
        Beside,
        "its agent has priority, and is judged by when the CPUs stood still for that",
    ),
    ("gpu_lists", Beside, "waits for rounds of the GPUs"),
    ("kubernetes", Beside, "waits for its own API server"),
    ("gpu_hangs", Beside, "as gpu_faults"),
    ("gpu_sleep", Beside, "waits for GPUs to sleep"),
    ("logind", Beside, "a bus and a logind of its own"),
    ("day", Beside, "asks a Prometheus of what it was given"),
    ("prometheus", Beside, "two accounts of the same waits"),
    ("gpu_churn", Beside, "exact by the driver's clock"),
    ("gpu_layout", Beside, "as gpu_faults"),
    (
        "gpu",
        Beside,
        "counts samples of the driver's clock; its Xids are in a kernel's log of its own",
    ),
    ("operations", Beside, "waits for Prometheus to fire"),
    ("door", Beside, "waits for files to be read again"),
    ("door_peer", Beside, "as door"),
    (
        "unix_sockets",
        Beside,
        "waits for agents to start and to end",
    ),
    ("alertmanager", Beside, "asks an Alertmanager of its own"),
    ("chart", Beside, "asks Helm and validators"),
    (
        "package",
        Beside,
        "asks cargo-deb, and dpkg in a root of its own",
    ),
    ("compose", Beside, "asks Compose, promtool and amtool"),
    (
        "stack",
        Beside,
        "asks kubectl, validators, scanners and amtool",
    ),
    ("restart", Beside, "counts sessions of its own"),
    ("nvml_real", Beside, "has a /dev of its own"),
    (
        "exposition",
        Beside,
        "reads what is served; the kernel's statistics that it turns on cost others some per cent",
    ),
    ("ends", Beside, "counts sessions of its own"),
    ("cli", Beside, "reads what is printed"),
    ("terminal", Beside, "as cli"),
    ("top", Beside, "waits for what a terminal shows"),
    ("page", Beside, "waits for what a browser shows"),
    (
        "limits",
        Alone,
        "a limit of CPU time is used up where nobody else takes the CPU",
    ),
    (
        "findings",
        Alone,
        "a neighbour is one that takes the CPU, and nobody else may",
    ),
    ("log", Beside, "reads what is logged"),
    (
        "errors",
        Beside,
        "looks for ids that its own agent held in all of the kernel's: none is used again soon",
    ),
    (
        "privileges",
        Beside,
        "reads what the kernel says of its own agents",
    ),
    ("report", Beside, "says what this kernel has"),
    ("render", Beside, "waits for packages of Node"),
    ("locks", Beside, "reads the objects of the kernel programs"),
    ("object", Beside, "reads the objects of the kernel programs"),
    (
        "xid",
        Beside,
        "is for guests, where nothing runs beside it, but for a line of the log that no agent believes",
    ),
    (
        "logon",
        Beside,
        "is for guests, where nothing runs beside it, and asks for nothing elsewhere",
    ),
    (
        "lifecycle",
        Alone,
        "as many forks as the machine can do, of which none may be lost",
    ),
    (
        "truth",
        Alone,
        "waits and switches within 1 % of the kernel's account",
    ),
    ("switches", Alone, "as truth"),
    ("turnover", Alone, "sessions end within tens of ms"),
    (
        "sessions",
        Alone,
        "sessions are adopted within milliseconds",
    ),
    ("tenants", Alone, "takes cgroups of other tests"),
    (
        "faulty_kernel",
        Alone,
        "changes kernel.pid_max, which every agent looks at; its agent is traced",
    ),
    ("hostile", Alone, "takes all that the machine has"),
    ("memory", Alone, "the pressure of the whole machine"),
    ("net", Alone, "round-trip times"),
    ("netem", Alone, "delays and losses"),
    ("milestones", Alone, "promises 20 ms"),
    (
        "display",
        Alone,
        "a viewer's clock and the agent's within 1 ms",
    ),
    ("block", Alone, "how long a disk takes"),
    ("clients", Alone, "health checks are answered within 50 ms"),
    (
        "memory_pressure",
        Alone,
        "is for guests, whose memory it takes",
    ),
];

fn lane(program: &Program) -> Lane {
    let row = LANES.iter().find(|(name, ..)| *name == program.name);
    match row {
        Some((_, lane, _)) => *lane,
        // Unit tests, and those of the scenario library, are of what needs no kernel.
        None if program.name.starts_with("nvml-scenario.") => Beside,
        None if program.is_integration => Alone,
        None => Beside,
    }
}

/// Runs all of them, shows what each prints when it has ended, and returns how.
pub(super) fn run(programs: Vec<Program>, call: &Call<'_>) -> Result<Vec<Ended>> {
    // Units, which have no place, come first: they fail soonest.
    let order = |program: &Program| LANES.iter().position(|(name, ..)| *name == program.name);
    let (mut beside, mut alone): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|one| lane(one) == Beside);
    beside.sort_by_key(order);
    alone.sort_by_key(order);
    let mut ended = Vec::new();
    for (what, programs, at_once) in [("beside others", beside, AT_ONCE), ("alone", alone, 1)] {
        let began = Instant::now();
        let count = programs.len();
        ended.extend(run_lane(programs, at_once, call)?);
        eprintln!(
            "{count} test programs {what}: {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
    Ok(ended)
}

fn run_lane(programs: Vec<Program>, at_once: usize, call: &Call<'_>) -> Result<Vec<Ended>> {
    let queue = Mutex::new(programs.into_iter());
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(program) = next else { break };
                    let ended = program.run(call);
                    if let Ok(ended) = &ended {
                        show(ended);
                    }
                    if let Ok(mut all) = all.lock() {
                        all.push(ended);
                    }
                }
            });
        }
    });
    let all = all
        .into_inner()
        .map_err(|_| anyhow!("a thread that runs test programs has ended in the middle"))?;
    all.into_iter().collect()
}

/// Prints all that a program has printed, at once; nothing of one that had no test to run.
fn show(ended: &Ended) {
    if ended.summary().is_some() || ended.fault().is_some() {
        let seconds = ended.took.as_secs_f64();
        println!(
            "     Ended {} ({seconds:.1} s)\n{}",
            ended.name, ended.output
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::LANES;
    use crate::command;

    #[test]
    fn every_program_of_the_table_exists_and_is_there_once() {
        let names: BTreeSet<_> = LANES.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), LANES.len());
        for name in names {
            let file = format!("tests/tests/{name}.rs");
            assert!(command::repository().join(&file).is_file(), "no {file}");
        }
    }
}
