//! `cargo xtask test --kernels`: the integration tests on every kernel of the list, each booted in
//! QEMU.
//!
//! A tracepoint, a member of a structure or the verifier differs from kernel to kernel, and the
//! machine at hand has one. The test programs are those that run there too; what
//! they find about each kernel is `docs/kernels.md`.

mod bed;
mod binaries;
mod cpio;
mod debian;
mod fetch;
mod guest;
mod list;
mod matrix;
mod module;
mod outcome;
mod page;
mod qemu;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use self::bed::Bed;
use self::list::{Architecture, KERNELS, Kernel};
use self::matrix::{Matrix, Wanted};
use self::outcome::Outcome;
use crate::setup::{self, Purpose};
use crate::workspace::Compiler;
use crate::{build_ebpf, command};

/// Guests at a time. A third one does not make it shorter: two keep both CPUs busy.
const AT_ONCE: usize = 2;
/// How long the test under memory pressure lasts, so that it proves something on each kernel.
const WHOLE_PRESSURE: Duration = Duration::from_mins(3);
/// The same in CI, with each store of the states of threads: with the
/// fault that it is for, no guest lived longer than 22 s.
const SHORT_PRESSURE: Duration = Duration::from_secs(40);
/// What CI boots: the oldest kernel of x86 and the newest, which differ most, and the one that dies under
/// memory pressure when a program allocates where it may not; that one also with a whole system, which is the same on
/// each. All take more than an hour. The short ones are the first: after the others a CPU would be idle for as long
/// as they take.
const IN_CI: [(&str, Bed); 4] = [
    ("x86-6.1", Bed::Pressure),
    ("x86-6.1", Bed::System),
    ("x86-5.10", Bed::Ordinary),
    ("x86-sid", Bed::Ordinary),
];

/// The options of `test --kernels`.
#[derive(Args)]
pub(crate) struct MatrixOptions {
    /// Only on kernels whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME", requires = "kernels")]
    kernel: Vec<String>,
    /// Only on this machine of those that each kernel is booted on.
    #[arg(long, requires = "kernels")]
    bed: Option<Bed>,
    /// How long the test under memory pressure lasts with each store of the states of threads.
    #[arg(long, value_name = "DURATION", requires = "kernels", default_value = "3m",
          value_parser = humantime::parse_duration)]
    pressure: Duration,
    /// Fetch the newest kernels though others are there already.
    #[arg(long, requires = "kernels")]
    refresh: bool,
}

/// A kernel on a machine.
type Boot = (&'static Kernel, Bed);

/// Where kernels, guests and their programs are.
fn work_folder() -> Result<PathBuf> {
    let work = command::repository().join("target/kernels");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    Ok(work)
}

/// Runs the tests, or those whose name contains `filter`, on the chosen kernels.
pub(crate) fn run(options: &MatrixOptions, filter: Option<&str>, write_docs: bool) -> Result<()> {
    let kernels = choose(&options.kernel)?;
    if let Some(filter) = filter {
        let plain = |one: char| one.is_ascii_alphanumeric() || "_:-".contains(one);
        ensure!(
            filter.chars().all(plain),
            "{filter} is no part of a test's name"
        );
    }
    ensure!(
        !write_docs
            || (filter.is_none() && options.bed.is_none() && options.pressure >= WHOLE_PRESSURE),
        "--write-docs needs a run of all tests, as long as they last"
    );
    let boots = Bed::ALL
        .into_iter()
        .filter(|bed| options.bed.is_none_or(|only| only == *bed))
        .flat_map(|bed| kernels.iter().map(move |kernel| (*kernel, bed)))
        .filter(|(kernel, bed)| bed.takes(kernel.architecture))
        .collect();
    let wanted = Wanted {
        filter,
        pressure: options.pressure,
        refresh: options.refresh,
        compiler: Compiler::Plain,
    };
    run_all(boots, &wanted, write_docs).map(|_events| ())
}

/// Runs what CI runs, with the programs that it has compiled. The events of the agent's log that were seen.
pub(crate) fn run_for_ci(compiler: Compiler) -> Result<BTreeSet<String>> {
    let boots = IN_CI.map(|(name, bed)| {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == name);
        kernel
            .map(|kernel| (kernel, bed))
            .with_context(|| format!("no kernel is called {name}"))
    });
    let wanted = Wanted {
        filter: None,
        pressure: SHORT_PRESSURE,
        refresh: false,
        compiler,
    };
    run_all(boots.into_iter().collect::<Result<_>>()?, &wanted, false)
}

