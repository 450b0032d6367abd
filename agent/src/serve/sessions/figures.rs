//! Figures of a session as the API has them.

use agent_common::{
    block::{BlockStats, OperationStats, READ, WRITE},
    histogram::Histogram,
    net::{INBOUND, OUTBOUND, UdpStats},
    sched::{After, SchedStats},
};

use super::seconds_since_epoch;
use crate::{
    api, clock,
    kernel::accounts::{Memory, MemoryEvents, Periods, Pressure, Pressures},
    session::{
        experience::{Experience, Unresponsive},
        model::quantile,
        net::{Net, TcpSide},
        presence::{Absences, How, Presence},
        recent::{InWindow, RecentView},
    },
    snapshot::SessionView,
};

pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

pub(super) fn distribution(histogram: &Histogram) -> api::Distribution {
    api::Distribution {
        count: histogram.count(),
        sum_seconds: histogram.sum_ns as f64 / 1e9,
        p50: quantile(histogram, 0.5),
        p95: quantile(histogram, 0.95),
        p99: quantile(histogram, 0.99),
    }
}

pub(super) fn input(experience: &Experience, net: Option<&Net>) -> api::Input {
    let unresponsive = experience.unresponsive.as_ref();
    let none = Histogram::default();
    let latency = experience.latency(net.map_or(&none, |net| &net.tcp[INBOUND].rtt));
    api::Input {
        latency: api::Latency {
            round_trip: latency.round_trip,
            server: latency.server,
            application: latency.application,
            work: latency.work,
            whole: latency.whole(),
        },
        application_delay: distribution(&experience.application_delay),
        server_delay: distribution(&experience.server_delay),
        response: distribution(&experience.response),
        unanswered: experience.unanswered,
        unresponsive_seconds: experience.unresponsive_for.as_secs_f64(),
        unresponsive: unresponsive.map(|all| all.iter().map(application).collect()),
    }
}

fn application(one: &Unresponsive) -> api::UnresponsiveApplication {
    let standing = one.standing.as_ref();
    api::UnresponsiveApplication {
        pid: one.process,
        seconds: one.unread_for.as_secs_f64(),
        command: standing.map(|standing| standing.command.clone()),
        state: standing.map(|standing| standing.state.name().to_owned()),
        why: one.why.map(|why| why.name().to_owned()),
        waits_in: standing.and_then(|standing| standing.waits_in.clone()),
        swapped_bytes: standing.and_then(|standing| standing.swapped_bytes),
    }
}

fn window(of: &InWindow) -> api::Window {
    api::Window {
        observed: distribution(&of.observed),
        window_seconds: of.length.as_secs_f64(),
    }
}

pub(super) fn runqueue_wait(view: &SessionView) -> api::RunqueueWait {
    api::RunqueueWait {
        whole: distribution(&view.counts.sched.runqueue_wait),
        recent: view.recent.as_ref().map(|recent| window(&recent.seconds)),
        minute: view.recent.as_ref().map(|recent| window(&recent.minute)),
        hour: view.recent.as_ref().map(|recent| window(&recent.hour)),
    }
}

pub(super) fn cpu_wait(sched: &SchedStats) -> api::CpuWaitSeconds {
    let waited = |after| sched.waited_ns(after) as f64 / 1e9;
    api::CpuWaitSeconds {
        woken: waited(After::Wakeup),
        preempted: waited(After::Preemption),
        throttled: waited(After::Throttle),
        yielded: waited(After::Yield),
    }
}

/// Of the CPU only `some` means anything to a cgroup that may use all of them.
pub(super) fn pressure(pressures: Pressures) -> api::PressureSeconds {
    let lost = |pressure: Option<Pressure>| api::Pressure {
        some: pressure.map(|p| seconds(p.some_us)),
        full: pressure.and_then(|p| p.full_us).map(seconds),
    };
    api::PressureSeconds {
        cpu: api::Pressure {
            full: None,
            ..lost(pressures.cpu)
        },
        memory: lost(pressures.memory),
        io: lost(pressures.io),
    }
}

pub(super) fn memory(memory: Memory) -> api::MemoryBytes {
    api::MemoryBytes {
        current: memory.current,
        limit: memory.limit,
        anon: memory.anon,
        file: memory.file,
        swap: memory.swap,
    }
}

pub(super) fn memory_events(events: MemoryEvents) -> api::MemoryEvents {
    api::MemoryEvents {
        high: events.high,
        max: events.max,
    }
}

pub(super) fn periods(periods: Periods) -> api::CpuPeriods {
    api::CpuPeriods {
        all: periods.all,
        throttled: periods.throttled,
    }
}

pub(super) fn block_io(block: &BlockStats) -> api::BlockIo {
    let operation = |stats: &OperationStats| api::Operation {
        latency: distribution(&stats.latency),
        bytes: stats.bytes,
    };
    api::BlockIo {
        read: operation(&block.operations[READ]),
        write: operation(&block.operations[WRITE]),
    }
}

pub(super) fn network_bytes(net: &Net) -> api::NetworkBytes {
    let tcp = net.tcp_traffic();
    let udp = |direction: usize| net.udp.map(|both| both[direction].bytes);
    api::NetworkBytes {
        transmit: api::Protocols {
            tcp: tcp.sent_bytes,
            udp: udp(0),
        },
        receive: api::Protocols {
            tcp: tcp.received_bytes,
            udp: udp(1),
        },
    }
}

/// Nobody is waited for by a session that does not live any more.
pub(super) fn disconnects(net: &Net, lives: bool) -> Option<api::Disconnects> {
    let Presence {
        ended, absences, ..
    } = &net.presence;
    let since = |absences: &Absences| clock::wall_of_boot(absences.since_ns?);
    net.tcp[INBOUND].is_used().then(|| api::Disconnects {
        closed: How::Closed.of(ended),
        reset: How::Reset.of(ended),
        timed_out: How::TimedOut.of(ended),
        idle: How::Idle.of(ended),
        reconnects: absences.as_ref().map(|a| a.reconnects),
        disconnected_seconds: absences.as_ref().map(|a| a.lasted_ns as f64 / 1e9),
        disconnected_since: absences
            .as_ref()
            .filter(|_| lives)
            .and_then(since)
            .and_then(seconds_since_epoch),
    })
}

pub(super) fn tcp(net: &Net, recent: Option<&RecentView>) -> api::Tcp {
    let side = |side: &TcpSide, trips: Option<&InWindow>| api::TcpSide {
        connections: side.connections,
        connections_opened: side.opened,
        connect_failures: side.connect_failures,
        resets: side.resets,
        retransmits: side.traffic.retransmits,
        segments: net.counts_segments.then_some(side.traffic.segments),
        rtt: distribution(&side.rtt),
        rtt_minute: trips.map(window),
        min_rtt_seconds: side.min_rtt_us.map(|us| f64::from(us) / 1e6),
        unsent_bytes: side.unsent_bytes,
        connect: distribution(&side.connect),
    };
    api::Tcp {
        inbound: side(&net.tcp[INBOUND], recent.map(|recent| &recent.round_trips)),
        outbound: side(&net.tcp[OUTBOUND], None),
    }
}

pub(super) fn udp([transmit, receive]: &[UdpStats; 2]) -> api::Udp {
    api::Udp {
        transmit_datagrams: transmit.datagrams,
        receive_datagrams: receive.datagrams,
        receive_drops: receive.drops,
    }
}
