//! CPU, memory and disk.

use super::{
    super::{
        judge::{self, over},
        units::{ABSENT, age, bytes, count, cpus, or_absent, percent, printable, time},
    },
    section::Section,
};
use crate::api::{
    CpuWaitSeconds, Distribution, MemoryEvents, Operation, Pressure, Session, Window,
};

/// Most preemptors on the page.
const PREEMPTORS: usize = 3;

pub(super) fn cpu(session: &Session, life: Option<f64>) -> Section {
    let mut section = Section::new("CPU");
    let limit = session.cpu_limit.map_or_else(
        || "without a limit".to_owned(),
        |limit| format!("of {} that it may use", cpus(limit)),
    );
    let used = session.cpu_ratio;
    let used = used.map_or_else(String::new, |used| format!("{} CPUs {limit}; ", cpus(used)));
    section.line(
        "in use",
        format!("{used}{} in all", time(session.cpu_seconds)),
    );
    waits(&mut section, session);
    let CpuWaitSeconds {
        woken,
        preempted,
        throttled,
        yielded,
    } = session.cpu_wait_seconds;
    let own = throttled + yielded;
    section.known(
        "waited",
        (own > 0.0).then(|| {
            format!(
                "{} because others had the CPU, {} throttled, {} after it had yielded",
                time(woken + preempted),
                time(throttled),
                time(yielded)
            )
        }),
    );
    let preemptions = session.preemptions;
    let all = preemptions.own + preemptions.session + preemptions.system;
    if all > 0 {
        let share = |n: u64| percent(n as f64 / all as f64);
        section.line(
            "preempted",
            format!(
                "{} times: {} by other sessions, {} by the system, {} by itself",
                count(all),
                share(preemptions.session),
                share(preemptions.system),
                share(preemptions.own)
            ),
        );
    }
    let most = session.preempted_by.iter().take(PREEMPTORS);
    let most: Vec<String> = most
        .map(|by| format!("{} ({} times)", printable(&by.session), count(by.count)))
        .collect();
    section.known("most often by", (!most.is_empty()).then(|| most.join(", ")));
    if let Some(throttled) = session.cpu_throttled_seconds {
        let share = (session.cpu_seconds > 0.0).then(|| throttled / session.cpu_seconds);
        let of = share.map_or_else(String::new, |s| format!(", {} of its CPU time", percent(s)));
        let warning = over(share, judge::THROTTLED_SHARE, || {
            let limit = percent(judge::THROTTLED_SHARE);
            format!("over {limit}: the CPU limit of its cgroup (cpu.max) holds it back")
        });
        section.judged("throttled", format!("{}{of}", time(throttled)), warning);
    }
    // Before the first period there is nothing to have a share of.
    if let Some(periods) = session.cpu_periods.filter(|periods| periods.all > 0) {
        let share = percent(periods.throttled as f64 / periods.all as f64);
        let (throttled, all) = (count(periods.throttled), count(periods.all));
        section.line(
            "throttled periods",
            format!("{throttled} of {all} ({share})"),
        );
    }
    if let Some(throttled) = session.cpu_throttled_above_seconds {
        let text = format!("{} by a CPU limit of a cgroup above", time(throttled));
        section.line("throttled above", text);
    }
    if let Some(pressure) = session.pressure_seconds {
        // A busy session waits for itself too: what is too much is judged by the run-queue wait.
        let text = pressure_text(pressure.cpu, life);
        section.known("pressure", text);
    }
    section
}

fn waits(section: &mut Section, session: &Session) {
    let wait = session.runqueue_wait;
    let quantiles = |d: Distribution| {
        format!(
            "p50 {}, p95 {}, of {} waits",
            or_absent(d.p50, time),
            or_absent(d.p95, time),
            count(d.count)
        )
    };
    if let Some(recent) = wait.recent {
        let p99 = recent.observed.p99;
        let warning = over(p99, judge::RUNQUEUE_WAIT_P99, || {
            let limit = time(judge::RUNQUEUE_WAIT_P99);
            format!(
                "over {limit}, longer than a frame at 60 Hz: it may stutter; see who preempts it"
            )
        });
        section.judged(
            "wait p99, 10 s",
            format!("{} ({})", or_absent(p99, time), quantiles(recent.observed)),
            warning,
        );
    }
    if let Some(minute) = wait.minute {
        let hour = wait.hour.unwrap_or_default();
        section.line(
            "wait p99, minute",
            format!(
                "{} ({}){}",
                or_absent(minute.observed.p99, time),
                quantiles(minute.observed),
                against(minute, hour)
            ),
        );
        let long = hour.window_seconds >= 2.0 * minute.window_seconds;
        let text = || {
            let waits = quantiles(hour.observed);
            let window = age(hour.window_seconds);
            format!(
                "{} ({waits} in {window})",
                or_absent(hour.observed.p99, time)
            )
        };
        section.known("wait p99, hour", long.then(text));
    }
    section.line(
        "wait p99, life",
        format!(
            "{} ({})",
            or_absent(wait.whole.p99, time),
            quantiles(wait.whole)
        ),
    );
}