/// Boots every kernel that takes it on the machine that is short of memory, for as long as proves something.
pub(crate) fn run_under_pressure() -> Result<()> {
    let options = MatrixOptions {
        kernel: Vec::new(),
        bed: Some(Bed::Pressure),
        pressure: WHOLE_PRESSURE,
        refresh: false,
    };
    run(&options, None, false)
}

/// Boots them and shows how they ended; the events of the agent's log that were seen there.
fn run_all(boots: Vec<Boot>, wanted: &Wanted<'_>, write_docs: bool) -> Result<BTreeSet<String>> {
    setup::prepare(Purpose::Kernels)?;
    build_ebpf::build()?;
    let work = work_folder()?;
    let matrix = Matrix::prepare(&work, &boots, wanted)?;

    let queue = Mutex::new(boots.into_iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(boot) = next else { break };
                    let outcome = matrix.test(boot);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((boot, outcome));
                    }
                }
            });
        }
    });
    let outcomes = outcomes
        .into_inner()
        .map_err(|_| anyhow!("a thread of the matrix has ended in the middle"))?;
    let ended = outcomes
        .iter()
        .filter_map(|(_, outcome)| outcome.as_ref().ok());
    let events = ended
        .flat_map(|outcome| outcome.events.iter().cloned())
        .collect();
    let faulty = summarise(outcomes);
    if write_docs {
        page::write(&last_runs(&work)?)?;
    }
    ensure!(
        faulty.is_empty(),
        "tests failed on {}: the whole consoles are target/kernels/<kernel>-<bed>.log",
        faulty.join(", ")
    );
    Ok(events)
}

fn choose(wanted: &[String]) -> Result<Vec<&'static Kernel>> {
    // `x86-6.1` is also a part of `x86-6.12`.
    let is = |kernel: &Kernel, wanted: &str| {
        let exact = KERNELS.iter().any(|kernel| kernel.name == wanted);
        kernel.name == wanted || (!exact && kernel.name.contains(wanted))
    };
    for one in wanted {
        let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        ensure!(
            KERNELS.iter().any(|kernel| is(kernel, one)),
            "no kernel is called {one}; there are {}",
            names.join(", ")
        );
    }
    Ok(KERNELS
        .iter()
        .filter(|kernel| wanted.is_empty() || wanted.iter().any(|one| is(kernel, one)))
        .collect())
}

/// How the last run of each kernel ended, on all machines together.
fn last_runs(work: &Path) -> Result<Vec<Outcome>> {
    let of = |kernel: &Kernel| -> Result<Outcome> {
        let mut outcome = last_run(work, kernel, Bed::Ordinary)?;
        for bed in [Bed::Pressure, Bed::System] {
            if bed.takes(kernel.architecture) {
                outcome.join(last_run(work, kernel, bed)?);
            }
        }
        Ok(outcome)
    };
    KERNELS.iter().map(of).collect()
}

fn last_run(work: &Path, kernel: &Kernel, bed: Bed) -> Result<Outcome> {
    let path = work.join(format!("{}.json", matrix::stem(kernel, bed)));
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} has not been run yet: {}", kernel.name, path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// Prints how each guest did; returns the names of those that did not pass.
fn summarise(outcomes: Vec<(Boot, Result<Outcome>)>) -> Vec<String> {
    let named = outcomes
        .into_iter()
        .map(|((kernel, bed), outcome)| (matrix::stem(kernel, bed), outcome));
    let mut bad = Vec::new();
    println!("\nresults of all kernels:");
    for (name, outcome) in named.collect::<BTreeMap<_, _>>() {
        match outcome {
            Err(error) => {
                println!("  {name}: {error:#}");
                bad.push(name);
            }
            Ok(outcome) => {
                let (passed, failed) = (outcome.passed(), outcome.failed());
                println!(
                    "  {name} (Linux {}): {passed} passed; {failed} failed",
                    outcome.release
                );
                let faults = outcome.faults();
                for fault in &faults {
                    println!("    {fault}");
                }
                if !faults.is_empty() {
                    bad.push(name);
                }
            }
        }
    }
    bad
}
