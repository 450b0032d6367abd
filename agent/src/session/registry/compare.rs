//! The session whose turn it is, compared with the kernel's own accounts of it.

use super::Registry;
use crate::{
    kernel::{accounts::CgroupAccounts, openings::Openings},
    session::{
        audit::{Account, Figures},
        model::Session,
    },
};

/// The log has a line for what is further off than this.
const WORTH_A_LINE: f64 = 0.05;

/// What the kernel itself says of a session.
pub trait KernelsAccounts {
    /// Whether all within its cgroups is the session's: of one with another session in it, or with more cgroups than are
    /// known, the kernel has no figure.
    fn is_whole(&self, session: &Session) -> bool;
    /// The accounts that the session's own figures are taken from, as they are now.
    fn accounts(&self, session: &Session) -> Option<CgroupAccounts>;
    /// CPU time that its cgroups have used, nanoseconds.
    fn cpu_ns(&self, session: &Session) -> Option<u64>;
    /// Memory that is charged to them, by its kinds, bytes.
    fn memory_bytes(&self, session: &Session) -> Option<u64>;
    /// TCP connections of the network namespace that it is in; `None` in the node's.
    fn openings(&self, session: &Session) -> Option<Openings>;
    /// CPUs of the node.
    fn cpus(&self) -> u64;
}

impl Registry {
    /// Compares the session whose turn it is with what the kernel says of it.
    pub fn compare(&mut self, kernel: &impl KernelsAccounts) {
        let living = self.sessions.iter().filter(|(_, s)| s.is_live());
        let living: Vec<u64> = living.map(|(serial, _)| *serial).collect();
        let turn = self.audit.turn(living.into_iter());
        let Some((serial, session)) =
            turn.and_then(|serial| Some((serial, self.sessions.get_mut(&serial)?)))
        else {
            return;
        };
        let is_whole = kernel.is_whole(session);
        // What is shown is some seconds old.
        if let Some(accounts) = kernel.accounts(session) {
            session.take_accounts(accounts);
        }
        let whole = |figures: Option<Figures>| figures.filter(|_| is_whole);
        let openings = kernel
            .openings(session)
            .filter(|openings| self.audit.is_alone_in(serial, openings.namespace));
        let figures = [
            (Account::Cpu, whole(cpu(session, kernel))),
            (Account::Memory, whole(memory(session, kernel))),
            (Account::Connections, connections(session, openings)),
        ];
        for (account, figures) in figures {
            let found = self.audit.take(serial, account, figures);
            if let Some(discrepancy) = found.filter(|discrepancy| *discrepancy > WORTH_A_LINE) {
                let session = &session.identity.session;
                tracing::warn!(
                    session,
                    account = account.name(),
                    discrepancy,
                    "a figure of a session is not what the kernel has"
                );
            }
        }
    }
}

/// A session has used so much CPU time when it is compared, nanoseconds. Between the readings of both sides are a
/// millisecond, and on an emulated machine twenty: less than half a percent of it.
const ENOUGH_CPU_NS: u64 = 5_000_000_000;

fn cpu(session: &Session, kernel: &impl KernelsAccounts) -> Option<Figures> {
    Some(Figures {
        agent: session.counts.cpu_ns,
        kernel: kernel.cpu_ns(session)?,
        enough: ENOUGH_CPU_NS,
    })
}

/// Each CPU holds 64 pages ready for a cgroup, and tells its statistics of as many late (`MEMCG_CHARGE_BATCH`,
/// include/linux/memcontrol.h, 6.12): half a mebibyte, a fiftieth of this.
const ENOUGH_MEMORY_BYTES_A_CPU: u64 = 25 << 20;

fn memory(session: &Session, kernel: &impl KernelsAccounts) -> Option<Figures> {
    Some(Figures {
        agent: session.counts.accounts?.memory?.current,
        kernel: kernel.memory_bytes(session)?,
        enough: ENOUGH_MEMORY_BYTES_A_CPU * kernel.cpus(),
    })
}

/// Some are on their way, and counted by one side.
const ENOUGH_CONNECTIONS: u64 = 500;

fn connections(session: &Session, openings: Option<Openings>) -> Option<Figures> {
    let sides = &session.counts.net.as_ref()?.tcp;
    Some(Figures {
        agent: sides
            .iter()
            .map(|side| side.opened + side.connect_failures)
            .sum(),
        kernel: openings?.count,
        enough: ENOUGH_CONNECTIONS,
    })
}
