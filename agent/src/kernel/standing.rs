//! What a process is doing at this moment, from its own files: whether it hangs, starves, or was stopped.
//!
//! Not from `/proc/PID/syscall`, which would name the system call: it waits for a lock that an `execve` holds while it
//! closes files (fs/proc/base.c, `lock_trace`), which on a file system that does not answer takes for ever.

use std::fs;

use crate::named::named;

use super::sees_host_pids;

named! {
    /// What the first thread of a process does.
    pub enum ThreadState {
        /// It has work, and runs or waits for a CPU: one that does not read starves, or is busy with something else.
        Runnable = "runnable",
        /// It waits for something that may come at any time.
        Sleeping = "sleeping",
        /// It waits for a disk, a server or a driver, and no signal reaches it.
        Uninterruptible = "uninterruptible",
        /// Somebody has stopped it.
        Stopped = "stopped",
        /// It has ended, and its parent has not asked for it.
        Dead = "dead",
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Command name.
    pub command: String,
    /// State of its first thread.
    pub state: ThreadState,
    /// The function of the kernel that it waits in; `None` when it does not wait, or the agent may not see it.
    pub waits_in: Option<String>,
}

impl Standing {
    /// Of a process, by its id in the initial pid namespace; `None` when it is gone, or the agent sees other ids.
    pub fn of(process: u32) -> Option<Self> {
        if !sees_host_pids() {
            return None;
        }
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
        let (command, state) = state(&read("stat")?)?;
        let waits_in = read("wchan").filter(|text| !matches!(text.trim(), "" | "0"));
        Some(Self {
            command,
            state,
            waits_in,
        })
    }

    /// In words, for people: the state, and what it waits in.
    pub fn words(&self) -> String {
        let state = self.state.name();
        self.waits_in.as_ref().map_or_else(
            || state.to_owned(),
            |name| format!("{state}, waits in {name}"),
        )
    }
}

/// Command and state of `/proc/PID/stat`: a command may have any characters, also parentheses (fs/proc/array.c,
/// `do_task_stat`).
fn state(stat: &str) -> Option<(String, ThreadState)> {
    let (_, rest) = stat.split_once(" (")?;
    let (command, rest) = rest.rsplit_once(") ")?;
    let state = match rest.chars().next()? {
        'R' => ThreadState::Runnable,
        'D' => ThreadState::Uninterruptible,
        'T' | 't' => ThreadState::Stopped,
        'Z' | 'X' => ThreadState::Dead,
        // `I` is of kernel threads.
        _ => ThreadState::Sleeping,
    };
    Some((command.to_owned(), state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_look_like_the_end_of_itself() {
        let parsed = state("7 (a) R (b) D 1 7 7 0").expect("it has a state");
        assert_eq!(parsed, ("a) R (b".to_owned(), ThreadState::Uninterruptible));
        assert_eq!(state("7 (a"), None);
    }

    #[test]
    fn a_process_sees_itself() {
        let own = Standing::of(std::process::id()).filter(|_| sees_host_pids());
        assert!(own.is_some() || !sees_host_pids());
        assert!(own.is_none_or(|own| own.state != ThreadState::Stopped));
    }
}
