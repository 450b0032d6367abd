//! The demo's last words: what the cpu-hog did to its neighbour, and how the crash loop's
//! processes ended.

use super::sessions::{Quantiles, Report};
use super::table::count;
use super::{CRASH_LOOP, HOG, LATENCY};
use crate::numbers::{UNKNOWN, seconds};

/// The summary; `alone` is what the desktop waited before the hog began, if that moment came.
pub(super) fn render(alone: Option<Quantiles>, end: &Report) -> String {
    format!("{}\n{}\n", desktop(alone, end), crash_loop(end))
}

fn desktop(alone: Option<Quantiles>, end: &Report) -> String {
    let now = end.find(LATENCY).and_then(|session| session.wait().p99);
    let Some(alone) = alone else {
        return format!("{LATENCY}: p99 run-queue wait alone {}", seconds(now));
    };
    let factor = match (alone.p99, now) {
        (Some(before), Some(after)) if before > 0.0 => format!(" (×{:.0})", after / before),
        _ => String::new(),
    };
    format!(
        "{LATENCY}: p99 run-queue wait alone {}, beside {HOG} {}{factor}",
        seconds(alone.p99),
        seconds(now)
    )
}

fn crash_loop(end: &Report) -> String {
    let Some(process) = end
        .find(CRASH_LOOP)
        .and_then(|session| session.process.as_ref())
    else {
        return format!("{CRASH_LOOP}: {UNKNOWN}");
    };
    let Some(exits) = &process.exits else {
        return format!("{CRASH_LOOP}: {} forks", count(process.forks));
    };
    format!(
        "{CRASH_LOOP}: {} forks, exits: {} success, {} error, {} by signal, {} killed for memory",
        count(process.forks),
        count(exits.success),
        count(exits.error),
        count(exits.signal),
        count(exits.oom_killed)
    )
}

#[cfg(test)]
mod tests {
    use super::super::sessions::{EXAMPLE, Quantiles, Report};
    use super::render;

    #[test]
    fn the_summary_compares_alone_with_beside() {
        let report = Report::parse(EXAMPLE).unwrap();
        let alone = Quantiles {
            p99: Some(0.000_058),
            ..Quantiles::default()
        };
        assert_eq!(
            render(Some(alone), &report),
            "latency-desktop: p99 run-queue wait alone 58 µs, beside cpu-hog 3.1 ms (×53)\n\
             crash-loop: 210 forks, exits: 100 success, 100 error, 10 by signal, \
             0 killed for memory\n"
        );
    }

    #[test]
    fn a_demo_that_ends_early_compares_nothing() {
        let summary = render(None, &Report::default());
        assert_eq!(
            summary,
            "latency-desktop: p99 run-queue wait alone –\ncrash-loop: –\n"
        );
    }
}
