//! Why threads left their CPU, and how long they waited for one for that: each a session of one thread on one CPU,
//! against the kernel's own accounts of the thread (`/proc`) and of its cgroup (`cpu.stat`).

use integration_tests::{
    accounts::{Accounts, Switches, TICKS_PER_SECOND, stolen_seconds},
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    workload::{Workload, is_emulated, two_cpus},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const SECONDS: &str = "3";
/// What the agent promises.
const PROMISE: f64 = 0.01;

/// Seconds that a session's thread waited, by cause.
#[derive(Clone, Copy, Debug)]
struct Waits {
    contention: f64,
    throttling: f64,
    yields: f64,
}

impl Waits {
    fn of(session: &str, metrics: &Exposition) -> Self {
        let cause = |cause| {
            let labels = [("session", session), ("cause", cause)];
            let waited = metrics.find("vdi_session_cpu_wait_seconds_total", &labels);
            waited.unwrap_or(0.0)
        };
        Self {
            contention: cause("contention"),
            throttling: cause("throttling"),
            yields: cause("yield"),
        }
    }
}

/// A workload of one thread in a session, which is blocked before and after its work.
struct Burner {
    session: &'static str,
    cgroup: Cgroup,
    workload: Workload,
    before: Accounts,
}

/// What the kernel has of a burner's work.
struct Truth {
    involuntary: u64,
    waited: f64,
    /// Of these, what happened while the thread was yielding.
    yielded: u64,
    waited_for_that: f64,
}

impl Burner {
    fn new(tree: &Tree, session: &'static str, options: &[&str]) -> Self {
        let [_, cpu] = two_cpus();
        let cgroup = tree.child(session);
        let burn = ["burn", "--cpu", &cpu, "--seconds", SECONDS];
        let workload = Workload::start(WORKLOAD, &cgroup, &[&burn, options].concat());
        let before = Accounts::settled(&cgroup);
        Self {
            session,
            cgroup,
            workload,
            before,
        }
    }

    /// Once it has done its work.
    fn truth(&mut self) -> Truth {
        let report = self.workload.finish();
        let reported = |what: &str| report[what].as_u64().expect("a number");
        let did = Accounts::settled(&self.cgroup).since(&self.before);
        Truth {
            involuntary: did.involuntary,
            waited: did.wait_ns as f64 / 1e9,
            yielded: reported("switches"),
            waited_for_that: reported("waited_ns") as f64 / 1e9,
        }
    }

    /// What the agent says of it, of which the sums must be the kernel's.
    fn said(&self, truth: &Truth, metrics: &Exposition) -> (Switches, Waits) {
        let switches = Switches::of(self.session, metrics);
        let waits = Waits::of(self.session, metrics);
        let Truth {
            involuntary,
            waited,
            ..
        } = truth;
        eprintln!("{}: {switches:?}, {waits:?}", self.session);
        eprintln!("    the kernel: {involuntary} involuntary, {waited} s");
        let all = waits.contention + waits.throttling + waits.yields;
        near("waits", all, *waited);
        near(
            "switches",
            switches.involuntary() as f64,
            *involuntary as f64,
        );
        (switches, waits)
    }
}

fn near(what: &str, said: f64, truth: f64) {
    assert!(
        (said - truth).abs() <= PROMISE * truth,
        "{what}: {said} where the kernel has {truth}"
    );
}

/// An agent that finds the sessions while their threads are blocked.
fn watching(tree: &Tree, sessions: &[&str]) -> Agent {
    let agent = Agent::start(&Configuration::of(tree));
    agent.wait_for(sessions);
    agent
}

#[test]
fn a_switch_for_a_neighbour_is_a_preemption_and_contention() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let names = ["left", "right"];
    let mut burners = names.map(|name| Burner::new(&tree, name, &[]));
    let agent = watching(&tree, &names);
    for burner in &mut burners {
        burner.workload.go();
    }
    let truths: Vec<_> = burners.iter_mut().map(Burner::truth).collect();
    let metrics = agent.fresh_metrics();
    for (burner, truth) in burners.iter().zip(&truths) {
        let (switches, waits) = burner.said(truth, &metrics);
        assert!(truth.involuntary > 50 && truth.waited > 1.0);
        near("contention", waits.contention, truth.waited);
        let preempted: u64 = switches.preempted.iter().sum();
        near("preempted", preempted as f64, truth.involuntary as f64);
        // What else the machine does on that CPU preempts it, too.
        assert!(10 * switches.preempted[1] >= 8 * preempted, "{switches:?}");
        assert_eq!(switches.throttled, 0);
    }
}

