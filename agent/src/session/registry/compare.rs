//! The session whose turn it is, compared with the kernel's own accounts of it.

use agent_common::Slot;

use super::Registry;
use crate::{
    kernel::accepted::Accepted,
    session::{
        audit::{Account, Figures},
        model::Session,
    },
    telemetry::log_event,
};

/// The log has a line for what is further off than this.
const WORTH_A_LINE: f64 = 0.05;

/// A session has used so much CPU time when it is compared, nanoseconds. Between the readings of both sides are a
/// millisecond, and on an emulated machine twenty: less than half a percent of it.
const ENOUGH_CPU_NS: u64 = 5_000_000_000;

/// It has accepted so many connections. Both sides are read within a tenth of a millisecond, if nothing comes in between.
const ENOUGH_CONNECTIONS: u64 = 200;

/// It has accepted so many for each one that came while the kernel's side was read: whoever waits for a CPU meanwhile
/// is off by half a percent at most.
const FOR_EACH_IN_BETWEEN: u64 = 200;

/// What the kernel itself says of a session.
pub trait KernelsAccounts {
    /// CPU time that its cgroups have used, nanoseconds; `None` of one with another session in it, or with more cgroups
    /// than are known.
    fn cpu_ns(&self, session: &Session) -> Option<u64>;
    /// What the network namespace has accepted that all its processes are in; `None` in the node's.
    fn accepted(&self, session: &Session) -> Option<Accepted>;
    /// The connections that have been accepted in a slot, as the agent counts them, up to now.
    fn counted(&self, slot: Slot) -> Option<u64>;
}

impl Registry {
    /// Compares the session whose turn it is with what the kernel says of it.
    pub fn compare(&mut self, kernel: &impl KernelsAccounts) {
        let living = self.sessions.iter().filter(|(_, s)| s.is_live());
        let living: Vec<u64> = living.map(|(serial, _)| *serial).collect();
        let turn = self.audit.turn(living.into_iter());
        let Some((serial, session)) =
            turn.and_then(|serial| Some((serial, self.sessions.get(&serial)?)))
        else {
            return;
        };
        let cpu = kernel.cpu_ns(session).map(|kernel_ns| Figures {
            agent: session.counts.cpu_ns,
            kernel: kernel_ns,
            enough: ENOUGH_CPU_NS,
        });
        let counted = || session.slot.and_then(|slot| kernel.counted(slot));
        let before = counted();
        let accepted = kernel.accepted(session);
        let counted = before.zip(counted());
        let namespace = accepted.map(|accepted| accepted.namespace);
        let is_alone = self.audit.is_alone_in(serial, namespace);
        let connections =
            accepted
                .zip(counted)
                .filter(|_| is_alone)
                .map(|(accepted, (before, after))| Figures {
                    agent: after,
                    kernel: accepted.connections,
                    enough: ENOUGH_CONNECTIONS.max(
                        after
                            .saturating_sub(before)
                            .saturating_mul(FOR_EACH_IN_BETWEEN),
                    ),
                });
        for (account, figures) in [(Account::Cpu, cpu), (Account::Connections, connections)] {
            let found = self.audit.take(serial, account, figures);
            if let Some(discrepancy) = found.filter(|discrepancy| *discrepancy > WORTH_A_LINE) {
                log_event!(
                    FigureDiffers,
                    of = session,
                    account = account.name(),
                    discrepancy
                );
            }
        }
    }
}
