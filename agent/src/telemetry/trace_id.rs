//! The ids of sessions and of their traces: the same in the API, in the log and in the trace, and after a restart of the agent.

use std::{fmt, fs, sync::OnceLock};

use sha2::{Digest, Sha256};

/// The id of a trace (W3C Trace Context), which is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// As the protocol has it.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// That of a session: `boot` is the boot that it lives in, `origin` what made it, `cgroup` its first cgroup.
    fn of(boot: &str, origin: &str, cgroup: u64) -> Self {
        let mut digest = Sha256::new();
        for part in [boot.as_bytes(), origin.as_bytes(), &cgroup.to_le_bytes()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        // 0 is no id.
        id[15] |= u8::from(id == [0; 16]);
        Self(id)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The id of this boot; empty where the kernel does not tell it.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim_end().to_owned()
    })
}

/// There, once there are traces.
static TRACES: OnceLock<()> = OnceLock::new();

/// From now on sessions have traces. Called once, before there is a session.
pub fn begin_traces() {
    // A second call says the same.
    let _ = TRACES.set(());
}

/// The id of a session, by what made it and its first cgroup. A platform may use a name again within a boot, never with the
/// same cgroup.
pub fn session_id(origin: &str, cgroup: u64) -> TraceId {
    TraceId::of(boot(), origin, cgroup)
}

/// The id of a session's trace, which is its own; `None` where there are no traces.
pub fn trace_id(origin: &str, cgroup: u64) -> Option<TraceId> {
    TRACES.get().map(|()| session_id(origin, cgroup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_boot_origin_and_cgroup() {
        let id = TraceId::of("a", "pod", 1);
        assert_eq!(id, TraceId::of("a", "pod", 1));
        for other in [
            TraceId::of("b", "pod", 1),
            TraceId::of("a", "pods", 1),
            TraceId::of("a", "pod", 2),
            TraceId::of("ap", "od", 1),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(id.to_string().len(), 32);
    }
}