#[test]
fn a_switch_of_who_yields_is_no_preemption() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let names = ["polite", "busy"];
    let mut polite = Burner::new(&tree, names[0], &["--yielding"]);
    let mut busy = Burner::new(&tree, names[1], &[]);
    let agent = watching(&tree, &names);
    polite.workload.go();
    busy.workload.go();
    let (truth, of_busy) = (polite.truth(), busy.truth());
    let metrics = agent.fresh_metrics();
    let (switches, waits) = polite.said(&truth, &metrics);
    assert!(truth.involuntary > 50 && truth.waited > 1.0);
    // The thread reads its own accounts before and after some yields, and is preempted in the midst of that as often as
    // between two such pairs: three standard deviations more at most.
    let between = (truth.involuntary - truth.yielded) as f64;
    let least = truth.yielded as f64 - (between + 3.0 * between.sqrt() + 3.0);
    let said = switches.yielded as f64;
    assert!((least..=truth.yielded as f64).contains(&said), "{said}");
    let part = least / truth.yielded as f64 - PROMISE;
    let waited = waits.yields / truth.waited_for_that;
    assert!((part..=1.0 + PROMISE).contains(&waited), "{waited}");
    // In an emulated machine a yield takes so long that a tick comes in between more often.
    let part = if is_emulated() { 5 } else { 9 };
    assert!(10 * switches.yielded >= part * truth.involuntary);
    // Whom it makes room for never yields.
    let (switches, _) = busy.said(&of_busy, &metrics);
    assert_eq!(switches.yielded, 0);
}

#[test]
fn a_switch_at_its_own_limit_is_throttling_and_nobodys_doing() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let name = "limited";
    let mut burner = Burner::new(&tree, name, &[]);
    let agent = watching(&tree, &[name]);
    let limited = tree.limit_cpu(&burner.cgroup, 0.2);
    limited.take(burner.workload.pid());
    burner.workload.go();
    let truth = burner.truth();
    let (times, throttled) = limited.throttled();
    let throttled = throttled.as_secs_f64();
    let (switches, waits) = burner.said(&truth, &agent.fresh_metrics());
    eprintln!("    cpu.stat: {times} times, {throttled} s");
    assert!(times > 50 && throttled > 1.5);
    // A wait lasts until the thread runs, and the kernel's account until its limit is lifted.
    if is_emulated() {
        assert!(waits.throttling >= (1.0 - PROMISE) * throttled);
    } else {
        near("throttling", waits.throttling, throttled);
    }
    // The kernel counts also what is over before the thread has left its CPU.
    assert!(switches.throttled > 50 && switches.throttled <= times);
    near(
        "contention and throttling",
        waits.contention + waits.throttling,
        truth.waited,
    );
    assert!(waits.contention <= 0.02 * truth.waited, "{waits:?}");
}

/// Before Linux 6.18 a limit stops a whole run queue, and in it threads that have been preempted long before.
#[test]
fn threads_that_wait_together_for_their_limit_wait_for_it() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let name = "limited_together";
    let [_, cpu] = two_cpus();
    let cgroup = tree.child(name);
    let burn = ["burn", "--cpu", &cpu, "--seconds", SECONDS];
    let mut burners = [(); 3].map(|()| Workload::start(WORKLOAD, &cgroup, &burn));
    let before = Accounts::settled(&cgroup);
    let agent = watching(&tree, &[name]);
    let limited = tree.limit_cpu(&cgroup, 0.4);
    for burner in &mut burners {
        limited.take(burner.pid());
        burner.go();
    }
    for burner in &mut burners {
        burner.finish();
    }
    let waited = Accounts::settled(&cgroup).since(&before).wait_ns as f64 / 1e9;
    let (times, throttled) = limited.throttled();
    let throttled = throttled.as_secs_f64();
    let waits = Waits::of(name, &agent.fresh_metrics());
    eprintln!("{waits:?}; the kernel: {waited} s, throttled {times} times, {throttled} s");
    assert!(times > 50 && throttled > 1.0);
    near(
        "waits",
        waits.contention + waits.throttling + waits.yields,
        waited,
    );
    // All three wait for the limit while it is used up. Whom it has stopped waits for the others after that, which is the same
    // wait: where each uses a whole quota up at once, as by default on 5.10, hardly any other wait is left.
    let least = 3.0 * throttled;
    assert!(
        (0.95 * least..waited).contains(&waits.throttling),
        "{least}"
    );
}

/// A kernel with `CONFIG_PARAVIRT_TIME_ACCOUNTING` takes stolen time out of a thread's own account
/// (`update_rq_clock_task`, kernel/sched/core.c), others leave it in. The agent's clock goes on, so to the agent it is CPU
/// time on each of them.
#[test]
fn what_the_kernel_has_less_of_a_threads_time_a_hypervisor_has_stolen() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let name = "stolen_from";
    let mut burner = Burner::new(&tree, name, &[]);
    let agent = watching(&tree, &[name]);
    let before = stolen_seconds();
    burner.workload.go();
    burner.workload.finish();
    let kernel = Accounts::settled(&burner.cgroup).since(&burner.before);
    let stolen = stolen_seconds() - before;
    let metrics = agent.fresh_metrics();
    let said = metrics.value("vdi_session_cpu_seconds_total", &[("session", name)]);
    let less = said - kernel.cpu_ns as f64 / 1e9;
    eprintln!("{said} s, of which the kernel has {less} less; {stolen} s were stolen");
    // The stolen time of either CPU is told by whole ticks.
    let ticks = 4.0 / TICKS_PER_SECOND;
    let noise = PROMISE / 10.0 * said;
    assert!((-noise..=stolen + ticks + noise).contains(&less), "{less}");
}
