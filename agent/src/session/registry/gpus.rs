//! The registry's side of the GPUs: which session a process is of.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Instant, SystemTime},
};

use agent_common::Slot;

use super::{Registry, SlotTable};
use crate::{
    gpu::model::Report,
    kernel::log::Blame,
    session::{
        gpu::{Gpu, Join, Serial, Sessions, Unknown, XidError},
        model::Session,
    },
    telemetry::log_event,
};

impl Registry {
    /// What the GPUs' sampler found.
    pub fn take_gpus(&mut self, report: &Report, table: &impl SlotTable) {
        let mut sessions = GpusOf::new(&mut self.sessions, table);
        self.gpu.take(report, &mut sessions);
    }

    /// What the GPUs do is not known any more.
    pub fn forget_gpus(&mut self) {
        for session in self.sessions.values_mut() {
            session.counts.gpu.forget_now();
        }
    }

    /// The GPUs' side of the sessions.
    pub fn gpu(&self) -> &Join {
        &self.gpu
    }

    /// The driver reported an Xid error.
    pub fn gpu_error(&mut self, error: &XidError) {
        let XidError { pci, code, message } = error;
        log_event!(GpuXid, pci, code, text = message);
        self.gpu.xid(error, SystemTime::now());
    }

    /// The driver blames a process for an Xid error.
    pub fn gpu_blame(&mut self, blame: &Blame, table: &impl SlotTable) {
        let mut sessions = GpusOf::new(&mut self.sessions, table);
        let serial = self.gpu.blame(blame, Instant::now(), &mut sessions);
        let mut session = serial.and_then(|serial| self.sessions.get_mut(&serial));
        if let Some(session) = &mut session {
            session.xid_processes.insert(blame.pid, blame.code);
        }
        let Blame {
            pci,
            code,
            pid,
            command,
        } = blame;
        log_event!(
            ProcessXid,
            of = session.map(|session| &*session),
            pci,
            code,
            pid,
            command
        );
    }

    /// The driver reported an Xid error as an event.
    pub fn gpu_error_event(&mut self, gpu: u32, xid: u32) {
        log_event!(GpuXid, gpu, code = xid);
        self.gpu.xid_event(gpu, xid, SystemTime::now());
    }
}

/// The sessions as the join with the GPUs sees them.
struct GpusOf<'a, T> {
    sessions: &'a mut BTreeMap<Serial, Session>,
    by_slot: HashMap<Slot, Serial>,
    table: &'a T,
}

impl<'a, T: SlotTable> GpusOf<'a, T> {
    fn new(sessions: &'a mut BTreeMap<Serial, Session>, table: &'a T) -> Self {
        let with_slot = sessions.iter().filter_map(|(id, s)| Some((s.slot?, *id)));
        Self {
            by_slot: with_slot.collect(),
            sessions,
            table,
        }
    }
}

impl<T: SlotTable> Sessions for GpusOf<'_, T> {
    fn of_process(&self, pid: u32) -> Result<Option<Serial>, Unknown> {
        let slot = self.table.slot_of_process(pid).ok_or(Unknown)?;
        Ok(self.by_slot.get(&slot).copied())
    }

    fn gpu(&mut self, session: Serial) -> Option<&mut Gpu> {
        self.sessions.get_mut(&session).map(|s| &mut s.counts.gpu)
    }

    fn all(&mut self) -> impl Iterator<Item = (Serial, &mut Gpu)> {
        self.sessions
            .iter_mut()
            .map(|(serial, s)| (*serial, &mut s.counts.gpu))
    }
}
