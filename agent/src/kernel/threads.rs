//! Threads: whose they are, how many there are, and the time of those that run.

use crate::telemetry::log_event;
use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use agent_common::{
    Slot,
    census::CensusRecord,
    process::{ExitedProcess, ProcessStats},
    task::{TaskElement, TaskState},
};
use aya::maps::Map;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{
    Kernel,
    census::Census,
    maps::{EXITED_PROCESSES, PROCESS_STATS, TASK_STATES, value},
    object::TaskStore,
    programs::name,
    syscall,
};
use crate::error::Error;

/// Between two runs of `enrol_threads`.
const ENROL_AGAIN: Duration = Duration::from_secs(10);

impl Kernel {
    /// The slot of a process, by its id in the initial pid namespace: of a live one, and of one of a session
    /// that has ended lately. `None` when nothing is known of it.
    pub fn slot_of_process(&self, pid: u32) -> Option<Slot> {
        self.task_state(pid)
            .map(|state| state.slot)
            .or_else(|| self.slot_of_exited(pid))
    }

    /// The state of a thread. The array has that of a dead one until the pid is used again.
    fn task_state(&self, pid: u32) -> Option<TaskState> {
        // Of the two stores, aya knows the array.
        let (Map::Array(map) | Map::Unsupported(map)) = self.ebpf.map(TASK_STATES)? else {
            return None;
        };
        let state = match self.store {
            TaskStore::PidArray => syscall::value_at::<TaskElement>(map.fd().as_fd(), pid)
                .map(|element| element.map(|element| element.state)),
            TaskStore::TaskStorage => {
                // The storage's keys are pid descriptors (kernel/bpf/bpf_task_storage.c).
                let process = Pid::from_raw(pid as i32)?;
                let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
                syscall::value_at(map.fd().as_fd(), process.as_raw_fd() as u32)
            }
        };
        // Of a dead one the map of ended processes knows, from which an ended session is taken out.
        let living = |state: &TaskState| state.task != 0 && state.ended == 0;
        state.ok().flatten().filter(living)
    }

    fn slot_of_exited(&self, pid: u32) -> Option<Slot> {
        let exited: Vec<(ExitedProcess, Slot)> = self.all_entries(EXITED_PROCESSES);
        exited
            .into_iter()
            .filter(|(process, _)| process.pid == u64::from(pid))
            // A pid may have been used twice.
            .max_by_key(|(process, _)| process.start_ns)
            .map(|(_, slot)| slot)
    }

    /// Threads and processes by slot; `None` where the kernel cannot tell.
    pub fn census(&mut self) -> Option<Vec<Census>> {
        if self.walks.is_due(Instant::now()) {
            self.walk()?;
        }
        Some(self.walks.reckon(&self.process_stats()?))
    }

    /// Processes are somewhere where they have not been counted one by one. Their threads are settled and counted
    /// at once, unless that has been done too often of late.
    pub fn processes_moved(&mut self) {
        self.walks.want();
        self.walk_if_wanted();
    }

    /// Takes the walk that [`Kernel::processes_moved`] has put off, once its time has come.
    pub fn walk_if_wanted(&mut self) {
        if self
            .walks
            .wanted_at()
            .is_some_and(|at| at <= Instant::now())
        {
            self.walk();
        }
    }

    /// When to call [`Kernel::walk_if_wanted`]; `None` if nothing is put off.
    pub fn walk_wanted_at(&self) -> Option<Instant> {
        self.walks.wanted_at()
    }

    fn walk(&mut self) -> Option<()> {
        self.enrol_threads();
        let Some((before, records, after)) = self.walked() else {
            self.walks.failed();
            return None;
        };
        self.walks
            .take(&records, &before, &after, threads_of_node());
        // Without this hook nobody says who moves.
        if !self.is_up(name::CGROUP_ATTACH_TASK) {
            self.walks.want();
        }
        Some(())
    }

    fn walked(&mut self) -> Option<(Vec<ProcessStats>, Vec<CensusRecord>, Vec<ProcessStats>)> {
        let before = self.process_stats()?;
        let records = self.records(name::CENSUS)?;
        Some((before, records, self.process_stats()?))
    }

    /// The life-cycle counters of all slots.
    fn process_stats(&self) -> Option<Vec<ProcessStats>> {
        let map = self.maps.per_slot_map(PROCESS_STATS)?;
        syscall::first_values(map, self.slots as usize)
            .inspect_err(|error| log_event!(KernelUnread, what = PROCESS_STATS, %error))
            .ok()
    }

    /// Brings the CPU time of the threads that run now up to date, on each CPU that is not idle.
    pub fn settle_running(&mut self) {
        if !self.is_up(name::SETTLE_RUNNING) {
            return;
        }
        let Some(Ok(program)) = self
            .ebpf
            .program(name::SETTLE_RUNNING)
            .map(aya::programs::Program::fd)
        else {
            return;
        };
        let Ok(cpus) = self.maps.on_cpu.get(&0, 0) else {
            return;
        };
        // The kernel copies the values of the CPUs that are possible, in their order.
        let busy = self.possible_cpus.iter().zip(cpus.iter());
        for (&cpu, _) in busy.filter(|(_, doing)| doing.is_busy()) {
            // One that is offline runs nothing.
            if let Err(error) = syscall::run_on(cpu, program.as_fd())
                && error.raw_os_error() != Some(libc::ENXIO)
            {
                log_event!(KernelDetail, what = "who runs there is charged at the next switch", cpu, %error);
            }
        }
    }

    /// Starts the accounts of threads that have none, where the census may not do it: of those that are older
    /// than the agent, and again, but not soon, when a switch was not measured because there are more. Not soon,
    /// because no thread is measured on a CPU where the program sleeps in the midst of it (before 6.2,
    /// `bpf_task_storage_busy`, `kernel/bpf/bpf_task_storage.c`).
    fn enrol_threads(&mut self) {
        if !self.is_up(name::ENROL_THREADS) {
            return;
        }
        let unmeasured = self.unmeasured_switches();
        let due = self
            .enrolled
            .is_none_or(|(when, then)| then != unmeasured && when.elapsed() >= ENROL_AGAIN);
        if due {
            let _nothing_written: Option<Vec<CensusRecord>> = self.records(name::ENROL_THREADS);
            self.enrolled = Some((Instant::now(), unmeasured));
        }
    }

    /// Switches of sessions' threads of which nothing was measured, because the thread had no state.
    pub fn unmeasured_switches(&self) -> u64 {
        value(&self.maps.unmeasured_switches, 0)
    }
}

/// Threads of the whole node; 1,000 where the kernel does not say.
fn threads_of_node() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    threads_in(&text).unwrap_or(1_000)
}

/// `0.20 0.18 0.12 1/80 11206`: of 80 threads one runs.
fn threads_in(loadavg: &str) -> Option<u32> {
    let (_, all) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// The numbers of the CPUs that may ever be there: not each number is one's, where firmware has left some out.
pub(super) fn possible_cpus() -> Result<Vec<u32>, Error> {
    const PATH: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(PATH).map_err(Error::io(PATH))?;
    numbers(&text).ok_or_else(|| Error::Other(format!("{PATH} is no list of CPUs: {text:?}")))
}

/// A list as the kernel writes it: `0-3,8`.
fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::{numbers, threads_in};

    #[test]
    fn the_threads_of_the_node_are_told() {
        assert_eq!(threads_in("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(threads_in(""), None);
    }

    #[test]
    fn cpus_may_be_left_out() {
        assert_eq!(numbers("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(numbers("0\n"), Some(vec![0]));
        assert_eq!(numbers("none"), None);
    }
}
