//! What the kernel says of the whole node in `/proc/stat`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
};

/// Place of the stolen time in the line of all CPUs: user, nice, system, idle, iowait, irq and softirq come before it
/// (`show_stat`, fs/proc/stat.c).
const STEAL: usize = 7;

/// The node's own figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Time in which a CPU had something to run and the hypervisor ran something else, of all CPUs together, seconds since
    /// boot (`account_steal_time`, kernel/sched/cputime.c).
    pub steal_seconds: f64,
}

impl Node {
    /// Reads the first line of `/proc/stat`; `None` where it cannot be read. Those after it are long where there are many
    /// CPUs or interrupts.
    pub fn read() -> Option<Self> {
        let mut line = String::new();
        let stat = File::open("/proc/stat").ok()?;
        BufReader::new(stat).read_line(&mut line).ok()?;
        Self::of_line(&line)
    }

    fn of_line(line: &str) -> Option<Self> {
        let ticks = line.strip_prefix("cpu ")?.split_whitespace().nth(STEAL)?;
        let ticks: u64 = ticks.parse().ok()?;
        let steal_seconds = ticks as f64 / procfs::ticks_per_second() as f64;
        Some(Self { steal_seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_of_all_cpus() {
        let ticks = procfs::ticks_per_second();
        let line = format!("cpu  1 2 3 4 5 6 7 {} 9 10\n", 3 * ticks);
        assert_eq!(Node::of_line(&line), Some(Node { steal_seconds: 3.0 }));
        assert_eq!(Node::of_line("cpu  1 2 3 4 5 6 7\n"), None);
        assert_eq!(Node::of_line("cpu0 1 2 3 4 5 6 7 8 9 10\n"), None);
    }
}
