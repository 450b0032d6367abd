//! What its events tell of a container's end.

use crate::discover::platform::EndReason;

/// A shell's and a runtime's way to say that a signal ended the process: the number is above this.
const SIGNALLED: i64 = 128;
/// The highest number of a signal.
const SIGNALS: i64 = 64;
/// Signals by which somebody asks a process to end, or ends it.
const ENDING: [i64; 4] = [2, 3, 9, 15];

/// What Docker says of a container that ended while it was away, and Podman of one whose monitor is gone: neither
/// knows.
const LOST: [i64; 2] = [255, -1];

/// What its events have told of a container since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Somebody wanted it to end.
    pub(super) asked: Asked,
    /// A process of it was killed for memory.
    pub(super) oom: bool,
    /// The status with which its first process ended.
    pub(super) code: Option<i64>,
}

/// Whether somebody wanted a container to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// No.
    #[default]
    No,
    /// A signal was sent, and Podman does not say which; or the container was gone when it was asked for.
    Perhaps,
    /// Yes.
    Yes,
}

impl Asked {
    /// By the signal of an event `kill`. What a stop sends otherwise, as systemd wants it, the event `stop`
    /// makes up for. They are [`ENDING`], by number or name.
    pub(super) fn by_signal(signal: Option<&str>) -> Self {
        match signal {
            None => Self::Perhaps,
            Some("2" | "3" | "9" | "15" | "SIGINT" | "SIGQUIT" | "SIGKILL" | "SIGTERM") => {
                Self::Yes
            }
            Some(_) => Self::No,
        }
    }
}

impl Heard {
    /// Why it ended with a status, once it has.
    pub(super) fn end(self, code: i64) -> EndReason {
        let signal = (SIGNALLED + 1..=SIGNALLED + SIGNALS).contains(&code);
        match self.asked {
            Asked::Yes => EndReason::Completed,
            Asked::Perhaps if ENDING.map(|one| SIGNALLED + one).contains(&code) => {
                EndReason::Completed
            }
            // One of its processes was killed for memory, and it ended well all the same.
            _ if code == 0 => EndReason::Completed,
            _ if self.oom => EndReason::OomKilled,
            _ if signal => EndReason::Signal,
            // Then the kernel does, also of a process that did end with 255.
            _ if LOST.contains(&code) => EndReason::Unknown,
            _ => EndReason::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_reasons() {
        use Asked::{No, Perhaps, Yes};
        use EndReason::{Completed, Error, OomKilled, Signal, Unknown};
        for (code, oom, asked, reason) in [
            (0, false, No, Completed),
            (3, false, No, Error),
            (128, false, No, Error),
            (137, false, No, Signal),
            (192, false, No, Signal),
            (193, false, No, Error),
            (255, false, No, Unknown),
            (-1, false, Perhaps, Unknown),
            (255, false, Yes, Completed),
            (137, true, No, OomKilled),
            // A part of it was killed for memory, and it went on.
            (0, true, No, Completed),
            (7, false, Yes, Completed),
            (137, true, Yes, Completed),
            (137, false, Perhaps, Completed),
            (139, false, Perhaps, Signal),
            (1, false, Perhaps, Error),
        ] {
            let heard = Heard {
                asked,
                oom,
                code: None,
            };
            assert_eq!(heard.end(code), reason, "{code} {oom} {asked:?}");
        }
    }

    #[test]
    fn only_some_signals_ask_to_end() {
        for (signal, asked) in [
            (Some("15"), Asked::Yes),
            (Some("SIGKILL"), Asked::Yes),
            (Some("1"), Asked::No),
            (Some("SIGUSR1"), Asked::No),
            (None, Asked::Perhaps),
        ] {
            assert_eq!(Asked::by_signal(signal), asked, "{signal:?}");
        }
    }
}