/// How the last minute is beside its own hour, where that is longer and they differ.
fn against(minute: Window, hour: Window) -> String {
    let times = minute.observed.p99.zip(hour.observed.p99);
    let times = times.map(|(minute, hour)| minute / hour);
    match times {
        Some(times) if times >= 1.5 => format!("; {times:.1} times that of its hour"),
        Some(times) if times <= 0.67 => format!("; {} of that of its hour", percent(times)),
        _ => String::new(),
    }
}

pub(super) fn memory(session: &Session, life: Option<f64>) -> Section {
    let mut section = Section::new("Memory");
    if let Some(memory) = session.memory_bytes {
        let limit = memory.limit.map_or_else(
            || "without a limit".to_owned(),
            |limit| format!("of a limit of {}", bytes(limit)),
        );
        let swap = memory
            .swap
            .map_or_else(String::new, |swap| format!(", and {} in swap", bytes(swap)));
        let share = memory
            .limit
            .map(|limit| memory.anon as f64 / limit.max(1) as f64);
        let warning = over(share, judge::ANON_SHARE, || {
            let limit = percent(judge::ANON_SHARE);
            format!("anonymous memory over {limit} of the limit: the out-of-memory killer is near")
        });
        section.judged(
            "in use",
            format!(
                "{} {limit}{swap}; {} anonymous, {} page cache",
                bytes(memory.current),
                bytes(memory.anon),
                bytes(memory.file)
            ),
            warning,
        );
    } else {
        let text = if session.ended {
            ABSENT
        } else {
            "not known: its cgroup has no memory controller"
        };
        section.line("in use", text);
    }
    if let Some(events) = session.memory_events {
        at_limits(&mut section, events);
    }
    let pressure = session.pressure_seconds.map(|p| p.memory);
    lost(&mut section, pressure, life, "memory");
    section.line("major faults", count(session.major_faults));
    if let Some(stalls) = session.reclaim_stall.filter(|stalls| stalls.count > 0) {
        section.line(
            "reclaim",
            format!(
                "{} stalls of its threads, {} in all, p99 {}",
                count(stalls.count),
                time(stalls.sum_seconds),
                or_absent(stalls.p99, time)
            ),
        );
    }
    section
}

/// A line on how often the memory was at a limit, if it ever was.
fn at_limits(section: &mut Section, events: MemoryEvents) {
    let met = [("memory.high", events.high), ("memory.max", events.max)];
    let met: Vec<String> = met
        .into_iter()
        .filter(|(_, times)| *times > 0)
        .map(|(limit, times)| format!("{limit} {} times", count(times)))
        .collect();
    if met.is_empty() {
        return;
    }
    // Page cache alone brings a session to memory.max, too; what that costs is in the two lines that it names.
    let warning = (events.max > 0).then(|| {
        "any at memory.max: memory had to be freed before it got more, or it got none; see pressure and reclaim"
            .to_owned()
    });
    section.judged("at its limit", met.join(", "), warning);
}

pub(super) fn disk(session: &Session, life: Option<f64>) -> Section {
    let mut section = Section::new("Disk");
    match session.block_io {
        Some(block) => {
            section.line("read", operation(block.read));
            section.line("written", operation(block.write));
        }
        None => section.line("block I/O", "not known: its cgroup has no io controller"),
    }
    let pressure = session.pressure_seconds.map(|p| p.io);
    lost(&mut section, pressure, life, "I/O");
    section
}

fn operation(operation: Operation) -> String {
    let latency = operation.latency;
    format!(
        "{} in {} requests, p50 {}, p99 {}",
        bytes(operation.bytes),
        count(latency.count),
        or_absent(latency.p50, time),
        or_absent(latency.p99, time)
    )
}

/// A line on the time lost for want of a resource.
fn lost(section: &mut Section, pressure: Option<Pressure>, life: Option<f64>, resource: &str) {
    let Some(pressure) = pressure else { return };
    let Some(text) = pressure_text(pressure, life) else {
        return;
    };
    let share = pressure.some.zip(life).map(|(some, life)| some / life);
    let warning = over(share, judge::PRESSURE_SHARE, || {
        let limit = percent(judge::PRESSURE_SHARE);
        format!("over {limit} of its life: it is short of {resource}")
    });
    section.judged("pressure", text, warning);
}

fn pressure_text(pressure: Pressure, life: Option<f64>) -> Option<String> {
    let some = pressure.some?;
    let share = life.filter(|life| *life > 0.0).map(|life| some / life);
    let share = share.map_or_else(String::new, |s| format!(" ({} of its life)", percent(s)));
    let all = pressure.full.map_or_else(String::new, |full| {
        format!(", all of them for {}", time(full))
    });
    Some(format!("a thread waited for {}{share}{all}", time(some)))
}
