//! What the agent knows at a moment, as everybody else sees it.

use std::{collections::BTreeMap, time::Instant};

use super::Agent;
use crate::{
    kernel::{FilledMap, sees_host_pids},
    snapshot::{AgentView, GpuView, SessionView, Snapshot},
    telemetry::audit_lines,
    trace::Recorder,
};

/// Preemptors of sessions by the slots of these: names, and how often.
type Preemptors = BTreeMap<u32, Vec<(String, u64)>>;

impl Agent {
    /// All of it, when a sample has been taken.
    pub(super) fn snapshot(&mut self, taken: Instant) -> Snapshot {
        let gpu = self.gpu_view();
        let (mut preemptors, pairs) = self.preemptors();
        let sessions = self.registry.sessions().map(|session| {
            let by = session.slot.and_then(|slot| preemptors.remove(&slot));
            let roots = session.roots.iter();
            let roots = roots.filter_map(|&root| self.hierarchy.directory(root));
            SessionView::of(session, roots.collect(), by.unwrap_or_default())
        });
        let sessions = sessions.collect();
        let ended_unseen = self.registry.ended_unseen();
        let ended_unseen = ended_unseen
            .filter(|_| self.traces.is_some())
            .map(|session| SessionView::of(session, Vec::new(), Vec::new()))
            .collect();
        Snapshot {
            taken,
            sessions,
            ended_unseen,
            pasts: self.registry.pasts().clone(),
            programs: self.kernel.statuses(),
            gpu,
            agent: self.agent_view(pairs),
        }
    }

    fn gpu_view(&mut self) -> GpuView {
        let status = self.gpus.status();
        if status.down.is_some() {
            self.gpu_report = None;
            self.registry.forget_gpus();
        }
        let join = self.registry.gpu();
        GpuView {
            status,
            host_pids: sees_host_pids(),
            kernel_log_down: self.kernel_log.reason().map(str::to_owned),
            report: self.gpu_report.clone(),
            remainders: join.remainders().clone(),
            xids: join.xids().clone(),
            calls: self.gpus.calls(),
        }
    }

    /// Who preempts whom, the most often first; and how many pairs the kernel has, those included that have no name any
    /// more.
    fn preemptors(&mut self) -> (Preemptors, u64) {
        let sessions = self.registry.sessions();
        let names = sessions.filter_map(|s| Some((s.slot?, s.identity.session.clone())));
        let names: BTreeMap<u32, String> = names.collect();
        let mut preemptors = Preemptors::new();
        let all = self.kernel.preemption_pairs();
        let pairs = all.len() as u64;
        for (pair, count) in all {
            if let Some(name) = names.get(&pair.preemptor) {
                let of_victim = preemptors.entry(pair.victim).or_default();
                of_victim.push((name.clone(), count));
            }
        }
        for list in preemptors.values_mut() {
            list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        (preemptors, pairs)
    }

    fn agent_view(&mut self, preemption_pairs: u64) -> AgentView {
        let map_fills = FilledMap::ALL.map(|map| {
            let entries = match map {
                FilledMap::Cgroups => self.registry.marked_cgroups(),
                FilledMap::Connections => self.kernel.connections_entered(),
                FilledMap::PreemptionPairs => preemption_pairs,
            };
            (map, entries)
        });
        AgentView {
            started: self.kernel.loaded(),
            kernel_release: self.kernel_release.clone(),
            cpus: self.kernel.online_cpus(),
            task_store: self.kernel.store(),
            config_hash: self.config_hash.clone(),
            reloads: self.reloads.clone(),
            max_sessions: self.config.session.max_sessions,
            live_sessions: self.registry.live(),
            overflowed_total: self.registry.overflowed_total(),
            templates_overflowed_total: self.registry.templates_overflowed_total(),
            events_lost: self.kernel.events_lost().to_vec(),
            unmeasured_switches: self.kernel.unmeasured_switches(),
            map_fills: map_fills.to_vec(),
            ring_bytes: self.kernel.ring_bytes(),
            audit_lines: audit_lines(),
            traces: self.traces.as_ref().map(Recorder::view),
            max_series: self.config.metrics.max_series,
            admissions: self.registry.admissions().clone(),
            map_bytes: self.kernel.map_bytes(),
            audit: self.registry.audit().worst(),
            adoption: *self.registry.adoption(),
            begun: self.registry.begun().clone(),
            startup: self.registry.startup().clone(),
            logons: self.registry.logons().clone(),
            logoffs: self.registry.logoffs().clone(),
            ended: self.registry.ended().clone(),
            reconciles: self.reconciles.clone(),
            peers: self.directory.peers().clone(),
            awaited: self.registry.awaited().to_vec(),
            templates: self.registry.templates().clone(),
        }
    }
}
